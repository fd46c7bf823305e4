"""A real browser, and all that its pages do that they should not."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Page,
    Request,
    Response,
    sync_playwright,
)

CHROMIUM = "/usr/bin/chromium"
FLAGS = (
    *("--no-sandbox", "--disable-quic", "--use-gl=angle", "--use-angle=swiftshader"),
    *("--enable-unsafe-swiftshader", "--disable-background-networking"),
)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run Chromium without a screen."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Seen:
    """A page, and its faults: errors, refused requests, requests elsewhere.

    Violations of the page's policy are errors of the console.
    """

    page: Page
    base: str
    faults: list[str] = field(default_factory=list)
    expected: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("console", self._said)
        self.page.on("request", self._asked)
        self.page.on("response", self._told)

    def _said(self, said: ConsoleMessage) -> None:
        is_expected = any(f"status of {each} " in said.text for each in self.expected)
        if said.type == "error" and not is_expected:
            self.faults.append(said.text)

    def _asked(self, asked: Request) -> None:
        if not asked.url.startswith((self.base, "blob:", "data:")):
            self.faults.append(f"elsewhere: {asked.url}")

    def _told(self, told: Response) -> None:
        if told.status >= 400 and told.status not in self.expected:
            self.faults.append(f"{told.status} {told.url}")
