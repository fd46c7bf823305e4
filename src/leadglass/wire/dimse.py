"""DIMSE-C messages as values, and their way out of fragments (PS3.7 §9, §E).

A command set is always Implicit VR Little Endian and belongs to DIMSE alone, so
its codec is here and knows no data dictionary: ``_ELEMENTS`` is all there is.
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from enum import Enum, IntEnum, auto
from struct import Struct
from types import MappingProxyType
from typing import Any, ClassVar, Final, NamedTuple

from leadglass.dicom.aetitle import AETitle
from leadglass.dicom.uids import UID
from leadglass.errors import PeerError
from leadglass.wire.association import Fragment
from leadglass.wire.status import (
    SUCCESS,
    UNRECOGNIZED_OPERATION,
    Category,
    category,
)

# A command set is some 200 bytes; only a list of tags could make one long.
COMMAND_LENGTH_BYTES_MAX: Final = 64 * 1024
# An identifier is gathered whole: room for 16,000 UIDs of 64 characters.
IDENTIFIER_LENGTH_BYTES_MAX: Final = 1024 * 1024

_NO_DATA_SET: Final = 0x0101  # Command Data Set Type, PS3.7 §E.1; all else is "yes"
_SOME_DATA_SET: Final = 0x0001
_RESPONSE: Final = 0x8000  # this bit makes the command field a response's
_ELEMENT = Struct("<HHI")  # group, element, length
_US = Struct("<H")
_UL = Struct("<I")
_TAG = Struct("<HH")
_GROUP_LENGTH: Final = 0x0000
_COMMAND_FIELD: Final = 0x0100
_DATA_SET_TYPE: Final = 0x0800
_COMMENT_CHARACTERS_MAX: Final = 64  # VR of LO


class Priority(IntEnum):
    """PS3.7 §9.1.1.1.6; without effect here."""

    MEDIUM = 0
    HIGH = 1
    LOW = 2


class _Kind(Enum):
    US = auto()
    UI = auto()
    AE = auto()
    LO = auto()
    AT = auto()


class _Element(NamedTuple):
    number: int  # within group 0000
    kind: _Kind


# Element of each field name below, PS3.7 §E.1
_ELEMENTS: Final[Mapping[str, _Element]] = MappingProxyType(
    {
        "affected_sop_class": _Element(0x0002, _Kind.UI),
        "message_id": _Element(0x0110, _Kind.US),
        "responds_to": _Element(0x0120, _Kind.US),
        "move_destination": _Element(0x0600, _Kind.AE),
        "priority": _Element(0x0700, _Kind.US),
        "status": _Element(0x0900, _Kind.US),
        "offending_elements": _Element(0x0901, _Kind.AT),
        "error_comment": _Element(0x0902, _Kind.LO),
        "affected_sop_instance": _Element(0x1000, _Kind.UI),
        "remaining": _Element(0x1020, _Kind.US),
        "completed": _Element(0x1021, _Kind.US),
        "failed": _Element(0x1022, _Kind.US),
        "warning": _Element(0x1023, _Kind.US),
        "move_originator": _Element(0x1030, _Kind.AE),
        "move_originator_message_id": _Element(0x1031, _Kind.US),
    }
)


class DataSet(Enum):
    """Whether a kind of message has a data set after its command."""

    NEVER = auto()
    ALWAYS = auto()
    SOMETIMES = auto()  # the field ``has_data_set`` says


@dataclass(frozen=True, slots=True)
class SubOperations:
    """How far a C-GET or C-MOVE is; each number saturates at 65535 on the wire."""

    remaining: int = 0
    completed: int = 0
    failed: int = 0
    warning: int = 0


class _Encodes:
    """What all messages share; ``COMMAND_FIELD`` is that of PS3.7 Table E.1-1."""

    __slots__ = ()
    COMMAND_FIELD: ClassVar[int]
    DATA_SET: ClassVar[DataSet] = DataSet.NEVER

    def encode(self) -> bytes:
        """Return the command set with its group length (PS3.7 §6.3.1)."""
        return _encode_message(self)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, kw_only=True)
class CEchoRSP(_Encodes):
    """PS3.7 §9.3.5.2."""

    COMMAND_FIELD: ClassVar[int] = 0x8030

    responds_to: int
    status: int
    affected_sop_class: UID | None = None
    error_comment: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CEchoRQ(_Encodes):
    """PS3.7 §9.3.5.1."""

    COMMAND_FIELD: ClassVar[int] = 0x0030

    message_id: int
    affected_sop_class: UID

    def response(self, status: int = SUCCESS) -> CEchoRSP:
        """Return the answer."""
        return CEchoRSP(
            responds_to=self.message_id,
            status=status,
            affected_sop_class=self.affected_sop_class,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CStoreRSP(_Encodes):
    """PS3.7 §9.3.1.2."""

    COMMAND_FIELD: ClassVar[int] = 0x8001

    responds_to: int
    status: int
    affected_sop_class: UID | None = None
    affected_sop_instance: UID | None = None
    offending_elements: tuple[int, ...] | None = None
    error_comment: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CStoreRQ(_Encodes):
    """PS3.7 §9.3.1.1."""

    COMMAND_FIELD: ClassVar[int] = 0x0001
    DATA_SET: ClassVar[DataSet] = DataSet.ALWAYS

    message_id: int
    affected_sop_class: UID
    affected_sop_instance: UID
    priority: int = Priority.MEDIUM
    move_originator: AETitle | None = None
    move_originator_message_id: int | None = None

    def response(self, status: int, *, error_comment: str | None = None) -> CStoreRSP:
        """Return the answer; the comment goes to the peer, so no patient data."""
        return CStoreRSP(
            responds_to=self.message_id,
            status=status,
            affected_sop_class=self.affected_sop_class,
            affected_sop_instance=self.affected_sop_instance,
            error_comment=error_comment,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CFindRSP(_Encodes):
    """PS3.7 §9.3.2.2."""

    COMMAND_FIELD: ClassVar[int] = 0x8020
    DATA_SET: ClassVar[DataSet] = DataSet.SOMETIMES

    responds_to: int
    status: int
    affected_sop_class: UID | None = None
    offending_elements: tuple[int, ...] | None = None
    error_comment: str | None = None
    has_data_set: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CFindRQ(_Encodes):
    """PS3.7 §9.3.2.1."""

    COMMAND_FIELD: ClassVar[int] = 0x0020
    DATA_SET: ClassVar[DataSet] = DataSet.ALWAYS

    message_id: int
    affected_sop_class: UID
    priority: int = Priority.MEDIUM

    def response(
        self,
        status: int,
        *,
        has_data_set: bool = False,
        error_comment: str | None = None,
    ) -> CFindRSP:
        """Return an answer; those that are pending have a data set."""
        return CFindRSP(
            responds_to=self.message_id,
            status=status,
            affected_sop_class=self.affected_sop_class,
            error_comment=error_comment,
            has_data_set=has_data_set,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CGetRSP(_Encodes):
    """PS3.7 §9.3.3.2; a data set lists the instances that failed."""

    COMMAND_FIELD: ClassVar[int] = 0x8010
    DATA_SET: ClassVar[DataSet] = DataSet.SOMETIMES

    responds_to: int
    status: int
    affected_sop_class: UID | None = None
    offending_elements: tuple[int, ...] | None = None
    error_comment: str | None = None
    remaining: int | None = None
    completed: int | None = None
    failed: int | None = None
    warning: int | None = None
    has_data_set: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CGetRQ(_Encodes):
    """PS3.7 §9.3.3.1."""

    COMMAND_FIELD: ClassVar[int] = 0x0010
    DATA_SET: ClassVar[DataSet] = DataSet.ALWAYS

    message_id: int
    affected_sop_class: UID
    priority: int = Priority.MEDIUM

    def response(
        self,
        status: int,
        counts: SubOperations | None = None,
        *,
        has_data_set: bool = False,
        error_comment: str | None = None,
    ) -> CGetRSP:
        """Return an answer; ``remaining`` is told only while it can be (C.4.3.1.4)."""
        return CGetRSP(
            responds_to=self.message_id,
            status=status,
            affected_sop_class=self.affected_sop_class,
            error_comment=error_comment,
            has_data_set=has_data_set,
            **_counts(status, counts),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CMoveRSP(_Encodes):
    """PS3.7 §9.3.4.2; a data set lists the instances that failed."""

    COMMAND_FIELD: ClassVar[int] = 0x8021
    DATA_SET: ClassVar[DataSet] = DataSet.SOMETIMES

    responds_to: int
    status: int
    affected_sop_class: UID | None = None
    offending_elements: tuple[int, ...] | None = None
    error_comment: str | None = None
    remaining: int | None = None
    completed: int | None = None
    failed: int | None = None
    warning: int | None = None
    has_data_set: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CMoveRQ(_Encodes):
    """PS3.7 §9.3.4.1."""

    COMMAND_FIELD: ClassVar[int] = 0x0021
    DATA_SET: ClassVar[DataSet] = DataSet.ALWAYS

    message_id: int
    affected_sop_class: UID
    move_destination: AETitle
    priority: int = Priority.MEDIUM

    def response(
        self,
        status: int,
        counts: SubOperations | None = None,
        *,
        has_data_set: bool = False,
        error_comment: str | None = None,
    ) -> CMoveRSP:
        """Return an answer; ``remaining`` is told only while it can be (C.4.2.1.6)."""
        return CMoveRSP(
            responds_to=self.message_id,
            status=status,
            affected_sop_class=self.affected_sop_class,
            error_comment=error_comment,
            has_data_set=has_data_set,
            **_counts(status, counts),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CCancelRQ(_Encodes):
    """C-FIND-, C-GET- and C-MOVE-CANCEL (PS3.7 §9.3.2.3); it has no answer."""

    COMMAND_FIELD: ClassVar[int] = 0x0FFF

    responds_to: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherRSP(_Encodes):
    """The refusal of an ``OtherRQ``; its command field is the request's."""

    DATA_SET: ClassVar[DataSet] = DataSet.NEVER

    command_field: int
    responds_to: int
    status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherRQ(_Encodes):
    """A request of a service that is not ours, such as DIMSE-N; received only."""

    DATA_SET: ClassVar[DataSet] = DataSet.SOMETIMES

    command_field: int
    message_id: int
    has_data_set: bool = False

    def response(self, status: int = UNRECOGNIZED_OPERATION) -> OtherRSP:
        """Return the answer, by default that nobody here knows this."""
        return OtherRSP(
            command_field=self.command_field | _RESPONSE,
            responds_to=self.message_id,
            status=status,
        )


