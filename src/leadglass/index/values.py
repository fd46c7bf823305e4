"""How attributes become text in columns; the query compares with the same text."""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from leadglass.dicom.attributes import BY_LEVEL, Level
from leadglass.dicom.matching import RANGE_VRS, comparable
from leadglass.dicom.personname import PersonName
from leadglass.index.tables import SEVERAL, column_names, has_column

# Between the values of an attribute that should have one only; no value holds it,
# since it separates them in the data set, too (PS3.5 §6.4).
SEPARATOR = "\\"

# Items of one sequence, and nestings below it, that can be searched. Code sequences
# have one item, and their keys lie in it; a structured report's have thousands.
ITEMS_MAX = 32

# Series and instances come in the order of these (0020,0011) and (0020,0013), which
# are signed 32-bit integers (PS3.5 §6.2, IS); those without one come last.
PLACE_LAST = 2**31 - 1
_INTEGER = re.compile(r"[+-]?\d{1,10}", re.ASCII)

# Names and dates that are kept as columns hold them: all instances of the studies
# that are arriving say the same ones.
STORED_KEPT = 4_096

Json = Mapping[str, Any]

# A row of ``item_value``: sequence, item, tag, value.
ItemValue = tuple[int, int, int, str]


def texts(element: Json | None) -> list[str]:
    """Return the values of an element of the DICOM JSON model, the empty ones too."""
    if element is None:
        return []
    return [_text(value) for value in element.get("Value", ())]


def _text(value: Any) -> str:
    if type(value) is str:
        return value
    if isinstance(value, Mapping):  # a person name, PS3.18 §F.2.2
        groups = (value.get(g, "") for g in ("Alphabetic", "Ideographic", "Phonetic"))
        return "=".join(groups).rstrip("=")
    return "" if value is None else str(value)


@lru_cache(STORED_KEPT)
def stored(vr: str, value: str) -> tuple[str, ...]:
    """Return what columns hold of one value: one text, of a name three."""
    if vr == "PN":
        return PersonName.parse(value).folded
    if vr in RANGE_VRS and value:
        return (comparable(vr, value),)
    return (value,)


def columns_of(level: Level, attributes: Json) -> dict[str, str]:
    """Return the columns of a level by name."""
    columns = _EMPTY[level].copy()
    known = _COLUMNS[level]
    for tag, element in attributes.items():
        if tag in known and (values := element.get("Value")):
            vr, names = known[tag]
            value = SEPARATOR.join(map(_text, values))
            if vr in _AS_IT_IS:
                columns[names[0]] = value
            else:
                columns.update(zip(names, stored(vr, value), strict=True))
    return columns


def item_values_of(level: Level, attributes: Json) -> Iterator[ItemValue]:
    """Yield what has several values, and what lies in sequences."""
    for attribute in _SEVERAL[level]:
        element = attributes.get(attribute.hex)
        if element is None:
            continue
        if attribute.vr == "SQ":
            yield from _items(attribute.tag, element)
        else:
            for item, value in enumerate(texts(element)[:ITEMS_MAX]):
                for text in set(stored(attribute.vr, value)) - {""}:
                    yield attribute.tag, item, attribute.tag, text


def _items(sequence: int, element: Json) -> Iterator[ItemValue]:
    """Yield the values of a sequence; those of nested sequences with their tags.

    A nested key is found whatever item of the nested sequence it is in.
    """
    for number, item in enumerate(element.get("Value", ())[:ITEMS_MAX]):
        for tag, vr, value in _flat(item):
            for text in set(stored(vr, value)) - {""}:
                yield sequence, number, tag, text


def _flat(item: Json, depth: int = 0) -> Iterator[tuple[int, str, str]]:
    for tag, element in item.items():
        vr = element.get("vr", "UN")
        if vr == "SQ":
            if depth == 0:
                for nested in element.get("Value", ())[:ITEMS_MAX]:
                    yield from _flat(nested, depth + 1)
        else:
            for value in texts(element)[:ITEMS_MAX]:
                yield int(tag, 16), vr, value


def place_of(number: str) -> int:
    """Return a Series or Instance Number as an integer to sort by."""
    text = number.strip()
    if not _INTEGER.fullmatch(text):
        return PLACE_LAST
    return max(-PLACE_LAST, min(PLACE_LAST, int(text)))


# By level and tag as the JSON model writes it: the VR, and the columns.
_COLUMNS: Mapping[Level, Mapping[str, tuple[str, Sequence[str]]]] = {
    level: {
        attribute.hex: (attribute.vr, column_names(attribute))
        for attribute in BY_LEVEL[level]
        if has_column(attribute)
    }
    for level in Level
}
_EMPTY = {
    level: {name: "" for _, names in columns.values() for name in names}
    for level, columns in _COLUMNS.items()
}
_AS_IT_IS = frozenset(
    vr for columns in _COLUMNS.values() for vr, _ in columns.values()
) - {"PN", *RANGE_VRS}
_SEVERAL = {
    level: tuple(
        attribute
        for attribute in BY_LEVEL[level]
        if (attribute.vr == "SQ" or attribute.tag in SEVERAL) and not attribute.computed
    )
    for level in Level
}
