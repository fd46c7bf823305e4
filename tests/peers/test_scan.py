"""The exposure scanner on servers of others: it finds what is there, and no more."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from leadglass.assurance.exposure.checks.table import CHECKS
from leadglass.assurance.exposure.difference import compare
from leadglass.assurance.exposure.options import Options
from leadglass.assurance.exposure.printed import as_pdf, html
from leadglass.assurance.exposure.reach import Reach
from leadglass.assurance.exposure.report import members, sarif
from leadglass.assurance.exposure.scan import Result, scan, scan_own
from leadglass.assurance.exposure.targets import Authorisation, parse
from leadglass.assurance.finding import Severity
from leadglass.errors import Refused
from tests.peers import scantargets as others
from tests.support.node import RunningNode

TODAY = datetime.now(UTC).date()

Serving = Callable[[Path], Any]


@contextmanager
def orthanc_with_data(folder: Path) -> Iterator[list[int]]:
    with others.orthanc(folder) as found:
        others.stored(found.dicom, others.sample(folder), "ORTHANC")
        yield [found.dicom, found.http]


@contextmanager
def orthanc_hardened(folder: Path) -> Iterator[list[int]]:
    with others.orthanc(folder, **others.hardened(folder)) as found:
        yield [found.dicom, found.http]


@contextmanager
def dcmqrscp_any(folder: Path) -> Iterator[list[int]]:
    with others.dcmqrscp(folder) as port:
        others.stored(port, others.sample(folder), "ACME_STORE")
        yield [port]


@contextmanager
def storescp(folder: Path) -> Iterator[list[int]]:
    with others.storescp(folder) as port:
        yield [port]


@contextmanager
def tiny_pacs(folder: Path) -> Iterator[list[int]]:
    with others.tiny_pacs(folder) as port:
        others.stored(port, others.sample(folder), "TINY_PACS")
        yield [port]


@contextmanager
def weak_tls(folder: Path) -> Iterator[list[int]]:
    with ExitStack() as stack:
        inner = stack.enter_context(others.storescp(folder))
        yield [stack.enter_context(others.stunnel(folder, inner))]


def served(handler: Any) -> Serving:
    @contextmanager
    def serve(_: Path) -> Iterator[list[int]]:
        with others.web(handler) as port:
            yield [port]

    return serve


def silent(kind: str) -> Serving:
    @contextmanager
    def serve(_: Path) -> Iterator[list[int]]:
        with others.raw(kind) as port:
            yield [port]

    return serve


@dataclass(frozen=True)
class Expected:
    """One row of the matrix.

    Attributes:
        name: Of the target.
        serve: Starts it.
        findings: Every check that must find something of ``low`` or worse, judged as
            from the Internet; what is not named here must find nothing.
        grades: By port, as started.
        exposed: Whether a stranger is shown patients.
    """

    name: str
    serve: Serving
    findings: str
    grades: str
    exposed: bool = False


STRANGER = "AE-02 AE-07 DM-01 DM-09p"
TOOLKIT = "AE-09 VUL-01 VUL-02"
MATRIX = (
    Expected(
        "orthanc-default", orthanc_with_data,
        f"AE-01 {STRANGER} {TOOLKIT} NET-04 VUL-03 EXP-01 "
        "WEB-01 WEB-07 WEB-13 WEB-19 WEB-21",
        "DE", exposed=True,
    ),
    Expected(
        # Its TLS takes versions 1.0 and 1.1, whatever its documentation says.
        "orthanc-hardened", orthanc_hardened,
        "TLS-02 TLS-03 TLS-05 TLS-07 WEB-01 WEB-13 WEB-16", "DD",
    ),
    Expected(
        "dcmqrscp-any", dcmqrscp_any,
        f"{STRANGER} {TOOLKIT} AE-03 AE-04 AE-05 DM-02 DM-03 DM-07 EXP-01 EXP-02 "
        "NET-04",
        "F", exposed=True,
    ),
    Expected(
        "storescp", storescp, f"AE-01 {STRANGER} {TOOLKIT} NET-04", "D",
    ),
    Expected(
        "tiny-pacs", tiny_pacs,
        f"{STRANGER} AE-03 AE-04 AE-05 DM-02 DM-03 DM-17 EXP-01 EXP-02 NET-04 VUL-03",
        "F", exposed=True,
    ),
    Expected(
        "stunnel-weak", weak_tls,
        f"AE-01 {STRANGER} {TOOLKIT} TLS-02 TLS-03 TLS-04 TLS-05 TLS-07 TLS-08 TLS-09",
        "D",
    ),
    Expected(
        "web-pacs-open", served(others.OpenPacs),
        "EXP-02 WEB-01 WEB-02 WEB-04 WEB-05 WEB-06 WEB-08 WEB-09 WEB-10 WEB-11 WEB-12 "
        "WEB-13 WEB-14 WEB-16 WEB-17 WEB-18 WEB-19 WEB-20 WEB-21 WEB-23 WEB-25",
        "F", exposed=True,
    ),
    Expected("catch-all", served(others.CatchAll), "WEB-01 WEB-13 WEB-17", "D"),
    Expected("plain-web", served(others.Plain), "WEB-01 WEB-13 WEB-17", "D"),
    Expected("ssh-banner", silent("banner"), "", "A"),
    Expected("flood", silent("flood"), "", "A"),
)  # fmt: skip


def looked_at(ports: list[int], **more: Any) -> Result:
    targets = parse(f"127.0.0.1:{port}" for port in ports)
    return scan(targets, Options(reach=Reach.INTERNET, **more))


def found_in(result: Result) -> set[str]:
    return {f.id for f in result.findings if f.severity is not Severity.INFO}


@pytest.mark.parametrize("row", MATRIX, ids=lambda row: row.name)
def test_the_matrix_holds_exactly(row: Expected, tmp_path: Path) -> None:
    with row.serve(tmp_path) as ports:
        result = looked_at(ports)
    assert found_in(result) == set(row.findings.split())
    grades = {each.port: each.grade for each in result.targets}
    assert "".join(grades[port] for port in ports) == row.grades
    exposed = any(each.exposure.shows_patients for each in result.targets)
    assert exposed is row.exposed
    told = [f for f in result.findings if f.details.get("patient_data_exposed")]
    assert bool(told) is row.exposed
    _holds_no_patient(result)


def _holds_no_patient(result: Result) -> None:
    dated, difference = compare(result, None)
    texts = (
        json.dumps(members(dated, difference)),
        json.dumps(sarif(dated)),
        html(dated, difference),
        repr(dated),
    )
    for secret in (*others.PATIENT.split("^"), others.PATIENT_ID, "Faust", "13000401"):
        assert not any(secret in text for text in texts), "patient data in a report"
    # Nor may a target's words steer a terminal.
    assert not any("\x1b" in text for text in texts)
    assert as_pdf(dated, difference).startswith(b"%PDF-")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    """A default node, with one device that comes from where the scanner is."""
    home = tmp_path_factory.mktemp("own") / "node"
    settings = {"dimse.listen": "127.0.0.1:0", "https.listen": "127.0.0.1:0"}
    running = RunningNode(home, settings)
    running.init()
    running.enrol("ct1")
    running.start()
    yield running
    running.kill()


def test_our_own_node_has_no_finding_of_medium_or_worse(node: RunningNode) -> None:
    assert node.https_port is not None
    result = scan(parse([f"127.0.0.1:{node.port}", f"127.0.0.1:{node.https_port}"]))
    assert not result.is_alarming
    assert {each.port for each in result.targets} == {node.port, node.https_port}


def test_as_seen_from_the_internet_only_its_own_authority_is_unknown(
    node: RunningNode,
) -> None:
    assert node.https_port is not None
    listeners = [("127.0.0.1", node.port), ("127.0.0.1", node.https_port)]
    alarming = [each for each in scan_own(listeners) if each.is_alarming]
    assert {each.id for each in alarming} == {"TLS-07"}
    assert all(
        "authority" in e.evidence or "self-signed" in e.evidence for e in alarming
    )


def test_the_node_outlives_the_scan(node: RunningNode) -> None:
    assert node.https_port is not None
    looked_at([node.port, node.https_port])
    assert node.process is not None
    assert node.process.poll() is None


def test_the_command_keeps_its_contract(tmp_path: Path) -> None:
    report = tmp_path / "scan.html"
    with others.storescp(tmp_path) as port:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "leadglass", "scan", f"127.0.0.1:{port}"),
                *("--judge-as", "internet", "--json", "--out", str(report)),
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 2, done.stderr
    told = json.loads(done.stdout)
    assert told["targets"][0]["address"] == "127.0.0.1"
    assert told["targets"][0]["port"] == port
    assert told["targets"][0]["grade"] == "D"
    keys = {"id", "severity", "target", "title", "evidence", "remedy", "references"}
    assert all(keys <= set(each) for each in told["findings"])
    assert {each["id"] for each in told["findings"]} <= {each.id for each in CHECKS}
    assert "<script" not in report.read_text("utf-8")


def test_nothing_there_is_nothing_found() -> None:
    result = looked_at([others.free_port()])
    assert result.findings == ()
    assert [each.grade for each in result.targets] == ["A"]


def test_an_image_is_fetched_only_with_consent(tmp_path: Path) -> None:
    with dcmqrscp_any(tmp_path) as ports:
        assert "DM-08" not in found_in(looked_at(ports))
        result = looked_at(ports, may_download=True)
    assert "DM-08" in found_in(result)
    assert result.targets[0].exposure.is_downloadable
    _holds_no_patient(result)


def test_nothing_is_stored_unless_the_owner_says_so(tmp_path: Path) -> None:
    said = Options(reach=Reach.INTERNET, may_write=True)
    allowed: dict[str, Any] = {
        "owner": "us",
        "allowed_by": "us",
        "until": TODAY,
        "sha256": "0",
    }
    networks = ("127.0.0.1/32",)
    weak = Authorisation(networks=networks, intrusive=False, **allowed)
    strong = Authorisation(networks=networks, intrusive=True, **allowed)
    elsewhere = Authorisation(networks=("10.0.0.0/8",), intrusive=True, **allowed)
    with others.storescp(tmp_path) as port:
        targets = parse([f"127.0.0.1:{port}"])
        for given in (None, weak, elsewhere):
            with pytest.raises(Refused):
                scan(targets, said, given)
        assert "DM-09" not in found_in(scan(targets, Options(), strong))
        assert list(tmp_path.iterdir()) == []
        result = scan(targets, said, strong)
    assert "DM-09" in found_in(result)
    assert result.targets[0].exposure.is_written
    (stored,) = tmp_path.iterdir()
    assert b"EXPOSCAN^CANARY" in stored.read_bytes()
