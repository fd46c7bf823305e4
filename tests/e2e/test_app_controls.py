"""The page of controls, in a real browser."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from leadglass.assurance.compliance import inventory, reporting
from leadglass.assurance.compliance.controls import Profile, catalogue
from leadglass.assurance.compliance.judging import counted, judge, members
from leadglass.assurance.compliance.office import Office
from leadglass.assurance.compliance.probe import Observation, Verdict
from tests.peers.nodes import made, serving
from tests.support.app import WIDTHS, barriers, overflow_px, page_of
from tests.support.browser import chromium
from tests.support.people import session_of

HOSTILE = "<script>document.title = 'theirs'</script>"


@dataclass
class Site:
    base: str
    sessions: dict[str, str]
    browser: Browser


def report() -> Any:
    """Return a run in which one experiment failed, with a name that attacks."""
    now = datetime.now(UTC)
    controls = list(catalogue().controls.values())
    found = {
        name: Observation(
            probe=name,
            title=name,
            verdict=Verdict.FAIL if name == "E5" else Verdict.PASS,
            expected="",
            observed=HOSTILE,
        )
        for each in controls
        for name in each.probes
    }
    results = judge(controls, found, {}, now)
    told = {
        "at": now.isoformat(),
        "version": "1",
        "profile": "in-force",
        "caution": reporting.CAUTION,
        "counts": counted(results),
        "controls": [members(each, Profile.IN_FORCE) for each in results],
        "observations": [each.members() for each in found.values()],
        "risks": inventory.risks(),
        "assets": [{"kind": "device", "name": HOSTILE, "detail": ""}],
    }
    return json.loads(json.dumps(told))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    node = made(
        tmp_path_factory.mktemp("controls") / "home", https__listen="127.0.0.1:0"
    )
    with node.open() as opened:
        sessions = {
            role: session_of(opened, role, role) for role in ("privacy", "radiologist")
        }
        Office(opened.parts).keep(opened.operator, report())
    with serving(node), chromium() as browser:
        yield Site(f"https://127.0.0.1:{node.https_port}", sessions, browser)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_what_failed_is_seen_and_nobody_is_kept_out(
    site: Site, width: str, scheme: str
) -> None:
    size = {"width": WIDTHS[width], "height": 900}
    with page_of(
        site.browser,
        site.base,
        site.sessions["privacy"],
        viewport=size,
        color_scheme=scheme,
    ) as seen:
        seen.page.goto(f"{site.base}/controls")
        page = seen.page
        row = page.locator("#controls tr", has_text="CC-16")
        expect(row).to_contain_text("failed")
        expect(row).to_contain_text("E5")
        expect(page.locator("#due")).to_contain_text("overdue")
        assert page.title().startswith("Controls")
        assert overflow_px(page) == 0
        assert barriers(page) == []
        assert seen.faults == []


def test_a_run_is_taken_along_as_pdf(site: Site) -> None:
    with page_of(site.browser, site.base, site.sessions["privacy"]) as seen:
        seen.page.goto(f"{site.base}/controls")
        with seen.page.expect_download() as download:
            seen.page.get_by_role("link", name="As PDF").click()
        assert download.value.path().read_bytes().startswith(b"%PDF-")


def test_who_may_not_gets_nothing(site: Site) -> None:
    with page_of(site.browser, site.base, site.sessions["radiologist"]) as seen:
        for path in ("/controls", "/controls/1/report.pdf"):
            answer = seen.page.request.get(site.base + path)
            assert answer.status == 403


@pytest.mark.parametrize("number", ["2", "0", "x", "9" * 30, "-1"])
def test_other_runs_are_not_there(site: Site, number: str) -> None:
    with page_of(site.browser, site.base, site.sessions["privacy"]) as seen:
        answer = seen.page.request.get(f"{site.base}/controls/{number}/report.pdf")
        assert answer.status == 404
