"""The studio's pictures in the documentation, taken anew, with a video made by the bundled model:

python tests/serving/studio/screenshots.py examples/duo/photo.png docs
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

PORT = 8377
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
DIALOGUE = (
    "Bea: Did you see the show last night?\nBen: I did!\nBea: [overlap 0.3] [nods]\nBen: [pause 0.4] It was wonderful."
)
#: Bytes and pixels of a picture: what a page of documentation shows.
LARGEST, WIDEST = 150_000, 1000
#: Seconds a machine that is busy with other things may take for anything, and for a video.
PATIENCE, LONG_PATIENCE = 1200.0, 3600.0


def opened(browser: Browser, width: int, height: int, ratio: float, scheme: str) -> Page:
    """The studio in a window of its own."""
    context = browser.new_context(
        viewport={"width": width, "height": height}, device_scale_factor=ratio, color_scheme=scheme, locale="en-US",
    )  # fmt: skip
    context.set_default_timeout(1000 * PATIENCE)
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{PORT}/studio/")
    page.wait_for_selector("html[data-ready]")
    return page


def fill(page: Page, picture: Path) -> None:
    """Everything up to the last click."""
    page.set_input_files("#picture-file", picture)
    page.wait_for_selector(".person:nth-child(2)")
    for person, voice in zip(page.locator(".person").all(), ("jf_alpha", "jf_gongitsune"), strict=True):
        person.get_by_label("Voice").select_option(voice)
    page.fill("#script-text", DIALOGUE)
    page.click("#script-speak")
    page.wait_for_function("() => document.querySelectorAll('.clip').length === 4")
    page.locator(".clip").nth(1).click()
    page.fill("#prompt", "Two friends talk about a show they liked. The camera does not move.")
    page.check("#consent")


def make(page: Page) -> None:
    """The last click, and waiting for the player."""
    page.click("#make")
    page.locator(".video video").wait_for(timeout=1000 * LONG_PATIENCE)
    page.get_by_text("Where it comes from").click()
    page.locator(".video dl").wait_for()


def shoot(page: Page, target: Path, bottom: str) -> None:
    """From the top of the page to the end of a part of it, as a JPEG that is small enough."""
    page.wait_for_timeout(1500)
    page.evaluate("() => { document.activeElement.blur(); scrollTo(0, 0); }")
    page.wait_for_timeout(500)
    box = page.locator(bottom).bounding_box()
    assert box is not None
    page.screenshot(path=target.with_suffix(".png"), full_page=True)
    ratio = page.evaluate("() => devicePixelRatio")
    with Image.open(target.with_suffix(".png")) as image:
        height = round((box["y"] + box["height"] + 16) * ratio)
        whole = image.convert("RGB").crop((0, 0, image.width, height))
    whole.thumbnail((WIDEST, height), Image.Resampling.LANCZOS)
    for quality in range(88, 40, -4):
        whole.save(target, quality=quality, optimize=True)
        if target.stat().st_size < LARGEST:
            break
    target.with_suffix(".png").unlink()


def main(picture: Path, folder: Path) -> None:
    """Serves, fills, makes, shoots."""
    with tempfile.TemporaryDirectory() as queue, sync_playwright() as playwright:
        command = [
            sys.executable,
            "-m",
            "talkies.cli.main",
            "studio",
            "--no-browser",
            "--port",
            str(PORT),
            "--root",
            queue,
        ]
        server = subprocess.Popen(command)
        try:
            deadline = time.monotonic() + PATIENCE
            while True:
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{PORT}/studio/", timeout=10)
                    break
                except OSError:
                    if time.monotonic() > deadline or server.poll() is not None:
                        raise
                    time.sleep(0.3)
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
            page = opened(browser, 390, 844, 1.5, "dark")
            fill(page, picture)
            shoot(page, folder / "studio-phone.jpg", "#timeline")
            page = opened(browser, 1240, 900, 1, "light")
            fill(page, picture)
            make(page)
            shoot(page, folder / "studio.jpg", "#videos")
            browser.close()
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(60)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
