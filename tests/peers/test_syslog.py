"""Audit records to rsyslog over TLS: all of them, whole and in order, whoever dies."""

import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from leadglass import cli
from leadglass.audit.builders import Actor, Association
from leadglass.audit.events import Event
from leadglass.audit.search import Record
from tests.support.auditxml import check, parsed
from tests.support.node import RunningNode
from tests.support.openid import Authority
from tests.support.syslog import BOM, Peer, Rsyslog, peer, rsyslog, split

WAIT_S = 60
SETTLE_S = 1


def settings_of(place: str, authority: Authority, **more: str) -> dict[str, str]:
    return {
        "syslog.receivers": place,
        "syslog.ca_file": str(authority.file),
        "syslog.settle_s": str(SETTLE_S),
        "syslog.response_timeout_s": "3",
        **{name.replace("__", "."): value for name, value in more.items()},
    }


@contextmanager
def node_for(
    home: Path, place: str, authority: Authority, **more: str
) -> Iterator[RunningNode]:
    node = RunningNode(home, settings_of(place, authority, **more))
    node.init()
    try:
        yield node
    finally:
        if node.process is not None:
            node.kill()


def fill(node: RunningNode, count: int, patient: str = "Zoë\x00]]>") -> None:
    """Record some refusals, as somebody who knocks again and again."""
    with node.open() as opened:
        event = opened.parts.events.association_refused(
            Actor(patient, "192.0.2.7"), Association("A", "B"), "why\n<84>"
        )
        for _ in range(count // 20):
            opened.parts.record(*[event] * 20)


def wait_until(is_so: Callable[[], bool], what: str) -> None:
    ends_at = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < ends_at, what
        time.sleep(0.1)


def all_is_certain(node: RunningNode) -> bool:
    with node.open() as opened:
        backlog = opened.forwarding.backlog(node.config.syslog.receivers)
    return all(not each.waiting for each in backlog)


def numbers(messages: list[str]) -> list[int]:
    return [parsed(each.partition(BOM)[2])[2] for each in messages]


def expected(records: list[Record]) -> list[tuple[Event, int]]:
    return [(each.event, each.n) for each in records]


def received(messages: list[str]) -> list[tuple[Event, int]]:
    found = []
    for each in messages:
        header, _, text = each.partition(BOM)
        assert " DICOM+RFC3881 - " in header
        assert check(text) == []
        event, _, number = parsed(text)
        found.append((event, number))
    return found


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Rsyslog]:
    with rsyslog(tmp_path / "rsyslog") as made:
        yield made


def test_every_record_arrives_whole_in_order_and_once(
    receiver: Rsyslog, tmp_path: Path
) -> None:
    with node_for(tmp_path / "home", receiver.place, receiver.authority) as node:
        node.start()
        for _ in range(3):
            fill(node, 100)
            wait_until(lambda: all_is_certain(node), "records still wait")
        node.stop()
        records = node.records()
    assert len(records) > 300
    assert received(receiver.messages()) == expected(records)[: len(records) - 1]
    # The last one says that the node stopped: it goes when the node is back.
    assert records[-1].event.types == ("110121",)


def test_a_receiver_that_dies_again_and_again_misses_nothing(
    receiver: Rsyslog, tmp_path: Path
) -> None:
    with node_for(tmp_path / "home", receiver.place, receiver.authority) as node:
        node.start()
        for _ in range(4):
            fill(node, 1000)
            time.sleep(0.3)  # in the middle of them
            receiver.kill()
            fill(node, 100)
            receiver.start()
            time.sleep(SETTLE_S)
        wait_until(lambda: all_is_certain(node), "records still wait")
        node.kill()
        records = node.records()
    found = numbers(receiver.messages())
    assert len(records) > 4400
    assert list(dict.fromkeys(found)) == [each.n for each in records]
    duplicates = len(found) - len(set(found))
    assert duplicates < len(records)


