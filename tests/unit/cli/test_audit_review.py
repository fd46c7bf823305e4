"""The review from the command line, on a node in this process."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from leadglass import cli
from leadglass.app import Node
from leadglass.audit.builders import Actor
from leadglass.cli.commands import COMMANDS
from leadglass.config import Config

KEYS = {each.name: set(each.answer) for each in COMMANDS}
REASON = ("--reason", "asked the person, all is well")

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "home"
    config = Config.load(folder, {}, {})
    Node.init(config)
    with Node.open(config) as node:
        actor = Actor("eve", "10.1.1.1", channel="TLSv1.3", kind="operator")
        node.parts.record(node.parts.events.audit_log_used(actor, "export", 1))
    return folder


@pytest.fixture
def run(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Run:
    def run(command: str, *words: str, code: int = 0, stdin: str = "") -> Any:
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        given = ["--home", str(home), *command.split(), *words, "--json"]
        assert cli.main(given) == code
        found = json.loads(capsys.readouterr().out or "{}")
        if "error" not in found:
            assert set(found) == KEYS[command]
        return found

    return run


def test_an_alert_is_found_shown_and_judged(run: Run) -> None:
    found = run("audit review run", code=2)
    (finding,) = found["findings"]
    assert (finding["id"], finding["target"]) == ("R-23", "eve")
    number = str(finding["details"]["alert"])
    assert run("audit review list")["items"][0]["state"] == "open"
    shown = run("audit review show", number, "--with-patient")["alert"]
    assert shown["patient_ids"] == []

    judged = run("audit review dispose", number, "--as", "benign", *REASON)

    assert judged["alert"]["state"] == "benign"
    assert run("audit review run")["findings"] == []
    assert run("audit review list")["items"] == []
    assert len(run("audit review list", "--all")["items"]) == 1
    run("audit review dispose", number, "--as", "benign", *REASON, code=4)
    run("audit review dispose", number, "--as", "nonsense", *REASON, code=2)


def test_a_week_is_signed(run: Run) -> None:
    run("audit review run")
    signed = run("audit review sign", "2020-W07", "--note", "nothing was there")
    assert signed["signature"]["week"] == "2020-W07"
    assert run("audit review weeks")["weeks"] == 1
    run("audit review sign", "2020-W07", "--note", "once more, please", code=1)


def test_rules_say_which_are_blind(run: Run) -> None:
    found = run("audit review rules")
    assert found["rules"] == 37
    assert "R-08" in found["blind"]
    assert "R-10" not in found["blind"]


def test_decoys_are_read_from_standard_input(run: Run) -> None:
    run("audit review decoys set", "patient", "-", stdin="DECOY-1\n")
    found = run("audit review decoys list")
    assert found["items"] == [{"kind": "patient", "value": "DECOY-1"}]
    assert "R-32" not in run("audit review rules")["blind"]
    run("audit review decoys remove", "patient", "-", stdin="DECOY-1\n")
    run("audit review decoys remove", "patient", "-", stdin="DECOY-1\n", code=4)
    run("audit review decoys set", "nonsense", "X", code=2)
