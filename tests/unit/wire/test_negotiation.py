"""What an acceptor agrees to."""

from dataclasses import replace
from typing import Any

import pytest

from leadglass.dicom.aetitle import AETitle
from leadglass.dicom.sop_classes import STUDY_ROOT_FIND, STUDY_ROOT_MOVE, VERIFICATION
from leadglass.dicom.transfer_syntaxes import (
    EXPLICIT_VR_BE,
    EXPLICIT_VR_LE,
    IMPLICIT_VR_LE,
)
from leadglass.dicom.uids import IMPLEMENTATION_CLASS_UID, UID
from leadglass.errors import PeerError
from leadglass.wire.negotiation import (
    STORAGE_SERVICE_CLASS,
    Context,
    Offer,
    QueryOptions,
    Service,
    agreed,
    negotiate,
    propose,
)
from leadglass.wire.pdus import (
    CONTEXTS_MAX,
    AssociateAC,
    AssociateRQ,
    CommonExtendedNegotiation,
    ContextAnswer,
    ContextResult,
    ExtendedNegotiation,
    IdentityType,
    OperationsWindow,
    RoleSelection,
    UserIdentity,
    UserInformation,
)
from tests.unit.wire.rig import ALL, CT, MR, OFFER, QUERY

PRIVATE = UID("1.3.12.2.1107.5.9.1")
UNKNOWN_STANDARD = UID("1.2.840.10008.99.99")
JPEG = UID("1.2.840.10008.1.2.4.70")


def ask(*wishes: tuple[UID, tuple[UID, ...]], **user: Any) -> AssociateRQ:
    request = propose(
        AETitle("LEADGLASS"), AETitle("CT1"), wishes, pdu_length_bytes_max=16384
    )
    return replace(request, user=replace(request.user, **user))


def answer(request: AssociateRQ, offer: Offer = OFFER, **options: bool) -> AssociateAC:
    return negotiate(request, offer, pdu_length_bytes_max=131072, **options)


def results(accept: AssociateAC) -> list[tuple[int, UID | None]]:
    return [(c.result.value, c.transfer_syntax) for c in accept.contexts]


class TestContexts:
    def test_nothing_is_offered_by_default(self) -> None:
        accept = answer(ask((VERIFICATION, (IMPLICIT_VR_LE,))), Offer())
        assert results(accept) == [(3, None)]

    def test_the_first_transfer_syntax_of_the_proposer_that_we_take(self) -> None:
        accept = answer(
            ask(
                (CT, (IMPLICIT_VR_LE, EXPLICIT_VR_LE)),
                (CT, (EXPLICIT_VR_BE, EXPLICIT_VR_LE, IMPLICIT_VR_LE)),
                (CT, (EXPLICIT_VR_BE,)),
            )
        )
        assert results(accept) == [
            (0, IMPLICIT_VR_LE),
            (0, EXPLICIT_VR_LE),
            (4, None),
        ]

    @pytest.mark.parametrize(
        ("uid", "root", "is_taken"),
        [
            (PRIVATE, "1.3.12.2.1107.5.9.", True),
            (PRIVATE, "", True),
            (PRIVATE, "1.3.12.2.1107.5.8.", False),
            (UNKNOWN_STANDARD, "", False),
        ],
    )
    def test_private_classes_by_rule(self, uid: UID, root: str, is_taken: bool) -> None:
        offer = Offer(private={root: Service(ALL)})
        accept = answer(ask((uid, (IMPLICIT_VR_LE,))), offer)
        assert (accept.contexts[0].result is ContextResult.ACCEPTANCE) is is_taken

    def test_the_longest_root_wins(self) -> None:
        offer = Offer(
            private={"": Service(ALL), "1.3.12.": Service(frozenset({EXPLICIT_VR_BE}))}
        )
        assert results(answer(ask((PRIVATE, (IMPLICIT_VR_LE,))), offer)) == [(4, None)]

    def test_a_root_that_ends_amid_a_component_is_a_mistake(self) -> None:
        with pytest.raises(ValueError, match="dot"):
            Offer(private={"1.3.12": Service(ALL)})

    def test_a_private_class_that_specialises_one_we_take(self) -> None:
        for service_class, result in ((STORAGE_SERVICE_CLASS, 0), (UID("1.2.3"), 3)):
            common = CommonExtendedNegotiation(PRIVATE, service_class, (MR, CT))
            request = ask((PRIVATE, (IMPLICIT_VR_LE,)), common_extended=(common,))
            assert answer(request).contexts[0].result == result

    def test_more_contexts_than_an_association_has(self) -> None:
        with pytest.raises(ValueError, match="128"):
            ask(*[(CT, (IMPLICIT_VR_LE,))] * (CONTEXTS_MAX + 1))


