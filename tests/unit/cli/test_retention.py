"""Keeping and erasing from the command line, on a node in this process."""

import io
import json
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from leadglass import cli
from leadglass.access.policy import Kind
from leadglass.access.policy import Subject as Who
from leadglass.app import Node
from leadglass.archive.caller import Caller
from leadglass.archive.retention import Gone, Receivers, Subject
from leadglass.assurance.trails.tables import name
from leadglass.audit.builders import Actor
from leadglass.audit.search import Search
from leadglass.cli.commands import COMMANDS
from leadglass.config import Config
from leadglass.database.engine import Transaction
from leadglass.errors import LeadglassError

KEYS = {each.name: set(each.answer) for each in COMMANDS}
PATIENT, OTHER = "QZ-40717", "QZ-50818"
REASON = ("--reason", "ordered by the court of the county")
PAUL = Caller(Who(Kind.OPERATOR, "paul"), ip_address("10.4.0.7"))
# Somebody who has logged in, as far as a use case sees.
RULES = """
[[rule]]
name = "privacy officer"
operators = ["paul"]
rights = ["audit"]
from = ["10.4.0.0/24"]
reason = "reviews the record"
"""

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "home"
    config = Config.load(folder, {}, {})
    Node.init(config)
    (folder / "rules.toml").write_text(RULES, "utf-8")
    with Node.open(config) as node:
        actor = Actor("auditor", channel="local", kind="operator")
        for number in range(3):
            node.parts.record(
                node.parts.events.audit_log_used(actor, "read", number, PATIENT)
            )
    return folder


