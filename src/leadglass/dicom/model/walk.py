"""Reading a whole data set as a stream of events, in constant memory (PS3.5 §7).

``header.HeaderReader`` reads what a node searches for; this reads everything, for
the JSON and XML models. Long values are passed over and told by their range, so that
the pixels of an instance are neither read nor decrypted for its metadata.

What it takes is what the header reader takes, and for the same reasons: any order
of elements, delimiters left behind, UN of undefined length, and Implicit VR that was
announced as Explicit VR Little Endian.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from struct import Struct
from typing import Final, NamedTuple

from pydicom.datadict import dictionary_VR, private_dictionary_VR

from leadglass.dicom.dataset import (
    DELIMITERS,
    ITEM,
    ITEM_END,
    LONG_VRS,
    SEQUENCE_END,
    SHORT_VRS,
    SPECIFIC_CHARACTER_SET,
    UNDEFINED,
    split_terms,
    values_of,
)
from leadglass.dicom.header import DEPTH_MAX, ELEMENTS_MAX, PIXEL_DATA
from leadglass.dicom.model.sources import Source
from leadglass.dicom.transfer_syntaxes import TransferSyntax
from leadglass.errors import BadData

# Values up to this length stand in the metadata; longer ones are bulk data. A
# client asks for few of those, and every one inline is a third longer in base64.
INLINE_BYTES_MAX: Final = 1024
# Text is what metadata is for: it is bulk data only where no honest text is as long.
TEXT_BYTES_MAX: Final = 64 * 1024

PIXEL_REPRESENTATION: Final = 0x0028_0103
_LUT_DESCRIPTOR: Final = 0x0028_3002
_LUT_DATA: Final = 0x0028_3006
_FIRST_GROUP: Final = 0x0008
# Longest first value of Implicit VR that was announced as Explicit, as the header
# reader has it.
_FIRST_VALUE_BYTES_MAX: Final = 64 * 1024
_WINDOW_BYTES: Final = 16 * 1024  # most headers without pixels are shorter

_BINARY: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_PRIVATE_CREATORS: Final = range(0x10, 0x100)  # PS3.5 §7.8.1
_DICTIONARY_UN_BYTES_MAX: Final = 0xFFFE  # a longer UN was too long for its own VR


class Mark(Enum):
    """What has no value of its own."""

    ITEM = "an item begins"
    ITEM_END = "the item ends"
    SEQUENCE_END = "the sequence ends"


class Sequence(NamedTuple):
    """A sequence begins."""

    tag: int
    creator: str


class Value(NamedTuple):
    """One element that is no sequence.

    Attributes:
        tag: Group and element.
        vr: Value representation, as said or as the dictionaries have it.
        creator: Private Creator of a private element, or empty.
        raw: The bytes as they stand; ``None``: bulk data, to be read by its range.
        offset: Where in the (inflated) data set the value begins.
        length: In bytes; of encapsulated pixel data with all item headers, without
            the delimiter at the end.
        path: Of bulk data: tags and item numbers from 1, ``00082112/1/7FE00010``.
        charsets: Specific Character Set that holds here.
        is_little_endian: Byte order.
        is_encapsulated: The value is made of fragments (PS3.5 §A.4).
    """

    tag: int
    vr: str
    creator: str
    raw: bytes | None
    offset: int
    length: int
    path: str
    charsets: tuple[str, ...]
    is_little_endian: bool
    is_encapsulated: bool


Event = Mark | Sequence | Value


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is inline, and how much is read at all."""

    inline_bytes_max: int = INLINE_BYTES_MAX
    text_bytes_max: int = TEXT_BYTES_MAX
    depth_max: int = DEPTH_MAX
    elements_max: int = ELEMENTS_MAX

    def __post_init__(self) -> None:
        if min(self.inline_bytes_max, self.text_bytes_max) < 0 or self.depth_max < 1:
            raise ValueError("bounds are positive")

    def length_max(self, vr: str) -> int:
        """Return how long a value may be and still stand in the metadata."""
        return self.inline_bytes_max if vr in _BINARY else self.text_bytes_max


