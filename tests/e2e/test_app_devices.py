"""Devices and doors in a real browser: enrol and store, knock and be seen, revoke."""

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from leadglass.identity.device import Device
from leadglass.identity.people.secondfactor import Factor
from tests.peers import programs, samples
from tests.peers.nodes import made, serving
from tests.support.app import WIDTHS, barriers, overflow_px, page_of
from tests.support.browser import chromium
from tests.support.node import Credentials, RunningNode
from tests.support.people import session_of

SCHEMES = ("dark", "light")


@dataclass
class Site:
    base: str
    session: str
    browser: Browser
    node: RunningNode


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("devices")
    node = made(folder / "home", https__listen="127.0.0.1:0")
    with node.open() as opened:
        session = session_of(opened, "keeper", "administrator")
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


def known(node: RunningNode, name: str) -> Device:
    with node.open() as opened, opened.database.read() as connection:
        return opened.devices.get(connection, name)


def fill(page: Page, name: str) -> None:
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("store").check()
    page.get_by_label("echo").check()


def downloaded(page: Page, button: str, folder: Path) -> Path:
    with page.expect_download() as download:
        page.get_by_role("button", name=button, exact=True).click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
    return folder / path.stem


def test_a_device_is_enrolled_stores_is_renewed_and_revoked(
    site: Site, tmp_path: Path
) -> None:
    image = samples.save(samples.study(1)[0], tmp_path / "image.dcm")
    node = site.node
    with page_of(site.browser, site.base, site.session) as seen:
        page = seen.page
        page.goto(f"{site.base}/devices")
        expect(page.locator("#list")).to_contain_text("None: nobody can speak DICOM")
        # A stranger: no certificate, and no device comes from there.
        programs.run("echoscu", "localhost", str(node.port), ok=False)
        page.get_by_role("button", name="Refresh").click()
        knock = page.locator("#strangers tbody tr").first
        expect(knock).to_contain_text("127.0.0.1")
        expect(knock).to_contain_text("no device comes from this address")
        check(page)
        page.get_by_role("button", name="This is ours: enrol it: 127.0.0.1").click()
        expect(page.get_by_label("Addresses or networks")).to_have_value("127.0.0.1")
        page.get_by_label("AE titles").fill("CT1")
        fill(page, "CT1")
        folder = downloaded(page, "Enrol, and download the key", tmp_path)
        expect(page.get_by_role("status")).to_contain_text("Enrolled.")
        row = page.locator('tr[data-name="CT1"]')
        expect(row.locator(".last")).to_have_text("not yet")

        device = Credentials(folder, known(node, "CT1"))
        programs.to_node("storescu", node, device, image)
        page.get_by_role("button", name="Refresh").click()
        expect(row.locator(".last")).to_contain_text("127.0.0.1, CT1, TLSv1.")
        page.get_by_role("button", name="Renew CT1").scroll_into_view_if_needed()
        anew = downloaded(page, "Renew CT1", tmp_path / "anew")
        renewed = Credentials(anew, known(node, "CT1"))
        programs.to_node("storescu", node, renewed, image)

        page.get_by_role("button", name="Revoke CT1").click()
        page.get_by_label("Reason", exact=True).fill("sold")
        page.locator("#revoke-form .danger").click()
        expect(page.locator("#revoked")).to_contain_text("sold")
        programs.to_node("storescu", node, renewed, image, ok=False)
        check(page)
        assert seen.faults == []


def test_the_doors_say_what_is_open(site: Site) -> None:
    with page_of(site.browser, site.base, site.session) as seen:
        page = seen.page
        page.goto(f"{site.base}/doors")
        expect(page.locator("#verdict")).to_contain_text("Nothing is weaker")
        rows = page.locator("#listening tbody tr")
        expect(rows).to_have_count(2)
        expect(rows.first).to_contain_text(f"127.0.0.1:{site.node.port}")
        expect(rows.first).to_contain_text("TLSv1.2, TLSv1.3")
        expect(rows.first).to_contain_text("needed")
        expect(page.locator("#sessions")).to_contain_text("keeper")
        check(page)
        assert seen.faults == []


def test_nothing_is_enrolled_without_a_fresh_proof(site: Site) -> None:
    with page_of(site.browser, site.base, stale(site)) as seen:
        page = seen.page
        seen.expected = frozenset({400, 401, 403})
        page.goto(f"{site.base}/devices")
        page.get_by_label("AE titles").fill("MR1")
        page.get_by_label("Addresses or networks").fill("10.4.0.7")
        fill(page, "MR1")
        page.get_by_role("button", name="Enrol, and download the key").click()
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text("Prove that it is you")
        page.get_by_label("Code of your").fill("000000")
        dialog.get_by_role("button", name="Go on").click()
        expect(page.locator("#prove-fault")).not_to_be_empty()
        assert page.locator('tr[data-name="MR1"]').count() == 0


def stale(site: Site) -> str:
    """Return a session whose person proved itself an hour ago."""
    with site.node.open() as opened:
        session_of(opened, "late", "administrator")

        def work(tx: Any) -> str:
            user = opened.accounts.users.get(tx.connection, "late")
            now = datetime.now(UTC)
            then = now - timedelta(hours=1)
            made = opened.sessions.create(tx, user, Factor.TOTP, None, now, then)
            return made[0]

        return opened.database.write(work)
