"""TLS contexts after PS3.15 B.12, looked at and in real handshakes."""

import builtins
import os
import socket
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from leadglass.identity.authority import Authority, Issued, write_credentials
from leadglass.identity.certificates import Revoked
from leadglass.servers.tls import (
    TLS12_SUITES,
    Contexts,
    Credentials,
    client_context,
    server_context,
)
from tests.unit.servers.rig import Running, tcp_pair

SEAL_KEY = bytes(32)
Make = Callable[[Credentials, str], ssl.SSLContext]
both = pytest.mark.parametrize("make", [server_context, client_context])


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    folder = tmp_path_factory.mktemp("tls") / "authority"
    return Authority.create(folder, SEAL_KEY, ["localhost"])


def credentials_of(authority: Authority) -> Credentials:
    read = authority.node_credentials()
    return Credentials(read.chain, read.key, read.authorities, read.revocations)


@pytest.fixture
def credentials(authority: Authority) -> Credentials:
    return credentials_of(authority)


@both
def test_exactly_the_suites_of_b12(make: Make, credentials: Credentials) -> None:
    suites = make(credentials, "1.2").get_ciphers()
    older = {each["name"] for each in suites if each["protocol"] == "TLSv1.2"}
    assert older == set(TLS12_SUITES)
    newer = {each["name"] for each in suites} - older
    assert newer == {
        "TLS_AES_128_GCM_SHA256",
        "TLS_AES_256_GCM_SHA384",
        "TLS_CHACHA20_POLY1305_SHA256",
    }
    assert all(each["aead"] for each in suites)


@both
def test_what_weakens_tls_is_off(make: Make, credentials: Credentials) -> None:
    context = make(credentials, "1.2")
    assert context.options & ssl.OP_NO_COMPRESSION
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.verify_flags & ssl.VERIFY_CRL_CHECK_LEAF
    assert context.verify_flags & ssl.VERIFY_X509_STRICT


def test_a_listener_gives_no_tickets(credentials: Credentials) -> None:
    context = server_context(credentials, "1.2")
    assert context.options & ssl.OP_NO_TICKET
    assert context.num_tickets == 0


@both
@pytest.mark.parametrize(
    ("minimum", "version"),
    [("1.2", ssl.TLSVersion.TLSv1_2), ("1.3", ssl.TLSVersion.TLSv1_3)],
)
def test_the_oldest_version(
    make: Make, credentials: Credentials, minimum: str, version: ssl.TLSVersion
) -> None:
    assert make(credentials, minimum).minimum_version is version


def descriptors() -> set[str]:
    return {each.name for each in Path("/proc/self/fd").iterdir()}


