"""What is read of a device, and what is told of it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from leadglass.access.rights import Right
from leadglass.cli.dcmtk import Peers, command_lines
from leadglass.cli.devices import _parse, _warnings, data_of
from leadglass.cli.failures import UsageError
from leadglass.cli.parser import parse
from leadglass.errors import Misconfigured

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
ALL = frozenset({Right.ECHO, Right.STORE, Right.FIND, Right.GET, Right.MOVE})
UNTIL = (NOW + timedelta(days=90)).date()


def device(text: str) -> Any:
    return _parse(parse(["devices", "enrol", *text.split()])[1], NOW)


def test_a_device_is_read() -> None:
    found = device(
        "CT1 --ae CT1 CT1B --from 10.4.0.0/24,10.5.0.7 --may store echo "
        "--to 10.4.0.7:104 --scope modality=CT --out x"
    )
    data = data_of(found)
    assert data["ae_titles"] == ["CT1", "CT1B"]
    assert data["networks"] == ["10.4.0.0/24", "10.5.0.7/32"]
    assert data["rights"] == ["echo", "store"]
    assert data["destination"] == "10.4.0.7:104"
    assert data["scope"] == "modality=CT"
    assert data["has_tls"] is True
    assert data["status"] == "active"
    assert data["unsafe_plaintext"] is None


def test_rights_may_be_joined_by_commas() -> None:
    assert device("A --ae A --from 10.0.0.1 --may store,find --out x").rights == {
        Right.STORE,
        Right.FIND,
    }


def test_an_exception_is_read() -> None:
    found = device(
        f"US1 --ae US1 --may store --unsafe-plaintext 10.4.9.7 --reason old "
        f"--until {UNTIL}"
    )
    assert found.has_tls is False
    assert data_of(found)["unsafe_plaintext"] == {
        "address": "10.4.9.7",
        "reason": "old",
        "not_after": f"{UNTIL}T23:59:59+00:00",
    }


def test_a_device_with_tls_may_be_sent_to_without() -> None:
    found = device(
        "WS --ae WS --from 10.4.9.8 --may move --to 10.4.9.8:104 --out x "
        f"--unsafe-plaintext 10.4.9.8 --reason old --until {UNTIL}"
    )
    assert found.has_tls is True
    assert found.is_sent_to_in_plaintext


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("A --ae A --from 10.0.0.1 --may store", "--out"),
        (
            "A --ae A --may store --unsafe-plaintext 10.0.0.1 --reason x",
            "--reason and --until",
        ),
        (
            f"A --ae A --may store --unsafe-plaintext 10.0.0.1 --until {UNTIL}",
            "--reason and --until",
        ),
        (
            "A --ae A --may store --unsafe-plaintext 10.0.0.1 --reason x --until soon",
            "no date",
        ),
    ],
)
def test_what_is_missing_is_said(text: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        device(text)


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(Misconfigured) as told:
        device("A --ae TOO^LONG^FOR^AN^AE --from nowhere --may destroy --out x")
    assert len(told.value.problems) >= 3


def test_loopback_only_is_warned_of() -> None:
    found = device("A --ae A --from 10.0.0.1 --may store --out x")
    assert "loopback only" in _warnings(found, "127.0.0.1:2762")[0]
    assert _warnings(found, "10.0.0.2:2762") == []
    assert "unsafe_plaintext_listen" in _warnings(found, None)[0]


# ── command lines ────────────────────────────────────────────────────────────


def lines(folder: Path | None, rights: frozenset[Right] = ALL) -> list[str]:
    return list(command_lines(Peers("CT 1", "PACS", "10.0.0.1", 2762, folder), rights))


def test_only_what_the_device_may_is_shown() -> None:
    assert lines(Path("/x"), frozenset()) == []
    text = "\n".join(lines(Path("/x"), frozenset({Right.ECHO})))
    assert "echoscu" in text
    assert "stunnel" not in text
    assert "scu" not in text.replace("echoscu", "")


def test_what_has_tls_goes_straight_and_the_others_through_a_tunnel() -> None:
    found = {line.split()[0]: line for line in lines(Path("/x y")) if "scu " in line}
    for tool in ("echoscu", "storescu", "findscu"):
        assert "+tls '/x y/key.pem' '/x y/cert.pem' +cf '/x y/ca.pem'" in found[tool]
        assert "10.0.0.1 2762" in found[tool]
    for tool in ("getscu", "movescu"):
        assert "+tls" not in found[tool]
        assert "127.0.0.1 11112" in found[tool]
    assert all("-aet 'CT 1' -aec PACS" in line for line in found.values())


def test_without_tls_all_go_straight() -> None:
    text = "\n".join(lines(None))
    assert "+tls" not in text
    assert "stunnel" not in text
    assert text.count("10.0.0.1 2762") == 6


def test_the_tunnel_brackets_ipv6() -> None:
    peers = Peers("A", "B", "fd00::7", 2762, Path("/x"))
    text = "\n".join(command_lines(peers, ALL))
    assert "connect=[fd00::7]:2762" in text


@pytest.mark.parametrize("scope", ["", "  "])
def test_a_scope_that_a_script_left_empty_is_not_everything(scope: str) -> None:
    words = [
        "devices",
        "enrol",
        "A",
        "--ae",
        "A",
        "--from",
        "10.0.0.1",
        "--may",
        "find",
        "--out",
        "x",
        "--scope",
    ]
    with pytest.raises(Misconfigured, match="scope: empty"):
        _parse(parse([*words, scope])[1], NOW)
