"""A receiver of our own, for C-MOVE: it keeps the bytes as they came."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

from leadglass.dicom.sop_classes import STORAGE
from leadglass.dicom.transfer_syntaxes import TRANSFER_SYNTAXES
from leadglass.dicom.uids import UID
from leadglass.errors import PeerError
from leadglass.servers.dimse.connection import Connection
from leadglass.wire.association import (
    Association,
    ReleaseRequested,
    Requested,
)
from leadglass.wire.dimse import Command, CStoreRQ, DataSetBytes
from leadglass.wire.negotiation import Offer, Service, negotiate
from leadglass.wire.pdus import AssociateRQ
from tests.peers.client import LIMITS, TIMEOUT_S, TIMEOUTS, Sent
from tests.support.node import Credentials

ANY_SYNTAX = frozenset(TRANSFER_SYNTAXES)


class Receiver:
    """Listens from its making on; answers once it is served.

    Attributes:
        syntaxes: The transfer syntaxes that it takes; may be changed at any time.
        answer: Gives the status of each C-STORE.
        instances: What it has been sent.
        requests: The associations that were asked for.
    """

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._context: ssl.SSLContext | None = None
        self._threads: list[threading.Thread] = []
        self._is_closed = False
        self.syntaxes: frozenset[UID] = ANY_SYNTAX
        self.answer: Callable[[CStoreRQ], int] = lambda _: 0
        self.instances: list[Sent] = []
        self.requests: list[AssociateRQ] = []

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @property
    def destination(self) -> str:
        return f"127.0.0.1:{self.port}"

    def serve(self, credentials: Credentials | None) -> None:
        """Begin to answer, with a device's certificate or in plaintext."""
        if credentials is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(credentials.cert, credentials.key)
            self._context.load_verify_locations(credentials.ca)
            self._context.verify_mode = ssl.CERT_REQUIRED
        self._start(self._accept_all)

    def takes(self, *syntaxes: UID) -> None:
        """Take only these from now on, and forget what came."""
        self.syntaxes = frozenset(syntaxes) or ANY_SYNTAX
        self.answer = lambda _: 0
        self.instances.clear()
        self.requests.clear()

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept_all(self) -> None:
        while not self._is_closed:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self._start(self._serve, sock)

    def _serve(self, sock: socket.socket) -> None:
        with suppress(OSError, PeerError), sock:
            sock.settimeout(TIMEOUT_S)
            if self._context is not None:
                sock = self._context.wrap_socket(sock, server_side=True)
            with sock:
                self._converse(Connection(sock, Association.acceptor(LIMITS), TIMEOUTS))

    def _converse(self, connection: Connection) -> None:
        event = connection.event()
        if not isinstance(event, Requested):
            return
        self.requests.append(event.request)
        service = Service(self.syntaxes)
        accept = negotiate(
            event.request,
            Offer(dict.fromkeys(STORAGE, service), {"": service}),
            pdu_length_bytes_max=LIMITS.pdu_length_bytes_max,
        )
        connection.association.accept(accept)
        connection.flush()
        while (part := connection.message()) is not None:
            if isinstance(part, ReleaseRequested):
                connection.association.release()
            elif isinstance(part, Command) and isinstance(part.message, CStoreRQ):
                self._take(connection, part.context_id, part.message)
        connection.close()

    def _take(self, connection: Connection, context_id: int, request: CStoreRQ) -> None:
        data = bytearray()
        while isinstance(part := connection.message(), DataSetBytes):
            data += part.data
            if part.is_last:
                break
        context = connection.association.contexts[context_id]
        self.instances.append(Sent(request, context.transfer_syntax, bytes(data)))
        answer = request.response(self.answer(request))
        connection.association.send(context_id, answer.encode())
        connection.flush()

    def close(self) -> None:
        self._is_closed = True
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(TIMEOUT_S)


@contextmanager
def receivers(count: int) -> Iterator[list[Receiver]]:
    """Give receivers; end them at the end."""
    made = [Receiver() for _ in range(count)]
    try:
        yield made
    finally:
        for each in made:
            each.close()


def uids(instances: Iterable[Sent]) -> set[str]:
    return {str(each.request.affected_sop_instance) for each in instances}
