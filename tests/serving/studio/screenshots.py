"""The studio's pictures in the documentation, taken anew:

talkies stage example --out example --index 5 --scale 4
python tests/serving/studio/screenshots.py example/photo.png docs
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
from playwright.sync_api import Page, sync_playwright

PORT = 8377
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
DIALOGUE = (
    "Ben: Did you see the show last night?\n"
    "Ana: I did! [pause 0.4] The ending was wonderful.\n"
    "Ben: [overlap 0.2] Wasn't it?"
)


def fill(page: Page, picture: Path) -> None:
    """Everything up to the last click."""
    page.goto(f"http://127.0.0.1:{PORT}/studio/")
    page.wait_for_selector("html[data-ready]")
    page.set_input_files("#picture-file", picture)
    page.wait_for_selector(".person:nth-child(2)")
    page.locator(".person").first.get_by_label("Voice").select_option("jm_kumo")
    page.fill("#script-text", DIALOGUE)
    page.click("#script-speak")
    page.wait_for_function("() => document.querySelectorAll('.clip').length === 4")
    page.locator(".clip").nth(2).click()
    page.fill("#prompt", "Two friends talk about a show they liked. The camera does not move.")
    page.check("#consent")
    page.wait_for_timeout(1500)
    page.evaluate("() => { document.activeElement.blur(); scrollTo(0, 0); }")


def shoot(page: Page, target: Path, bottom: str) -> None:
    """From the top of the page to the end of a part of it, as a JPEG."""
    box = page.locator(bottom).bounding_box()
    assert box is not None
    page.screenshot(path=target.with_suffix(".png"), full_page=True)
    ratio = page.evaluate("() => devicePixelRatio")
    with Image.open(target.with_suffix(".png")) as image:
        height = round((box["y"] + box["height"] + 16) * ratio)
        image.convert("RGB").crop((0, 0, image.width, height)).save(target, quality=88, optimize=True)
    target.with_suffix(".png").unlink()


def main(picture: Path, folder: Path) -> None:
    """Serves, fills, shoots."""
    with tempfile.TemporaryDirectory() as queue, sync_playwright() as playwright:
        command = [sys.executable, Path(__file__).with_name("studio_server.py"), "serve", queue, str(PORT), "0.02"]
        server = subprocess.Popen(command)
        try:
            while True:
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{PORT}/studio/", timeout=2)
                    break
                except OSError:
                    time.sleep(0.3)
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
            for name, width, height, ratio, scheme in (
                ("studio", 1240, 900, 1, "light"), ("studio-phone", 390, 844, 1.5, "dark"),
            ):  # fmt: skip
                context = browser.new_context(
                    viewport={"width": width, "height": height}, device_scale_factor=ratio, color_scheme=scheme,
                    locale="en-US",
                )  # fmt: skip
                context.set_default_timeout(120_000)
                page = context.new_page()
                fill(page, picture)
                shoot(page, folder / f"{name}.jpg", "#film" if name == "studio" else "#timeline")
                context.close()
            browser.close()
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(20)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
