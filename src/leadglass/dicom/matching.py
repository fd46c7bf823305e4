"""Attribute matching of queries (PS3.4 §C.2.2.2): keys as values, and what they mean.

``parse_key`` reads a key attribute of a C-FIND identifier or QIDO-RS parameter;
``matches`` is the definition that the index's SQL is tested against.
"""

import re
from collections.abc import Iterator, Mapping
from collections.abc import Sequence as Values
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from leadglass.dicom.dataset import vr_of
from leadglass.dicom.personname import PersonName, fold
from leadglass.errors import BadData

# PS3.4 §C.2.2.2.4: wildcards are for these; elsewhere * and ? are characters.
WILDCARD_VRS: Final = frozenset(
    {"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"}
)
RANGE_VRS: Final = frozenset({"DA", "TM", "DT"})
# Values in one key; a list of UIDs is the only one that gets long.
VALUES_MAX: Final = 10_000
# Words in one fuzzy name; a name has five components, and few of these two words.
WORDS_MAX: Final = 12
WORD_BREAKS: Final = "^ -"


@dataclass(frozen=True, slots=True)
class Universal:
    """Matches everything: the key has no value (§C.2.2.2.3), or is ``*``."""


@dataclass(frozen=True, slots=True)
class Empty:
    """Matches entities whose attribute has no value (§C.2.2.2.7, ``""``)."""


@dataclass(frozen=True, slots=True)
class Single:
    """Matches this value (§C.2.2.2.1); of a PN without regard to case and accents."""

    value: str


@dataclass(frozen=True, slots=True)
class UIDList:
    """Matches any of these UIDs (§C.2.2.2.2)."""

    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wildcard:
    """Matches a pattern of ``*`` and ``?`` (§C.2.2.2.4)."""

    pattern: str


@dataclass(frozen=True, slots=True)
class Words:
    """Matches names in which each of these begins a word, in any order (§C.2.2.2.1.1).

    That is our fuzzy semantic matching of person names: ``zoe mul`` finds
    ``Müller^Zoë Anna``. Words are folded; a word begins a name or stands after one of
    ``WORD_BREAKS``. They must be of one component group. How names sound plays no part.
    """

    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Range:
    """Matches from ``low`` to ``high``, inclusive, as comparable text (§C.2.2.2.5).

    ``low`` is padded to the first moment it may mean, ``high`` to the last; ``None``
    is open.
    """

    low: str | None
    high: str | None


@dataclass(frozen=True, slots=True)
class Multiple:
    """Matches any of these (§C.2.2.2.8, or a list where a list is not expected)."""

    values: tuple["Match", ...]


@dataclass(frozen=True, slots=True)
class Sequence:
    """Matches when one item matches all keys (§C.2.2.2.6)."""

    keys: Mapping[int, "Match"]

    def __hash__(self) -> int:
        return hash(tuple(sorted(self.keys)))


Match = (
    Universal
    | Empty
    | Single
    | UIDList
    | Wildcard
    | Words
    | Range
    | Multiple
    | Sequence
)
UNIVERSAL: Final = Universal()

# The values of one item of a sequence, by tag.
Item = Mapping[int, Values[str]]

# How a partial date or time is completed: to its first and to its last moment.
_FIRST = MappingProxyType(
    {"DA": "00000101", "TM": "000000.000000", "DT": "00000101000000.000000"}
)
_LAST = MappingProxyType(
    {"DA": "99991231", "TM": "235959.999999", "DT": "99991231235959.999999"}
)
_FORMS: Final = MappingProxyType(
    {
        "DA": re.compile(r"\d{8}", re.ASCII),
        "TM": re.compile(r"\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?", re.ASCII),
        "DT": re.compile(
            r"\d{4}(\d{2}(\d{2}(\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?)?)?)?", re.ASCII
        ),
    }
)
_NO_WORD = re.compile(r"[\s^=,*?-]+")
_OFFSET = re.compile(r"[+-]\d{4}$", re.ASCII)
_RANGE = re.compile(r"([^-]*)-([^-]*)", re.ASCII)
# Of a DT the hyphen may also begin a zone. Zones west of Greenwich end at -1200, and
# no image is of the year 1400: that tells the two apart (PS3.4 §C.2.2.2.5.3).
_DT = r"\d{4,14}(?:\.\d{1,6})?(?:\+\d{4}|-(?:0\d|1[0-4])\d\d(?!\d))?"
_DT_MOMENT = re.compile(_DT, re.ASCII)
_DT_RANGE = re.compile(rf"((?:{_DT})?)-((?:{_DT})?)", re.ASCII)


