"""Reading the header of an instance as it streams by (PS3.5 §7, Annex A).

One pass, constant memory: values that nobody asked for are skipped whatever their
length, pixel data by arithmetic. The structure is walked to its end, so a data set
that is cut short, overruns its lengths or nests without bound is refused, although
its pixels are never looked at.

HOT, and fed with hostile input. What it takes, and why:

* element order is not judged: devices get it wrong, and nothing here depends on it
* an attribute that is wanted and stands twice at the top is refused: two parsers
  would see two patients
* UN of undefined length is a sequence in Implicit VR (PS3.5 §6.2.2)
"""

import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from struct import Struct
from typing import Final, NamedTuple

from pydicom._dicom_dict import DicomDictionary

from leadglass.dicom.attributes import ATTRIBUTES, BY_KEYWORD, BY_LEVEL, Level
from leadglass.dicom.dataset import (
    ITEM,
    ITEM_END,
    LONG_VRS,
    SEQUENCE_END,
    SPECIFIC_CHARACTER_SET,
    UNDEFINED,
    Element,
    decode_items,
    split_terms,
    values_of,
    vr_of,
)
from leadglass.dicom.jsonmodel import Json, element_json
from leadglass.dicom.transfer_syntaxes import TransferSyntax
from leadglass.dicom.uids import UID
from leadglass.errors import BadData

STUDY_INSTANCE_UID: Final = 0x0020_000D
# Float, double and integer pixel data: the header ends before the first of them.
PIXEL_DATA: Final = frozenset({0x7FE0_0008, 0x7FE0_0009, 0x7FE0_0010})

# Item and sequence, each; real structured reports reach about 12 sequences.
DEPTH_MAX: Final = 2 * 32
# 10,000 frames with 100 elements each in their functional groups are a million.
ELEMENTS_MAX: Final = 4_000_000
# Longest value and sequence that is kept; Patient Comments (LT) may have 10,240
# characters of four bytes. What is longer is not searched for and not returned.
VALUE_BYTES_MAX: Final = 64 * 1024
# Deflate packs at most 1,032 to 1; a header or a text object packs about 10 to 1.
INFLATE_RATIO_MAX: Final = 200
INFLATED_BYTES_FREE: Final = 16 * 1024 * 1024  # below this no ratio is judged
INFLATED_BYTES_MAX: Final = 2 * 1024**3
_INFLATE_PIECE_BYTES: Final = 256 * 1024

WANTED: Final = frozenset(each.tag for each in ATTRIBUTES if not each.computed)

_SEQUENCE, _ITEM, _FRAGMENTS = range(3)
_FRAGMENT_VRS: Final = frozenset({b"OB", b"OW"})
# In Implicit VR only the dictionary tells that a value is a sequence.
_SEQUENCES: Final = frozenset(
    tag for tag, (vr, *_) in DicomDictionary.items() if vr == "SQ"
)


class _Container(NamedTuple):
    """A sequence, an item of one, or encapsulated fragments, that is being read."""

    kind: int
    end: int | None  # offset of its end; None: a delimiter ends it
    limit: int | None  # the nearest defined end around it, its own included
    is_implicit: bool  # how the elements within are encoded


@dataclass(frozen=True, slots=True)
class Header:
    """What was read of an instance.

    Attributes:
        elements: The wanted attributes that it has, by tag.
        charsets: Its Specific Character Set.
        pixel_data_offset: Where in the data set the pixel data's value begins, after
            inflating if it is deflated; ``None``: it has none.
        pixel_data_length: Length of that value in bytes; ``None``: encapsulated.
        length: Of the whole data set, after inflating.
        is_little_endian: How its numbers are encoded.
    """

    elements: dict[int, Element]
    charsets: tuple[str, ...]
    pixel_data_offset: int | None
    pixel_data_length: int | None
    length: int
    is_little_endian: bool = True
    _json: dict[Level, Json] = field(default_factory=dict, compare=False)

    def texts(self, tag: int) -> list[str]:
        """Return the values of an attribute as text."""
        element = self.elements.get(tag)
        if element is None or isinstance(element.value, tuple):
            return []
        return values_of(
            element.vr,
            element.value,
            self.charsets,
            is_little_endian=self.is_little_endian,
        )

    def text(self, key: int | str) -> str:
        """Return the first value of an attribute, by tag or keyword; or ``""``."""
        values = self.texts(BY_KEYWORD[key].tag if isinstance(key, str) else key)
        return values[0] if values else ""

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
        """Return the attributes of one level in the DICOM JSON model."""
        known = self._json.get(level)
        if known is None:
            known = self._json[level] = {
                each.hex: element_json(
                    self.elements[each.tag],
                    self.charsets,
                    is_little_endian=self.is_little_endian,
                )
                for each in BY_LEVEL[level]
                if each.tag in self.elements
            }
        return known


