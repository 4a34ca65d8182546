"""The studio in a real browser (Chromium), on the real service and queue; the worker films the still picture."""

from __future__ import annotations

import base64
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
from PIL import Image

from talkies.serving.keys import Keys

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: apt-get install chromium"),
    pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed"),
]
sync_api = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required",
    "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
]  # fmt: skip
PATIENCE = 90_000
SERVER = Path(__file__).with_name("studio_server.py")


@contextmanager
def serving(folder: Path, *more: str | Path) -> Iterator[str]:
    """The service with its worker, as processes of their own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home = {**os.environ, "HOME": str(folder), "TALKIES_HOME": str(folder / "home")}
    command = [sys.executable, SERVER, "serve", folder / "queue", str(port), "0.04", *more]
    process = subprocess.Popen(command, env=home)
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 120
        while not answers(address):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.2)
        yield address
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def answers(address: str) -> bool:
    """Whether somebody serves there already."""
    try:
        urllib.request.urlopen(f"{address}/studio/", timeout=5)  # noqa: S310
    except OSError:
        return False
    return True


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("studio")) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def page(browser: Browser, server: str) -> Iterator[Page]:
    """The studio, freshly opened; fails the test at its end if the page raised an error."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-US")
    context.set_default_timeout(PATIENCE)
    opened = context.new_page()
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("console", lambda message: errors.append(message.text) if "Content Security" in message.text else None)
    opened.goto(f"{server}/studio/")
    opened.wait_for_selector("html[data-ready]")
    yield opened
    context.close()
    assert errors == []


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture without people, a recording of 1.5 s, and a text that calls itself a picture."""
    folder = tmp_path_factory.mktemp("material")
    Image.linear_gradient("L").resize((640, 384)).convert("RGB").save(folder / "photo.png")
    soundfile.write(folder / "voice.wav", 0.3 * np.sin(np.arange(24_000) / 20), 16_000)
    (folder / "bad.png").write_text("this is no picture")
    return folder


def choose(page: Page, path: Path, people: int) -> None:
    """Gives a picture in which nobody is found, and adds people by the button."""
    page.set_input_files("#picture-file", path)
    page.wait_for_selector("#frame img[src]")
    page.get_by_text("Nobody was found").wait_for()
    for number in range(people):
        page.click("#add-person")
        page.keyboard.press("Shift+ArrowRight")
        if number:
            for _ in range(30):
                page.keyboard.press("ArrowRight")
    assert page.locator(".box").count() == people


def make(page: Page, prompt: str) -> str:
    """Asks for the video; gives its id."""
    page.fill("#prompt", prompt)
    page.check("#consent")
    page.click("#make")
    card = page.locator(".video").filter(has_text=prompt).first
    card.wait_for()
    return str(card.get_attribute("data-video"))


def finished(page: Page, video: str) -> float:
    """Waits for the player and plays a little; gives the length in seconds."""
    player = page.locator(f'[data-video="{video}"] video')
    player.wait_for()
    player.evaluate("async (video) => { video.muted = true; await video.play(); }")
    page.wait_for_function("(video) => video.currentTime > 0.2", arg=player.element_handle())
    return float(player.evaluate("(video) => video.duration"))


def state(page: Page) -> dict:
    found: dict = page.evaluate("JSON.parse(localStorage.getItem('talkies.draft'))")
    return found


def test_from_picture_to_playing_video(page: Page, material: Path) -> None:
    choose(page, material / "photo.png", 2)
    first, second = page.locator(".person").nth(0), page.locator(".person").nth(1)
    first.get_by_label("Name").fill("Ana")
    first.get_by_label("What does").fill("Good morning, Ben.")
    first.get_by_text("Say it").click()
    page.locator(".clip").wait_for()
    second.locator("input[type=file]").set_input_files(material / "voice.wav")
    page.locator(".clip").nth(1).wait_for()
    video = make(page, "The whole path")
    length = finished(page, video)
    turns = state(page)["turns"]
    assert length == pytest.approx(max(turn["start"] + turn["seconds"] for turn in turns), abs=0.1)
    card = page.locator(f'[data-video="{video}"]')
    card.get_by_text("Where it comes from").click()
    assert "AI-generated" in card.locator("dl").inner_text()
    assert "intact" in card.locator("dl").inner_text()
    with page.expect_download() as download:
        card.get_by_text("Download").click()
    assert Path(download.value.path()).stat().st_size > 1000
    page.reload()  # draft and history are still there
    page.locator(f'[data-video="{video}"] video').wait_for()
    assert page.locator(".clip").count() == 2
    assert page.locator(".person").nth(0).get_by_label("Name").input_value() == "Ana"
    page.locator(f'[data-video="{video}"]').get_by_text("Delete").click()
    page.locator(f'[data-video="{video}"]').wait_for(state="detached")


def test_a_dialogue_is_spoken_in_one_go(page: Page, material: Path) -> None:
    page.fill("#script-text", "Ana: Hello.\nBen: [pause 1] Hi!\nAna: [overlap 0.1] How are you?")
    page.click("#script-speak")
    page.get_by_text("Choose a picture first").wait_for()
    choose(page, material / "photo.png", 2)
    page.click("#script-speak")
    page.wait_for_function("() => document.querySelectorAll('.clip').length === 3")
    names = [page.locator(".person").nth(index).get_by_label("Name").input_value() for index in (0, 1)]
    assert names == ["Ana", "Ben"]
    one, two, three = state(page)["turns"]
    assert two["start"] == pytest.approx(one["seconds"] + 1, abs=0.02)
    assert three["start"] == pytest.approx(two["start"] + two["seconds"] - 0.1, abs=0.02)
    page.click("#play")
    page.locator(".playhead").wait_for()
    page.click("#play")
    page.locator(".playhead").wait_for(state="detached")
    finished(page, make(page, "A dialogue"))


def asked(page: Page) -> dict:
    """Makes the video; gives what the service is asked for."""
    with page.expect_request(lambda request: request.method == "POST" and request.url.endswith("/v1/videos")) as sent:
        page.click("#make")
    found: dict = sent.value.post_data_json
    return found


def test_people_nod_while_they_speak_and_while_they_listen(page: Page, material: Path) -> None:
    """By keyboard alone, from the button to the words and the moment; the film lasts until the reaction is over."""
    choose(page, material / "photo.png", 2)
    page.locator(".person").nth(0).locator("input[type=file]").set_input_files(material / "voice.wav")
    page.locator(".clip").wait_for()
    page.check("#consent")
    page.fill("#clip-does", "smiles")
    act = page.locator(".person").nth(1).get_by_role("button", name="Does something")
    act.focus()
    page.keyboard.press("Enter")
    assert page.locator("#make").is_disabled()
    assert "what is done" in page.locator("#missing").inner_text()
    page.keyboard.type("nods and laughs")
    block = page.locator(".clip.act")
    assert "Person 2 nods and laughs, from 0.00 s" in str(block.get_attribute("aria-label"))
    block.focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    assert page.locator(".clip.clash").count() == 0
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    box = page.locator("#clip-does").bounding_box()
    assert box is not None
    assert box["width"] > 150
    assert asked(page)["turns"] == [
        {"speaker": "Person 1", "audio": state(page)["turns"][0]["file"], "does": "smiles", "start": 0},
        {"speaker": "Person 2", "does": "nods and laughs", "start": 0.5},
    ]
    video = str(page.locator(".video").first.get_attribute("data-video"))
    assert finished(page, video) == pytest.approx(2.5, abs=0.1)
    page.reload()
    assert page.locator(".clip.act").inner_text() == "nods and laughs"
    page.locator(".clip.act").focus()
    page.keyboard.press("Delete")
    assert page.locator(".clip").count() == 1


def test_a_script_s_directions_come_to_the_timeline(page: Page, material: Path) -> None:
    choose(page, material / "photo.png", 2)
    page.fill("#script-text", "Ana: [smiles] Well?\nBen: [nods]\nAna: Good.")
    page.click("#script-speak")
    page.wait_for_function("() => document.querySelectorAll('.clip').length === 3")
    one, two, three = state(page)["turns"]
    assert (one["does"], two["does"], three["does"]) == ("smiles", "nods", "")
    assert two["start"] == pytest.approx(one["seconds"] + 0.25, abs=0.02)
    assert three["start"] == pytest.approx(two["start"] + 0.25, abs=0.02)
    assert two["file"] is None


def test_a_bad_upload_says_why_and_changes_nothing(page: Page, material: Path) -> None:
    page.set_input_files("#picture-file", material / "bad.png")
    page.locator(".toast").filter(has_text=re.compile("refused|not a picture")).wait_for()
    assert page.locator("#drop").is_visible()
    choose(page, material / "photo.png", 1)
    page.locator(".person input[type=file]").set_input_files(material / "photo.png")
    page.locator(".toast").filter(has_text="not a recording").wait_for()
    assert page.locator(".clip").count() == 0
    assert page.locator("#make").is_disabled()
    assert "somebody who speaks" in page.locator("#missing").inner_text()


def test_a_killed_worker_and_a_reload_lose_nothing(page: Page, material: Path) -> None:
    choose(page, material / "photo.png", 1)
    for _ in range(2):
        page.locator(".person input[type=file]").set_input_files(material / "voice.wav")
        page.wait_for_timeout(500)
    page.locator(".clip").nth(1).wait_for()
    video = make(page, "Killed and reloaded")
    page.locator(f'[data-video="{video}"] .screen img').wait_for()
    workers = subprocess.run(["pgrep", "-f", f"{SERVER} work"], capture_output=True, text=True, check=True).stdout.split()  # noqa: E501  # fmt: skip
    for worker in workers:
        os.kill(int(worker), signal.SIGKILL)
    page.reload()
    progress = page.locator(f'[data-video="{video}"] progress')
    progress.wait_for()
    finished(page, video)


def test_a_failed_video_says_why_and_can_be_stopped_or_deleted(page: Page, material: Path) -> None:
    choose(page, material / "photo.png", 1)
    page.locator(".person input[type=file]").set_input_files(material / "voice.wav")
    page.locator(".clip").wait_for()
    video = make(page, "fail")
    card = page.locator(f'[data-video="{video}"]')
    card.locator(".failed").filter(has_text="NaN").wait_for()
    video = make(page, "Stop me")
    card = page.locator(f'[data-video="{video}"]')
    card.get_by_role("button", name="Stop").click()
    card.locator(".meta").filter(has_text="Stopped").wait_for()
    card.get_by_role("button", name="Try again").click()
    finished(page, video)


def test_a_voice_is_recorded(page: Page, material: Path) -> None:
    choose(page, material / "photo.png", 1)
    page.get_by_text("● Record").click()
    page.get_by_text("■ Stop").wait_for()
    page.wait_for_timeout(1500)
    page.get_by_text("■ Stop").click()
    page.locator(".clip").wait_for()
    assert state(page)["turns"][0]["seconds"] > 0.5


def test_the_microphone_closes_when_its_card_goes(page: Page, material: Path) -> None:
    page.evaluate(
        """() => {
            const devices = navigator.mediaDevices, ask = devices.getUserMedia.bind(devices);
            window.opened = [];
            devices.getUserMedia = async (wish) => {
                const stream = await ask(wish);
                window.opened.push(...stream.getTracks());
                return stream;
            };
        }"""
    )
    choose(page, material / "photo.png", 1)
    page.get_by_text("● Record").click()
    page.get_by_text("■ Stop").wait_for()
    page.get_by_role("button", name="Remove Person 1").click()
    page.wait_for_function("() => window.opened.length && window.opened.every((track) => track.readyState === 'ended')")
    assert page.locator(".clip").count() == 0


def test_another_picture_asks_for_consent_anew(page: Page, material: Path) -> None:
    choose(page, material / "photo.png", 1)
    page.check("#consent")
    before = state(page)
    assert before["film"]["consent"]
    page.set_input_files("#change-picture input", material / "photo.png")
    page.wait_for_function(
        "(file) => JSON.parse(localStorage.getItem('talkies.draft')).picture.file !== file",
        arg=before["picture"]["file"],
    )
    assert not page.is_checked("#consent")
    assert not state(page)["film"]["consent"]


def test_older_videos_come_whatever_was_deleted(page: Page) -> None:
    ids = [f"video_{number:032x}" for number in range(14)]

    def describe(video: str) -> dict:
        return {"id": video, "status": "failed", "progress": 0, "created_at": 0, "error": {"code": "x", "message": "x"}}

    def answer(route: Route) -> None:
        address = urllib.parse.urlsplit(route.request.url)
        after = urllib.parse.parse_qs(address.query).get("after", [None])[0]
        if route.request.method == "DELETE":
            ids.remove(address.path.rpartition("/")[2])
            route.fulfill(json={})
        elif after is not None and after not in ids:
            route.fulfill(status=404, json={"error": {"message": "There is no such video."}})
        else:
            rest = ids[ids.index(after) + 1 :] if after else ids
            route.fulfill(json={"data": [describe(video) for video in rest[:12]], "has_more": len(rest) > 12})

    page.route(re.compile(r"/v1/videos[?/]"), answer)
    page.reload()
    page.wait_for_selector("html[data-ready]")
    page.locator(".video").nth(11).get_by_role("button", name="Delete").click()
    page.wait_for_function("() => document.querySelectorAll('.video').length === 11")
    del ids[10]  # from elsewhere: its card is still there
    page.click("#more")
    page.wait_for_function("() => document.querySelectorAll('.video').length === 12")
    shown = page.locator(".video").evaluate_all("(cards) => cards.map((card) => card.dataset.video)")
    assert shown == ids


def test_boxes_are_drawn_dragged_and_resized(page: Page, material: Path) -> None:
    choose(page, material / "photo.png", 0)
    page.locator("#frame").scroll_into_view_if_needed()
    frame = page.locator("#frame").bounding_box()
    assert frame is not None
    scale = 640 / frame["width"]

    def drag(x: float, y: float, to_x: float, to_y: float) -> None:
        page.mouse.move(frame["x"] + x / scale, frame["y"] + y / scale)
        page.mouse.down()
        page.mouse.move(frame["x"] + to_x / scale, frame["y"] + to_y / scale, steps=6)
        page.mouse.up()

    drag(100, 60, 260, 300)
    assert state(page)["people"][0]["box"] == pytest.approx([100, 60, 260, 300], abs=3)
    drag(180, 180, 280, 160)
    assert state(page)["people"][0]["box"] == pytest.approx([200, 40, 360, 280], abs=3)
    drag(356, 276, 400, 500)  # the corner; past the edge of the picture
    assert state(page)["people"][0]["box"] == pytest.approx([200, 40, 404, 384], abs=5)
    drag(300, 200, 900, 200)
    assert state(page)["people"][0]["box"][2] == 640
    page.keyboard.press("Delete")
    assert state(page)["people"] == []


def test_turns_are_moved_and_clashes_refused(page: Page, material: Path) -> None:
    choose(page, material / "photo.png", 2)
    for person in (0, 0, 1):
        before = page.locator(".clip").count()
        page.locator(".person").nth(person).locator("input[type=file]").set_input_files(material / "voice.wav")
        page.locator(".clip").nth(before).wait_for()
    page.check("#consent")
    assert page.locator("#make").is_enabled()
    clip = page.locator(".clip").nth(1)
    clip.focus()
    for _ in range(8):
        page.keyboard.press("ArrowLeft")
    assert page.locator(".clip.clash").count() == 2
    assert page.locator("#make").is_disabled()
    assert "two things at once" in page.locator("#missing").inner_text()
    page.click("#together")
    assert page.locator(".clip.clash").count() == 0
    assert [turn["start"] for turn in state(page)["turns"]] == [0, 1.75, 0]
    third = page.locator(".clip").nth(2)
    third.evaluate("(clip) => clip.scrollIntoView({ block: 'center' })")  # the mouse reaches only what is in the window
    box = third.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 10, box["y"] + 10)
    page.mouse.down()
    page.mouse.move(box["x"] + 150, box["y"] + 10, steps=5)
    page.mouse.up()
    page.wait_for_function("() => JSON.parse(localStorage.getItem('talkies.draft')).turns[2].start > 0.3")
    page.fill("#clip-start", "4.5")
    page.keyboard.press("Enter")
    assert state(page)["turns"][2]["start"] == 4.5
    page.click("#in-turn")
    assert [turn["start"] for turn in state(page)["turns"]] == [0, 1.75, 3.5]
    gone = next(turn["file"] for turn in state(page)["turns"] if turn["id"] == state(page)["selected"])
    with page.expect_response(lambda response: response.url.endswith(gone) and response.request.method == "DELETE"):
        page.click("#clip-remove")
    assert page.locator(".clip").count() == 2
    for left in (1, 0):
        assert page.evaluate("document.activeElement.className") == "clip"
        page.keyboard.press("Delete")
        assert page.locator(".clip").count() == left
    assert page.evaluate("document.activeElement.id") == "timeline-title"


def test_it_fits_a_phone_and_everything_has_a_name(page: Page, material: Path) -> None:
    choose(page, material / "photo.png", 2)
    page.locator(".person").nth(0).locator("input[type=file]").set_input_files(material / "voice.wav")
    page.locator(".clip").wait_for()
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, textarea, summary, a, [tabindex]")]
        .filter((it) => it.checkVisibility() && !(it.ariaLabel || it.textContent.trim() || it.labels?.length))
        .map((it) => it.outerHTML)"""
    )
    assert nameless == []
    small = page.evaluate(
        """() => [...document.querySelectorAll("button, .button, select, input[type=number]")]
        .filter((it) => it.checkVisibility() && (it.offsetHeight < 34 || it.offsetWidth < 14))
        .map((it) => it.outerHTML)"""
    )
    assert small == []


