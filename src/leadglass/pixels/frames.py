"""Where a frame lies in a stored data set, found without reading the others.

On the node's side of the wall: only lengths are followed here, nothing is decoded.
A native frame is arithmetic; a compressed one is found by the offset tables
(PS3.3 C.7.6.3.1.8, PS3.5 §A.4), or by walking from fragment to fragment.
"""

import struct
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from leadglass.dicom.uids import UID
from leadglass.errors import BadData, NotFound
from leadglass.pixels.codecs import CODECS
from leadglass.pixels.codestreams import begins_frame
from leadglass.pixels.elements import (
    DELIMITERS,
    ITEM,
    ITEM_END,
    PIXEL_DATA,
    SEQUENCE_END,
    UNDEFINED_LENGTH,
    Element,
    read_element,
)
from leadglass.pixels.faults import Fault, Undecodable, error_of
from leadglass.pixels.images import DESCRIPTION, PIXEL_REPRESENTATION, Image
from leadglass.pixels.representations import (
    SWAPPED_BYTES,
    Form,
    Representations,
    swapped,
)
from leadglass.pixels.rewrite import (
    COMPRESSED_SLACK_BYTES,
    DEFLATED_EXPLICIT_VR_LE,
    ENCAPSULATED,
    EXPLICIT_VR_LE,
    IMPLICIT_VR_LE,
    NATIVE,
    OFFSET_TABLE_BYTES_MAX,
)
from leadglass.pixels.source import Source, inflated

EXTENDED_OFFSETS = 0x7FE0_0001
EXTENDED_LENGTHS = 0x7FE0_0002
PER_FRAME_GROUPS = 0x5200_9230

# One ranged read while walking elements: most headers, little of their values.
WINDOW_BYTES = 16 * 1024
# What tells whether a codestream begins: the longest signature.
SIGNATURE_BYTES = 12
CHUNK_BYTES = 1 << 20  # how much of a frame is read at once
# A description is a few bytes; what claims more is none.
DESCRIPTION_VALUE_BYTES_MAX = 64
# Headers that one walk follows: a slide's functional groups have about 1.5 million.
ELEMENTS_MAX = 4_000_000
# Fragments of an image without an offset table; 16 bytes of memory for each.
FRAGMENTS_MAX = 1 << 20

# What rendering reads beside the pixels, apart from the per-frame groups: image
# pixel, LUTs and padding; presentation LUTs; shared groups; frame times.
_HEAD_GROUPS = frozenset({0x0028, 0x2050, *range(0x6000, 0x6020, 2)})
_HEAD_TAGS = frozenset(
    {0x0008_2144, 0x0018_0040, 0x0018_1063, 0x0018_1065, 0x5200_9229}
)
_EXPLICIT = NATIVE[EXPLICIT_VR_LE]


class Ranged(Protocol):
    """Stored bytes that can be read anywhere; a ``BlobReader`` is one."""

    @property
    def size(self) -> int:
        """Length in bytes."""
        ...

    def read(self, offset: int, length: int) -> bytes:
        """Return exactly that range."""
        ...


@dataclass(frozen=True, slots=True)
class Extent:
    """A range of stored bytes."""

    offset: int
    length: int

    @property
    def end(self) -> int:
        """The first offset behind it."""
        return self.offset + self.length


@dataclass(frozen=True, slots=True)
class Place:
    """Where one frame lies: its fragments in order.

    Attributes:
        bit: Where in the first bytes a native frame begins, once those of big-endian
            words have been turned round.
    """

    parts: tuple[Extent, ...]
    bit: int = 0

    @property
    def length(self) -> int:
        """Bytes of all parts."""
        return sum(part.length for part in self.parts)


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """What a walk over the elements of a data set has found.

    Attributes:
        pixels: The value of Pixel Data; of compressed ones all up to the end.
        head: Elements that rendering reads, whole, as they stand.
        per_frame: From the items of the per-frame functional groups on.
        extended: Values of Extended Offset Table and its lengths.
    """

    syntax: UID
    form: Form
    image: Image
    pixels: Extent
    pixels_vr: bytes
    head: tuple[Extent, ...]
    per_frame: Extent | None
    extended: tuple[Extent, Extent] | None

    @property
    def is_encapsulated(self) -> bool:
        """Whether frames are compressed, or wrapped as if they were."""
        return self.syntax in ENCAPSULATED

    @property
    def is_in_big_endian_words(self) -> bool:
        """Whether native samples must be turned round to be read."""
        return self.form.is_big_endian and self.pixels_vr == b"OW"


