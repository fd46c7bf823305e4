"""What commands tell of audit records on their way."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from leadglass import cli
from leadglass.app import Node, syslog_receivers_of
from leadglass.archive.forwarding import Backlog, Forwarding
from leadglass.audit.builders import Actor
from leadglass.cli.findings import late
from leadglass.cli.forwarding import lines
from leadglass.cli.outside import (
    check_feed_files,
    check_feed_receivers,
    check_syslog_files,
    check_syslog_receivers,
)
from leadglass.config import Config
from leadglass.errors import Misconfigured
from tests.support.openid import Authority

PLACE = "siem.example:6514"
NOW = datetime(2026, 11, 3, 8, 30, tzinfo=UTC)
SETTINGS = {"syslog.receivers": PLACE}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    Node.init(Config.load(tmp_path / "home", {}, {}))
    return tmp_path / "home"


@pytest.fixture
def told(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """What a command says."""
    monkeypatch.setenv("LEADGLASS_SYSLOG_RECEIVERS", PLACE)

    def run(*words: str) -> str:
        assert cli.main(["--home", str(home), *words]) == 0
        return capsys.readouterr().out

    return run


def backlog(**more: Any) -> Backlog:
    given: dict[str, Any] = {
        "receiver": PLACE,
        "sent": 8,
        "certain": 5,
        "waiting": 3,
        "waiting_since": NOW,
        "error": "",
        "error_at": None,
        **more,
    }
    return Backlog(**given)


def test_a_line_says_how_many_wait_since_when() -> None:
    (line,) = lines([backlog()])
    assert line.startswith(f"syslog {PLACE}: 3 records waiting since 2026-11-03")
    (line,) = lines([backlog(waiting=0, waiting_since=None)])
    assert line == f"syslog {PLACE}: 0 records waiting"


def test_what_is_wrong_has_its_line() -> None:
    _, line = lines([backlog(error="cannot be reached: refused", error_at=NOW)])
    assert line.startswith(f"syslog {PLACE}: cannot be reached: refused, 2026-11-03")


def test_a_backlog_of_an_hour_is_a_finding(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Node.open(Config.load(home, {}, SETTINGS)) as node:
        node.forwarding.agree({PLACE: ""}, Actor("operator"))
        assert list(late(node)) == []
        old = backlog(
            waiting_since=datetime.now(UTC) - timedelta(hours=2),
            error="cannot be reached",
        )
        monkeypatch.setattr(Forwarding, "backlog", lambda *_: (old,))
        (finding,) = late(node)
    assert f"syslog {PLACE}: 3 audit records wait" in finding
    assert "(cannot be reached)" in finding


def test_commands_tell_it_before_a_node_has_served(told: Callable[..., str]) -> None:
    status = json.loads(told("audit", "forward", "status", "--json"))
    (found,) = status["receivers"]
    assert found["receiver"] == PLACE
    assert found["certain"] == 0
    assert found["waiting"] == status["records"]
    assert (
        json.loads(told("status", "--json"))["unsent_audit_records"]
        == (status["records"])
    )
    assert f"syslog {PLACE}: " in told("status")
    assert f"syslog {PLACE}: " in told("audit", "forward", "status")


def test_files_are_looked_at(home: Path, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    cert, key = authority.issue()
    good = {
        **SETTINGS,
        "syslog.ca_file": str(authority.file),
        "syslog.certificate_file": str(cert),
        "syslog.key_file": str(key),
    }
    check_syslog_files(Config.load(home, {}, good))
    check_syslog_files(Config.load(home, {}, {}))
    key.chmod(0o640)
    with pytest.raises(Misconfigured, match=r"syslog\.key_file: open to others"):
        check_syslog_files(Config.load(home, {}, good))
    missing = {**SETTINGS, "syslog.ca_file": str(tmp_path / "missing")}
    with pytest.raises(Misconfigured, match=r"syslog\.ca_file"):
        check_syslog_files(Config.load(home, {}, missing))
    nothing = tmp_path / "nothing.pem"
    nothing.write_text("")
    with pytest.raises(Misconfigured, match="PEM certificates"):
        check_syslog_files(
            Config.load(home, {}, {**SETTINGS, "syslog.ca_file": str(nothing)})
        )


def test_every_receiver_that_does_not_answer_is_a_problem(
    home: Path, tmp_path: Path
) -> None:
    places = "127.0.0.1:1,[::1]:1"
    config = Config.load(home, {}, {"syslog.receivers": places})
    assert [each.host for each in syslog_receivers_of(config).values()] == [
        "127.0.0.1",
        "::1",
    ]
    with pytest.raises(Misconfigured) as raised:
        check_syslog_receivers(config)
    assert len(raised.value.problems) == 2
    assert all("cannot be reached" in each for each in raised.value.problems)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"syslog.receivers": "siem.example"}, "syslog.receivers: write HOST:PORT"),
        ({"syslog.receivers": "a:1,a:1"}, "syslog.receivers: a receiver stands"),
        (
            {"syslog.receivers": ",".join(f"a:{n}" for n in range(1, 10))},
            "at most 8",
        ),
        ({"syslog.key_file": "/key.pem"}, "name both"),
        ({"syslog.certificate_file": "/cert.pem"}, "name both"),
        ({"feed.receivers": "http://127.0.0.1/fhir"}, "feed.receivers: write https"),
        ({"feed.receivers": "arr.example:443"}, "feed.receivers: write https"),
        ({"feed.receivers": "https://user:pw@arr.example"}, "feed.receivers"),
        ({"feed.receivers": "https://arr.example/fhir/"}, "without a slash"),
        ({"feed.receivers": "https://a.example/x?y=z"}, "feed.receivers"),
        ({"feed.receivers": "https://a.example,https://a.example"}, "twice"),
        (
            {"feed.receivers": ",".join(f"https://a.example:{n}" for n in range(9))},
            "feed.receivers",
        ),
        ({"feed.key_file": "/key.pem"}, "feed.key_file: certificate and key"),
    ],
)
def test_settings_that_cannot_be(
    tmp_path: Path, settings: dict[str, str], problem: str
) -> None:
    with pytest.raises(Misconfigured, match=problem):
        Config.load(tmp_path, {}, settings)


@pytest.mark.parametrize("name", ["token_file", "key_file"])
def test_a_secret_of_the_feed_in_the_data_folder_is_refused(
    tmp_path: Path, name: str
) -> None:
    settings = {
        f"feed.{name}": str(tmp_path / "secret"),
        **({"feed.certificate_file": "/cert.pem"} if name == "key_file" else {}),
    }
    with pytest.raises(Misconfigured, match=rf"feed\.{name}: inside the data"):
        Config.load(tmp_path, {}, settings)


def test_the_feed_is_looked_at(home: Path, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    token = tmp_path / "token"
    token.write_text("abc\n")
    token.chmod(0o600)
    settings = {
        "feed.receivers": "https://127.0.0.1:1/fhir",
        "feed.ca_file": str(authority.file),
        "feed.token_file": str(token),
    }
    config = Config.load(home, {}, settings)
    check_feed_files(config)
    with pytest.raises(Misconfigured, match=r"https://127\.0\.0\.1:1/fhir: cannot be"):
        check_feed_receivers(config)
    token.write_text("not a token")
    with pytest.raises(Misconfigured, match=r"feed\.token_file: holds no"):
        check_feed_files(config)
    token.chmod(0o640)
    with pytest.raises(Misconfigured, match=r"feed\.token_file: open to others"):
        check_feed_files(config)
    (line,) = lines([backlog(receiver="https://127.0.0.1:1/fhir")])
    assert line.startswith("FHIR https://127.0.0.1:1/fhir: 3 records waiting")


def test_a_key_in_the_data_folder_is_refused(tmp_path: Path) -> None:
    settings = {
        "syslog.key_file": str(tmp_path / "key.pem"),
        "syslog.certificate_file": "/cert.pem",
    }
    with pytest.raises(Misconfigured, match=r"syslog\.key_file: inside the data"):
        Config.load(tmp_path, {}, settings)
