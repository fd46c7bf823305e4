"""Data sets to transcode: all files that pydicom ships, and made ones."""

import struct
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import data_store
import imagecodecs
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset

from leadglass.dicom.uids import UID
from leadglass.pixels.rewrite import IMPLICIT_VR_LE, Limits, rewrite

Array = NDArray[Any]

EXPLICIT = UID("1.2.840.10008.1.2.1")
IMPLICIT = UID("1.2.840.10008.1.2")
BIG_ENDIAN = UID("1.2.840.10008.1.2.2")
DEFLATED = UID("1.2.840.10008.1.2.1.99")
RLE = UID("1.2.840.10008.1.2.5")
JPEG = UID("1.2.840.10008.1.2.4.50")
JPEG_EXTENDED = UID("1.2.840.10008.1.2.4.51")
JPEG_LOSSLESS = UID("1.2.840.10008.1.2.4.70")
JPEG_LS = UID("1.2.840.10008.1.2.4.80")
JPEG_2000_LOSSLESS = UID("1.2.840.10008.1.2.4.90")
JPEG_2000 = UID("1.2.840.10008.1.2.4.91")
HTJ2K = UID("1.2.840.10008.1.2.4.201")
JPEG_XL = UID("1.2.840.10008.1.2.4.110")

LIMITS = Limits(
    decoded_bytes_max=1 << 30, inflated_bytes_max=1 << 28, sequence_depth_max=32
)


@dataclass(frozen=True, slots=True)
class Sample:
    """A file, its data set without the file meta information, and its syntax."""

    path: Path
    data: bytes
    syntax: UID

    def __str__(self) -> str:
        return self.path.stem


@cache
def samples() -> tuple[Sample, ...]:
    """Every Part 10 file of pydicom and pydicom-data that names its syntax."""
    pydicom_files = Path(pydicom.__file__).parent / "data"
    more_files = Path(next(iter(data_store.__path__)))
    found = []
    for path in sorted({*pydicom_files.rglob("*"), *more_files.rglob("*")}):
        if not path.is_file():
            continue
        data = path.read_bytes()
        if data[128:132] != b"DICM":
            continue
        meta_length = int.from_bytes(data[140:144], "little")
        if data[132:140] != b"\x02\0\0\0UL\x04\0":
            continue
        meta = read(data[144 : 144 + meta_length], EXPLICIT)
        if "TransferSyntaxUID" in meta:
            syntax = UID(str(meta.TransferSyntaxUID))
            found.append(Sample(path, data[144 + meta_length :], syntax))
    return tuple(found)


def sample(name: str) -> Sample:
    """One of them."""
    return next(each for each in samples() if each.path.name == name)


def read(data: bytes, syntax: UID) -> Dataset:
    """Read an uncompressed little-endian data set with pydicom."""
    file = DicomBytesIO(data)
    is_implicit = syntax == IMPLICIT_VR_LE
    file.is_little_endian, file.is_implicit_VR = True, is_implicit
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = read_dataset(file, is_implicit, True)
    found.file_meta = FileMetaDataset()
    found.file_meta.TransferSyntaxUID = syntax
    return found


def array(data_set: Dataset) -> Array:
    """The pixels as pydicom sees them, in this machine's byte order."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found: Array = data_set.pixel_array
    return found.astype(found.dtype.newbyteorder("="))


def rewritten(
    data: bytes, syntax: UID, target: UID = EXPLICIT, limits: Limits = LIMITS
) -> bytes:
    """Transcode in this process."""
    out = bytearray()
    rewrite([data], syntax, target, limits, out.extend)
    return bytes(out)


def encoded(codec: str, pixels: Array, **options: object) -> bytes:
    """Compress one frame; options are those of imagecodecs."""
    return bytes(getattr(imagecodecs, f"{codec}_encode")(pixels, **options))


# ── made ones ────────────────────────────────────────────────────────────────

_LONG = (b"OB", b"OW", b"SQ", b"UN", b"UT", b"OV")


def element(tag: int, vr: bytes, value: bytes, length: int | None = None) -> bytes:
    """An element in Explicit VR Little Endian, with a length that may lie."""
    size = len(value) if length is None else length
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr)
    form = "<xxI" if vr in _LONG else "<H"
    return head + struct.pack(form, size) + value


def item(value: bytes) -> bytes:
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(value)) + value


def encapsulated(fragments: Sequence[bytes], table: bytes = b"") -> bytes:
    padded = [each + b"\0" * (len(each) % 2) for each in fragments]
    items = b"".join(map(item, padded))
    end = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    return element(0x7FE0_0010, b"OB", item(table) + items + end, 0xFFFF_FFFF)


def offset_table(fragments: Sequence[bytes], first: Sequence[int]) -> bytes:
    """A basic offset table: frames begin at the fragments of these numbers."""
    starts, at = [], 0
    for number, each in enumerate(fragments):
        if number in first:
            starts.append(at)
        at += 8 + len(each) + len(each) % 2
    return struct.pack(f"<{len(starts)}I", *starts)


def described(
    pixel_data: bytes,
    *,
    rows: int = 16,
    columns: int = 16,
    samples: int = 1,
    frames: str = "",
    bits: int = 16,
    is_signed: bool = False,
    photometric: bytes = b"MONOCHROME2",
) -> bytes:
    """A data set of an image pixel description and pixel data."""

    def short(tag: int, value: int) -> bytes:
        return element(tag, b"US", struct.pack("<H", value))

    return b"".join(
        (
            element(0x0008_0060, b"CS", b"OT"),
            short(0x0028_0002, samples),
            element(0x0028_0004, b"CS", photometric + b" " * (len(photometric) % 2)),
            element(0x0028_0008, b"IS", frames.encode() + b" " * (len(frames) % 2)),
            short(0x0028_0010, rows),
            short(0x0028_0011, columns),
            short(0x0028_0100, bits),
            short(0x0028_0101, bits),
            short(0x0028_0102, bits - 1),
            short(0x0028_0103, int(is_signed)),
            pixel_data,
            element(0xFFFC_FFFC, b"OB", b"\0\0"),
        )
    )


def rle_frame(pixels: Array) -> bytes:
    """Pack one frame of (rows, columns) samples: literal runs only."""
    width = pixels.dtype.itemsize
    planes = pixels.astype(pixels.dtype.newbyteorder(">")).reshape(-1, 1).view(np.uint8)
    segments = []
    for plane in range(width):
        data = planes[:, plane].tobytes()
        runs = [data[at : at + 128] for at in range(0, len(data), 128)]
        packed = b"".join(bytes([len(run) - 1]) + run for run in runs)
        segments.append(packed + b"\0" * (len(packed) % 2))
    starts, at = [], 64
    for segment in segments:
        starts.append(at)
        at += len(segment)
    header = struct.pack(f"<{1 + width}I", width, *starts).ljust(64, b"\0")
    return header + b"".join(segments)
