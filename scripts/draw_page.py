"""Draws docs/pictures/app.jpg and app-phone.jpg: the page in Chromium, during a run and after it.

pip install -e '.[browser]'; python scripts/draw_page.py
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "pictures"


def save(page: Page, name: str) -> None:
    """Saves the visible part of the page."""
    picture = Image.open(io.BytesIO(page.screenshot()))
    picture.convert("RGB").save(FOLDER / name, quality=85, optimize=True)


def draw(address: str) -> None:
    """Paints a picture on the page."""
    with sync_playwright() as tools:
        browser = tools.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": 1280, "height": 860})
        page = context.new_page()
        page.goto(address)
        page.get_by_role("button", name="Neuschwanstein").click()
        page.get_by_role("button", name="Starry night").click()
        page.get_by_role("button", name="Paint", exact=True).click()
        page.get_by_text("Step 70 ").wait_for(timeout=900_000)
        page.evaluate("scrollTo(0, 0)")
        page.wait_for_timeout(500)
        save(page, "app.jpg")
        page.get_by_text("Done,").first.wait_for(timeout=900_000)
        state = context.storage_state()
        phone = {"width": 390, "height": 780}
        page = browser.new_context(viewport=phone, color_scheme="dark", storage_state=state, is_mobile=True).new_page()
        page.goto(address)
        page.locator("#gallery button").click()
        page.locator("#run").scroll_into_view_if_needed()
        page.evaluate("document.querySelector('#run').scrollIntoView()")
        page.wait_for_timeout(1000)
        save(page, "app-phone.jpg")
        browser.close()


def main() -> None:
    """Serves the page and draws it."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["app", "--port", "0", "--no-browser", "-o", folder]
        process = subprocess.Popen([sys.executable, "-m", "tfstyle", *words], stdout=subprocess.PIPE, text=True)
        try:
            draw(process.stdout.readline().strip() if process.stdout else "")
        finally:
            process.terminate()
            process.wait()


if __name__ == "__main__":
    main()