Message = (
    CEchoRQ
    | CEchoRSP
    | CStoreRQ
    | CStoreRSP
    | CFindRQ
    | CFindRSP
    | CGetRQ
    | CGetRSP
    | CMoveRQ
    | CMoveRSP
    | CCancelRQ
    | OtherRQ
    | OtherRSP
)

_CLASSES: Final[tuple[type[Message], ...]] = (
    CEchoRQ,
    CEchoRSP,
    CStoreRQ,
    CStoreRSP,
    CFindRQ,
    CFindRSP,
    CGetRQ,
    CGetRSP,
    CMoveRQ,
    CMoveRSP,
    CCancelRQ,
)
_BY_COMMAND_FIELD: Final = {cls.COMMAND_FIELD: cls for cls in _CLASSES}


class _Row(NamedTuple):
    name: str
    number: int
    kind: _Kind
    is_required: bool


# The elements of each kind of message, ascending as PS3.7 §6.3.1 asks.
_LAYOUTS: Final[Mapping[type[Message], tuple[_Row, ...]]] = MappingProxyType(
    {
        cls: tuple(
            sorted(
                (
                    _Row(f.name, *_ELEMENTS[f.name], is_required=f.default is MISSING)
                    for f in fields(cls)
                    if f.name in _ELEMENTS
                ),
                key=lambda row: row.number,
            )
        )
        for cls in (*_CLASSES, OtherRQ, OtherRSP)
    }
)