@dataclass(slots=True)
class _Level:
    """A data set, or a sequence, that is being read."""

    end: int | None  # None: a delimiter ends it
    limit: int  # the nearest end around it
    is_implicit: bool
    is_sequence: bool = False
    tag: int = 0
    items: int = 0
    charsets: tuple[str, ...] = ()
    is_signed: bool = False
    lut_is_one: bool = False
    creators: dict[int, str] = field(default_factory=dict)


def walk(
    source: Source, syntax: TransferSyntax, length: int, bounds: Bounds | None = None
) -> Iterator[Event]:
    """Yield what a data set holds, in its own order.

    Args:
        source: Its bytes; of a deflated one, what they inflate to.
        syntax: How it is encoded.
        length: Of the data set; of a deflated one, any number that is no less.
        bounds: What stands in the events, and the limits.

    Raises:
        BadData: It is malformed, cut short or passes a limit.
    """
    return _Walker(source, syntax, length, bounds or Bounds()).events()


class _Walker:
    def __init__(
        self, source: Source, syntax: TransferSyntax, length: int, bounds: Bounds
    ) -> None:
        order = "<" if syntax.little_endian else ">"
        self._explicit = Struct(order + "HH2sH")
        self._implicit = Struct(order + "HHI")
        self._long = Struct(order + "I")
        self._source = source
        self._is_little = syntax.little_endian
        self._is_deflated = syntax.deflated
        self._bounds = bounds
        self._window = b""
        self._base = 0
        self._at = 0
        self._count = 0
        self._stack = [_Level(None, length, syntax.implicit_vr)]

    # --- bytes --------------------------------------------------------------------

    def _has(self, count: int) -> bool:
        """Tell whether so many bytes are left; they are in the window then."""
        begin = self._at - self._base
        if 0 <= begin <= len(self._window) - count:
            return True
        self._window = self._source.read(self._at, max(count, _WINDOW_BYTES))
        self._base = self._at
        return len(self._window) >= count

    def _need(self, count: int) -> int:
        """Return where in the window the next bytes stand."""
        if not self._has(count):
            raise BadData("the data set is cut short")
        return self._at - self._base

    def _take(self, count: int) -> bytes:
        begin = self._need(count)
        self._at += count
        return self._window[begin : begin + count]

    # --- structure ----------------------------------------------------------------

    def events(self) -> Iterator[Event]:
        while True:
            level = self._stack[-1]
            if level.end is not None and self._at >= level.end:
                yield self._pop()
            elif level.is_sequence:
                yield self._item(level)
            elif len(self._stack) == 1 and self._is_over(level):
                return
            else:
                yield from self._element(level)

    def _is_over(self, top: _Level) -> bool:
        return self._at >= top.limit or not self._has(1)

    def _pop(self) -> Mark:
        level = self._stack.pop()
        if self._at > level.limit:
            raise BadData("an element is longer than what holds it")
        return Mark.SEQUENCE_END if level.is_sequence else Mark.ITEM_END

    def _push(self, level: _Level) -> None:
        if len(self._stack) > self._bounds.depth_max:
            raise BadData("sequences are nested too deeply")
        self._stack.append(level)

    def _note_one(self) -> None:
        self._count += 1
        if self._count > self._bounds.elements_max:
            raise BadData("too many elements")

    def _item(self, sequence: _Level) -> Mark:
        """Read the header of an item, or the end of the sequence."""
        tag, length = self._item_head()
        while tag == SEQUENCE_END:
            if sequence.end is None or self._at >= sequence.end:
                return self._pop()
            tag, length = self._item_head()  # a delimiter that was left behind
        if tag != ITEM:
            raise BadData("something else than an item in a sequence")
        end = None if length == UNDEFINED else self._at + length
        if end is not None and end > sequence.limit:
            raise BadData("an item is longer than its sequence")
        sequence.items += 1
        self._push(
            _Level(
                end,
                sequence.limit if end is None else end,
                sequence.is_implicit,
                charsets=sequence.charsets,
                is_signed=sequence.is_signed,
            )
        )
        return Mark.ITEM

    def _item_head(self) -> tuple[int, int]:
        group, element, length = self._implicit.unpack(self._take(8))
        self._note_one()
        return group << 16 | element, length

    def _element(self, level: _Level) -> Iterator[Event]:
        self._note_one()
        tag, said, length, is_implicit = self._head(level)
        if tag >> 16 == DELIMITERS:
            yield from self._delimiter(tag, level)
            return
        creator = _creator(tag, level)
        vr = said
        if is_implicit or (said == "UN" and length <= _DICTIONARY_UN_BYTES_MAX):
            vr = self._known_vr(tag, creator, level, said)
        end = None if length == UNDEFINED else self._at + length
        if end is not None and (
            end > level.limit and not (self._is_deflated and len(self._stack) == 1)
        ):
            raise BadData("an element is longer than what holds it")
        if end is None and (tag in PIXEL_DATA or said in {"OB", "OW"}):
            yield self._fragments(tag, "OB" if said in {"", "UN"} else said, creator)
            return
        if vr == "SQ" or end is None:
            if end is None and said not in {"", "SQ", "UN"}:
                raise BadData("a value of undefined length that is no sequence")
            self._push(
                _Level(
                    end,
                    level.limit if end is None else end,
                    is_implicit or said == "UN",
                    is_sequence=True,
                    tag=tag,
                    charsets=level.charsets,
                    is_signed=level.is_signed,
                )
            )
            yield Sequence(tag, creator)
            return
        yield self._value(tag, vr, length, creator, level)

    def _head(self, level: _Level) -> tuple[int, str, int, bool]:
        """Read tag, VR (empty in Implicit VR), length; and whether it is implicit."""
        begin = self._need(8)
        group, element, vr, length = self._explicit.unpack_from(self._window, begin)
        tag = group << 16 | element
        is_implicit = level.is_implicit or group == DELIMITERS
        if not is_implicit and vr not in SHORT_VRS and vr not in LONG_VRS:
            self._turn_implicit(group, begin, level)
            is_implicit = True
        if is_implicit:
            length = self._long.unpack_from(self._window, begin + 4)[0]
            self._at += 8
            return tag, "", length, True
        self._at += 8
        if vr in LONG_VRS:
            length = self._long.unpack(self._take(4))[0]
        return tag, "UN" if vr == b"??" else vr.decode("ascii"), length, False

    def _turn_implicit(self, group: int, begin: int, level: _Level) -> None:
        """Read on in Implicit VR, if it is the first element that has no VR."""
        length = self._long.unpack_from(self._window, begin + 4)[0]
        if (
            self._at
            or group != _FIRST_GROUP
            or not self._is_little
            or length > _FIRST_VALUE_BYTES_MAX
        ):
            raise BadData("an element without a known value representation")
        level.is_implicit = True

    def _delimiter(self, tag: int, level: _Level) -> Iterator[Event]:
        is_item = len(self._stack) > 1
        if tag == ITEM_END and is_item:
            if level.end is None:
                yield self._pop()
        elif tag != SEQUENCE_END or is_item:
            raise BadData("a delimiter where none may be")

    # --- values -------------------------------------------------------------------

    def _known_vr(self, tag: int, creator: str, level: _Level, said: str) -> str:
        """Return what the dictionaries say; UN of defined length stays no sequence."""
        vr = _dictionary_vr(tag, creator)
        if vr == "SQ" and said == "UN":
            return "UN"
        if " or " not in vr:
            return vr
        if tag == _LUT_DATA:
            return "US" if level.lut_is_one else "OW"
        if "OW" in vr:  # Implicit VR has words alone (PS3.5 §A.1)
            return "OW"
        return "SS" if level.is_signed else "US"

    def _value(
        self, tag: int, vr: str, length: int, creator: str, level: _Level
    ) -> Value:
        offset = self._at
        raw: bytes | None = None
        path = ""
        if length <= self._bounds.length_max(vr):
            raw = self._take(length)
            self._note(tag, vr, raw, level)
        else:
            path = self._path(tag)
            self._pass(length)
        return Value(
            tag,
            vr,
            creator,
            raw,
            offset,
            length,
            path,
            level.charsets,
            self._is_little,
            is_encapsulated=False,
        )

    def _pass(self, length: int) -> None:
        """Go to the end of a value, which must be there."""
        self._at += length
        if length:
            self._at -= 1
            self._need(1)
            self._at += 1

    def _note(self, tag: int, vr: str, raw: bytes, level: _Level) -> None:
        """Remember what decides how later elements are read."""
        if tag == SPECIFIC_CHARACTER_SET:
            level.charsets = split_terms(raw)
        elif tag == PIXEL_REPRESENTATION:
            level.is_signed = any(raw)
        elif tag == _LUT_DESCRIPTOR:
            level.lut_is_one = (raw[:2] if self._is_little else raw[1::-1]) == b"\1\0"
        elif tag >> 16 & 1 and tag & 0xFFFF in _PRIVATE_CREATORS:
            names = values_of("LO" if vr == "UN" else vr, raw, level.charsets)
            if names:
                level.creators[tag] = names[0]

    def _fragments(self, tag: int, vr: str, creator: str) -> Value:
        """Pass over encapsulated fragments, header by header."""
        level = self._stack[-1]
        offset = self._at
        while True:
            end = self._at
            item, length = self._item_head()
            if item == SEQUENCE_END:
                break
            if item != ITEM or length == UNDEFINED:
                raise BadData("something else than a fragment in pixel data")
            self._pass(length)
        if self._at > level.limit and not self._is_deflated:
            raise BadData("an element is longer than what holds it")
        return Value(
            tag,
            vr,
            creator,
            None,
            offset,
            end - offset,
            self._path(tag),
            level.charsets,
            self._is_little,
            is_encapsulated=True,
        )

    def _path(self, tag: int) -> str:
        steps = (
            f"{each.tag:08X}/{each.items}" for each in self._stack if each.is_sequence
        )
        return "/".join((*steps, f"{tag:08X}"))


