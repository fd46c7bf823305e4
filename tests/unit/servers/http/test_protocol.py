"""Heads without end, in bytes and in time, and hostile framing."""

import socket
import ssl
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http import HTTPMethod
from pathlib import Path
from threading import Event

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_certificate

from leadglass.access.policy import Kind, Subject
from leadglass.access.rights import Right
from leadglass.identity.authority import Authority, write_credentials
from leadglass.identity.certificates import Revoked
from leadglass.servers.http import server as server_module
from leadglass.servers.http.answers import Answer
from leadglass.servers.http.authentication import Proof
from leadglass.servers.http.limits import HttpLimits
from leadglass.servers.http.routes import Call, Route
from tests.unit.servers.http.rig import WAIT_S, Running, listening, routes

SMALL = HttpLimits(head_bytes_max=8192, url_bytes_max=2048, headers_max=20, head_s=0.4)


@pytest.fixture(scope="module")
def small(authority: Authority) -> Iterator[Running]:
    with listening(authority, limits=SMALL) as running:
        yield running


def status_of(heard: bytes) -> int:
    return int(heard.split(b" ", 2)[1]) if heard else 0


def test_too_many_headers(small: Running) -> None:
    head = small.head(*(f"X-{number}: 1" for number in range(20)))
    assert status_of(small.say(head)) == 431


def test_too_long_headers(small: Running) -> None:
    head = small.head(*(f"X-{number}: {'x' * 2000}" for number in range(5)))
    assert status_of(small.say(head)) == 431


def test_a_header_without_an_end(small: Running) -> None:
    heard = small.say(small.head()[:-4] + b"\r\nX: " + b"x" * 1_000_000)
    assert status_of(heard) in {0, 431}


def test_a_request_line_without_an_end(small: Running) -> None:
    assert status_of(small.say(b"GET /" + b"x" * 1_000_000)) in {0, 414, 431}
    assert status_of(small.say(b"GET /" + b"x" * 4000)) == 414


def test_a_trailer_without_an_end(small: Running) -> None:
    head = small.head("Transfer-Encoding: chunked", method="POST", path="/take")
    with small.raw() as tls:
        tls.sendall(head + b"1\r\nx\r\n0\r\nX: ")
        with pytest.raises((ssl.SSLError, ConnectionError)):  # noqa: PT012
            for _ in range(1000):
                tls.sendall(b"x" * 10_000)


def test_trailers_are_not_headers(small: Running) -> None:
    head = small.head(
        "Transfer-Encoding: chunked", "Connection: close", method="POST", path="/take"
    )
    heard = small.say(head + b"1\r\nx\r\n0\r\nAuthorization: Bearer x\r\n\r\n")
    assert status_of(heard) == 200


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01 no HTTP\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nConnection: close\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
        b"POST /take HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /take HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_what_is_no_request(small: Running, data: bytes) -> None:
    assert status_of(small.say(data)) in {0, 400, 421}


def test_a_slow_head_is_ended(small: Running) -> None:
    assert status_of(small.say(small.head()[:-4])) == 408
    assert status_of(small.say(b"")) == 408


def test_upgrades_are_not_made(small: Running) -> None:
    head = small.head("Connection: Upgrade", "Upgrade: websocket")
    with small.raw() as tls:
        tls.sendall(head)
        assert tls.recv(12) != b"HTTP/1.1 101"


def test_too_many_connections_of_one_address(authority: Authority) -> None:
    limits = HttpLimits(connections_per_address_max=2)
    with listening(authority, limits=limits) as running:
        with running.raw() as one, running.raw() as two:
            for tls in (one, two):
                tls.sendall(running.head())
                assert tls.recv(12) == b"HTTP/1.1 200"
            with pytest.raises((ssl.SSLError, ConnectionError)), running.raw():
                pass
            assert running.strangers.get(timeout=WAIT_S) == (
                "more connections than are allowed"
            )
        assert answers_again(running)