class TestRoles:
    @pytest.mark.parametrize(
        ("asked", "ours", "granted"),
        [
            # (SCU, SCP) asked by the requestor; our (SCP, SCU); granted, or refused
            ((True, True), (True, True), (True, True)),
            ((False, True), (True, True), (False, True)),
            ((False, True), (True, False), None),
            ((True, True), (True, False), (True, False)),
            ((True, True), (False, True), (False, True)),
            ((True, False), (False, True), None),
            ((False, False), (True, True), None),
        ],
    )
    def test_only_what_both_play(
        self,
        asked: tuple[bool, bool],
        ours: tuple[bool, bool],
        granted: tuple[bool, bool] | None,
    ) -> None:
        service = Service(ALL, is_scp=ours[0], is_scu=ours[1])
        request = ask((CT, (IMPLICIT_VR_LE,)), roles=(RoleSelection(CT, *asked),))
        accept = answer(request, Offer(services={CT: service}))
        role = accept.user.roles[0]
        assert (role.is_scu, role.is_scp) == (granted or (False, False))
        assert (accept.contexts[0].result == 0) is (granted is not None)
        if granted is None:
            return
        theirs = agreed(request, accept, is_requestor=True)[1]
        mine = agreed(request, accept, is_requestor=False)[1]
        assert (theirs.is_scu, theirs.is_scp) == granted
        assert (mine.is_scp, mine.is_scu) == granted

    def test_without_selection_the_requestor_asks(self) -> None:
        request = ask((CT, (IMPLICIT_VR_LE,)))
        accept = answer(request)
        assert accept.user.roles == ()
        assert agreed(request, accept, is_requestor=True)[1] == Context(
            1, CT, IMPLICIT_VR_LE, is_scu=True, is_scp=False
        )

    def test_who_may_only_get_cannot_store(self) -> None:
        offer = Offer(services={CT: Service(ALL, is_scp=False, is_scu=True)})
        assert results(answer(ask((CT, (IMPLICIT_VR_LE,))), offer)) == [(3, None)]

    def test_an_answer_that_ignores_roles_grants_the_default(self) -> None:
        role = RoleSelection(CT, is_scu=False, is_scp=True)
        request = ask((CT, (IMPLICIT_VR_LE,)), roles=(role,))
        accept = AssociateAC(
            (ContextAnswer(1, ContextResult.ACCEPTANCE, IMPLICIT_VR_LE),)
        )
        context = agreed(request, accept, is_requestor=True)[1]
        assert (context.is_scu, context.is_scp) == (True, False)


