"""Reading the header of an instance as it streams by (PS3.5 §7, Annex A).

One pass, constant memory: values that nobody asked for are skipped whatever their
length, pixel data by arithmetic. The structure is walked to its end, so a data set
that is cut short, overruns its lengths or nests without bound is refused, although
its pixels are never looked at.

HOT, and fed with hostile input. What it takes, and why:

* element order is not judged: devices get it wrong, and nothing here depends on it
* an attribute that is wanted and stands twice at the top is refused, and so is one
  that is a sequence where it should be a value: two parsers would see two patients
* a value representation that the standard does not have is refused: parsers differ
  in how long its length is. ``??`` is taken, since they agree on that one
* UN of undefined length is a sequence in Implicit VR (PS3.5 §6.2.2)
* delimiters that software left behind when it changed lengths are passed over
* a data set in Implicit VR that was announced in Explicit VR Little Endian, as some
  writers of compressed images leave it: its first element tells, and no reader of
  Explicit VR could take it for anything else

Work is bounded by what was received: elements per inflated byte have a limit, plain
ones have 8 bytes each.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from struct import Struct
from typing import Final, NamedTuple

from pydicom._dicom_dict import DicomDictionary

from leadglass.dicom.attributes import ATTRIBUTES, BY_KEYWORD, BY_LEVEL, BY_TAG, Level
from leadglass.dicom.dataset import (
    ITEM,
    ITEM_END,
    LONG_VRS,
    SEQUENCE_END,
    SHORT_VRS,
    SPECIFIC_CHARACTER_SET,
    UNDEFINED,
    DataSet,
    Element,
    decode_items,
    split_terms,
    values_of,
    vr_of,
)
from leadglass.dicom.jsonmodel import Json, items_json, values_json
from leadglass.dicom.transfer_syntaxes import (
    EXPLICIT_VR_LE,
    IMPLICIT_VR_LE,
    TRANSFER_SYNTAXES,
    TransferSyntax,
)
from leadglass.dicom.uids import UID
from leadglass.errors import BadData

STUDY_INSTANCE_UID: Final = 0x0020_000D
# Float, double and integer pixel data: the header ends before the first of them.
PIXEL_DATA: Final = frozenset({0x7FE0_0008, 0x7FE0_0009, 0x7FE0_0010})

# Item and sequence, each; real structured reports reach about 12 sequences.
DEPTH_MAX: Final = 2 * 32
# 10,000 frames with 100 elements each in their functional groups are a million.
ELEMENTS_MAX: Final = 2_000_000
# Longest value and sequence that is kept; Patient Comments (LT) may have 10,240
# characters of four bytes. A longer value is no such attribute and is refused; a
# longer sequence is not searched for and not returned.
VALUE_BYTES_MAX: Final = 64 * 1024
# Deflate packs at most 1,032 to 1; a header or a text object packs about 10 to 1,
# blank segmentations much better, whose size is what is free.
INFLATE_RATIO_MAX: Final = 200
INFLATED_BYTES_FREE: Final = 64 * 1024 * 1024  # below this no ratio is judged
INFLATED_BYTES_MAX: Final = 2 * 1024**3
# Walking costs a microsecond per element. Functional groups that differ in nothing
# but a position have about three elements per deflated byte.
ELEMENTS_PER_DEFLATED_BYTE_MAX: Final = 4
DEFLATED_ELEMENTS_FREE: Final = 200_000
# Some encoders leave gzip's checksum and length (8 bytes) behind the data; padding to
# an even length comes on top (PS3.5 §A.5).
DEFLATE_TRAILER_BYTES_MAX: Final = 16
_INFLATE_PIECE_BYTES: Final = 256 * 1024

WANTED: Final = frozenset(each.tag for each in ATTRIBUTES if not each.computed)

_ALWAYS_WANTED: Final = frozenset({SPECIFIC_CHARACTER_SET})
# By whether it is little endian: headers with and without VR, and a long length.
_LAYOUTS: Final = {
    is_little: (Struct(order + "HH2sH"), Struct(order + "HHI"), Struct(order + "I"))
    for is_little, order in ((True, "<"), (False, ">"))
}

_SEQUENCE, _ITEM, _FRAGMENTS = range(3)
_INCOMPLETE: Final = -1  # the header of an element has not wholly come yet
# What has no length that two readers agree on: those of command sets and file meta
# information, and delimiters.
_GROUP_MIN, _GROUP_MAX = 0x0004, 0xFFFD
# Of these the odd groups in between are merely not allowed (PS3.5 §7.8).
_FOREIGN_GROUPS: Final = frozenset({0x0000, 0x0002})
_FIRST_GROUP: Final = 0x0008  # that every data set with a SOP class begins with

_SHORT_TEXTS: Final = {vr: vr.decode("ascii") for vr in SHORT_VRS}
_LONG_TEXTS: Final = {vr: vr.decode("ascii") for vr in LONG_VRS if vr != b"SQ"}
_FRAGMENT_VRS: Final = frozenset({b"OB", b"OW"})
_SEQUENCE_VRS: Final = frozenset({b"SQ", b"UN", b""})
# In Implicit VR only the dictionary tells that a value is a sequence.
_SEQUENCES: Final = frozenset(
    tag for tag, (vr, *_) in DicomDictionary.items() if vr == "SQ"
)
_IMPLICIT: Final = TRANSFER_SYNTAXES[IMPLICIT_VR_LE]
# Values that are kept decoded: those of a few hundred series that arrive at once.
_SHARED_VALUES: Final = 8192
_SHARED_BYTES_MAX: Final = 128


class _Container(NamedTuple):
    """A sequence, an item of one, or encapsulated fragments, that is being read."""

    kind: int
    end: int | None  # offset of its end; None: a delimiter ends it
    limit: int | None  # the nearest defined end around it, its own included
    is_implicit: bool  # how the elements within are encoded


class _Head(NamedTuple):
    """The beginning of an element; ``vr`` is empty in Implicit VR."""

    tag: int
    vr: bytes
    length: int
    value: int  # where in the piece its value begins


class _Capture:
    """A wanted value that does not lie in one piece, or a wanted sequence."""

    __slots__ = ("data", "is_too_long", "mark", "tag", "vr")

    def __init__(self, tag: int, vr: bytes, mark: int) -> None:
        self.tag = tag
        self.vr = vr
        self.mark = mark  # from where in the current piece it goes on
        self.data = bytearray()
        self.is_too_long = False

    def grow(self, piece: bytes | memoryview, end: int) -> None:
        """Add what this piece has of it; give it up if it is too long."""
        if end <= self.mark or self.is_too_long:
            return
        if len(self.data) + end - self.mark > VALUE_BYTES_MAX:
            self.is_too_long = True
            self.data.clear()
            return
        self.data += piece[self.mark : end]
        self.mark = end


@dataclass(frozen=True, slots=True)
class Header:
    """What was read of an instance.

    Attributes:
        elements: The wanted attributes that it has, by tag. The value of a sequence
            is what lies between its header and its end; ``items`` reads it.
        charsets: Its Specific Character Set.
        pixel_data_offset: Where in the data set the pixel data's value begins, after
            inflating if it is deflated; ``None``: it has none.
        pixel_data_length: Length of that value in bytes; ``None``: encapsulated.
        length: Of the whole data set, after inflating.
        transfer_syntax: How it is encoded, which may be in Implicit VR although it
            was announced otherwise.
    """

    elements: dict[int, Element]
    charsets: tuple[str, ...]
    pixel_data_offset: int | None
    pixel_data_length: int | None
    length: int
    transfer_syntax: TransferSyntax = TRANSFER_SYNTAXES[EXPLICIT_VR_LE]
    _json: dict[Level, Json] = field(default_factory=dict, compare=False)

    def texts(self, tag: int) -> list[str]:
        """Return the values of an attribute as text; none of a sequence."""
        element = self.elements.get(tag)
        if element is None or vr_of(tag) == "SQ":
            return []
        return list(self._values(element))

    def _values(self, element: Element) -> tuple[str, ...]:
        """Return values as text; those that many instances share, but once."""
        vr, raw = element
        assert isinstance(raw, bytes)  # that is what the reader puts there
        values = _SHARED if len(raw) <= _SHARED_BYTES_MAX else _values_of
        return values(vr, raw, self.charsets, self.transfer_syntax.little_endian)

    def text(self, key: int | str) -> str:
        """Return the first value of an attribute, by tag or keyword; or ``""``."""
        tag = BY_KEYWORD[key].tag if isinstance(key, str) else key
        element = self.elements.get(tag)
        if element is None or vr_of(tag) == "SQ":
            return ""
        values = self._values(element)
        return values[0] if values else ""

    def items(self, tag: int) -> tuple[DataSet, ...]:
        """Return the items of a sequence; none, if they are more than is kept."""
        element = self.elements.get(tag)
        if element is None or vr_of(tag) != "SQ":
            return ()
        vr, raw = element
        assert isinstance(raw, bytes)  # that is what the reader puts there
        try:
            return decode_items(raw, _IMPLICIT if vr == "UN" else self.transfer_syntax)
        except BadData:
            return ()  # the walk takes deeper and longer ones than are searched

    def uid(self, tag: int) -> UID:
        """Return an attribute that must be a UID.

        Raises:
            BadData: It is missing, or is none.
        """
        element = self.elements.get(tag)
        if element is None or isinstance(element.value, tuple) or not element.value:
            raise BadData(f"no {_name(tag)} in the data set")
        try:
            return UID.decode(element.value)
        except BadData:
            raise BadData(f"{_name(tag)} is not a UID") from None

    def json(self, level: Level) -> Json:
        """Return the attributes of one level in the DICOM JSON model.

        Their value representations are the table's, whatever the data set says.
        """
        known = self._json.get(level)
        if known is None:
            known = self._json[level] = {
                hexadecimal: items_json(self.items(tag), self.charsets)
                if vr == "SQ"
                else _entry(vr, self._values(element))
                for tag, hexadecimal, vr in _ROWS[level]
                if (element := self.elements.get(tag)) is not None
            }
        return known


def _values_of(
    vr: str, raw: bytes, charsets: tuple[str, ...], is_little_endian: bool
) -> tuple[str, ...]:
    return tuple(values_of(vr, raw, charsets, is_little_endian=is_little_endian))


# Most values of an instance are those of the one before it: its series says how many
# rows, its study whose it is.
_SHARED: Final = lru_cache(_SHARED_VALUES)(_values_of)


@lru_cache(_SHARED_VALUES)
def _entry(vr: str, values: tuple[str, ...]) -> Json:
    """Return an attribute's entry; it is shared, so nobody may change it."""
    return values_json(vr, list(values))


