"""A peer of our own over the wire core: it can do what no honest program does.

What it asks is encoded by pydicom, so that both sides do not share one mistake.
"""

import socket
import ssl
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any

import pydicom.uid
from pydicom.dataset import Dataset
from pynetdicom.dsutils import decode, encode

from leadglass.dicom.aetitle import AETitle
from leadglass.dicom.sop_classes import (
    PATIENT_ROOT_FIND,
    STUDY_ROOT_FIND,
    STUDY_ROOT_GET,
    STUDY_ROOT_MOVE,
    VERIFICATION,
)
from leadglass.dicom.transfer_syntaxes import EXPLICIT_VR_LE, IMPLICIT_VR_LE
from leadglass.dicom.uids import UID
from leadglass.servers.dimse.connection import Connection, Timeouts
from leadglass.wire.association import (
    Accepted,
    Association,
    Limits,
    Rejected,
    Released,
)
from leadglass.wire.dimse import (
    CCancelRQ,
    CEchoRQ,
    CEchoRSP,
    CFindRQ,
    CFindRSP,
    CGetRQ,
    CGetRSP,
    CMoveRQ,
    CMoveRSP,
    Command,
    CStoreRQ,
    CStoreRSP,
    DataSetBytes,
    Message,
)
from leadglass.wire.negotiation import Context, propose
from leadglass.wire.pdus import AssociateAC, AssociateRJ, RoleSelection
from tests.support.node import Credentials, RunningNode

NODE_TITLE = "LEADGLASS"
TIMEOUT_S = 30.0
TIMEOUTS = Timeouts(TIMEOUT_S, TIMEOUT_S)
LIMITS = Limits()

QUESTIONS = (
    (VERIFICATION, (IMPLICIT_VR_LE,)),
    (STUDY_ROOT_FIND, (EXPLICIT_VR_LE,)),
    (PATIENT_ROOT_FIND, (IMPLICIT_VR_LE,)),
    (STUDY_ROOT_MOVE, (EXPLICIT_VR_LE,)),
    (STUDY_ROOT_GET, (EXPLICIT_VR_LE,)),
)

Wishes = Iterable[tuple[UID, Iterable[UID]]]


class Turned(Exception):  # it is what is expected
    """The association was rejected, or ended before it began.

    Attributes:
        reject: What was said, if anything.
    """

    def __init__(self, reject: AssociateRJ | None) -> None:
        super().__init__(str(reject))
        self.reject = reject


class Ended(Exception):
    """The node ended the association."""


def tls_context(
    credentials: Credentials | None,
    *,
    authority: Credentials | None = None,
    version: ssl.TLSVersion | None = None,
    suites: str | None = None,
) -> ssl.SSLContext:
    """Return the context of a device; without credentials it shows no certificate."""
    trusted = authority or credentials
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if trusted is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context.load_verify_locations(trusted.ca)
    if credentials is not None:
        context.load_cert_chain(credentials.cert, credentials.key)
    if version is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old versions are the test
            context.minimum_version = context.maximum_version = version
    if suites is not None:
        context.set_ciphers(suites)
    return context


def connect(address: tuple[str, int], source: str = "127.0.0.1") -> socket.socket:
    """Connect, from one of the addresses that loopback has."""
    return socket.create_connection(address, TIMEOUT_S, (source, 0))


def secure(
    node: RunningNode, context: ssl.SSLContext, source: str = "127.0.0.1"
) -> ssl.SSLSocket:
    """Connect with TLS."""
    raw = connect((node.host, node.port), source)
    try:
        return context.wrap_socket(raw, server_hostname="localhost")
    except BaseException:
        raw.close()
        raise


@dataclass(frozen=True)
class Sent:
    """An instance that came, its bytes as they came."""

    request: CStoreRQ
    transfer_syntax: UID
    data: bytes


@dataclass(frozen=True)
class Told:
    """Answers to a question: the pending ones, and the last."""

    pending: tuple[CFindRSP, ...]
    answers: tuple[Any, ...]
    last: CFindRSP

    @property
    def status(self) -> int:
        return self.last.status

    def values(self, keyword: str) -> list[Any]:
        return [getattr(each, keyword, None) for each in self.answers]


