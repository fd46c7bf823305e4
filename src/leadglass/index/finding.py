"""Questions as SQL, and rows as answers.

What a question costs grows with its answer wherever one of its keys has an index:
the database starts from that key. Where none has, and what is asked lies in another
table, the other table is searched first.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Label,
    Select,
    Table,
    UniqueConstraint,
    and_,
    func,
    or_,
    select,
    true,
    union_all,
)

from leadglass.access.scopes import Scope
from leadglass.dicom import matching
from leadglass.dicom.attributes import (
    BY_KEYWORD,
    BY_TAG,
    Attribute,
    Level,
)
from leadglass.dicom.matching import Match
from leadglass.index.conditions import Condition, Items, condition, in_scopes, prefix
from leadglass.index.query import (
    LEVELS,
    UNIQUE_KEYS,
    Query,
    Row,
    Selection,
    Uids,
)
from leadglass.index.records import InstanceLocation
from leadglass.index.statements import LOCATED, location
from leadglass.index.tables import (
    SEVERAL,
    TABLES,
    column_names,
    has_column,
    instance,
    patient,
    series,
    study,
)

# Rows taken from the driver at once while an answer streams.
ROWS_PER_FETCH = 200

_NO_LIMIT = 2**62

# Elements of answers that are kept, since many rows have the same.
ELEMENTS_KEPT = 1_024

_NAME = BY_KEYWORD["PatientName"]
# What people know a part of; each has an index of its own that holds it whole.
_READ_THROUGH = ("PatientName", "StudyDescription", "ReferringPhysicianName")

# A time of day and the date it belongs to, for combined matching.
_MOMENTS = {
    BY_KEYWORD[f"{name}Time"].tag: BY_KEYWORD[f"{name}Date"].tag
    for name in (
        "PatientBirth",
        "Study",
        "Series",
        "PerformedProcedureStepStart",
        "Acquisition",
        "Content",
    )
}

_PATIENT_COUNTERS: Mapping[str, Callable[[FromClause], ColumnElement[int]]] = {
    "NumberOfPatientRelatedStudies": lambda table: func.count(table.c.id),
    "NumberOfPatientRelatedSeries": lambda table: func.sum(table.c.series_count),
    "NumberOfPatientRelatedInstances": lambda table: func.sum(table.c.instance_count),
}

# Columns that an index begins with, by table.
_LEADING = {
    table.name: {index.columns[0].name for index in table.indexes}
    | {
        constraint.columns[0].name
        for constraint in table.constraints
        if isinstance(constraint, UniqueConstraint)
    }
    for table in TABLES.values()
}

_ORDER: Mapping[Level, Sequence[ColumnElement[Any]]] = {
    Level.PATIENT: (patient.c.id,),
    # The newest first: with a limit, those are the ones that are wanted.
    Level.STUDY: (
        study.c.study_date.desc(),
        study.c.study_time.desc(),
        study.c.id.desc(),
    ),
    Level.SERIES: (series.c.owner_id, series.c.place, series.c.id),
    Level.IMAGE: (
        series.c.owner_id,
        series.c.place,
        series.c.id,
        instance.c.place,
        instance.c.id,
    ),
}
_FROM = {
    Level.PATIENT: patient,
    Level.STUDY: study,
    Level.SERIES: series.join(study),
    Level.IMAGE: instance.join(series).join(study),
}
_COLUMNS: Mapping[Level, Sequence[ColumnElement[Any]]] = {
    Level.PATIENT: (patient.c.patient_id, patient.c.attributes),
    Level.STUDY: (
        study.c.patient_id,
        study.c.attributes,
        study.c.study_instance_uid,
        study.c.gathered,
        study.c.series_count,
        study.c.instance_count,
    ),
    Level.SERIES: (
        series.c.attributes.label("series_attributes"),
        series.c.series_instance_uid,
        series.c.instance_count.label("series_instance_count"),
    ),
    Level.IMAGE: (
        instance.c.attributes.label("instance_attributes"),
        instance.c.sop_instance_uid,
    ),
}


def find(connection: Connection, query: Query) -> Iterator[Row]:
    """Yield the answers as they come."""
    result = connection.execute(statement(query))
    read = _Reader(query.level, _counters(query))
    with result:
        for row in result:
            yield read(row)


def statement(query: Query) -> Select[Any]:
    """Return a question as SQL."""
    things = _things(query)
    columns = [column for level in _told(query.level) for column in _COLUMNS[level]]
    columns += [_counter(keyword, query) for keyword in _counters(query)]
    return (
        select(*columns)
        .select_from(_FROM[query.level])
        .where(*things)
        .order_by(*_order(query))
        .limit(query.limit)
        .execution_options(yield_per=ROWS_PER_FETCH)
    )


def _things(query: Query) -> Iterator[Condition]:
    """Yield the conditions; what an offset leaves out is passed over by number alone.

    Else each row that is left out would be fetched and opened before it is thrown
    away, and these are most of what an offset costs.
    """
    conditions = _Conditions(query).all()
    if not query.offset:
        yield from conditions
        return
    thing = TABLES[query.level]
    yield thing.c.id.in_(
        select(thing.c.id)
        .select_from(_FROM[query.level])
        .where(*conditions)
        .order_by(*_order(query))
        # SQLite has no offset without a limit, and none at all for "no limit".
        .limit(_NO_LIMIT if query.limit is None else query.limit)
        .offset(query.offset)
        .correlate(None)
    )


def _order(query: Query) -> Sequence[ColumnElement[Any]]:
    """Return the order of answers, the same whenever it is asked.

    Series and images of all studies come as they were entered: to sort the whole
    archive by place, for a page of it, would cost the whole archive.
    """
    narrowing = (UNIQUE_KEYS[Level.STUDY], UNIQUE_KEYS[Level.SERIES])
    is_narrow = any(
        not isinstance(query.keys.get(tag, matching.UNIVERSAL), matching.Universal)
        for tag in narrowing
    )
    if query.level in {Level.SERIES, Level.IMAGE} and not is_narrow:
        return (TABLES[query.level].c.id,)
    return _ORDER[query.level]


def _told(level: Level) -> tuple[Level, ...]:
    """Return the levels that a row tells of; a study's row holds its patient too."""
    if level is Level.PATIENT:
        return (level,)
    return LEVELS[1 : LEVELS.index(level) + 1]


