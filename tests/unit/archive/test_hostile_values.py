"""Whatever values an instance has: it is refused, or what was told is found.

Success is said before the rows are written. So nothing in a header may make the rows
fail: what can fail at all fails before.
"""

import struct
from collections.abc import Iterator

from leadglass.archive.ingest import Announced, Ingest
from leadglass.dicom.attributes import BY_LEVEL, Attribute, Level
from leadglass.dicom.transfer_syntaxes import EXPLICIT_VR_LE, TRANSFER_SYNTAXES
from leadglass.dicom.uids import UID
from leadglass.errors import LeadglassError
from tests.unit.archive.conftest import CT, OPERATOR, Home
from tests.unit.archive.rig import check_whole, locations

LONG_VRS = {"OB", "SQ", "UN", "UT", "UC", "UR", "SV", "UV", "OW"}
VRS = (
    *("AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "LO", "LT", "OB"),
    *("PN", "SH", "SL", "SS", "ST", "SV", "TM", "UC", "UI", "UL", "UN", "UR"),
    *("US", "UT", "UV"),
)
# An item with an item, cut short; one that says to be longer; an empty one.
ITEMS = (
    b"\xfe\xff\x00\xe0\x00\x00\x00\x00",
    b"\xfe\xff\x00\xe0\x08\x00\x00\x00\x08\x00\x60\x00CS\x00\x00",
    b"\xfe\xff\x00\xe0\xff\xff\xff\xff\x08\x00\x60\x00CS\x01\x00",
    b"\xfe\xff\x00\xe0\x10\x00\x00\x00\x08\x00\x60\x00LO\x08\x00\xed\xa0\x80\\\\\\==",
)
VALUES = (
    b"",
    b"\\",
    b"\\" * 200,
    b"=" * 64,
    b"^" * 64,
    b"\x00\x00",
    b"\x1b$B\x1b(B",
    b"\x1b%G\xed\xa0\x80",  # half a surrogate pair
    b"\xff\xfe\xfd\xfc",
    b"\x80" * 7,
    b"9" * 400,
    b"-" + b"9" * 19,
    b"1e308\\1e309\\-1e400\\nan\\inf\\-inf",
    b"1_000\\0x10\\ 1 \\1.\\.1\\1e",
    b"99999999999999999999.99",
    b"20240230\\00000000\\99999999",
    b"20240101-20231231",
    b"240000.999999",
    b"2024\xd9\xa3",
    b"1.2.840." + b"9" * 60,
    b"..",
    b"*?%_'\";--",
    "\u202e\U0001f600\u0000".encode(),
    struct.pack("<d", float("nan")),
    struct.pack("<dd", float("inf"), -0.0),
    struct.pack("<Q", 2**64 - 1),
    struct.pack("<q", -(2**63)),
)
CHARSETS = (b"", b"ISO_IR 192", b"\\ISO 2022 IR 87", b"GB18030", b"ISO_IR 13")
OURS = (0x0008_0005, 0x0008_0016, 0x0008_0018, 0x0020_000D, 0x0020_000E)


def element(tag: int, vr: str, value: bytes) -> bytes:
    value += bytes(len(value) % 2)
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr.encode())
    if vr in LONG_VRS:
        return head + struct.pack("<HI", 0, len(value)) + value
    return head + struct.pack("<H", len(value)) + value


def data_set(number: int, charset: bytes, hostile: dict[int, bytes]) -> bytes:
    """Return an instance of a study of its own; ``hostile`` elements replace ours."""
    study = f"1.2.{number}"
    elements = {
        0x0008_0005: element(0x0008_0005, "CS", charset),
        0x0008_0016: element(0x0008_0016, "UI", CT.encode()),
        0x0008_0018: element(0x0008_0018, "UI", f"{study}.1.1".encode()),
        0x0020_000D: element(0x0020_000D, "UI", study.encode()),
        0x0020_000E: element(0x0020_000E, "UI", f"{study}.1".encode()),
    }
    return b"".join(each for _, each in sorted((elements | hostile).items()))


def item(content: bytes) -> bytes:
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(content)) + content


def hostile(attribute: Attribute, vr: str, value: bytes) -> bytes:
    """Return the attribute with that value; a sequence has it in items, twice deep."""
    if attribute.vr != "SQ":
        return element(attribute.tag, vr, value)
    inner = element(0x0008_0100, vr, value) + element(0x0010_0010, vr, value)
    nested = element(0x0040_0008, "SQ", item(inner) * 2)
    return element(attribute.tag, "SQ", item(inner + nested) * 2)


def instances() -> Iterator[tuple[int, bytes]]:
    """Yield instances in which every attribute has the same VR and value."""
    attributes = [
        each
        for level in Level
        for each in BY_LEVEL[level]
        if not each.computed and each.tag not in OURS
    ]
    number = 0
    for value in VALUES:
        for vr in (None, *VRS):
            number += 1
            replaced = {
                each.tag: hostile(each, vr or each.vr, value) for each in attributes
            }
            yield number, data_set(number, CHARSETS[number % len(CHARSETS)], replaced)
    for value in ITEMS:
        for vr in ("SQ", "UN", "OB"):
            number += 1
            replaced = {
                each.tag: element(each.tag, vr, value)
                for each in attributes
                if each.vr == "SQ"
            }
            yield number, data_set(number, b"", replaced)


def test_whatever_is_told_to_be_stored_is_found(home: Home) -> None:
    ingest = Ingest(home.parts)
    told = set()
    for number, content in instances():
        uid = UID(f"1.2.{number}.1.1")
        arrival = ingest.begin(
            OPERATOR, Announced(UID(CT), uid, TRANSFER_SYNTAXES[EXPLICIT_VR_LE])
        )
        try:
            arrival.write(memoryview(content))
            arrival.finish()
        except LeadglassError as error:
            arrival.refuse(error)
        else:
            told.add(uid)
    assert {each.instance_uid for each in locations(home.parts)} == told
    check_whole(home.parts)
    assert len(told) > len(VALUES) * len(VRS) * 0.9