def comparable(vr: str, text: str, *, last: bool = False) -> str:
    """Return a date or time as text that sorts as time does.

    Old forms (``1997.07.15``, ``10:15:30``) are understood. A value that is none is
    returned as it is: it sorts somewhere and is equal to itself.
    """
    plain = text.strip().replace(":", "") if vr != "DA" else text.strip()
    if vr == "DA":
        plain = plain.replace(".", "") if plain.count(".") == 2 else plain
    if vr == "DT":
        plain = _OFFSET.sub("", plain)
    if not _FORMS[vr].fullmatch(plain):
        return plain
    template = (_LAST if last else _FIRST)[vr]
    return plain + template[len(plain) :]


def parse_key(vr: str, values: Values[str]) -> Match:
    """Return what a key asks for.

    Args:
        vr: Value representation of the attribute.
        values: Its values as text, already split at the backslash.

    Raises:
        BadData: It is not a key: a range of three dates, too many values.
    """
    if len(values) > VALUES_MAX:
        raise BadData(f"a key of more than {VALUES_MAX} values")
    given = [value.strip() for value in values]
    if not any(given):
        return UNIVERSAL
    if len(given) == 1:
        return _one(vr, given[0])
    if vr == "UI":
        return UIDList(tuple(value for value in given if value))
    parsed = tuple(_one(vr, value) for value in given if value)
    return UNIVERSAL if UNIVERSAL in parsed else Multiple(parsed)


def parse_words(values: Values[str]) -> Match:
    """Return what a person name asks for when it is matched fuzzily.

    Raises:
        BadData: It has too many words.
    """
    if [value.strip() for value in values] == ['""']:
        return Empty()
    words = tuple(
        dict.fromkeys(
            word for value in values for word in _NO_WORD.split(fold(value)) if word
        )
    )
    if len(words) > WORDS_MAX:
        raise BadData(f"a name of more than {WORDS_MAX} words")
    return Words(words) if words else UNIVERSAL


def _one(vr: str, value: str) -> Match:
    if value == "*":
        return UNIVERSAL
    if value == '""':
        return Empty()
    if vr in RANGE_VRS:
        return _moment(vr, value)
    if vr == "UI":
        return UIDList((value,))
    if vr in WILDCARD_VRS and ("*" in value or "?" in value):
        return UNIVERSAL if not value.strip("*") else Wildcard(value)
    return Single(value)


def _moment(vr: str, value: str) -> Match:
    """Return a range, or a single moment as the range that it may mean.

    Zones are dropped (``comparable``): the index keeps local times, as the standard
    lets it where time zones were not negotiated (PS3.4 §C.2.2.2.5.3).
    """
    value = value.replace(" ", "")
    if "-" not in value or (vr == "DT" and _DT_MOMENT.fullmatch(value)):
        _check(vr, value)
        return Range(comparable(vr, value), comparable(vr, value, last=True))
    parts = (_DT_RANGE if vr == "DT" else _RANGE).fullmatch(value)
    if parts is None:
        raise BadData("a range key has other than two ends")
    low, high = parts.groups()
    if not low and not high:
        return UNIVERSAL
    for end in (low, high):
        if end:
            _check(vr, end)
    return Range(
        comparable(vr, low) if low else None,
        comparable(vr, high, last=True) if high else None,
    )