def answers_again(running: Running) -> bool:
    """Tell whether there is room again; a place is free once its thread has ended."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        try:
            with running.client() as client:
                return client.get("/me").status_code == 200
        except httpx.TransportError:
            continue
    return False


def test_who_only_connects_is_counted_too(authority: Authority) -> None:
    """Else thousands could wait in their handshakes, each with its memory."""
    limits = HttpLimits(connections_per_address_max=2, head_s=0.5)
    with listening(authority, limits=limits) as running:
        here = ("127.0.0.1", running.port)
        with (
            socket.create_connection(here, WAIT_S) as one,
            socket.create_connection(here, WAIT_S),
            socket.create_connection(here, WAIT_S) as three,
        ):
            assert three.recv(1) == b""
            assert one.recv(1) == b""  # after the time for a handshake
            told = [running.strangers.get(timeout=WAIT_S) for _ in range(3)]
        assert sorted(told) == [
            "TLS: no handshake in time",
            "TLS: no handshake in time",
            "more connections than are allowed",
        ]
        assert answers_again(running)


def test_requests_behind_each_other_are_answered_up_to_a_number(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    limits = HttpLimits(pipelined_max=4)
    with listening(authority, limits=limits) as running:
        last = running.head("Connection: close")
        heard = running.say(running.head() * 4 + last)
        assert heard.count(b"HTTP/1.1 200") == 5
        for _ in range(5):
            assert running.say(running.head() * 1000).count(b"HTTP/1.1 200") < 5
        with running.client() as client:
            assert client.get("/me").status_code == 200
    # The one that was being answered wrote to nobody, and that is no mistake.
    assert not [each for each in caplog.records if each.levelname == "ERROR"]


# --- TLS ---


def test_plain_http_is_no_door(small: Running) -> None:
    with socket.create_connection(("127.0.0.1", small.port), WAIT_S) as plain:
        plain.sendall(small.head())
        try:
            heard = plain.recv(65536)
        except ConnectionResetError:
            heard = b""
    assert not heard.startswith(b"HTTP")
    assert small.strangers.get(timeout=WAIT_S) == "TLS: http request"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"", "TLS: the peer left"),
        (b"\x16\x03\x01", "TLS: the peer left"),
        (b"Doe^Jane" * 100, "TLS: wrong version number"),
    ],
)
def test_a_handshake_that_fails_is_told_without_what_was_sent(
    small: Running, said: bytes, reason: str
) -> None:
    with socket.create_connection(("127.0.0.1", small.port), WAIT_S) as plain:
        plain.sendall(said)
    assert small.strangers.get(timeout=WAIT_S) == reason


def test_old_tls_is_refused(small: Running) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=small.ca)
    context.set_ciphers("ECDHE+AES128:@SECLEVEL=0")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    plain = socket.create_connection(("127.0.0.1", small.port), WAIT_S)
    with context.wrap_socket(plain, server_hostname="localhost") as tls:
        assert tls.version() == "TLSv1.2"  # the oldest that there is
        assert "GCM" in (tls.cipher() or ("",))[0]


def with_certificate(
    running: Running, authority: Authority, folder: Path
) -> tuple[ssl.SSLContext, bytes, int]:
    """Return a client's context, its certificate and that one's serial number."""
    write_credentials(folder, authority.issue("CT1"))
    context = running.context()
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    certificate = load_pem_x509_certificate((folder / "cert.pem").read_bytes())
    return context, certificate.public_bytes(Encoding.DER), certificate.serial_number


def test_a_certificate_proves_who_is_known(
    authority: Authority, tmp_path: Path
) -> None:
    with listening(authority) as running:
        context, der, _ = with_certificate(running, authority, tmp_path / "ct1")
        with running.client(None, verify=context) as client:
            assert client.get("/me").status_code == 401
            running.known[Proof.CERTIFICATE].add(der, Subject(Kind.DEVICE, "ct1"))
            assert client.get("/me").text.startswith("ct1 TLSv1.")
            # Its own certificate does not save who brings a wrong token.
            wrong = {"authorization": "Bearer wrong"}
            assert client.get("/me", headers=wrong).status_code == 401


def test_a_certificate_of_others_is_no_handshake(
    authority: Authority, tmp_path: Path
) -> None:
    foreign = Authority.create(tmp_path / "foreign", bytes(32), ["localhost"])
    with listening(authority) as running:
        context, _, _ = with_certificate(running, foreign, tmp_path / "ct1")
        with (
            running.client(None, verify=context) as client,
            pytest.raises(httpx.TransportError),
        ):
            client.get("/me")


def test_a_revoked_certificate_is_no_handshake_at_once(tmp_path: Path) -> None:
    authority = Authority.create(tmp_path / "own", bytes(32), ["localhost"])
    with listening(authority) as running:
        context, der, serial = with_certificate(running, authority, tmp_path / "ct1")
        running.known[Proof.CERTIFICATE].add(der, Subject(Kind.DEVICE, "ct1"))
        with running.client(None, verify=context) as client:
            assert client.get("/me").status_code == 200
        authority.publish_revocations(lambda: [Revoked(serial, datetime.now(UTC))])
        with (
            running.client(None, verify=context) as client,
            pytest.raises(httpx.TransportError),
        ):
            client.get("/me")


# --- the end ---


class Stubborn:
    """A handler that goes on whatever happens, until it is let go."""

    def __init__(self) -> None:
        self.has_begun = Event()
        self.may_end = Event()

    def __call__(self, _: Call) -> Answer:
        self.has_begun.set()
        self.may_end.wait(WAIT_S)
        return Answer(200, "text/plain", b"at last")


def test_closing_waits_neither_for_handshakes_nor_for_stubborn_threads(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "_CUT_OFF_S", 0.2)
    stubborn = Stubborn()
    route = Route(
        method=HTTPMethod.GET, template="/slow", access=Right.FIND, handler=stubborn
    )
    with listening(authority, routes(route)) as running:
        here = ("127.0.0.1", running.port)
        with socket.create_connection(here, WAIT_S), running.raw() as tls:
            tls.sendall(running.head(path="/slow"))
            assert stubborn.has_begun.wait(WAIT_S)
            began_s = time.monotonic()
            running.server.close()
            took_s = time.monotonic() - began_s
            stubborn.may_end.set()
    assert took_s < 5.0  # a second of it is the grace that was given
