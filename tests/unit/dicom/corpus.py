"""The files that pydicom and pydicom-data ship, and plain data sets to begin from."""

from dataclasses import dataclass
from pathlib import Path
from struct import pack
from typing import Any

import data_store
import pydicom.data

from leadglass.dicom.header import Header, HeaderReader
from leadglass.dicom.part10 import Part10Reader
from leadglass.dicom.transfer_syntaxes import (
    EXPLICIT_VR_LE,
    TRANSFER_SYNTAXES,
    TransferSyntax,
)
from leadglass.dicom.uids import UID

_ROOTS = (Path(pydicom.data.__file__).parent, Path(data_store.__file__).parent)
_NOT_DATA = {".py", ".pyc", ".json", ".md", ".txt", ".ini", ".h5"}

# Larger files add time, not cases.
SMALL_BYTES_MAX = 64 * 1024


def _files() -> dict[str, Path]:
    found = (
        (f"{root.name}/{path.relative_to(root)}", path)
        for root in _ROOTS
        for path in root.rglob("*")
        if path.is_file() and path.suffix.lower() not in _NOT_DATA
    )
    return dict(sorted(found))


FILES = _files()

# Files that are refused, and why that is right.
REFUSED: dict[str, str] = {
    "MR_truncated.dcm": "pixel data is cut short",
    "emri_small_jpeg_2k_lossless_too_short.dcm": "a fragment is cut short",
    "rtplan_truncated.dcm": "a sequence is cut short",
    "bad_sequence.dcm": "hexadecimal digests in place of its UIDs",
    "winter.dcm": "SOP Instance UID stands twice (and there is no patient)",
    "DICOMDIR-nooffset": "items overrun their sequence; a directory is not stored",
    "no_meta.dcm": "begins with a stray byte: no reader finds an element",
    "crayons.icc": "not DICOM: a colour profile",
    "README": "not DICOM: a text",
    "rtplan.dump": "not DICOM: a text",
    "rtstruct.dump": "not DICOM: a text",
    "zipMR.gz": "not DICOM as it stands: packed",
}


@dataclass(frozen=True, slots=True)
class Instance:
    """A data set, and how it is encoded."""

    syntax: TransferSyntax
    data: bytes

    def header(self) -> Header:
        reader = HeaderReader(self.syntax)
        reader.feed(self.data)
        return reader.finish()


def read(path: Path) -> Instance:
    """Return the data set of a file."""
    reader = Part10Reader()
    data = reader.feed(path.read_bytes())
    if data is None:
        data = reader.finish()
    assert reader.transfer_syntax is not None
    return Instance(TRANSFER_SYNTAXES[reader.transfer_syntax], data)


def accepted(size_max: int = 2**40) -> dict[str, Path]:
    """Return the files that are taken."""
    return {
        name: path
        for name, path in FILES.items()
        if path.name not in REFUSED and path.stat().st_size <= size_max
    }


def syntax(uid: UID = EXPLICIT_VR_LE) -> TransferSyntax:
    return TRANSFER_SYNTAXES[uid]


_LONG = {"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"}


def element(tag: int, vr: str, value: bytes = b"", length: int | None = None) -> bytes:
    """Encode one element in Explicit VR Little Endian, of whatever length it says."""
    size = len(value) if length is None else length
    head = pack("<HH", tag >> 16, tag & 0xFFFF) + vr.encode()
    return head + (pack("<HI", 0, size) if vr in _LONG else pack("<H", size)) + value


def implicit(tag: int, value: bytes = b"", length: int | None = None) -> bytes:
    """Encode one element, item or delimiter without VR."""
    size = len(value) if length is None else length
    return pack("<HHI", tag >> 16, tag & 0xFFFF, size) + value


UNDEFINED = 0xFFFF_FFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFE_E000, 0xFFFE_E00D, 0xFFFE_E0DD

IDENTITY = (
    element(0x0008_0016, "UI", b"1.2.840.10008.5.1.4.1.1.7\0")
    + element(0x0008_0018, "UI", b"1.2.3.4.")
    + element(0x0010_0010, "PN", b"Doe^Jane")
    + element(0x0010_0020, "LO", b"P1")
    + element(0x0020_000D, "UI", b"1.2.3\0")
    + element(0x0020_000E, "UI", b"1.2.3.1\0")
)
PIXELS = element(0x7FE0_0010, "OW", bytes(16))


def theirs(path: Path) -> Any:
    """Return pydicom's data set."""
    return pydicom.dcmread(path, force=True)