def _check(vr: str, value: str) -> None:
    plain = comparable(vr, value)
    if len(plain) != len(_FIRST[vr]):
        raise BadData(f"a key of VR {vr} is no such value")


# --- the definition ---------------------------------------------------------------


def wildcard_expression(pattern: str) -> re.Pattern[str]:
    """Return the pattern as a regular expression for whole values.

    What stands between two ``*`` is sought once, where it first occurs, and never
    again: taken back one by one, ``*a*a*a…b`` would keep a processor for ever.
    """
    first, *others = (_literally(part) for part in pattern.split("*"))
    if not others:
        return re.compile(first, re.DOTALL)
    *between, last = others
    sought = "".join(f"(?>.*?{part})" for part in between if part)
    return re.compile(f"{first}{sought}.*{last}", re.DOTALL)


def _literally(part: str) -> str:
    return "".join("." if c == "?" else re.escape(c) for c in part)


def matches(match: Match, vr: str, values: Values[str]) -> bool:
    """Tell whether an attribute with these values matches.

    An attribute without value matches only keys that ask for nothing or for that.
    Sequences are judged by ``matches_items``.
    """
    present = [value for value in values if value]
    if isinstance(match, Universal):
        return True
    if isinstance(match, Empty):
        return not present
    if isinstance(match, Multiple):
        return any(matches(each, vr, values) for each in match.values)
    return any(_matches_one(match, vr, value) for value in present)


def matches_items(match: Match, items: Values[Item]) -> bool:
    """Tell whether one item of a sequence matches all keys (§C.2.2.2.6).

    Keys of a sequence within an item are taken as keys of the item.
    """
    if isinstance(match, Empty):
        return not items
    if not isinstance(match, Sequence):
        return True
    keys = dict(_flat(match.keys))
    if not keys:
        return True
    return any(
        all(matches(key, vr_of(tag), item.get(tag, ())) for tag, key in keys.items())
        for item in items
    )


def _flat(keys: Mapping[int, Match]) -> Iterator[tuple[int, Match]]:
    """Yield the keys that ask for something, those within sequences too."""
    for tag, match in keys.items():
        if isinstance(match, Sequence):
            yield from _flat(match.keys)
        elif not isinstance(match, Universal):
            yield tag, match


def _matches_one(match: Match, vr: str, value: str) -> bool:
    if isinstance(match, UIDList):
        return value in match.values
    if isinstance(match, Range):
        moment = comparable(vr, value)
        return (match.low is None or match.low <= moment) and (
            match.high is None or moment <= match.high
        )
    if vr == "PN":
        return _matches_name(match, value)
    if isinstance(match, Wildcard):
        return wildcard_expression(match.pattern).fullmatch(value) is not None
    return isinstance(match, Single) and match.value == value


def _matches_name(match: Match, value: str) -> bool:
    """Any component group may match (PS3.4 §C.2.2.2.1.1), without case and accents."""
    groups = [group for group in PersonName.parse(value).folded if group]
    if isinstance(match, Wildcard):
        wanted = [each for each in PersonName.parse(match.pattern).folded if each]
        return any(
            wildcard_expression(each).fullmatch(group)
            for each in wanted
            for group in groups
        )
    if isinstance(match, Words):
        return any(
            all(_begins_word(word, group) for word in match.words) for group in groups
        )
    if isinstance(match, Single):
        wanted = [each for each in PersonName.parse(match.value).folded if each]
        return any(each in groups for each in wanted)
    return False


def _begins_word(word: str, group: str) -> bool:
    return group.startswith(word) or any(sign + word in group for sign in WORD_BREAKS)


__all__ = [
    "RANGE_VRS",
    "UNIVERSAL",
    "WILDCARD_VRS",
    "WORD_BREAKS",
    "Empty",
    "Item",
    "Match",
    "Multiple",
    "Range",
    "Sequence",
    "Single",
    "UIDList",
    "Universal",
    "Wildcard",
    "Words",
    "comparable",
    "fold",
    "matches",
    "matches_items",
    "parse_key",
    "parse_words",
    "wildcard_expression",
]
