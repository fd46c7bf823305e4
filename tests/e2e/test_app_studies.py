"""The study list in a real browser: found, opened, explained, uploaded, downloaded."""

import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from leadglass.access.scopes import Scope
from leadglass.audit.search import Search
from leadglass.identity.tokens.token import NewToken
from leadglass.servers.web.studies import ROWS
from tests.e2e.test_https import HERE, file_of, instance
from tests.peers.nodes import made, serving
from tests.support.app import barriers, overflow_px, page_of
from tests.support.browser import chromium
from tests.support.node import RunningNode
from tests.support.people import session_of

COUNT = ROWS + 10
HOSTILE = "<img src onerror>Ä</b>^\"'"


@dataclass
class Site:
    node: RunningNode
    sessions: dict[str, str]
    browser: Browser
    stored: list[str]

    @property
    def base(self) -> str:
        return f"https://127.0.0.1:{self.node.https_port}"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    node = made(
        tmp_path_factory.mktemp("studies") / "home", https__listen="127.0.0.1:0"
    )
    with node.open() as opened:
        sessions = {
            "reader": session_of(opened, "reader", "radiologist"),
            "acquirer": session_of(opened, "acquirer", "technologist"),
        }
        sessions["elsewhere"] = session_of(
            opened, "elsewhere", "radiologist", Scope(patient_ids=frozenset({"NONE"}))
        )
        new = NewToken(name="modality", role="service", networks=HERE)
        token, _ = opened.accounts.add_token(opened.operator, new)
    with serving(node), chromium() as browser:
        site = Site(node, sessions, browser, [])
        files = []
        for number in range(COUNT):
            each = instance(
                PatientID=f"PAT-{number:03}",
                PatientName="Müller^Zoë" if number == 7 else HOSTILE,
                AccessionNumber=f"ACC{number:03}",
                StudyDate=f"2024{1 + number // 28:02}{1 + number % 28:02}",
                StudyDescription="Thorax",
            )
            site.stored.append(str(each.StudyInstanceUID))
            files.append(file_of(each))
        store(site.base, token, files)
        yield site


def store(base: str, token: str, files: list[bytes]) -> None:
    head = b"--cut\r\nContent-Type: application/dicom\r\n\r\n"
    kind = 'multipart/related; type="application/dicom"; boundary=cut'
    body = b"".join(head + data + b"\r\n" for data in files) + b"--cut--\r\n"
    with httpx.Client(verify=False, trust_env=False, timeout=30) as client:
        told = client.post(
            f"{base}/dicom-web/studies",
            content=body,
            headers={"content-type": kind, "authorization": f"Bearer {token}"},
        )
    assert told.status_code == 200, told.text


def rows(page: Page) -> int:
    return page.locator("tr[data-study]").count()


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_the_list_is_for_everybody(site: Site, scheme: str) -> None:
    size = {"width": 360, "height": 900}
    with page_of(
        site.browser,
        site.base,
        site.sessions["acquirer"],
        viewport=size,
        color_scheme=scheme,
    ) as seen:
        seen.page.goto(f"{site.base}/studies")
        seen.page.get_by_text("More fields").click()
        assert barriers(seen.page) == []
        assert overflow_px(seen.page) == 0
        assert seen.faults == []


def test_why_a_study_is_seen_is_told_on_a_wide_screen_too(site: Site) -> None:
    size = {"width": 3840, "height": 2160}
    with page_of(
        site.browser, site.base, site.sessions["acquirer"], viewport=size
    ) as seen:
        seen.page.goto(f"{site.base}/studies")
        assert overflow_px(seen.page) == 0
        seen.page.get_by_role("button", name="Why?").first.click()
        expect(seen.page.get_by_role("dialog")).to_contain_text("everything")
        assert barriers(seen.page) == []
        assert seen.faults == []


def test_studies_are_found_as_somebody_types_and_opened_by_keys(site: Site) -> None:
    with page_of(site.browser, site.base, site.sessions["reader"]) as seen:
        page = seen.page
        page.goto(f"{site.base}/studies")
        newest = page.locator("tr[data-study]").first
        expect(newest).to_have_attribute("data-study", site.stored[-1])
        expect(newest).to_contain_text("<img src onerror>Ä</b>")
        before = questions(site)
        page.keyboard.press("/")
        page.keyboard.type("mul zo", delay=20)
        expect(page.locator("tr[data-study]")).to_have_count(1)
        assert questions(site) == before + 1  # not one for each key
        expect(page.locator("tr[data-study]")).to_contain_text("Müller, Zoë")
        assert page.url == f"{site.base}/studies"
        page.keyboard.press("ArrowDown")
        with page.expect_request("**/viewer/viewer*") as opened:
            page.keyboard.press("Enter")
        assert opened.value.url.endswith(f"StudyInstanceUIDs={site.stored[7]}")
        assert seen.faults == []


def questions(site: Site) -> int:
    with site.node.open() as opened:
        found = opened.audit.list(Search())
        return sum("web app" in dict(each.event.details).values() for each in found)