_ROWS: Final = {
    level: tuple((each.tag, each.hex, each.vr) for each in table)
    for level, table in BY_LEVEL.items()
}


def _name(tag: int) -> str:
    known = BY_TAG.get(tag)
    return known.keyword if known is not None else "attribute"


class HeaderReader:
    """Takes the bytes of a data set in any pieces; gives its header at the end.

    Attributes:
        study_uid: The Study Instance UID, as soon as it has come by.
        is_done: The pixel data, or what stands in its place, has been reached.
    """

    def __init__(
        self,
        transfer_syntax: TransferSyntax,
        wanted: frozenset[int] = WANTED,
        *,
        depth_max: int = DEPTH_MAX,
        inflated_bytes_max: int = INFLATED_BYTES_MAX,
    ) -> None:
        self.study_uid: UID | None = None
        self.is_done = False
        self._wanted = wanted if wanted is WANTED else wanted | _ALWAYS_WANTED
        self._depth_max = depth_max
        self._syntax = transfer_syntax
        self._explicit, self._implicit, self._long = _LAYOUTS[
            transfer_syntax.little_endian
        ]
        self._elements: dict[int, Element] = {}
        self._stack: list[_Container] = []
        self._base = 0  # offset of the first byte of the current piece
        self._skip = 0  # bytes of a value that are still to come
        self._tail = b""  # the beginning of the header of an element
        self._count = 0
        self._capture: _Capture | None = None
        self._pixels: tuple[int, int | None] | None = None
        self._inflater = (
            zlib.decompressobj(wbits=-15) if transfer_syntax.deflated else None
        )
        self._inflated_max = inflated_bytes_max
        self._deflated = 0
        self._trailer = 0

    # --- bytes in ---------------------------------------------------------------

    def feed(self, data: bytes | memoryview) -> None:
        """Take the next bytes.

        Raises:
            BadData: They cannot be part of a data set, or pass a limit.
        """
        if self._inflater is None:
            self._walk(data)
        else:
            for piece in self._inflate(data):
                self._walk(piece)
                self._judge_work()

    def uid(self, tag: int) -> UID | None:
        """Return a wanted UID that has come by; ``None``: not yet, or it is empty.

        Raises:
            BadData: It is not a UID.
        """
        element = self._elements.get(tag)
        if element is None or not isinstance(element.value, bytes):
            return None
        return UID.decode(element.value) if element.value else None

    def finish(self) -> Header:
        """Return the header of the whole data set.

        Raises:
            BadData: It is cut short.
        """
        if self._inflater is not None and not self._inflater.eof:
            raise BadData("the deflated data set is cut short")
        if self._skip or self._tail:
            raise BadData("the data set is cut short")
        while self._stack and self._stack[-1].end == self._base:
            self._pop(b"", 0)
        if self._stack:
            raise BadData("the data set is cut short")
        if not self._base:
            raise BadData("the data set is empty")
        charset = self._elements.get(SPECIFIC_CHARACTER_SET)
        offset, length = self._pixels or (None, None)
        return Header(
            elements=self._elements,
            charsets=split_terms(charset.value)
            if charset is not None and isinstance(charset.value, bytes)
            else (),
            pixel_data_offset=offset,
            pixel_data_length=length,
            length=self._base,
            transfer_syntax=self._syntax,
        )

    def _inflate(self, data: bytes | memoryview) -> Iterator[bytes]:
        """Yield what the bytes inflate to, a bounded piece at a time.

        What follows its end is kept, but not seen, so it must be short.
        """
        inflater = self._inflater
        assert inflater is not None  # by feed()
        self._deflated += len(data)
        todo: bytes | memoryview = data
        piece = b""
        # A full piece may leave output behind that needs no more input.
        while (todo or len(piece) == _INFLATE_PIECE_BYTES) and not inflater.eof:
            try:
                piece = inflater.decompress(todo, _INFLATE_PIECE_BYTES)
            except zlib.error:
                raise BadData("the deflated data set does not inflate") from None
            todo = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
            total = self._base + len(self._tail) + len(piece)
            if total > self._inflated_max or (
                total > INFLATED_BYTES_FREE
                and total > self._deflated * INFLATE_RATIO_MAX
            ):
                raise BadData("the data set inflates beyond the limit")
            yield piece
        if inflater.eof:
            self._trailer += len(todo)
            if self._trailer > DEFLATE_TRAILER_BYTES_MAX:
                raise BadData("something follows the deflated data set")

    def _judge_work(self) -> None:
        """Refuse more elements than that few bytes can honestly hold."""
        honest = self._deflated * ELEMENTS_PER_DEFLATED_BYTE_MAX
        if self._count > DEFLATED_ELEMENTS_FREE + honest:
            raise BadData("too many elements")

    def _walk(self, data: bytes | memoryview) -> None:
        """Read the elements of the next piece; what is incomplete waits."""
        size = len(data)
        at = self._skip
        if at > size:
            if self._capture is not None:
                self._capture.grow(data, size)
                self._capture.mark = 0
            self._skip -= size
            self._base += size
            return
        self._skip = 0
        if self._tail:
            data = self._tail + bytes(data)
            self._tail = b""
            size = len(data)
        if self._capture is not None and not self._stack:
            self._end_capture(data, at)  # it was the value that has now come
        at = self._run(data, at, size)
        if self._count > ELEMENTS_MAX:
            raise BadData("too many elements")
        if self._capture is not None:
            self._capture.grow(data, min(at, size))
            self._capture.mark = 0
        if at > size:
            self._skip = at - size
            self._base += size
        else:
            self._tail = bytes(data[at:])
            self._base += at

    def _run(self, data: bytes | memoryview, at: int, size: int) -> int:
        """Read elements from ``at`` on; return where the next one begins.

        That may be beyond ``size``: the value before it is still to come.
        """
        stack, base = self._stack, self._base
        while at <= size:
            if not stack:
                end, limit, is_implicit = None, None, self._syntax.implicit_vr
            else:
                kind, end, limit, is_implicit = stack[-1]
                if end is not None and base + at >= end:
                    self._pop(data, at)
                    continue
                if kind != _ITEM:
                    after = self._item(data, at, size, stack[-1])
                    if after == _INCOMPLETE:
                        break
                    at = after
                    continue
            stop = size if limit is None else min(size, limit - base)
            plain = self._plain_implicit if is_implicit else self._plain_explicit
            at = plain(data, at, stop, is_top=not stack)
            if end is not None and base + at >= end:
                continue
            after = self._element(data, at, size, limit, is_implicit=is_implicit)
            if after == _INCOMPLETE:
                break
            at = after
        return at

    # --- plain elements: values that lie whole in the piece --------------------------

    def _plain_explicit(
        self, data: bytes | memoryview, at: int, stop: int, *, is_top: bool
    ) -> int:
        """Read values up to ``stop``; return where the first other thing begins.

        HOT: nothing is decided here; what is not plain is left to ``_element``.
        """
        unpack, elements = self._explicit.unpack_from, self._elements
        wanted = self._wanted if is_top else ()
        last = stop - 12  # the longest header
        count = 0
        while at <= last:
            group, element, vr, length = unpack(data, at)
            value = at + 8
            text = _SHORT_TEXTS.get(vr)
            if text is None:
                text = _LONG_TEXTS.get(vr)
                if text is None:
                    break
                length = self._long.unpack_from(data, value)[0]
                value = at + 12
                if length == UNDEFINED:
                    break
            end = value + length
            if end > stop or not _GROUP_MIN <= group <= _GROUP_MAX:
                break
            tag = group << 16 | element
            if tag in wanted:
                if (
                    length > VALUE_BYTES_MAX
                    or tag in elements
                    or tag in _SEQUENCES
                    or text == "UN"
                ):
                    break
                elements[tag] = Element(text, bytes(data[value:end]))
                if tag == STUDY_INSTANCE_UID:
                    self._note_study()
            elif group == 0x7FE0 and is_top:
                break
            at = end
            count += 1
        self._count += count
        return at

    def _plain_implicit(
        self, data: bytes | memoryview, at: int, stop: int, *, is_top: bool
    ) -> int:
        """Do the same in Implicit VR."""
        unpack, elements = self._implicit.unpack_from, self._elements
        wanted = self._wanted if is_top else ()
        last = stop - 8
        count = 0
        while at <= last:
            group, element, length = unpack(data, at)
            end = at + 8 + length
            tag = group << 16 | element
            if (
                end > stop
                or tag in _SEQUENCES
                or length == UNDEFINED
                or not _GROUP_MIN <= group <= _GROUP_MAX
            ):
                break
            if tag in wanted:
                if length > VALUE_BYTES_MAX or tag in elements:
                    break
                elements[tag] = Element(vr_of(tag), bytes(data[at + 8 : end]))
                if tag == STUDY_INSTANCE_UID:
                    self._note_study()
            elif group == 0x7FE0 and is_top:
                break
            at = end
            count += 1
        self._count += count
        return at

    # --- everything else --------------------------------------------------------------

    def _element(
        self,
        data: bytes | memoryview,
        at: int,
        size: int,
        limit: int | None,
        *,
        is_implicit: bool,
    ) -> int:
        """Read one element of any kind; return where the next header begins."""
        head = self._head(data, at, size, is_implicit=is_implicit)
        if head is None:
            return _INCOMPLETE
        tag, vr, length, value = head
        is_implicit = not vr  # the first element may have told otherwise
        self._count += 1
        if tag >> 16 == 0xFFFE:
            self._delimiter(data, tag, value)
            return value
        is_wanted = False
        if not self._stack:
            is_wanted = tag in self._wanted
            self._judge_top(head)
        end = None if length == UNDEFINED else self._base + value + length
        if end is not None and limit is not None and end > limit:
            raise BadData("an element is longer than what holds it")
        if end is None or vr == b"SQ" or (is_implicit and tag in _SEQUENCES):
            container = self._container(tag, vr, end, limit, is_implicit=is_implicit)
            if is_wanted:
                self._capture = _Capture(tag, vr, value)
            self._push(container)
            return value
        if is_wanted:
            self._take_value(data, head, size)
        return value + length

    def _head(
        self, data: bytes | memoryview, at: int, size: int, *, is_implicit: bool
    ) -> _Head | None:
        """Read the header of an element; ``None``: it has not wholly come."""
        if size - at < 8:
            return None
        if is_implicit:
            group, element, length = self._implicit.unpack_from(data, at)
            return _Head(group << 16 | element, b"", length, at + 8)
        group, element, vr, length = self._explicit.unpack_from(data, at)
        tag = group << 16 | element
        if group == 0xFFFE or vr in SHORT_VRS:
            return _Head(tag, vr, length, at + 8)
        if vr not in LONG_VRS:
            self._turn_implicit(data, at)
            return self._head(data, at, size, is_implicit=True)
        if size - at < 12:
            return None
        return _Head(tag, vr, self._long.unpack_from(data, at + 8)[0], at + 12)

    def _turn_implicit(self, data: bytes | memoryview, at: int) -> None:
        """Read on in Implicit VR, if it is the first element that has no VR."""
        group, _, length = self._implicit.unpack_from(data, at)
        if (
            self._base + at
            or group != _FIRST_GROUP
            or length > VALUE_BYTES_MAX
            or not self._syntax.little_endian
        ):
            raise BadData("an element without a known value representation")
        self._syntax = replace(self._syntax, implicit_vr=True)

    def _judge_top(self, head: _Head) -> None:
        """Judge an element of the data set itself, before its value."""
        tag, vr, length, value = head
        if tag in PIXEL_DATA:
            if self._pixels is not None:
                raise BadData("pixel data stands twice in the data set")
            is_native = length != UNDEFINED
            self._pixels = self._base + value, length if is_native else None
            self.is_done = True
        elif tag >> 16 in _FOREIGN_GROUPS:
            raise BadData("command or file meta elements within the data set")
        elif tag in self._wanted:
            if tag in self._elements:
                raise BadData("an attribute stands twice in the data set")
            is_sequence = vr == b"SQ" or length == UNDEFINED
            if vr not in {b"", b"UN"} and is_sequence != (vr_of(tag) == "SQ"):
                raise BadData("a sequence in place of a value, or the reverse")
            if length == UNDEFINED and vr_of(tag) != "SQ":
                raise BadData("a sequence in place of a value, or the reverse")

    def _push(self, container: _Container) -> None:
        if len(self._stack) >= self._depth_max:
            raise BadData("sequences are nested too deeply")
        self._stack.append(container)

    @staticmethod
    def _container(
        tag: int, vr: bytes, end: int | None, limit: int | None, *, is_implicit: bool
    ) -> _Container:
        """Return the sequence, or the fragments, that an element begins."""
        if end is not None:
            return _Container(_SEQUENCE, end, end, is_implicit)
        if tag in PIXEL_DATA or vr in _FRAGMENT_VRS:
            return _Container(_FRAGMENTS, None, limit, is_implicit)
        if vr not in _SEQUENCE_VRS:
            raise BadData("a value of undefined length that is no sequence")
        # UN of undefined length is a sequence in Implicit VR (PS3.5 §6.2.2).
        return _Container(_SEQUENCE, None, limit, is_implicit or vr == b"UN")

    def _item(
        self, data: bytes | memoryview, at: int, size: int, top: _Container
    ) -> int:
        """Read the header of an item or the end of a sequence; return what is next."""
        if size - at < 8:
            return _INCOMPLETE
        group, element, length = self._implicit.unpack_from(data, at)
        tag = group << 16 | element
        value = at + 8
        self._count += 1
        if tag == SEQUENCE_END:
            if top.end is None:
                self._pop(data, value)
            return value
        if tag != ITEM:
            raise BadData("something else than an item in a sequence")
        if length == UNDEFINED:
            if top.kind == _FRAGMENTS:
                raise BadData("a fragment of undefined length")
            self._push(_Container(_ITEM, None, top.limit, top.is_implicit))
            return value
        end = self._base + value + length
        if top.limit is not None and end > top.limit:
            raise BadData("an item is longer than its sequence")
        if top.kind == _FRAGMENTS:
            return int(value + length)
        self._push(_Container(_ITEM, end, end, top.is_implicit))
        return value

    def _delimiter(self, data: bytes | memoryview, tag: int, value: int) -> None:
        """Take a delimiter that stands where an element may."""
        top = self._stack[-1] if self._stack else None
        if tag == ITEM_END and top is not None and top.kind == _ITEM:
            if top.end is None:
                self._pop(data, value)
            return  # a delimiter at the end of a defined length is harmless
        if tag == SEQUENCE_END and top is None:
            return  # left behind by software that changed lengths; harmless
        raise BadData("a delimiter where none may be")

    def _pop(self, data: bytes | memoryview, at: int) -> None:
        container = self._stack.pop()
        if container.limit is not None and self._base + at > container.limit:
            raise BadData("an element is longer than what holds it")
        if not self._stack and self._capture is not None:
            self._end_capture(data, at)

    # --- wanted values ------------------------------------------------------------

    def _take_value(self, data: bytes | memoryview, head: _Head, size: int) -> None:
        """Keep a wanted value, or begin to gather it."""
        tag, vr, length, value = head
        if length > VALUE_BYTES_MAX and vr_of(tag) != "SQ":
            raise BadData("an attribute is longer than its kind may be")
        end = value + length
        if end > size:
            self._capture = _Capture(tag, vr, value)
        else:
            is_kept = length <= VALUE_BYTES_MAX
            self._store(tag, vr, bytes(data[value:end]) if is_kept else b"")

    def _end_capture(self, data: bytes | memoryview, end: int) -> None:
        capture = self._capture
        assert capture is not None  # the callers look
        capture.grow(data, end)
        self._capture = None
        # A sequence that is too long counts as an empty one.
        self._store(capture.tag, capture.vr, bytes(capture.data))

    def _store(self, tag: int, vr: bytes, raw: bytes) -> None:
        known = vr_of(tag)
        if known == "SQ":
            text = "UN" if vr == b"UN" else "SQ"
        else:
            text = known if vr in {b"", b"UN"} else vr.decode("ascii")
        self._elements[tag] = Element(text, raw)
        if tag == STUDY_INSTANCE_UID:
            self._note_study()

    def _note_study(self) -> None:
        raw = self._elements[STUDY_INSTANCE_UID].value
        if raw and isinstance(raw, bytes):
            self.study_uid = UID.decode(raw)
