"""A stored data set in another transfer syntax, element by element, in one pass.

Nothing is gathered that can be large: values pass through in pieces, sequences
are written with undefined lengths, frames are decoded one at a time. Only where
frames are compressed are the elements before them held back, since decoding
decides what some of them say.
"""

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

from leadglass.pixels.codecs import (
    CODECS,
    DEFLATED_FRAMES,
    RLE_LOSSLESS,
    UNCOMPRESSED_FRAMES,
    Frame,
    decode_frame,
)
from leadglass.pixels.codestreams import begins_frame
from leadglass.pixels.elements import (
    ITEM,
    ITEM_END,
    PIXEL_DATA,
    SEQUENCE_END,
    UNDEFINED_LENGTH,
    Element,
    read_element,
)
from leadglass.pixels.faults import Fault, Undecodable
from leadglass.pixels.images import (
    DESCRIPTION,
    LOSSY_IMAGE_COMPRESSION,
    PHOTOMETRIC_INTERPRETATION,
    PIXEL_REPRESENTATION,
    PLANAR_CONFIGURATION,
    Image,
)
from leadglass.pixels.representations import (
    SWAPPED_BYTES,
    Form,
    Representations,
    element_header,
    swapped,
)
from leadglass.pixels.source import Source, inflated

Write = Callable[[bytes | memoryview], None]

IMPLICIT_VR_LE = "1.2.840.10008.1.2"
EXPLICIT_VR_LE = "1.2.840.10008.1.2.1"
EXPLICIT_VR_BE = "1.2.840.10008.1.2.2"
DEFLATED_EXPLICIT_VR_LE = "1.2.840.10008.1.2.1.99"

NATIVE: Mapping[str, Form] = {
    IMPLICIT_VR_LE: Form(is_implicit=True),
    EXPLICIT_VR_LE: Form(is_implicit=False),
    EXPLICIT_VR_BE: Form(is_implicit=False, is_big_endian=True),
    DEFLATED_EXPLICIT_VR_LE: Form(is_implicit=False),
}
ENCAPSULATED = frozenset({*CODECS, RLE_LOSSLESS, DEFLATED_FRAMES, UNCOMPRESSED_FRAMES})
TARGETS = frozenset({IMPLICIT_VR_LE, EXPLICIT_VR_LE})

# Only beside encapsulated pixel data (PS3.3 C.7.6.3.1.8 and .9).
ENCAPSULATION_TAGS = frozenset({0x7FE0_0001, 0x7FE0_0002, 0x7FE0_0003})
LENGTH_TO_END = 0x0008_0001  # retired, and wrong once anything is written anew

VALUE_WHOLE_BYTES_MAX = 64 * 1024  # longer values pass in pieces
# What stands before compressed frames is held back. The most that is seen there
# are per-frame functional groups, about 1 KiB for each of 50,000 frames.
HELD_BYTES_MAX = 64 << 20
OFFSET_TABLE_BYTES_MAX = 16 << 20  # four bytes a frame: four million frames
# A compressed frame can be larger than the native one when it is noise or tiny:
# headers, tables and a color profile come on top.
COMPRESSED_SLACK_BYTES = 1 << 20