def decode_message(data: bytes) -> Message:
    """Read a whole command set.

    Raises:
        PeerError: It is malformed, lacks what its kind must have, or is the
            response to something that we never ask.
    """
    elements = _decode_elements(data)
    command_field = _decode_us(elements.get(_COMMAND_FIELD, b""))
    has_data_set = _decode_us(elements.get(_DATA_SET_TYPE, b"")) != _NO_DATA_SET
    cls: type[Message] | None = _BY_COMMAND_FIELD.get(command_field)
    values: dict[str, Any] = {}
    if cls is None:
        if command_field & _RESPONSE:
            raise PeerError("response to a kind of request that was never sent")
        cls = OtherRQ
        values["command_field"] = command_field
    if cls.DATA_SET is DataSet.SOMETIMES:
        values["has_data_set"] = has_data_set
    elif has_data_set is not (cls.DATA_SET is DataSet.ALWAYS):
        raise PeerError(f"{cls.__name__} with or without data set against its kind")
    for name, number, kind, is_required in _LAYOUTS[cls]:
        raw = elements.get(number)
        if raw:
            values[name] = _DECODERS[kind](raw)
        elif is_required:
            raise PeerError(f"{cls.__name__} lacks (0000,{number:04X})")
    return cls(**values)


def _decode_elements(data: bytes) -> dict[int, bytes]:
    """Return the raw values by element number.

    The group length is not compared: where the command set ends is known from
    its last fragment, and old devices are known to count wrongly.
    """
    elements: dict[int, bytes] = {}
    at, end = 0, len(data)
    while at < end:
        if end - at < _ELEMENT.size:
            raise PeerError("command set is cut short")
        group, number, length = _ELEMENT.unpack_from(data, at)
        at += _ELEMENT.size
        if group != 0:
            raise PeerError("command set has an element of another group")
        if length > end - at:
            raise PeerError("command element overruns the command set")
        if number in elements:  # two answers to one question: trust neither
            raise PeerError("command element occurs twice")
        elements[number] = data[at : at + length]
        at += length
    return elements


