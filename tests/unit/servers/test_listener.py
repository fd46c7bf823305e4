"""The listening socket: who is closed without a byte, and how many there may be."""

import logging
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address

import pytest

from leadglass.errors import Unavailable
from leadglass.servers.dimse.listener import (
    Address,
    Ceilings,
    Listener,
    Presence,
    Visitor,
    secure,
)
from tests.unit.servers.rig import WAIT_S, tcp_pair

MANY = Ceilings(total=100, per_address=100)


@dataclass
class House:
    """Keeps visitors until it lets them go."""

    come: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    go: threading.Event = field(default_factory=threading.Event)
    addresses: list[Address] = field(default_factory=list)

    def __call__(self, visitor: Visitor) -> None:
        self.addresses.append(visitor.address)
        self.come.release()
        visitor.sock.sendall(b"!")
        self.go.wait(WAIT_S)


def everybody(_: Address) -> bool:
    return True


@contextmanager
def listening(
    serve: Callable[[Visitor], None],
    presence: Presence | None = None,
    is_welcome: Callable[[Address], bool] = everybody,
) -> Iterator[Listener]:
    presence = presence or Presence(MANY)
    listener = Listener(("127.0.0.1", 0), presence, is_welcome, serve)
    listener.start()
    try:
        yield listener
    finally:
        listener.stop()


def call(listener: Listener, source: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(listener.address, WAIT_S, (source, 0))


def hears(sock: socket.socket) -> bytes:
    try:
        return sock.recv(100)
    except ConnectionResetError:
        return b""


def test_a_visitor_is_served_and_known_by_its_address() -> None:
    house = House()
    house.go.set()
    with listening(house) as listener, call(listener, "127.0.0.2") as visitor:
        assert hears(visitor) == b"!"
        assert hears(visitor) == b""  # it is closed after it was served
        assert house.addresses == [ip_address("127.0.0.2")]


def test_who_is_not_welcome_is_closed_without_a_byte() -> None:
    house = House()
    asked: list[Address] = []

    def only_two(address: Address) -> bool:
        asked.append(address)
        return address == ip_address("127.0.0.2")

    with listening(house, is_welcome=only_two) as listener:
        with call(listener, "127.0.0.3") as stranger:
            assert hears(stranger) == b""
        with call(listener, "127.0.0.2") as guest:
            assert hears(guest) == b"!"
            house.go.set()
        assert asked == [ip_address("127.0.0.3"), ip_address("127.0.0.2")]
        assert house.addresses == [ip_address("127.0.0.2")]


@pytest.mark.parametrize(
    ("ceilings", "same", "other"),
    [
        (Ceilings(total=2, per_address=9), b"", b""),
        (Ceilings(total=9, per_address=2), b"", b"!"),
    ],
)
def test_there_are_ceilings_in_all_and_for_each_address(
    ceilings: Ceilings, same: bytes, other: bytes
) -> None:
    house, presence = House(), Presence(ceilings)
    with (
        listening(house, presence) as listener,
        listening(house, presence) as beside,
        call(listener) as one,
        call(beside) as two,
    ):
        assert hears(one) == hears(two) == b"!"
        assert presence.count == 2
        with call(listener) as third, call(beside, "127.0.0.9") as elsewhere:
            assert hears(third) == same
            assert hears(elsewhere) == other
        house.go.set()
        assert hears(one) == hears(two) == b""
        # A place that was left is free again.
        with call(listener) as again:
            assert hears(again) == b"!"


def test_a_visitor_that_is_served_badly_costs_itself_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ended = threading.Semaphore(0)

    def serve(visitor: Visitor) -> None:
        ended.release()
        raise ZeroDivisionError("Doe^Jane")

    with listening(serve) as listener:
        for _ in range(3):
            with call(listener) as visitor:
                assert hears(visitor) == b""
        assert ended.acquire(timeout=WAIT_S)
    assert "mistake of ours" in caplog.text


def test_a_judge_that_fails_lets_nobody_in_and_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    house = House()
    house.go.set()
    verdicts = iter([ZeroDivisionError(), None])

    def judge(_: Address) -> bool:
        error = next(verdicts)
        if error is not None:
            raise error
        return True

    with listening(house, is_welcome=judge) as listener:
        with call(listener) as first:
            assert hears(first) == b""
        with call(listener) as second:
            assert hears(second) == b"!"
    assert "mistake of ours" in caplog.text


def test_stopped_it_accepts_no_more_and_lets_go_on_who_is_there() -> None:
    house, presence = House(), Presence(MANY)
    with listening(house, presence) as listener, call(listener) as guest:
        assert hears(guest) == b"!"
        address = listener.address
        listener.stop()
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(address, WAIT_S)
        assert presence.count == 1
        house.go.set()
        assert hears(guest) == b""


def test_it_can_be_stopped_before_it_was_started() -> None:
    Listener(("127.0.0.1", 0), Presence(MANY), everybody, House()).stop()


def test_an_address_that_cannot_be_had() -> None:
    with (
        closing(socket.create_server(("127.0.0.1", 0))) as taken,
        pytest.raises(Unavailable, match="cannot listen on port"),
    ):
        Listener(taken.getsockname(), Presence(MANY), everybody, House())
    with pytest.raises(Unavailable):
        Listener(("192.0.2.1", 0), Presence(MANY), everybody, House())


def test_ipv6() -> None:
    house = House()
    house.go.set()
    listener = Listener(("::1", 0), Presence(MANY), everybody, house)
    listener.start()
    with socket.create_connection(listener.address, WAIT_S) as visitor:
        assert hears(visitor) == b"!"
    listener.stop()
    assert house.addresses == [ip_address("::1")]


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01", b"A-ASSOCIATE"])
def test_a_handshake_that_does_not_come_to_an_end(
    sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    ours, theirs = tcp_pair()
    with ours, theirs:
        theirs.sendall(sent)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        visitor = Visitor(ours, ip_address("127.0.0.1"))
        with pytest.raises(OSError):  # noqa: PT011  # SSLError and TimeoutError
            secure(visitor, context, timeout_s=0.05)
