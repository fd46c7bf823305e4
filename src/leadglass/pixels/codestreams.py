"""What a compressed frame says of itself, read before any codec sees it.

A frame of a few bytes can claim 65,535 × 65,535 samples, and its codec would
take memory for them. These readers look at the first markers only, in Python,
so that a claim other than the data set's is refused at no cost.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from leadglass.pixels.faults import Fault, Undecodable

MARKER_COUNT_MAX = 4096  # real headers have tens; APP and COM segments can repeat

# ISO/IEC 10918-1 Table B.1
_SOI = b"\xff\xd8"
_SOS = 0xDA
_SOF_JPEG_LS = 0xF7  # ISO/IEC 14495-1 C.1.1
_APP14 = 0xEE
_SOF_DCT = frozenset({0xC0, 0xC1, 0xC2, 0xC5, 0xC6, 0xC9, 0xCA, 0xCD, 0xCE})
_SOF_LOSSLESS = frozenset({0xC3, 0xC7, 0xCB, 0xCF})
_SOF = _SOF_DCT | _SOF_LOSSLESS | {_SOF_JPEG_LS}
# Markers without a length: TEM, RST0-7, SOI
_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})

# ISO/IEC 15444-1 Table A.2
_SOC_SIZ = b"\xff\x4f\xff\x51"
_COD = 0x52
_SOT = 0x90

_JXL_CODESTREAM = b"\xff\x0a"  # ISO/IEC 18181-1
_JXL_CONTAINER = b"\0\0\0\x0cJXL \r\n\x87\n"
_JP2_CONTAINER = b"\0\0\0\x0cjP  \r\n\x87\n"
_JXL_RATIOS = {
    1: (1, 1),
    2: (12, 10),
    3: (4, 3),
    4: (3, 2),
    5: (16, 9),
    6: (5, 4),
    7: (2, 1),
}


@dataclass(frozen=True, slots=True)
class Codestream:
    """What the header of a compressed frame claims; 0 or None: it does not say."""

    rows: int
    columns: int
    samples: int = 0
    bits: int = 0
    is_signed: bool = False
    is_lossy: bool = False
    # JPEG's Adobe marker: True: YCbCr, False: RGB, None: no marker.
    is_ycc: bool | None = None


def begins_frame(fragment: bytes) -> bool:
    """Whether a fragment begins a codestream.

    Inside one these bytes cannot stand: both families keep FF followed by these
    out of their entropy-coded data.
    """
    return fragment.startswith(
        (_SOI, _SOC_SIZ, _JXL_CODESTREAM, _JXL_CONTAINER, _JP2_CONTAINER)
    )


# ── JPEG, JPEG lossless, JPEG-LS ─────────────────────────────────────────────


def read_jpeg(data: bytes) -> Codestream:
    """Read the markers of a JPEG or JPEG-LS frame as far as its first scan.

    Raises:
        Undecodable: It is not one.
    """
    frame: tuple[int, bytes] | None = None
    adobe: bool | None = None
    near = 0
    for marker, segment in _jpeg_segments(data):
        if marker in _SOF and frame is None:
            frame = (marker, segment)
        elif marker == _APP14 and segment.startswith(b"Adobe") and len(segment) >= 12:
            adobe = segment[11] != 0
        elif marker == _SOS and len(segment) >= 3:
            near = segment[-3]
    if frame is None or len(frame[1]) < 6:
        raise Undecodable(Fault.CODESTREAM)
    marker, segment = frame
    return Codestream(
        rows=int.from_bytes(segment[1:3]),
        columns=int.from_bytes(segment[3:5]),
        samples=segment[5],
        bits=segment[0],
        is_lossy=marker in _SOF_DCT or (marker == _SOF_JPEG_LS and near > 0),
        is_ycc=adobe,
    )


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield marker and content of each segment, the first scan's header last."""
    if not data.startswith(_SOI):
        raise Undecodable(Fault.CODESTREAM)
    at = 2
    for _ in range(MARKER_COUNT_MAX):
        while data[at : at + 2] == b"\xff\xff":  # fill bytes, B.1.1.2
            at += 1
        if len(data) < at + 4 or data[at] != 0xFF:
            break
        marker = data[at + 1]
        if marker in _ALONE:
            at += 2
            continue
        length = int.from_bytes(data[at + 2 : at + 4])
        if length < 2 or at + 2 + length > len(data):
            break
        yield marker, data[at + 4 : at + 2 + length]
        if marker == _SOS:
            return
        at += 2 + length
    raise Undecodable(Fault.CODESTREAM)


