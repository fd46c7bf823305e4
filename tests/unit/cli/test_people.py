"""Users, tokens and rules from the command line, on a node in this process."""

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from leadglass import cli
from leadglass.app import Node
from leadglass.cli import tokens as tokens_module
from leadglass.cli.commands import COMMANDS
from leadglass.cli.parser import parse
from leadglass.config import Config
from leadglass.errors import Misconfigured

KEYS = {each.name: set(each.answer) for each in COMMANDS}
RULES = """
[[rule]]
name = "viewer finds"
services = ["viewer"]
rights = ["find"]
from = ["10.4.0.0/24"]
reason = "ward screens"

[[expect]]
name = "the viewer administers nothing"
service = "viewer"
right = "administer"
from = "10.4.0.9"
allowed = false
"""
WRONG = """
[[expect]]
name = "the viewer sees nothing"
service = "viewer"
right = "view"
from = "10.4.0.9"
allowed = false
"""

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "home"
    Node.init(Config.load(folder, {}, {}))
    return folder


@pytest.fixture
def run(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Run:
    """Return what a command prints as JSON, after checking its keys and exit code."""
    monkeypatch.setattr("sys.stdin", io.StringIO())

    def run(command: str, *words: str, code: int = 0) -> Any:
        given = ["--home", str(home), *command.split(), *words, "--json"]
        assert cli.main(given) == code
        found = json.loads(capsys.readouterr().out or "{}")
        if code == 0:
            assert set(found) == KEYS[command]
        return found

    return run


def test_a_user_comes_changes_and_goes(run: Run) -> None:
    added = run("users add", "alice", "--role", "radiologist", "--scope", "modality=CT")
    assert len(added["one_time_secret"].replace("-", "")) == 26
    assert added["user"]["status"] == "not enrolled"
    assert added["user"]["scope"] == "modality=CT"
    changed = run("users change", "alice", "--role", "technologist,radiologist")["user"]
    assert changed["roles"] == ["radiologist", "technologist"]
    assert changed["scope"] == "modality=CT"
    assert run("users change", "alice", "--scope", "everything")["user"]["scope"] == (
        "everything"
    )
    assert run("users disable", "alice", "--reason", "left")["user"]["disabled_at"]
    assert run("users list")["items"][0]["status"] == "disabled"
    assert run("users enable", "alice")["user"]["disabled_at"] is None
    again = run("users reset", "alice")["one_time_secret"]
    assert again != added["one_time_secret"]
    assert run("users unlock", "Alice")["user"]["locked_until"] is None
    listed = run("users list")
    assert (listed["users"], listed["active"]) == (1, 0)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("users add", "eve", "--role", "researcher"), 2),
        (("users add", "eve", "--role", "service"), 2),
        (("users add", "e v e", "--role", "radiologist"), 2),
        (("users add", "eve", "--role", "radiologist", "--scope", "ward=3"), 2),
        (("users add", "eve", "--role", "radiologist", "--scope", ""), 2),
        (("users change", "nobody"), 2),
        (("users change", "nobody", "--scope", ""), 2),
        (("users disable", "nobody", "--reason", "left"), 4),
        (("tokens revoke", "nobody", "--reason", "left"), 4),
        (("tokens add", "eve", "--role", "administrator"), 2),
        (("tokens add", "eve", "--role", "service", "--from", "0.0.0.0/0"), 2),
        (("tokens add", "eve", "--role", "service", "--for", "367"), 2),
        (("tokens add", "eve", "--role", "service", "--for", "0"), 2),
    ],
)
def test_what_cannot_be_is_told_and_not_done(
    run: Run, words: tuple[str, ...], code: int
) -> None:
    run(*words, code=code)
    assert "eve" not in {each["name"] for each in run("users list")["items"]}
    assert "eve" not in {each["name"] for each in run("tokens list")["items"]}


