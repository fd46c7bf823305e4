"""The transfer syntaxes that instances are stored in (PS3.5 §10, PS3.6 Annex A)."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from leadglass.dicom.uids import UID


@dataclass(frozen=True, slots=True)
class TransferSyntax:
    """How a data set is encoded."""

    uid: UID
    name: str
    implicit_vr: bool = False
    little_endian: bool = True
    deflated: bool = False
    encapsulated: bool = True


IMPLICIT_VR_LE = UID("1.2.840.10008.1.2")
EXPLICIT_VR_LE = UID("1.2.840.10008.1.2.1")
EXPLICIT_VR_BE = UID("1.2.840.10008.1.2.2")
DEFLATED_EXPLICIT_VR_LE = UID("1.2.840.10008.1.2.1.99")
ENCAPSULATED_UNCOMPRESSED = UID("1.2.840.10008.1.2.1.98")
RLE_LOSSLESS = UID("1.2.840.10008.1.2.5")
DEFLATED_IMAGE_FRAME = UID("1.2.840.10008.1.2.8.1")

# What every receiver can be asked to take: native pixel data, in file order of
# preference.
UNCOMPRESSED = (EXPLICIT_VR_LE, IMPLICIT_VR_LE, EXPLICIT_VR_BE)

_NATIVE = (
    TransferSyntax(
        IMPLICIT_VR_LE,
        "Implicit VR Little Endian",
        implicit_vr=True,
        encapsulated=False,
    ),
    TransferSyntax(EXPLICIT_VR_LE, "Explicit VR Little Endian", encapsulated=False),
    TransferSyntax(
        EXPLICIT_VR_BE,
        "Explicit VR Big Endian",
        little_endian=False,
        encapsulated=False,
    ),
    TransferSyntax(
        DEFLATED_EXPLICIT_VR_LE,
        "Deflated Explicit VR Little Endian",
        deflated=True,
        encapsulated=False,
    ),
)

# Pixel data in fragments. JPIP is left out: its pixel data is a link to elsewhere.
# The retired JPEG processes are kept, since old archives are migrated with them.
_ENCAPSULATED = (
    (ENCAPSULATED_UNCOMPRESSED, "Encapsulated Uncompressed Explicit VR LE"),
    ("1.2.840.10008.1.2.4.50", "JPEG Baseline (Process 1)"),
    ("1.2.840.10008.1.2.4.51", "JPEG Extended (Process 2 and 4)"),
    ("1.2.840.10008.1.2.4.52", "JPEG Extended (Process 3 and 5)"),
    ("1.2.840.10008.1.2.4.53", "JPEG Spectral Selection (Process 6 and 8)"),
    ("1.2.840.10008.1.2.4.54", "JPEG Spectral Selection (Process 7 and 9)"),
    ("1.2.840.10008.1.2.4.55", "JPEG Full Progression (Process 10 and 12)"),
    ("1.2.840.10008.1.2.4.56", "JPEG Full Progression (Process 11 and 13)"),
    ("1.2.840.10008.1.2.4.57", "JPEG Lossless (Process 14)"),
    ("1.2.840.10008.1.2.4.58", "JPEG Lossless (Process 15)"),
    ("1.2.840.10008.1.2.4.70", "JPEG Lossless (Process 14, Selection Value 1)"),
    ("1.2.840.10008.1.2.4.80", "JPEG-LS Lossless"),
    ("1.2.840.10008.1.2.4.81", "JPEG-LS Near-Lossless"),
    ("1.2.840.10008.1.2.4.90", "JPEG 2000 Lossless"),
    ("1.2.840.10008.1.2.4.91", "JPEG 2000"),
    ("1.2.840.10008.1.2.4.92", "JPEG 2000 Part 2 Multi-component Lossless"),
    ("1.2.840.10008.1.2.4.93", "JPEG 2000 Part 2 Multi-component"),
    ("1.2.840.10008.1.2.4.100", "MPEG2 Main Profile, Main Level"),
    ("1.2.840.10008.1.2.4.100.1", "Fragmentable MPEG2 Main Profile, Main Level"),
    ("1.2.840.10008.1.2.4.101", "MPEG2 Main Profile, High Level"),
    ("1.2.840.10008.1.2.4.101.1", "Fragmentable MPEG2 Main Profile, High Level"),
    ("1.2.840.10008.1.2.4.102", "MPEG-4 AVC/H.264 High Profile, Level 4.1"),
    ("1.2.840.10008.1.2.4.102.1", "Fragmentable MPEG-4 AVC/H.264 HP, Level 4.1"),
    ("1.2.840.10008.1.2.4.103", "MPEG-4 AVC/H.264 BD-compatible, Level 4.1"),
    ("1.2.840.10008.1.2.4.103.1", "Fragmentable MPEG-4 AVC/H.264 BD, Level 4.1"),
    ("1.2.840.10008.1.2.4.104", "MPEG-4 AVC/H.264 HP, Level 4.2, 2D Video"),
    ("1.2.840.10008.1.2.4.104.1", "Fragmentable MPEG-4 AVC/H.264 HP, L4.2, 2D"),
    ("1.2.840.10008.1.2.4.105", "MPEG-4 AVC/H.264 HP, Level 4.2, 3D Video"),
    ("1.2.840.10008.1.2.4.105.1", "Fragmentable MPEG-4 AVC/H.264 HP, L4.2, 3D"),
    ("1.2.840.10008.1.2.4.106", "MPEG-4 AVC/H.264 Stereo High Profile, L4.2"),
    ("1.2.840.10008.1.2.4.106.1", "Fragmentable MPEG-4 AVC/H.264 Stereo HP, L4.2"),
    ("1.2.840.10008.1.2.4.107", "HEVC/H.265 Main Profile, Level 5.1"),
    ("1.2.840.10008.1.2.4.108", "HEVC/H.265 Main 10 Profile, Level 5.1"),
    ("1.2.840.10008.1.2.4.110", "JPEG XL Lossless"),
    ("1.2.840.10008.1.2.4.111", "JPEG XL JPEG Recompression"),
    ("1.2.840.10008.1.2.4.112", "JPEG XL"),
    ("1.2.840.10008.1.2.4.201", "High-Throughput JPEG 2000 Lossless"),
    ("1.2.840.10008.1.2.4.202", "High-Throughput JPEG 2000 RPCL Lossless"),
    ("1.2.840.10008.1.2.4.203", "High-Throughput JPEG 2000"),
    (RLE_LOSSLESS, "RLE Lossless"),
    (DEFLATED_IMAGE_FRAME, "Deflated Image Frame Compression"),
)

TRANSFER_SYNTAXES: Mapping[UID, TransferSyntax] = MappingProxyType(
    {each.uid: each for each in _NATIVE}
    | {UID(uid): TransferSyntax(UID(uid), name) for uid, name in _ENCAPSULATED}
)
