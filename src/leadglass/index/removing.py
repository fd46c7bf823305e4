"""Taking studies out of the index, and keeping instances aside."""

import json
from dataclasses import fields
from typing import Any

from sqlalchemy import delete, exists, select

from leadglass.database.engine import Transaction
from leadglass.index import adding, statements
from leadglass.index.records import (
    InstanceLocation,
    InstanceRecord,
    Quarantined,
    Removed,
)
from leadglass.index.statements import QUARANTINED, quarantined
from leadglass.index.tables import (
    instance,
    item_value,
    patient,
    quarantine,
    series,
    study,
)

_TAKEN_OVER = tuple(
    each.name
    for each in fields(InstanceRecord)
    if each.name in quarantine.c and each.name != "received_at"
)


def remove_study(tx: Transaction, study_uid: str) -> Removed | None:
    """Take a study out, with what is kept aside of it; ``None`` if there is none."""
    adding.forget(tx)
    connection = tx.connection
    row = connection.execute(
        select(study.c.id, study.c.owner_id, study.c.key_ids).where(
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
        keys |= set(json.loads(row.key_ids))
        blobs += _remove_rows(tx, row.id)
        _remove_patient_without_studies(tx, row.owner_id)
    return Removed(study_uid, tuple(blobs), tuple(sorted(keys)))


def _remove_rows(tx: Transaction, number: int) -> list[str]:
    """Remove a study and all below it; return the blobs."""
    its_series = select(series.c.id).where(series.c.owner_id == number)
    mine = instance.c.owner_id.in_(its_series)
    blobs = list(tx.connection.scalars(select(instance.c.blob).where(mine)))
    _remove_items(tx, "instance", select(instance.c.id).where(mine))
    _remove_items(tx, "series", its_series)
    _remove_items(tx, "study", [number])
    tx.connection.execute(delete(instance).where(mine))
    tx.connection.execute(delete(series).where(series.c.owner_id == number))
    tx.connection.execute(delete(study).where(study.c.id == number))
    return blobs


def _remove_items(tx: Transaction, owner: str, ids: Any) -> None:
    tx.connection.execute(
        delete(item_value).where(
            item_value.c.owner == owner, item_value.c.owner_id.in_(ids)
        )
    )


def _remove_patient_without_studies(tx: Transaction, number: int) -> None:
    remains = select(exists().where(study.c.owner_id == number))
    if not tx.connection.execute(remains).scalar():
        _remove_items(tx, "patient", [number])
        tx.connection.execute(delete(patient).where(patient.c.id == number))


def clear(tx: Transaction) -> None:
    """Take everything out; the vault can fill it again."""
    adding.forget(tx)
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
    row = statements.INSERT_QUARANTINE.execute(tx.connection, columns).fetchone()
    assert row is not None
    return Quarantined(number=row[0], **columns)


def release(tx: Transaction, number: int) -> Quarantined | None:
    """Take one out of quarantine; ``None`` if it is not there."""
    row = tx.connection.execute(QUARANTINED.where(quarantine.c.id == number)).first()
    if row is None:
        return None
    tx.connection.execute(delete(quarantine).where(quarantine.c.id == number))
    return quarantined(row)
