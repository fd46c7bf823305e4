"""A DICOM peer of our own making: what experiments speak to a node with.

It goes the way of every device: a socket, TLS, ``wire``. It knows nothing of the node,
and believes nothing: each wait has an end, and what comes is bounded.
"""

import socket
import ssl
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

from leadglass.dicom.aetitle import AETitle
from leadglass.dicom.sop_classes import (
    STUDY_ROOT_FIND,
    STUDY_ROOT_GET,
    VERIFICATION,
    is_storage,
)
from leadglass.dicom.transfer_syntaxes import EXPLICIT_VR_LE, IMPLICIT_VR_LE
from leadglass.dicom.uids import UID
from leadglass.errors import PeerError, Refused, Unavailable
from leadglass.wire.association import (
    Accepted,
    Association,
    Event,
    Fragment,
    Limits,
    Rejected,
    Released,
)
from leadglass.wire.dimse import (
    CEchoRQ,
    CFindRQ,
    CGetRQ,
    Command,
    CStoreRQ,
    DataSetBytes,
    Message,
    Messages,
)
from leadglass.wire.negotiation import propose
from leadglass.wire.pdus import AssociateRQ, RoleSelection
from leadglass.wire.states import State
from leadglass.wire.status import SUCCESS, Category, category

_LIMITS: Final = Limits()
# Answers of one question: experiments ask for what they themselves stored.
ANSWERS_MAX: Final = 10_000
OCTETS_MAX: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Calling:
    """Whom to call, as whom, and how.

    Attributes:
        host: Address.
        port: TCP port.
        called: Called AE title.
        calling: Calling AE title.
        tls: None speaks in plaintext.
        timeout_s: For all of it.
        source: Local address to call from; "" leaves it to the system.
    """

    host: str
    port: int
    called: AETitle
    calling: AETitle
    tls: ssl.SSLContext | None = None
    timeout_s: float = 10.0
    source: str = ""


class Peer:
    """An established association; ``associate`` makes it."""

    def __init__(
        self, sock: socket.socket, association: Association, until: float
    ) -> None:
        self._socket = sock
        self._association = association
        self._until = until
        self._messages = Messages()
        self._id = 0
        self._pending: list[Event] = []

    @property
    def taken(self) -> frozenset[UID]:
        """SOP classes that the other side takes."""
        return frozenset(
            each.abstract_syntax for each in self._association.contexts.values()
        )

    # --- what is asked --------------------------------------------------------

    def echo(self) -> int:
        """Return the status of a C-ECHO (PS3.4 §A)."""
        command = CEchoRQ(message_id=self._next(), affected_sop_class=VERIFICATION)
        self._send(VERIFICATION, command)
        return self._answered()[0]

    def store(self, sop_class: UID, instance: UID, data_set: bytes) -> int:
        """Send one instance; return the status (PS3.4 §B.2.3)."""
        command = CStoreRQ(
            message_id=self._next(),
            affected_sop_class=sop_class,
            affected_sop_instance=instance,
        )
        self._send(sop_class, command, data_set)
        return self._answered()[0]

    def find(self, identifier: bytes) -> tuple[int, list[bytes]]:
        """Ask in the Study Root model; return the last status and the matches."""
        command = CFindRQ(message_id=self._next(), affected_sop_class=STUDY_ROOT_FIND)
        self._send(STUDY_ROOT_FIND, command, identifier)
        return self._answered()

    def get(self, identifier: bytes) -> tuple[int, list[bytes]]:
        """Fetch in the Study Root model; return the last status and data sets."""
        command = CGetRQ(message_id=self._next(), affected_sop_class=STUDY_ROOT_GET)
        self._send(STUDY_ROOT_GET, command, identifier)
        return self._answered()

    def _next(self) -> int:
        self._id += 1
        return self._id

    def _send(
        self, abstract: UID, message: Message, data_set: bytes | None = None
    ) -> None:
        context = next(
            (
                each.id
                for each in self._association.contexts.values()
                if each.abstract_syntax == abstract
            ),
            None,
        )
        if context is None:
            raise Refused("the peer takes no presentation context for that")
        self._association.send(context, message.encode(), data_set)
        self._flush()

    def _answered(self) -> tuple[int, list[bytes]]:
        """Read to the last response; take what a C-GET sends meanwhile."""
        found: list[bytes] = []
        piece = bytearray()
        storing: Command | None = None
        total = 0
        for part in self._parts():
            if isinstance(part, Command):
                status = getattr(part.message, "status", None)
                if isinstance(part.message, CStoreRQ):
                    storing = part
                elif status is None:
                    raise PeerError("a request where a response was due")
                elif category(status) is not Category.PENDING:
                    return int(status), found
                continue
            total += len(part.data)
            if total > OCTETS_MAX or len(found) > ANSWERS_MAX:
                raise PeerError("more was sent than was asked for")
            piece += part.data
            if not part.is_last:
                continue
            found.append(bytes(piece))
            piece.clear()
            if storing is not None and isinstance(storing.message, CStoreRQ):
                answer = storing.message.response(SUCCESS)
                self._association.send(storing.context_id, answer.encode())
                self._flush()
                storing = None
        raise PeerError("the peer ended the association")

    # --- bytes ----------------------------------------------------------------

    def _parts(self) -> Iterator[Command | DataSetBytes]:
        while (event := self.event()) is not None:
            if not isinstance(event, Fragment):
                return
            part = self._messages.take(event)
            if part is not None:
                yield part

    def event(self) -> Event | None:
        """Wait for the next event; None: it has ended."""
        while not self._pending:
            if self._association.state is State.CLOSED:
                return None
            left = self._until - time.monotonic()
            if left <= 0:
                raise Unavailable("no answer in time")
            self._socket.settimeout(left)
            try:
                data = self._socket.recv(64 * 1024)
            except TimeoutError as error:
                raise Unavailable("no answer in time") from error
            except OSError:
                data = b""
            if not data:
                return None
            self._association.receive(data)
            # A fragment's view ends with the next bytes, so it is copied.
            self._pending = [
                each._replace(data=memoryview(bytes(each.data)))
                if isinstance(each, Fragment)
                else each
                for each in self._association.events()
            ]
            self._flush()
        return self._pending.pop(0)

    def _flush(self) -> None:
        data = self._association.outbox()
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise PeerError("the peer went away") from error

    def release(self) -> None:
        """End the association in good order."""
        self._association.release()
        self._flush()
        while (event := self.event()) is not None:
            if isinstance(event, Released):
                return

    def close(self) -> None:
        """End the connection."""
        with suppress(PeerError):
            self._association.abort()
            self._flush()
        with suppress(OSError):
            self._socket.close()