def _encode_message(message: Message) -> bytes:
    has_data_set = _has_data_set(message)
    if isinstance(message, OtherRQ | OtherRSP):
        command_field = message.command_field
    else:
        command_field = message.COMMAND_FIELD
    parts = {
        _COMMAND_FIELD: _US.pack(command_field),
        _DATA_SET_TYPE: _US.pack(_SOME_DATA_SET if has_data_set else _NO_DATA_SET),
    }
    for name, number, kind, _ in _LAYOUTS[type(message)]:
        value = getattr(message, name)
        if value is not None:
            parts[number] = _ENCODERS[kind](value)
    body = b"".join(
        _ELEMENT.pack(0, number, len(parts[number])) + parts[number]
        for number in sorted(parts)
    )
    return _ELEMENT.pack(0, _GROUP_LENGTH, _UL.size) + _UL.pack(len(body)) + body


def _decode_us(raw: bytes) -> int:
    if len(raw) != _US.size:
        raise PeerError("command element is not one 16-bit number")
    number: int = _US.unpack(raw)[0]
    return number


def _decode_lo(raw: bytes) -> str:
    return raw[: 2 * _COMMENT_CHARACTERS_MAX].decode("ascii", "replace").strip("\0 ")


def _decode_at(raw: bytes) -> tuple[int, ...]:
    if len(raw) % _TAG.size:
        raise PeerError("command element is not a list of tags")
    return tuple(group << 16 | element for group, element in _TAG.iter_unpack(raw))


def _encode_ui(value: UID) -> bytes:
    return _even(value.encode("ascii"), b"\0")


def _encode_ae(value: AETitle) -> bytes:
    return _even(value.text.encode("ascii"), b" ")


def _encode_lo(value: str) -> bytes:
    # Comments name clauses; of what stands in them, "§" alone is not ASCII.
    ascii_only = value.replace("§", "").encode("ascii", "replace")
    return _even(ascii_only[:_COMMENT_CHARACTERS_MAX], b" ")


def _encode_at(value: tuple[int, ...]) -> bytes:
    return b"".join(_TAG.pack(tag >> 16, tag & 0xFFFF) for tag in value)


def _even(value: bytes, pad: bytes) -> bytes:
    return value + pad if len(value) % 2 else value


