"""Lookup tables of a data set: modality, VOI, presentation and palette (PS3.3 C.11).

Only inside worker processes: what a table claims is checked against what is there.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from leadglass.dicom.dataset import DataSet
from leadglass.pixels.faults import Fault, Undecodable

Array = NDArray[Any]

ENTRIES_MAX = 1 << 16  # written as 0 (PS3.3 C.11.1.1)
LUT_DESCRIPTOR = 0x0028_3002
LUT_DATA = 0x0028_3006
# Red, green, blue (PS3.3 C.7.6.3.1.5 and .6, C.7.9.2)
PALETTE_DESCRIPTORS = (0x0028_1101, 0x0028_1102, 0x0028_1103)
PALETTE_DATA = (0x0028_1201, 0x0028_1202, 0x0028_1203)
PALETTE_SEGMENTS = (0x0028_1221, 0x0028_1222, 0x0028_1223)
_SEGMENT_DISCRETE, _SEGMENT_LINEAR, _SEGMENT_INDIRECT = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Lut:
    """A table: the value of ``first`` and all below is the first entry."""

    first: int
    entries: Array
    bits: int

    @classmethod
    def of(
        cls,
        data_set: DataSet,
        descriptor: int,
        data: int,
        segments: int | None = None,
    ) -> Self:
        """Take a table from a little-endian data set.

        Raises:
            Undecodable: It is missing or impossible.
        """
        described = data_set.elements.get(descriptor)
        if described is None or len(described.value) != 6:
            raise Undecodable(Fault.DESCRIPTION)
        # The sign of its first value is that of the VR (PS3.3 C.11.1.1.1).
        layout = "<HhH" if described.vr == "SS" else "<HHH"
        count, first, bits = struct.unpack(layout, _bytes(data_set, descriptor))
        count = count or ENTRIES_MAX
        if not 1 <= bits <= 16:
            raise Undecodable(Fault.DESCRIPTION)
        if segments is not None and data not in data_set:
            words = np.frombuffer(_even(_bytes(data_set, segments)), "<u2")
            return cls(first, _expanded(words.tolist(), count), bits)
        return cls(first, _entries(_bytes(data_set, data), count, bits), bits)

    def __call__(self, values: Array) -> Array:
        """Return the entries of values."""
        index = np.clip(values - self.first, 0, len(self.entries) - 1)
        found: Array = self.entries[np.rint(index).astype(np.intp)]
        return found


def palette(data_set: DataSet) -> tuple[Lut, Lut, Lut]:
    """Take the tables of PALETTE COLOR.

    Raises:
        Undecodable: One is missing or impossible.
    """
    tables = zip(PALETTE_DESCRIPTORS, PALETTE_DATA, PALETTE_SEGMENTS, strict=True)
    red, green, blue = (
        Lut.of(data_set, descriptor, data, segments)
        for descriptor, data, segments in tables
    )
    return red, green, blue


def _bytes(data_set: DataSet, tag: int) -> bytes:
    element = data_set.elements.get(tag)
    if element is None or not isinstance(element.value, bytes):
        raise Undecodable(Fault.DESCRIPTION)
    return element.value


def _even(data: bytes) -> bytes:
    return data[: len(data) - len(data) % 2]


def _entries(data: bytes, count: int, bits: int) -> Array:
    """Read words, or the bytes that entries of eight bits may be packed to."""
    words = np.frombuffer(_even(data), "<u2")
    if len(words) >= count:
        found = words[:count]
        # Some writers double an entry of eight bits to fill its word.
        if bits == 8 and int(found.max()) > 0xFF:
            found = found >> 8
        limited: Array = np.minimum(found, (1 << bits) - 1)
        return limited
    if bits == 8 and len(words) * 2 >= count:
        return words.view(np.uint8)[:count].astype("<u2")
    raise Undecodable(Fault.DESCRIPTION)


def _expanded(words: Sequence[int], count: int) -> Array:
    """Expand a segmented table (PS3.3 C.7.9.2), never further than it may be."""
    found: list[int] = []
    at = 0
    while at < len(words) and len(found) < count:
        at = _segment(words, at, found, count, is_nested=False)
    if len(found) < count:
        raise Undecodable(Fault.DESCRIPTION)
    return np.array(found[:count], "<u2")


def _segment(
    words: Sequence[int], at: int, found: list[int], count: int, *, is_nested: bool
) -> int:
    """Append what one segment says; return where the next begins."""
    if at + 3 > len(words):
        raise Undecodable(Fault.DESCRIPTION)
    code, length = words[at], words[at + 1]
    if length > count - len(found) and code != _SEGMENT_INDIRECT:
        raise Undecodable(Fault.DESCRIPTION)
    if code == _SEGMENT_DISCRETE:
        values = words[at + 2 : at + 2 + length]
        if len(values) < length:
            raise Undecodable(Fault.DESCRIPTION)
        found.extend(values)
        return at + 2 + length
    if code == _SEGMENT_LINEAR and found and length:
        steps = np.linspace(found[-1], words[at + 2], length + 1)[1:]
        found.extend(np.rint(steps).astype(int).tolist())
        return at + 3
    # Copies segments that stand before it; one that copied copies would be a bomb.
    if code == _SEGMENT_INDIRECT and not is_nested and at + 4 <= len(words):
        source = words[at + 2] | words[at + 3] << 16
        for _ in range(length):
            if source >= at or len(found) >= count:
                raise Undecodable(Fault.DESCRIPTION)
            source = _segment(words, source, found, count, is_nested=True)
        return at + 4
    raise Undecodable(Fault.DESCRIPTION)
