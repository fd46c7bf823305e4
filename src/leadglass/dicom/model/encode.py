"""From the JSON model back to the bytes of a data set (PS3.18 §F.2, PS3.5 §7).

What comes in is a stranger's: sizes, depth, numbers and names are judged here. What
goes out is Explicit VR Little Endian, in the order of tags, text in UTF-8.
"""

import json
import math
import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from struct import Struct
from struct import error as struct_error
from typing import Any, Final

from pydicom.valuerep import format_number_as_ds

from leadglass.dicom.charsets import UTF_8
from leadglass.dicom.dataset import (
    DELIMITERS,
    ITEM,
    ITEM_END,
    LONG_VRS,
    NUMBERS,
    SEQUENCE_END,
    SHORT_VRS,
    SPECIFIC_CHARACTER_SET,
    UNDEFINED,
    pad,
)
from leadglass.dicom.header import PIXEL_DATA
from leadglass.dicom.model.values import BINARY_VRS, SINGLE_VRS, Json
from leadglass.dicom.personname import GROUPS
from leadglass.errors import BadData

DEPTH_MAX: Final = 32  # sequences in sequences, as for what is stored
ATTRIBUTES_MAX: Final = 500_000  # entries and values of one document
# Brackets and commas of a document. Each can become an object of some 60 bytes, from
# two bytes of text; an honest attribute has three.
JSON_MARKS_MAX: Final = 3 * ATTRIBUTES_MAX
DS_BYTES_MAX: Final = 16  # PS3.5 §6.2
_DIGITS_MAX: Final = 20  # of any integer that a value representation holds
_SHORT_BYTES_MAX: Final = 0xFFFF
_LONG_BYTES_MAX: Final = 0xFFFF_FFFE  # with an even length

