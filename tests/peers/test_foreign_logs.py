"""Logs of real programs: what was done with them is what their log says, no more."""

import base64
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from urllib.error import URLError

import pytest

from leadglass.assurance.trails.fact import Ending, Fact, Kind, Reach, Touched
from leadglass.assurance.trails.formats import FORMATS
from leadglass.assurance.trails.formats.source import Options
from tests.peers.programs import FOLDER
from tests.peers.samples import instance, save
from tests.peers.scantargets import LOOPBACK, ORTHANC, free_port

STUDY = "1.2.826.0.1.3680043.9.1"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
OPTIONS = Options(zone=UTC, year=2026, at=NOW)
WAIT_S = 30.0


@contextmanager
def logged(log: Path, port: int, *command: str | Path) -> Iterator[None]:
    """Run a program that listens, with all that it says in a file."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            list(command), stdout=file, stderr=subprocess.STDOUT, cwd=log.parent
        )
        try:
            until = time.monotonic() + WAIT_S
            while str(port) not in _listening() and time.monotonic() < until:
                assert process.poll() is None, log.read_text()
                time.sleep(0.05)
            yield
        finally:
            os.kill(process.pid, signal.SIGTERM)
            process.wait(WAIT_S)


def _listening() -> set[str]:
    """Return ports that are listened on, without a connection that a log would tell."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
    rows += [line.split() for line in Path("/proc/net/tcp6").read_text().splitlines()]
    return {str(int(row[1].rpartition(":")[2], 16)) for row in rows if row[3] == "0A"}


def ask(program: str, calling: str, port: int, *more: str | Path, to: str) -> None:
    """Run one of DCMTK's clients, whether the server likes it or not."""
    subprocess.run(
        [FOLDER / program, "-aet", calling, "-aec", to, LOOPBACK, str(port), *more],
        capture_output=True,
        timeout=WAIT_S,
        check=False,
    )


def session(folder: Path, port: int, to: str) -> None:
    """Do what is expected below, in this order."""
    image = save(
        instance(PatientID="PAT-1", PatientName="DOE^JANE", StudyInstanceUID=STUDY),
        folder / "image.dcm",
    )
    study = ("-S", "-k", "0008,0052=STUDY", "-k", f"0020,000d={STUDY}")
    find = ("-S", "-k", "0008,0052=STUDY", "-k", "0020,000d")
    (folder / "got").mkdir()
    ask("echoscu", "MODALITY", port, to=to)
    ask("storescu", "MODALITY", port, image, to=to)
    ask("findscu", "DESK", port, *find, "-k", "0010,0020=PAT-1", to=to)
    ask("findscu", "DESK", port, *find, "-k", "0010,0020=NOBODY", to=to)
    ask("movescu", "DESK", port, *study, "-aem", "THERE", to=to)
    ask("movescu", "DESK", port, *study, "-aem", "NOWHERE", to=to)
    ask("getscu", "DESK", port, *study, "-od", folder / "got", to=to)
    ask("echoscu", "DESK", port, to="WRONG")


def read(format_: str, log: Path) -> list[Fact]:
    """Return the facts of a log in which everything was understood."""
    found = list(FORMATS[format_].read(io.BytesIO(log.read_bytes()), OPTIONS))
    facts = [each for each in found if isinstance(each, Fact)]
    assert found == facts
    assert len({each.number for each in facts}) == len(facts)
    return facts


def told(fact: Fact) -> tuple[object, ...]:
    return (fact.kind, fact.ae_title, fact.ending, fact.destination, fact.returned)


