"""Logging in with the password of a real directory: slapd, a node, a browser."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import expect

from leadglass.app import directory_of
from leadglass.audit.codes import EventID
from leadglass.audit.search import Search
from leadglass.config import FILE_NAME, Config
from tests.e2e.test_people import Browser, Site
from tests.peers.nodes import serving
from tests.support.browser import Seen, chromium
from tests.support.node import ROOT, RunningNode
from tests.support.slapd import (
    GROUPS,
    PASSWORD,
    PEOPLE,
    READER,
    READER_PASSWORD,
    Slapd,
    slapd,
)


@dataclass
class House:
    """A node and a directory."""

    site: Site
    directory: Slapd


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("directory")
    (folder / "slapd").mkdir()
    with slapd(folder / "slapd") as directory:
        directory.group("Radiology", directory.know("alice"))
        directory.group("pacs", directory.know("adam"))
        directory.know("nobody")
        secret = folder / "bind-password"
        secret.write_text(READER_PASSWORD)
        secret.chmod(0o600)
        home = folder / "home"
        home.mkdir(mode=0o700)
        (home / FILE_NAME).write_text(
            f"""
            [https]
            listen = "127.0.0.1:0"
            [ldap]
            url = "{directory.url}"
            ca_file = "{directory.authority.file}"
            base_dn = "{PEOPLE}"
            bind_dn = "{READER}"
            bind_password_file = "{secret}"
            group_roles = [
              "CN=radiology, {GROUPS}=radiologist",
              "cn=pacs,{GROUPS}=administrator",
            ]
            unsafe_single_factor = "a test of one proof"
            """
        )
        node = RunningNode(home)
        first = node.init()
        with serving(node):
            yield House(Site(node, first), directory)


def log_in(browser: Browser, name: str, password: str = PASSWORD) -> int:
    step = browser.told("/api/login", name=name, password=password)
    return browser.post("/api/login/code", ticket=step["ticket"], code="").status_code


def test_who_is_in_a_group_comes_in(house: House) -> None:
    with house.site.browser() as browser:
        assert log_in(browser, "alice") == 200
        me = browser.client.get("/api/me").json()
        assert me["name"] == "ldap:alice"
        assert "view" in me["rights"]
        assert browser.client.get("/dicom-web/studies").status_code in {200, 204}
    (event,) = house.site.events(EventID.USER_AUTHENTICATION)
    assert dict(event.details)["issuer"] == house.directory.url


def test_who_is_not_does_not(house: House) -> None:
    with house.site.browser() as browser:
        assert log_in(browser, "nobody") == 403
        assert log_in(browser, "alice", "wrong") == 403
        assert log_in(browser, "alice", "") == 403
        assert log_in(browser, "*") == 403
        assert browser.me() == 401


def test_one_proof_is_not_enough_for_what_is_dangerous(house: House) -> None:
    with house.site.browser() as browser:
        assert log_in(browser, "adam") == 200
        refused = browser.post("/api/users", name="x", roles=["radiologist"])
        assert refused.status_code == 403
        assert "prove yourself anew" in refused.json()["detail"]
        assert browser.client.get("/api/users").status_code == 200


def test_in_a_real_browser(house: House) -> None:
    with chromium() as running:
        context = running.new_context(ignore_https_errors=True)
        seen = Seen(context.new_page(), house.site.base)
        page = seen.page
        page.goto(f"{house.site.base}/login")
        page.fill("#name", "alice")
        page.fill("#password", PASSWORD)
        page.click("#first-form button")
        expect(page.locator(".directory")).to_be_visible()
        page.click("#second-form button")
        page.wait_for_url(f"{house.site.base}/studies", wait_until="commit")
        assert seen.faults == []


def test_without_the_directory_the_answer_is_the_same(house: House) -> None:
    house.directory.stop()
    try:
        with house.site.browser() as browser:
            assert log_in(browser, "alice") == 403
        with house.site.node.open() as opened:
            told = opened.audit.list(Search(event=EventID.USER_AUTHENTICATION))
            reasons = [each.event.outcome_description for each in told]
        assert "the directory does not answer" in reasons
    finally:
        house.directory.start()


def test_the_settings_of_the_page_are_taken(tmp_path: Path) -> None:
    page = (ROOT / "docs/how-to/use-a-directory.md").read_text("utf-8")
    settings = page.split("```toml\n")[1].split("```")[0]
    lines = [each for each in settings.splitlines() if not each.startswith("ca_file")]
    (tmp_path / FILE_NAME).write_text("\n".join(lines))
    config = Config.load(tmp_path, {})
    assert directory_of(config) is not None
    (weakness,) = config.weaknesses()
    assert weakness.startswith("ldap.unsafe_single_factor")