def test_the_keyboard_reaches_everything(page: Page, material: Path) -> None:
    choose(page, material / "photo.png", 1)
    page.locator(".person input[type=file]").set_input_files(material / "voice.wav")
    page.locator(".clip").wait_for()
    page.focus(".skip")
    seen = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        seen.add(page.evaluate("() => document.activeElement.id || document.activeElement.className || 'other'"))
    assert {"box", "add-person", "script-speak", "play", "prompt", "consent", "seed"} <= seen
    assert any(name.startswith("clip") for name in seen)
    page.focus("#consent")
    page.keyboard.press("Space")
    page.focus("#make")
    page.keyboard.press("Enter")
    page.locator(".video").first.wait_for()


def test_with_keys_the_page_asks_for_one(browser: Browser, material: Path, tmp_path: Path) -> None:
    key = Keys(tmp_path / "keys.json").add("me")
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    with serving(tmp_path, tmp_path / "keys.json") as address:
        page.goto(f"{address}/studio/")
        for attempt, told in (("wrong", ""), (key, "The service does not know this key.")):
            page.locator("#key-dialog[open]").wait_for()
            assert page.locator("#key-refused").inner_text() == told
            page.fill("#key", attempt)
            page.keyboard.press("Enter")
        page.wait_for_selector("html[data-ready]")
        choose(page, material / "photo.png", 1)
        page.locator(".person input[type=file]").set_input_files(material / "voice.wav")
        page.locator(".clip").wait_for()
        video = make(page, "With a key")
        page.locator(f'[data-video="{video}"] .screen img').wait_for()
        assert finished(page, video) == pytest.approx(1.5, abs=0.1)
        assert key not in page.content()
        context.close()


