"""The protocol data units of the DICOM upper layer as values (PS3.8 §9.3).

Everything here is a pure function of bytes. Layouts are those of PS3.8 Tables
9-11 to 9-26 and of PS3.7 Annex D for the items of the user information.
Whatever is malformed raises ``PeerError``; item types that are not known are
skipped, as PS3.8 §9.3.1 asks, but counted.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from struct import Struct
from typing import Any, ClassVar, Final

from leadglass.dicom.aetitle import AETitle
from leadglass.dicom.transfer_syntaxes import IMPLICIT_VR_LE
from leadglass.dicom.uids import UID
from leadglass.errors import PeerError

# Table 9-11 lets a request name 128 contexts: one per odd number below 256.
CONTEXTS_MAX: Final = 128
# PS3.6 lists some 60 transfer syntaxes; nobody has a reason to propose more.
TRANSFER_SYNTAXES_MAX: Final = 128
# One role and one extended negotiation per SOP class, and the handful of fixed items.
USER_ITEMS_MAX: Final = 4 * CONTEXTS_MAX
# Beside contexts, an A-ASSOCIATE has one application context and one user item.
ITEMS_MAX: Final = 2 * CONTEXTS_MAX
# Common extended negotiation lists general SOP classes; PS3.4 relates at most a few.
RELATED_CLASSES_MAX: Final = 64

APPLICATION_CONTEXT: Final = UID("1.2.840.10008.3.1.1.1")  # PS3.7 §A.2.1
PROTOCOL_VERSION: Final = 1  # bit 0 set: version 1, PS3.8 Table 9-11

HEADER: Final = Struct(">BxI")  # type, reserved, length of what follows
_ITEM = Struct(">BxH")  # the same for items, PS3.8 §9.3.2
_FIXED = Struct(">HH16s16s32s")  # version, reserved, called, calling, reserved
_VERDICT = Struct(">xBBB")  # result, source, reason
_CONTEXT = Struct(">BxBx")  # ID, reserved, result (reserved in a request), reserved
_WINDOW = Struct(">HH")
_LONG = Struct(">I")
_SHORT = Struct(">H")
_UINT16_MAX = 0xFFFF
_UINT32_MAX = 0xFFFF_FFFF


class PDUType(IntEnum):
    """The seven PDUs, PS3.8 §9.3.1."""

    ASSOCIATE_RQ = 1
    ASSOCIATE_AC = 2
    ASSOCIATE_RJ = 3
    P_DATA_TF = 4
    RELEASE_RQ = 5
    RELEASE_RP = 6
    ABORT = 7


class Item(IntEnum):
    """Items of A-ASSOCIATE PDUs: PS3.8 §9.3.2, PS3.7 §D.3.3."""

    APPLICATION_CONTEXT = 0x10
    CONTEXT_RQ = 0x20
    CONTEXT_AC = 0x21
    ABSTRACT_SYNTAX = 0x30
    TRANSFER_SYNTAX = 0x40
    USER_INFORMATION = 0x50
    MAXIMUM_LENGTH = 0x51
    IMPLEMENTATION_CLASS = 0x52
    OPERATIONS_WINDOW = 0x53
    ROLE_SELECTION = 0x54
    IMPLEMENTATION_VERSION = 0x55
    EXTENDED_NEGOTIATION = 0x56
    COMMON_EXTENDED_NEGOTIATION = 0x57
    USER_IDENTITY_RQ = 0x58
    USER_IDENTITY_AC = 0x59


class ContextResult(IntEnum):
    """What became of a proposed presentation context, PS3.8 Table 9-18."""

    ACCEPTANCE = 0
    USER_REJECTION = 1
    NO_REASON = 2
    ABSTRACT_SYNTAX_NOT_SUPPORTED = 3
    TRANSFER_SYNTAXES_NOT_SUPPORTED = 4


class IdentityType(IntEnum):
    """Form of a user identity, PS3.7 Table D.3-14."""

    USERNAME = 1
    USERNAME_AND_PASSCODE = 2
    KERBEROS = 3
    SAML = 4
    JWT = 5


class RejectResult(IntEnum):
    """Whether asking again may help, PS3.8 Table 9-21."""

    PERMANENT = 1
    TRANSIENT = 2


class RejectReason(Enum):
    """Why there is no association: (source, reason), PS3.8 Table 9-21."""

    NO_REASON = (1, 1)
    APPLICATION_CONTEXT_NOT_SUPPORTED = (1, 2)
    CALLING_AE_TITLE_NOT_RECOGNIZED = (1, 3)
    CALLED_AE_TITLE_NOT_RECOGNIZED = (1, 7)
    PROVIDER_NO_REASON = (2, 1)
    PROTOCOL_VERSION_NOT_SUPPORTED = (2, 2)
    TEMPORARY_CONGESTION = (3, 1)
    LOCAL_LIMIT_EXCEEDED = (3, 2)


class AbortSource(IntEnum):
    """Who ended the association, PS3.8 Table 9-26."""

    SERVICE_USER = 0
    SERVICE_PROVIDER = 2


class AbortReason(IntEnum):
    """Why the service provider did; without meaning from a user, Table 9-26."""

    NOT_SPECIFIED = 0
    UNRECOGNIZED_PDU = 1
    UNEXPECTED_PDU = 2
    UNRECOGNIZED_PARAMETER = 4
    UNEXPECTED_PARAMETER = 5
    INVALID_PARAMETER_VALUE = 6


@dataclass(frozen=True, slots=True)
class ProposedContext:
    """One presentation context of a request, PS3.8 §9.3.2.2."""

    id: int
    abstract_syntax: UID
    transfer_syntaxes: tuple[UID, ...]

    def __post_init__(self) -> None:
        _check_context_id(self.id)
        if not 1 <= len(self.transfer_syntaxes) <= TRANSFER_SYNTAXES_MAX:
            raise PeerError("presentation context with too many or no transfer syntax")

    def encode(self) -> bytes:
        """Return the item as it goes on the wire."""
        return _item(
            Item.CONTEXT_RQ,
            _CONTEXT.pack(self.id, 0)
            + _item(Item.ABSTRACT_SYNTAX, _ascii(self.abstract_syntax))
            + b"".join(
                _item(Item.TRANSFER_SYNTAX, _ascii(uid))
                for uid in self.transfer_syntaxes
            ),
        )

    @classmethod
    def decode(cls, body: memoryview) -> "ProposedContext":
        """Read the item's value.

        Raises:
            PeerError: It is malformed, or a limit is passed.
        """
        context_id, _ = _unpack(_CONTEXT, body)
        abstract: UID | None = None
        transfers: list[UID] = []
        for kind, value in _items(
            body[_CONTEXT.size :], count_max=TRANSFER_SYNTAXES_MAX + 1
        ):
            if kind == Item.ABSTRACT_SYNTAX:
                if abstract is not None:
                    raise PeerError("presentation context with two abstract syntaxes")
                abstract = UID.decode(bytes(value))
            elif kind == Item.TRANSFER_SYNTAX:
                transfers.append(UID.decode(bytes(value)))
        if abstract is None:
            raise PeerError("presentation context without an abstract syntax")
        return cls(context_id, abstract, tuple(transfers))


@dataclass(frozen=True, slots=True)
class ContextAnswer:
    """The answer to one proposed context, PS3.8 §9.3.3.2.

    The transfer syntax means something only with ``ACCEPTANCE``.
    """

    id: int
    result: ContextResult
    transfer_syntax: UID | None = None

    def __post_init__(self) -> None:
        _check_context_id(self.id)
        if self.result is ContextResult.ACCEPTANCE and self.transfer_syntax is None:
            raise PeerError("accepted presentation context without transfer syntax")

    def encode(self) -> bytes:
        """Return the item.

        A rejected context names the default transfer syntax: it "shall not be
        tested" (Table 9-18), but there are readers that stumble over none.
        """
        return _item(
            Item.CONTEXT_AC,
            _CONTEXT.pack(self.id, self.result)
            + _item(
                Item.TRANSFER_SYNTAX, _ascii(self.transfer_syntax or IMPLICIT_VR_LE)
            ),
        )

    @classmethod
    def decode(cls, body: memoryview) -> "ContextAnswer":
        """Read the item's value.

        Raises:
            PeerError: It is malformed.
        """
        context_id, number = _unpack(_CONTEXT, body)
        # A number that no table knows is a refusal all the same.
        result = _RESULTS.get(number, ContextResult.NO_REASON)
        if result is not ContextResult.ACCEPTANCE:
            return cls(context_id, result)  # its sub-item "shall not be tested"
        for kind, value in _items(body[_CONTEXT.size :], count_max=2):
            if kind == Item.TRANSFER_SYNTAX:
                return cls(context_id, result, UID.decode(bytes(value)))
        return cls(context_id, result)


@dataclass(frozen=True, slots=True)
class OperationsWindow:
    """How many operations may be outstanding, 0 is no limit (PS3.7 §D.3.3.3)."""

    invoked_max: int
    performed_max: int

    def __post_init__(self) -> None:
        _check_uint16(self.invoked_max, self.performed_max)


@dataclass(frozen=True, slots=True)
class RoleSelection:
    """Roles of the association's requestor for one SOP class (PS3.7 §D.3.3.4)."""

    sop_class: UID
    is_scu: bool
    is_scp: bool


