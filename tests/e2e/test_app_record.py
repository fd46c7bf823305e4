"""The pages of the record in a real browser: who looked, was it right, is it whole."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, expect

from leadglass.access.scopes import Scope
from leadglass.archive.retention import Subject
from leadglass.audit.builders import Actor
from leadglass.identity.tokens.token import NewToken
from leadglass.servers.http.authentication import SESSION_COOKIE
from tests.e2e.test_https import HERE, file_of, instance
from tests.peers.nodes import made, serving
from tests.support.app import WIDTHS, barriers, overflow_px, page_of
from tests.support.browser import Seen, chromium
from tests.support.node import RunningNode
from tests.support.people import session_of

PATIENT = "P/1 <i>?&'"
REASON = "unconscious, needs <b>the earlier</b> CT"
ELSEWHERE = Scope(patient_ids=frozenset({"NONE"}))
STUDIES = "/dicom-web/studies"


@dataclass
class Site:
    node: RunningNode
    sessions: dict[str, str]
    browser: Browser
    study: str = ""

    @property
    def base(self) -> str:
        return f"https://127.0.0.1:{self.node.https_port}"

    def ask(self, who: str, method: str, path: str, **more: Any) -> httpx.Response:
        headers = {
            "cookie": f"{SESSION_COOKIE}={self.sessions[who]}",
            "origin": self.base,
        }
        with httpx.Client(verify=False, trust_env=False, timeout=30) as client:
            return client.request(method, self.base + path, headers=headers, **more)

    @contextmanager
    def seen(self, path: str, who: str = "paul", **more: Any) -> Iterator[Seen]:
        """Open a page; whatever goes wrong in it fails the test."""
        with page_of(self.browser, self.base, self.sessions[who], **more) as seen:
            seen.page.goto(self.base + path)
            yield seen
            assert seen.faults == []


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    node = made(tmp_path_factory.mktemp("record") / "home", https__listen="127.0.0.1:0")
    with node.open() as opened:
        sessions = {
            "alice": session_of(opened, "alice", "radiologist", ELSEWHERE),
            "paul": session_of(opened, "paul", "privacy"),
        }
        # Somebody reads the record whose work it is not: an alert.
        eve = Actor("eve", channel="TLSv1.3", kind="operator")
        opened.parts.record(opened.parts.events.audit_log_used(eve, "export", 1))
        opened.review.run(opened.operator)
        new = NewToken(name="modality", role="service", networks=HERE)
        token, _ = opened.accounts.add_token(opened.operator, new)
    with serving(node), chromium() as browser:
        site = Site(node, sessions, browser)
        wanted = instance(PatientID=PATIENT)
        site.study = str(wanted.StudyInstanceUID)
        store(site.base, token, file_of(wanted))
        look_with_broken_glass(site)
        yield site


def store(base: str, token: str, file: bytes) -> None:
    head = b"--cut\r\nContent-Type: application/dicom\r\n\r\n"
    kind = 'multipart/related; type="application/dicom"; boundary=cut'
    with httpx.Client(verify=False, trust_env=False, timeout=30) as client:
        told = client.post(
            base + STUDIES,
            content=head + file + b"\r\n--cut--\r\n",
            headers={"content-type": kind, "authorization": f"Bearer {token}"},
        )
    assert told.status_code == 200, told.text


def look_with_broken_glass(site: Site) -> None:
    wish = {"patient_id": PATIENT, "reason": REASON}
    assert site.ask("alice", "POST", "/api/emergencies", json=wish).status_code == 201
    metadata = f"{STUDIES}/{site.study}/metadata"
    assert site.ask("alice", "GET", metadata).status_code == 200


# Tests of this module follow one another, as a day does.


def test_broken_glass_is_ended_looked_through_and_signed(site: Site) -> None:
    with site.seen("/reviews") as seen:
        page = seen.page
        row = page.locator("#open tbody tr")
        expect(row).to_contain_text("alice")
        expect(row).to_contain_text(REASON)
        expect(row).to_contain_text("stands")
        row.get_by_role("link").click()
        page.get_by_role("button", name="End it now").click()
        page.get_by_label("Not justified").wait_for()
        what = page.get_by_role("region", name="What was seen")
        viewed = what.locator("tr", has_text="Viewed images")
        expect(viewed).to_contain_text("with broken glass no. 1")
        assert barriers(page) == []
        assert overflow_px(page) == 0
        page.get_by_label("Justified", exact=True).check()
        page.get_by_label("Why").fill("was in the shock room;\nreport of the night")
        page.get_by_role("button", name="Sign", exact=True).click()
        page.wait_for_url(f"{site.base}/reviews")
        expect(page.get_by_text("Nothing waits.")).to_be_visible()
        signed = page.locator("#signed tbody tr")
        expect(signed).to_contain_text("was in the shock room; report of the night")
        expect(signed).to_contain_text("paul")
        assert barriers(page) == []


def test_who_saw_a_patient_is_asked_and_printed(site: Site) -> None:
    with site.seen("/access") as seen:
        page = seen.page
        page.get_by_label("Patient ID").fill(PATIENT)
        page.get_by_role("button", name="Show").click()
        heading = page.get_by_role("heading", level=2)
        expect(heading).to_have_text(f"Who saw patient {PATIENT}")
        alice = page.locator("#seers tr", has_text="alice")
        expect(alice).to_contain_text("1 × Viewed images")
        expect(alice).to_contain_text("with broken glass")
        times = page.get_by_role("region", name="What was seen")
        expect(times.locator("tr", has_text="Viewed images")).to_contain_text("view")
        expect(times).to_contain_text(REASON)
        assert "P/1" not in page.url
        assert barriers(page) == []
        page.emulate_media(media="print")
        assert page.get_by_role("button", name="Print").is_hidden()
        assert times.is_visible()
        page.emulate_media(media="screen")
        # A time before it was stored: nobody, and the reader's own zone is meant.
        page.get_by_label("Until").fill("2020-01-01T00:00")
        page.get_by_role("button", name="Show").click()
        expect(page.get_by_text("Nobody, as far as the record says.")).to_be_visible()


def test_the_record_is_searched_read_and_taken_along(
    site: Site, tmp_path: Path
) -> None:
    with site.seen("/audit") as seen:
        page = seen.page
        page.get_by_label("Who").fill("alice")
        page.get_by_label("Event").select_option("110102")
        page.get_by_role("button", name="Search").click()
        row = page.locator("#records tbody tr")
        expect(row).to_have_count(1)
        expect(row).to_contain_text("right=view")
        expect(row).to_contain_text("alice")
        with page.expect_download() as download:
            page.get_by_role("link", name="Export (NDJSON)").click()
        download.value.save_as(tmp_path / "found.ndjson")
        (line,) = (tmp_path / "found.ndjson").read_text("utf-8").splitlines()
        assert json.loads(line)["record"]["id"] == "110102"
        row.get_by_role("link").click()
        expect(page.locator("pre")).to_contain_text(json.dumps(PATIENT))
        assert barriers(page) == []


def test_the_timeline_is_a_chart_and_a_table(site: Site) -> None:
    with site.seen("/audit") as seen:
        page = seen.page
        drawn = page.locator("#timeline canvas")
        expect(drawn).to_be_visible()
        page.get_by_text("The same as a table").click()
        rows = page.locator("#timeline tbody tr")
        expect(rows).to_have_count(24)
        page.get_by_role("button", name="The last 30 days").click()
        expect(rows).to_have_count(30)
        expect(drawn).to_have_count(1)
        page.get_by_text("The same as a table").click()
        total, fine, *failed = rows.last.get_by_role("cell").all_inner_texts()
        assert int(total) == int(fine) + sum(map(int, failed)) > 0
        inked = drawn.evaluate(
            """each => each.getContext('2d').getImageData(0, 0, each.width, each.height)
                .data.some((byte) => byte > 0)"""
        )
        assert inked
        assert barriers(page) == []


def test_older_records_are_a_page_away(site: Site) -> None:
    with site.node.open() as opened:
        events = opened.parts.events
        opened.parts.record(*(events.application_started("1") for _ in range(60)))
    with site.seen("/audit") as seen:
        page = seen.page
        numbers = page.locator("#records tbody td.number")
        expect(numbers).to_have_count(50)
        oldest = int(numbers.last.inner_text())
        page.get_by_role("button", name="Older").click()
        expect(numbers.first).to_have_text(str(oldest - 1))
        page.get_by_role("button", name="Newest").click()
        expect(page.get_by_role("button", name="Newest")).to_have_count(0)


def test_what_somebody_at_the_node_asks_for_is_confirmed_in_the_browser(
    site: Site,
) -> None:
    subject = Subject(person="modality")
    with site.node.open() as opened:
        held = opened.retention.place(opened.operator, subject, REASON)
        orders = [
            opened.orders.ask_release(opened.operator, held.id, REASON)
            for _ in range(2)
        ]
    with site.seen("/keeping") as seen:
        page = seen.page
        expect(page.locator("#waiting tbody tr")).to_have_count(2)
        page.get_by_role("button", name=f"Confirm no. {orders[0].id}").click()
        decided = page.locator("#orders tbody tr")
        expect(decided).to_contain_text("carried out")
        expect(decided).to_contain_text("paul")
        page.get_by_role("button", name=f"Refuse no. {orders[1].id}").click()
        expect(page.get_by_text("Nothing waits.")).to_be_visible()
        expect(decided).to_have_count(2)


@pytest.mark.parametrize(
    ("scheme", "width"), [("dark", "phone"), ("light", "phone"), ("dark", "wall")]
)
def test_the_pages_of_the_record_are_for_everybody(
    site: Site, scheme: str, width: str
) -> None:
    size = {"width": WIDTHS[width], "height": 900}
    with site.seen("/audit", viewport=size, color_scheme=scheme) as seen:
        pages = (
            *("/audit", "/audit/0", "/access", "/keeping", "/reviews", "/reviews/1"),
            *("/review", "/review/1"),
        )
        for path in pages:
            if path != "/audit":
                seen.page.goto(site.base + path)
            assert overflow_px(seen.page) == 0, path
            if width == "phone":
                assert barriers(seen.page) == [], path


def test_a_changed_record_is_found_and_shown_in_red(site: Site) -> None:
    with site.seen("/audit") as seen:
        page = seen.page
        page.get_by_role("button", name="Verify now").click()
        said = page.get_by_text("Every record is as it was written")
        expect(said).to_be_visible(timeout=10_000)
    change = "UPDATE audit_record SET wall_us = wall_us + 1 WHERE n = 3"
    with site.node.open() as opened:
        opened.database.write(lambda tx: tx.connection.exec_driver_sql(change) and None)
    with site.seen("/audit", language="de-DE") as seen:
        page = seen.page
        page.get_by_role("button", name="Jetzt prüfen").click()
        expect(page.get_by_text("NICHT UNVERSEHRT")).to_be_visible(timeout=10_000)
        found = page.locator("#check tbody tr")
        expect(found).to_contain_text("altered")
        expect(found.get_by_role("link")).to_have_attribute("href", "/audit/3")
        red = found.locator(".bad").evaluate("each => getComputedStyle(each).color")
        assert red == "rgb(163, 24, 10)"  # --bad of the light scheme
        assert barriers(page) == []
