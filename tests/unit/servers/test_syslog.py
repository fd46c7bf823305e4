"""The wire to a receiver of syslog: verified TLS, and an end that means something."""

import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from leadglass.archive.forwarding import TooSlow
from leadglass.errors import Misconfigured, Unavailable
from leadglass.servers import syslog as module
from leadglass.servers.syslog import Courier, Line, Receiver
from tests.support.openid import HOST, Authority
from tests.support.syslog import Peer, peer, until

WAIT_S = 10.0


def receiver(port: int, ca_file: Path | None, **more: Any) -> Receiver:
    given: dict[str, Any] = {
        "host": HOST,
        "port": port,
        "ca_file": ca_file,
        "certificate_file": None,
        "key_file": None,
        "timeout_s": WAIT_S,
        "vanish_s": WAIT_S,
        **more,
    }
    return Receiver(**given)


def at(made: Peer, **more: Any) -> Receiver:
    return receiver(made.port, made.authority.file, **more)


def waiting(gate: threading.Event) -> Callable[[Peer, ssl.SSLSocket], None]:
    """Return a behaviour that reads nothing until a gate is opened."""

    def wait(_made: Peer, _sock: ssl.SSLSocket) -> None:
        gate.wait(WAIT_S)

    return wait


def test_what_is_sent_is_read_when_the_end_comes(tmp_path: Path) -> None:
    data = [bytes([number]) * 40_000 for number in range(50)]
    with peer(tmp_path) as made:
        line = at(made).connect()
        for each in data:
            line.send(each)
        line.look()
        line.finish()
        line.drop()
        assert bytes(made.streams[0]) == b"".join(data)


def test_looking_gives_nothing(tmp_path: Path) -> None:
    with peer(tmp_path) as made:
        at(made).look()
        until(lambda: made.streams)
        assert made.streams == [bytearray()]


@pytest.mark.parametrize("how", ["tcp", "reset"])
def test_who_leaves_is_seen(tmp_path: Path, how: str) -> None:
    def leave(made: Peer, sock: ssl.SSLSocket) -> None:
        made.streams.append(bytearray())
        if how == "reset":
            reset(sock)

    with peer(tmp_path, leave) as made:
        line = at(made).connect()
        until(lambda: made.streams)
        until(lambda: has_left(line))
        line.drop()


@pytest.mark.parametrize("vanish_s", [3.0, 30.0])
def test_a_machine_that_vanishes_is_noticed_in_time(
    tmp_path: Path, vanish_s: float
) -> None:
    with peer(tmp_path) as made:
        line = at(made, vanish_s=vanish_s).connect()
        said = {
            name: line._sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, name))
            for name in ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT")
        }
        idle_s, step_s, probes = said.values()
        assert line._sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert idle_s + step_s * probes <= vanish_s
        timeout_ms = line._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
        assert timeout_ms == vanish_s * 1000
        line.drop()


def has_left(line: Line) -> bool:
    try:
        line.look()
    except Unavailable:
        return True
    return False


def reset(sock: ssl.SSLSocket) -> None:
    """End a connection as a process does that dies with something unread."""
    linger = struct.pack("ii", 1, 0)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    sock.close()


def test_a_reset_is_no_end(tmp_path: Path) -> None:
    def leave(made: Peer, sock: ssl.SSLSocket) -> None:
        sock.recv(1)
        made.streams.append(bytearray())
        reset(sock)  # most of it is unread

    with peer(tmp_path, leave) as made:
        line = at(made).connect()
        line.send(b"x" * 100_000)
        with pytest.raises(Unavailable):
            line.finish()
        line.drop()


def test_an_end_that_does_not_come_is_not_waited_for_long(tmp_path: Path) -> None:
    gate = threading.Event()
    with peer(tmp_path, waiting(gate)) as made:
        line = at(made, timeout_s=0.3).connect()
        line.send(b"x")
        with pytest.raises(TooSlow, match="no answer in time"):
            line.finish()
        line.drop()
        gate.set()


def test_who_takes_nothing_is_not_waited_for_long(tmp_path: Path) -> None:
    gate = threading.Event()
    with peer(tmp_path, waiting(gate)) as made:
        line = at(made, timeout_s=0.3).connect()
        with pytest.raises(TooSlow):
            line.send(b"x" * 20_000_000)
        line.drop()
        gate.set()


def test_a_name_that_the_certificate_does_not_say_is_refused(tmp_path: Path) -> None:
    with peer(tmp_path) as made:
        with relay("127.0.0.2", made.port) as port:
            asked = receiver(port, made.authority.file, host="127.0.0.2")
            with pytest.raises(Unavailable, match="TLS: IP address mismatch"):
                asked.connect()
        assert made.streams == []


@contextmanager
def relay(host: str, port: int) -> Iterator[int]:
    """Give the port on another address that leads to a port on loopback."""

    def run() -> None:
        one, _ = server.accept()
        with one, socket.create_connection((HOST, port)) as other:
            back = threading.Thread(target=pump, args=(other, one))
            back.start()
            pump(one, other)
            back.join()

    with socket.create_server((host, 0)) as server:
        thread = threading.Thread(target=run)
        thread.start()
        yield server.getsockname()[1]
        thread.join()


def pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def test_another_authority_is_refused(tmp_path: Path) -> None:
    other = Authority(tmp_path / "other", name="another CA")
    with peer(tmp_path / "peer") as made:
        with pytest.raises(Unavailable, match="TLS: "):
            receiver(made.port, other.file).connect()
        with pytest.raises(Unavailable, match="TLS: "):
            receiver(made.port, None).connect()  # whom the system trusts
        until(lambda: made.refused == 2)
        assert made.streams == []


@pytest.mark.parametrize("said", [b"", b"220 syslog\r\n" * 1000])
def test_without_tls_nothing_is_sent(said: bytes, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    got = []
    with socket.create_server((HOST, 0)) as server:

        def run() -> None:
            sock, _ = server.accept()
            with sock:
                got.append(sock.recv(5))
                sock.sendall(said)

        thread = threading.Thread(target=run)
        thread.start()
        with pytest.raises(Unavailable):
            receiver(server.getsockname()[1], authority.file).connect()
        thread.join()
    assert got[0][:1] == b"\x16"  # a TLS handshake, and nothing else


def test_who_says_nothing_is_not_waited_for_long(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with socket.create_server((HOST, 0)) as server:
        silent = receiver(server.getsockname()[1], authority.file, timeout_s=0.2)
        with pytest.raises(Unavailable, match="no answer in time"):
            silent.connect()


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot be reached: Connection refused"):
        receiver(1, Authority(tmp_path).file).connect()


# ── files ────────────────────────────────────────────────────────────────────


def test_our_certificate_is_shown(tmp_path: Path) -> None:
    seen: list[Any] = []

    def demanding(authority: Authority) -> ssl.SSLContext:
        cert, key = authority.issue()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        context.load_verify_locations(authority.file)
        context.verify_mode = ssl.CERT_REQUIRED
        return context

    def look(made: Peer, sock: ssl.SSLSocket) -> None:
        seen.append(sock.getpeercert())
        made.take_all(sock)

    with peer(tmp_path, look, demanding) as made:
        cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
        at(made, certificate_file=cert, key_file=key).look()
        assert seen
        with pytest.raises(Unavailable):
            at(made).look()


def test_files_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    cert, key = authority.issue()
    nothing = tmp_path / "nothing.pem"
    nothing.write_text("no certificate")
    for ca_file in (nothing, tmp_path / "missing"):
        with pytest.raises(Misconfigured, match=r"syslog\.ca_file"):
            receiver(1, ca_file).connect()
    both = {"certificate_file": nothing, "key_file": key}
    with pytest.raises(Misconfigured, match=r"syslog\.certificate_file"):
        receiver(1, authority.file, **both).connect()
    key.chmod(0o644)
    both = {"certificate_file": cert, "key_file": key}
    with pytest.raises(Misconfigured, match=r"syslog\.key_file: open to others"):
        receiver(1, authority.file, **both).connect()


def test_what_is_trusted_has_a_name_that_changes_with_it(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    cert, key = authority.issue()
    names = {
        receiver(1, None).trust,
        receiver(1, authority.file).trust,
        receiver(1, authority.file, certificate_file=cert, key_file=key).trust,
        receiver(1, tmp_path / "missing").trust,
    }
    authority.file.write_bytes(b"another")
    names.add(receiver(1, authority.file).trust)
    assert len(names) == 5


# ── the thread ───────────────────────────────────────────────────────────────


class Walk:
    """Steps that are counted."""

    def __init__(self, *errors: Exception, rest_s: float = 0.0) -> None:
        self.errors = list(errors)
        self.rest_s = rest_s
        self.steps = 0
        self.dropped = threading.Event()

    def step(self) -> float:
        self.steps += 1
        if self.errors:
            raise self.errors.pop(0)
        return self.rest_s

    def drop(self) -> None:
        self.dropped.set()


def test_a_courier_walks_until_it_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAUSE_S", 0.0)
    walk = Walk(Unavailable("the database"), ValueError("a bug"), rest_s=0.001)
    courier = Courier(walk)
    courier.start()
    until(lambda: walk.steps > 5)
    courier.stop()
    assert walk.dropped.is_set()
    assert not courier.is_running


def test_a_courier_that_never_started_can_be_stopped() -> None:
    walk = Walk()
    Courier(walk).stop()
    assert walk.steps == 0


def test_a_stop_wakes_who_waits_for_a_receiver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_STOP_WAIT_S", 0.2)
    gate = threading.Event()
    with peer(tmp_path, waiting(gate)) as made:
        line = at(made, timeout_s=60.0).connect()
        begun, ended = threading.Event(), threading.Event()

        class Stuck(Walk):
            def step(self) -> float:
                begun.set()
                with suppress(Unavailable):
                    while True:
                        line.send(b"x" * 100_000)
                ended.set()
                return 60.0

            def drop(self) -> None:
                line.drop()

        courier = Courier(Stuck())
        courier.start()
        began = time.monotonic()
        assert begun.wait(WAIT_S)
        courier.stop()
        assert ended.wait(WAIT_S)
        assert time.monotonic() - began < WAIT_S
        gate.set()
