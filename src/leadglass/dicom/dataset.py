"""Small data sets, whole in memory: identifiers and captured sequences (PS3.5 §7).

Values stay bytes until they are asked for. What is read from a peer is bounded in
length, depth and number of elements before anything is made of it.
"""

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from struct import Struct
from types import MappingProxyType
from typing import Final, NamedTuple

from pydicom.datadict import dictionary_VR

from leadglass.dicom.attributes import BY_TAG
from leadglass.dicom.charsets import decode_text
from leadglass.dicom.transfer_syntaxes import (
    EXPLICIT_VR_LE,
    TRANSFER_SYNTAXES,
    TransferSyntax,
)
from leadglass.dicom.uids import UID
from leadglass.errors import BadData

LENGTH_BYTES_MAX: Final = 1024 * 1024  # of an identifier, as ``wire.dimse`` has it
DEPTH_MAX: Final = 16  # real identifiers have 3
ELEMENTS_MAX: Final = 20_000

SPECIFIC_CHARACTER_SET: Final = 0x0008_0005
UNDEFINED: Final = 0xFFFF_FFFF
ITEM: Final = 0xFFFE_E000
ITEM_END: Final = 0xFFFE_E00D
SEQUENCE_END: Final = 0xFFFE_E0DD
DELIMITERS: Final = 0xFFFE  # the group of these