_ITEM_BEGIN = struct.pack("<HHI", 0xFFFE, 0xE000, UNDEFINED_LENGTH)
_ITEM_CLOSE = struct.pack("<HHI", 0xFFFE, 0xE00D, 0)
_SEQUENCE_CLOSE = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What one image may be."""

    decoded_bytes_max: int
    inflated_bytes_max: int
    sequence_depth_max: int


def rewrite(
    chunks: Iterable[bytes], syntax: str, target: str, limits: Limits, write: Write
) -> None:
    """Read a data set in one transfer syntax and write it in another.

    Raises:
        Undecodable: It cannot be read, or its frames cannot be decoded.
        MemoryError: There is not enough.
    """
    if syntax == DEFLATED_EXPLICIT_VR_LE:
        chunks = inflated(chunks, limits.inflated_bytes_max)
    rewriter = _Rewriter(Source(chunks), syntax, NATIVE[target], limits)
    rewriter.data_set(NATIVE.get(syntax, NATIVE[EXPLICIT_VR_LE]), None, 0, write)


class _Held:
    """Elements that wait until the first frame says what they become."""

    def __init__(self) -> None:
        self._elements: list[tuple[int, list[bytes | memoryview]]] = []
        self._bytes = 0

    def begin(self, tag: int) -> None:
        """Let what is written next belong to an element."""
        self._elements.append((tag, []))

    def write(self, data: bytes | memoryview) -> None:
        """Take a part of the element that was begun.

        Raises:
            Undecodable: More is held than is sensible.
        """
        self._bytes += len(data)
        if self._bytes > HELD_BYTES_MAX:
            raise Undecodable(Fault.TOO_LARGE)
        # A view would keep the whole chunk that it was cut from.
        self._elements[-1][1].append(bytes(data))

    def release(self, write: Write, changes: Mapping[int, bytes]) -> None:
        """Write all elements, changed ones anew, in the order of their tags."""
        left = dict(sorted(changes.items()))
        for tag, parts in self._elements:
            for missing in [each for each in left if each < tag]:
                write(left.pop(missing))
            if tag in left:
                write(left.pop(tag))
                continue
            for part in parts:
                write(part)
        for change in left.values():
            write(change)


class _Rewriter:
    """One pass over one data set."""

    def __init__(
        self, source: Source, syntax: str, target: Form, limits: Limits
    ) -> None:
        self._source = source
        self._syntax = syntax
        self._is_encapsulated = syntax in ENCAPSULATED
        self._target = target
        self._limits = limits
        self._representations = Representations()

    def data_set(self, form: Form, end: int | None, depth: int, write: Write) -> None:
        """Rewrite elements up to a position, or the delimiter, or the very end."""
        source = self._source
        if depth > self._limits.sequence_depth_max:
            raise Undecodable(Fault.DEPTH)
        held = _Held() if self._is_encapsulated else None
        values: dict[int, bytes] = {}
        while source.position != end and (depth or not source.at_end()):
            element = self._element(form)
            if element.tag == ITEM_END and depth and end is None:
                break
            if element.length != UNDEFINED_LENGTH:
                _fits(source.position + element.length, end)
            if held is None:
                self._one(element, form, depth, values, write)
            elif element.tag == PIXEL_DATA and element.length == UNDEFINED_LENGTH:
                self._frames(values, held, write)
                held = None
            else:
                held.begin(element.tag)
                self._one(element, form, depth, values, held.write)
            _fits(source.position, end)
        if held is not None:
            held.release(write, {})

    # ── elements ─────────────────────────────────────────────────────────────

    def _element(self, form: Form) -> Element:
        return read_element(self._source.read, form, self._representations.of)

    def _one(
        self,
        element: Element,
        form: Form,
        depth: int,
        values: dict[int, bytes],
        write: Write,
    ) -> None:
        """Rewrite one element whose header was read."""
        tag, vr, length = element.tag, element.vr, element.length
        if tag >> 16 == 0xFFFE or (
            # Beside compressed frames only an icon may be native (PS3.5 §A.4).
            tag == PIXEL_DATA and self._is_encapsulated and not depth
        ):
            raise Undecodable(Fault.STRUCTURE)
        if vr == b"SQ" or (vr == b"UN" and length == UNDEFINED_LENGTH):
            if vr == b"UN":  # its content is implicit VR (PS3.5 §6.2.2, note 4)
                form = NATIVE[IMPLICIT_VR_LE]
            self._sequence(tag, length, form, depth, write)
        elif length == UNDEFINED_LENGTH:
            raise Undecodable(Fault.STRUCTURE)
        elif (
            tag & 0xFFFF == 0  # group lengths, retired and no longer true
            or tag == LENGTH_TO_END
            or (self._is_encapsulated and tag in ENCAPSULATION_TAGS)
        ):
            for _ in self._source.pieces(length):
                pass
        elif length <= VALUE_WHOLE_BYTES_MAX:
            self._short_value(element, form, values, write)
        else:
            write(element_header(vr, tag, length, self._target))
            for piece in self._pieces(length, vr, form):
                write(piece)

    def _short_value(
        self, element: Element, form: Form, values: dict[int, bytes], write: Write
    ) -> None:
        """Rewrite a value that is taken whole; remember it if it describes pixels."""
        tag, vr = element.tag, element.vr
        value = self._source.read(element.length)
        if form.is_big_endian and vr in SWAPPED_BYTES:
            value = swapped(value, SWAPPED_BYTES[vr])
        if tag in DESCRIPTION:
            values[tag] = value
            if tag == PIXEL_REPRESENTATION:
                self._representations.is_signed = value[:1] == b"\1"
        write(element_header(vr, tag, element.length, self._target) + value)

    def _pieces(
        self, length: int, vr: bytes, form: Form
    ) -> Iterator[bytes | memoryview]:
        """Yield a long value in the target's byte order."""
        if not form.is_big_endian or vr not in SWAPPED_BYTES:
            yield from self._source.pieces(length)
            return
        while length:
            block = self._source.read(min(length, VALUE_WHOLE_BYTES_MAX))
            length -= len(block)
            yield swapped(block, SWAPPED_BYTES[vr])

    def _sequence(
        self, tag: int, length: int, form: Form, depth: int, write: Write
    ) -> None:
        """Rewrite a sequence; all lengths become undefined."""
        source = self._source
        end = None if length == UNDEFINED_LENGTH else source.position + length
        write(element_header(b"SQ", tag, UNDEFINED_LENGTH, self._target))
        while source.position != end:
            item = self._element(form)
            if item.tag == SEQUENCE_END and end is None:
                break
            if item.tag != ITEM:
                raise Undecodable(Fault.STRUCTURE)
            item_end = None
            if item.length != UNDEFINED_LENGTH:
                item_end = source.position + item.length
                _fits(item_end, end)
            write(_ITEM_BEGIN)
            self.data_set(form, item_end, depth + 1, write)
            write(_ITEM_CLOSE)
            _fits(source.position, end)
        write(_SEQUENCE_CLOSE)

    # ── compressed frames ────────────────────────────────────────────────────

    def _frames(self, values: Mapping[int, bytes], held: _Held, write: Write) -> None:
        """Decode all frames; the first one decides what the elements before say."""
        image = Image.of(values, self._limits.decoded_bytes_max)
        first: tuple[str, int] | None = None  # color space and bytes of each frame
        count = 0
        for data in self._compressed_frames(image):
            count += 1
            if count > image.frames:
                raise Undecodable(Fault.FRAMES)
            frame = decode_frame(self._syntax, data, image)
            this = (frame.photometric, len(frame.samples))
            if first is None:
                first = this
                held.release(write, self._changes(frame, image))
                self._begin_pixels(image, len(frame.samples), write)
            elif this != first:
                raise Undecodable(Fault.MISMATCH)
            write(frame.samples)
        if first is None or count != image.frames:
            raise Undecodable(Fault.FRAMES)
        if count * first[1] % 2:
            write(b"\0")

    def _changes(self, frame: Frame, image: Image) -> dict[int, bytes]:
        """Make the elements that decoding has changed."""
        changes = {}

        def say(tag: int, vr: bytes, value: bytes) -> None:
            header = element_header(vr, tag, len(value), self._target)
            changes[tag] = header + value

        if frame.photometric != image.photometric:
            text = frame.photometric.encode()
            say(PHOTOMETRIC_INTERPRETATION, b"CS", text + b" " * (len(text) % 2))
        if image.samples > 1:
            say(PLANAR_CONFIGURATION, b"US", struct.pack("<H", frame.planar))
        if frame.is_lossy and image.lossy != "01":
            # The transfer syntax said it until now (PS3.3 C.7.6.1.1.5).
            say(LOSSY_IMAGE_COMPRESSION, b"CS", b"01")
        return changes

    def _begin_pixels(self, image: Image, frame_bytes: int, write: Write) -> None:
        vr = b"OW" if image.bits_allocated > 8 else b"OB"  # PS3.5 §A.2
        length = image.frames * frame_bytes
        write(element_header(vr, PIXEL_DATA, length + length % 2, self._target))

    def _compressed_frames(self, image: Image) -> Iterator[bytes]:
        """Join fragments to frames (PS3.5 §A.4)."""
        starts = self._basic_offset_table(image.frames)
        origin = self._source.position
        parts: list[bytes] = []
        room = 2 * image.decoded_frame_bytes + COMPRESSED_SLACK_BYTES
        left = room
        while True:
            offset = self._source.position - origin
            item = self._element(NATIVE[EXPLICIT_VR_LE])
            if item.tag == SEQUENCE_END:
                break
            if item.tag != ITEM or item.length == UNDEFINED_LENGTH:
                raise Undecodable(Fault.STRUCTURE)
            if item.length > room:
                raise Undecodable(Fault.TOO_LARGE)
            fragment = self._source.read(item.length)
            if not fragment:
                continue
            if parts and self._begins_frame(fragment, offset, starts, image):
                yield b"".join(parts)
                parts, left = [], room
            left -= len(fragment)
            if left < 0:
                raise Undecodable(Fault.TOO_LARGE)
            parts.append(fragment)
        if parts:
            yield b"".join(parts)

    def _begins_frame(
        self, fragment: bytes, offset: int, starts: frozenset[int], image: Image
    ) -> bool:
        if image.frames == 1:
            return False
        if starts:
            return offset in starts
        # Without a table, a frame of these is one fragment; others have a marker.
        return self._syntax not in CODECS or begins_frame(fragment)

    def _basic_offset_table(self, frames: int) -> frozenset[int]:
        """Read the first item; empty when it is, or is no table of these frames."""
        item = self._element(NATIVE[EXPLICIT_VR_LE])
        if item.tag != ITEM or item.length == UNDEFINED_LENGTH:
            raise Undecodable(Fault.STRUCTURE)
        if item.length > OFFSET_TABLE_BYTES_MAX:
            raise Undecodable(Fault.TOO_LARGE)
        table = self._source.read(item.length)
        if len(table) != 4 * frames:
            return frozenset()
        starts = struct.unpack(f"<{frames}I", table)
        is_rising = all(a < b for a, b in pairwise(starts))
        return frozenset(starts) if is_rising and starts[0] == 0 else frozenset()


def _fits(position: int, end: int | None) -> None:
    """Refuse what reaches over the end of what it is in."""
    if end is not None and position > end:
        raise Undecodable(Fault.STRUCTURE)