def _creator(tag: int, level: _Level) -> str:
    """Return who reserved the block of a private element (PS3.5 §7.8.1)."""
    if not tag >> 16 & 1 or tag & 0xFFFF < 0x1000:
        return ""
    return level.creators.get(tag & 0xFFFF_0000 | tag >> 8 & 0xFF, "")


@lru_cache(maxsize=8192)
def _dictionary_vr(tag: int, creator: str) -> str:
    """Return a VR, or several with `` or ``; ``UN`` for what nobody knows."""
    if tag & 0xFFFF == 0:
        return "UL"  # group length
    if tag >> 16 & 1:
        if tag & 0xFFFF in _PRIVATE_CREATORS:
            return "LO"
        try:
            return str(private_dictionary_VR(tag, creator)) if creator else "UN"
        except KeyError:
            return "UN"
    try:
        return str(dictionary_VR(tag))
    except KeyError:
        return "UN"


def locate(
    source: Source,
    syntax: TransferSyntax,
    length: int,
    path: str,
    bounds: Bounds | None = None,
) -> Value | None:
    """Return the bulk data of a path; ``None``: the data set has none there.

    Raises:
        BadData: The data set is malformed.
    """
    for event in walk(source, syntax, length, bounds):
        if isinstance(event, Value) and event.path == path:
            return event
    return None