@dataclass(frozen=True)
class Got:
    """What came of a retrieve."""

    instances: tuple[Sent, ...]
    pending: tuple[CGetRSP | CMoveRSP, ...]
    last: CGetRSP | CMoveRSP
    failed: tuple[str, ...]

    @property
    def status(self) -> int:
        return self.last.status

    @property
    def uids(self) -> set[str]:
        return {str(each.request.affected_sop_instance) for each in self.instances}


def identifier(level: str | None, **keys: Any) -> Any:
    """Return a question; values as pydicom takes them."""
    data_set = Dataset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # keys are not values, and some are wrong
        if level is not None:
            data_set.QueryRetrieveLevel = level
        for keyword, value in keys.items():
            setattr(data_set, keyword, value)
    return data_set


class Client:
    """An established association with the node."""

    def __init__(self, sock: socket.socket, request: Any) -> None:
        self.connection = Connection(
            sock, Association.requestor(request, LIMITS), TIMEOUTS
        )
        self._number = 0
        event = self.connection.event()
        if not isinstance(event, Accepted):
            self.connection.close()
            raise Turned(event.reject if isinstance(event, Rejected) else None)
        self.accept: AssociateAC = event.accept

    @property
    def association(self) -> Association:
        return self.connection.association

    def context(self, abstract: UID, transfer: UID | None = None) -> Context:
        found = self.association.find(abstract, transfer)
        assert found is not None, f"no context for {abstract}"
        return found

    def next_number(self) -> int:
        self._number += 1
        return self._number

    def send(self, context: Context, message: Message, data: bytes | None) -> None:
        self.association.send(context.id, message.encode(), data)
        self.connection.flush()

    def receive(self) -> tuple[Command, bytes]:
        """Wait for a message, and its data set if it has one."""
        part = self.connection.message()
        if not isinstance(part, Command):
            raise Ended(part)
        has_data = getattr(part.message, "has_data_set", False)
        data = bytearray()
        if has_data or isinstance(part.message, CStoreRQ):
            while True:
                piece = self.connection.message()
                if not isinstance(piece, DataSetBytes):
                    raise Ended(piece)
                data += piece.data
                if piece.is_last:
                    break
        return part, bytes(data)

    # --- services ---------------------------------------------------------------

    def echo(self) -> int:
        context = self.context(VERIFICATION)
        request = CEchoRQ(
            message_id=self.next_number(), affected_sop_class=VERIFICATION
        )
        self.send(context, request, None)
        answer = self.receive()[0].message
        assert isinstance(answer, CEchoRSP)
        return answer.status

    def store(
        self,
        data: bytes,
        sop_class: UID,
        sop_instance: UID,
        *,
        context: Context | None = None,
    ) -> CStoreRSP:
        """Send one instance; the bytes go as they are."""
        chosen = context or self.context(sop_class)
        request = CStoreRQ(
            message_id=self.next_number(),
            affected_sop_class=sop_class,
            affected_sop_instance=sop_instance,
        )
        self.connection.stream(chosen.id, request.encode(), [data])
        answer = self.receive()[0].message
        assert isinstance(answer, CStoreRSP)
        assert answer.responds_to == request.message_id
        return answer

    def store_data_set(self, data_set: Any) -> CStoreRSP:
        """Send what pydicom has, as Explicit VR Little Endian."""
        return self.store(
            encoded(data_set, EXPLICIT_VR_LE),
            UID(data_set.SOPClassUID),
            UID(data_set.SOPInstanceUID),
        )

    def find(
        self,
        question: Any,
        model: UID = STUDY_ROOT_FIND,
        *,
        cancel_after: int | None = None,
        raw: bytes | None = None,
    ) -> Told:
        context = self.context(model)
        request = CFindRQ(message_id=self.next_number(), affected_sop_class=model)
        data = encoded(question, context.transfer_syntax) if raw is None else raw
        self.send(context, request, data)
        pending: list[CFindRSP] = []
        answers: list[Any] = []
        while True:
            command, data = self.receive()
            answer = command.message
            assert isinstance(answer, CFindRSP)
            assert answer.responds_to == request.message_id
            if answer.status not in {0xFF00, 0xFF01}:
                return Told(tuple(pending), tuple(answers), answer)
            pending.append(answer)
            answers.append(decoded(data, context.transfer_syntax))
            if len(pending) == cancel_after:
                self.cancel(context, request.message_id)

    def cancel(self, context: Context, number: int) -> None:
        self.send(context, CCancelRQ(responds_to=number), None)

    def get(
        self,
        question: Any,
        model: UID = STUDY_ROOT_GET,
        *,
        answer: Callable[[CStoreRQ], int] = lambda _: 0,
        cancel_after: int | None = None,
    ) -> Got:
        context = self.context(model)
        request = CGetRQ(message_id=self.next_number(), affected_sop_class=model)
        self.send(context, request, encoded(question, context.transfer_syntax))
        return self._gather(context, request.message_id, answer, cancel_after)

    def move(
        self, question: Any, destination: str, model: UID = STUDY_ROOT_MOVE
    ) -> Got:
        context = self.context(model)
        request = CMoveRQ(
            message_id=self.next_number(),
            affected_sop_class=model,
            move_destination=AETitle(destination),
        )
        self.send(context, request, encoded(question, context.transfer_syntax))
        return self._gather(context, request.message_id, lambda _: 0, None)

    def _gather(
        self,
        context: Context,
        number: int,
        answer: Callable[[CStoreRQ], int],
        cancel_after: int | None,
    ) -> Got:
        instances: list[Sent] = []
        pending: list[CGetRSP | CMoveRSP] = []
        while True:
            command, data = self.receive()
            message = command.message
            if isinstance(message, CStoreRQ):
                over = self.association.contexts[command.context_id]
                instances.append(Sent(message, over.transfer_syntax, data))
                if len(instances) == cancel_after:
                    self.cancel(context, number)
                self.send(over, message.response(answer(message)), None)
                continue
            assert isinstance(message, CGetRSP | CMoveRSP)
            assert message.responds_to == number
            if message.status == 0xFF00:
                pending.append(message)
                continue
            failed: tuple[str, ...] = ()
            if data:
                listed = decoded(data, context.transfer_syntax).FailedSOPInstanceUIDList
                failed = (listed,) if isinstance(listed, str) else tuple(listed)
            return Got(tuple(instances), tuple(pending), message, failed)

    # --- end --------------------------------------------------------------------

    def release(self) -> None:
        self.association.release()
        self.connection.flush()
        while (event := self.connection.event()) is not None:
            if isinstance(event, Released):
                return
        raise Ended

    def close(self) -> None:
        self.connection.close()


