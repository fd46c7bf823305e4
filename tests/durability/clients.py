"""A device of the tests: sends what it is told over TLS, and says what came back."""

import socket
import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from leadglass.dicom.aetitle import AETitle
from leadglass.dicom.dataset import DataSet
from leadglass.dicom.sop_classes import (
    STUDY_ROOT_FIND,
    STUDY_ROOT_GET,
    STUDY_ROOT_MOVE,
    VERIFICATION,
)
from leadglass.dicom.transfer_syntaxes import EXPLICIT_VR_LE, IMPLICIT_VR_LE
from leadglass.dicom.uids import UID
from leadglass.servers.dimse.connection import Connection, Timeouts, tune
from leadglass.wire.association import Accepted, Association, Limits, Released
from leadglass.wire.dimse import (
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
from leadglass.wire.negotiation import propose
from leadglass.wire.pdus import RoleSelection
from leadglass.wire.status import Category, category
from tests.durability.instances import CT, MR, Instance
from tests.support.node import Credentials, RunningNode

STUDY_UID: Final = 0x0020_000D
QUERY_LEVEL: Final = 0x0008_0052
PATIENT_NAME: Final = 0x0010_0010
PATIENT_ID: Final = 0x0010_0020

ANSWER_TIMEOUT_S: Final = 60.0
_LIMITS: Final = Limits(pdu_length_bytes_max=64 * 1024)
_PIECE_BYTES: Final = 16 * 1024
_TRANSFER_SYNTAXES: Final = (EXPLICIT_VR_LE, IMPLICIT_VR_LE)


class Gone(Exception):
    """The node ended the association, or is not there any more."""


def tls_socket(node: RunningNode, credentials: Credentials) -> ssl.SSLSocket:
    """Return a connection on which TLS stands and nothing was said yet.

    Raises:
        OSError: There is nobody, or TLS came to nothing.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(credentials.ca)
    context.load_cert_chain(credentials.cert, credentials.key)
    sock = socket.create_connection((node.host, node.port), ANSWER_TIMEOUT_S)
    try:
        tune(sock)
        return context.wrap_socket(sock, server_hostname="127.0.0.1")
    except BaseException:
        sock.close()
        raise


class Client:
    """One established association with a node."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._number = 0

    @property
    def association(self) -> Association:
        return self.connection.association

    def echo(self) -> int:
        """Return the status of a C-ECHO."""
        request = CEchoRQ(
            message_id=self._next_number(), affected_sop_class=VERIFICATION
        )
        self.association.send(self.context(VERIFICATION), request.encode())
        self.connection.flush()
        response = self._response()
        assert isinstance(response, CEchoRSP)
        return response.status

    def store(
        self,
        instance: Instance,
        *,
        data_set: Iterable[bytes] | None = None,
        sop_class: UID | None = None,
        uid: UID | None = None,
        context: int | None = None,
    ) -> CStoreRSP:
        """Store an instance; the rest are lies that may be told about it."""
        request = CStoreRQ(
            message_id=self._next_number(),
            affected_sop_class=sop_class or instance.sop_class,
            affected_sop_instance=uid or instance.uid,
        )
        whole = instance.data_set
        pieces = data_set or (
            whole[at : at + _PIECE_BYTES] for at in range(0, len(whole), _PIECE_BYTES)
        )
        number = context or self.context(instance.sop_class, instance.transfer_syntax)
        for buffer in self.association.stream(number, request.encode(), pieces):
            if not self.connection._send(buffer):
                raise Gone
        response = self._response()
        assert isinstance(response, CStoreRSP)
        assert response.responds_to == request.message_id
        return response

    def find(self, level: str = "STUDY", **keys: str) -> list[DataSet]:
        """Return the answers to a query; keys are tags as hex, ``t00100020="X"``."""
        status, answers = self.ask(level, **keys)
        assert status == 0, hex(status)
        return answers

    def find_status(self, level: str = "STUDY", **keys: str) -> int:
        """Return how a query ends; see ``find``."""
        return self.ask(level, **keys)[0]

    def ask(self, level: str, **keys: str) -> tuple[int, list[DataSet]]:
        """Return how a query ends, and the answers; see ``find``."""
        request = CFindRQ(
            message_id=self._next_number(), affected_sop_class=STUDY_ROOT_FIND
        )
        identifier = DataSet()
        for tag, value in sorted({"t00080052": level, **keys}.items()):
            vr = "UI" if tag.startswith("t0020000") else "LO"
            identifier.set(int(tag[1:], 16), vr, value.encode())
        context = self.context(STUDY_ROOT_FIND)
        self.association.send(
            context, request.encode(), identifier.encode(EXPLICIT_VR_LE)
        )
        self.connection.flush()
        answers: list[DataSet] = []
        while True:
            response = self._response()
            assert isinstance(response, CFindRSP)
            if category(response.status) is not Category.PENDING:
                return response.status, answers
            answers.append(DataSet.decode(self._data_set(), EXPLICIT_VR_LE))

    def get(
        self, study: UID, *instances: UID
    ) -> tuple[CGetRSP, dict[UID, tuple[UID, bytes]]]:
        """Fetch a study or some of its instances.

        Returns:
            The last response, and by SOP Instance UID the transfer syntax and the
            data set that came.
        """
        request = CGetRQ(
            message_id=self._next_number(), affected_sop_class=STUDY_ROOT_GET
        )
        self._ask(STUDY_ROOT_GET, request, study, instances)
        found: dict[UID, tuple[UID, bytes]] = {}
        while True:
            command = self._command()
            message = command.message
            if isinstance(message, CStoreRQ):
                data = self._data_set()
                syntax = self.association.contexts[command.context_id].transfer_syntax
                found[message.affected_sop_instance] = (syntax, data)
                self.association.send(command.context_id, message.response(0).encode())
                self.connection.flush()
                continue
            assert isinstance(message, CGetRSP)
            if category(message.status) is not Category.PENDING:
                if message.has_data_set:
                    self._data_set()
                return message, found

    def move(self, study: UID, destination: str) -> CMoveRSP:
        """Have a study sent to a destination; return the last response."""
        request = CMoveRQ(
            message_id=self._next_number(),
            affected_sop_class=STUDY_ROOT_MOVE,
            move_destination=AETitle(destination),
        )
        self._ask(STUDY_ROOT_MOVE, request, study, ())
        while True:
            message = self._response()
            assert isinstance(message, CMoveRSP)
            if category(message.status) is not Category.PENDING:
                if message.has_data_set:
                    self._data_set()
                return message

    def context(self, sop_class: UID, transfer_syntax: UID | None = None) -> int:
        """Return the context that was agreed on for a SOP class.

        Raises:
            KeyError: None was.
        """
        for each in self.association.contexts.values():
            if each.abstract_syntax == sop_class and transfer_syntax in {
                None,
                each.transfer_syntax,
            }:
                return each.id
        raise KeyError(sop_class)

    def _ask(
        self,
        sop_class: UID,
        request: CGetRQ | CMoveRQ,
        study: UID,
        instances: tuple[UID, ...],
    ) -> None:
        identifier = DataSet()
        if instances:
            identifier.set(0x0008_0018, "UI", "\\".join(instances).encode())
        identifier.set(QUERY_LEVEL, "CS", b"IMAGE" if instances else b"STUDY")
        identifier.set(STUDY_UID, "UI", study.encode())
        self.association.send(
            self.context(sop_class),
            request.encode(),
            identifier.encode(EXPLICIT_VR_LE),
        )
        self.connection.flush()

    def _command(self) -> Command:
        part = self.connection.message()
        if not isinstance(part, Command):
            raise Gone(repr(part))
        return part

    def _response(self) -> Message:
        return self._command().message

    def _data_set(self) -> bytes:
        data = bytearray()
        while True:
            part = self.connection.message()
            if not isinstance(part, DataSetBytes):
                raise Gone(repr(part))
            data += part.data
            if part.is_last:
                return bytes(data)

    def _next_number(self) -> int:
        self._number += 1
        return self._number


@contextmanager
def associated(
    node: RunningNode,
    credentials: Credentials,
    *,
    storage: Iterable[tuple[UID, UID]] = ((CT, EXPLICIT_VR_LE), (MR, EXPLICIT_VR_LE)),
    called: str = "LEADGLASS",
) -> Iterator[Client]:
    """Give an association for everything; ``storage`` is of (class, syntax).

    Raises:
        Gone: The node is not there, or rejects.
    """
    storage = list(storage)
    wishes: list[tuple[UID, tuple[UID, ...]]] = [
        (each, (EXPLICIT_VR_LE,))
        for each in (VERIFICATION, STUDY_ROOT_FIND, STUDY_ROOT_GET, STUDY_ROOT_MOVE)
    ]
    wishes += [(sop_class, (syntax,)) for sop_class, syntax in storage]
    request = propose(
        AETitle(called),
        credentials.device.ae_titles[0],
        wishes,
        pdu_length_bytes_max=_LIMITS.pdu_length_bytes_max,
        roles=[
            RoleSelection(each, is_scu=True, is_scp=True)
            for each in dict.fromkeys(sop_class for sop_class, _ in storage)
        ],
    )
    try:
        sock = tls_socket(node, credentials)
    except OSError as error:
        raise Gone from error
    connection = Connection(
        sock,
        Association.requestor(request, _LIMITS),
        Timeouts(ANSWER_TIMEOUT_S, ANSWER_TIMEOUT_S),
    )
    try:
        event = connection.event()
        if not isinstance(event, Accepted):
            raise Gone(repr(event))
        yield Client(connection)
        connection.association.release()
        connection.flush()
        while (event := connection.event()) is not None:
            if isinstance(event, Released):
                break
    finally:
        connection.close()
