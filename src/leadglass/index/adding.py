"""Putting instances into the index.

Within one transaction everything that was looked up once is kept in the
transaction's memo, and counters are added up there and written once before the
commit: a study of a thousand instances costs one update per commit, not a count
over the study per instance. That is right under concurrency because a writer sees
the last commit, and only one writes at a time.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from leadglass.database.engine import Transaction
from leadglass.database.prepared import Prepared
from leadglass.dicom.attributes import BY_KEYWORD, Level
from leadglass.index import statements
from leadglass.index.records import Added, Attributes, InstanceRecord, Kind
from leadglass.index.statements import IDENTITY, IDENTITY_COLUMNS, location
from leadglass.index.tables import SOURCE
from leadglass.index.values import (
    ItemValue,
    columns_of,
    item_values_of,
    place_of,
    stored,
)

# Values of one kind that a study gathers (modalities, institutions, …). Real
# studies have a handful; a sender that makes up more of them must not make the row
# grow with each instance. What is left out is not found, and reached by no scope.
GATHERED_MAX = 100

_MEMO = "index"

# What a study gathers of its instances: the tag it is kept under, and the attribute
# that says it.
_GATHERED = {
    BY_KEYWORD["ModalitiesInStudy"].tag: "Modality",
    BY_KEYWORD["InstitutionName"].tag: "InstitutionName",
    BY_KEYWORD["InstitutionalDepartmentName"].tag: "InstitutionalDepartmentName",
}
_SOP_CLASSES = BY_KEYWORD["SOPClassesInStudy"].tag

_IDENTITY = tuple((keyword, BY_KEYWORD[keyword].vr) for keyword in IDENTITY)

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(slots=True)
class _Series:
    """A series that this transaction has met, and what it adds to it."""

    id: int
    instances: int = 0


@dataclass(slots=True)
class _Study:
    """A study that this transaction has met, and what it adds to it."""

    id: int
    gathered: dict[str, list[str]]
    key_ids: list[str]
    identity: tuple[str, ...]
    patient_differs: bool
    series: dict[str, _Series] = field(default_factory=dict)
    new_series: int = 0
    instances: int = 0
    blob_bytes: int = 0
    changed_at: str = ""


@dataclass(slots=True)
class _Memo:
    """What this transaction has met, and the values that are still to be written."""

    studies: dict[str, _Study] = field(default_factory=dict)
    items: list[dict[str, Any]] = field(default_factory=list)

    def keep(self, owner: str, owner_id: int, values: Iterable[ItemValue]) -> None:
        """Have several values written."""
        for sequence, item, tag, value in values:
            self.items.append(
                {
                    "owner": owner,
                    "owner_id": owner_id,
                    "sequence": sequence,
                    "item": item,
                    "tag": tag,
                    "value": value,
                }
            )


def add(tx: Transaction, record: InstanceRecord) -> Added:
    """Put one instance in, unless its UID is known."""
    found = statements.FIND_INSTANCE.execute(
        tx.connection, {"uid": record.instance_uid}
    ).fetchone()
    if found is not None:
        standing = location(found)
        is_same = (
            standing.digest == record.digest
            and standing.transfer_syntax_uid == record.transfer_syntax_uid
        )
        return Added(Kind.SAME if is_same else Kind.OTHER, standing)
    memo = _memo(tx)
    known = memo.studies.get(record.study_uid)
    if known is None:
        known = memo.studies[record.study_uid] = _meet_study(tx, record)
    if not known.patient_differs:
        known.patient_differs = _differ(known.identity, _identity(record.attributes))
    its_series = known.series.get(record.series_uid)
    if its_series is None:
        its_series = known.series[record.series_uid] = _meet_series(tx, known, record)
    received_at = record.received_at_text
    _insert_instance(tx, its_series.id, record, received_at)
    memo.keep("study", known.id, _gather(known, record))
    known.instances += 1
    known.blob_bytes += record.blob_bytes
    known.changed_at = received_at
    its_series.instances += 1
    tx.before_commit(_MEMO, flush)
    return Added(Kind.NEW)


def flush(tx: Transaction) -> None:
    """Write what was added up: before the commit, or before somebody looks."""
    memo = _memo(tx)
    if memo.items:
        statements.INSERT_ITEM_VALUE.execute_many(tx.connection, memo.items)
        memo.items.clear()
    changed = [each for each in memo.studies.values() if each.instances]
    if not changed:
        return
    statements.COUNT_STUDY.execute_many(
        tx.connection,
        [
            {
                "row": each.id,
                "more_series": each.new_series,
                "more_instances": each.instances,
                "more_bytes": each.blob_bytes,
                "all_gathered": _encode(each.gathered),
                "all_keys": _encode(each.key_ids),
                "differs": each.patient_differs,
                "now": each.changed_at,
            }
            for each in changed
        ],
    )
    counted = [own for each in changed for own in each.series.values() if own.instances]
    statements.COUNT_SERIES.execute_many(
        tx.connection,
        [{"row": each.id, "more_instances": each.instances} for each in counted],
    )
    for each in changed:
        each.new_series = each.instances = each.blob_bytes = 0
    for own in counted:
        own.instances = 0


def forget(tx: Transaction) -> None:
    """Write what was added up, and look everything up anew from here on."""
    flush(tx)
    _memo(tx).studies.clear()


def _memo(tx: Transaction) -> _Memo:
    memo = tx.memo.get(_MEMO)
    if memo is None:
        memo = tx.memo[_MEMO] = _Memo()
    assert isinstance(memo, _Memo)
    return memo


def _meet_study(tx: Transaction, record: InstanceRecord) -> _Study:
    """Look the study up, with the series that is wanted; or make it."""
    row = statements.FIND_STUDY.execute(
        tx.connection, {"study": record.study_uid, "series": record.series_uid}
    ).fetchone()
    if row is None:
        return _insert_study(tx, record)
    number, gathered, key_ids, differs, series_id, *identity = row
    known = _Study(
        number,
        json.loads(gathered),
        json.loads(key_ids),
        tuple(identity),
        bool(differs),
    )
    if series_id is not None:
        known.series[record.series_uid] = _Series(series_id)
    return known


def _identity(attributes: Attributes) -> tuple[str, ...]:
    """Return who the patient is, as columns hold it."""
    return tuple(
        text
        for keyword, vr in _IDENTITY
        for text in stored(vr, attributes.text(keyword) or "")
    )


def _differ(ours: tuple[str, ...], theirs: tuple[str, ...]) -> bool:
    """Whether two say different things of the patient; the first is the Patient ID.

    To say nothing is no disagreement, but for the Patient ID.
    """
    return ours != theirs and (
        ours[0] != theirs[0]
        or any(a != b for a, b in zip(ours, theirs, strict=True) if a and b)
    )


def _insert_study(tx: Transaction, record: InstanceRecord) -> _Study:
    of_patient = record.attributes.json(Level.PATIENT)
    of_study = record.attributes.json(Level.STUDY)
    columns = columns_of(Level.PATIENT, of_patient)
    owner_id, differs = _meet_patient(tx, columns, of_patient, record.study_uid)
    identity = tuple(columns[name] for name in IDENTITY_COLUMNS)
    columns |= columns_of(Level.STUDY, of_study)
    columns["study_instance_uid"] = record.study_uid
    number = _insert(
        tx,
        statements.INSERT_STUDY,
        {
            **columns,
            "owner_id": owner_id,
            "attributes": _encode({**of_patient, **of_study}),
            "gathered": "{}",
            "series_count": 0,
            "instance_count": 0,
            "blob_bytes": 0,
            "key_id": record.key_id,
            "key_ids": "[]",
            "patient_differs": differs,
            "received_at": record.received_at_text,
            "changed_at": record.received_at_text,
        },
    )
    memo = _memo(tx)
    memo.keep("study", number, item_values_of(Level.PATIENT, of_patient))
    memo.keep("study", number, item_values_of(Level.STUDY, of_study))
    return _Study(number, {}, [], identity, differs)


def _meet_patient(
    tx: Transaction,
    columns: Mapping[str, str],
    attributes: Mapping[str, Any],
    study_uid: str,
) -> tuple[int, bool]:
    """Look the patient up, or make it; tell whether it says other than the study."""
    apart = "" if columns["patient_id"] else study_uid
    row = statements.FIND_PATIENT.execute(
        tx.connection,
        {
            "patient_id": columns["patient_id"],
            "issuer": columns["issuer_of_patient_id"],
            "apart": apart,
        },
    ).fetchone()
    if row is not None:
        number, *ours = row
        theirs = tuple(columns[name] for name in IDENTITY_COLUMNS)
        return number, _differ(tuple(ours), theirs)
    number = _insert(
        tx,
        statements.INSERT_PATIENT,
        {**columns, "apart": apart, "attributes": _encode(attributes)},
    )
    _memo(tx).keep("patient", number, item_values_of(Level.PATIENT, attributes))
    return number, False


def _meet_series(tx: Transaction, known: _Study, record: InstanceRecord) -> _Series:
    """Look the series up within its study, or make it."""
    found = statements.FIND_SERIES.execute(
        tx.connection, {"study": known.id, "series": record.series_uid}
    ).fetchone()
    if found is not None:
        return _Series(found[0])
    attributes = record.attributes.json(Level.SERIES)
    columns = columns_of(Level.SERIES, attributes)
    columns["series_instance_uid"] = record.series_uid
    number = _insert(
        tx,
        statements.INSERT_SERIES,
        {
            **columns,
            "owner_id": known.id,
            "attributes": _encode(attributes),
            "place": place_of(columns["series_number"]),
            "instance_count": 0,
        },
    )
    _memo(tx).keep("series", number, item_values_of(Level.SERIES, attributes))
    known.new_series += 1
    return _Series(number)


def _insert(tx: Transaction, statement: Prepared, columns: Mapping[str, Any]) -> int:
    """Insert one row; return its number."""
    row = statement.execute(tx.connection, columns).fetchone()
    assert row is not None
    return int(row[0])


def _insert_instance(
    tx: Transaction, owner_id: int, record: InstanceRecord, received_at: str
) -> None:
    attributes = record.attributes.json(Level.IMAGE)
    columns: dict[str, Any] = dict(columns_of(Level.IMAGE, attributes))
    columns["sop_instance_uid"] = record.instance_uid
    columns["sop_class_uid"] = record.sop_class_uid
    columns["owner_id"] = owner_id
    columns["attributes"] = _encode(attributes)
    columns["place"] = place_of(columns["instance_number"])
    columns["transfer_syntax_uid"] = record.transfer_syntax_uid
    columns["blob"] = record.blob
    columns["digest"] = record.digest
    columns["blob_bytes"] = record.blob_bytes
    columns["data_set_offset"] = record.data_set_offset
    columns["data_set_bytes"] = record.data_set_bytes
    columns["source"] = record.source
    columns["received_at"] = received_at
    statements.INSERT_INSTANCE.execute(tx.connection, columns)
    if items := list(item_values_of(Level.IMAGE, attributes)):
        row = statements.FIND_INSTANCE_ID.execute(
            tx.connection, {"uid": record.instance_uid}
        ).fetchone()
        assert row is not None
        _memo(tx).keep("instance", row[0], items)


def _gather(known: _Study, record: InstanceRecord) -> list[ItemValue]:
    """Note what the study has of this instance and had of none before."""
    said = {tag: record.attributes.text(keyword) for tag, keyword in _GATHERED.items()}
    said[_SOP_CLASSES] = record.sop_class_uid
    said[SOURCE] = record.source
    if record.key_id not in known.key_ids:
        known.key_ids.append(record.key_id)
    new: list[ItemValue] = []
    for tag, value in said.items():
        values = known.gathered.setdefault(str(tag), [])
        if value and value not in values and len(values) < GATHERED_MAX:
            new.append((tag, len(values), tag, value))
            values.append(value)
    return new