def _counters(query: Query) -> tuple[str, ...]:
    """Return which counters of the patient are asked for; the others are at hand."""
    return tuple(
        keyword
        for keyword in _PATIENT_COUNTERS
        if BY_KEYWORD[keyword].tag in query.keys
    )


def _counter(keyword: str, query: Query) -> Label[int]:
    """Count what of the patient may be seen: other studies are as if they were not."""
    other = study.alias()
    owner_id = patient.c.id if query.level is Level.PATIENT else study.c.owner_id
    counted = select(_PATIENT_COUNTERS[keyword](other)).where(
        other.c.owner_id == owner_id
    )
    scope = in_scopes(query.scopes, other)
    if scope is not None:
        counted = counted.where(scope)
    return counted.scalar_subquery().label(keyword)


class _Conditions:
    """The conditions of one question."""

    def __init__(self, query: Query) -> None:
        self._query = query
        self._depth = LEVELS.index(query.level)
        self._keys = {
            BY_TAG[tag]: match
            for tag, match in query.keys.items()
            if tag in BY_TAG and not isinstance(match, matching.Universal)
        }
        self._is_narrow = any(
            self._narrows(attribute, match) for attribute, match in self._keys.items()
        )

    def all(self) -> Iterator[Condition]:
        own = [key for key in self._keys if self._carrier(key) <= self._depth]
        below = [key for key in self._keys if self._carrier(key) > self._depth]
        for attribute in own:
            yield self._one(attribute, leads=not self._is_narrow)
        for word in self._query.words:
            yield _has_word(word)
        scope = in_scopes(self._query.scopes, study)
        if self._query.level is not Level.PATIENT:
            if scope is not None:
                yield scope
            if below:
                yield self._below(below, None)
        elif below or scope is not None:
            yield self._below(below, scope)

    def _carrier(self, attribute: Attribute) -> int:
        """Return the depth of the table that carries an attribute."""
        depth = LEVELS.index(attribute.level)
        return depth if self._query.level is Level.PATIENT else max(depth, 1)

    def _table(self, attribute: Attribute) -> Table:
        return TABLES[LEVELS[self._carrier(attribute)]]

    def _narrows(self, attribute: Attribute, match: Match) -> bool:
        """Whether the database can start from this key, at the asked level."""
        if self._carrier(attribute) > self._depth or not has_column(attribute):
            return False
        if isinstance(match, matching.Multiple):
            return all(self._narrows(attribute, each) for each in match.values)
        if column_names(attribute)[0] not in _LEADING[self._table(attribute).name]:
            return False
        if isinstance(match, matching.Wildcard):
            return bool(prefix(match.pattern))
        return isinstance(match, matching.Single | matching.UIDList | matching.Range)

    def _one(self, attribute: Attribute, *, leads: bool) -> Condition:
        match = self._keys[attribute]
        table = self._table(attribute)
        if attribute.vr == "SQ":
            return Items(table.name, table.c.id, leads).sequence(attribute.tag, match)
        if attribute.tag in SEVERAL:
            # What a study gathers tells few studies from others: never first.
            leads = leads and not attribute.computed
            return Items(table.name, table.c.id, leads).several(attribute.tag, match)
        if not has_column(attribute):
            return true()  # not supported for matching: as universal, §C.2.2.1.3
        if self._is_moment(attribute):
            return self._moment(attribute)
        names = column_names(attribute)
        if leads and attribute.keyword in _READ_THROUGH:
            # No prefix: read the index of these values through, not the table.
            other = table.alias()
            found = condition(match, attribute.vr, [other.c[name] for name in names])
            return self._among(table, select(other.c.id).where(found))
        return condition(match, attribute.vr, [table.c[name] for name in names])

    def _among(self, table: Table, found: Select[tuple[int]]) -> Condition:
        """Return when a row is among those found.

        Who wants the newest few studies of perhaps very many gets them by a walk from
        the newest: the sum keeps the database from reading and sorting all of them.
        """
        if table is study and self._query.limit is not None:
            return (table.c.id + 0).in_(found)
        return table.c.id.in_(found)

    def _is_moment(self, attribute: Attribute) -> bool:
        """Whether this time and its date are asked for as one moment."""
        date = BY_TAG.get(_MOMENTS.get(attribute.tag, 0))
        return (
            self._query.combined_datetime
            and date is not None
            and isinstance(self._keys.get(date), matching.Range)
            and isinstance(self._keys[attribute], matching.Range)
        )

    def _moment(self, attribute: Attribute) -> Condition:
        """Return when date and time lie in the range from one moment to the other.

        The key of the date says the same of the date alone, for the index. An end
        without a date is open, whatever its time.
        """
        table = self._table(attribute)
        of_day = BY_TAG[_MOMENTS[attribute.tag]]
        day, time = (table.c[column_names(each)[0]] for each in (of_day, attribute))
        days, times = self._keys[of_day], self._keys[attribute]
        assert isinstance(days, matching.Range)
        assert isinstance(times, matching.Range)
        parts: list[Condition] = []
        if days.low is not None and times.low is not None:
            parts.append(or_(day > days.low, time >= times.low))
        if days.high is not None and times.high is not None:
            parts.append(or_(day < days.high, and_(time <= times.high, time > "")))
        return and_(true(), *parts)

    def _below(self, keys: Sequence[Attribute], scope: Condition | None) -> Condition:
        """Return when something below matches all keys, and lies in the scope."""
        thing = TABLES[self._query.level]
        below = LEVELS[self._depth + 1 : max(map(self._carrier, keys), default=1) + 1]
        first, *others = (TABLES[level] for level in below)
        tables: FromClause = first
        for table in others:
            tables = tables.join(table)
        leads = bool(keys) and not self._is_narrow
        wanted = [self._one(attribute, leads=leads) for attribute in keys]
        if scope is not None:
            wanted.append(scope)
        owner_id = first.c.owner_id
        found = select(owner_id).select_from(tables).where(*wanted)
        if leads:
            return thing.c.id.in_(found)
        return found.where(owner_id == thing.c.id).exists()


