"""``leadglass audit timestamp``: online, by files, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from leadglass import cli
from leadglass.app import Node
from leadglass.config import Config
from leadglass.errors import Misconfigured, Unavailable
from leadglass.servers.tsa import ask
from tests.support.tsa import Tsa, serving

Told = Callable[..., tuple[int, Any]]


@pytest.fixture(scope="module")
def tsa(tmp_path_factory: pytest.TempPathFactory) -> Tsa:
    return Tsa(tmp_path_factory.mktemp("tsa"))


@pytest.fixture
def told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Told:
    home = tmp_path / "home"
    config = Config.load(home, {}, {})
    Node.init(config)
    with Node.open(config) as node:
        node.parts.record(node.parts.events.application_stopped("x"))

    def run(*words: object) -> tuple[int, Any]:
        code = cli.main(["--home", str(home), *map(str, words), "--json"])
        return code, json.loads(capsys.readouterr().out or "null")

    return run


def test_an_authority_is_asked(told: Told, tsa: Tsa) -> None:
    with serving(tsa) as address:
        code, said = told(
            "audit", "timestamp", "--tsa", address, "--certificate", tsa.file
        )
    assert (code, said["size"], said["authority"]) == (0, 1, "CN=a TSA")
    code, listed = told("audit", "timestamps")
    assert code == 0
    assert [(each["size"], each["time"]) for each in listed["items"]] == [
        (1, said["time"])
    ]
    code, found = told("audit", "list", "--event", "audit log used")
    assert any("time stamp" in json.dumps(each) for each in found["items"])


def test_request_and_reply_travel_as_files(
    told: Told, tsa: Tsa, tmp_path: Path
) -> None:
    asked, replied = tmp_path / "request.tsq", tmp_path / "reply.tsr"
    assert told("audit", "timestamp", "--request-out", asked)[0] == 0
    assert told("audit", "timestamp", "--request-out", asked)[0] == 2  # it is there
    replied.write_bytes(tsa.reply(asked.read_bytes()))
    told("audit", "verify")  # meanwhile the log goes on
    take = ("audit", "timestamp", "--response-in", replied, "--certificate")
    assert told(*take, tsa.file)[0] == 0
    other = Tsa(tmp_path / "other")
    assert told(*take, other.file)[0] == 5
    assert told(*take, replied)[0] == 1
    assert told(*take, tmp_path / "missing")[0] == 2
    asked.unlink()
    replied.write_bytes(asked.name.encode())
    assert told(*take, tsa.file)[0] == 1
    out = tmp_path / "evidence"
    assert told("audit", "evidence", "--event", "0", "--out", out)[0] == 0
    assert (out / "timestamps.jsonl").exists()
    assert "time stamp" in (out / "README.txt").read_text()


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--tsa", "http://127.0.0.1:1/"),  # without a certificate
        ("--tsa", "http://127.0.0.1:1/", "--request-out", "x"),
        ("--response-in", "x"),
    ],
)
def test_what_cannot_be_meant(told: Told, words: tuple[str, ...]) -> None:
    assert told("audit", "timestamp", *words)[0] == 2


def test_what_does_not_answer_as_an_authority_gives_nothing(tsa: Tsa) -> None:
    for more, said in (
        ({"status": 404}, "answers 404"),
        ({"kind": "text/html"}, "no reply"),
    ):
        with serving(tsa, **more) as address, pytest.raises(Unavailable, match=said):
            ask(address, b"0")
    with pytest.raises(Unavailable, match="does not answer"):
        ask("http://127.0.0.1:1/", b"0")
    for address in ("ftp://x/", "nonsense", "http://a@b/", "http://[::1", "https://"):
        with pytest.raises(Misconfigured, match="--tsa"):
            ask(address, b"0")
    with pytest.raises(Misconfigured, match="--ca"):
        ask("https://127.0.0.1:1/", b"0", Path("/missing.pem"))
