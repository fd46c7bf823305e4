"""One value in the JSON model (PS3.18 §F.2), from the bytes of its element.

Numbers are those of the standard's grammar, finite, and such that every reader of
JSON keeps them; what is not stands as a string, which PS3.18 Table F.2.3-1 allows.
"""

import math
import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from struct import Struct
from types import MappingProxyType
from typing import Any, Final

from leadglass.dicom.charsets import decode_text
from leadglass.dicom.dataset import NUMBERS
from leadglass.dicom.model.walk import Value
from leadglass.dicom.personname import GROUPS

Json = dict[str, Any]
# Gives the URI of a value that does not stand in the metadata.
BulkUri = Callable[[Value], str]

BINARY_VRS: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
# Bytes of one word of a VR, which is little endian in the model (PS3.18 §F.2.7).
WORD_BYTES: Final = MappingProxyType(
    {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8, "AT": 2}
    | {vr: Struct("<" + code).size for vr, code in NUMBERS.items()}
)
SINGLE_VRS: Final = frozenset({"LT", "ST", "UT", "UR"})  # a backslash is a letter
# Leading spaces are insignificant (PS3.5 §6.2). In LO, SH and PN they are as well,
# but readers keep them, and so does the model.
_STRIPPED_VRS: Final = frozenset({"AE", "CS", "DS", "IS"})

_INTEGER = re.compile(r"[+-]?\d{1,20}", re.ASCII)
_DECIMAL = re.compile(
    r"[+-]?(\d{1,20}(\.\d{0,20})?|\.\d{1,20})([eE][+-]?\d{1,3})?", re.ASCII
)
# Integers that a reader with floating point numbers alone keeps (RFC 8259 §6).
INTEGER_MAX: Final = 2**53 - 1

_LAYOUTS: Final = {
    is_little: {vr: Struct(order + code) for vr, code in NUMBERS.items()}
    | {"AT": Struct(order + "HH")}
    for is_little, order in ((True, "<"), (False, ">"))
}


def swapped(raw: bytes, word_bytes: int) -> bytes:
    """Return the bytes with the order of each word reversed; a rest stays."""
    if word_bytes == 1:
        return raw
    whole = len(raw) - len(raw) % word_bytes
    out = bytearray(raw)
    for at in range(word_bytes):
        out[at:whole:word_bytes] = raw[word_bytes - 1 - at : whole : word_bytes]
    return bytes(out)


def entry(value: Value, bulk_uri: BulkUri) -> Json:
    """Return an attribute's object, without its tag."""
    vr, raw = value.vr, value.raw
    if raw is None:
        return {"vr": vr, "BulkDataURI": bulk_uri(value)}
    if vr in BINARY_VRS:
        if not raw:
            return {"vr": vr}
        if not value.is_little_endian:
            raw = swapped(raw, WORD_BYTES.get(vr, 1))
        return {"vr": vr, "InlineBinary": b64encode(raw).decode("ascii")}
    found = values(value)
    return {"vr": vr, "Value": found} if found else {"vr": vr}


def values(value: Value) -> list[Any]:
    """Return the values of an element that is neither bulk nor binary."""
    vr, raw = value.vr, value.raw
    assert raw is not None  # bulk data has no values; ``entry`` looks
    layout = _LAYOUTS[value.is_little_endian].get(vr)
    if layout is not None:
        whole = raw[: len(raw) - len(raw) % layout.size]
        if vr == "AT":
            return [f"{a:04X}{b:04X}" for a, b in layout.iter_unpack(whole)]
        return [number_json(number) for (number,) in layout.iter_unpack(whole)]
    texts = _texts(vr, raw, value.charsets)
    if not any(texts):
        return []
    convert = _TEXT_VALUES.get(vr)
    return [(convert(each) if convert else each) if each else None for each in texts]


def _texts(vr: str, raw: bytes, charsets: tuple[str, ...]) -> list[str]:
    text = decode_text(raw, vr, charsets).rstrip(" \0")
    if vr in SINGLE_VRS:
        return [text]
    texts = [each.rstrip(" \0") for each in text.split("\\")]
    if vr in _STRIPPED_VRS:
        return [each.strip(" \0") for each in texts]
    return texts


def number_json(number: float) -> float | str:
    """Return a binary number as JSON may hold it."""
    if isinstance(number, int):
        return number if abs(number) <= INTEGER_MAX else str(number)
    if math.isfinite(number):
        return number
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


def _integer(text: str) -> int | str:
    if not _INTEGER.fullmatch(text) or abs(int(text)) > INTEGER_MAX:
        return text
    return int(text)


def _decimal(text: str) -> float | str:
    number = float(text) if _DECIMAL.fullmatch(text) else math.inf
    return number if math.isfinite(number) else text


def name_json(text: str) -> Json | None:
    """Return the groups of a person name; ``None`` for an empty one (§F.2.5)."""
    groups = text.split("=")[: len(GROUPS)]
    name = {group: part for group, part in zip(GROUPS, groups, strict=False) if part}
    return name or None


_TEXT_VALUES: Final[Mapping[str, Callable[[str], Any]]] = MappingProxyType(
    {"IS": _integer, "DS": _decimal, "PN": name_json}
)
