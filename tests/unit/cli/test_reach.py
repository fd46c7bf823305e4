"""Broken glass, reviews, lists and assignments from the command line."""

import io
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from leadglass import cli
from leadglass.access.policy import Kind, Subject
from leadglass.app import Node
from leadglass.archive.caller import Caller
from leadglass.cli.commands import COMMANDS
from leadglass.cli.status import reviews_text
from leadglass.config import Config
from leadglass.identity.people.user import NewUser
from leadglass.identity.rows import to_us
from leadglass.identity.tokens.token import NewToken

KEYS = {each.name: set(each.answer) for each in COMMANDS}
REASON = "unconscious, needs the earlier CT"
PATIENT = "PAT-SECRET"
ALICE = Caller(
    Subject(Kind.OPERATOR, "alice"), ip_address("10.4.0.7"), channel="TLSv1.3"
)

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reach") / "home"
    Node.init(Config.load(folder, {}, {}))
    with Node.open(Config.load(folder, {}, {})) as node:
        new = NewUser("alice", ("referring",))
        node.accounts.add_user(node.operator, new)
        node.accounts.add_token(node.operator, NewToken(name="viewer", role="service"))
        values = {"enrolled_us": to_us(datetime.now(UTC))}

        def enrol(tx: Any) -> None:
            users = node.accounts.users
            users.change(tx, users.get(tx.connection, "alice"), values)

        node.database.write(enrol)
    return folder


@pytest.fixture
def node(home: Path) -> Iterator[Node]:
    with Node.open(Config.load(home, {}, {})) as node:
        yield node


@pytest.fixture
def run(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Run:
    """Return what a command prints: JSON after checking its keys, or text."""

    def run(
        command: str, *words: str, code: int = 0, stdin: str = "", text: bool = False
    ) -> Any:
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        given = ["--home", str(home), *command.split(), *words]
        assert cli.main(given if text else [*given, "--json"]) == code
        out = capsys.readouterr().out
        if text:
            return out
        found = json.loads(out or "{}")
        if code == 0:
            assert KEYS[command] <= set(found)
        return found

    return run


def test_broken_glass_is_listed_ended_and_signed(run: Run, node: Node) -> None:
    assert run("emergencies list", text=True) == "no break-glass access stands\n"
    assert run("reviews list", text=True) == "no review is open\n"
    given = node.emergencies.start(ALICE, PATIENT, REASON)
    number = str(given.id)
    (item,) = run("emergencies list")["items"]
    assert (item["number"], item["person"], item["standing"]) == (
        given.id, "alice", True,
    )  # fmt: skip
    assert run("status")["open_reviews"] == 1
    assert "1 review is open" in run("status", text=True)
    told = run("reviews sign", number, "--verdict", "justified", "--note", "x", code=1)
    assert "still stands" in told["error"]["message"]
    assert run("emergencies end", number)["emergency"]["stopped_at"]
    run("emergencies end", number, code=4)
    assert run("emergencies list")["emergencies"] == 0
    assert run("emergencies list", "--all")["emergencies"] == 1
    shown = run("reviews show", number, "--with-patient")["review"]
    assert (shown["patient_id"], shown["reason"]) == (PATIENT, REASON)
    assert run("reviews list")["open"] == 1
    signed = run(
        "reviews sign", number, "--verdict", "not-justified", "--note", "a neighbour"
    )["review"]
    assert signed["verdict"] == "not justified"
    run("reviews sign", number, "--verdict", "justified", "--note", "again", code=4)
    assert run("reviews list")["open"] == 0
    assert run("status")["open_reviews"] == 0


def test_no_patient_is_told_unless_asked_for(run: Run, node: Node) -> None:
    given = node.emergencies.start(ALICE, PATIENT, REASON)
    number = str(given.id)
    commands = [
        ("emergencies list",), ("emergencies list", "--all"), ("reviews list",),
        ("reviews show", number), ("emergencies end", number), ("status",),
    ]  # fmt: skip
    for command in commands:
        told = json.dumps(run(*command))
        assert PATIENT not in told
        assert REASON not in told
    run(
        "reviews sign", number, "--verdict", "justified", "--note", "PAT-SECRET was ill"
    )
    assert PATIENT not in json.dumps(run("reviews show", number))
    assert PATIENT in run("reviews show", number, "--with-patient", text=True)
    assert PATIENT in run("emergencies list", "--all", "--with-patient", text=True)


@pytest.mark.parametrize(
    "words",
    [
        ("reviews show", "99"),
        ("reviews show", "0"),
        ("emergencies end", "99999999999999999999999"),
        ("reviews sign", "99", "--verdict", "justified", "--note", "x"),
        ("assignments add", "nobody", "1.2.3"),
        ("assignments show", "alice", "--program"),
        ("lists show", "nobody here", "--with-patient"),
    ],
)
def test_what_is_not_there_is_told_so(run: Run, words: tuple[str, ...]) -> None:
    run(*words, code=4)


@pytest.mark.parametrize(
    "words",
    [
        ("reviews sign", "1", "--verdict", "maybe", "--note", "x"),
        ("reviews sign", "1", "--verdict", "justified"),
        ("emergencies end", "x"),
        ("lists add", "ward 3"),
        ("lists add", "ward 3", "-"),
    ],
)
def test_what_cannot_be_typed_is_told_so(run: Run, words: tuple[str, ...]) -> None:
    run(*words, code=2)


def test_patients_are_put_on_a_list_and_read_from_standard_input(run: Run) -> None:
    assert run("lists list", text=True).startswith("no lists")
    added = run("lists add", "ward 3", "-", stdin="P1\n\n P2 \nP1\n")
    assert added == {"list": "ward 3", "added": 2}
    assert run("lists add", "ward 3", "P2", "P3")["added"] == 1
    shown = run("lists show", "ward 3")
    assert shown == {"list": "ward 3", "patients": 3}
    assert run("lists show", "ward 3", "--with-patient")["items"] == ["P1", "P2", "P3"]
    assert run("lists remove", "ward 3", "P1")["removed"] == 1
    assert run("lists list")["items"] == [{"list": "ward 3", "patients": 2}]
    run("lists add", "own", "P1", code=1)
    told = run("audit list", "--patient", "P3", "--with-patient")["items"]
    assert len(told) == 2  # put on, and read


def test_studies_are_assigned_shown_and_taken_back(run: Run) -> None:
    assert run("assignments list", text=True).startswith("nothing is assigned")
    assert run("assignments add", "Alice", "1.2.3", "1.2.4")["added"] == 2
    assert run("assignments add", "viewer", "1.2.3", "--program")["added"] == 1
    assert run("assignments show", "alice")["items"] == ["1.2.3", "1.2.4"]
    assert run("assignments remove", "alice", "1.2.3")["removed"] == 1
    assert run("assignments list")["items"] == [
        {"assignee": "operator alice", "studies": 1},
        {"assignee": "service viewer", "studies": 1},
    ]
    run("assignments add", "alice", "1.2.x", code=1)
    run("assignments add", "alice", "12345", code=1)


def test_an_open_review_is_told_at_the_start() -> None:
    assert reviews_text(0) == ()
    assert "1 review is open" in reviews_text(1)[0]
    assert "2 notices of it not sent" in reviews_text(2, 2)[0]
