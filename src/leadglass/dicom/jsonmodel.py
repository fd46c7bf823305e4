"""The DICOM JSON model (PS3.18 Annex F) of the attributes that are kept."""

import math
import re
import struct
from collections.abc import Iterable, Mapping
from typing import Any, Final

from leadglass.dicom.charsets import encode_text
from leadglass.dicom.dataset import NUMBERS, DataSet, Element, values_of
from leadglass.dicom.personname import GROUPS

Json = dict[str, Any]

_INTEGERS: Final = frozenset({"IS", "SL", "SS", "SV", "UL", "US", "UV"})
_DECIMALS: Final = frozenset({"DS", "FD", "FL"})
# As the standard writes them (PS3.5 §6.2); Python's would take ``1_000``. Longer ones
# than these are none, and cost more to read than they are worth.
_INTEGER = re.compile(r"[+-]?\d{1,20}", re.ASCII)
_DECIMAL = re.compile(
    r"[+-]?(\d{1,20}(\.\d{0,20})?|\.\d{1,20})([eE][+-]?\d{1,3})?", re.ASCII
)
_TAG = re.compile(r"[0-9A-Fa-f]{8}", re.ASCII)
_TAG_LAYOUT: Final = struct.Struct("<HH")
_LAYOUTS: Final = {vr: struct.Struct("<" + code) for vr, code in NUMBERS.items()}


def element_json(
    element: Element, charsets: tuple[str, ...], *, is_little_endian: bool = True
) -> Json:
    """Return one attribute's entry: VR, and values unless there are none."""
    vr, value = element
    if isinstance(value, tuple):
        return items_json(value, charsets)
    texts = values_of(vr, value, charsets, is_little_endian=is_little_endian)
    return values_json(vr, texts)


def items_json(items: Iterable[DataSet], charsets: tuple[str, ...]) -> Json:
    """Return a sequence's entry."""
    values = [data_set_json(item, charsets) for item in items]
    return {"vr": "SQ", "Value": values} if values else {"vr": "SQ"}


def values_json(vr: str, texts: list[str]) -> Json:
    """Return the entry of an attribute whose values are known as text."""
    if not any(texts):
        return {"vr": vr}
    if vr == "PN":
        return {"vr": vr, "Value": [_name(text) for text in texts]}
    if vr in _INTEGERS or vr in _DECIMALS:
        return {"vr": vr, "Value": [_number(vr, text) for text in texts]}
    return {"vr": vr, "Value": [text or None for text in texts]}


def data_set_json(data_set: DataSet, charsets: tuple[str, ...] = ()) -> Json:
    """Return a data set; an item without a character set has its parent's."""
    own = data_set.charsets or charsets
    return {
        f"{tag:08X}": element_json(
            data_set.elements[tag], own, is_little_endian=data_set.is_little_endian
        )
        for tag in data_set
        if data_set.elements[tag].vr not in {"OB", "OD", "OF", "OL", "OV", "OW", "UN"}
    }


def _name(text: str) -> Json | None:
    groups = text.split("=")[: len(GROUPS)]
    name = {group: value for group, value in zip(GROUPS, groups, strict=False) if value}
    return name or None


def _number(vr: str, text: str) -> int | float | str | None:
    """Return a number; what is none stays text (PS3.18 §F.2.3, IS and DS)."""
    if not text:
        return None
    if vr in _INTEGERS:
        return int(text) if _INTEGER.fullmatch(text) else text
    number = float(text) if _DECIMAL.fullmatch(text) else math.inf
    return number if math.isfinite(number) else text


def texts_of(entry: Mapping[str, Any] | None) -> list[str]:
    """Return the values of an attribute's entry as a data set holds them."""
    if not entry:
        return []
    return [_text(value) for value in entry.get("Value", ())]


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, Mapping):
        groups = [str(value.get(group, "")) for group in GROUPS]
        return "=".join(groups).rstrip("=")
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))  # 16 characters is all that a DS may have
    return str(value)


def element_of(entry: Mapping[str, Any], charsets: tuple[str, ...]) -> Element:
    """Return the element of an entry, little endian, for an answer on the wire.

    Text that the character sets cannot hold is replaced; ``charsets.choose_charset``
    picks ones that can.
    """
    vr = str(entry.get("vr", "UN"))
    if vr == "SQ":
        items = entry.get("Value", ())
        return Element(vr, tuple(data_set_of(item, charsets) for item in items))
    texts = texts_of(entry)
    if vr in NUMBERS:
        return Element(vr, _numbers(vr, texts))
    if vr == "AT":
        return Element(vr, b"".join(_tag(text) for text in texts))
    text = "\\".join(texts)
    raw = encode_text(text, vr, charsets)
    if raw is None:
        raw = text.encode("ascii", "replace")
    return Element(vr, raw)


def _numbers(vr: str, texts: Iterable[str]) -> bytes:
    """Return binary values; none, if one is no such number.

    A data set may give an attribute in another representation than the table, and
    then hold more than fits: that must not end a query that finds it.
    """
    from_text = float if vr in _DECIMALS else int
    layout = _LAYOUTS[vr]
    try:
        return b"".join(layout.pack(from_text(text)) for text in texts if text)
    except (ValueError, OverflowError, struct.error):
        return b""


def _tag(text: str) -> bytes:
    if not _TAG.fullmatch(text):
        return b""
    return _TAG_LAYOUT.pack(int(text[:4], 16), int(text[4:], 16))


def data_set_of(
    entries: Mapping[str, Mapping[str, Any]], charsets: tuple[str, ...] = ()
) -> DataSet:
    """Return the data set of entries."""
    return DataSet(
        {int(tag, 16): element_of(entry, charsets) for tag, entry in entries.items()}
    )