_TAG = re.compile(r"[0-9A-Fa-f]{8}", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d{1,20}", re.ASCII)
_DECIMAL = re.compile(r"[+-]?(\d{1,40}(\.\d{0,40})?|\.\d{1,40})([eE][+-]?\d{1,3})?")
_SPECIAL: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_LAYOUTS: Final = {vr: Struct("<" + code) for vr, code in NUMBERS.items()}
_VRS: Final = {vr.decode("ascii") for vr in SHORT_VRS | LONG_VRS} - {"??"}
_HEAD = Struct("<HH2sH")
_LONG_HEAD = Struct("<HH2sHI")
_ITEM_HEAD = Struct("<HHI")
_ITEM_END: Final = _ITEM_HEAD.pack(ITEM_END >> 16, ITEM_END & 0xFFFF, 0)
_SEQUENCE_END: Final = _ITEM_HEAD.pack(SEQUENCE_END >> 16, SEQUENCE_END & 0xFFFF, 0)
_ITEM: Final = _ITEM_HEAD.pack(ITEM >> 16, ITEM & 0xFFFF, UNDEFINED)
# Group length, command set, file meta information, delimiters: none is an attribute
# of a data set's metadata.
_FOREIGN_GROUPS: Final = frozenset({0x0000, 0x0002, DELIMITERS})


class _Decimal(str):
    """A number as it was written, so that a DS keeps its digits."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Bulk:
    """What a BulkDataURI stands for.

    Attributes:
        pieces: The value; of encapsulated pixel data one piece per frame.
        is_encapsulated: The pieces become fragments, behind an empty offset table.
    """

    pieces: tuple[bytes, ...] = field(repr=False)
    is_encapsulated: bool = False

    @property
    def length(self) -> int:
        """Of all pieces, in bytes."""
        return sum(map(len, self.pieces))


# Gives the value that a URI stands for.
Resolve = Callable[[str], Bulk]


def no_bulk(_: str) -> Bulk:
    """Resolve nothing.

    Raises:
        BadData: Always.
    """
    raise BadData("bulk data that did not come along")


# --- reading JSON ---------------------------------------------------------------------


def entries_of_json(data: bytes) -> list[Json]:
    """Return the data sets of a document: an array of them, or one.

    Raises:
        BadData: It is not the JSON model, or passes a limit.
    """
    if sum(map(data.count, (b"{", b"[", b","))) > JSON_MARKS_MAX:
        raise BadData("metadata of too many values")
    try:
        found = json.loads(
            data.decode("utf-8"),
            parse_int=_integer,
            parse_float=_Decimal,
            parse_constant=_no_constant,
            object_pairs_hook=_object,
        )
    except (ValueError, RecursionError):
        # Not "from" it: the error of the parser quotes the document.
        raise BadData("metadata is not well-formed JSON") from None
    listed = found if isinstance(found, list) else [found]
    for each in listed:
        if not isinstance(each, dict):
            raise BadData("metadata is not an array of data sets")
    return listed


def _integer(text: str) -> int:
    if len(text) > _DIGITS_MAX + 1:
        raise ValueError("an integer that no value representation holds")
    return int(text)


def _no_constant(_: str) -> float:
    raise ValueError("NaN and Infinity are no JSON")


def _object(pairs: list[tuple[str, Any]]) -> Json:
    """Refuse a name that stands twice: two readers would see two patients."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


# --- bytes out ------------------------------------------------------------------------


def data_set_pieces(entries: Json, resolve: Resolve = no_bulk) -> Iterator[bytes]:
    """Yield the data set in Explicit VR Little Endian.

    Text is written in UTF-8, and Specific Character Set says so where it is needed.
    Sequences have undefined lengths, so that nothing is gathered.

    Raises:
        BadData: The entries are not the model, or pass a limit.
    """
    return _Encoder(resolve).data_set(_with_charset(entries), depth=0)


def _with_charset(entries: Json) -> Json:
    tag = f"{SPECIFIC_CHARACTER_SET:08X}"
    # What a stranger's JSON says of its character set was true before it was JSON.
    if tag in entries or not json.dumps(entries, ensure_ascii=False).isascii():
        return {**entries, tag: {"vr": "CS", "Value": [UTF_8]}}
    return entries


@dataclass(slots=True)
class _Encoder:
    resolve: Resolve
    count: int = 0

    def data_set(self, entries: Json, depth: int) -> Iterator[bytes]:
        if depth > DEPTH_MAX:
            raise BadData("sequences are nested too deeply")
        tags = {_tag(name): entry for name, entry in entries.items()}
        if len(tags) != len(entries):
            raise BadData("an attribute stands twice in the metadata")
        for tag in sorted(tags):
            if tag & 0xFFFF == 0:
                continue  # group lengths are wrong by now
            if tag == SPECIFIC_CHARACTER_SET and depth:
                continue  # the text is in the character set of the whole
            yield from self._element(tag, tags[tag], depth)

    def _element(self, tag: int, entry: object, depth: int) -> Iterator[bytes]:
        vr = entry.get("vr") if isinstance(entry, dict) else None
        if not isinstance(entry, dict) or not isinstance(vr, str) or vr not in _VRS:
            raise BadData("an attribute without a known value representation")
        if len({"Value", "InlineBinary", "BulkDataURI"} & entry.keys()) > 1:
            raise BadData("an attribute with more than one value")
        values = entry.get("Value", [])
        if not isinstance(values, list):
            raise BadData("the values of an attribute are no array")
        self.count += 1 + len(values)
        if self.count > ATTRIBUTES_MAX:
            raise BadData("metadata of too many values")
        if vr == "SQ":
            yield from self._sequence(tag, values, depth)
            return
        if "BulkDataURI" in entry:
            yield from self._bulk(tag, vr, entry["BulkDataURI"])
            return
        if "InlineBinary" in entry:
            raw = _inline(entry["InlineBinary"])
        elif vr in BINARY_VRS and values:
            raise BadData("a binary attribute with values")
        else:
            raw = _raw(vr, values)
        raw = pad(vr, raw)
        yield _head(tag, vr, len(raw))
        yield raw

    def _sequence(self, tag: int, items: list[Any], depth: int) -> Iterator[bytes]:
        yield _LONG_HEAD.pack(tag >> 16, tag & 0xFFFF, b"SQ", 0, UNDEFINED)
        for item in items:
            if item is not None and not isinstance(item, dict):
                raise BadData("an item of a sequence is no data set")
            yield _ITEM
            yield from self.data_set(item or {}, depth + 1)
            yield _ITEM_END
        yield _SEQUENCE_END

    def _bulk(self, tag: int, vr: str, uri: object) -> Iterator[bytes]:
        if not isinstance(uri, str):
            raise BadData("a BulkDataURI that is no string")
        bulk = self.resolve(uri)
        if bulk.is_encapsulated:
            if tag not in PIXEL_DATA:
                raise BadData("a compressed value that is no pixel data")
            yield _LONG_HEAD.pack(tag >> 16, tag & 0xFFFF, b"OB", 0, UNDEFINED)
            yield _ITEM_HEAD.pack(ITEM >> 16, ITEM & 0xFFFF, 0)
            for piece in bulk.pieces:
                even = len(piece) + len(piece) % 2
                if even > _LONG_BYTES_MAX:
                    raise BadData("a fragment is too long")
                yield _ITEM_HEAD.pack(ITEM >> 16, ITEM & 0xFFFF, even)
                yield piece
                yield bytes(even - len(piece))
            yield _SEQUENCE_END
            return
        padding = pad(vr, b"\0" * (bulk.length % 2))[bulk.length % 2 :]
        yield _head(tag, vr, bulk.length + len(padding))
        yield from bulk.pieces
        yield padding


def _tag(name: str) -> int:
    if not _TAG.fullmatch(name):
        raise BadData("metadata with a name that is no tag")
    tag = int(name, 16)
    if tag >> 16 in _FOREIGN_GROUPS:
        raise BadData("command, file meta or delimiter elements in the metadata")
    return tag


def _head(tag: int, vr: str, length: int) -> bytes:
    code = vr.encode("ascii")
    is_long = code in LONG_VRS
    if length > (_LONG_BYTES_MAX if is_long else _SHORT_BYTES_MAX):
        raise BadData("a value is too long for its value representation")
    if is_long:
        return _LONG_HEAD.pack(tag >> 16, tag & 0xFFFF, code, 0, length)
    return _HEAD.pack(tag >> 16, tag & 0xFFFF, code, length)


def _inline(text: object) -> bytes:
    try:
        # Line feeds are honest in base64 within XML; anything else is not.
        return b64decode("".join(str(text).split()), validate=True)
    except (Base64Error, ValueError):
        raise BadData("an InlineBinary that is no base64") from None


def _raw(vr: str, values: list[Any]) -> bytes:
    """Return the bytes of values."""
    layout = _LAYOUTS.get(vr)
    if layout is not None:
        return b"".join(_number(vr, each, layout) for each in values)
    if vr == "AT":
        return b"".join(_attribute_tag(each) for each in values)
    if vr in SINGLE_VRS and len(values) > 1:
        raise BadData("a value representation of one value has several")
    texts = [_text(vr, each) for each in values]
    if vr not in SINGLE_VRS and any("\\" in each for each in texts):
        raise BadData("a backslash within a value")
    try:
        return "\\".join(texts).encode("utf-8")
    except UnicodeEncodeError:
        raise BadData("text that is no Unicode") from None


def _number(vr: str, value: object, layout: Struct) -> bytes:
    text = str(value)
    try:
        if vr not in {"FL", "FD"}:
            if isinstance(value, bool) or not _INTEGER.fullmatch(text):
                raise BadData("a number that is no integer")
            return layout.pack(int(text))
        if text in _SPECIAL:
            return layout.pack(_SPECIAL[text])
        if not _DECIMAL.fullmatch(text) or not math.isfinite(float(text)):
            raise BadData("a value that is no number")
        return layout.pack(float(text))
    except (struct_error, OverflowError):
        raise BadData("a number beyond its value representation") from None


def _attribute_tag(value: object) -> bytes:
    text = str(value)
    if not _TAG.fullmatch(text):
        raise BadData("a value that is no tag")
    return Struct("<HH").pack(int(text[:4], 16), int(text[4:], 16))


def _text(vr: str, value: object) -> str:
    if value is None:
        return ""
    if vr == "PN":
        return _name(value)
    if isinstance(value, str) and not isinstance(value, _Decimal):
        return value
    if isinstance(value, bool) or not isinstance(value, (int, _Decimal)):
        raise BadData("a value of another kind than its representation")
    return _decimal(str(value)) if vr == "DS" else str(value)


def _decimal(text: str) -> str:
    """Return a DS; digits that it cannot hold are rounded away."""
    if len(text) <= DS_BYTES_MAX:
        return text
    if not _DECIMAL.fullmatch(text) or not math.isfinite(float(text)):
        raise BadData("a value that is no number")
    return str(format_number_as_ds(float(text)))


def _name(value: object) -> str:
    if isinstance(value, str) and not isinstance(value, _Decimal):
        return value
    if not isinstance(value, dict) or value.keys() - set(GROUPS):
        raise BadData("a person name without its groups")
    groups = [value.get(group) or "" for group in GROUPS]
    if not all(isinstance(each, str) and "=" not in each for each in groups):
        raise BadData("a person name whose groups are no text")
    return "=".join(groups).rstrip("=")