@pytest.fixture
def run(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Run:
    def run(command: str, *words: str, code: int = 0, stdin: str = "") -> Any:
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        given = ["--home", str(home), *command.split(), *words, "--json"]
        assert cli.main(given) == code
        captured = capsys.readouterr()
        assert PATIENT not in captured.err
        found = json.loads(captured.out or "{}")
        if code == 0:
            assert set(found) == KEYS[command]
        return found

    return run


def test_what_stands_is_shown(run: Run) -> None:
    found = run("audit retention show")
    assert (found["years"], found["days"], found["pruned"]) == (6, 2192, 0)
    assert found["pruned_by"] is None
    assert run("audit retention run", "--dry-run")["pruned"] == 0
    found = run("audit retention run", "--yes")
    assert (found["pruned"], found["dry_run"], found["waiting"]) == (0, False, [])
    run("audit retention run", code=2)  # nobody is there to be asked


def test_a_hold_is_placed_listed_and_released_by_two(run: Run, home: Path) -> None:
    words = ("--patient", "-", "--since", "2027-01-01", *REASON)
    placed = run("audit hold add", *words, stdin=f"{PATIENT}\n")["hold"]
    assert placed["has_patient"]
    assert PATIENT not in json.dumps(placed)
    (listed,) = run("audit hold list")["items"]
    assert listed == placed
    (told,) = run("audit hold list", "--with-patient")["items"]
    assert told["patient_id"] == PATIENT
    asked = run("audit hold release", str(placed["number"]), *REASON)["order"]
    assert (asked["kind"], asked["state"]) == ("release hold", "asked")
    run("audit order confirm", str(asked["number"]), "--yes", code=3)
    with Node.open(Config.load(home, {}, {})) as node:
        node.orders.confirm(PAUL, asked["number"])
    assert run("audit hold list")["holds"] == 0
    (released,) = run("audit hold list", "--all")["items"]
    assert released["released_by"] == "paul"


def test_a_person_is_erased_by_two(run: Run, home: Path, tmp_path: Path) -> None:
    file = tmp_path / "id"
    file.write_text(f"{PATIENT}\n", "utf-8")
    words = ("--id-file", str(file), *REASON)
    found = run("audit erase-person", *words)
    assert found["records"] >= 3
    digest = sha256(bytes.fromhex(found["salt"]) + PATIENT.encode()).hexdigest()
    assert found["order"]["person_sha256"] == digest
    number = found["order"]["number"]
    run("audit order confirm", str(number), "--yes", code=3)
    run("audit order confirm", str(number), code=2)
    with Node.open(Config.load(home, {}, {})) as node:
        node.orders.confirm(PAUL, number)
    newest = run("audit order list")["items"][0]
    assert (newest["state"], newest["decided_by"]) == ("done", "paul")
    assert run("audit list", "--patient", PATIENT)["records"] == 0
    erased = [
        each
        for each in run("audit list", "--oldest-first")["items"]
        if each.get("is_erased")
    ]
    assert len(erased) == newest["records"]
    proof = run("audit prove", str(erased[0]["number"]))["proof"]
    assert "record" not in proof
    run("audit prove", str(erased[0]["number"]), "--disclose", code=4)
    report = run("audit verify")
    assert report["intact"]
    assert [each["kind"] for each in report["remarks"]] == ["erased"]


class Stopped(LeadglassError):
    """The disk was full."""


class Failing(Receivers):
    def forget(self, tx: Transaction, gone: Gone) -> None:
        raise Stopped


def test_a_start_goes_on_with_an_erasure(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Node.open(Config.load(home, {}, {})) as node:
        actor = Actor("auditor", channel="local", kind="operator")
        node.parts.record(node.parts.events.audit_log_used(actor, "read", 1, OTHER))
        number = node.orders.ask_erasure(node.operator, OTHER, REASON[1]).order.id
        failing = replace(node.retention, followers=(Failing(),))
        with pytest.raises(Stopped):
            replace(node.orders, retention=failing).confirm(PAUL, number)
        held = node.retention.place(PAUL, Subject(patient=OTHER), REASON[1])
        node.recover()  # a hold keeps it, and does not keep the node from starting
        assert f"records are under legal hold {held.id}" in caplog.text
        assert OTHER not in caplog.text
        release = node.orders.ask_release(node.operator, held.id, REASON[1])
        node.orders.confirm(PAUL, release.id)
        node.recover()
        assert node.orders.latest(PAUL)[1].done_at is not None
        assert list(node.audit.list(Search(patient=OTHER))) == []


def test_facts_of_what_was_erased_go_with_it(home: Path) -> None:
    third = "QZ-60929"
    with Node.open(Config.load(home, {}, {})) as node:
        actor = Actor("auditor", channel="local", kind="operator")
        node.parts.record(node.parts.events.audit_log_used(actor, "read", 1, third))
        node.facts.take_all(node.audit)
        assert third in names_of(node)
        number = node.orders.ask_erasure(node.operator, third, REASON[1]).order.id
        failing = (*node.retention.followers, Failing())
        retention = replace(node.retention, followers=failing)
        with pytest.raises(Stopped):
            replace(node.orders, retention=retention).confirm(PAUL, number)
        assert third in names_of(node)  # all of it or nothing
        node.recover()
        assert third not in names_of(node)
        node.facts.take_all(node.audit)
        assert third not in names_of(node)


def names_of(node: Node) -> set[str]:
    with node.database.read() as connection:
        return set(connection.execute(select(name.c.text)).scalars())


def test_every_receiver_of_the_settings_is_waited_for(home: Path) -> None:
    receivers = {
        "syslog.receivers": ("siem.example:6514",),
        "feed.receivers": ("https://arr.example/AuditEvent",),
    }
    with Node.open(Config.load(home, {}, receivers)) as node:
        positions = node.retention.show(node.operator).positions
    assert positions == {
        "receiver siem.example:6514": 0,
        "receiver https://arr.example/AuditEvent": 0,
    }


def test_an_order_is_refused(run: Run) -> None:
    asked = run("audit hold add", "--person", "ct-9", *REASON)["hold"]
    order = run("audit hold release", str(asked["number"]), *REASON)["order"]
    refused = run("audit order refuse", str(order["number"]))["order"]
    assert refused["state"] == "refused"
    run("audit order refuse", str(order["number"]), code=4)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("audit erase-person", *REASON), 2),
        (("audit erase-person", "-", *REASON), 2),
        (("audit erase-person", "a", "--id-file", "b", *REASON), 2),
        (("audit erase-person", "--id-file", "/nowhere", *REASON), 2),
        (("audit erase-person", "NOBODY", *REASON), 4),
        (("audit erase-person", "NOBODY", "--reason", "no"), 1),
        (("audit hold add", *REASON), 1),
        (("audit hold add", "--since", "soon", *REASON), 2),
        (("audit hold release", "99", *REASON), 4),
        (("audit order confirm", "99", "--yes"), 4),
    ],
)
def test_what_cannot_be_is_told(run: Run, words: tuple[str, ...], code: int) -> None:
    run(*words, code=code)