def _has_word(word: str) -> Condition:
    """Return when a word begins one of the name, Patient ID or Accession Number.

    Who has it is looked up in the indices of these columns alone. For the sum see
    ``_Conditions._among``.
    """
    other = study.alias()
    plain = re.sub(r"[*?]", "", word)
    found = [
        select(other.c.id).where(
            condition(matching.Wildcard(f"{text}*"), "LO", [column])
        )
        for column in (other.c.patient_id, other.c.accession_number)
        for text in dict.fromkeys((plain, plain.upper()))
        if text
    ]
    name = matching.parse_words([word])
    if not isinstance(name, matching.Universal):
        columns = [other.c[each] for each in column_names(_NAME)]
        found.append(select(other.c.id).where(condition(name, "PN", columns)))
    return (study.c.id + 0).in_(union_all(*found)) if found else true()


class _Reader:
    """Makes rows into answers."""

    def __init__(self, level: Level, counters: Sequence[str]) -> None:
        self._level = level
        self._counters = counters
        self._study: tuple[str, dict[str, Any]] = ("", {})

    def __call__(self, row: Sequence[Any]) -> Row:
        counted = row[len(row) - len(self._counters) :] if self._counters else ()
        counters = dict(
            _number(keyword, int(number or 0))
            for keyword, number in zip(self._counters, counted, strict=True)
        )
        if self._level is Level.PATIENT:
            return Row(Uids(row[0]), json.loads(row[1]) | counters)
        attributes = self._of_study(row) | counters
        uids = [row[0], row[2]]
        if self._level is not Level.STUDY:
            attributes |= json.loads(row[6])
            attributes.update([_number("NumberOfSeriesRelatedInstances", row[8])])
            uids.append(row[7])
        if self._level is Level.IMAGE:
            attributes |= json.loads(row[9])
            uids.append(row[10])
        return Row(Uids(*uids), attributes)

    def _of_study(self, row: Sequence[Any]) -> dict[str, Any]:
        """Return what a row says of its study; rows of one study come together."""
        if self._study[0] != row[2]:
            attributes = json.loads(row[1])
            attributes.update(_gathered(row[3]))
            attributes.update(
                (
                    _number("NumberOfStudyRelatedSeries", row[4]),
                    _number("NumberOfStudyRelatedInstances", row[5]),
                )
            )
            self._study = (row[2], attributes)
        return dict(self._study[1])