def encoded(data_set: Any, syntax: str) -> bytes:
    """Encode with pydicom."""
    uid = pydicom.uid.UID(str(syntax))
    data = encode(
        data_set, uid.is_implicit_VR, uid.is_little_endian, deflated=uid.is_deflated
    )
    assert data is not None
    return bytes(data)


def decoded(data: bytes, syntax: str) -> Any:
    """Decode with pydicom."""

    uid = pydicom.uid.UID(str(syntax))
    return decode(
        BytesIO(data), uid.is_implicit_VR, uid.is_little_endian, uid.is_deflated
    )


def request_of(
    calling: str,
    wishes: Wishes = QUESTIONS,
    *,
    called: str = NODE_TITLE,
    roles: Sequence[RoleSelection] = (),
    **user: Any,
) -> Any:
    """Return a request; ``user`` goes to the user information."""
    request = propose(
        AETitle(called),
        AETitle(calling),
        wishes,
        pdu_length_bytes_max=LIMITS.pdu_length_bytes_max,
        roles=roles,
    )
    return replace(request, user=replace(request.user, **user))


@contextmanager
def associated(
    node: RunningNode,
    credentials: Credentials,
    wishes: Wishes = QUESTIONS,
    *,
    source: str = "127.0.0.1",
    calling: str | None = None,
    **more: Any,
) -> Iterator[Client]:
    """Give an association of an enrolled device; release it at the end.

    Raises:
        Turned: The node does not want it.
        OSError: The connection ended before.
    """
    title = calling or credentials.device.ae_titles[0].text
    sock = secure(node, tls_context(credentials), source)
    client = Client(sock, request_of(title, wishes, **more))
    try:
        yield client
        client.release()
    finally:
        client.close()


def receives(*sop_classes: str) -> list[RoleSelection]:
    """Return the roles of a requestor that wants to be sent to (C-GET)."""
    return [RoleSelection(UID(uid), is_scu=True, is_scp=True) for uid in sop_classes]


def until_closed(sock: socket.socket) -> bytes:
    """Return all that comes until the node closes; a reset is an end as well."""
    data = bytearray()
    sock.settimeout(TIMEOUT_S)
    with suppress(ConnectionError, ssl.SSLError):
        while piece := sock.recv(65536):
            data += piece
    return bytes(data)
