"""Data sets made by hand, honest and not, and how they are read."""

import zlib
from collections.abc import Iterable
from itertools import pairwise
from struct import pack

from leadglass.dicom.header import Header, HeaderReader
from leadglass.dicom.transfer_syntaxes import (
    EXPLICIT_VR_LE,
    TRANSFER_SYNTAXES,
)
from leadglass.dicom.uids import UID
from leadglass.errors import BadData

UNDEFINED = 0xFFFF_FFFF
LONG = {"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"}
STUDY = "1.2.826.0.1.3680043.10.1588.1.1"

# --- made by hand -----------------------------------------------------------------


def explicit(
    tag: int,
    vr: str,
    value: bytes = b"",
    *,
    length: int | None = None,
    order: str = "<",
) -> bytes:
    """One element; ``length`` lies about the value."""
    if length is None:
        length = len(value)
    head = pack(order + "HH", tag >> 16, tag & 0xFFFF) + vr.encode("ascii")
    if vr in LONG:
        return head + b"\0\0" + pack(order + "I", length) + value
    return head + pack(order + "H", length) + value


def implicit(tag: int, value: bytes = b"", *, length: int | None = None) -> bytes:
    if length is None:
        length = len(value)
    return pack("<HHI", tag >> 16, tag & 0xFFFF, length) + value


def item(content: bytes = b"", *, is_defined: bool = True) -> bytes:
    if is_defined:
        return implicit(0xFFFE_E000, content)
    return implicit(0xFFFE_E000, content, length=UNDEFINED) + implicit(0xFFFE_E00D)


def sequence(tag: int, *items: bytes, is_defined: bool = True, vr: str = "SQ") -> bytes:
    content = b"".join(items)
    if is_defined:
        return explicit(tag, vr, content)
    content += implicit(0xFFFE_E0DD)
    return explicit(tag, vr, content, length=UNDEFINED)


def encapsulated(*fragments: bytes) -> bytes:
    return explicit(
        0x7FE0_0010,
        "OB",
        b"".join(item(each) for each in (b"", *fragments)) + implicit(0xFFFE_E0DD),
        length=UNDEFINED,
    )


def deflated(data: bytes) -> bytes:
    deflater = zlib.compressobj(wbits=-15)
    packed = deflater.compress(data) + deflater.flush()
    return packed + b"\0" * (len(packed) % 2)


CODE = explicit(0x0008_0100, "SH", b"24627-2 ") + explicit(0x0008_0102, "SH", b"LN")
# Each of these lies at the top; cutting between two leaves a data set.
SMALL = (
    explicit(0x0008_0005, "CS", b"ISO_IR 100"),
    explicit(0x0008_0016, "UI", b"1.2.840.10008.5.1.4.1.1.2\0"),
    explicit(0x0008_0018, "UI", b"1.2.3.4\0"),
    explicit(0x0008_0060, "CS", b"CT"),
    sequence(0x0008_1032, item(CODE), is_defined=False),
    sequence(0x0008_1110, item(CODE, is_defined=False)),
    explicit(0x0010_0010, "PN", "Müller^Jörg ".encode("latin-1")),
    explicit(0x0010_0020, "LO", b"P1"),
    explicit(0x0020_000D, "UI", STUDY.encode()),
    explicit(0x0020_000E, "UI", b"1.2.3\0"),
    explicit(0x0028_0010, "US", b"\2\0"),
    explicit(0x0029_0010, "LO", b"PRIVATE "),
    explicit(0x0029_1010, "UN", bytes(30)),
    sequence(
        0x0040_0275,
        item(explicit(0x0040_0009, "SH", b"SPS1"), is_defined=False),
        item(sequence(0x0040_0008, item(CODE))),
    ),
    explicit(0x7FE0_0010, "OW", bytes(16)),
    explicit(0xFFFC_FFFC, "OB", bytes(4)),
)

# --- reading ------------------------------------------------------------------------


def read(pieces: Iterable[bytes | memoryview], syntax: UID = EXPLICIT_VR_LE) -> Header:
    reader = HeaderReader(TRANSFER_SYNTAXES[syntax])
    for piece in pieces:
        reader.feed(piece)
    return reader.finish()


def outcome(
    pieces: Iterable[bytes | memoryview], syntax: UID = EXPLICIT_VR_LE
) -> Header | None:
    """The header, or ``None`` where it is refused; anything else is a bug."""
    try:
        return read(pieces, syntax)
    except BadData:
        return None


def cut(data: bytes, places: Iterable[int]) -> list[memoryview]:
    """The bytes in pieces."""
    ends = sorted({min(place, len(data)) for place in places} | {0, len(data)})
    view = memoryview(data)
    return [view[a:b] for a, b in pairwise(ends)] or [view]
