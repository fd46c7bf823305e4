"""The web app in a real browser: a page for who has logged in, and its judge."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page

from leadglass.servers.http.authentication import SESSION_COOKIE
from tests.support.browser import Seen

# ``make test`` puts it there (``assembly/scripts.py``).
AXE = Path(__file__).parent.parent.parent / ".venv/axe/axe.min.js"
WIDTHS = {"phone": 360, "desk": 1280, "wall": 3840}


@contextmanager
def page_of(
    browser: Browser, base: str, session: str, *, language: str = "en", **more: Any
) -> Iterator[Seen]:
    """Open an empty page with somebody's session; it counts all that goes wrong."""
    context = browser.new_context(
        ignore_https_errors=True, locale=language, **{"bypass_csp": False, **more}
    )
    context.add_cookies(
        [
            {
                "name": SESSION_COOKIE,
                "value": session,
                "url": base,
                "secure": True,
                "httpOnly": True,
                "sameSite": "Strict",
            }
        ]
    )
    try:
        yield Seen(context.new_page(), base)
    finally:
        context.close()


def barriers(page: Page) -> list[str]:
    """Return what keeps people out of a page (WCAG 2.2 A and AA), as axe finds it."""
    page.evaluate(AXE.read_text("utf-8"))
    found = page.evaluate(
        """() => axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a',
            'wcag21aa', 'wcag22aa']})"""
    )
    return [
        f"{each['id']}: {node['html']}: {node['failureSummary']}"
        for each in found["violations"]
        for node in each["nodes"]
    ]


def overflow_px(page: Page) -> int:
    """Return by how much a page is wider than its window."""
    return int(
        page.evaluate(
            """() => document.documentElement.scrollWidth
                - document.documentElement.clientWidth"""
        )
    )
