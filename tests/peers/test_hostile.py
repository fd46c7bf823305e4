"""Enrolled peers that break the protocol: told so, recorded, and alone in it."""

import ssl
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import pytest

from leadglass.dicom.sop_classes import (
    STUDY_ROOT_FIND,
    STUDY_ROOT_GET,
    VERIFICATION,
)
from leadglass.dicom.transfer_syntaxes import EXPLICIT_VR_LE, IMPLICIT_VR_LE
from leadglass.dicom.uids import UID
from leadglass.wire.association import Aborted
from leadglass.wire.dimse import (
    CEchoRQ,
    CFindRQ,
    CGetRQ,
    CGetRSP,
    CStoreRQ,
    CStoreRSP,
)
from tests.peers import samples
from tests.peers.client import (
    Client,
    Ended,
    associated,
    encoded,
    identifier,
    receives,
    request_of,
    secure,
    tls_context,
    until_closed,
)
from tests.peers.nodes import PATIENCE_S, comes_true, is_told, made, serving
from tests.support.node import Credentials, RunningNode

pytestmark = pytest.mark.filterwarnings("ignore")

CT = UID(samples.CT)
MR = UID("1.2.840.10008.5.1.4.1.1.4")
PRIVATE = UID("1.3.46.670589.11.0.0.12.1")
OTHER_PRIVATE = UID("1.2.752.24.3.1.1")
WISHES = [
    (VERIFICATION, (IMPLICIT_VR_LE,)),
    (STUDY_ROOT_FIND, (EXPLICIT_VR_LE,)),
    (STUDY_ROOT_GET, (EXPLICIT_VR_LE,)),
    (CT, (EXPLICIT_VR_LE,)),
    (MR, (EXPLICIT_VR_LE,)),
]
STUDY = samples.study(4)
ABORT = 0x07
_NUMBERS = count(10)


def own_address() -> str:
    return f"127.0.2.{next(_NUMBERS)}"


@dataclass
class Site:
    """A node with one study, and a device that may everything."""

    node: RunningNode
    device: Credentials

    def talk(self, source: str) -> ssl.SSLSocket:
        return secure(self.node, tls_context(self.device), source)

    def client(self, source: str) -> Client:
        request = request_of("DEVICE", WISHES, roles=receives(CT))
        return Client(self.talk(source), request)

    def is_well(self) -> bool:
        """Whether others are served, and nothing was stored."""
        with associated(self.node, self.device, WISHES) as client:
            told = client.find(identifier("STUDY", StudyInstanceUID=""))
            return told.values("StudyInstanceUID") == [STUDY[0].StudyInstanceUID]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    node = made(
        tmp_path_factory.mktemp("hostile") / "node",
        storage__private_sop_classes="1.3.46.670589.",
    )
    site = Site(node, node.enrol("DEVICE"))
    with serving(node):
        with associated(node, site.device, WISHES) as client:
            for each in STUDY:
                assert client.store_data_set(each).status == 0
        yield site


