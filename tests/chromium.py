"""A real browser, where one is installed."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def browser() -> Iterator[Any]:
    """Yields Chromium; skips the test where there is none."""
    programs = [path for name in _NAMES if (path := shutil.which(name))]
    if not programs:
        pytest.skip(f"no browser is installed: none of {', '.join(_NAMES)}")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser")
    with playwright.sync_playwright() as driver:
        # Without a sandbox of its own it also starts in containers; the pages are ours.
        chromium = driver.chromium.launch(executable_path=programs[0], args=["--no-sandbox"])
        try:
            yield chromium
        finally:
            chromium.close()


class Visit:
    """A page that is open, and all that it has said and asked for."""

    def __init__(self, chromium: Any, address: str, width: int = 1400, **options: Any) -> None:
        self.page = chromium.new_page(viewport={"width": width, "height": 900}, **options)
        self.said: list[str] = []
        self.fetched: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.fetched.append(request.url))
        self.page.goto(address)
        self.page.wait_for_selector("html[data-ready]", state="attached")