@both
def test_the_private_key_touches_no_disk(
    make: Make, credentials: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[object] = []

    def refuse(path: object, *_: object, **__: object) -> None:
        opened.append(path)
        raise AssertionError("a file was opened")

    before = descriptors()
    with monkeypatch.context() as patch:
        patch.setattr(builtins, "open", refuse)
        patch.setattr(os, "open", refuse)
        make(credentials, "1.2")
    assert opened == []
    assert descriptors() == before  # nor does it stay open
    assert credentials.key.decode() not in repr(credentials)


# --- handshakes -------------------------------------------------------------------


def device_context(folder: Path, issued: Issued, trust: Path) -> ssl.SSLContext:
    write_credentials(folder, issued)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(trust)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


@pytest.fixture
def device(authority: Authority, tmp_path: Path) -> ssl.SSLContext:
    return device_context(tmp_path / "ct1", authority.issue("CT1"), authority.ca_path)


def handshake(
    server: ssl.SSLContext,
    client: ssl.SSLContext,
    session: ssl.SSLSession | None = None,
) -> tuple[ssl.SSLSocket, str]:
    """Return the client's end, closed, and what went wrong at ours."""
    ours, theirs = tcp_pair()
    errors: list[str] = []

    def serve() -> None:
        try:
            with server.wrap_socket(ours, server_side=True) as secured:
                secured.sendall(b"welcome")
        except OSError as error:
            errors.append(str(error))
            ours.close()

    serving = Running(serve)
    try:
        secured = client.wrap_socket(
            theirs, server_hostname="localhost", session=session
        )
        assert secured.recv(7) in {b"welcome", b""}
    except OSError as error:
        errors.append(str(error))
        secured = client.wrap_socket(
            socket.socket(), do_handshake_on_connect=False, server_hostname="localhost"
        )
        theirs.close()
    serving.result()
    return secured, "; ".join(errors)


@pytest.mark.parametrize(
    "suite",
    [
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-ECDSA-AES256-SHA384",
        "AES256-GCM-SHA384",
    ],
)
def test_other_suites_are_not_spoken(
    credentials: Credentials, device: ssl.SSLContext, suite: str
) -> None:
    device.maximum_version = ssl.TLSVersion.TLSv1_2
    device.set_ciphers(suite)
    secured, error = handshake(server_context(credentials, "1.2"), device)
    secured.close()
    assert "NO_SHARED_CIPHER" in error


def test_a_version_below_the_minimum_is_not_spoken(
    credentials: Credentials, device: ssl.SSLContext
) -> None:
    device.maximum_version = ssl.TLSVersion.TLSv1_2
    secured, error = handshake(server_context(credentials, "1.3"), device)
    secured.close()
    assert "UNSUPPORTED_PROTOCOL" in error


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_no_session_outlives_its_connection_by_a_ticket(
    credentials: Credentials, device: ssl.SSLContext, version: ssl.TLSVersion
) -> None:
    device.minimum_version = device.maximum_version = version
    server = server_context(credentials, "1.2")
    secured, error = handshake(server, device)
    assert error == ""
    assert secured.version() == version.name.replace("_", ".")
    session = secured.session
    secured.close()
    assert session is None or not session.has_ticket


# --- reloading --------------------------------------------------------------------


def test_contexts_are_made_anew_when_the_stamp_changes(
    credentials: Credentials,
) -> None:
    reads: list[int] = []
    stamp = [1]

    def read() -> Credentials:
        reads.append(stamp[0])
        return credentials

    contexts = Contexts(read, lambda: stamp[0], "1.2")
    first = contexts.server()
    assert contexts.server() is first
    assert contexts.client() is contexts.client()
    assert reads == [1]
    stamp[0] = 2
    assert contexts.server() is not first
    assert reads == [1, 2]


def test_credentials_that_cannot_be_read_are_no_old_ones(
    credentials: Credentials,
) -> None:
    stamp = [1]

    def read() -> Credentials:
        if stamp[0] == 2:
            raise OSError("gone")
        return credentials

    contexts = Contexts(read, lambda: stamp[0], "1.2")
    contexts.server()
    stamp[0] = 2
    for _ in range(2):
        with pytest.raises(OSError, match="gone"):
            contexts.server()
    stamp[0] = 3
    assert contexts.server()


def test_a_revocation_is_seen_by_the_next_handshake(tmp_path: Path) -> None:
    authority = Authority.create(tmp_path / "authority", SEAL_KEY, ["localhost"])
    issued = authority.issue("CT1")
    device = device_context(tmp_path / "ct1", issued, authority.ca_path)
    # A session of TLS 1.2 that is resumed by its number would not be looked at again.
    device.maximum_version = ssl.TLSVersion.TLSv1_2
    contexts = Contexts(lambda: credentials_of(authority), authority.stamp, "1.2")
    secured, error = handshake(contexts.server(), device)
    session = secured.session
    secured.close()
    assert error == ""
    now = datetime.now(UTC)
    authority.publish_revocations(lambda: [Revoked(issued.certificate.serial, now)])
    for resumed in (None, session):
        secured, error = handshake(contexts.server(), device, resumed)
        secured.close()
        assert "certificate revoked" in error