class TestExtended:
    @pytest.mark.parametrize(
        ("asked", "answered"),
        [
            (b"\1", b"\1"),
            (b"\0\1\1", b"\0\1\1"),
            (b"\1\1\1\1\1\1\1", b"\1\1\1\0\0"),
            (b"", b""),
        ],
    )
    def test_the_smaller_of_each(self, asked: bytes, answered: bytes) -> None:
        request = ask(
            (STUDY_ROOT_FIND, (IMPLICIT_VR_LE,)),
            extended=(ExtendedNegotiation(STUDY_ROOT_FIND, asked),),
        )
        extended = answer(request).user.extended
        assert extended == (ExtendedNegotiation(STUDY_ROOT_FIND, answered),)

    def test_no_answer_where_there_is_nothing_to_say(self) -> None:
        wishes = tuple(ExtendedNegotiation(uid, b"\1") for uid in (CT, MR, PRIVATE))
        request = ask((CT, (IMPLICIT_VR_LE,)), extended=wishes)
        assert answer(request).user.extended == ()

    def test_options_read_back(self) -> None:
        assert QueryOptions.decode_find(QUERY.encode_find()) == QUERY
        assert QueryOptions.decode_find(b"\0\1") == QueryOptions(combined_datetime=True)
        move = QueryOptions(relational=True, enhanced_conversion=True)
        assert QueryOptions.decode_retrieve(move.encode_retrieve()) == move
        assert QueryOptions.decode_retrieve(b"\1") == QueryOptions(relational=True)
        assert QueryOptions.decode_retrieve(b"") == QueryOptions()

    @pytest.mark.parametrize(
        ("asked", "ours", "answered"),
        [
            ((0, 0), (1, 1), (1, 1)),
            ((5, 5), (1, 1), (1, 1)),
            ((5, 2), (3, 0), (3, 2)),
            ((0, 0), (0, 0), (0, 0)),
        ],
    )
    def test_operations_window(
        self,
        asked: tuple[int, int],
        ours: tuple[int, int],
        answered: tuple[int, int],
    ) -> None:
        offer = replace(OFFER, window=OperationsWindow(*ours))
        request = ask((CT, (IMPLICIT_VR_LE,)), window=OperationsWindow(*asked))
        assert answer(request, offer).user.window == OperationsWindow(*answered)

    def test_a_window_is_answered_only_when_asked_for(self) -> None:
        assert answer(ask((CT, (IMPLICIT_VR_LE,)))).user.window is None


class TestUser:
    @pytest.mark.parametrize(
        ("kind", "wants", "is_proven", "response"),
        [
            (IdentityType.USERNAME, True, True, b""),
            (IdentityType.USERNAME_AND_PASSCODE, True, True, b""),
            (IdentityType.JWT, True, True, b""),
            (IdentityType.JWT, True, False, None),
            (IdentityType.JWT, False, True, None),
            (IdentityType.KERBEROS, True, True, None),
            (77, True, True, None),
        ],
    )
    def test_positive_response(
        self, kind: int, wants: bool, is_proven: bool, response: bytes | None
    ) -> None:
        identity = UserIdentity(kind, wants_response=wants, primary=b"who")
        request = ask((CT, (IMPLICIT_VR_LE,)), identity=identity)
        accept = answer(request, user_is_proven=is_proven)
        assert accept.user.identity_response == response

    def test_who_we_are(self) -> None:
        user = answer(ask((STUDY_ROOT_MOVE, (IMPLICIT_VR_LE,)))).user
        assert user.pdu_length_bytes_max == 131072
        assert user.implementation_class == IMPLEMENTATION_CLASS_UID

    def test_fields_that_are_sent_back_as_they_came(self) -> None:
        request = replace(ask((CT, (IMPLICIT_VR_LE,))), reserved=bytes(range(32)))
        assert answer(request).echo == request.encode()[10:74]


class TestAgreed:
    @pytest.mark.parametrize(
        "contexts",
        [
            (ContextAnswer(3, ContextResult.ACCEPTANCE, IMPLICIT_VR_LE),),
            (ContextAnswer(1, ContextResult.ACCEPTANCE, JPEG),),
        ],
    )
    def test_what_was_not_proposed_is_refused(
        self, contexts: tuple[ContextAnswer, ...]
    ) -> None:
        request = ask((CT, (IMPLICIT_VR_LE,)))
        with pytest.raises(PeerError, match="not proposed"):
            agreed(request, AssociateAC(contexts, UserInformation()), is_requestor=True)