@lru_cache(ELEMENTS_KEPT)
def _gathered(text: str) -> dict[str, dict[str, Any]]:
    """Return what a study gathers as elements; most studies gather the same."""
    gathered = json.loads(text)
    return dict(
        _element(keyword, gathered.get(str(BY_KEYWORD[keyword].tag), []))
        for keyword in ("ModalitiesInStudy", "SOPClassesInStudy")
    )


@lru_cache(ELEMENTS_KEPT)
def _number(keyword: str, number: int) -> tuple[str, dict[str, Any]]:
    """Return a counter as an element; most numbers are small."""
    return _element(keyword, [number])


def _element(keyword: str, values: Sequence[Any]) -> tuple[str, dict[str, Any]]:
    """Return an element of the DICOM JSON model."""
    attribute = BY_KEYWORD[keyword]
    element: dict[str, Any] = {"vr": attribute.vr}
    if values:
        element["Value"] = list(values)
    return attribute.hex, element


def instances(
    connection: Connection, selection: Selection, scopes: Sequence[Scope]
) -> Iterator[InstanceLocation]:
    """Yield what is selected and may be seen, by series and in their order."""
    wanted: list[Condition] = [
        column.in_(values)
        for column, values in (
            (study.c.patient_id, selection.patient_ids),
            (study.c.study_instance_uid, selection.study_uids),
            (series.c.series_instance_uid, selection.series_uids),
            (instance.c.sop_instance_uid, selection.instance_uids),
        )
        if values
    ]
    scope = in_scopes(scopes, study)
    if scope is not None:
        wanted.append(scope)
    found = LOCATED.where(*wanted).order_by(*_ORDER[Level.IMAGE])
    yield from _locations(connection, found)


def all_instances(connection: Connection) -> Iterator[InstanceLocation]:
    """Yield everything, in the order it came."""
    yield from _locations(connection, LOCATED.order_by(instance.c.id))


def _locations(
    connection: Connection, found: Select[Any]
) -> Iterator[InstanceLocation]:
    with connection.execute(found) as result:
        # The driver's own rows, as they come: nothing in them is to be converted, and
        # a study has thousands.
        cursor = result.cursor
        assert cursor is not None  # it is a SELECT
        while rows := cursor.fetchmany(ROWS_PER_FETCH):
            yield from map(location, rows)