class Frames:
    """The frames of one stored data set. For one thread; numbers begin at 1."""

    def __init__(  # noqa: PLR0913  # what is read, within which limits
        self,
        source: Ranged,
        syntax: UID,
        *,
        start: int = 0,
        sequence_depth_max: int = 32,
        inflated_bytes_max: int = 2 << 30,
        layout: Layout | None = None,
    ) -> None:
        """Find the pixel data.

        Args:
            source: Where it is read from.
            syntax: How it is encoded.
            start: Where the data set begins.
            sequence_depth_max: Sequences in each other.
            inflated_bytes_max: Of a deflated data set.
            layout: What was found in these very bytes before: nothing is looked for.

        Raises:
            NotFound: The instance has no pixel data.
            BadData: The data set is broken, or there is no such image.
        """
        if syntax not in ENCAPSULATED and syntax not in NATIVE:
            raise BadData("there is no decoder for this transfer syntax")
        if syntax == DEFLATED_EXPLICIT_VR_LE:
            source, start = Inflated(source, start, inflated_bytes_max), 0
        self._source = source
        self._group_starts, self._group_ends = array("Q"), array("Q")
        self._groups: _Walk | None = None
        self._fragments: _Fragments | None = None
        if layout is None:
            walk = _Walk(source, start, source.size, sequence_depth_max)
            try:
                layout = walk.layout(syntax)
            except Undecodable as error:
                raise error_of(error.fault) from None
        self.layout = layout
        groups = self.layout.per_frame
        if groups is not None:
            self._groups = _Walk(source, groups.offset, groups.end, sequence_depth_max)

    @property
    def count(self) -> int:
        """How many frames the data set says that there are."""
        return self.layout.image.frames

    def place(self, number: int) -> Place:
        """Find a frame.

        Raises:
            NotFound: There is no such frame.
            BadData: It is not where the data set says, or too large.
        """
        if not 1 <= number <= self.count:
            raise NotFound("the instance has no such frame")
        try:
            if self.layout.is_encapsulated:
                return self._limited(self._encapsulated(number - 1))
            return self._native(number - 1)
        except Undecodable as error:
            raise error_of(error.fault) from None

    def chunks(self, place: Place) -> Iterator[bytes]:
        """Yield the bytes of a frame as they are stored, a bounded piece at a time."""
        for part in place.parts:
            for at in range(part.offset, part.end, CHUNK_BYTES):
                yield self._source.read(at, min(CHUNK_BYTES, part.end - at))

    def head(self, bytes_max: int) -> bytes:
        """Return the elements that rendering reads, as they stand.

        Raises:
            BadData: They are more than ``bytes_max``.
        """
        return self._joined(self.layout.head, bytes_max)

    def group_of(self, number: int, bytes_max: int) -> bytes:
        """Return the per-frame functional groups of a frame; empty: it has none.

        Raises:
            BadData: The sequence is broken, or the item longer than ``bytes_max``.
        """
        if self._groups is None:
            return b""
        try:
            while len(self._group_ends) < number:
                found = self._groups.item(self.layout.form)
                if found is None:
                    return b""
                self._group_starts.append(found.offset)
                self._group_ends.append(found.end)
        except Undecodable as error:
            raise error_of(error.fault) from None
        start, end = self._group_starts[number - 1], self._group_ends[number - 1]
        return self._joined((Extent(start, end - start),), bytes_max)

    def _joined(self, extents: Iterable[Extent], bytes_max: int) -> bytes:
        wanted = tuple(extents)
        if sum(each.length for each in wanted) > bytes_max:
            raise error_of(Fault.TOO_LARGE)
        return b"".join(self._source.read(each.offset, each.length) for each in wanted)

    # ── native ───────────────────────────────────────────────────────────────

    def _native(self, index: int) -> Place:
        image, pixels = self.layout.image, self.layout.pixels
        bit = 0
        if image.bits_allocated == 1:
            # Frames of single bits follow without a gap (PS3.5 §8.1.1).
            bits = image.rows * image.columns * image.samples
            at, bit = divmod(index * bits, 8)
            length = (bit + bits + 7) // 8
        else:
            at, length = index * image.frame_bytes, image.frame_bytes
        if self.layout.is_in_big_endian_words and image.bits_allocated <= 8:
            # Two bytes have changed places: a frame is found in whole words.
            bit, length = bit + at % 2 * 8, length + at % 2
            at, length = at - at % 2, length + length % 2
        if at + length > pixels.length:
            raise Undecodable(Fault.FRAMES)
        return Place((Extent(pixels.offset + at, length),), bit)

    # ── compressed ───────────────────────────────────────────────────────────

    def _encapsulated(self, index: int) -> Place:
        """Find fragments by the best table there is, else by a walk."""
        if self.layout.extended is not None:
            return self._by_extended_table(*self.layout.extended, index)
        table = self._item(self.layout.pixels.offset)
        if table.length > OFFSET_TABLE_BYTES_MAX:
            raise Undecodable(Fault.TOO_LARGE)
        if table.length == 4 * self.count and self.count > 1:
            found = self._by_basic_table(table, index)
            if found is not None:
                return found
        if self._fragments is None:
            self._fragments = self._walked(table.end)
        return self._fragments.place(index)

    def _by_extended_table(self, offsets: Extent, lengths: Extent, index: int) -> Place:
        """One fragment a frame, with 64-bit offsets (PS3.3 C.7.6.3.1.8 and .9)."""
        if offsets.length != 8 * self.count or lengths.length != offsets.length:
            raise Undecodable(Fault.FRAMES)
        (offset,) = struct.unpack("<Q", self._read(offsets.offset + 8 * index, 8))
        (length,) = struct.unpack("<Q", self._read(lengths.offset + 8 * index, 8))
        first = self._item(self.layout.pixels.offset).end
        fragment = self._item(first + offset)
        # An odd frame has a byte of padding that the table does not count.
        if not length <= fragment.length <= length + 1:
            raise Undecodable(Fault.STRUCTURE)
        return Place((Extent(fragment.offset, length),))

    def _by_basic_table(self, table: Extent, index: int) -> Place | None:
        """Follow the fragments between two offsets; None: it is no such table."""
        first = table.end
        is_last = index == self.count - 1
        at = table.offset + 4 * index
        if self._read(table.offset, 4) != b"\0\0\0\0":
            return None
        raw = self._read(at, 4 if is_last else 8)
        begin, *following = struct.unpack(f"<{len(raw) // 4}I", raw)
        if following and following[0] <= begin:  # offsets of 32 bits have run over
            return None
        end = first + following[0] if following else None
        parts: list[Extent] = []
        for part in self._followed(first + begin, end):
            if len(parts) == FRAGMENTS_MAX:
                raise Undecodable(Fault.TOO_LARGE)
            parts.append(part)
        return Place(tuple(parts))

    def _walked(self, at: int) -> "_Fragments":
        """Look at the head of every fragment, as without a table one must."""
        image = self.layout.image
        found = _Fragments(array("Q"), array("Q"), array("Q"))
        for part in self._followed(at, None):
            if len(found.offsets) == FRAGMENTS_MAX:
                raise Undecodable(Fault.TOO_LARGE)
            if not found.firsts or (image.frames > 1 and self._begins(part)):
                found.firsts.append(len(found.offsets))
            found.offsets.append(part.offset)
            found.lengths.append(part.length)
        if len(found.firsts) != image.frames:
            raise Undecodable(Fault.FRAMES)
        found.firsts.append(len(found.offsets))
        return found

    def _begins(self, part: Extent) -> bool:
        if self.layout.syntax not in CODECS:
            return True  # without a table, a frame of these is one fragment
        return begins_frame(self._read(part.offset, min(part.length, SIGNATURE_BYTES)))

    def _followed(self, at: int, end: int | None) -> Iterator[Extent]:
        """Yield fragments up to an offset, or to the delimiter, empty ones not."""
        while at != end:
            head = self._read(at, 8)
            group, element, length = struct.unpack("<HHI", head)
            tag = group << 16 | element
            if tag == SEQUENCE_END and end is None:
                return
            if tag != ITEM or (end is not None and at + 8 + length > end):
                raise Undecodable(Fault.STRUCTURE)
            part = self._checked(Extent(at + 8, length))
            if length:
                yield part
            at = part.end

    def _item(self, at: int) -> Extent:
        """Read the head of one item; return its content."""
        group, element, length = struct.unpack("<HHI", self._read(at, 8))
        if group << 16 | element != ITEM:
            raise Undecodable(Fault.STRUCTURE)
        return self._checked(Extent(at + 8, length))

    def _checked(self, part: Extent) -> Extent:
        if part.length == UNDEFINED_LENGTH:
            raise Undecodable(Fault.STRUCTURE)
        if part.end > self._source.size:
            raise Undecodable(Fault.TRUNCATED)
        return part

    def _limited(self, place: Place) -> Place:
        """Refuse a compressed frame far larger than the native one."""
        if not place.parts:
            raise Undecodable(Fault.FRAMES)
        if place.length > frame_room_bytes(self.layout.image):
            raise Undecodable(Fault.TOO_LARGE)
        return place

    def _read(self, offset: int, length: int) -> bytes:
        if offset + length > self._source.size:
            raise Undecodable(Fault.TRUNCATED)
        return self._source.read(offset, length)


