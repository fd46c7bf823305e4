"""The head of an element: tag, VR and length, as they stand in a data set."""

import struct
from collections.abc import Callable
from dataclasses import dataclass

from leadglass.pixels.representations import LONG_FORM, SHORT_FORM, Form

UNDEFINED_LENGTH = 0xFFFF_FFFF
ITEM = 0xFFFE_E000
ITEM_END = 0xFFFE_E00D
SEQUENCE_END = 0xFFFE_E0DD
DELIMITERS = 0xFFFE  # the group of these
PIXEL_DATA = 0x7FE0_0010


@dataclass(frozen=True, slots=True)
class Element:
    """What stands before a value."""

    tag: int
    vr: bytes
    length: int


def read_element(
    read: Callable[[int], bytes], form: Form, vr_of: Callable[[int], bytes]
) -> Element:
    """Read tag, VR and length (PS3.5 §7.1); ``vr_of`` knows the VRs not stated."""
    head = read(8)
    group, element = struct.unpack_from(">HH" if form.is_big_endian else "<HH", head)
    tag = group << 16 | element
    integer = ">I" if form.is_big_endian else "<I"
    if form.is_implicit or group == DELIMITERS:
        (length,) = struct.unpack_from(integer, head, 4)
        return Element(tag, _unstated(tag, length, vr_of), length)
    vr = head[4:6]
    if vr in SHORT_FORM:
        short = ">H" if form.is_big_endian else "<H"
        return Element(tag, vr, struct.unpack_from(short, head, 6)[0])
    if not (vr.isalpha() and vr.isupper()):
        # Some writers fall back to implicit VR for a single element.
        (length,) = struct.unpack_from(integer, head, 4)
        return Element(tag, _unstated(tag, length, vr_of), length)
    (length,) = struct.unpack(integer, read(4))
    # A VR of a later edition has the long form (PS3.5 §7.1.2); pass it as UN.
    return Element(tag, vr if vr in LONG_FORM else b"UN", length)


def _unstated(tag: int, length: int, vr_of: Callable[[int], bytes]) -> bytes:
    if length == UNDEFINED_LENGTH and tag != PIXEL_DATA:
        return b"SQ"  # nothing else may have one
    return vr_of(tag)
