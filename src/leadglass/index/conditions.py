"""Matching in SQL: what ``dicom.matching.matches`` says, as conditions on columns.

A property test compares the two. Everything is standard SQL with parameters; the
engine compares text by code points and LIKE with regard to case.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from pydicom.datadict import dictionary_VR
from sqlalchemy import ColumnElement, FromClause, and_, false, not_, or_, select, true

from leadglass.access.scopes import Scope
from leadglass.dicom import matching
from leadglass.dicom.attributes import BY_KEYWORD, BY_TAG
from leadglass.dicom.matching import Match
from leadglass.dicom.personname import PersonName
from leadglass.index.tables import (
    SOURCE,
    assignment,
    column_names,
    item_value,
    listed,
)
from leadglass.index.values import stored

Condition = ColumnElement[bool]
Columns = Sequence[ColumnElement[str]]

_ESCAPE = "\\"
_LIKE = str.maketrans({"*": "%", "?": "_", "%": "\\%", "_": "\\_", "\\": "\\\\"})

_LAST_CHARACTER = 0x10FFFF
_SURROGATES = range(0xD800, 0xE000)  # no characters; text cannot hold them


def condition(match: Match, vr: str, columns: Columns) -> Condition:
    """Return when the attribute in ``columns`` (one; three of a name) matches."""
    return _BUILDERS[type(match)](match, vr, columns)


def like(pattern: str) -> str:
    """Return a pattern of ``*`` and ``?`` as one of LIKE, escaped by a backslash."""
    return pattern.translate(_LIKE)


def prefix(pattern: str) -> str:
    """Return what every text that matches begins with."""
    return pattern.replace("?", "*").partition("*")[0]


def after(text: str) -> str | None:
    """Return the least text above all that begin with ``text``; ``None`` if none is."""
    stem = text.rstrip(chr(_LAST_CHARACTER))
    if not stem:
        return None
    following = ord(stem[-1]) + 1
    if following in _SURROGATES:
        following = _SURROGATES.stop
    return stem[:-1] + chr(following)


def _universal(_match: Match, _vr: str, _columns: Columns) -> Condition:
    return true()


def _empty(_match: Match, _vr: str, columns: Columns) -> Condition:
    return and_(*(column == "" for column in columns))


def _single(match: Match, vr: str, columns: Columns) -> Condition:
    assert isinstance(match, matching.Single)
    wanted = [text for text in stored(vr, match.value) if text]
    return _any(column == text for column in columns for text in wanted)


def _uid_list(match: Match, _vr: str, columns: Columns) -> Condition:
    assert isinstance(match, matching.UIDList)
    wanted = [value for value in match.values if value]
    return _any(column.in_(wanted) for column in columns)


def _wildcard(match: Match, vr: str, columns: Columns) -> Condition:
    assert isinstance(match, matching.Wildcard)
    texts = PersonName.parse(match.pattern).folded if vr == "PN" else (match.pattern,)
    return _any(
        _wildcard_on(column, text) for column in columns for text in texts if text
    )


def _wildcard_on(column: ColumnElement[str], pattern: str) -> Condition:
    """LIKE alone would read the whole index; the range finds the prefix in it."""
    parts: list[Condition] = [column.like(like(pattern), escape=_ESCAPE)]
    beginning = prefix(pattern)
    if beginning:
        parts.append(column >= beginning)
        end = after(beginning)
        if end is not None:
            parts.append(column < end)
    elif not pattern.strip("*"):
        parts.append(column != "")
    return and_(*parts)


def _words(match: Match, _vr: str, columns: Columns) -> Condition:
    assert isinstance(match, matching.Words)
    return _any(
        and_(*(_begins_word(column, word) for word in match.words))
        for column in columns
    )


def _begins_word(column: ColumnElement[str], word: str) -> Condition:
    found = [f"{like(word)}%"]
    found += [f"%{like(sign + word)}%" for sign in matching.WORD_BREAKS]
    return _any(column.like(pattern, escape=_ESCAPE) for pattern in found)


def _range(match: Match, _vr: str, columns: Columns) -> Condition:
    assert isinstance(match, matching.Range)
    parts: list[Condition] = []
    for column in columns:
        parts.append(column > "" if match.low is None else column >= match.low)
        if match.high is not None:
            parts.append(column <= match.high)
    return and_(*parts)


def _multiple(match: Match, vr: str, columns: Columns) -> Condition:
    assert isinstance(match, matching.Multiple)
    return _any(condition(each, vr, columns) for each in match.values)


def _sequence(_match: Match, _vr: str, _columns: Columns) -> Condition:
    """No column holds a sequence; ``in_items`` is for them."""
    return false()


def _any(parts: Iterable[Condition]) -> Condition:
    return or_(false(), *parts)


_BUILDERS: dict[type, Callable[[Match, str, Columns], Condition]] = {
    matching.Universal: _universal,
    matching.Empty: _empty,
    matching.Single: _single,
    matching.UIDList: _uid_list,
    matching.Wildcard: _wildcard,
    matching.Words: _words,
    matching.Range: _range,
    matching.Multiple: _multiple,
    matching.Sequence: _sequence,
}


@dataclass(frozen=True, slots=True)
class Items:
    """The several values of the things of one table (``item_value``).

    Attributes:
        owner: Name of the table.
        owner_id: The column with the thing's number.
        leads: Whether nothing else narrows the question: then the values are looked
            up first and the things after them, instead of the reverse.
    """

    owner: str
    owner_id: ColumnElement[int]
    leads: bool = False

    def several(self, tag: int, match: Match) -> Condition:
        """Return when any value of an attribute matches."""
        if isinstance(match, matching.Universal):
            return true()
        if isinstance(match, matching.Multiple):
            return _any(self.several(tag, each) for each in match.values)
        if isinstance(match, matching.Empty):
            return not_(self._has(tag, true(), item_value.alias()))
        row = item_value.alias()
        wanted = and_(row.c.tag == tag, condition(match, vr_of(tag), [row.c.value]))
        return self._has(tag, wanted, row)

    def sequence(self, tag: int, match: Match) -> Condition:
        """Return when one item matches all keys (PS3.4 §C.2.2.2.6).

        Keys of a sequence within are taken as keys of the item.
        """
        if isinstance(match, matching.Empty):
            return not_(self._has(tag, true(), item_value.alias()))
        if not isinstance(match, matching.Sequence):
            return true()
        keys = dict(_flat(match.keys))
        if not keys:
            return true()
        row = item_value.alias()
        absent = [key for key, each in keys.items() if isinstance(each, matching.Empty)]
        present = [key for key in keys if key not in absent]
        parts = [not_(_in_item(row, key, true())) for key in absent]
        if present:
            first, *others = present
            match = keys[first]
            parts += [
                row.c.tag == first,
                condition(match, vr_of(first), [row.c.value]),
            ]
            parts += [_in_item(row, key, keys[key]) for key in others]
        return self._has(tag, and_(*parts), row)

    def _has(self, sequence: int, wanted: Condition, row: FromClause) -> Condition:
        """Return when a row of the sequence is as wanted."""
        parts = (row.c.owner == self.owner, row.c.sequence == sequence, wanted)
        if self.leads:
            return self.owner_id.in_(select(row.c.owner_id).where(*parts))
        return select(row.c.id).where(row.c.owner_id == self.owner_id, *parts).exists()


def _in_item(row: FromClause, tag: int, match: Match | Condition) -> Condition:
    """Return when the item that ``row`` is of has also this."""
    other = item_value.alias()
    wanted = (
        match
        if isinstance(match, ColumnElement)
        else condition(match, vr_of(tag), [other.c.value])
    )
    return (
        select(other.c.id)
        .where(
            other.c.owner == row.c.owner,
            other.c.owner_id == row.c.owner_id,
            other.c.sequence == row.c.sequence,
            other.c.item == row.c.item,
            other.c.tag == tag,
            wanted,
        )
        .exists()
    )


def _flat(keys: Mapping[int, Match]) -> Iterator[tuple[int, Match]]:
    """Yield the keys of an item that ask for something, those within it too."""
    for tag, match in keys.items():
        if isinstance(match, matching.Sequence):
            yield from _flat(match.keys)
        elif not isinstance(match, matching.Universal):
            yield tag, match


@cache
def vr_of(tag: int) -> str:
    """Return the value representation of an attribute, ``UN`` if it is unknown."""
    if tag in BY_TAG:
        return BY_TAG[tag].vr
    try:
        return str(dictionary_VR(tag))
    except KeyError:
        return "UN"


def in_scopes(scopes: Iterable[Scope], study: FromClause) -> Condition | None:
    """Return when a study is in one of the scopes; ``None``: always.

    No scope at all reaches nothing.
    """
    parts = []
    for scope in scopes:
        if scope.is_everything:
            return None
        parts.append(and_(*_fields(scope, study)))
    return _any(parts)


def _fields(scope: Scope, study: FromClause) -> Iterator[Condition]:
    for name, values in (
        ("patient_id", scope.patient_ids),
        ("study_instance_uid", scope.study_uids),
    ):
        if values:
            yield study.c[name].in_(sorted(values))
    if scope.assignees:
        yield study.c.study_instance_uid.in_(
            select(assignment.c.study_uid).where(
                assignment.c.assignee.in_(sorted(scope.assignees))
            )
        )
    if scope.patient_lists:
        yield study.c.patient_id.in_(
            select(listed.c.patient_id).where(
                listed.c.name.in_(sorted(scope.patient_lists))
            )
        )
    if scope.referring_physicians:
        columns = [study.c[name] for name in column_names(_REFERRING)]
        yield _any(
            condition(matching.Single(name), "PN", columns)
            for name in sorted(scope.referring_physicians)
        )
    for tag, values in (
        (_MODALITIES, scope.modalities),
        (_INSTITUTION, scope.institutions),
        (_DEPARTMENT, scope.departments),
        (SOURCE, scope.sources),
    ):
        if values:
            row = item_value.alias()
            yield (
                select(row.c.id)
                .where(
                    row.c.owner == "study",
                    row.c.owner_id == study.c.id,
                    row.c.sequence == tag,
                    row.c.tag == tag,
                    row.c.value.in_(sorted(values)),
                )
                .exists()
            )


_REFERRING = BY_KEYWORD["ReferringPhysicianName"]
_MODALITIES = BY_KEYWORD["ModalitiesInStudy"].tag
_INSTITUTION = BY_KEYWORD["InstitutionName"].tag
_DEPARTMENT = BY_KEYWORD["InstitutionalDepartmentName"].tag
