"""The studio's page in a real browser (Chromium): recording, boxes, the timeline, keyboard, phone, keys."""

from __future__ import annotations

import base64
import re
import urllib.parse
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from studio_page import BROWSER_TESTS, PATIENCE, asked, choose, finished, make, serving, state

from talkies.serving.keys import Keys

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

pytestmark = BROWSER_TESTS


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