def test_quality_is_a_share_of_the_model_s_own_steps(page: Page, material: Path) -> None:
    choose(page, material / "photo.png", 1)
    page.locator(".person input[type=file]").set_input_files(material / "voice.wav")
    page.locator(".clip").wait_for()
    page.check("#consent")
    steps = []
    for quality in ("Draft", "Standard", "Fine"):
        page.get_by_text(quality, exact=True).click()
        steps.append(asked(page).get("num_inference_steps"))
    assert steps == [20, None, 60]
    page.wait_for_function("() => !document.querySelector('.video progress:not([hidden])')")


def test_a_picture_is_dropped(page: Page, material: Path) -> None:
    data = base64.b64encode((material / "photo.png").read_bytes()).decode()
    transfer = page.evaluate_handle(
        """(data) => {
            const transfer = new DataTransfer();
            const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
            transfer.items.add(new File([bytes], "photo.png", { type: "image/png" }));
            return transfer;
        }""",
        data,
    )
    page.dispatch_event("#drop", "dragover", {"dataTransfer": transfer})
    page.dispatch_event("#drop", "drop", {"dataTransfer": transfer})
    page.get_by_text("Nobody was found").wait_for()
    assert page.locator("#frame").is_visible()


def test_many_videos_at_once_leave_the_page_answering(page: Page, material: Path) -> None:
    choose(page, material / "photo.png", 1)
    page.locator(".person input[type=file]").set_input_files(material / "voice.wav")
    page.locator(".clip").wait_for()
    videos = [make(page, f"One of many {number}") for number in range(8)]
    page.click("#find-again")
    page.get_by_text("Nobody was found").wait_for()
    for video in reversed(videos):
        card = page.locator(f'[data-video="{video}"]')
        if card.get_by_role("button", name="Stop").count():
            card.get_by_role("button", name="Stop").click()
    page.wait_for_function("() => !document.querySelector('.video progress:not([hidden])')")


def test_names_must_differ_and_everything_can_start_over(page: Page, material: Path) -> None:
    choose(page, material / "photo.png", 2)
    page.locator(".person").nth(1).locator("input[type=file]").set_input_files(material / "voice.wav")
    page.locator(".clip").wait_for()
    page.check("#consent")
    page.locator(".person").nth(1).get_by_label("Name").fill("Person 1")
    assert "the same name" in page.locator("#missing").inner_text()
    page.once("dialog", lambda dialog: dialog.accept())
    page.click("#reset")
    assert page.locator("#drop").is_visible()
    assert page.locator(".person").count() == page.locator(".clip").count() == 0