@dataclass(frozen=True, slots=True)
class ExtendedNegotiation:
    """Bytes whose meaning the service class defines (PS3.7 §D.3.3.5)."""

    sop_class: UID
    application_information: bytes


@dataclass(frozen=True, slots=True)
class CommonExtendedNegotiation:
    """What kind of thing an unusual SOP class is (PS3.7 §D.3.3.6)."""

    sop_class: UID
    service_class: UID
    related_general_classes: tuple[UID, ...] = ()


@dataclass(frozen=True, slots=True)
class UserIdentity:
    """Who the peer says its user is; nothing here is proven (PS3.7 §D.3.3.7).

    ``primary`` is the user name (UTF-8), Kerberos ticket, SAML assertion or JSON
    web token, ``secondary`` the passcode. Neither shows in ``repr``.
    """

    type: int
    wants_response: bool
    primary: bytes = field(repr=False)
    secondary: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        _check_uint16(len(self.primary), len(self.secondary))


@dataclass(frozen=True, slots=True)
class UserInformation:
    """The user information item of either direction (PS3.8 §D.1, PS3.7 §D.3.3).

    ``pdu_length_bytes_max`` is what its sender can receive, counted after the six
    bytes of the PDU's header; 0 is no limit. ``identity`` occurs in requests,
    ``identity_response`` in answers.
    """

    pdu_length_bytes_max: int = 0
    implementation_class: UID | None = None
    implementation_version: str = ""
    window: OperationsWindow | None = None
    roles: tuple[RoleSelection, ...] = ()
    extended: tuple[ExtendedNegotiation, ...] = ()
    common_extended: tuple[CommonExtendedNegotiation, ...] = ()
    identity: UserIdentity | None = None
    identity_response: bytes | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.pdu_length_bytes_max <= _UINT32_MAX:
            raise PeerError("maximum length does not fit its field")
        if len(self.implementation_version) > 16:  # PS3.7 §D.3.3.2
            raise PeerError("implementation version name of more than 16 characters")

    def encode(self) -> bytes:
        """Return the item; sub-items ascend as some peers expect."""
        return _item(Item.USER_INFORMATION, b"".join(self._sub_items()))

    def _sub_items(self) -> Iterator[bytes]:
        yield _item(Item.MAXIMUM_LENGTH, _LONG.pack(self.pdu_length_bytes_max))
        if self.implementation_class is not None:
            yield _item(Item.IMPLEMENTATION_CLASS, _ascii(self.implementation_class))
        if self.window is not None:
            yield _item(
                Item.OPERATIONS_WINDOW,
                _WINDOW.pack(self.window.invoked_max, self.window.performed_max),
            )
        for role in self.roles:
            yield _item(
                Item.ROLE_SELECTION,
                _counted(_ascii(role.sop_class)) + bytes((role.is_scu, role.is_scp)),
            )
        if self.implementation_version:
            yield _item(
                Item.IMPLEMENTATION_VERSION, _ascii(self.implementation_version)
            )
        for extended in self.extended:
            yield _item(
                Item.EXTENDED_NEGOTIATION,
                _counted(_ascii(extended.sop_class)) + extended.application_information,
            )
        for common in self.common_extended:
            related = b"".join(
                _counted(_ascii(uid)) for uid in common.related_general_classes
            )
            yield _item(
                Item.COMMON_EXTENDED_NEGOTIATION,
                _counted(_ascii(common.sop_class))
                + _counted(_ascii(common.service_class))
                + _counted(related),
            )
        if self.identity is not None:
            yield _item(
                Item.USER_IDENTITY_RQ,
                bytes((self.identity.type, self.identity.wants_response))
                + _counted(self.identity.primary)
                + _counted(self.identity.secondary),
            )
        if self.identity_response is not None:
            yield _item(Item.USER_IDENTITY_AC, _counted(self.identity_response))

    @classmethod
    def decode(cls, body: memoryview) -> "UserInformation":
        """Read the item's value.

        Raises:
            PeerError: A sub-item is malformed, or there are too many.
        """
        found: dict[int, list[bytes]] = {}
        for kind, value in _items(body, count_max=USER_ITEMS_MAX):
            found.setdefault(kind, []).append(bytes(value))
        length = _single(found, Item.MAXIMUM_LENGTH)
        implementation = _single(found, Item.IMPLEMENTATION_CLASS)
        window = _single(found, Item.OPERATIONS_WINDOW)
        version = _single(found, Item.IMPLEMENTATION_VERSION) or b""
        identity = _single(found, Item.USER_IDENTITY_RQ)
        response = _single(found, Item.USER_IDENTITY_AC)
        return cls(
            pdu_length_bytes_max=0 if length is None else _unpack(_LONG, length)[0],
            implementation_class=UID.decode(implementation) if implementation else None,
            implementation_version=version[:16].decode("ascii", "replace").strip("\0 "),
            window=None if window is None else OperationsWindow(*_unpack2(window)),
            roles=tuple(_role(v) for v in found.get(Item.ROLE_SELECTION, ())),
            extended=tuple(
                _extended(v) for v in found.get(Item.EXTENDED_NEGOTIATION, ())
            ),
            common_extended=tuple(
                _common(v) for v in found.get(Item.COMMON_EXTENDED_NEGOTIATION, ())
            ),
            identity=None if identity is None else _identity(identity),
            identity_response=None if response is None else _cut(response)[0],
        )