GOOD, BAD = Ending.SUCCESS, Ending.MINOR_FAILURE
DONE = [
    (Kind.ASSOCIATE, "MODALITY", GOOD, "", 0),
    (Kind.ECHO, "MODALITY", GOOD, "", 0),
    (Kind.ASSOCIATE, "MODALITY", GOOD, "", 0),
    (Kind.STORE, "MODALITY", GOOD, "", 0),
    (Kind.ASSOCIATE, "DESK", GOOD, "", 0),
    (Kind.QUERY, "DESK", GOOD, "", 1),
    (Kind.ASSOCIATE, "DESK", GOOD, "", 0),
    (Kind.QUERY, "DESK", GOOD, "", 0),
    (Kind.ASSOCIATE, "DESK", GOOD, "", 0),
    (Kind.RETRIEVE, "DESK", GOOD, "THERE", 0),
    (Kind.ASSOCIATE, "DESK", GOOD, "", 0),
    (Kind.RETRIEVE, "DESK", BAD, "NOWHERE", 0),
    (Kind.ASSOCIATE, "DESK", GOOD, "", 0),
    (Kind.RETRIEVE, "DESK", GOOD, "", 0),
    (Kind.ASSOCIATE, "DESK", BAD, "", 0),
]


@pytest.mark.parametrize("level", ["-v", "-d"])
def test_dcmtk_says_what_was_done(tmp_path: Path, level: str) -> None:
    port, there = free_port(), free_port()
    (tmp_path / "area").mkdir()
    (tmp_path / "there").mkdir()
    configuration = tmp_path / "dcmqrscp.cfg"
    configuration.write_text(
        f"NetworkTCPPort = {port}\nMaxPDUSize = 16384\nMaxAssociations = 16\n"
        f"HostTable BEGIN\nthere = (THERE, {LOOPBACK}, {there})\nHostTable END\n"
        "VendorTable BEGIN\nVendorTable END\n"
        f"AETable BEGIN\nARCHIVE {tmp_path / 'area'} RW (9, 9mb) ANY\nAETable END\n"
    )
    log, received = tmp_path / "dcmqrscp.log", tmp_path / "storescp.log"
    with ExitStack() as stack:
        servers: list[tuple[Path, int, tuple[str | Path, ...]]] = [
            (log, port, (FOLDER / "dcmqrscp", level, "-c", configuration)),
            (
                received,
                there,
                (FOLDER / "storescp", level, "-od", tmp_path / "there", str(there)),
            ),
        ]
        for path, number, command in servers:
            stack.enter_context(logged(path, number, *command))
        session(tmp_path, port, "ARCHIVE")
    facts = read("dcmtk", log)
    assert [told(each) for each in facts if each.kind is not Kind.TRANSFERRED] == DONE
    left = [each for each in facts if each.kind is Kind.TRANSFERRED]
    assert [(each.destination, each.instances) for each in left] == [
        ("THERE", 1),
        ("", 1),
    ]
    for each in left:
        assert each.touched == (Touched("", Reach.IMAGES, (STUDY,)),)
    asked = [each for each in facts if each.kind is Kind.QUERY]
    # Only with -d does the log have the answers.
    studies = (STUDY,) if level == "-d" else ()
    assert asked[0].touched == (Touched("PAT-1", Reach.LISTED, studies),)
    assert asked[1].touched == ()
    assert asked[1].details["keys"] == "PatientID=NOBODY"
    came = [each for each in read("dcmtk", received) if each.kind is Kind.STORE]
    assert [each.ae_title for each in came] == ["ARCHIVE" if level == "-d" else ""]


def _rest(port: int, method: str, path: str) -> Callable[[], None]:
    request = urllib.request.Request(f"http://{LOOPBACK}:{port}{path}", method=method)
    token = base64.b64encode(b"keeper:4f0c-not-in-any-list").decode()
    request.add_header("Authorization", f"Basic {token}")

    def call() -> None:
        with suppress(URLError), urllib.request.urlopen(request, timeout=WAIT_S) as it:
            it.read()

    return call


