"""The statements that run for each instance that arrives, compiled once."""

from dataclasses import fields
from typing import Any

from sqlalchemy import Table, and_, bindparam, insert, select, update

from leadglass.database.prepared import Prepared
from leadglass.index.records import InstanceLocation, Quarantined
from leadglass.index.tables import (
    instance,
    item_value,
    patient,
    quarantine,
    series,
    study,
)

# Who the patient is, as far as instances of one study must agree on it: attributes,
# and their columns.
IDENTITY = {
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
IDENTITY_COLUMNS = tuple(name for names in IDENTITY.values() for name in names)

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
LOCATED = select(*LOCATION).select_from(instance.join(series).join(study))
QUARANTINED = select(
    quarantine.c.id, *(quarantine.c[each.name] for each in fields(Quarantined)[1:])
)


def location(row: Any) -> InstanceLocation:
    """Return a row of the columns ``LOCATION``; they are in the order of its fields."""
    return InstanceLocation(*row)


def quarantined(row: Any) -> Quarantined:
    """Return a row of the quarantine; its columns are in the order of the fields."""
    return Quarantined(*row)


def inserting(table: Table) -> Any:
    """Return the insertion of a row into all columns but its number."""
    return insert(table).values(
        {each.name: bindparam(each.name) for each in table.c if each.name != "id"}
    )


INSERT_PATIENT = Prepared(inserting(patient).returning(patient.c.id))
INSERT_STUDY = Prepared(inserting(study).returning(study.c.id))
INSERT_SERIES = Prepared(inserting(series).returning(series.c.id))
INSERT_INSTANCE = Prepared(inserting(instance))
INSERT_ITEM_VALUE = Prepared(inserting(item_value))
INSERT_QUARANTINE = Prepared(inserting(quarantine).returning(quarantine.c.id))

FIND_PATIENT = Prepared(
    select(patient.c.id, *(patient.c[name] for name in IDENTITY_COLUMNS)).where(
        patient.c.patient_id == bindparam("patient_id"),
        patient.c.issuer_of_patient_id == bindparam("issuer"),
        patient.c.apart == bindparam("apart"),
    )
)
FIND_STUDY = Prepared(
    select(
        study.c.id,
        study.c.gathered,
        study.c.key_ids,
        study.c.patient_differs,
        series.c.id.label("series_id"),
        *(study.c[name] for name in IDENTITY_COLUMNS),
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
FIND_SERIES = Prepared(
    select(series.c.id).where(
        series.c.owner_id == bindparam("study"),
        series.c.series_instance_uid == bindparam("series"),
    )
)
FIND_INSTANCE = Prepared(LOCATED.where(instance.c.sop_instance_uid == bindparam("uid")))
FIND_KEY = Prepared(
    select(study.c.key_id).where(study.c.study_instance_uid == bindparam("study"))
)
FIND_INSTANCE_ID = Prepared(
    select(instance.c.id).where(instance.c.sop_instance_uid == bindparam("uid"))
)
STANDS = Prepared(
    select(instance.c.id).where(
        instance.c.sop_instance_uid == bindparam("uid"),
        instance.c.blob == bindparam("blob_name"),
    )
)
COUNT_STUDY = Prepared(
    update(study)
    .where(study.c.id == bindparam("row"))
    .values(
        series_count=study.c.series_count + bindparam("more_series"),
        instance_count=study.c.instance_count + bindparam("more_instances"),
        blob_bytes=study.c.blob_bytes + bindparam("more_bytes"),
        gathered=bindparam("all_gathered"),
        key_ids=bindparam("all_keys"),
        patient_differs=bindparam("differs"),
        changed_at=bindparam("now"),
    )
)
COUNT_SERIES = Prepared(
    update(series)
    .where(series.c.id == bindparam("row"))
    .values(instance_count=series.c.instance_count + bindparam("more_instances"))
)