def frame_room_bytes(image: Image) -> int:
    """How long a stored frame of an image may be, compressed or not."""
    return 2 * max(image.decoded_frame_bytes, image.frame_bytes) + (
        COMPRESSED_SLACK_BYTES
    )


@dataclass(frozen=True, slots=True)
class _Fragments:
    """All fragments, and the number of each frame's first one; its end last."""

    offsets: "array[int]"
    lengths: "array[int]"
    firsts: "array[int]"

    def place(self, index: int) -> Place:
        numbers = range(self.firsts[index], self.firsts[index + 1])
        return Place(tuple(Extent(self.offsets[n], self.lengths[n]) for n in numbers))


class Inflated:
    """A deflated data set as ranges: inflated again from its beginning when needed.

    Nothing is kept, however large it becomes. A frame costs inflating what stands
    before it; deflated images are rare, and small.
    """

    def __init__(self, source: Ranged, start: int, inflated_bytes_max: int) -> None:
        self._source = source
        self._start = start
        self._inflated_bytes_max = inflated_bytes_max
        try:
            self._size = sum(map(len, self._plain()))
        except Undecodable as error:
            raise error_of(error.fault) from None
        self._reading = Source(self._plain())

    @property
    def size(self) -> int:
        """Length after inflating, in bytes."""
        return self._size

    def read(self, offset: int, length: int) -> bytes:
        """Return exactly that range."""
        if offset < self._reading.position:
            self._reading = Source(self._plain())
        try:
            for _ in self._reading.pieces(offset - self._reading.position):
                pass
            return self._reading.read(length)
        except Undecodable as error:
            raise error_of(error.fault) from None

    def _plain(self) -> Iterator[bytes]:
        size = self._source.size
        chunks = (
            self._source.read(at, min(CHUNK_BYTES, size - at))
            for at in range(self._start, size, CHUNK_BYTES)
        )
        return inflated(chunks, self._inflated_bytes_max)


