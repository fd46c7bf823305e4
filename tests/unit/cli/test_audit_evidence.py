"""Evidence from the command line: what is asked, what is written, what is recorded."""

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from leadglass import cli
from leadglass.app import Node
from leadglass.audit.builders import Actor
from leadglass.audit.codes import EventID
from leadglass.cli.commands import COMMANDS
from leadglass.config import Config

KEYS = next(set(each.answer) for each in COMMANDS if each.name == "audit evidence")
PATIENT = "QZ-40717"
WINDOW = ("--window", "2020-01-01", "2099-01-01")

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "home"
    config = Config.load(folder, {}, {})
    Node.init(config)
    with Node.open(config) as node:
        actor = Actor("auditor", channel="local", kind="operator")
        for number in range(3):
            node.parts.record(
                node.parts.events.audit_log_used(
                    actor, "read", number, PATIENT if number else "OTHER"
                )
            )
    return folder


@pytest.fixture
def run(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Run:
    def run(*words: object, code: int = 0, stdin: str = "") -> Any:
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        asked = ["audit", "evidence", *map(str, words), "--home", str(home), "--json"]
        assert cli.main(asked) == code
        return json.loads(capsys.readouterr().out)

    return run


def checked(folder: Path, key: str) -> int:
    done = subprocess.run(
        [sys.executable, "-I", folder / "verify.py", "--key", key],
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.stderr == b""
    return done.returncode


def test_a_patient_from_standard_input(run: Run, home: Path, tmp_path: Path) -> None:
    made = run("--patient", "-", "--out", tmp_path / "out", stdin=f"{PATIENT}\n")
    assert set(made) == KEYS
    assert made["records"] == made["opened"] == 2
    assert PATIENT in (tmp_path / "out" / "records.jsonl").read_text("utf-8")
    assert checked(tmp_path / "out", made["key"]) == 0
    with Node.open(Config.load(home, {}, {})) as node:
        last = node.audit.get(node.audit.size() - 1).event
    assert last.id is EventID.AUDIT_LOG_USED
    assert last.objects[1].id == PATIENT
    assert dict(last.objects[0].details) == {"use": "evidence", "records": "2"}


def test_a_window_and_a_patient_and_numbers(run: Run, tmp_path: Path) -> None:
    made = run(*WINDOW, "--out", tmp_path / "window")
    assert made["records"] == made["opened"] == made["size"]
    assert checked(tmp_path / "window", made["key"]) == 0
    made = run(*WINDOW, "--patient", "OTHER", "--out", tmp_path / "both")
    assert (made["opened"], made["others"]) == (1, 0)
    assert made["records"] == made["size"]
    assert checked(tmp_path / "both", made["key"]) == 0
    made = run("--event", "0", "1", "--out", tmp_path / "numbers")
    assert made["records"] == 2
    assert checked(tmp_path / "numbers", made["key"]) == 0


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--event", "1", "--patient", "P"),
        ("--event", "1", *WINDOW),
        ("--patient", ""),
        ("--patient", "x" * 300),
        ("--window", "2099-01-01", "2020-01-01"),
        ("--window", "yesterday", "2020-01-01"),
    ],
)
def test_what_cannot_be_asked(run: Run, tmp_path: Path, words: tuple[str, ...]) -> None:
    assert run(*words, "--out", tmp_path / "out", code=2)["error"]
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_there(run: Run, tmp_path: Path) -> None:
    run("--event", "99999", "--out", tmp_path / "out", code=4)
    run("--patient", "NOBODY", "--out", tmp_path / "out", code=4)
    run("--event", "0", "--out", tmp_path, code=2)
    run("--event", "0", "--out", tmp_path / "no" / "folder", code=6)