def test_the_list_goes_on_as_somebody_scrolls(site: Site) -> None:
    with page_of(site.browser, site.base, site.sessions["reader"]) as seen:
        page = seen.page
        page.goto(f"{site.base}/studies")
        assert rows(page) == ROWS
        page.locator("tr[data-study]").last.scroll_into_view_if_needed()
        expect(page.locator("tr[data-study]")).to_have_count(COUNT)
        listed = page.locator("tr[data-study]").evaluate_all(
            "all => all.map(each => each.dataset.study)"
        )
        assert listed == site.stored[::-1]
        assert seen.faults == []


def test_a_filter_is_kept_without_what_names_a_patient(site: Site) -> None:
    with page_of(site.browser, site.base, site.sessions["reader"]) as seen:
        page = seen.page
        page.goto(f"{site.base}/studies")
        page.get_by_text("More fields").click()
        page.get_by_label("Patient name", exact=True).fill("Müller")
        page.get_by_label("Modality").fill("ct")
        page.get_by_label("Period").select_option("7")
        expect(page.get_by_text("No study that you may see matches.")).to_be_visible()
        page.get_by_role("button", name="Keep as a filter").click()
        page.get_by_role("button", name="Clear").click()
        expect(page.locator("tr[data-study]")).to_have_count(ROWS)
        kept = page.evaluate("JSON.stringify(localStorage)")
        assert "CT" in kept
        assert "ller" not in kept
        page.reload()
        page.get_by_role("button", name="CT · last 7 days", exact=True).click()
        expect(page.get_by_text("No study that you may see matches.")).to_be_visible()
        page.get_by_role("button", name=re.compile("Remove the filter")).click()
        assert page.locator("#filters li").count() == 0
        assert seen.faults == []


def test_pictures_are_shown_to_who_wants_them(site: Site) -> None:
    with page_of(site.browser, site.base, site.sessions["reader"]) as seen:
        page = seen.page
        page.goto(f"{site.base}/studies")
        assert page.locator("td.picture img[src]").count() == 0
        with page.expect_response("**/thumbnail") as told:
            page.get_by_label("Pictures").check()
        assert told.value.status == 200
        assert seen.faults == []


def test_glass_is_broken_from_here(site: Site) -> None:
    with page_of(site.browser, site.base, site.sessions["elsewhere"]) as seen:
        page = seen.page
        page.goto(f"{site.base}/studies")
        expect(page.get_by_text("No study that you may see matches.")).to_be_visible()
        page.get_by_role("button", name="A study is missing").click()
        dialog = page.get_by_role("dialog")
        assert barriers(page) == []
        dialog.get_by_label("Patient ID").fill("PAT-003")
        dialog.get_by_label("Reason, in a sentence").fill(
            "unconscious in the shock room"
        )
        dialog.get_by_role("button", name="Break the glass").click()
        row = page.locator("tr[data-study]")
        expect(row).to_have_attribute("data-study", site.stored[3])
        row.get_by_role("button", name="Why?").click()
        expect(dialog).to_contain_text("PAT-003")
        assert seen.faults == []


def test_files_are_uploaded_and_refused_with_a_reason(
    site: Site, tmp_path: Path
) -> None:
    good, bad = tmp_path / "good.dcm", tmp_path / "bad.dcm"
    good.write_bytes(file_of(instance(PatientName="Uploaded^Now", PatientID="UP-1")))
    bad.write_bytes(b"no DICOM at all")
    with page_of(site.browser, site.base, site.sessions["acquirer"]) as seen:
        seen.expected = frozenset({400, 409})
        page = seen.page
        page.goto(f"{site.base}/studies")
        page.get_by_label("Search: name").fill("UP-1")
        expect(page.get_by_text("No study that you may see matches.")).to_be_visible()
        page.get_by_label("DICOM files").set_input_files([good, bad])
        expect(page.get_by_role("status")).to_have_text("2 of 2, 1 stored, 1 refused")
        expect(page.locator("#upload-refused")).to_have_text(
            re.compile("^bad.dcm: It is")
        )
        expect(page.locator("tr[data-study]")).to_contain_text("Uploaded, Now")
        assert seen.faults == []


def test_a_study_is_downloaded_by_who_may_take_it_away(
    site: Site, tmp_path: Path
) -> None:
    with page_of(site.browser, site.base, site.sessions["reader"]) as seen:
        page = seen.page
        page.goto(f"{site.base}/studies")
        with page.expect_download() as started:
            page.get_by_role("button", name="Download").first.click()
        assert started.value.suggested_filename == "study.zip"
        started.value.save_as(tmp_path / "study.zip")
        assert page.url == f"{site.base}/studies"
        assert seen.faults == []
    made = zipfile.ZipFile(tmp_path / "study.zip")
    assert made.testzip() is None
    assert made.namelist() == ["DICOM/S0000001/SE000001/I0000001", "DICOMDIR"]
    assert site.stored[-1].encode() in made.read(made.namelist()[0])