class _Walk:
    """Follows the elements of a data set, reading their heads and little else."""

    def __init__(
        self, source: Ranged, start: int, end: int, sequence_depth_max: int
    ) -> None:
        self._source = source
        self._size = end
        self._at = start
        self._window = b""
        self._window_at = start
        self._left = ELEMENTS_MAX
        self._depth_max = sequence_depth_max
        self._representations = Representations()

    def layout(self, syntax: UID) -> Layout:
        """Go as far as the pixel data.

        Raises:
            NotFound: There is none.
            Undecodable: The data set is broken.
        """
        form = NATIVE.get(syntax, _EXPLICIT)
        values: dict[int, bytes] = {}
        head: list[Extent] = []
        found: dict[int, Extent] = {}
        while self._at < self._size:
            begin = self._at
            element = self._element(form)
            tag = element.tag
            if tag == PIXEL_DATA:
                pixels = self._pixels(element, syntax)
                break
            if tag in DESCRIPTION and element.length <= DESCRIPTION_VALUE_BYTES_MAX:
                self._describe(element, form, values)
            else:
                value_at = self._at
                self._skip(element, form, 0)
                if tag == PER_FRAME_GROUPS and element.vr != b"SQ":
                    continue  # its items are in another form
                found[tag] = Extent(value_at, self._at - value_at)
            if tag >> 16 in _HEAD_GROUPS or tag in _HEAD_TAGS:
                head.append(Extent(begin, self._at - begin))
        else:
            raise NotFound("the instance has no pixel data")
        offsets, lengths = found.get(EXTENDED_OFFSETS), found.get(EXTENDED_LENGTHS)
        extended = None
        if offsets is not None and lengths is not None and offsets.length:
            extended = (offsets, lengths)
        return Layout(
            syntax=syntax,
            form=form,
            image=Image.of(values, None),
            pixels=pixels,
            pixels_vr=element.vr,
            head=tuple(head),
            per_frame=found.get(PER_FRAME_GROUPS),
            extended=extended,
        )

    def item(self, form: Form) -> Extent | None:
        """Return the content of the next item of the sequence here; None: no more.

        Raises:
            Undecodable: The sequence is broken.
        """
        if self._at >= self._size:
            return None
        item = self._element(form)
        if item.tag == SEQUENCE_END:
            self._at = self._size
            return None
        if item.tag != ITEM:
            raise Undecodable(Fault.STRUCTURE)
        begin = self._at
        is_undefined = item.length == UNDEFINED_LENGTH
        self._skip_item(item, form, 0)
        # The delimiter of eight bytes is not part of the content.
        return Extent(begin, self._at - begin - (8 if is_undefined else 0))

    # ── elements ─────────────────────────────────────────────────────────────

    def _element(self, form: Form) -> Element:
        self._left -= 1
        if self._left < 0:
            raise Undecodable(Fault.TOO_LARGE)
        return read_element(self._take, form, self._representations.of)

    def _pixels(self, element: Element, syntax: UID) -> Extent:
        """Check the head of Pixel Data; its value begins here."""
        is_undefined = element.length == UNDEFINED_LENGTH
        if is_undefined != (syntax in ENCAPSULATED):
            raise Undecodable(Fault.STRUCTURE)
        left = self._size - self._at
        if is_undefined:
            return Extent(self._at, left)
        # What was cut off misses in its last frames only; the others are served.
        return Extent(self._at, min(element.length, left))

    def _describe(self, element: Element, form: Form, values: dict[int, bytes]) -> None:
        """Remember a value of the image pixel description, little endian."""
        value = self._take(element.length)
        if form.is_big_endian and element.vr in SWAPPED_BYTES:
            value = swapped(value, SWAPPED_BYTES[element.vr])
        values[element.tag] = value
        if element.tag == PIXEL_REPRESENTATION:
            self._representations.is_signed = value[:1] == b"\1"

    def _skip(self, element: Element, form: Form, depth: int) -> None:
        """Go behind the value of an element."""
        if element.length != UNDEFINED_LENGTH:
            self._forward(element.length)
            return
        if element.vr not in (b"SQ", b"UN") or element.tag >> 16 == DELIMITERS:
            raise Undecodable(Fault.STRUCTURE)
        if depth >= self._depth_max:
            raise Undecodable(Fault.DEPTH)
        if element.vr == b"UN":  # its content is implicit VR (PS3.5 §6.2.2, note 4)
            form = NATIVE[IMPLICIT_VR_LE]
        while (item := self._element(form)).tag != SEQUENCE_END:
            if item.tag != ITEM:
                raise Undecodable(Fault.STRUCTURE)
            self._skip_item(item, form, depth)

    def _skip_item(self, item: Element, form: Form, depth: int) -> None:
        if item.length != UNDEFINED_LENGTH:
            self._forward(item.length)
            return
        while (element := self._element(form)).tag != ITEM_END:
            if element.tag == PIXEL_DATA and element.length == UNDEFINED_LENGTH:
                self._skip_fragments()  # of an icon (PS3.5 §A.4)
            else:
                self._skip(element, form, depth + 1)

    def _skip_fragments(self) -> None:
        while (item := self._element(_EXPLICIT)).tag != SEQUENCE_END:
            if item.tag != ITEM or item.length == UNDEFINED_LENGTH:
                raise Undecodable(Fault.STRUCTURE)
            self._forward(item.length)

    # ── bytes ────────────────────────────────────────────────────────────────

    def _forward(self, length: int) -> None:
        if length > self._size - self._at:
            raise Undecodable(Fault.TRUNCATED)
        self._at += length

    def _take(self, length: int) -> bytes:
        """Take a few bytes, out of a window that moves only when it must."""
        at = self._at
        self._forward(length)
        begin = at - self._window_at
        if begin < 0 or begin + length > len(self._window):
            size = min(WINDOW_BYTES, self._size - at)
            self._window = self._source.read(at, max(size, length))
            self._window_at, begin = at, 0
        return self._window[begin : begin + length]
