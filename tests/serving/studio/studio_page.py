"""The studio's page in a browser: how it is served, and what a user does there in several tests."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
BROWSER_TESTS = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: apt-get install chromium"),
    pytest.mark.skipif(find_spec("playwright") is None, reason="pip install playwright"),
    pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed"),
]
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


def asked(page: Page) -> dict:
    """Makes the video; gives what the service is asked for."""
    with page.expect_request(lambda request: request.method == "POST" and request.url.endswith("/v1/videos")) as sent:
        page.click("#make")
    found: dict = sent.value.post_data_json
    return found