def test_a_node_that_is_killed_sends_on_from_what_is_certain(
    receiver: Rsyslog, tmp_path: Path
) -> None:
    with node_for(tmp_path / "home", receiver.place, receiver.authority) as node:
        for _ in range(4):
            node.start()
            fill(node, 500)
            time.sleep(0.4)
            node.kill()
        node.start()
        wait_until(lambda: all_is_certain(node), "records still wait")
        node.kill()
        records = node.records()
    found = numbers(receiver.messages())
    assert list(dict.fromkeys(found)) == [each.n for each in records]


def test_a_receiver_may_demand_our_certificate(tmp_path: Path) -> None:
    with rsyslog(tmp_path / "rsyslog", "x509/certvalid") as receiver:
        cert, key = receiver.authority.issue()
        shown = {"syslog__certificate_file": str(cert), "syslog__key_file": str(key)}
        ca = receiver.authority
        with node_for(tmp_path / "home", receiver.place, ca) as node:
            node.start()
            wait_until(lambda: bool(error_of(node)), "nothing is wrong")
            node.stop()
        assert receiver.messages() == []
        with node_for(tmp_path / "other", receiver.place, ca, **shown) as node:
            node.start()
            wait_until(lambda: all_is_certain(node), "records still wait")
            count = len(node.records())
        assert len(receiver.messages()) == count


def error_of(node: RunningNode) -> str:
    with node.open() as opened:
        (backlog,) = opened.forwarding.backlog(node.config.syslog.receivers)
    return backlog.error


def test_a_receiver_with_another_certificate_gets_nothing(tmp_path: Path) -> None:
    other = Authority(tmp_path / "other", name="another CA")
    with peer(tmp_path / "peer") as stranger:
        home = tmp_path / "home"
        with node_for(home, stranger.place, other) as node:
            node.start()
            wait_until(lambda: stranger.refused > 0, "nobody came")
            wait_until(lambda: bool(error_of(node)), "nothing is wrong")
            assert "TLS" in error_of(node)
            node.stop()
        assert stranger.streams == []


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_a_receiver_with_old_tls_gets_nothing(tmp_path: Path) -> None:
    def old(authority: Authority) -> ssl.SSLContext:
        cert, key = authority.issue()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.load_cert_chain(cert, key)
        return context

    with peer(tmp_path / "peer", context=old) as aged:
        with node_for(tmp_path / "home", aged.place, aged.authority) as node:
            node.start()
            wait_until(lambda: aged.refused > 0, "nobody came")
            node.stop()
        assert aged.streams == []


def test_a_receiver_that_never_reads_harms_nobody(tmp_path: Path) -> None:
    gate = threading.Event()

    def never(_peer: Peer, _sock: ssl.SSLSocket) -> None:
        gate.wait(WAIT_S)

    with peer(tmp_path / "peer", never) as silent:
        with node_for(tmp_path / "home", silent.place, silent.authority) as node:
            node.start()
            fill(node, 200)
            wait_until(lambda: bool(error_of(node)), "nothing is wrong")
            before = memory_kib(node)
            began = time.monotonic()
            fill(node, 20_000)
            # As long as it takes without anybody to send to, and then some.
            assert time.monotonic() - began < 30
            wait_until(lambda: bool(error_of(node)), "nothing is wrong")
            time.sleep(4)  # it tries again, and waits
            assert memory_kib(node) - before < 30_000
            assert node.stop() == 0
        gate.set()


def memory_kib(node: RunningNode) -> int:
    assert node.process is not None
    status = Path(f"/proc/{node.process.pid}/status").read_text()
    line = next(each for each in status.splitlines() if each.startswith("VmRSS"))
    return int(line.split()[1])


