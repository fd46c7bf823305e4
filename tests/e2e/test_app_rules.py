"""Rules in a real browser: asked, tried, changed with the effect shown."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.peers.nodes import made, serving
from tests.support.app import WIDTHS, barriers, overflow_px, page_of
from tests.support.browser import chromium
from tests.support.node import RunningNode
from tests.support.people import session_of

SCHEMES = ("dark", "light")
ERASES = """\
[[rule]]
name = "rita erases"
operators = ["rita"]
rights = ["erase"]
from = ["127.0.0.0/8"]
reason = "retention"

[[expect]]
name = "rita never runs the node"
operator = "rita"
right = "administer"
from = "127.0.0.1"
allowed = false
"""


@dataclass
class Site:
    base: str
    session: str
    browser: Browser
    node: RunningNode


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("rules")
    node = made(folder / "home", https__listen="127.0.0.1:0")
    with node.open() as opened:
        session = session_of(opened, "keeper", "administrator")
        session_of(opened, "rita", "radiologist")
    with serving(node), chromium() as browser:
        yield Site(f"https://127.0.0.1:{node.https_port}", session, browser, node)


def check(page: Page) -> None:
    """Every reader can use the page, in every light and at every width."""
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        assert barriers(page) == []
    for width in WIDTHS.values():
        page.set_viewport_size({"width": width, "height": 900})
        assert overflow_px(page) == 0, width
    page.set_viewport_size({"width": 1280, "height": 900})


def draft(page: Page, text: str) -> None:
    page.get_by_label("rules.toml").fill(text)
    expect(page.locator("#save")).to_be_disabled()
    page.get_by_role("button", name="Show the effect").click()


def test_rules_are_changed_with_their_effect_shown(site: Site) -> None:
    kept = site.node.home / "rules.toml"
    with page_of(site.browser, site.base, site.session) as seen:
        page = seen.page
        page.goto(f"{site.base}/rules")
        expect(page.locator("#roles")).to_contain_text("radiologist")
        # A problem, with its line.
        draft(page, ERASES.replace("rights", "right"))
        expect(page.locator("#effect")).to_contain_text("rules.toml line 4: ")
        # What an expectation forbids.
        draft(page, ERASES.replace('"erase"', '"erase", "administer"'))
        problem = page.locator("#effect .problem")
        expect(problem).to_contain_text("rita never runs the node")
        expect(page.locator("#effect")).to_contain_text("fails")
        expect(page.locator("#save")).to_be_disabled()
        assert not kept.exists()
        # What is good.
        draft(page, ERASES)
        expect(page.locator("#effect .gains")).to_contain_text("destroy studies")
        expect(page.locator("#came")).to_contain_text("rita erases")
        check(page)
        page.locator("#save").click()
        expect(page.locator("#done")).to_contain_text("in force")
        expect(page.locator("#of-file")).to_contain_text("rita erases")
        assert kept.read_text("utf-8") == ERASES
        # And once more, from the same page.
        draft(page, ERASES.replace("retention", "Löschfrist"))
        expect(page.locator("#went")).to_contain_text("rita erases")
        page.locator("#save").click()
        expect(page.locator("#of-file")).to_contain_text("Löschfrist")

        page.get_by_label("Name", exact=True).fill("rita")
        page.get_by_label("Right", exact=True).select_option("erase")
        page.get_by_label("Address; empty").fill("127.0.0.1")
        page.get_by_role("button", name="Ask").click()
        expect(page.locator("#answer")).to_contain_text("yes")
        expect(page.locator("#answer")).to_contain_text("allowed by 'rita erases'")
        check(page)
        assert seen.faults == []


def test_what_somebody_else_wrote_is_not_overwritten(site: Site) -> None:
    kept = site.node.home / "rules.toml"
    with page_of(site.browser, site.base, site.session, language="de") as seen:
        page = seen.page
        seen.expected = frozenset({409})
        page.goto(f"{site.base}/rules")
        theirs = kept.read_text("utf-8") + "# theirs\n"
        kept.write_text(theirs, "utf-8")
        page.get_by_label("rules.toml").fill("")
        page.get_by_role("button", name="Wirkung zeigen").click()
        expect(page.locator("#effect .loses")).to_contain_text("Studien vernichten")
        page.locator("#save").click()
        expect(page.locator("#alert")).to_contain_text("changed meanwhile")
        assert kept.read_text("utf-8") == theirs
        assert seen.faults == []
