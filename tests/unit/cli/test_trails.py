"""``leadglass audit import`` and ``audit trails``: the contract for scripts."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from leadglass.cli import main
from leadglass.cli.commands import COMMANDS
from tests.support.node import RunningNode

KEYS = {each.name: set(each.answer) for each in COMMANDS}
TABLE = """When;What;Who;Patient
31.01.2026 08:30:00;opened;alice;P1
not a time \x1b[2J;opened;alice;P1
"""
MAPPING = """separator = ";"
time = "%d.%m.%Y %H:%M:%S"
[columns]
time = "When"
kind = "What"
who = "Who"
patient = "Patient"
[kinds]
opened = "view"
"""

Run = Callable[..., tuple[int, Any]]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One node for all."""
    node = RunningNode(tmp_path_factory.mktemp("trails") / "data")
    node.init()
    return node.home


@pytest.fixture
def run(home: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command against the node; return its exit code and what it said."""

    def run(*words: str) -> tuple[int, Any]:
        code = main([*words, "--home", str(home), "--json"])
        said = capsys.readouterr()
        return code, json.loads(said.out) if code == 0 else said.out + said.err

    return run


def test_a_log_comes_in_and_goes(tmp_path: Path, run: Run) -> None:
    log, mapping = tmp_path / "log.csv", tmp_path / "map.toml"
    log.write_text(TABLE)
    mapping.write_text(MAPPING)
    words = ("audit", "import", str(log), "--from", "csv", "--mapping", str(mapping))
    code, said = run(*words)
    assert code == 2
    assert "--zone" in said
    code, said = run(*words, "--zone", "Europe/Berlin", "--name", "old")
    assert code == 0
    assert said.keys() == KEYS["audit import"]
    assert (said["events"], said["unparsed"], said["name"]) == (1, 1, "old")
    assert "\x1b" not in said["samples"][0]
    _, again = run(*words, "--zone", "Europe/Berlin")
    assert again == {**said, "was_there": True}
    code, listed = run("audit", "trails", "list")
    assert listed.keys() == KEYS["audit trails list"]
    assert [each["trail"] for each in listed["items"]] == [0, said["trail"]]
    code, removed = run("audit", "trails", "remove", str(said["trail"]))
    assert (code, removed.keys()) == (0, KEYS["audit trails remove"])
    assert run("audit", "trails", "remove", str(said["trail"]))[0] == 4
    assert run("audit", "trails", "remove", "0")[0] == 4


@pytest.mark.parametrize(
    ("more", "code"),
    [
        (("--from", "exe"), 2),
        (("--from", "csv", "--zone", "Nowhere"), 2),
        (("--from", "csv", "--mapping", "/none"), 2),
        (("--from", "csv", "--year", "26"), 2),
        (("--from", "csv", "--at", "soon"), 2),
        ((), 2),
    ],
)
def test_what_cannot_be_is_said(
    tmp_path: Path, run: Run, more: tuple[str, ...], code: int
) -> None:
    log = tmp_path / "log.csv"
    log.write_text(TABLE)
    assert run("audit", "import", str(log), *more)[0] == code