def test_a_receiver_that_reads_slowly_gets_all_in_the_end(tmp_path: Path) -> None:
    def slow(peer: Peer, sock: ssl.SSLSocket) -> None:
        stream = bytearray()
        peer.streams.append(stream)
        while data := sock.recv(4096):
            stream += data
            time.sleep(0.02)

    with peer(tmp_path / "peer", slow) as sluggish:
        with node_for(tmp_path / "home", sluggish.place, sluggish.authority) as node:
            node.start()
            fill(node, 400)
            wait_until(lambda: all_is_certain(node), "records still wait")
            node.stop()
            records = node.records()
        found = [
            parsed(each.decode().partition(BOM)[2])[2]
            for stream in sluggish.streams
            for each in split(whole(bytes(stream)))
        ]
        assert sorted(set(found)) == [each.n for each in records][:-1]


def whole(stream: bytes) -> bytes:
    """Return a stream without the frame that its end cuts off."""
    at = 0
    while (blank := stream.find(b" ", at)) > 0:
        end = blank + 1 + int(stream[at:blank])
        if end > len(stream):
            break
        at = end
    return stream[:at]


def test_two_receivers_get_all_whatever_the_other_does(
    receiver: Rsyslog, tmp_path: Path
) -> None:
    home, dead = tmp_path / "home", "127.0.0.1:1"
    both = f"{receiver.place},{dead}"
    with node_for(home, both, receiver.authority) as node:
        node.start()
        fill(node, 100)

        def is_done() -> bool:
            with node.open() as opened:
                backlog = opened.forwarding.backlog(node.config.syslog.receivers)
            return not backlog[0].waiting and bool(backlog[1].error)

        wait_until(is_done, "records still wait")
        node.stop()
        with node.open() as opened:
            one, other = opened.forwarding.backlog(node.config.syslog.receivers)
    assert (one.error, other.certain) == ("", 0)
    assert other.waiting_since is not None
    assert "cannot be reached" in other.error


def test_what_changes_about_receivers_is_on_the_record(
    receiver: Rsyslog, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    with node_for(home, receiver.place, receiver.authority) as node:
        node.start()
        node.stop()
        assert changes(node) == [(receiver.place, "added")]
        node.start()
        node.stop()
        assert len(changes(node)) == 1
        node.settings = {}
        node.start()
        node.stop()
        assert changes(node)[1:] == [(receiver.place, "removed")]
        assert cli.main(["--home", str(home), "audit", "forward", "status"]) == 0
        assert "no receivers" in capsys.readouterr().out


def changes(node: RunningNode) -> list[tuple[str, str]]:
    found = [
        dict(thing.details)
        for record in node.records()
        for thing in record.event.objects
        if "syslog receiver" in dict(thing.details)
    ]
    return [(each["syslog receiver"], each["change"]) for each in found]


def test_commands_tell_how_far_it_is(
    receiver: Rsyslog,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    home = tmp_path / "home"
    with node_for(home, receiver.place, receiver.authority) as node:
        for name, value in node.settings.items():
            variable = f"LEADGLASS_{name.replace('.', '_').upper()}"
            monkeypatch.setenv(variable, value)

        def told(*words: str) -> dict[str, object]:
            cli.main(["--home", str(home), "--json", *words])
            found: dict[str, object] = json.loads(capsys.readouterr().out)
            return found

        node.start()
        wait_until(lambda: all_is_certain(node), "records still wait")
        status = told("audit", "forward", "status")
        size = status["records"]
        assert status["receivers"] == [
            {
                "receiver": receiver.place,
                "sent": size,
                "certain": size,
                "waiting": 0,
                "waiting_since": None,
                "error": "",
                "error_at": None,
            }
        ]
        assert told("status")["unsent_audit_records"] == 0
        assert "syslog receivers" in str(told("check")["checked"])
        receiver.kill()
        wait_until(lambda: bool(error_of(node)), "nothing is wrong")
        problems = str(told("check")["problems"])
        assert receiver.place in problems
        assert "cannot be reached" in problems
        node.stop()