def pdu(kind: int, body: bytes, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return struct.pack(">BBI", kind, 0, size) + body


# --- what no association begins with --------------------------------------------------

RELEASE, DATA, ACCEPT = 0x05, 0x04, 0x02
FIRST = {
    "data": pdu(DATA, bytes(6)),
    "a release": pdu(RELEASE, bytes(4)),
    "an answer": pdu(ACCEPT, bytes(68)),
    "an unknown PDU": pdu(0x42, bytes(4)),
    "a request of 4 GB": pdu(0x01, b"", 0xFFFF_FFFF),
    "a request of a megabyte": pdu(0x01, b"", 1 << 20),
    "an empty request": pdu(0x01, b""),
    "a request with items that overrun": pdu(
        0x01, struct.pack(">HH", 1, 0) + b"A" * 32 + bytes(32) + b"\x10\x00\xff\xff"
    ),
    "HTTP": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
}


@pytest.mark.parametrize("case", FIRST)
def test_no_beginning(site: Site, case: str) -> None:
    source = own_address()
    with site.talk(source) as sock:
        sock.sendall(FIRST[case])
        answer = until_closed(sock)
    assert answer[:1] == bytes((ABORT,))
    assert len(answer) == 10
    assert is_told(site.node, source, "aborted: ")
    assert site.is_well()


def test_a_request_without_contexts(site: Site) -> None:
    """PS3.8 Table 9-11 asks for one at least; without, nothing can be said."""
    with site.talk(own_address()) as sock:
        sock.sendall(request_of("DEVICE", []).encode())
        assert sock.recv(65536)[:1] == bytes((ACCEPT,))
        sock.sendall(pdv(1, COMMAND | LAST, b"ab"))
        assert until_closed(sock)[:1] == bytes((ABORT,))
    assert site.is_well()


# --- what no association goes on with -------------------------------------------------


def is_aborted(site: Site, client: Client, source: str) -> bool:
    """Whether the node ends an association, says so, and goes on with others."""
    event = client.connection.event()
    client.close()
    assert is_told(site.node, source, "aborted: ")
    return isinstance(event, Aborted) and site.is_well()


def context_of(client: Client, abstract: UID) -> int:
    return next(
        each.id
        for each in client.association.contexts.values()
        if each.abstract_syntax == abstract
    )


def pdv(context_id: int, control: int, data: bytes) -> bytes:
    return pdu(DATA, struct.pack(">IBB", len(data) + 2, context_id, control) + data)


COMMAND, LAST = 1, 2
THEN = {
    "a second request": request_of("DEVICE").encode(),
    "a context that was not accepted": pdv(201, COMMAND | LAST, b"ab"),
    "a PDU longer than announced": pdu(DATA, b"", 1 << 24),
    "a value longer than its PDU": pdu(DATA, struct.pack(">IBB", 100, 1, 3) + b"ab"),
    "a value of no length": pdu(DATA, struct.pack(">I", 0)),
    "a command that is none": pdv(1, COMMAND | LAST, b"\xff" * 32),
    "a data set without a command": pdv(1, LAST, b"ab"),
    "an answer to nothing": pdu(ACCEPT, bytes(68)),
}


@pytest.mark.parametrize("case", THEN)
def test_no_continuation(site: Site, case: str) -> None:
    source = own_address()
    client = site.client(source)
    client.connection._socket.sendall(THEN[case])
    assert is_aborted(site, client, source)


def test_a_command_that_never_ends(site: Site) -> None:
    source = own_address()
    client = site.client(source)
    piece = pdv(1, COMMAND, bytes(16_000))
    assert comes_true(lambda: is_cut_off(client, piece), PATIENCE_S)
    client.close()
    assert is_told(site.node, source, "aborted: ")
    assert site.is_well()


def is_cut_off(client: Client, piece: bytes) -> bool:
    """Send a lot more; tell whether nobody takes it any longer."""
    try:
        for _ in range(1_000):
            client.connection._socket.sendall(piece)
    except OSError:
        return True
    return False


def test_store_over_a_context_for_questions(site: Site) -> None:
    source = own_address()
    client = site.client(source)
    stray = samples.instance()
    request = CStoreRQ(
        message_id=1,
        affected_sop_class=CT,
        affected_sop_instance=UID(stray.SOPInstanceUID),
    )
    context = client.context(STUDY_ROOT_FIND)
    client.send(context, request, encoded(stray, EXPLICIT_VR_LE))
    assert is_aborted(site, client, source)


def test_question_over_a_context_for_images(site: Site) -> None:
    source = own_address()
    client = site.client(source)
    request = CFindRQ(message_id=1, affected_sop_class=STUDY_ROOT_FIND)
    question = encoded(identifier("STUDY", PatientID=""), EXPLICIT_VR_LE)
    client.send(client.context(MR), request, question)
    assert is_aborted(site, client, source)


# --- what is not what it says ---------------------------------------------------------

MISLABELLED = {
    "another class than the context's": (MR, CT, None, None),
    "another class than the data set's": (MR, MR, None, None),
    "another instance than the data set's": (CT, CT, "2.25.4711", None),
    "a data set cut short": (CT, CT, None, slice(0, -20)),
    "an empty data set": (CT, CT, None, slice(0, 0)),
    "a data set in another syntax": (CT, CT, None, slice(1, None)),
}


@pytest.mark.parametrize("case", MISLABELLED)
def test_mislabelled_instances(site: Site, case: str) -> None:
    over, sop_class, sop_instance, part = MISLABELLED[case]
    stray = samples.instance(StudyInstanceUID=STUDY[0].StudyInstanceUID)
    data = encoded(stray, EXPLICIT_VR_LE)
    source = own_address()
    with associated(site.node, site.device, WISHES, source=source) as client:
        answer = client.store(
            data if part is None else data[part],
            sop_class,
            UID(sop_instance or stray.SOPInstanceUID),
            context=client.context(over),
        )
        assert answer.status in {0xA900, 0xC000}
        assert answer.error_comment
        assert client.echo() == 0  # the association goes on
        question = identifier("STUDY", StudyInstanceUID=STUDY[0].StudyInstanceUID)
        question.NumberOfStudyRelatedInstances = None
        told = client.find(question)
        assert told.values("NumberOfStudyRelatedInstances") == [len(STUDY)]
    assert is_told(site.node, source, answer.error_comment)


def test_private_classes_by_rule_alone(site: Site) -> None:
    """``storage.private_sop_classes`` names the beginnings of those that are taken."""
    wishes = [(PRIVATE, (EXPLICIT_VR_LE,)), (OTHER_PRIVATE, (EXPLICIT_VR_LE,))]
    image = samples.instance(SOPClassUID=PRIVATE)
    roles = receives(PRIVATE)
    with site.node.open() as opened:
        with associated(
            site.node, site.device, [*WISHES, *wishes], roles=roles
        ) as client:
            assert client.association.find(OTHER_PRIVATE) is None
            assert client.store_data_set(image).status == 0
            question = identifier("STUDY", StudyInstanceUID=image.StudyInstanceUID)
            got = client.get(question)
        opened.erase(opened.operator, UID(image.StudyInstanceUID), "tested")
    assert [each.data for each in got.instances] == [encoded(image, EXPLICIT_VR_LE)]


# --- out of turn ----------------------------------------------------------------------


def begin_get(client: Client) -> int:
    """Ask for the study and wait for its first image, which is not answered yet."""
    number = client.next_number()
    context = client.context(STUDY_ROOT_GET)
    question = identifier("STUDY", StudyInstanceUID=STUDY[0].StudyInstanceUID)
    request = CGetRQ(message_id=number, affected_sop_class=STUDY_ROOT_GET)
    client.send(context, request, encoded(question, EXPLICIT_VR_LE))
    return number


def test_a_second_operation_while_one_is_outstanding(site: Site) -> None:
    """One at a time was negotiated: also for who did not ask."""
    source = own_address()
    client = site.client(source)
    begin_get(client)
    command, _ = client.receive()
    assert isinstance(command.message, CStoreRQ)
    echo = CEchoRQ(message_id=9, affected_sop_class=VERIFICATION)
    client.send(client.context(VERIFICATION), echo, None)
    assert is_aborted(site, client, source)


def test_a_cancel_of_another_message_in_the_middle(site: Site) -> None:
    client = site.client(own_address())
    number = begin_get(client)
    taken = 0
    while True:
        command, _ = client.receive()
        message = command.message
        if isinstance(message, CGetRSP) and message.status != 0xFF00:
            break
        if isinstance(message, CStoreRQ):
            taken += 1
            client.cancel(client.context(STUDY_ROOT_GET), number + 1)
            over = client.association.contexts[command.context_id]
            client.send(over, message.response(0), None)
    assert (message.status, message.completed, taken) == (0, len(STUDY), len(STUDY))
    client.release()
    client.close()


def test_an_answer_to_another_message(site: Site) -> None:
    source = own_address()
    client = site.client(source)
    begin_get(client)
    command, _ = client.receive()
    assert isinstance(command.message, CStoreRQ)
    over = client.association.contexts[command.context_id]
    client.send(over, CStoreRSP(responds_to=4711, status=0), None)
    with pytest.raises(Ended):
        client.receive()
    client.close()
    assert site.is_well()


def test_who_leaves_in_the_middle_of_an_image(site: Site) -> None:
    source = own_address()
    client = site.client(source)
    stray = samples.instance()
    request = CStoreRQ(
        message_id=1,
        affected_sop_class=CT,
        affected_sop_instance=UID(stray.SOPInstanceUID),
    )
    number = context_of(client, CT)
    half = encoded(stray, EXPLICIT_VR_LE)[:-40]
    client.connection._socket.sendall(
        pdv(number, COMMAND | LAST, request.encode()) + pdv(number, 0, half)
    )
    client.connection._socket.close()
    client.close()
    assert site.is_well()
