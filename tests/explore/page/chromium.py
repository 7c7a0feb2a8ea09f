"""Chromium for the tests of the page, and a watch that notes what a page must not do."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
REQUIRED = "CI"  # where this variable is set, the tests of the page must not be skipped

try:
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, Request, Response, expect
    from playwright.sync_api import sync_playwright as start_playwright
except ImportError:
    if os.environ.get(REQUIRED):
        raise
    pytest.skip("The tests of the page need playwright: install iglo[dev].", allow_module_level=True)

__all__ = [
    "Browser",
    "Locator",
    "Page",
    "expect",
]  # for the tests of the page, which are skipped where playwright is missing


def program() -> str | None:
    """The path of Chromium on this machine."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


def require_chromium() -> None:
    """Skips a test if there is no Chromium, or fails it if it must not be skipped."""
    if program() is None:
        sentence = f"The tests of the page need Chromium: none of {', '.join(PROGRAMS)} is on the path."
        if os.environ.get(REQUIRED):
            pytest.fail(f"{sentence} They must not be skipped where {REQUIRED} is set.", pytrace=False)
        pytest.skip(sentence)


@contextmanager
def started() -> Iterator[Browser]:
    """Chromium without a window. It resolves no names of other machines, so a request to them fails and is noted."""
    path = program()
    if path is None:
        raise FileNotFoundError(f"none of {', '.join(PROGRAMS)} is on the path; install Chromium")
    options = ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"]
    options += ["--no-sandbox"] if hasattr(os, "getuid") and os.getuid() == 0 else []
    with start_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=options)
        yield browser
        browser.close()


class Watch:
    """Notes errors in the console, failed requests, and requests that leave `origin`, in all pages of a context.

    A request that the page itself has aborted has not failed.

    Attributes:
        problems: what went wrong, a sentence each.
        requested: the addresses of all requests.
    """

    def __init__(self, context: BrowserContext, origin: str):
        self.origin, self.problems, self.requested = origin, [], []
        context.on("console", self._said)
        context.on("weberror", lambda error: self.problems.append(f"error in a script: {error.error}"))
        context.on("request", self._asked)
        context.on("requestfailed", self._failed)
        context.on("response", self._answered)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(f"{message.type} in the console: {message.text} ({message.location['url']})")

    def _asked(self, request: Request) -> None:
        self.requested.append(request.url)
        if not request.url.startswith((self.origin, "data:", "blob:")):
            self.problems.append(f"a request leaves {self.origin}: {request.url}")

    def _failed(self, request: Request) -> None:
        if request.failure != "net::ERR_ABORTED":
            self.problems.append(f"{request.method} {request.url} failed: {request.failure}")

    def _answered(self, response: Response) -> None:
        if response.status >= 400:
            self.problems.append(f"{response.request.method} {response.url} is answered {response.status}")
