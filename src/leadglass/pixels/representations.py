"""Value representations as bytes: how long, how swapped, and whose (PS3.5 §6.2)."""

import struct
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from pydicom.datadict import dictionary_VR

# PS3.5 §7.1.2: two reserved bytes, then a length of 32 bits.
LONG_FORM = frozenset(
    {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR"}
    | {b"UT", b"UV"}
)
SHORT_FORM = frozenset(
    {b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO"}
    | {b"LT", b"PN", b"SH", b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US"}
)
SHORT_LENGTH_MAX = 0xFFFF

# How many bytes turn round together between big and little endian.
SWAPPED_BYTES = {
    **dict.fromkeys((b"US", b"SS", b"OW", b"AT"), 2),
    **dict.fromkeys((b"UL", b"SL", b"FL", b"OF", b"OL"), 4),
    **dict.fromkeys((b"FD", b"OD", b"SV", b"UV", b"OV"), 8),
}


class Form(NamedTuple):
    """How elements are written."""

    is_implicit: bool
    is_big_endian: bool = False


class Representations:
    """VRs of a data set that does not state them (implicit VR)."""

    def __init__(self) -> None:
        self.is_signed = False  # Pixel Representation, once it has passed by

    def of(self, tag: int) -> bytes:
        """Return the VR of a tag; UN when it is not known."""
        vr = _dictionary(tag)
        if vr == b"US or SS":
            return b"SS" if self.is_signed else b"US"
        return vr


# What the dictionary leaves open, decided as implicit VR little endian has it
# (PS3.5 §A.1): pixels and overlays are OW; a LUT is written as words.
_OPEN = {"OB or OW": b"OW", "US or OW": b"OW", "US or SS or OW": b"OW"}


@lru_cache(maxsize=8192)
def _dictionary(tag: int) -> bytes:
    group, element = tag >> 16, tag & 0xFFFF
    if group & 1:
        # Private creators; what they own is known to their makers (PS3.5 §7.8.1).
        return b"LO" if 0x10 <= element <= 0xFF else b"UN"
    try:
        vr: str = dictionary_VR(tag)
    except KeyError:
        return b"UN"
    return _OPEN.get(vr, vr.encode())


def element_header(vr: bytes, tag: int, length: int, form: Form) -> bytes:
    """Write tag, VR and length, little endian.

    A value too long for the short form goes as UN (PS3.5 §6.2.2, note 7).
    """
    group, element = tag >> 16, tag & 0xFFFF
    if form.is_implicit:
        return struct.pack("<HHI", group, element, length)
    if vr in SHORT_FORM:
        if length <= SHORT_LENGTH_MAX:
            return struct.pack("<HH2sH", group, element, vr, length)
        vr = b"UN"
    return struct.pack("<HH2sHI", group, element, vr, 0, length)


def swapped(value: bytes, width: int) -> bytes:
    """Turn each ``width`` bytes round; an incomplete rest stays as it is."""
    whole = len(value) - len(value) % width
    turned = np.frombuffer(value, f"<u{width}", whole // width).byteswap().tobytes()
    return turned + value[whole:]
