"""Putting instances into the index, and taking studies out.

Within one transaction everything that was looked up once is kept in the
transaction's memo, and counters are added up there and written once before the
commit: a study of a thousand instances costs one update per commit, not a count
over the study per instance. That is right under concurrency because a writer sees
the last commit, and only one writes at a time.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from sqlalchemy import and_, bindparam, delete, exists, insert, select, update

from leadglass.database.engine import Transaction
from leadglass.database.prepared import Prepared
from leadglass.dicom.attributes import BY_KEYWORD, Level
from leadglass.index.records import (
    Added,
    Attributes,
    InstanceLocation,
    InstanceRecord,
    Kind,
    Quarantined,
    Removed,
)
from leadglass.index.tables import (
    KEY,
    SOURCE,
    instance,
    item_value,
    patient,
    quarantine,
    series,
    study,
)
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

# Who the patient is, as far as instances of one study must agree on it.
_IDENTITY = {
    "PatientID": ("patient_id",),
    "IssuerOfPatientID": ("issuer_of_patient_id",),
    "PatientName": (
        "patient_name_alphabetic",
        "patient_name_ideographic",
        "patient_name_phonetic",
    ),
    "PatientBirthDate": ("patient_birth_date",),
    "PatientSex": ("patient_sex",),
}
_IDENTITY_COLUMNS = [name for names in _IDENTITY.values() for name in names]
_VRS = {keyword: BY_KEYWORD[keyword].vr for keyword in _IDENTITY}

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

LOCATION = (
    study.c.study_instance_uid.label("study_uid"),
    series.c.series_instance_uid.label("series_uid"),
    instance.c.sop_instance_uid.label("instance_uid"),
    instance.c.sop_class_uid,
    instance.c.transfer_syntax_uid,
    instance.c.blob,
    instance.c.digest,
    instance.c.blob_bytes,
    instance.c.data_set_offset,
    instance.c.data_set_bytes,
)
QUARANTINED = select(
    quarantine.c.id, *(quarantine.c[each.name] for each in fields(Quarantined)[1:])
)
_TAKEN_OVER = [
    each.name
    for each in fields(InstanceRecord)
    if each.name in quarantine.c and each.name != "received_at"
]
_FIND_INSTANCE = Prepared(
    select(*LOCATION)
    .select_from(instance.join(series).join(study))
    .where(instance.c.sop_instance_uid == bindparam("uid"))
)
_FIND_STUDY = Prepared(
    select(
        study.c.id,
        study.c.gathered,
        study.c.patient_differs,
        series.c.id.label("series_id"),
        *(study.c[name] for name in _IDENTITY_COLUMNS),
    )
    .select_from(
        study.outerjoin(
            series,
            and_(
                series.c.owner_id == study.c.id,
                series.c.series_instance_uid == bindparam("series"),
            ),
        )
    )
    .where(study.c.study_instance_uid == bindparam("study"))
)
_FIND_SERIES = Prepared(
    select(series.c.id).where(
        series.c.owner_id == bindparam("study"),
        series.c.series_instance_uid == bindparam("series"),
    )
)
_FIND_PATIENT = select(
    patient.c.id, *(patient.c[name] for name in _IDENTITY_COLUMNS)
).where(
    patient.c.patient_id == bindparam("patient_id"),
    patient.c.issuer_of_patient_id == bindparam("issuer"),
    patient.c.apart == bindparam("apart"),
)
_COUNT_STUDY = Prepared(
    update(study)
    .where(study.c.id == bindparam("row"))
    .values(
        series_count=study.c.series_count + bindparam("more_series"),
        instance_count=study.c.instance_count + bindparam("more_instances"),
        blob_bytes=study.c.blob_bytes + bindparam("more_bytes"),
        gathered=bindparam("all_gathered"),
        patient_differs=bindparam("differs"),
        changed_at=bindparam("now"),
    )
)
_COUNT_SERIES = Prepared(
    update(series)
    .where(series.c.id == bindparam("row"))
    .values(instance_count=series.c.instance_count + bindparam("more_instances"))
)
_INSERT_INSTANCE = Prepared(
    insert(instance).values(
        {c.name: bindparam(c.name) for c in instance.c if c.name != "id"}
    )
)
_INSERT_ITEM_VALUES = insert(item_value)


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
    identity: tuple[str, ...]
    patient_differs: bool
    series: dict[str, _Series] = field(default_factory=dict)
    new_series: int = 0
    instances: int = 0
    blob_bytes: int = 0
    changed_at: str = ""


def add(tx: Transaction, record: InstanceRecord) -> Added:
    """Put one instance in, unless its UID is known."""
    found = _FIND_INSTANCE.execute(
        tx.connection, {"uid": record.instance_uid}
    ).fetchone()
    if found is not None:
        standing = location(found)
        is_same = (
            standing.digest == record.digest
            and standing.transfer_syntax_uid == record.transfer_syntax_uid
        )
        return Added(Kind.SAME if is_same else Kind.OTHER, standing)
    studies = _memo(tx)
    known = studies.get(record.study_uid)
    if known is None:
        known = studies[record.study_uid] = _meet_study(tx, record)
    its_series = known.series.get(record.series_uid)
    if its_series is None:
        its_series = known.series[record.series_uid] = _meet_series(tx, known, record)
    received_at = record.received_at_text
    _insert_instance(tx, its_series.id, record, received_at)
    _gather(tx, known, record)
    known.instances += 1
    known.blob_bytes += record.blob_bytes
    known.changed_at = received_at
    its_series.instances += 1
    tx.before_commit(_MEMO, flush)
    return Added(Kind.NEW)


def flush(tx: Transaction) -> None:
    """Write what was added up; before the commit, and before others look."""
    changed = [each for each in _memo(tx).values() if each.instances]
    if not changed:
        return
    _COUNT_STUDY.execute_many(
        tx.connection,
        [
            {
                "row": each.id,
                "more_series": each.new_series,
                "more_instances": each.instances,
                "more_bytes": each.blob_bytes,
                "all_gathered": _encode(each.gathered),
                "differs": each.patient_differs,
                "now": each.changed_at,
            }
            for each in changed
        ],
    )
    counted = [own for each in changed for own in each.series.values() if own.instances]
    _COUNT_SERIES.execute_many(
        tx.connection,
        [{"row": each.id, "more_instances": each.instances} for each in counted],
    )
    for each in changed:
        each.new_series = each.instances = each.blob_bytes = 0
    for own in counted:
        own.instances = 0


def _memo(tx: Transaction) -> dict[str, _Study]:
    studies: dict[str, _Study] = tx.memo.setdefault(_MEMO, {})
    return studies


def _meet_study(tx: Transaction, record: InstanceRecord) -> _Study:
    """Look the study up, with the series that is wanted; or make it."""
    row = _FIND_STUDY.execute(
        tx.connection, {"study": record.study_uid, "series": record.series_uid}
    ).fetchone()
    if row is None:
        return _insert_study(tx, record)
    number, gathered, differs, series_id, *identity = row
    known = _Study(number, json.loads(gathered), tuple(identity), bool(differs))
    if series_id is not None:
        known.series[record.series_uid] = _Series(series_id)
    known.patient_differs |= _differ(known.identity, _identity(record.attributes))
    return known


def _identity(attributes: Attributes) -> tuple[str, ...]:
    """Return who the patient is, as columns hold it."""
    return tuple(
        text
        for keyword, vr in _VRS.items()
        for text in stored(vr, attributes.text(keyword) or "")
    )


def _differ(ours: tuple[str, ...], theirs: tuple[str, ...]) -> bool:
    """Whether two say different things of the patient; the first is the Patient ID.

    To say nothing is no disagreement, but for the Patient ID.
    """
    return ours[0] != theirs[0] or any(
        a != b for a, b in zip(ours, theirs, strict=True) if a and b
    )


def _insert_study(tx: Transaction, record: InstanceRecord) -> _Study:
    of_patient = record.attributes.json(Level.PATIENT)
    of_study = record.attributes.json(Level.STUDY)
    columns = columns_of(Level.PATIENT, of_patient)
    owner_id, differs = _meet_patient(tx, columns, of_patient, record.study_uid)
    identity = tuple(columns[name] for name in _IDENTITY_COLUMNS)
    columns |= columns_of(Level.STUDY, of_study)
    columns["study_instance_uid"] = record.study_uid
    result = tx.connection.execute(
        insert(study),
        {
            **columns,
            "owner_id": owner_id,
            "attributes": _encode({**of_patient, **of_study}),
            "gathered": "{}",
            "series_count": 0,
            "instance_count": 0,
            "blob_bytes": 0,
            "key_id": record.key_id,
            "patient_differs": differs,
            "received_at": record.received_at_text,
            "changed_at": record.received_at_text,
        },
    )
    number = _new_id(result)
    _insert_items(tx, "study", number, item_values_of(Level.PATIENT, of_patient))
    _insert_items(tx, "study", number, item_values_of(Level.STUDY, of_study))
    return _Study(number, {}, identity, differs)


def _meet_patient(
    tx: Transaction,
    columns: Mapping[str, str],
    attributes: Mapping[str, Any],
    study_uid: str,
) -> tuple[int, bool]:
    """Look the patient up, or make it; tell whether it says the same as the study."""
    apart = "" if columns["patient_id"] else study_uid
    row = tx.connection.execute(
        _FIND_PATIENT,
        {
            "patient_id": columns["patient_id"],
            "issuer": columns["issuer_of_patient_id"],
            "apart": apart,
        },
    ).first()
    if row is not None:
        ours = tuple(row[1:])
        theirs = tuple(columns[name] for name in _IDENTITY_COLUMNS)
        return int(row.id), _differ(ours, theirs)
    result = tx.connection.execute(
        insert(patient),
        {**columns, "apart": apart, "attributes": _encode(attributes)},
    )
    number = _new_id(result)
    _insert_items(tx, "patient", number, item_values_of(Level.PATIENT, attributes))
    return number, False


def _meet_series(tx: Transaction, known: _Study, record: InstanceRecord) -> _Series:
    """Look the series up within its study, or make it."""
    found = _FIND_SERIES.execute(
        tx.connection, {"study": known.id, "series": record.series_uid}
    ).fetchone()
    if found is not None:
        return _Series(found[0])
    attributes = record.attributes.json(Level.SERIES)
    columns = columns_of(Level.SERIES, attributes)
    columns["series_instance_uid"] = record.series_uid
    result = tx.connection.execute(
        insert(series),
        {
            **columns,
            "owner_id": known.id,
            "attributes": _encode(attributes),
            "place": place_of(columns["series_number"]),
            "instance_count": 0,
        },
    )
    number = _new_id(result)
    _insert_items(tx, "series", number, item_values_of(Level.SERIES, attributes))
    known.new_series += 1
    return _Series(number)


def _insert_instance(
    tx: Transaction, owner_id: int, record: InstanceRecord, received_at: str
) -> None:
    attributes = record.attributes.json(Level.IMAGE)
    columns: dict[str, Any] = columns_of(Level.IMAGE, attributes)
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
    _INSERT_INSTANCE.execute(tx.connection, columns)
    if items := list(item_values_of(Level.IMAGE, attributes)):
        number = tx.connection.execute(
            select(instance.c.id).where(
                instance.c.sop_instance_uid == record.instance_uid
            )
        ).scalar_one()
        _insert_items(tx, "instance", number, items)


def _new_id(result: Any) -> int:
    return int(result.inserted_primary_key[0])


def _insert_items(
    tx: Transaction, owner: str, owner_id: int, items: Iterable[ItemValue]
) -> None:
    rows = [_item_row(owner, owner_id, each) for each in items]
    if rows:
        tx.connection.execute(_INSERT_ITEM_VALUES, rows)


def _item_row(owner: str, owner_id: int, value: ItemValue) -> dict[str, Any]:
    sequence, item, tag, text = value
    return {
        "owner": owner,
        "owner_id": owner_id,
        "sequence": sequence,
        "item": item,
        "tag": tag,
        "value": text,
    }


def _gather(tx: Transaction, known: _Study, record: InstanceRecord) -> None:
    """Note what the study has of this instance and had of none before."""
    said = {
        tag: record.attributes.text(keyword) or "" for tag, keyword in _GATHERED.items()
    }
    said[_SOP_CLASSES] = record.sop_class_uid
    said[SOURCE] = record.source
    said[KEY] = record.key_id
    new = []
    for tag, value in said.items():
        values = known.gathered.setdefault(str(tag), [])
        if not value or value in values:
            continue
        # A key must be known to the last, or an erased study could be read again.
        if len(values) >= GATHERED_MAX and tag != KEY:
            continue
        new.append(_item_row("study", known.id, (tag, len(values), tag, value)))
        values.append(value)
    if new:
        tx.connection.execute(_INSERT_ITEM_VALUES, new)


def remove_study(tx: Transaction, study_uid: str) -> Removed | None:
    """Take a study out, with what is kept aside of it; ``None`` if there is none."""
    flush(tx)
    connection = tx.connection
    row = connection.execute(
        select(study.c.id, study.c.owner_id, study.c.gathered).where(
            study.c.study_instance_uid == study_uid
        )
    ).first()
    aside = connection.execute(
        select(quarantine.c.blob, quarantine.c.key_id).where(
            quarantine.c.study_uid == study_uid
        )
    ).all()
    if row is None and not aside:
        return None
    blobs = [each.blob for each in aside]
    keys = {each.key_id for each in aside}
    connection.execute(delete(quarantine).where(quarantine.c.study_uid == study_uid))
    if row is not None:
        keys |= set(json.loads(row.gathered).get(str(KEY), ()))
        its_series = select(series.c.id).where(series.c.owner_id == row.id)
        mine = instance.c.owner_id.in_(its_series)
        blobs += connection.scalars(select(instance.c.blob).where(mine))
        _delete_items(tx, "instance", select(instance.c.id).where(mine))
        connection.execute(delete(instance).where(mine))
        _delete_items(tx, "series", its_series)
        connection.execute(delete(series).where(series.c.owner_id == row.id))
        _delete_items(tx, "study", [row.id])
        connection.execute(delete(study).where(study.c.id == row.id))
        _remove_patient_without_studies(tx, row.owner_id)
        _memo(tx).pop(study_uid, None)
    return Removed(study_uid, tuple(blobs), tuple(sorted(keys)))


def _delete_items(tx: Transaction, owner: str, ids: Any) -> None:
    tx.connection.execute(
        delete(item_value).where(
            item_value.c.owner == owner, item_value.c.owner_id.in_(ids)
        )
    )


def _remove_patient_without_studies(tx: Transaction, number: int) -> None:
    remains = select(exists().where(study.c.owner_id == number))
    if not tx.connection.execute(remains).scalar():
        _delete_items(tx, "patient", [number])
        tx.connection.execute(delete(patient).where(patient.c.id == number))


def clear(tx: Transaction) -> None:
    """Take everything out; the vault can fill it again."""
    tx.memo.pop(_MEMO, None)
    for table in (item_value, quarantine, instance, series, study, patient):
        tx.connection.execute(delete(table))


def set_aside(
    tx: Transaction, record: InstanceRecord, existing: InstanceLocation
) -> Quarantined:
    """Keep an instance aside; return what is kept, which may have come before."""
    known = tx.connection.execute(
        QUARANTINED.where(
            quarantine.c.instance_uid == record.instance_uid,
            quarantine.c.digest == record.digest,
            quarantine.c.transfer_syntax_uid == record.transfer_syntax_uid,
        )
    ).first()
    if known is not None:
        return quarantined(known)
    columns = {name: getattr(record, name) for name in _TAKEN_OVER}
    columns["received_at"] = record.received_at_text
    columns["existing_blob"] = existing.blob
    columns["existing_digest"] = existing.digest
    number = _new_id(tx.connection.execute(insert(quarantine), columns))
    return Quarantined(number=number, **columns)


def release(tx: Transaction, number: int) -> Quarantined | None:
    """Take one out of quarantine; ``None`` if it is not there."""
    row = tx.connection.execute(QUARANTINED.where(quarantine.c.id == number)).first()
    if row is None:
        return None
    tx.connection.execute(delete(quarantine).where(quarantine.c.id == number))
    return quarantined(row)


def location(row: Any) -> InstanceLocation:
    """Return a row of the columns ``LOCATION``; they are in the order of its fields."""
    return InstanceLocation(*row)


def quarantined(row: Any) -> Quarantined:
    """Return a row of the quarantine; its columns are in the order of the fields."""
    return Quarantined(*row)
