"""Erasing a person's data from records, so that the tree stays provable.

Which records: those that mention the patient, and those that mention a study which the
record itself tells to be the patient's. A record loses content, salt and search keys;
without the salt nobody can try names against what is left.

A record that names other patients, too, is their record as well: who was told of them,
and when, must not vanish with it. What concerns them is recorded anew, under the time
of the old record and with its number. Of the old record go over: who, what, when and
how it ended, the other patients and their studies. What somebody asked for (a query)
and free texts do not, because they may name whoever is to be forgotten.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, insert, select, update

from leadglass.audit import tables
from leadglass.audit.codes import ID_NODE, ID_PATIENT, ID_STUDY_UID
from leadglass.audit.events import Event, ParticipantObject, clip, mention_key
from leadglass.audit.leaf import commit, hash_row
from leadglass.audit.merkle import TILE_WIDTH
from leadglass.audit.orders import ERASED_TOGETHER_MAX
from leadglass.audit.pruning import COLUMNS, forget_mentions
from leadglass.audit.retention import Holding
from leadglass.audit.runs import Runs
from leadglass.audit.search import (
    RECORDS,
    Search,
    numbers_of,
    record_of,
    search_records,
)
from leadglass.errors import BadData, Damaged

# Details of an event that are ours: certificates, services, counts; no text of anybody.
_KEPT_DETAILS = frozenset(
    {"certificate", "channel", "kind", "level", "part", "parts", "rule", "service"}
)
INSTEAD = "instead_of_record"


@dataclass(frozen=True, slots=True)
class Found:
    """The records that tell of a patient.

    Attributes:
        named: Numbers of those that name the patient.
        studied: Numbers of those that name a study of the patient's only.
        studies: The studies.
    """

    named: tuple[int, ...]
    studied: tuple[int, ...]
    studies: frozenset[str]

    def __len__(self) -> int:
        return len(self.named) + len(self.studied)

    @property
    def together(self) -> tuple[int, ...]:
        """What goes next, in one transaction.

        First what is known by its study alone: once the records that name the
        patient have gone, nothing tells whose study it was.
        """
        return (self.studied or self.named)[:ERASED_TOGETHER_MAX]


def find(connection: Connection, patient: str, size: int, own: str) -> Found:
    """Return the records that tell of a patient.

    Args:
        connection: A snapshot.
        patient: The Patient ID.
        size: Number of records in it.
        own: Name of the log.
    """
    patient = clip(patient)
    named: list[int] = []
    studies: set[str] = set()
    for record in search_records(connection, Search(patient=patient), size, own):
        named.append(record.n)
        try:
            studies |= studies_of(record.event, patient)
        except BadData:
            continue  # another format; the record itself goes all the same
    studied = _studied(connection, studies, set(named), size)
    return Found(
        tuple(named),
        tuple(n for n, event in studied if _is_about(event, studies, own)),
        frozenset(studies),
    )


def _is_about(event: Event, studies: set[str], own: str) -> bool:
    return any(
        kind == "study" and value in studies for kind, value in event.mentions(own)
    )


def _studied(
    connection: Connection, studies: set[str], known: set[int], size: int
) -> Iterator[tuple[int, Event]]:
    """Yield the records that may mention one of some studies, in their order.

    In one go for all of them: the records behind the last complete tile, which are
    looked through, would be read again for each.
    """
    indexed = size - size % TILE_WIDTH
    column = tables.mention.c
    numbers: set[int] = set(range(indexed, size))
    for study in studies:
        key = numbers_of(mention_key("study", study))[0]
        numbers.update(
            connection.scalars(
                select(column.n).where(column.key == key, column.n < indexed)
            )
        )
    n = tables.record.c.n
    for first, end in Runs.of_numbers(numbers - known).runs:
        for row in connection.execute(
            RECORDS.where(n >= first, n < end).order_by(n)
        ).all():
            try:
                yield row.n, record_of(row).event
            except BadData:
                continue  # erased, or of another format


def studies_of(event: Event, patient: str) -> set[str]:
    """Return the studies that an event tells to be of a patient."""
    found = {
        study
        for each in event.returned
        if each.patient_id == patient
        for study in each.studies
    }
    patients = {each.id for each in event.objects if each.id_type == ID_PATIENT}
    for each in event.objects:
        if each.id_type == ID_PATIENT and each.id == patient:
            found.update(each.studies)
        # Objects of studies stand beside their patient; beside several they are
        # nobody's in particular.
        if patients == {patient} and each.id_type == ID_STUDY_UID:
            found.add(each.id)
    return found


def remainder(
    event: Event, number: int, patient: str, studies: Iterable[str], own: str
) -> Event | None:
    """Return what of a record concerns other patients; None: nothing does.

    Args:
        event: The record's.
        number: The record's.
        patient: Whose data goes.
        studies: Whose studies are known to be that patient's.
        own: Name of the log.
    """
    patient, gone = clip(patient), frozenset(studies)
    others = {
        value for kind, value in event.mentions(own) if kind == "patient" and value
    }
    if not others - {patient}:
        return None
    objects = tuple(
        kept
        for each in event.objects
        if (kept := _without(each, patient, gone)) is not None
    )
    returned = tuple(
        replace(each, studies=tuple(uid for uid in each.studies if uid not in gone))
        for each in event.returned
        if each.patient_id != patient
    )
    details = {
        name: value for name, value in event.details.items() if name in _KEPT_DETAILS
    }
    return replace(
        event,
        objects=objects,
        returned=returned,
        purposes=(),
        outcome_description="",
        details={**details, INSTEAD: str(number)},
    )


def _without(
    thing: ParticipantObject, patient: str, studies: frozenset[str]
) -> ParticipantObject | None:
    if thing.id_type == ID_PATIENT:
        return None if thing.id == patient else thing
    if thing.id_type == ID_STUDY_UID:
        return None if thing.id in studies else thing
    if thing.id_type == ID_NODE:
        return ParticipantObject(thing.id, thing.id_type, thing.type, thing.role)
    return replace(
        thing,
        name="",
        query=b"",
        details=(),
        accessions=(),
        studies=tuple(each for each in thing.studies if each not in studies),
    )


def rows_of(connection: Connection, numbers: Sequence[int]) -> tuple[Any, ...]:
    """Return the rows of records that were not erased.

    Raises:
        Damaged: One of them is not what its leaf commits to; it stays.
    """
    found: list[Any] = []
    for first, end in Runs.of_numbers(numbers).runs:
        n = tables.record.c.n
        found += connection.execute(
            COLUMNS.where(n >= first, n < end).order_by(n)
        ).all()
    for row in found:
        try:
            is_it = hash_row(*row[:8]) == row.leaf
        except Exception:  # noqa: BLE001  # whatever somebody put into the row
            is_it = False
        if not is_it:
            raise Damaged(
                f"audit record {row.n} is not as it was written, so it stays; see: "
                "leadglass audit verify"
            )
    return tuple(found)


def holds_on(rows: Iterable[Any], holding: Holding) -> frozenset[int]:
    """Return the holds that some records are under."""
    return frozenset().union(
        *(holding.of(row.wall_us, row.search_keys) for row in rows)
    )


def erase(connection: Connection, rows: Sequence[Any], order: int) -> None:
    """Take the content of some records away, in the transaction of their order.

    Args:
        connection: Of the transaction.
        rows: Of ``rows_of``.
        order: Number of the record that orders it.
    """
    connection.execute(
        insert(tables.erased),
        [
            {
                "n": row.n,
                "commitment": commit(row.salt, row.search_keys, row.record),
                "order_n": order,
            }
            for row in rows
        ],
    )
    keys: Mapping[int, bytes] = {row.n: row.search_keys for row in rows}
    for first, end in Runs.of_numbers(keys).runs:
        n = tables.record.c.n
        connection.execute(
            update(tables.record)
            .where(n >= first, n < end)
            .values(record=None, salt=None, search_keys=None)
        )
    forget_mentions(connection, keys)