def _name(tag: int) -> str:
    for each in ATTRIBUTES:
        if each.tag == tag:
            return each.keyword
    return "attribute"


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
        self._wanted = wanted | {SPECIFIC_CHARACTER_SET}
        self._depth_max = depth_max
        self._syntax = transfer_syntax
        order = "<" if transfer_syntax.little_endian else ">"
        self._explicit = Struct(order + "HH2sH")
        self._implicit = Struct(order + "HHI")
        self._long = Struct(order + "I")
        self._elements: dict[int, Element] = {}
        self._stack: list[_Container] = []
        self._base = 0  # offset of the next byte that feed() will be given
        self._skip = 0  # bytes of a value that are still to come
        self._tail = b""  # the beginning of an element header
        self._count = 0
        # A wanted value that does not lie in one piece, or a wanted sequence.
        self._capture: bytearray | None = None
        self._captured: tuple[int, bytes] | None = None  # its tag and VR
        self._captures_sequence = False
        self._mark = 0  # from where in the current piece it goes on
        self._pixels: tuple[int, int | None] | None = None
        self._inflater = (
            zlib.decompressobj(wbits=-15) if transfer_syntax.deflated else None
        )
        self._inflated_max = inflated_bytes_max
        self._deflated = 0

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

    def finish(self) -> Header:
        """Return the header of the whole data set.

        Raises:
            BadData: It is cut short.
        """
        if self._inflater is not None and not self._inflater.eof:
            raise BadData("the deflated data set is cut short")
        while self._stack and self._stack[-1].end == self._base - len(self._tail):
            self._pop(b"", 0)
        if self._skip or self._tail or self._stack:
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
            is_little_endian=self._syntax.little_endian,
        )

    def _inflate(self, data: bytes | memoryview) -> Iterator[bytes]:
        """Yield what the bytes inflate to, a bounded piece at a time."""
        inflater = self._inflater
        assert inflater is not None  # by feed()
        self._deflated += len(data)
        todo: bytes | memoryview = data
        while todo and not inflater.eof:
            try:
                piece = inflater.decompress(todo, _INFLATE_PIECE_BYTES)
            except zlib.error:
                raise BadData("the deflated data set does not inflate") from None
            todo = inflater.unconsumed_tail
            total = self._base + len(piece)
            if total > self._inflated_max or (
                total > INFLATED_BYTES_FREE
                and total > self._deflated * INFLATE_RATIO_MAX
            ):
                raise BadData("the data set inflates beyond the limit")
            yield piece

    def _walk(self, data: bytes | memoryview) -> None:
        """Read the elements of the next bytes; what is incomplete waits."""
        size = len(data)
        at = 0
        self._mark = 0
        if self._skip > size:
            self._grow(data, size)
            self._skip -= size
            self._base += size
            return
        if self._skip:
            at, self._skip = self._skip, 0
        elif self._tail:
            data = self._tail + bytes(data)
            self._base -= len(self._tail)
            self._tail = b""
            size = len(data)
        if self._captured is not None and not self._captures_sequence:
            self._store_capture(data, at)
        at = self._elements_of(data, at, size)
        if at > size:
            self._skip = at - size
        else:
            self._tail = bytes(data[at:])
        self._grow(data, min(at, size))
        self._base += size

    def _elements_of(self, data: bytes | memoryview, at: int, size: int) -> int:  # noqa: C901, PLR0912, PLR0915  # HOT: one loop, no calls
        """Read elements from ``at`` on; return where the next one begins.

        That may be beyond ``size``: in the middle of a value that is skipped.
        """
        explicit, implicit = self._explicit.unpack_from, self._implicit.unpack_from
        long, stack, base = self._long.unpack_from, self._stack, self._base
        wanted, is_implicit, limit = self._wanted, self._syntax.implicit_vr, None
        while at <= size:
            if stack:
                top = stack[-1]
                if top.end is not None and base + at >= top.end:
                    self._pop(data, at)
                    continue
                if top.kind != _ITEM:
                    if size - at < 8:
                        break
                    at = self._item(data, at, top)
                    continue
                is_implicit, limit = top.is_implicit, top.limit
            else:
                is_implicit, limit = self._syntax.implicit_vr, None
            if size - at < 8:
                break
            value = at + 8
            if is_implicit:
                group, element, length = implicit(data, at)
                vr = b""
            else:
                group, element, vr, length = explicit(data, at)
                if group == 0xFFFE:
                    length = long(data, at + 4)[0]
                elif vr in LONG_VRS:
                    if size - at < 12:
                        break
                    length = long(data, at + 8)[0]
                    value = at + 12
                elif not (vr.isalpha() and vr.isupper()):
                    raise BadData("an element without value representation")
            tag = group << 16 | element
            self._count += 1
            if self._count > ELEMENTS_MAX:
                raise BadData("too many elements")
            if group == 0xFFFE:
                self._delimiter(data, tag, value)
                at = value
                continue
            if not stack:
                self._at_top(tag, vr, base + value, length)
            if length == UNDEFINED:
                self._open_undefined(data, tag, vr, value, is_implicit=is_implicit)
                at = value
                continue
            end = value + length
            if limit is not None and base + end > limit:
                raise BadData("an element is longer than what holds it")
            if vr == b"SQ" or (is_implicit and tag in _SEQUENCES):
                self._capture_sequence(tag, value)
                self._push(_Container(_SEQUENCE, base + end, base + end, is_implicit))
                at = value
                continue
            if not stack and tag in wanted:
                if end <= size:
                    self._store(tag, vr, bytes(data[value:end]))
                elif length <= VALUE_BYTES_MAX:
                    self._begin_capture(tag, vr, value, is_sequence=False)
            at = end
        return at

    # --- structure ----------------------------------------------------------------

    def _at_top(self, tag: int, vr: bytes, offset: int, length: int) -> None:
        """Judge an element of the data set itself, before its value."""
        if tag in PIXEL_DATA:
            if self._pixels is None:
                self._pixels = offset, None if length == UNDEFINED else length
            self.is_done = True
        elif tag < 0x0004_0000:
            raise BadData("command or file meta elements within the data set")
        elif tag in self._wanted and (
            tag in self._elements
            or (self._captured is not None and self._captured[0] == tag)
        ):
            raise BadData("an attribute stands twice in the data set")
        del vr

    def _push(self, container: _Container) -> None:
        if len(self._stack) >= self._depth_max:
            raise BadData("sequences are nested too deeply")
        self._stack.append(container)

    def _open_undefined(
        self,
        data: bytes | memoryview,
        tag: int,
        vr: bytes,
        value: int,
        *,
        is_implicit: bool,
    ) -> None:
        """Begin a sequence, or fragments, whose end a delimiter marks."""
        del data
        limit = self._stack[-1].limit if self._stack else None
        if tag in PIXEL_DATA or vr in _FRAGMENT_VRS:
            self._push(_Container(_FRAGMENTS, None, limit, is_implicit))
            return
        if vr not in {b"SQ", b"UN", b""}:
            raise BadData("a value of undefined length that is no sequence")
        self._capture_sequence(tag, value)
        # UN of undefined length is a sequence in Implicit VR (PS3.5 §6.2.2).
        self._push(_Container(_SEQUENCE, None, limit, is_implicit or vr == b"UN"))

    def _item(self, data: bytes | memoryview, at: int, top: _Container) -> int:
        """Read the header of an item or the end of a sequence; return what is next."""
        group, element, length = self._implicit.unpack_from(data, at)
        tag = group << 16 | element
        value = at + 8
        self._count += 1
        if self._count > ELEMENTS_MAX:
            raise BadData("too many elements")
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
        if container.end is not None and self._base + at > container.end:
            raise BadData("an element is longer than what holds it")
        if not self._stack and self._captures_sequence:
            self._store_capture(data, at)

    # --- values -------------------------------------------------------------------

    def _store(self, tag: int, vr: bytes, raw: bytes) -> None:
        text = vr.decode("ascii") if vr and vr != b"UN" else vr_of(tag)
        self._elements[tag] = Element(text, raw)
        if tag == STUDY_INSTANCE_UID and raw:
            self.study_uid = UID.decode(raw)

    def _capture_sequence(self, tag: int, value: int) -> None:
        if not self._stack and tag in self._wanted:
            self._begin_capture(tag, b"SQ", value, is_sequence=True)

    def _begin_capture(
        self, tag: int, vr: bytes, value: int, *, is_sequence: bool
    ) -> None:
        self._capture = bytearray()
        self._captured = tag, vr
        self._captures_sequence = is_sequence
        self._mark = value

    def _grow(self, data: bytes | memoryview, end: int) -> None:
        """Add to the capture what this piece has of it; give it up if too long."""
        if self._capture is None or end <= self._mark:
            return
        if len(self._capture) + end - self._mark > VALUE_BYTES_MAX:
            self._capture = None
            return
        self._capture += data[self._mark : end]

    def _store_capture(self, data: bytes | memoryview, end: int) -> None:
        self._grow(data, end)
        assert self._captured is not None  # or there would be nothing to store
        tag, vr = self._captured
        raw = self._capture
        self._capture = self._captured = None
        is_sequence, self._captures_sequence = self._captures_sequence, False
        if raw is None:
            return  # longer than what is kept
        if not is_sequence:
            self._store(tag, vr, bytes(raw))
            return
        # What the walk took may still be more than an answer should hold.
        with suppress(BadData):
            items = decode_items(bytes(raw), self._syntax)
            self._elements[tag] = Element("SQ", items)