@contextmanager
def associate(to: Calling, classes: Iterable[UID]) -> Iterator[Peer]:
    """Give an established association that offers these SOP classes.

    Raises:
        Unavailable: Nobody answers there, or not in time.
        Refused: TLS or the association was refused.
        PeerError: What answers breaks the protocol.
    """
    until = time.monotonic() + to.timeout_s
    sock = connect(to)
    try:
        association = Association.requestor(_request(to, tuple(classes)), _LIMITS)
        peer = Peer(sock, association, until)
    except BaseException:
        sock.close()
        raise
    try:
        peer._flush()  # noqa: SLF001  # its maker
        event = peer.event()
        if not isinstance(event, Accepted):
            kind = "rejected" if isinstance(event, Rejected) else "ended"
            raise Refused(f"the association was {kind}")
        yield peer
        peer.release()
    finally:
        peer.close()


def _request(to: Calling, classes: tuple[UID, ...]) -> AssociateRQ:
    syntaxes = (EXPLICIT_VR_LE, IMPLICIT_VR_LE)
    # Who fetches is sent to: it must offer to be SCP of what may come (PS3.4 §C.5.3).
    storing = [
        each for each in classes if is_storage(each) and STUDY_ROOT_GET in classes
    ]
    return propose(
        to.called,
        to.calling,
        [(each, syntaxes) for each in classes],
        pdu_length_bytes_max=_LIMITS.pdu_length_bytes_max,
        roles=[RoleSelection(each, is_scu=True, is_scp=True) for each in storing],
    )


def connect(to: Calling) -> socket.socket:
    """Return a connected socket, with TLS if that is asked for.

    Raises:
        Unavailable: Nobody answers there.
        Refused: There was no handshake.
    """
    source = (to.source, 0) if to.source else None
    try:
        sock = socket.create_connection((to.host, to.port), to.timeout_s, source)
    except OSError as error:
        raise Unavailable("nobody answers there") from error
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if to.tls is None:
        return sock
    try:
        return to.tls.wrap_socket(sock, server_hostname=to.host)
    except OSError as error:
        sock.close()
        raise Refused("there was no TLS handshake") from error
