"""pynetdicom over mutual TLS: services, and what an association may negotiate."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE, build_role, evt
from pynetdicom.pdu_primitives import (
    AsynchronousOperationsWindowNegotiation,
    SOPClassExtendedNegotiation,
    UserIdentityNegotiation,
)
from pynetdicom.sop_class import (
    PatientRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
    Verification,
)

from tests.peers import samples
from tests.peers.client import NODE_TITLE, TIMEOUT_S, identifier, tls_context
from tests.peers.nodes import made, serving
from tests.peers.receiver import Receiver, receivers
from tests.support.node import Credentials, RunningNode

# pynetdicom's own use of what newer Pythons advise against.
pytestmark = pytest.mark.filterwarnings("ignore")

FIND = StudyRootQueryRetrieveInformationModelFind
GET = StudyRootQueryRetrieveInformationModelGet
MOVE = StudyRootQueryRetrieveInformationModelMove
STUDY = samples.study(3, PatientID="PYNETDICOM", PatientName="Py^Net")
STUDY_UID = STUDY[0].StudyInstanceUID


@dataclass
class Site:
    """A node that holds one study, a workstation, and a receiver."""

    node: RunningNode
    station: Credentials
    receiver: Receiver


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    node = made(tmp_path_factory.mktemp("pynetdicom") / "node")
    station = node.enrol("STATION")
    with receivers(1) as (receiver,):
        receiver.serve(
            node.enrol("RECEIVER", may=["echo"], destination=receiver.destination)
        )
        with serving(node):
            site = Site(node, station, receiver)
            with associated(site, CTImageStorage) as association:
                for each in STUDY:
                    each.file_meta = None
                    assert store(association, each) == 0
            yield site


@contextmanager
def associated(
    site: Site,
    *classes: str,
    more: tuple[Any, ...] = (),
    handlers: tuple[Any, ...] = (),
) -> Iterator[Any]:
    """Give an association of the workstation."""
    ae = AE(ae_title="STATION")
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = TIMEOUT_S
    for each in classes:
        ae.add_requested_context(each, ExplicitVRLittleEndian)
    association = ae.associate(
        "127.0.0.1",
        site.node.port,
        ae_title=NODE_TITLE,
        ext_neg=list(more),
        evt_handlers=list(handlers),
        tls_args=(tls_context(site.station), "localhost"),
    )
    assert association.is_established
    association.dul.socket.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        yield association
    finally:
        association.release()


@contextmanager
def undisturbed(association: Any) -> Iterator[None]:
    """Keep pynetdicom's reactor thread from taking the first answer and losing it.

    It looks for messages every millisecond, also in the moment when a question is
    sent; what it then finds, it drops.
    """
    association._reactor_checkpoint.clear()
    deadline = time.monotonic() + TIMEOUT_S
    while not association._is_paused:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    time.sleep(0.005)
    yield


def store(association: Any, data_set: Any) -> int:
    data_set.file_meta = samples.explicit()
    return int(association.send_c_store(data_set).Status)


def find(association: Any, question: Any, model: str = FIND) -> list[tuple[int, Any]]:
    with undisturbed(association):
        return [
            (status.Status, answer)
            for status, answer in association.send_c_find(question, model)
        ]


def image_uids() -> set[str]:
    return {each.SOPInstanceUID for each in STUDY}


def test_echo(site: Site) -> None:
    with associated(site, Verification) as association:
        assert association.send_c_echo().Status == 0


def test_store_again_is_success(site: Site) -> None:
    with associated(site, CTImageStorage) as association:
        assert [store(association, each) for each in STUDY] == [0, 0, 0]


def test_find(site: Site) -> None:
    with associated(site, FIND) as association:
        question = identifier("STUDY", PatientID="PYNETDICOM", StudyInstanceUID="")
        (status, answer), (last, nothing) = find(association, question)
    assert (status, last, nothing) == (0xFF00, 0, None)
    assert answer.StudyInstanceUID == STUDY_UID


def test_get(site: Site) -> None:
    came: dict[str, Any] = {}

    def take(event: Any) -> int:
        came[event.dataset.SOPInstanceUID] = event.dataset
        return 0

    with associated(
        site,
        GET,
        CTImageStorage,
        more=(build_role(CTImageStorage, scp_role=True),),
        handlers=((evt.EVT_C_STORE, take),),
    ) as association:
        question = identifier("STUDY", StudyInstanceUID=STUDY_UID)
        with undisturbed(association):
            answers = list(association.send_c_get(question, GET))
    last = answers[-1][0]
    assert (last.Status, last.NumberOfCompletedSuboperations) == (0, 3)
    assert came.keys() == image_uids()
    assert all(came[each.SOPInstanceUID].PixelData == each.PixelData for each in STUDY)


def test_get_without_the_role_fails_for_each(site: Site) -> None:
    """Nobody is sent to who did not say that it takes anything (PS3.7 §D.3.3.4)."""
    with associated(site, GET, CTImageStorage) as association:
        question = identifier("STUDY", StudyInstanceUID=STUDY_UID)
        with undisturbed(association):
            answers = list(association.send_c_get(question, GET))
    last, listed = answers[-1]
    assert (last.Status, last.NumberOfFailedSuboperations) == (0xA702, 3)
    assert set(listed.FailedSOPInstanceUIDList) == image_uids()


def test_move(site: Site) -> None:
    site.receiver.takes()
    with associated(site, MOVE) as association:
        question = identifier("STUDY", StudyInstanceUID=STUDY_UID)
        with undisturbed(association):
            answers = list(association.send_c_move(question, "RECEIVER", MOVE))
    assert answers[-1][0].Status == 0
    assert answers[-1][0].NumberOfCompletedSuboperations == 3
    sent = site.receiver.instances
    assert {str(each.request.affected_sop_instance) for each in sent} == image_uids()
    # PS3.7 §9.3.1.1: a receiver learns on whose behalf it is sent to.
    assert {str(each.request.move_originator) for each in sent} == {"STATION"}
    assert all(each.request.move_originator_message_id for each in sent)


# Level and model; a hierarchical question would have to name what is above.
RELATIONAL = [
    ("SERIES", FIND),
    ("IMAGE", FIND),
    ("STUDY", PatientRootQueryRetrieveInformationModelFind),
    ("IMAGE", PatientRootQueryRetrieveInformationModelFind),
]


def options(model: str, information: bytes) -> SOPClassExtendedNegotiation:
    item = SOPClassExtendedNegotiation()
    item.sop_class_uid = model
    item.service_class_application_information = information
    return item


@pytest.mark.parametrize(("level", "model"), RELATIONAL)
def test_relational_questions_are_agreed_on(site: Site, level: str, model: str) -> None:
    question = identifier(level, Modality="CT", StudyInstanceUID="")
    item = options(model, b"\x01\x00\x00\x00")
    with associated(site, model, more=(item,)) as association:
        agreed = association.acceptor.sop_class_extended
        assert agreed[model][0] == 1
        related = find(association, question, model)
    assert related[-1][0] == 0
    assert STUDY_UID in {each.StudyInstanceUID for _, each in related[:-1]}
    with associated(site, model) as association:
        assert [status for status, _ in find(association, question, model)] == [0xA900]


def test_relational_retrieve_is_agreed_on(site: Site) -> None:
    item = options(GET, b"\x01")
    with associated(site, GET, more=(item,)) as association:
        assert association.acceptor.sop_class_extended[GET] == b"\x01"


def identity(kind: int, primary: bytes, secondary: bytes = b"") -> Any:
    item = UserIdentityNegotiation()
    item.user_identity_type = kind
    item.positive_response_requested = True
    item.primary_field = primary
    if secondary:
        item.secondary_field = secondary
    return item


IDENTITIES = {
    "user name": (1, b"somebody", b""),
    "user name and passcode": (2, b"somebody", b"secret"),
    "JSON web token": (5, b"eyJhbGciOiJub25lIn0.e30.", b""),
}


@pytest.mark.parametrize("kind", IDENTITIES)
def test_user_identity_is_heard_but_proves_nothing(site: Site, kind: str) -> None:
    """The certificate is the identity: a positive response would be a lie."""
    item = identity(*IDENTITIES[kind])
    with associated(site, Verification, more=(item,)) as association:
        assert association.acceptor.user_identity is None
        assert association.send_c_echo().Status == 0


@pytest.mark.parametrize("asked", [(0, 0), (1, 1), (8, 4)])
def test_operations_window_is_answered(site: Site, asked: tuple[int, int]) -> None:
    item = AsynchronousOperationsWindowNegotiation()
    item.maximum_number_operations_invoked = asked[0]
    item.maximum_number_operations_performed = asked[1]
    with associated(site, Verification, more=(item,)) as association:
        assert association.acceptor.asynchronous_operations == (1, 1)
        assert association.send_c_echo().Status == 0


def test_operations_window_is_not_mentioned_unasked(site: Site) -> None:
    with associated(site, Verification) as association:
        items = association.acceptor.primitive.user_information
        kinds = {type(each) for each in items}
    assert AsynchronousOperationsWindowNegotiation not in kinds


def test_unknown_services_are_not_accepted(site: Site) -> None:
    print_management = "1.2.840.10008.5.1.1.9"
    with associated(site, Verification, print_management) as association:
        accepted = {each.abstract_syntax for each in association.accepted_contexts}
    assert accepted == {Verification}


def test_other_bytes_under_a_known_uid_are_refused(site: Site) -> None:
    other = samples.instance(
        SOPInstanceUID=STUDY[0].SOPInstanceUID,
        StudyInstanceUID=STUDY_UID,
        PatientID="PYNETDICOM",
        SeriesInstanceUID=generate_uid(None),
    )
    with associated(site, CTImageStorage) as association:
        assert store(association, other) == 0x0111
