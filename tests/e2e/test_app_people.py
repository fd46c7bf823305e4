"""People and rules in a real browser: the effect first, then the change."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from leadglass.identity.people.secondfactor import Factor
from tests.peers.nodes import made, serving
from tests.support.app import WIDTHS, barriers, overflow_px, page_of
from tests.support.browser import chromium
from tests.support.node import RunningNode
from tests.support.people import session_of

SCHEMES = ("dark", "light")
EXPECT = """\
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
    folder = tmp_path_factory.mktemp("people")
    node = made(folder / "home", https__listen="127.0.0.1:0")
    (node.home / "rules.toml").write_text(EXPECT, "utf-8")
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


def test_a_user_is_added_changed_and_shut_out_with_the_effect_shown(site: Site) -> None:
    with page_of(site.browser, site.base, site.session) as seen:
        page = seen.page
        page.goto(f"{site.base}/people")
        page.get_by_role("button", name="Add a user").click()
        dialog = page.locator("#edit")
        expect(page.locator("#save")).to_be_disabled()
        dialog.get_by_label("Name to log in with").fill("tom")
        dialog.get_by_label("technologist:").check()
        dialog.get_by_role("button", name="Show the effect").click()
        expect(page.locator("#effect")).to_contain_text("gains: ask whether the node")
        check(page)
        page.locator("#save").click()
        secret = page.locator("#secret-text")
        expect(secret).not_to_be_empty()
        shown = secret.inner_text()
        assert len(shown) >= 16
        check(page)
        page.get_by_role("button", name="I have it").click()
        expect(secret).to_be_empty()
        row = page.locator('tr[data-name="tom"]')
        expect(row).to_contain_text("not enrolled yet")
        assert shown not in page.content()
        page.reload()
        assert shown not in page.content()

        page.get_by_role("button", name="Change tom").click()
        dialog.get_by_label("technologist:").uncheck()
        dialog.get_by_label("radiologist:").check()
        dialog.get_by_role("button", name="Show the effect").click()
        expect(page.locator("#effect .loses")).to_contain_text("store images")
        expect(page.locator("#effect .gains")).to_contain_text("break the glass")
        # Whoever goes on changing looks again.
        dialog.get_by_label("Which studies").fill("modality=CT")
        expect(page.locator("#save")).to_be_disabled()
        dialog.get_by_role("button", name="Show the effect").click()
        expect(page.locator("#effect")).to_contain_text("modality=CT")
        page.locator("#save").click()
        expect(page.locator("#done")).to_contain_text("in force")
        expect(row).to_contain_text("radiologist")
        expect(row).to_contain_text("modality=CT")

        page.get_by_role("button", name="Disable tom").click()
        page.locator("#sure-go").click()
        expect(row.locator(".state")).to_contain_text("disabled")
        check(page)
        assert seen.faults == []


def test_a_change_that_an_expectation_forbids_is_not_saved(site: Site) -> None:
    with page_of(site.browser, site.base, site.session, language="de") as seen:
        page = seen.page
        page.goto(f"{site.base}/people")
        page.get_by_role("button", name="rita ändern").click()
        dialog = page.locator("#edit")
        dialog.get_by_label("radiologist:").uncheck()
        dialog.get_by_label("administrator:").check()
        dialog.get_by_role("button", name="Wirkung zeigen").click()
        problem = page.locator("#effect .problem")
        expect(problem).to_contain_text("rita never runs the node")
        expect(page.locator("#effect .gains")).to_contain_text("den Knoten betreiben")
        expect(page.locator("#save")).to_be_disabled()
        check(page)
        assert seen.faults == []


def test_a_token_is_shown_once_and_revoked(site: Site) -> None:
    with page_of(site.browser, site.base, site.session) as seen:
        page = seen.page
        page.goto(f"{site.base}/people")
        page.get_by_role("button", name="Add a token").click()
        page.locator("#token").get_by_label("Name of the program").fill("robot")
        page.get_by_role("button", name="Make the token").click()
        secret = page.locator("#secret-text")
        expect(secret).not_to_be_empty()
        shown = secret.inner_text()
        page.get_by_role("button", name="I have it").click()
        expect(secret).to_be_empty()
        expect(page.locator('#tokens tr[data-name="robot"]')).to_be_visible()
        assert shown not in page.content()
        page.get_by_role("button", name="Revoke robot").click()
        page.locator("#sure-go").click()
        expect(page.locator("#tokens")).to_contain_text("revoked")
        check(page)
        assert seen.faults == []


def stale(site: Site) -> str:
    """Return a session whose person proved itself an hour ago."""
    with site.node.open() as opened:

        def work(tx: Any) -> str:
            user = opened.accounts.users.get(tx.connection, "keeper")
            now = datetime.now(UTC)
            then = now - timedelta(hours=1)
            made = opened.sessions.create(tx, user, Factor.TOTP, None, now, then)
            return made[0]

        return opened.database.write(work)


def test_nobody_is_added_without_a_fresh_proof(site: Site) -> None:
    with page_of(site.browser, site.base, stale(site)) as seen:
        page = seen.page
        seen.expected = frozenset({400, 401, 403})
        page.goto(f"{site.base}/people")
        page.get_by_role("button", name="Add a user").click()
        page.get_by_label("Name to log in with").fill("mallory")
        page.get_by_label("radiologist:").check()
        page.get_by_role("button", name="Show the effect").click()
        page.locator("#save").click()
        dialog = page.locator("#prove")
        expect(dialog).to_contain_text("Prove that it is you")
        dialog.get_by_label("Code of your").fill("000000")
        dialog.get_by_role("button", name="Go on").click()
        expect(page.locator("#prove-fault")).not_to_be_empty()
        assert page.locator('tr[data-name="mallory"]').count() == 0
