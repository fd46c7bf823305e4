"""How the node is, in a real browser and by a real parser of Prometheus' format."""

import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path

import httpx
import pydicom
import pytest
from playwright.sync_api import Browser, Page, expect
from prometheus_client.parser import text_string_to_metric_families
from pydicom.data import get_testdata_file

from leadglass.identity.tokens.token import NewToken
from tests.peers import programs
from tests.peers.nodes import made, serving
from tests.support.app import WIDTHS, barriers, overflow_px, page_of
from tests.support.browser import chromium
from tests.support.node import RunningNode
from tests.support.people import session_of

PATIENT = "Zwiebelfisch^Kunigunde"
PATIENT_ID = "ZWIEBEL-4711"
PROGRAM = (sys.executable, "-c", "from leadglass.cli import main; main()")


@dataclass
class Site:
    base: str
    session: str
    token: str
    other_token: str
    browser: Browser
    node: RunningNode
    authority: str


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    read = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
    read.PatientName, read.PatientID = PATIENT, PATIENT_ID
    path = tmp_path_factory.mktemp("image") / "a.dcm"
    read.save_as(path)
    return path


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, image: Path) -> Iterator[Site]:
    node = made(tmp_path_factory.mktemp("system") / "home", https__listen="127.0.0.1:0")
    imported(node, image)
    with node.open() as opened:
        session = session_of(opened, "keeper", "administrator")
        tokens = {
            role: opened.accounts.add_token(
                opened.operator,
                NewToken(name=role, role=role, networks=(ip_network("127.0.0.0/8"),)),
            )[0]
            for role in ("monitor", "service")
        }
        authority = opened.authority.node_credentials().authorities.decode()
    with serving(node), chromium() as browser:
        yield Site(
            base=f"https://127.0.0.1:{node.https_port}",
            session=session,
            token=tokens["monitor"],
            other_token=tokens["service"],
            browser=browser,
            node=node,
            authority=authority,
        )


def imported(node: RunningNode, path: Path) -> None:
    subprocess.run(
        [
            sys.executable,
            "-c",
            "from leadglass.cli import main; main()",
            "import",
            path,
        ],
        env=os.environ
        | {
            "LEADGLASS_HOME": str(node.home),
            "PYTHONPATH": os.pathsep.join(each for each in sys.path if each),
        },
        check=True,
        capture_output=True,
    )


def client(site: Site, token: str = "") -> httpx.Client:
    context = ssl.create_default_context(cadata=site.authority)
    headers = {"authorization": f"Bearer {token}"} if token else {}
    return httpx.Client(
        base_url=site.base, verify=context, trust_env=False, headers=headers
    )


def figures(site: Site) -> dict[str, float]:
    """Return all figures, by name and labels."""
    with client(site, site.token) as asked:
        answer = asked.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        " ".join([each.name, *(f"{k}={v}" for k, v in sorted(each.labels.items()))]): (
            each.value
        )
        for family in text_string_to_metric_families(answer.text)
        for each in family.samples
    }


def check(page: Page) -> None:
    """Every reader can use the page, in every light and at every width."""
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme)
        assert barriers(page) == []
    for width in WIDTHS.values():
        page.set_viewport_size({"width": width, "height": 900})
        assert overflow_px(page) == 0, width


def test_the_page_tells_how_the_node_is(site: Site) -> None:
    with page_of(site.browser, site.base, site.session) as seen:
        seen.page.goto(f"{site.base}/system")
        health = seen.page.get_by_role("region", name="Health")
        expect(health.get_by_text("works", exact=True)).to_have_count(4)
        storage = seen.page.get_by_role("region", name="Storage", exact=True).first
        expect(storage.locator(".chart canvas")).to_be_visible()
        storage.get_by_text("The same as a table").click()
        row = storage.locator("#days tr")
        expect(row).to_have_count(1)
        expect(row.locator("td").nth(1)).to_have_text("1")
        expect(seen.page.locator("#jobs tbody tr").first).to_contain_text("Import")
        check(seen.page)
        assert seen.faults == []


def test_all_bytes_are_verified_from_here_and_damage_is_red(site: Site) -> None:
    with page_of(site.browser, site.base, site.session) as seen:
        seen.page.goto(f"{site.base}/system")
        jobs = seen.page.locator("#jobs")
        jobs.get_by_role("button", name="Verify all bytes now").click()
        first = jobs.locator("tbody tr").first
        expect(first).to_contain_text("Verification of all bytes")
        expect(first.locator(".good")).to_have_text("ended")
        blob = max(
            (each for each in (site.node.home / "vault").rglob("*") if each.is_file()),
            key=lambda each: each.stat().st_size,
        )
        content = bytearray(blob.read_bytes())
        content[len(content) // 2] ^= 1
        blob.chmod(0o600)
        blob.write_bytes(content)
        jobs.get_by_role("button", name="Verify all bytes now").click()
        expect(jobs.locator("tbody tr:has-text('Verification')")).to_have_count(2)
        expect(jobs.locator("tbody tr").first.locator("td.bad")).to_have_text("1")
        content[len(content) // 2] ^= 1
        blob.write_bytes(content)
        assert seen.faults == []


def test_figures_count_and_name_nobody(site: Site, image: Path) -> None:
    before = figures(site)
    assert before["leadglass_instances"] == 1
    assert before["leadglass_healthy part=database"] == 1
    station = site.node.enrol("SCANNER")
    again = pydicom.dcmread(image)
    again.SOPInstanceUID = again.file_meta.MediaStorageSOPInstanceUID = "2.25.4711"
    other = image.parent / "b.dcm"
    again.save_as(other)
    programs.to_node("storescu", site.node, station, other)
    programs.run(
        "echoscu",
        *("-aet", PATIENT_ID, "-aec", "ZWIEBEL", "127.0.0.1", str(site.node.port)),
        ok=False,
    )
    after = figures(site)
    new = "leadglass_instances_received_total outcome=stored"
    assert after[new] == before.get(new, 0) + 1
    for name in (
        "leadglass_associations_total outcome=accepted",
        "leadglass_dimse_operations_total operation=C-STORE",
        "leadglass_strangers_total",
        "leadglass_received_bytes_total",
        "leadglass_http_request_seconds_count",
    ):
        assert after[name] > before.get(name, 0), name
    assert after["leadglass_instances"] == 2
    with client(site, site.token) as asked:
        text = asked.get("/metrics").text
        asked.get(f"/dicom-web/studies?PatientID={PATIENT_ID}")
        asked.request("ZWIEBEL", "/health")
        text += asked.get("/metrics").text
    assert "zwiebel" not in text.lower()
    assert "2.25." not in text


def test_figures_are_for_who_watches_and_for_nothing_else(site: Site) -> None:
    with client(site) as nobody:
        assert nobody.get("/metrics").status_code == 401
        ready = nobody.get("/ready")
        assert (ready.status_code, ready.json()) == (200, {"ready": True})
    with client(site, site.other_token) as another:
        assert another.get("/metrics").status_code == 403
    with client(site, site.token) as watcher:
        for path in ("/dicom-web/studies", "/system", "/audit", "/studies", "/devices"):
            assert watcher.get(path).status_code in {403, 404}, path