# ── JPEG 2000 and HTJ2K ──────────────────────────────────────────────────────


def read_jpeg2k(data: bytes) -> Codestream:
    """Read the main header of a JPEG 2000 codestream, bare or in a JP2 file.

    Raises:
        Undecodable: It is not one.
    """
    data = _unboxed(data, _JP2_CONTAINER, (b"jp2c",))
    if not data.startswith(_SOC_SIZ) or len(data) < 45:
        raise Undecodable(Fault.CODESTREAM)
    # A.5.1: Xsiz Ysiz XOsiz YOsiz XTsiz YTsiz XTOsiz YTOsiz Csiz, then 3 a component
    width, height, left, top = (
        int.from_bytes(data[at : at + 4]) for at in range(8, 24, 4)
    )
    samples = int.from_bytes(data[40:42])
    parts = data[42 : 42 + 3 * samples]
    depths = set(parts[0::3])
    if (
        len(parts) != 3 * samples
        or len(depths) != 1
        or set(parts[1::3]) | set(parts[2::3]) != {1}
    ):  # components of different kinds, or subsampled: no native form in DICOM
        raise Undecodable(Fault.UNSUPPORTED)
    depth = depths.pop()
    return Codestream(
        rows=height - top,
        columns=width - left,
        samples=samples,
        bits=(depth & 0x7F) + 1,
        is_signed=bool(depth & 0x80),
        is_lossy=_is_irreversible(data),
    )


def _is_irreversible(data: bytes) -> bool:
    """Whether the wavelet of the COD segment is the 9-7 one (Table A.20)."""
    at = 2
    for _ in range(MARKER_COUNT_MAX):
        if len(data) < at + 4 or data[at] != 0xFF or data[at + 1] == _SOT:
            break
        if data[at + 1] == _COD:
            return data[at + 13 : at + 14] == b"\0"
        at += 2 + int.from_bytes(data[at + 2 : at + 4])
    raise Undecodable(Fault.CODESTREAM)


# ── JPEG XL ──────────────────────────────────────────────────────────────────


def read_jpegxl(data: bytes) -> Codestream:
    """Read the size header of a JPEG XL codestream, bare or in its container.

    Raises:
        Undecodable: It is not one.
    """
    data = _unboxed(data, _JXL_CONTAINER, (b"jxlc", b"jxlp"))
    if not data.startswith(_JXL_CODESTREAM) or len(data) < 14:
        raise Undecodable(Fault.CODESTREAM)
    bits = _Bits(int.from_bytes(data[2:14], "little"))
    is_small = bits.take(1) == 1

    def length() -> int:
        if is_small:
            return 8 * (1 + bits.take(5))
        return 1 + bits.take((9, 13, 18, 30)[bits.take(2)])

    rows = length()
    ratio = bits.take(3)
    if ratio == 0:
        return Codestream(rows=rows, columns=length())
    numerator, denominator = _JXL_RATIOS[ratio]
    return Codestream(rows=rows, columns=rows * numerator // denominator)


class _Bits:
    """Takes bits from the least significant end."""

    def __init__(self, value: int) -> None:
        self._value = value

    def take(self, count: int) -> int:
        taken = self._value & ((1 << count) - 1)
        self._value >>= count
        return taken


def _unboxed(data: bytes, signature: bytes, kinds: tuple[bytes, ...]) -> bytes:
    """Return the codestream of a box file; anything else as it is."""
    if not data.startswith(signature):
        return data
    at = 0
    for _ in range(MARKER_COUNT_MAX):
        length, kind, start = (
            int.from_bytes(data[at : at + 4]),
            data[at + 4 : at + 8],
            8,
        )
        if length == 1:  # the length follows in eight bytes
            length, start = int.from_bytes(data[at + 8 : at + 16]), 16
        if kind in kinds:
            # jxlp: four bytes of sequence number come first
            return data[at + start + (4 if kind == b"jxlp" else 0) :]
        if length < 8 or at + length >= len(data):
            break
        at += length
    raise Undecodable(Fault.CODESTREAM)
