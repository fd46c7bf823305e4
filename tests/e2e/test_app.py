"""The web app in a real browser: its frame, for every reader."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, expect

from tests.peers.nodes import made, serving
from tests.support.app import WIDTHS, barriers, overflow_px, page_of
from tests.support.browser import chromium
from tests.support.people import session_of


@dataclass
class Site:
    base: str
    session: str
    browser: Browser


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    node = made(tmp_path_factory.mktemp("app") / "home", https__listen="127.0.0.1:0")
    with node.open() as opened:
        session = session_of(opened, "reader", "radiologist")
    with serving(node), chromium() as browser:
        yield Site(f"https://127.0.0.1:{node.https_port}", session, browser)


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_the_first_page_is_for_everybody(site: Site, width: int, scheme: str) -> None:
    size = {"width": width, "height": 900}
    with page_of(
        site.browser, site.base, site.session, viewport=size, color_scheme=scheme
    ) as seen:
        seen.page.goto(f"{site.base}/start")
        seen.page.wait_for_url(f"{site.base}/studies")
        assert barriers(seen.page) == []
        assert overflow_px(seen.page) == 0
        assert seen.faults == []


def test_the_pages_speak_the_language_of_the_reader(site: Site) -> None:
    with page_of(site.browser, site.base, site.session, language="de-DE") as seen:
        page = seen.page
        page.goto(f"{site.base}/studies")
        expect(page.get_by_role("heading", level=1)).to_have_text("Studien")
        page.get_by_label("Sprache").select_option("en")
        expect(page.get_by_role("heading", level=1)).to_have_text("Studies")
        page.get_by_label("Language").select_option("de")
        expect(page.get_by_role("heading", level=1)).to_have_text("Studien")
        page.get_by_role("button", name="Abmelden").click()
        page.wait_for_url(f"{site.base}/login")
        assert seen.faults == []