@dataclass(frozen=True, slots=True)
class AssociateRQ:
    """A-ASSOCIATE-RQ, PS3.8 §9.3.2: nothing that it says is proven."""

    TYPE: ClassVar[PDUType] = PDUType.ASSOCIATE_RQ

    called: AETitle
    calling: AETitle
    contexts: tuple[ProposedContext, ...]
    user: UserInformation = UserInformation()
    application_context: UID = APPLICATION_CONTEXT
    protocol_version: int = PROTOCOL_VERSION
    reserved: bytes = field(default=bytes(32), repr=False)  # an answer repeats it

    def __post_init__(self) -> None:
        _check_uint16(self.protocol_version)
        _check_ids([context.id for context in self.contexts])

    def encode(self) -> bytes:
        """Return the whole PDU."""
        return _pdu(
            self.TYPE,
            _FIXED.pack(
                self.protocol_version,
                0,
                self.called.encode(),
                self.calling.encode(),
                self.reserved,
            )
            + _item(Item.APPLICATION_CONTEXT, _ascii(self.application_context))
            + b"".join(context.encode() for context in self.contexts)
            + self.user.encode(),
        )

    @classmethod
    def decode(cls, body: memoryview) -> "AssociateRQ":
        """Read what follows the PDU's header.

        Raises:
            PeerError: It is malformed, or a limit is passed.
        """
        version, _, called, calling, reserved = _unpack(_FIXED, body)
        found = _associate_items(body, Item.CONTEXT_RQ)
        return cls(
            called=AETitle.decode(called),
            calling=AETitle.decode(calling),
            contexts=tuple(ProposedContext.decode(v) for v in found.contexts),
            user=UserInformation.decode(found.user),
            application_context=UID.decode(bytes(found.application_context)),
            protocol_version=version,
            reserved=reserved,
        )


