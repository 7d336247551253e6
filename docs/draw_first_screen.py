"""Draws docs/images/first_screen.png, the answer of a study's report: ``python docs/draw_first_screen.py runs/quickstart``.

Needs Chromium and the test extra's Playwright. Of the phantom's study only: the repository holds no real CT.
"""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

PICTURE = Path(__file__).parent / "images" / "first_screen.png"
WIDTH, HEIGHT = 1280, 900  # of the window, in CSS pixels
SCALE, MARGIN = 1.25, 16


def draw(report: Path) -> None:
    """Take the picture of a report's section that holds the answer."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, device_scale_factor=SCALE)
        page.goto(report.absolute().as_uri())
        page.wait_for_selector("#answer .plotly .point")
        box = page.locator("#answer").bounding_box()
        assert box is not None
        clip = {
            "x": box["x"] - MARGIN,
            "y": box["y"],  # right below the page's title
            "width": box["width"] + 2 * MARGIN,
            "height": box["height"] + MARGIN,
        }
        picture = page.screenshot(clip=clip, full_page=True)
        browser.close()
    Image.open(io.BytesIO(picture)).convert("RGB").save(PICTURE, optimize=True)
    print(f"{PICTURE}  ({PICTURE.stat().st_size / 1000:.0f} kB)")


if __name__ == "__main__":
    draw(Path(sys.argv[1]) / "study" / "report.html")
