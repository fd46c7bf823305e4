"""A witness and a node from the command line, as they talk by standard input."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from leadglass import cli
from leadglass.app import Node
from leadglass.audit.codes import EventID
from leadglass.cli.commands import COMMANDS
from leadglass.config import Config

KEYS = {each.name: set(each.answer) for each in COMMANDS}

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "home"
    config = Config.load(folder, {}, {})
    Node.init(config)
    with Node.open(config) as node:
        node.parts.record(node.parts.events.application_started("1"))
    return folder


@pytest.fixture
def run(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Run:
    def run(command: str, *words: object, code: int = 0, stdin: str = "") -> Any:
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        asked = [*command.split(), *map(str, words), "--home", str(home), "--json"]
        assert cli.main(asked) == code
        answer = json.loads(capsys.readouterr().out)
        assert code or set(answer) == KEYS[command]
        return answer

    return run


def test_an_offer_goes_to_the_witness_and_comes_back(
    run: Run,
    home: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    state = ("--state", tmp_path / "witness")
    key = run("witness init", "witness.example", *state)["key"]
    assert run("witness key", *state)["key"] == key
    found = run("audit key")
    (tmp_path / "log.pem").write_text(found["pem"])
    # As text, the way that a pipe carries it.
    assert cli.main(["audit", "offer", "--to", key, "--home", str(home)]) == 0
    offer = capsys.readouterr().out
    monkeypatch.setattr("sys.stdin", io.StringIO(offer))
    asked = ["witness", "cosign", *map(str, state), "--log-key", found["verifier_key"]]
    assert cli.main(asked) == 0
    cosigned = capsys.readouterr().out
    taken = run("audit cosigned", "--by", key, stdin=cosigned)
    assert taken["witness"] == "witness.example"
    with Node.open(Config.load(home, {}, {})) as node:
        last = node.audit.get(node.audit.size() - 1).event
    assert last.id is EventID.AUDIT_LOG_USED
    assert dict(last.objects[0].details)["use"] == "cosigned by witness.example"

    again = run("audit offer", "--to", key)
    assert again["old"] == taken["size"]
    done = run(
        "witness cosign",
        *state,
        "--log-key",
        tmp_path / "log.pem",
        stdin=again["offer"],
    )
    assert (done["old"], done["size"]) == (taken["size"], again["size"])
    # The first offer again: that would be a step back.
    run(
        "witness cosign",
        *state,
        "--log-key",
        tmp_path / "log.pem",
        stdin=offer,
        code=5,
    )
    run("audit verify")


def test_what_cannot_be_done(run: Run, tmp_path: Path) -> None:
    state = ("--state", tmp_path / "witness")
    run("witness key", *state, code=2)
    run("witness init", "a name", *state, code=1)
    key = run("witness init", "witness.example", *state)["key"]
    run("witness init", "witness.example", *state, code=2)
    run("audit offer", "--to", "nonsense", code=1)
    run("audit offer", "--to", key, "--old", "99999", code=5)
    run("audit cosigned", "--by", key, stdin="nonsense", code=1)
    for wrong in ("nonsense", "a+b+c", tmp_path / "none.pem", tmp_path):
        run("witness cosign", *state, "--log-key", wrong, code=2)
    found = run("audit key")["verifier_key"]
    run("witness cosign", *state, "--log-key", found[:-8] + "AAAAAAA=", code=2)
    run("witness cosign", *state, "--log-key", found, stdin="nonsense", code=1)
    run("witness cosign", *state, "--log-key", found, stdin="", code=1)
