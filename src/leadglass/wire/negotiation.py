"""What two peers agree on, as pure functions of what each of them says.

``negotiate`` is the acceptor's policy, ``propose`` the requestor's request, and
``agreed`` reads for both which contexts they may now use, and in which role
(PS3.8 §9.3.3, PS3.7 §D.3.3).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from leadglass.dicom.aetitle import AETitle
from leadglass.dicom.sop_classes import is_storage
from leadglass.dicom.uids import (
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
    UID,
)
from leadglass.errors import PeerError
from leadglass.wire.pdus import (
    CONTEXTS_MAX,
    AssociateAC,
    AssociateRQ,
    ContextAnswer,
    ContextResult,
    ExtendedNegotiation,
    IdentityType,
    OperationsWindow,
    ProposedContext,
    RoleSelection,
    UserIdentity,
    UserInformation,
)

STORAGE_SERVICE_CLASS: Final = UID("1.2.840.10008.4.2")  # PS3.6 Table A-1
# A message is answered before the next is read; nobody has to wait for it.
ONE_AT_A_TIME: Final = OperationsWindow(1, 1)
# Under this root a SOP class is the standard's, so never private.
_STANDARD_ROOT = "1.2.840.10008."
# Identities that a positive response of zero length acknowledges (PS3.7 Table
# D.3-15). Kerberos and SAML would need a ticket or assertion that we cannot make.
_ANSWERED_IDENTITIES = frozenset(
    {IdentityType.USERNAME, IdentityType.USERNAME_AND_PASSCODE, IdentityType.JWT}
)


@dataclass(frozen=True, slots=True)
class QueryOptions:
    """Extended negotiation of Query/Retrieve (PS3.4 §C.5.1.1, C.5.2.1, C.5.3.1).

    C-FIND sends all five bytes; C-MOVE and C-GET only ``relational`` and
    ``enhanced_conversion``.
    """

    relational: bool = False
    combined_datetime: bool = False
    fuzzy: bool = False
    timezone: bool = False
    enhanced_conversion: bool = False

    def encode_find(self) -> bytes:
        """Return the application information of a C-FIND SOP class."""
        return bytes(
            (
                self.relational,
                self.combined_datetime,
                self.fuzzy,
                self.timezone,
                self.enhanced_conversion,
            )
        )

    def encode_retrieve(self) -> bytes:
        """Return the application information of a C-MOVE or C-GET SOP class."""
        return bytes((self.relational, self.enhanced_conversion))

    @classmethod
    def decode_find(cls, information: bytes) -> "QueryOptions":
        """Read what was agreed for C-FIND; absent bytes are no (PS3.4 §C.5.1.1)."""
        return cls(*(byte == 1 for byte in information[:5]))

    @classmethod
    def decode_retrieve(cls, information: bytes) -> "QueryOptions":
        """Read what was agreed for C-MOVE or C-GET."""
        relational, enhanced = information[:2].ljust(2, b"\0")
        return cls(relational=relational == 1, enhanced_conversion=enhanced == 1)


@dataclass(frozen=True, slots=True)
class Service:
    """How this node takes part in one SOP class.

    ``is_scp`` lets the peer ask us (store to us, query us), ``is_scu`` lets us ask
    the peer over the same association (C-GET). ``application_information`` is the
    most that we say to an extended negotiation; the answer is the smaller of
    each pair of bytes.
    """

    transfer_syntaxes: frozenset[UID]
    is_scp: bool = True
    is_scu: bool = False
    application_information: bytes = b""


@dataclass(frozen=True, slots=True)
class Offer:
    """All that an acceptor would agree to with this peer: empty by default.

    Args:
        services: By abstract syntax.
        private: By root of the UIDs, ending with a dot, or "" for all: for SOP
            classes that are not the standard's. The longest root wins.
        window: How many operations may be outstanding, 0 is no limit.
    """

    services: Mapping[UID, Service] = field(
        default_factory=lambda: MappingProxyType({})
    )
    private: Mapping[str, Service] = field(default_factory=lambda: MappingProxyType({}))
    window: OperationsWindow = ONE_AT_A_TIME

    def __post_init__(self) -> None:
        if any(root and not root.endswith(".") for root in self.private):
            raise ValueError("root of private UIDs must end with a dot")

    def find(self, abstract_syntax: UID, related: Iterable[UID] = ()) -> Service | None:
        """Return what we do for a SOP class, or None.

        ``related`` are standard storage classes that the peer says it specialises
        (PS3.7 §D.3.3.6): it is then taken as one of these.
        """
        service = self.services.get(abstract_syntax)
        if service is not None or abstract_syntax.startswith(_STANDARD_ROOT):
            return service
        for general in related:
            # Only of these: a "kind of query" that is stored to would be nonsense.
            if is_storage(general) and general in self.services:
                return self.services[general]
        roots = [root for root in self.private if abstract_syntax.startswith(root)]
        return self.private[max(roots, key=len)] if roots else None


@dataclass(frozen=True, slots=True)
class Context:
    """An accepted presentation context, seen from our side.

    ``is_scu``: we may send requests over it. ``is_scp``: we answer them.
    """

    id: int
    abstract_syntax: UID
    transfer_syntax: UID
    is_scu: bool
    is_scp: bool


def negotiate(
    request: AssociateRQ,
    offer: Offer,
    *,
    pdu_length_bytes_max: int,
    user_is_proven: bool = False,
) -> AssociateAC:
    """Return the acceptor's answer.

    Of each context the first transfer syntax of the proposer's list that we take
    is accepted: a sender puts first what it has, and we store as received.

    Args:
        request: What the peer asked for.
        offer: What it may have.
        pdu_length_bytes_max: What we receive (``Limits.pdu_length_bytes_max``).
        user_is_proven: The user identity was verified. Only then is a positive
            response given, to a peer that asked for one (PS3.7 §D.3.3.7.2).
    """
    user = request.user
    related = {
        common.sop_class: common.related_general_classes
        for common in user.common_extended
        if common.service_class == STORAGE_SERVICE_CLASS
    }
    services = {
        uid: offer.find(uid, related.get(uid, ()))
        for uid in {context.abstract_syntax for context in request.contexts}
    }
    proposed_roles = {role.sop_class: role for role in user.roles}
    answers = tuple(
        _answer(
            context,
            services[context.abstract_syntax],
            proposed_roles.get(context.abstract_syntax),
        )
        for context in request.contexts
    )
    return AssociateAC(
        contexts=answers,
        user=replace(
            announcement(pdu_length_bytes_max),
            window=_window(user.window, offer.window),
            roles=tuple(
                _granted(role, service)
                for role in proposed_roles.values()
                if (service := services.get(role.sop_class)) is not None
            ),
            extended=tuple(
                ExtendedNegotiation(
                    wish.sop_class,
                    _smaller(
                        wish.application_information, service.application_information
                    ),
                )
                for wish in user.extended
                if (service := services.get(wish.sop_class)) is not None
                and service.application_information
            ),
            identity_response=_identity_response(user.identity, user_is_proven),
        ),
        echo=request.called.encode() + request.calling.encode() + request.reserved,
    )


def announcement(pdu_length_bytes_max: int) -> UserInformation:
    """Return what we say of ourselves in every request and answer."""
    return UserInformation(
        pdu_length_bytes_max=pdu_length_bytes_max,
        implementation_class=IMPLEMENTATION_CLASS_UID,
        implementation_version=IMPLEMENTATION_VERSION_NAME,
    )


def propose(
    called: AETitle,
    calling: AETitle,
    wishes: Iterable[tuple[UID, Iterable[UID]]],
    *,
    pdu_length_bytes_max: int,
    roles: Iterable[RoleSelection] = (),
) -> AssociateRQ:
    """Return a request for contexts of (abstract syntax, transfer syntaxes).

    Extended negotiation and a user identity are added with ``dataclasses.replace``.

    Args:
        called: Whom we want to speak to.
        calling: Who we say we are.
        wishes: At most 128; their contexts are numbered 1, 3, 5 and so on.
        pdu_length_bytes_max: What we receive (``Limits.pdu_length_bytes_max``).
        roles: To be SCP of some classes, as the requestor of a C-GET must.

    Raises:
        ValueError: More contexts than one association can have.
    """
    listed = list(wishes)
    if len(listed) > CONTEXTS_MAX:
        raise ValueError(f"more than {CONTEXTS_MAX} presentation contexts")
    return AssociateRQ(
        called=called,
        calling=calling,
        contexts=tuple(
            ProposedContext(2 * i + 1, abstract, tuple(transfers))
            for i, (abstract, transfers) in enumerate(listed)
        ),
        user=replace(announcement(pdu_length_bytes_max), roles=tuple(roles)),
    )


def agreed(
    request: AssociateRQ, accept: AssociateAC, *, is_requestor: bool
) -> Mapping[int, Context]:
    """Return the usable contexts by ID, with the roles of the side that asks.

    Raises:
        PeerError: The answer holds what was not proposed.
    """
    proposed = {context.id: context for context in request.contexts}
    asked = {role.sop_class: role for role in request.user.roles}
    granted = {role.sop_class: role for role in accept.user.roles}
    contexts: dict[int, Context] = {}
    for answer in accept.contexts:
        context = proposed.get(answer.id)
        if context is None:
            raise PeerError("answer to a presentation context that was not proposed")
        if answer.transfer_syntax is None:
            continue
        if answer.transfer_syntax not in context.transfer_syntaxes:
            raise PeerError("accepted transfer syntax was not proposed")
        uid = context.abstract_syntax
        is_scu, is_scp = _roles_of_requestor(asked.get(uid), granted.get(uid))
        contexts[answer.id] = Context(
            id=answer.id,
            abstract_syntax=uid,
            transfer_syntax=answer.transfer_syntax,
            is_scu=is_scu if is_requestor else is_scp,
            is_scp=is_scp if is_requestor else is_scu,
        )
    return MappingProxyType(contexts)


def _answer(
    context: ProposedContext, service: Service | None, role: RoleSelection | None
) -> ContextAnswer:
    if service is None:
        return ContextAnswer(context.id, ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED)
    if role is None:
        is_usable = service.is_scp
    else:
        granted = _granted(role, service)
        is_usable = granted.is_scu or granted.is_scp
    if not is_usable:
        # Known, but in no role that both play; the peer learns no more than above.
        return ContextAnswer(context.id, ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED)
    for transfer_syntax in context.transfer_syntaxes:
        if transfer_syntax in service.transfer_syntaxes:
            return ContextAnswer(context.id, ContextResult.ACCEPTANCE, transfer_syntax)
    return ContextAnswer(context.id, ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED)


def _granted(role: RoleSelection, service: Service) -> RoleSelection:
    """Return the requestor's roles that we play the other part of."""
    return RoleSelection(
        role.sop_class,
        is_scu=role.is_scu and service.is_scp,
        is_scp=role.is_scp and service.is_scu,
    )


def _roles_of_requestor(
    asked: RoleSelection | None, granted: RoleSelection | None
) -> tuple[bool, bool]:
    """Return (is SCU, is SCP); without both items the default (PS3.7 §D.3.3.4)."""
    if asked is None or granted is None:
        return True, False
    return asked.is_scu and granted.is_scu, asked.is_scp and granted.is_scp


def _window(
    asked: OperationsWindow | None, ours: OperationsWindow
) -> OperationsWindow | None:
    """Answer only who asked; the smaller number, where 0 is the largest."""
    if asked is None:
        return None
    return OperationsWindow(
        _fewer(asked.invoked_max, ours.invoked_max),
        _fewer(asked.performed_max, ours.performed_max),
    )


def _fewer(one: int, other: int) -> int:
    return min(one or other, other or one)


def _smaller(asked: bytes, ours: bytes) -> bytes:
    # Bytes beyond what we know are left out: absent means no.
    return bytes(min(pair) for pair in zip(asked, ours, strict=False))


def _identity_response(
    identity: UserIdentity | None, user_is_proven: bool
) -> bytes | None:
    if identity is None or not identity.wants_response or not user_is_proven:
        return None
    return b"" if identity.type in _ANSWERED_IDENTITIES else None
