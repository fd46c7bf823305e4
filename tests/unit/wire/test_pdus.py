"""PDUs byte by byte, and against those of pynetdicom."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pynetdicom import pdu as foreign
from pynetdicom import pdu_primitives as primitives
from pynetdicom.presentation import build_context

from leadglass.dicom.aetitle import AETitle
from leadglass.dicom.transfer_syntaxes import EXPLICIT_VR_LE, IMPLICIT_VR_LE
from leadglass.dicom.uids import UID
from leadglass.errors import PeerError
from leadglass.wire import pdus
from leadglass.wire.pdus import (
    Abort,
    AbortReason,
    AbortSource,
    AssociateAC,
    AssociateRJ,
    AssociateRQ,
    CommonExtendedNegotiation,
    ContextAnswer,
    ContextResult,
    ExtendedNegotiation,
    IdentityType,
    OperationsWindow,
    ProposedContext,
    RejectReason,
    RejectResult,
    ReleaseRP,
    ReleaseRQ,
    RoleSelection,
    UserIdentity,
    UserInformation,
)

CT = UID("1.2.840.10008.5.1.4.1.1.2")
PRIVATE = UID("1.2.3.4")
STORAGE = UID("1.2.840.10008.4.2")
REQUEST = AssociateRQ(
    called=AETitle("ARCHIVE"),
    calling=AETitle("CT1"),
    contexts=(
        ProposedContext(1, CT, (EXPLICIT_VR_LE, IMPLICIT_VR_LE)),
        ProposedContext(3, PRIVATE, (IMPLICIT_VR_LE,)),
    ),
    user=UserInformation(
        pdu_length_bytes_max=16382,
        implementation_class=UID("1.2.276.0.7230010.3.0.3.6.7"),
        implementation_version="OFFIS_DCMTK_367",
        window=OperationsWindow(3, 2),
        roles=(RoleSelection(CT, is_scu=False, is_scp=True),),
        extended=(ExtendedNegotiation(PRIVATE, b"\1\0\1"),),
        common_extended=(CommonExtendedNegotiation(PRIVATE, STORAGE, (CT,)),),
        identity=UserIdentity(
            IdentityType.USERNAME_AND_PASSCODE,
            wants_response=True,
            primary=b"nurse",
            secondary=b"secret",
        ),
    ),
)
ACCEPT = AssociateAC(
    contexts=(
        ContextAnswer(1, ContextResult.ACCEPTANCE, IMPLICIT_VR_LE),
        ContextAnswer(3, ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED),
    ),
    user=UserInformation(
        pdu_length_bytes_max=131072,
        implementation_class=PRIVATE,
        implementation_version="X",
        window=OperationsWindow(1, 1),
        roles=(RoleSelection(CT, is_scu=False, is_scp=True),),
        extended=(ExtendedNegotiation(PRIVATE, b"\1\0\0"),),
        identity_response=b"",
    ),
    echo=AETitle("ARCHIVE").encode() + AETitle("CT1").encode() + bytes(32),
)


def body(pdu: bytes) -> memoryview:
    assert int.from_bytes(pdu[2:6], "big") == len(pdu) - 6
    return memoryview(pdu)[6:]


def foreign_request() -> primitives.A_ASSOCIATE:
    """What pynetdicom sends when everything is asked for at once."""
    asked = primitives.A_ASSOCIATE()
    asked.application_context_name = "1.2.840.10008.3.1.1.1"
    asked.calling_ae_title = "CT1"
    asked.called_ae_title = "ARCHIVE"
    contexts = [
        build_context(CT, [EXPLICIT_VR_LE, IMPLICIT_VR_LE]),
        build_context(PRIVATE, IMPLICIT_VR_LE),
    ]
    contexts[0].context_id, contexts[1].context_id = 1, 3
    asked.presentation_context_definition_list = contexts
    length = primitives.MaximumLengthNotification()
    length.maximum_length_received = 16382
    implementation = primitives.ImplementationClassUIDNotification()
    implementation.implementation_class_uid = "1.2.276.0.7230010.3.0.3.6.7"
    version = primitives.ImplementationVersionNameNotification()
    version.implementation_version_name = "OFFIS_DCMTK_367"
    window = primitives.AsynchronousOperationsWindowNegotiation()
    window.maximum_number_operations_invoked = 3
    window.maximum_number_operations_performed = 2
    role = primitives.SCP_SCU_RoleSelectionNegotiation()
    role.sop_class_uid, role.scu_role, role.scp_role = CT, False, True
    extended = primitives.SOPClassExtendedNegotiation()
    extended.sop_class_uid = PRIVATE
    extended.service_class_application_information = b"\1\0\1"
    common = primitives.SOPClassCommonExtendedNegotiation()
    common.sop_class_uid, common.service_class_uid = PRIVATE, STORAGE
    common.related_general_sop_class_identification = [CT]
    identity = primitives.UserIdentityNegotiation()
    identity.user_identity_type = 2
    identity.positive_response_requested = True
    identity.primary_field, identity.secondary_field = b"nurse", b"secret"
    asked.user_information = [
        length,
        implementation,
        version,
        window,
        role,
        extended,
        common,
        identity,
    ]
    return asked


class TestForeignBytes:
    def test_request_from_pynetdicom(self) -> None:
        pdu = foreign.A_ASSOCIATE_RQ()
        pdu.from_primitive(foreign_request())
        assert AssociateRQ.decode(body(pdu.encode())) == REQUEST

    def test_request_to_pynetdicom(self) -> None:
        pdu = foreign.A_ASSOCIATE_RQ()
        pdu.decode(REQUEST.encode())
        read = pdu.to_primitive()
        asked = foreign_request()
        assert read.called_ae_title == asked.called_ae_title
        assert read.calling_ae_title == asked.calling_ae_title
        assert (
            read.presentation_context_definition_list
            == asked.presentation_context_definition_list
        )
        ours = {type(item): item for item in read.user_information}
        assert ours == {type(item): item for item in asked.user_information}

    def test_accept_both_ways(self) -> None:
        pdu = foreign.A_ASSOCIATE_AC()
        pdu.decode(ACCEPT.encode())
        read = pdu.to_primitive()
        results = read.presentation_context_definition_results_list
        assert [(c.context_id, c.result) for c in results] == [(1, 0), (3, 3)]
        assert results[0].transfer_syntax == [IMPLICIT_VR_LE]
        back = foreign.A_ASSOCIATE_AC()
        back.from_primitive(read)
        decoded = AssociateAC.decode(body(back.encode()))
        assert decoded.contexts == ACCEPT.contexts
        assert decoded.user == ACCEPT.user

    @pytest.mark.parametrize("reason", RejectReason)
    @pytest.mark.parametrize("result", RejectResult)
    def test_reject_both_ways(self, reason: RejectReason, result: RejectResult) -> None:
        ours = AssociateRJ(result, reason)
        pdu = foreign.A_ASSOCIATE_RJ()
        pdu.decode(ours.encode())
        assert (pdu.result, (pdu.source, pdu.reason_diagnostic)) == (
            result,
            reason.value,
        )
        assert pdu.encode() == ours.encode()
        assert AssociateRJ.decode(body(pdu.encode())) == ours

    @pytest.mark.parametrize("reason", AbortReason)
    def test_abort_both_ways(self, reason: AbortReason) -> None:
        ours = Abort(AbortSource.SERVICE_PROVIDER, reason)
        pdu = foreign.A_ABORT_RQ()
        pdu.decode(ours.encode())
        assert (pdu.source, pdu.reason_diagnostic) == (2, reason)
        assert Abort.decode(body(pdu.encode())) == ours

    def test_release(self) -> None:
        assert foreign.A_RELEASE_RQ().encode() == ReleaseRQ().encode()
        assert foreign.A_RELEASE_RP().encode() == ReleaseRP().encode()


class TestOwnBytes:
    def test_request_and_answer_survive(self) -> None:
        assert AssociateRQ.decode(body(REQUEST.encode())) == REQUEST
        assert AssociateAC.decode(body(ACCEPT.encode())) == ACCEPT

    @pytest.mark.parametrize("kind", [IdentityType.USERNAME, IdentityType.JWT])
    def test_identities(self, kind: IdentityType) -> None:
        identity = UserIdentity(kind, wants_response=False, primary=b"x" * 4000)
        user = UserInformation(identity=identity)
        decoded = UserInformation.decode(memoryview(user.encode())[4:])
        assert decoded.identity == identity

    def test_a_passcode_is_not_shown(self) -> None:
        assert "secret" not in repr(REQUEST)
        assert "nurse" not in repr(REQUEST)

    def test_numbers_that_no_table_knows_are_read_as_no_reason(self) -> None:
        no = (RejectResult.PERMANENT, RejectReason.NO_REASON)
        assert AssociateRJ.decode(memoryview(bytes(4))) == AssociateRJ(*no)
        assert Abort.decode(memoryview(b"\0\0\2\3")).reason is AbortReason.NOT_SPECIFIED
        assert Abort.decode(memoryview(b"\0\0\1\1")).source is AbortSource.SERVICE_USER
        refused = ContextAnswer.decode(memoryview(b"\1\0\x63\0"))
        assert refused.result is ContextResult.NO_REASON

    def test_unknown_items_are_skipped(self) -> None:
        encoded = REQUEST.user.encode()
        strange = encoded[4:] + b"\x7f\0\0\2ab"
        assert UserInformation.decode(memoryview(strange)) == REQUEST.user


def with_contexts(count: int) -> bytes:
    contexts = b"".join(
        ProposedContext(2 * i % 256 | 1, CT, (IMPLICIT_VR_LE,)).encode()
        for i in range(count)
    )
    head = REQUEST.encode()[6 : 6 + 68]
    name = b"\x10\0\0\x15" + b"1.2.840.10008.3.1.1.1"
    return head + name + contexts + UserInformation().encode()


class TestRefusals:
    @pytest.mark.parametrize(
        ("contexts", "text"),
        [(129, "more than 128"), (300, "more than"), (0, None), (128, None)],
    )
    def test_number_of_contexts(self, contexts: int, text: str | None) -> None:
        pdu = memoryview(with_contexts(contexts))
        if text is None:
            assert len(AssociateRQ.decode(pdu).contexts) == contexts
        else:
            with pytest.raises(PeerError, match=text):
                AssociateRQ.decode(pdu)

    def test_number_of_transfer_syntaxes(self) -> None:
        item = ProposedContext(1, CT, (IMPLICIT_VR_LE,)).encode()
        many = item[4:] + item[-21:] * pdus.TRANSFER_SYNTAXES_MAX
        with pytest.raises(PeerError, match="items"):
            ProposedContext.decode(memoryview(many))

    def test_number_of_user_items(self) -> None:
        many = b"\x7f\0\0\0" * (pdus.USER_ITEMS_MAX + 1)
        with pytest.raises(PeerError, match="items"):
            UserInformation.decode(memoryview(many))

    @pytest.mark.parametrize("number", [0, 2, 256])
    def test_context_ids_are_odd(self, number: int) -> None:
        with pytest.raises(PeerError, match="odd"):
            ProposedContext(number, CT, (IMPLICIT_VR_LE,))

    def test_context_ids_are_unique(self) -> None:
        context = ProposedContext(1, CT, (IMPLICIT_VR_LE,))
        with pytest.raises(PeerError, match="twice"):
            AssociateRQ(AETitle("A"), AETitle("B"), (context, context))

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("pdu_length_bytes_max", 2**32),
            ("implementation_version", "x" * 17),
        ],
    )
    def test_user_information_checks_itself(self, field: str, value: Any) -> None:
        with pytest.raises(PeerError):
            UserInformation(**{field: value})

    def test_what_must_occur_once(self) -> None:
        twice = b"\x51\0\0\4\0\0\0\0" * 2
        with pytest.raises(PeerError, match="once"):
            UserInformation.decode(memoryview(twice))
        whole = bytes(body(REQUEST.encode()))
        with pytest.raises(PeerError, match="once"):
            AssociateRQ.decode(memoryview(whole + UserInformation().encode()))
        with pytest.raises(PeerError, match="without"):
            AssociateRQ.decode(memoryview(whole[:68]))

    @given(st.data())
    def test_a_request_cut_or_changed_anywhere_is_read_or_refused(
        self, data: st.DataObject
    ) -> None:
        whole = bytearray(body(REQUEST.encode()))
        end = data.draw(st.integers(0, len(whole)))
        for _ in range(data.draw(st.integers(0, 4))):
            at = data.draw(st.integers(0, len(whole) - 1))
            whole[at] = data.draw(st.integers(0, 255))
        for decode in (AssociateRQ.decode, AssociateAC.decode):
            try:
                decode(memoryview(whole)[:end])
            except PeerError as error:
                refusal = str(error)
            else:
                continue
            assert "1.2" not in refusal

    @given(st.binary(max_size=300))
    def test_no_items_do_worse_than_a_peer_error(self, noise: bytes) -> None:
        for decode in (
            UserInformation.decode,
            ProposedContext.decode,
            ContextAnswer.decode,
            AssociateRJ.decode,
            Abort.decode,
        ):
            try:
                decode(memoryview(noise))
            except PeerError:
                continue