@dataclass(frozen=True, slots=True)
class AssociateAC:
    """A-ASSOCIATE-AC, PS3.8 §9.3.3.

    ``echo`` is 64 bytes: titles and reserved field of the request, to be sent
    back as they came and "not tested when received" (Table 9-17).
    """

    TYPE: ClassVar[PDUType] = PDUType.ASSOCIATE_AC

    contexts: tuple[ContextAnswer, ...]
    user: UserInformation = UserInformation()
    echo: bytes = field(default=bytes(64), repr=False)
    protocol_version: int = PROTOCOL_VERSION

    def __post_init__(self) -> None:
        if len(self.echo) != 64:
            raise PeerError("A-ASSOCIATE-AC repeats 64 bytes of the request")
        _check_uint16(self.protocol_version)
        _check_ids([context.id for context in self.contexts])

    def encode(self) -> bytes:
        """Return the whole PDU."""
        return _pdu(
            self.TYPE,
            _SHORT.pack(self.protocol_version)
            + bytes(2)
            + self.echo
            + _item(Item.APPLICATION_CONTEXT, _ascii(APPLICATION_CONTEXT))
            + b"".join(context.encode() for context in self.contexts)
            + self.user.encode(),
        )

    @classmethod
    def decode(cls, body: memoryview) -> "AssociateAC":
        """Read what follows the PDU's header.

        Raises:
            PeerError: It is malformed, or a limit is passed.
        """
        version, *_ = _unpack(_FIXED, body)
        found = _associate_items(body, Item.CONTEXT_AC)
        return cls(
            contexts=tuple(ContextAnswer.decode(v) for v in found.contexts),
            user=UserInformation.decode(found.user),
            echo=bytes(body[4 : _FIXED.size]),
            protocol_version=version,
        )


