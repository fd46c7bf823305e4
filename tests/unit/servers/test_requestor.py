"""Associations of our own: to the enrolled device, in time, or not at all."""

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from leadglass.access.networks import Address
from leadglass.dicom.aetitle import AETitle
from leadglass.dicom.transfer_syntaxes import IMPLICIT_VR_LE
from leadglass.errors import Refused, Unavailable
from leadglass.identity.authority import Authority
from leadglass.identity.certificates import Revoked
from leadglass.servers.dimse.connection import Connection, Timeouts
from leadglass.servers.dimse.requestor import Receiver, associate
from leadglass.servers.tls import Credentials, client_context, server_context
from leadglass.wire.association import Association, Limits, Requested
from leadglass.wire.states import State
from tests.unit.servers.rig import PATIENT, Running
from tests.unit.wire.rig import CT, answer

LIMITS = Limits(pdu_length_bytes_max=16 * 1024)
SHORT_S = 0.05
Serve = Callable[[socket.socket], None]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.create(
        tmp_path_factory.mktemp("ca") / "authority", bytes(32), ["localhost"]
    )


def credentials_of(authority: Authority) -> Credentials:
    read = authority.node_credentials()
    return Credentials(read.chain, read.key, read.authorities, read.revocations)


@contextmanager
def receiving(serve: Serve) -> Iterator[tuple[str, int]]:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def run() -> None:
            sock, _ = server.accept()
            with sock:
                serve(sock)

        running = Running(run)
        yield server.getsockname()
        running.result()


def accepting(sock: socket.socket) -> None:
    connection = Connection(sock, Association.acceptor(LIMITS), PATIENT)
    while (event := connection.event()) is not None:
        if isinstance(event, Requested):
            connection.association.accept(answer(event.request, LIMITS))
        elif connection.association.state is State.RELEASING:
            connection.association.release()
    connection.close()


def rejecting(sock: socket.socket) -> None:
    connection = Connection(sock, Association.acceptor(LIMITS), PATIENT)
    connection.event()
    connection.association.reject()
    connection.close()


def leaving(sock: socket.socket) -> None:
    sock.recv(1)


def silent(sock: socket.socket) -> None:
    while sock.recv(65536):
        pass


def nobody(_address: Address, _certificate: bytes | None) -> None:
    raise Refused("the destination is not the enrolled device")


def anybody(_address: Address, _certificate: bytes | None) -> None:
    pass


@contextmanager
def associated(
    address: tuple[str, int],
    *,
    tls: ssl.SSLContext | None = None,
    check: Callable[[Address, bytes | None], None] = anybody,
    timeout_s: float = PATIENT.idle_s,
) -> Iterator[Connection]:
    with associate(
        Receiver(*address, AETitle("WS1"), is_plaintext=tls is None, check=check),
        AETitle("LEADGLASS"),
        [(CT, (IMPLICIT_VR_LE,))],
        tls=tls or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
        timeouts=Timeouts(timeout_s, timeout_s),
        connect_timeout_s=timeout_s,
    ) as connection:
        yield connection


def test_an_association_is_made_and_released() -> None:
    with receiving(accepting) as address:
        with associated(address) as connection:
            assert [each.is_scu for each in connection.association.contexts.values()]
            association = connection.association
        assert association.state is State.CLOSED


def test_what_goes_wrong_within_aborts_it() -> None:
    with receiving(accepting) as address:
        with pytest.raises(ZeroDivisionError), associated(address) as connection:
            raise ZeroDivisionError
        assert connection.association.state is not State.ESTABLISHED


@pytest.mark.parametrize("serve", [rejecting, leaving])
def test_a_receiver_that_takes_no_association(serve: Serve) -> None:
    with receiving(serve) as address, pytest.raises(Unavailable), associated(address):
        pass


def test_a_receiver_that_says_nothing() -> None:
    with (
        receiving(silent) as address,
        pytest.raises(Unavailable),
        associated(address, timeout_s=SHORT_S),
    ):
        pass


def test_a_receiver_that_is_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
    with pytest.raises(Unavailable, match="cannot be reached"), associated(address):
        pass


def test_in_plaintext_the_address_is_what_is_judged() -> None:
    with (
        receiving(silent) as address,
        pytest.raises(Refused),
        associated(address, check=nobody),
    ):
        pass


def over_tls(context: ssl.SSLContext, heard: list[bytes] | None = None) -> Serve:
    def serve(sock: socket.socket) -> None:
        try:
            with context.wrap_socket(sock, server_side=True) as secured:
                if heard is None:
                    accepting(secured)
                else:
                    heard.append(secured.recv(100))
        except OSError:
            pass

    return serve


def test_over_tls_the_certificate_is_what_is_judged(authority: Authority) -> None:
    credentials = credentials_of(authority)
    shown: list[bytes | None] = []
    with (
        receiving(over_tls(server_context(credentials, "1.2"))) as address,
        associated(
            address,
            tls=client_context(credentials, "1.2"),
            check=lambda _, certificate: shown.append(certificate),
        ),
    ):
        pass
    node = x509.load_pem_x509_certificate(credentials.chain)  # the first of the chain
    assert shown == [node.public_bytes(Encoding.DER)]


def test_a_device_with_another_certificate_hears_nothing(
    authority: Authority,
) -> None:
    credentials = credentials_of(authority)
    heard: list[bytes] = []
    with (
        receiving(over_tls(server_context(credentials, "1.2"), heard)) as address,
        pytest.raises(Refused),
        associated(address, tls=client_context(credentials, "1.2"), check=nobody),
    ):
        pass
    assert b"".join(heard) == b""


def test_a_receiver_of_another_authority(authority: Authority, tmp_path: Path) -> None:
    foreign = Authority.create(tmp_path / "foreign", bytes(32), ["localhost"])
    with (
        receiving(over_tls(server_context(credentials_of(foreign), "1.2"))) as address,
        pytest.raises(Refused, match="not acceptable"),
        associated(address, tls=client_context(credentials_of(authority), "1.2")),
    ):
        pass


def test_a_receiver_whose_certificate_was_revoked(tmp_path: Path) -> None:
    authority = Authority.create(tmp_path / "authority", bytes(32), ["localhost"])
    serial = authority.node_certificate().serial
    server = server_context(credentials_of(authority), "1.2")
    authority.publish_revocations(lambda: [Revoked(serial, datetime.now(UTC))])
    with (
        receiving(over_tls(server)) as address,
        pytest.raises(Refused),
        associated(address, tls=client_context(credentials_of(authority), "1.2")),
    ):
        pass


@pytest.mark.parametrize("serve", [silent, leaving])
def test_a_receiver_that_does_not_finish_the_handshake(
    authority: Authority, serve: Serve
) -> None:
    context = client_context(credentials_of(authority), "1.2")
    with (
        receiving(serve) as address,
        pytest.raises((Unavailable, Refused)),
        associated(address, tls=context, timeout_s=SHORT_S),
    ):
        pass
