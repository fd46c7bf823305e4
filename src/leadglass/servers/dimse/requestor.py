"""The other role: an association that we ask a receiver for (C-MOVE)."""

import socket
import ssl
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from leadglass.access.networks import Address
from leadglass.dicom.aetitle import AETitle
from leadglass.dicom.uids import UID
from leadglass.errors import Refused, Unavailable
from leadglass.servers.dimse.connection import Connection, Timeouts, tune
from leadglass.wire.association import Accepted, Association, Limits, Rejected, Released
from leadglass.wire.negotiation import propose

# What we receive as requestor: responses of some hundred bytes.
_LIMITS: Final = Limits(pdu_length_bytes_max=16 * 1024)


@dataclass(frozen=True, slots=True)
class Receiver:
    """Where to send to, and how it proves that it is the enrolled device.

    Attributes:
        host: Name or address.
        port: TCP port.
        ae_title: Its title; the called one.
        is_plaintext: It is sent to without TLS, by a named exception.
        check: Judges who answers, by address and certificate; raises if it is not
            the enrolled device.
    """

    host: str
    port: int
    ae_title: AETitle
    is_plaintext: bool
    check: Callable[[Address, bytes | None], None]


@contextmanager
def associate(  # noqa: PLR0913  # whom, as whom, for what, and how long
    receiver: Receiver,
    calling: AETitle,
    wishes: Iterable[tuple[UID, Iterable[UID]]],
    *,
    tls: ssl.SSLContext,
    timeouts: Timeouts,
    connect_timeout_s: float,
) -> Iterator[Connection]:
    """Give an established association; release it at the end.

    Raises:
        Unavailable: The receiver does not answer, or takes no association now.
        Refused: What answers is not the enrolled device.
        PeerError: The receiver broke the protocol.
    """
    sock = _connect(receiver, tls, connect_timeout_s)
    request = propose(
        receiver.ae_title,
        calling,
        wishes,
        pdu_length_bytes_max=_LIMITS.pdu_length_bytes_max,
    )
    association = Association.requestor(request, _LIMITS)
    connection = Connection(sock, association, timeouts)
    try:
        event = connection.event()
        if isinstance(event, Rejected):
            raise Unavailable("the destination rejected the association")
        if not isinstance(event, Accepted):
            raise Unavailable("the destination ended the association")
        yield connection
        association.release()
        connection.flush()
        while (event := connection.event()) is not None:
            if isinstance(event, Released):
                break
    finally:
        connection.close()


def _connect(
    receiver: Receiver, tls: ssl.SSLContext, timeout_s: float
) -> socket.socket:
    try:
        sock = socket.create_connection((receiver.host, receiver.port), timeout_s)
    except OSError as error:
        raise Unavailable("the destination cannot be reached") from error
    try:
        tune(sock)
        address = ip_address(sock.getpeername()[0].partition("%")[0])
        if receiver.is_plaintext:
            receiver.check(address, None)
            return sock
        secured = tls.wrap_socket(sock)
    except ssl.SSLError as error:
        sock.close()
        raise Refused("the destination's TLS is not acceptable") from error
    except OSError as error:
        sock.close()
        raise Unavailable("the destination ended the connection") from error
    except BaseException:
        sock.close()
        raise
    try:
        receiver.check(address, secured.getpeercert(binary_form=True) or b"")
    except BaseException:
        secured.close()
        raise
    return secured