def test_a_token_is_printed_once(run: Run) -> None:
    added = run(
        "tokens add", "viewer", "--role", "service", "--scope", "modality=CT",
        "--from", "10.4.0.0/24,10.5.0.7", "--for", "30",
    )  # fmt: skip
    assert added["token"].startswith("lgt_")
    assert added["networks"] == ["10.4.0.0/24", "10.5.0.7/32"]
    left = datetime.fromisoformat(added["not_after"]) - datetime.now(UTC)
    assert timedelta(days=29) < left <= timedelta(days=30)
    listed = run("tokens list")
    assert added["token"] not in json.dumps(listed)
    assert (listed["tokens"], listed["standing"]) == (1, 1)
    revoked = run("tokens revoke", "viewer", "--reason", "leaked")
    assert revoked["status"] == "revoked"
    assert run("tokens list")["standing"] == 0
    run("tokens add", "viewer", "--role", "service", code=2)


def test_a_token_is_for_private_networks_and_a_quarter_unless_said() -> None:
    typed = parse(["tokens", "add", "x", "--role", "service"])[1]
    new = tokens_module._parse(typed)
    assert new.validity == timedelta(days=90)
    assert not any(network.is_global for network in new.networks)


@pytest.mark.parametrize(
    "words", [("--for", "-1"), ("--scope", ""), ("--from", ""), ("--from", ",")]
)
def test_what_a_script_left_empty_is_not_everything(words: tuple[str, ...]) -> None:
    typed = parse(["tokens", "add", "x", "--role", "service", *words])[1]
    with pytest.raises(Misconfigured):
        tokens_module._parse(typed)


def test_expectations_are_put_to_all_rules(run: Run, tmp_path: Path) -> None:
    assert run("rules test")["expectations"] == 0
    file = tmp_path / "rules.toml"
    file.write_text(RULES)
    found = run("rules test", "--file", str(file))
    assert (found["expectations"], found["failed"]) == (1, 0)
    assert found["items"][0]["subject"] == "service viewer"
    # A token's role counts too.
    run("tokens add", "screen", "--role", "service")
    file.write_text(WRONG.replace("viewer", "screen"))
    found = run("rules test", "--file", str(file), code=2)
    assert found["failed"] == 1
    assert found["items"][0]["reason"] == "allowed by 'role service'"
    assert found["items"][0]["scopes"] == ["everything"]


@pytest.mark.parametrize("content", [None, b"\xff", b"[[rule]]\n"])
def test_a_rule_file_that_is_none_is_told(
    run: Run, tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "rules.toml"
    if content is not None:
        file.write_bytes(content)
    run("rules test", "--file", str(file), code=2)


def test_an_empty_scope_changes_no_device(run: Run, tmp_path: Path) -> None:
    run(
        "devices enrol", "CT9", "--ae", "CT9", "--from", "10.4.0.9", "--may", "find",
        "--scope", "modality=CT", "--out", str(tmp_path / "ct9"),
    )  # fmt: skip
    run("devices change", "CT9", "--scope", "", code=2)
    assert run("devices show", "CT9")["scope"] == "modality=CT"


def test_an_expectation_stands_in_the_way_of_an_account(run: Run, home: Path) -> None:
    rules = home / "rules.toml"
    rules.write_text(WRONG.replace("viewer", "wall"))
    rules.chmod(0o600)
    try:
        told = run("tokens add", "wall", "--role", "service", code=2)["error"]
        assert "'the wall sees nothing'" in told["message"]
        rules.unlink()
        run("tokens add", "wall", "--role", "service")
        rules.write_text(WRONG.replace("viewer", "wall"))
        rules.chmod(0o600)
        told = run("check", code=2)["problems"]
        assert [each for each in told if "'the wall sees nothing'" in each]
        run("tokens revoke", "wall", "--reason", "wrong")  # the node opens all the same
        assert run("check")["problems"] == []
    finally:
        rules.unlink()