@dataclass(frozen=True, slots=True)
class AssociateRJ:
    """A-ASSOCIATE-RJ, PS3.8 §9.3.4."""

    TYPE: ClassVar[PDUType] = PDUType.ASSOCIATE_RJ

    result: RejectResult
    reason: RejectReason

    def encode(self) -> bytes:
        """Return the whole PDU."""
        return _pdu(self.TYPE, _VERDICT.pack(self.result, *self.reason.value))

    @classmethod
    def decode(cls, body: memoryview) -> "AssociateRJ":
        """Read what follows the PDU's header; what no table knows has no reason.

        Raises:
            PeerError: It is cut short.
        """
        result, source, reason = _unpack(_VERDICT, body)
        return cls(
            RejectResult.TRANSIENT if result == 2 else RejectResult.PERMANENT,
            _REJECT_REASONS.get((source, reason), RejectReason.NO_REASON),
        )


@dataclass(frozen=True, slots=True)
class ReleaseRQ:
    """A-RELEASE-RQ, PS3.8 §9.3.6."""

    TYPE: ClassVar[PDUType] = PDUType.RELEASE_RQ

    def encode(self) -> bytes:
        """Return the whole PDU."""
        return _pdu(self.TYPE, bytes(4))


@dataclass(frozen=True, slots=True)
class ReleaseRP:
    """A-RELEASE-RP, PS3.8 §9.3.7."""

    TYPE: ClassVar[PDUType] = PDUType.RELEASE_RP

    def encode(self) -> bytes:
        """Return the whole PDU."""
        return _pdu(self.TYPE, bytes(4))


@dataclass(frozen=True, slots=True)
class Abort:
    """A-ABORT, PS3.8 §9.3.8."""

    TYPE: ClassVar[PDUType] = PDUType.ABORT

    source: AbortSource
    reason: AbortReason = AbortReason.NOT_SPECIFIED

    def encode(self) -> bytes:
        """Return the whole PDU."""
        return _pdu(self.TYPE, _VERDICT.pack(0, self.source, self.reason))

    @classmethod
    def decode(cls, body: memoryview) -> "Abort":
        """Read what follows the PDU's header; unknown numbers have no reason.

        Raises:
            PeerError: It is cut short.
        """
        _, source, reason = _unpack(_VERDICT, body)
        if source != AbortSource.SERVICE_PROVIDER:
            return cls(AbortSource.SERVICE_USER)
        return cls(
            AbortSource.SERVICE_PROVIDER,
            _ABORT_REASONS.get(reason, AbortReason.NOT_SPECIFIED),
        )


_RESULTS = {int(result): result for result in ContextResult}
_REJECT_REASONS = {reason.value: reason for reason in RejectReason}
_ABORT_REASONS = {int(reason): reason for reason in AbortReason}


@dataclass(frozen=True, slots=True)
class _Found:
    application_context: memoryview
    contexts: list[memoryview]
    user: memoryview


