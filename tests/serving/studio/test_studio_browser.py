"""From picture to playing video in a real browser (Chromium), on the real service and queue; the worker films the still
picture."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from studio_page import BROWSER_TESTS, SERVER, asked, choose, finished, make, state

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = BROWSER_TESTS


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
    page.locator(".person").nth(1).get_by_label("Movement").select_option("Moves much")
    before = page.evaluate("document.querySelector('.video')?.dataset.video")
    order = asked(page)
    assert [speaker.get("liveliness") for speaker in order["speakers"]] == [None, 1.6]
    assert order["turns"] == [
        {"speaker": "Person 1", "audio": state(page)["turns"][0]["file"], "does": "smiles", "start": 0},
        {"speaker": "Person 2", "does": "nods and laughs", "start": 0.5},
    ]
    page.wait_for_function("(before) => document.querySelector('.video')?.dataset.video !== before", arg=before)
    video = str(page.locator(".video").first.get_attribute("data-video"))
    assert finished(page, video) == pytest.approx(2.5, abs=0.1)
    page.reload()
    assert page.locator(".clip.act").inner_text() == "nods and laughs"
    assert page.locator(".person").nth(1).get_by_label("Movement").input_value() == "1.6"
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