_DECODERS: Final[Mapping[_Kind, Callable[[bytes], Any]]] = MappingProxyType(
    {
        _Kind.US: _decode_us,
        _Kind.UI: UID.decode,
        _Kind.AE: AETitle.decode,
        _Kind.LO: _decode_lo,
        _Kind.AT: _decode_at,
    }
)
_ENCODERS: Final[Mapping[_Kind, Callable[[Any], bytes]]] = MappingProxyType(
    {
        _Kind.US: _US.pack,
        _Kind.UI: _encode_ui,
        _Kind.AE: _encode_ae,
        _Kind.LO: _encode_lo,
        _Kind.AT: _encode_at,
    }
)


def _counts(status: int, counts: SubOperations | None) -> dict[str, Any]:
    if counts is None:
        return {}
    told = {
        "completed": min(counts.completed, 0xFFFF),
        "failed": min(counts.failed, 0xFFFF),
        "warning": min(counts.warning, 0xFFFF),
    }
    if category(status) in {Category.PENDING, Category.CANCEL}:
        told["remaining"] = min(counts.remaining, 0xFFFF)
    return told


class Command(NamedTuple):
    """A whole command; if it has a data set, ``DataSetBytes`` follow."""

    context_id: int
    message: Message


class DataSetBytes(NamedTuple):
    """Part of the data set of the last command.

    The data set of a C-STORE-RQ comes as it is received; ``data`` is valid until
    the association's next ``space()`` or ``receive()``. Every other data set (an
    identifier) comes whole, in one piece that stays valid.
    """

    context_id: int
    data: memoryview
    is_last: bool


class Messages:
    """Puts one association's fragments together, keeping their order (PS3.7 §6.3.1).

    A ``PeerError`` from here is DIMSE's, not the upper layer's: the shell then
    calls ``Association.abort()``, whose source is the service user.
    """

    def __init__(
        self, *, identifier_length_bytes_max: int = IDENTIFIER_LENGTH_BYTES_MAX
    ) -> None:
        self._identifier_max = identifier_length_bytes_max
        self._context_id = 0  # of the message under way, if there is one
        self._awaits_data = False
        self._command = bytearray()
        self._is_in_command = False
        self._identifier: bytearray | None = None  # None: the data set streams

    @property
    def is_idle(self) -> bool:
        """No message is under way."""
        return not (self._awaits_data or self._is_in_command)

    def take(self, fragment: Fragment) -> Command | DataSetBytes | None:
        """Return what the fragment completes or carries, if anything.

        HOT: once per fragment of a C-STORE.

        Raises:
            PeerError: It is out of order, or a limit is passed.
        """
        context_id, is_command, is_last, data = fragment
        if is_command:
            return self._take_command(fragment)
        if not self._awaits_data or context_id != self._context_id:
            raise PeerError("data set fragment without its command")
        if is_last:
            self._awaits_data = False
        if self._identifier is None:
            return DataSetBytes(context_id, data, is_last)
        if len(self._identifier) + len(data) > self._identifier_max:
            raise PeerError(f"identifier of more than {self._identifier_max} bytes")
        self._identifier += data
        if not is_last:
            return None
        return DataSetBytes(context_id, memoryview(self._identifier), is_last=True)

    def _take_command(self, fragment: Fragment) -> Command | None:
        context_id, _, is_last, data = fragment
        if self._awaits_data:
            raise PeerError("command fragment amid a data set")
        if self._is_in_command and context_id != self._context_id:
            raise PeerError("command fragment of another context")
        if len(self._command) + len(data) > COMMAND_LENGTH_BYTES_MAX:
            raise PeerError(f"command of more than {COMMAND_LENGTH_BYTES_MAX} bytes")
        self._context_id = context_id
        self._command += data
        self._is_in_command = not is_last
        if not is_last:
            return None
        message = decode_message(bytes(self._command))
        self._command.clear()
        self._awaits_data = _has_data_set(message)
        self._identifier = None if isinstance(message, CStoreRQ) else bytearray()
        return Command(context_id, message)


def _has_data_set(message: Message) -> bool:
    if message.DATA_SET is DataSet.SOMETIMES:
        return message.has_data_set  # type: ignore[union-attr]
    return message.DATA_SET is DataSet.ALWAYS