# VRs with two reserved bytes and a length of 32 bits (PS3.5 §7.1.2).
LONG_VRS: Final = frozenset(
    {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR"}
    | {b"UT", b"UV"}
)
# The others (PS3.5 §6.2), and the one that is found although nobody defined it.
SHORT_VRS: Final = frozenset(
    {b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO"}
    | {b"LT", b"PN", b"SH", b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US", b"??"}
)
# VRs whose values are numbers, with the layout of one.
NUMBERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "US": "H",
        "SS": "h",
        "UL": "I",
        "SL": "i",
        "FL": "f",
        "FD": "d",
        "UV": "Q",
        "SV": "q",
    }
)
_LITTLE: Final = {vr: Struct("<" + code) for vr, code in NUMBERS.items()}
_LITTLE["AT"] = Struct("<HH")
_BIG: Final = {vr: Struct(">" + code) for vr, code in NUMBERS.items()}
_BIG["AT"] = Struct(">HH")
# Padded with NUL; all other text is with a space (PS3.5 §6.2).
_NUL_PADDED: Final = frozenset({"UI", "OB", "UN"})
_UNSPLIT: Final = frozenset({"LT", "ST", "UT", "UR"})  # have one value
_AMBIGUOUS: Final = MappingProxyType({"US or SS": "US", "OB or OW": "OW"})


def vr_of(tag: int) -> str:
    """Return the dictionary's VR of a tag; ``UN`` for what it does not know."""
    known = BY_TAG.get(tag)
    if known is not None:
        return known.vr
    if tag & 0xFFFF == 0:
        return "UL"  # group length
    try:
        vr = dictionary_VR(tag)
    except KeyError:
        return "UN"
    return _AMBIGUOUS.get(vr, vr[:2])


class Element(NamedTuple):
    """One element: bytes as they stand, or the items of a sequence."""

    vr: str
    value: "bytes | tuple[DataSet, ...]"


@dataclass(slots=True)
class DataSet:
    """Elements by tag."""

    elements: dict[int, Element] = field(default_factory=dict)
    is_little_endian: bool = True

    def __contains__(self, tag: int) -> bool:
        return tag in self.elements

    def __iter__(self) -> Iterator[int]:
        return iter(sorted(self.elements))

    @property
    def charsets(self) -> tuple[str, ...]:
        """The defined terms of Specific Character Set."""
        element = self.elements.get(SPECIFIC_CHARACTER_SET)
        if element is None or not isinstance(element.value, bytes):
            return ()
        return split_terms(element.value)

    def texts(self, tag: int, charsets: tuple[str, ...] | None = None) -> list[str]:
        """Return the values of an element as text; none: it is absent or empty."""
        element = self.elements.get(tag)
        if element is None or not isinstance(element.value, bytes):
            return []
        return values_of(
            element.vr,
            element.value,
            self.charsets if charsets is None else charsets,
            is_little_endian=self.is_little_endian,
        )

    def text(self, tag: int) -> str | None:
        """Return the first value; ``None``: the element is absent or empty."""
        values = self.texts(tag)
        return values[0] if values else None

    def items(self, tag: int) -> tuple["DataSet", ...]:
        """Return the items of a sequence; none: it is absent, empty or no sequence."""
        element = self.elements.get(tag)
        if element is None or isinstance(element.value, bytes):
            return ()
        return element.value

    def set(self, tag: int, vr: str, value: "bytes | tuple[DataSet, ...]") -> None:
        """Put an element, in place of the one there is."""
        self.elements[tag] = Element(vr, value)

    # --- bytes ------------------------------------------------------------------

    @classmethod
    def decode(
        cls,
        data: bytes,
        transfer_syntax: UID = EXPLICIT_VR_LE,
        *,
        length_bytes_max: int = LENGTH_BYTES_MAX,
    ) -> "DataSet":
        """Read a whole data set.

        Raises:
            BadData: It is malformed, or passes a limit.
        """
        syntax = TRANSFER_SYNTAXES[transfer_syntax]
        if syntax.deflated:
            data = _inflated(data, length_bytes_max)
        if len(data) > length_bytes_max:
            raise BadData(f"a data set of more than {length_bytes_max} bytes")
        return _Reader(data, syntax).data_set()

    def encode(self, transfer_syntax: UID = EXPLICIT_VR_LE) -> bytes:
        """Return the bytes; sequences have defined lengths.

        Values of numbers must be of the byte order they go out in.
        """
        syntax = TRANSFER_SYNTAXES[transfer_syntax]
        data = _encode(self, syntax)
        if not syntax.deflated:
            return data
        deflater = zlib.compressobj(wbits=-15)
        data = deflater.compress(data) + deflater.flush()
        return data + b"\0" * (len(data) % 2)


def decode_items(raw: bytes, syntax: TransferSyntax) -> tuple[DataSet, ...]:
    """Return the items of a sequence's value, as it stands in a data set.

    Raises:
        BadData: It is malformed, or passes a limit.
    """
    return _Reader(raw, syntax).items()


def items_in(data: bytes, syntax: TransferSyntax, tag: int) -> "Iterator[DataSet]":
    """Yield the items of one sequence at the top of a long data set, one at a time.

    For directories, which may have a hundred thousand records: the limits hold for
    each item, and only one is in memory. What follows the sequence is not read.

    Raises:
        BadData: It is malformed, passes a limit, or has no such sequence.
    """
    return _Reader(data, syntax).items_in(tag)


def split_terms(raw: bytes) -> tuple[str, ...]:
    """Return the defined terms of a CS value; leading empty ones count."""
    text = raw.decode("ascii", "replace").rstrip(" \0")
    return tuple(term.strip() for term in text.split("\\")) if text else ()


def values_of(
    vr: str, raw: bytes, charsets: tuple[str, ...], *, is_little_endian: bool = True
) -> list[str]:
    """Return the values of an element as text, without padding."""
    if vr in NUMBERS or vr == "AT":
        return _numbers_of(vr, raw, is_little_endian=is_little_endian)
    text = decode_text(raw, vr, charsets).rstrip(" \0")
    if not text:
        return []
    if vr in _UNSPLIT:
        return [text]
    return [value.strip(" \0") for value in text.split("\\")]


def _numbers_of(vr: str, raw: bytes, *, is_little_endian: bool) -> list[str]:
    """Return binary values as text; what is left over at the end is left out."""
    layout = (_LITTLE if is_little_endian else _BIG)[vr]
    whole = len(raw) - len(raw) % layout.size
    values = layout.iter_unpack(raw[:whole])
    if vr == "AT":
        return [f"{group:04X}{element:04X}" for group, element in values]
    return [str(number) for (number,) in values]


def pad(vr: str, raw: bytes) -> bytes:
    """Return the value with an even length."""
    if len(raw) % 2:
        return raw + (b"\0" if vr in _NUL_PADDED else b" ")
    return raw


def _inflated(data: bytes, length_bytes_max: int) -> bytes:
    inflater = zlib.decompressobj(wbits=-15)
    try:
        plain = inflater.decompress(data, length_bytes_max + 1)
    except zlib.error:
        raise BadData("a deflated data set does not inflate") from None
    if len(plain) > length_bytes_max:
        raise BadData(f"a data set of more than {length_bytes_max} bytes")
    return plain


class _Reader:
    """Reads one data set out of bytes that are all there."""

    def __init__(self, data: bytes, syntax: TransferSyntax) -> None:
        order = "<" if syntax.little_endian else ">"
        self._data = data
        self._at = 0
        self._count = 0
        self._little = syntax.little_endian
        self._is_implicit = syntax.implicit_vr
        self._tag = Struct(order + "HH")
        self._short = Struct(order + "H")
        self._long = Struct(order + "I")

    def data_set(self) -> DataSet:
        return self._elements(len(self._data), depth=0, is_implicit=self._is_implicit)

    def items(self) -> tuple[DataSet, ...]:
        return self._items(len(self._data), 0, is_implicit=self._is_implicit)

    def items_in(self, wanted: int) -> Iterator[DataSet]:
        end = len(self._data)
        while True:  # _take ends it, where the data ends
            tag = self._read_tag()
            vr, length = self._vr_and_length(tag, is_implicit=self._is_implicit)
            if tag == wanted:
                break
            self._value(vr, length, end, 0, is_implicit=self._is_implicit)
        if vr != "SQ":
            raise BadData("a value where a sequence must be")
        if length != UNDEFINED:
            if length > end - self._at:
                raise BadData("an element is longer than what holds it")
            end = self._at + length
        while self._at < end:
            self._count = 0
            item = self._item(end, 0, is_implicit=self._is_implicit)
            if item is None:
                return
            yield item

    def _elements(
        self, end: int, *, depth: int, is_implicit: bool, needs_end: bool = False
    ) -> DataSet:
        """Read elements up to ``end``, or to the delimiter of an undefined item."""
        found = DataSet(is_little_endian=self._little)
        while self._at < end:
            tag = self._read_tag()
            if tag >> 16 == DELIMITERS:
                self._read_long()
                if tag != ITEM_END or not depth:
                    raise BadData("a delimiter where none may be")
                if needs_end:
                    return found
                continue  # at the end of a defined length: harmless
            self._count += 1
            if self._count > ELEMENTS_MAX:
                raise BadData("a data set of too many elements")
            if tag in found.elements:
                raise BadData("an attribute stands twice in the data set")
            vr, length = self._vr_and_length(tag, is_implicit=is_implicit)
            found.elements[tag] = Element(
                vr, self._value(vr, length, end, depth, is_implicit=is_implicit)
            )
        if needs_end:
            raise BadData("an item is cut short")
        return found

    def _vr_and_length(self, tag: int, *, is_implicit: bool) -> tuple[str, int]:
        if is_implicit:
            return vr_of(tag), self._read_long()
        raw = self._take(2)
        if raw in LONG_VRS:
            self._take(2)
            length = self._read_long()
        elif raw in SHORT_VRS:
            length = self._short.unpack(self._take(2))[0]
        else:
            raise BadData("an element without a known value representation")
        vr = raw.decode("ascii")
        if vr == "UN" and length != UNDEFINED:
            known = vr_of(tag)  # a peer without dictionary; ours may know better
            vr = "UN" if known == "SQ" else known
        return vr, length

    def _value(
        self, vr: str, length: int, end: int, depth: int, *, is_implicit: bool
    ) -> "bytes | tuple[DataSet, ...]":
        if length == UNDEFINED:
            if vr not in {"SQ", "UN"} and not is_implicit:
                raise BadData("a value of undefined length that is no sequence")
            # UN of undefined length is a sequence in Implicit VR (PS3.5 §6.2.2).
            return self._items(
                end, depth, is_implicit=is_implicit or vr == "UN", needs_end=True
            )
        if length > end - self._at:
            raise BadData("an element is longer than what holds it")
        if vr == "SQ":
            return self._items(self._at + length, depth, is_implicit=is_implicit)
        return self._take(length)

    def _items(
        self, end: int, depth: int, *, is_implicit: bool, needs_end: bool = False
    ) -> tuple[DataSet, ...]:
        """Read items up to ``end``, or to the delimiter of an undefined sequence."""
        if depth >= DEPTH_MAX:
            raise BadData("sequences are nested too deeply")
        items = []
        while self._at < end:
            item = self._item(end, depth, is_implicit=is_implicit)
            if item is not None:
                items.append(item)
            elif needs_end:
                return tuple(items)
        if needs_end:
            raise BadData("a sequence is cut short")
        return tuple(items)

    def _item(self, end: int, depth: int, *, is_implicit: bool) -> DataSet | None:
        """Read the next item; ``None``: a delimiter stands in its place."""
        tag = self._read_tag()
        length = self._read_long()
        if tag == SEQUENCE_END:
            return None
        if tag != ITEM:
            raise BadData("something else than an item in a sequence")
        is_undefined = length == UNDEFINED
        item_end = end if is_undefined else self._at + length
        if item_end > end:
            raise BadData("an item is longer than its sequence")
        return self._elements(
            item_end, depth=depth + 1, is_implicit=is_implicit, needs_end=is_undefined
        )

    def _read_tag(self) -> int:
        group, element = self._tag.unpack(self._take(4))
        return int(group) << 16 | int(element)

    def _read_long(self) -> int:
        return int(self._long.unpack(self._take(4))[0])

    def _take(self, count: int) -> bytes:
        taken = self._data[self._at : self._at + count]
        if len(taken) < count:
            raise BadData("a data set is cut short")
        self._at += count
        return taken


def _encode(data_set: DataSet, syntax: TransferSyntax) -> bytes:
    order = "<" if syntax.little_endian else ">"
    tags, short, long = Struct(order + "HH"), Struct(order + "H"), Struct(order + "I")
    parts: list[bytes] = []
    for tag in data_set:
        vr, value = data_set.elements[tag]
        if isinstance(value, tuple):
            vr = "SQ"
            value = b"".join(
                tags.pack(ITEM >> 16, ITEM & 0xFFFF) + long.pack(len(raw)) + raw
                for raw in (_encode(item, syntax) for item in value)
            )
        value = pad(vr, value)
        code = vr.encode("ascii")
        if syntax.implicit_vr:
            head = long.pack(len(value))
        elif code in LONG_VRS:
            head = code + b"\0\0" + long.pack(len(value))
        elif len(value) > 0xFFFF:
            raise BadData("a value is too long for its value representation")
        else:
            head = code + short.pack(len(value))
        parts += (tags.pack(tag >> 16, tag & 0xFFFF), head, value)
    return b"".join(parts)