def _associate_items(body: memoryview, context_kind: Item) -> _Found:
    application_context: memoryview | None = None
    contexts: list[memoryview] = []
    user: memoryview | None = None
    for kind, value in _items(body[_FIXED.size :], count_max=ITEMS_MAX):
        if kind == Item.APPLICATION_CONTEXT and application_context is None:
            application_context = value
        elif kind == Item.USER_INFORMATION and user is None:
            user = value
        elif kind == context_kind:
            if len(contexts) == CONTEXTS_MAX:
                raise PeerError(f"more than {CONTEXTS_MAX} presentation contexts")
            contexts.append(value)
        elif kind in {Item.APPLICATION_CONTEXT, Item.USER_INFORMATION}:
            raise PeerError("item that may occur only once occurs again")
    if application_context is None or user is None:
        raise PeerError("A-ASSOCIATE without application context or user information")
    return _Found(application_context, contexts, user)


def _items(body: memoryview, *, count_max: int) -> Iterator[tuple[int, memoryview]]:
    at = count = 0
    while at < len(body):
        count += 1
        if count > count_max:
            raise PeerError(f"more than {count_max} items")
        kind, length = _unpack(_ITEM, body[at:])
        at += _ITEM.size
        if at + length > len(body):
            raise PeerError("item overruns what holds it")
        yield kind, body[at : at + length]
        at += length


def _single(found: dict[int, list[bytes]], kind: Item) -> bytes | None:
    values = found.get(kind, [])
    if len(values) > 1:
        raise PeerError("user item that may occur only once occurs again")
    return values[0] if values else None


def _role(value: bytes) -> RoleSelection:
    uid, rest = _cut(value)
    if len(rest) < 2:
        raise PeerError("role selection is cut short")
    return RoleSelection(UID.decode(uid), rest[0] == 1, rest[1] == 1)


def _extended(value: bytes) -> ExtendedNegotiation:
    uid, rest = _cut(value)
    return ExtendedNegotiation(UID.decode(uid), rest)


def _common(value: bytes) -> CommonExtendedNegotiation:
    sop_class, rest = _cut(value)
    service_class, rest = _cut(rest)
    # PS3.7 Table D.3-12; some writers leave the list out altogether.
    listed, _ = _cut(rest) if rest else (b"", b"")
    related: list[UID] = []
    while listed:
        if len(related) == RELATED_CLASSES_MAX:
            raise PeerError(f"more than {RELATED_CLASSES_MAX} related SOP classes")
        uid, listed = _cut(listed)
        related.append(UID.decode(uid))
    return CommonExtendedNegotiation(
        UID.decode(sop_class), UID.decode(service_class), tuple(related)
    )


def _identity(value: bytes) -> UserIdentity:
    if len(value) < 2:
        raise PeerError("user identity is cut short")
    primary, rest = _cut(value[2:])
    secondary, _ = _cut(rest)
    return UserIdentity(value[0], value[1] == 1, primary, secondary)


def _cut(value: bytes) -> tuple[bytes, bytes]:
    """Take a field that a 16-bit length precedes off the front."""
    (length,) = _unpack(_SHORT, value)
    end = _SHORT.size + length
    if end > len(value):
        raise PeerError("field overruns the item that holds it")
    return value[_SHORT.size : end], value[end:]


def _unpack2(value: bytes) -> tuple[int, int]:
    first, second = _unpack(_WINDOW, value)
    return first, second


def _unpack(layout: Struct, value: bytes | memoryview) -> tuple[Any, ...]:
    try:
        return layout.unpack_from(value)
    except struct.error:
        raise PeerError("PDU or item is cut short") from None


def _item(kind: Item, value: bytes) -> bytes:
    if len(value) > _UINT16_MAX:
        raise PeerError("item does not fit its length field")
    return _ITEM.pack(kind, len(value)) + value


def _pdu(kind: PDUType, body: bytes) -> bytes:
    return HEADER.pack(kind, len(body)) + body


def _counted(value: bytes) -> bytes:
    return _SHORT.pack(len(value)) + value


def _ascii(text: str) -> bytes:
    # Not padded to even length: PS3.8 §F, UIDs in items have none.
    return text.encode("ascii")


def _check_context_id(number: int) -> None:
    if not 1 <= number <= 255 or number % 2 == 0:  # PS3.8 Table 9-13
        raise PeerError("presentation context ID is not an odd number below 256")


def _check_ids(numbers: list[int]) -> None:
    if len(set(numbers)) != len(numbers):
        raise PeerError("presentation context ID occurs twice")


def _check_uint16(*numbers: int) -> None:
    if any(not 0 <= number <= _UINT16_MAX for number in numbers):
        raise PeerError("number does not fit 16 bits")