def test_orthanc_says_what_was_done(tmp_path: Path) -> None:
    port, web, there = free_port(), free_port(), free_port()
    (tmp_path / "there").mkdir()
    configuration = tmp_path / "orthanc.json"
    configuration.write_text(
        json.dumps(
            {
                "DicomPort": port,
                "HttpPort": web,
                "StorageDirectory": str(tmp_path / "storage"),
                "IndexDirectory": str(tmp_path / "storage"),
                "Plugins": [],
                "RegisteredUsers": {"keeper": "4f0c-not-in-any-list"},
                "AuthenticationEnabled": True,
                "DicomCheckCalledAet": True,
                **dict.fromkeys(
                    (f"DicomAlwaysAllow{each}" for each in ("Find", "Get", "Move")),
                    True,
                ),
                "DicomModalities": {"there": ["THERE", LOOPBACK, there]},
            }
        )
    )
    log = tmp_path / "orthanc.log"
    store = (FOLDER / "storescp", "-od", tmp_path / "there", str(there))
    with (
        logged(tmp_path / "storescp.log", there, *store),
        logged(log, port, ORTHANC, "--trace", configuration),
    ):
        session(tmp_path, port, "ORTHANC")
        _rest(web, "GET", "/studies")()
        _rest(web, "DELETE", "/studies/none")()
    _check_orthanc(read("orthanc", log))
    # With --verbose it writes the same without what it traces, and by itself warnings
    # and errors alone, so that it tells of failures alone.
    lines = log.read_text().splitlines(keepends=True)
    verbose = [each for each in lines if re.match(r"[IWE]\d{4} ", each)]
    log.write_text("".join(verbose))
    _check_orthanc(read("orthanc", log))
    log.write_text("".join(each for each in verbose if each[0] in "WE"))
    assert [told(each) for each in read("orthanc", log)[1:-1]] == [
        (Kind.RETRIEVE, "", BAD, "", 0),
        (Kind.ASSOCIATE, "", BAD, "", 0),
    ]


def _check_orthanc(facts: list[Fact]) -> None:
    assert (facts[0].kind, facts[-1].kind) == (Kind.START, Kind.STOP)
    by_dicom = [each for each in facts[1:-1] if each.service != "REST"]
    assert [told(each) for each in by_dicom] == DONE
    assert {each.address for each in by_dicom} == {LOOPBACK}
    by_rest = [each for each in facts if each.service == "REST"]
    assert [(each.kind, each.what) for each in by_rest] == [
        (Kind.QUERY, "GET /studies"),
        (Kind.DELETE, "DELETE /studies/none"),
    ]


def test_tiny_pacs_says_what_was_done(tmp_path: Path) -> None:
    port = free_port()
    program = Path(sys.executable).with_name("tiny-pacs")
    configuration, database = tmp_path / "tiny.yaml", tmp_path / "pacs.db"
    configuration.write_text(
        f"components:\n  Database:\n    on: true\n    db_name: {database}\n"
        "    mode: rwc\n  AuditLog:\n    on: true\n"
    )
    run = (program, "run", "-c", configuration, "-p", str(port))
    with logged(tmp_path / "run.log", port, *run):
        session(tmp_path, port, "TINY_PACS")
    database.chmod(0o600)
    query = (program, "audit", "query", "-c", configuration, "--format", "json")
    done = subprocess.run(query, capture_output=True, timeout=WAIT_S, check=True)
    log = tmp_path / "trail.json"
    log.write_bytes(done.stdout)
    facts = sorted(read("tiny-pacs", log), key=lambda each: each.number)
    # It records no match, no move to nowhere, and a wrong title without who called.
    expected = [
        (kind, title, ending, "", 0)
        for kind, title, ending, destination, _ in DONE
        if not (kind is Kind.RETRIEVE and destination)
    ]
    expected[-1] = (Kind.ASSOCIATE, "", BAD, "", 0)
    assert [told(each) for each in facts if each.kind is not Kind.ECHO] == [
        each for each in expected if each[0] is not Kind.ECHO
    ]
    assert "WRONG" in facts[-1].what
