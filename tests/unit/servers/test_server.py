"""What a device is offered by its rights, and what is counted of the others."""

import pytest

from leadglass.access.rights import Right
from leadglass.dicom.sop_classes import (
    FIND,
    GET,
    MOVE,
    NON_PATIENT,
    STORAGE,
    STUDY_ROOT_FIND,
    VERIFICATION,
)
from leadglass.dicom.transfer_syntaxes import EXPLICIT_VR_BE, TRANSFER_SYNTAXES
from leadglass.dicom.uids import UID
from leadglass.errors import PeerError
from leadglass.servers.dimse.server import _abort_reason, offer_for
from leadglass.servers.tls import handshake_fault
from leadglass.wire.negotiation import QueryOptions
from tests.unit.wire.rig import CT

PRIVATE = UID("1.3.46.670589.11.0.0.12.1")
ROOTS = ("1.3.46.670589.",)
STORED = set(STORAGE) - set(NON_PATIENT)


@pytest.mark.parametrize(
    ("right", "classes"),
    [
        (Right.ECHO, {VERIFICATION}),
        (Right.FIND, set(FIND)),
        (Right.MOVE, set(MOVE)),
        (Right.GET, {*GET, *STORED}),
        (Right.STORE, STORED),
        *((right, set()) for right in (Right.ERASE, Right.ADMINISTER, Right.EXPORT)),
    ],
)
def test_each_right_opens_its_contexts_and_no_other(
    right: Right, classes: set[UID]
) -> None:
    services = set(offer_for(frozenset({right}), ()).services)
    assert services - set(NON_PATIENT) == classes


def test_without_rights_there_is_nothing() -> None:
    offer = offer_for(frozenset(), ROOTS)
    assert not offer.services
    assert offer.find(PRIVATE) is None


@pytest.mark.parametrize(
    ("rights", "is_scp", "is_scu"),
    [
        ({Right.STORE}, True, False),
        ({Right.GET}, False, True),
        ({Right.STORE, Right.GET}, True, True),
    ],
)
def test_the_role_in_storage_follows_from_the_right(
    rights: set[Right], is_scp: bool, is_scu: bool
) -> None:
    offer = offer_for(frozenset(rights), ROOTS)
    for sop_class in (CT, PRIVATE):
        service = offer.find(sop_class)
        assert service is not None
        assert (service.is_scp, service.is_scu) == (is_scp, is_scu)
        assert service.transfer_syntaxes == frozenset(TRANSFER_SYNTAXES)


def test_private_classes_are_those_of_the_settings_only() -> None:
    store = frozenset({Right.STORE})
    assert offer_for(store, ()).find(PRIVATE) is None
    assert offer_for(store, ROOTS).find(UID("1.3.46.6705890.1")) is None
    assert offer_for(frozenset({Right.FIND}), ROOTS).find(PRIVATE) is None


def test_a_private_class_is_no_storage_class_by_being_like_a_query() -> None:
    """Only storage classes can be specialised (PS3.7 §D.3.3.6)."""
    offer = offer_for(frozenset({Right.ECHO, Right.FIND}), ())
    assert offer.find(PRIVATE, [VERIFICATION, STUDY_ROOT_FIND, CT]) is None
    stored = offer_for(frozenset({Right.STORE}), ()).find(PRIVATE, [CT])
    assert stored is not None


def test_queries_are_told_what_they_may_combine() -> None:
    service = offer_for(frozenset({Right.FIND}), ()).services[STUDY_ROOT_FIND]
    options = QueryOptions.decode_find(service.application_information)
    assert options == QueryOptions(relational=True, combined_datetime=True, fuzzy=True)
    assert EXPLICIT_VR_BE not in service.transfer_syntaxes


def test_what_is_counted_is_not_chosen_by_the_peer() -> None:
    reasons = {
        _abort_reason(PeerError(f"P-DATA-TF of {length} bytes"))
        for length in range(0, 1 << 32, 1 << 24)
    }
    assert reasons == {"aborted: P-DATA-TF of # bytes"}


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (TimeoutError("timed out"), "TLS: no handshake in time"),
        (ConnectionResetError("Doe^Jane"), "TLS: the peer left"),
    ],
)
def test_a_failed_handshake_is_told_in_our_words(error: OSError, said: str) -> None:
    assert handshake_fault(error) == said
