from typing import Any

from sqlalchemy import func, select

from leadglass.database.engine import Database, Transaction
from leadglass.index.index import Index
from leadglass.index.records import InstanceRecord, Quarantined, Removed
from leadglass.index.tables import instance, item_value, patient, series, study
from tests.unit.index.samples import record

INDEX = Index()


def add(database: Database, *records: InstanceRecord) -> None:
    database.write(lambda tx: [INDEX.add(tx, each) for each in records] and None)


def set_aside(
    database: Database, first: InstanceRecord, other: InstanceRecord
) -> Quarantined:
    def work(tx: Transaction) -> Quarantined:
        INDEX.add(tx, first)
        existing = INDEX.add(tx, other).existing
        assert existing is not None
        return INDEX.quarantine(tx, other, existing)

    return database.write(work)


def rows(database: Database) -> list[int]:
    with database.read() as connection:
        return [
            connection.scalars(select(func.count()).select_from(table)).one()
            for table in (patient, study, series, instance, item_value)
        ]


ROOMY: dict[str, Any] = {
    "OtherPatientIDs": ["A", "B"],
    "OperatorsName": ["X^Y", "Z"],
    "ProcedureCodeSequence": [{"CodeValue": "24627-2"}],
    "ConceptNameCodeSequence": [{"CodeValue": "18748-4"}],
    "RequestAttributesSequence": [{"RequestedProcedureID": "RP1"}],
}


def test_a_removed_study_leaves_no_row_and_tells_what_to_destroy(
    database: Database,
) -> None:
    add(database, record("2", "2.1", "2.1.1", **ROOMY | {"PatientID": "P2"}))
    before = rows(database)
    records = [
        record("1", "1.1", "1.1.1", key_id="k1", **ROOMY),
        record("1", "1.1", "1.1.2", key_id="k2", **ROOMY),
        record("1", "1.2", "1.2.1", key_id="k1", **ROOMY),
    ]
    add(database, *records)
    removed = database.write(lambda tx: INDEX.remove_study(tx, "1"))
    assert removed is not None
    assert removed.study_uid == "1"
    assert set(removed.blobs) == {each.blob for each in records}
    assert removed.key_ids == ("k1", "k2")
    assert rows(database) == before
    assert INDEX.study_key(database, "1") is None


def test_the_patient_stays_while_another_study_does(database: Database) -> None:
    add(database, record("1", "1.1", "1.1.1"), record("2", "2.1", "2.1.1"))
    database.write(lambda tx: INDEX.remove_study(tx, "1"))
    assert rows(database)[0] == 1
    database.write(lambda tx: INDEX.remove_study(tx, "2"))
    assert rows(database)[0] == 0


def test_removing_what_is_not_there_is_told(database: Database) -> None:
    assert database.write(lambda tx: INDEX.remove_study(tx, "1")) is None


def test_adding_removing_and_adding_again_in_one_transaction(
    database: Database,
) -> None:
    def work(tx: Transaction) -> Removed | None:
        INDEX.add(tx, record("1", "1.1", "1.1.1"))
        removed = INDEX.remove_study(tx, "1")
        INDEX.add(tx, record("1", "1.1", "1.1.2"))
        return removed

    removed = database.write(work)
    assert removed is not None
    assert len(removed.blobs) == 1
    with database.read() as connection:
        totals = INDEX.totals(connection)
        left = [each.instance_uid for each in INDEX.all_instances(connection)]
    assert (totals.studies, totals.series, totals.instances) == (1, 1, 1)
    assert left == ["1.1.2"]


def test_other_bytes_are_kept_aside_and_listed(database: Database) -> None:
    first = record("1", "1.1", "1.1.1")
    other = record("1", "1.1", "1.1.1", "other", source="CT9", key_id="k9")
    kept = set_aside(database, first, other)
    with database.read() as connection:
        assert list(INDEX.quarantined(connection)) == [kept]
        assert INDEX.quarantined_count(connection) == 1
        assert INDEX.totals(connection).instances == 1
    assert kept.blob == other.blob
    assert kept.digest == other.digest
    assert kept.existing_blob == first.blob
    assert kept.existing_digest == first.digest
    assert (kept.source, kept.key_id) == ("CT9", "k9")


def test_the_same_other_bytes_again_are_kept_once(database: Database) -> None:
    first = record("1", "1.1", "1.1.1")
    kept = set_aside(database, first, record("1", "1.1", "1.1.1", "other"))
    again = set_aside(database, first, record("1", "1.1", "1.1.1", "other"))
    third = set_aside(database, first, record("1", "1.1", "1.1.1", "third"))
    assert again == kept
    assert third != kept
    with database.read() as connection:
        assert INDEX.quarantined_count(connection) == 2


def test_a_removed_study_takes_what_is_aside_with_it(database: Database) -> None:
    first = record("1", "1.1", "1.1.1", key_id="k1")
    other = record("1", "1.1", "1.1.1", "other", key_id="k2")
    set_aside(database, first, other)
    removed = database.write(lambda tx: INDEX.remove_study(tx, "1"))
    assert removed is not None
    assert set(removed.blobs) == {first.blob, other.blob}
    assert removed.key_ids == ("k1", "k2")
    with database.read() as connection:
        assert INDEX.quarantined_count(connection) == 0


def test_what_is_released_is_told_once(database: Database) -> None:
    kept = set_aside(
        database, record("1", "1.1", "1.1.1"), record("1", "1.1", "1.1.1", "other")
    )
    assert database.write(lambda tx: INDEX.release(tx, kept.number)) == kept
    assert database.write(lambda tx: INDEX.release(tx, kept.number)) is None


def test_known_blobs_are_those_with_a_row(database: Database) -> None:
    first = record("1", "1.1", "1.1.1")
    kept = set_aside(database, first, record("1", "1.1", "1.1.1", "other"))
    with database.read() as connection:
        known = INDEX.known_blobs(connection, [first.blob, kept.blob, "unknown"])
    assert known == {first.blob, kept.blob}


def test_clearing_leaves_nothing(database: Database) -> None:
    set_aside(
        database,
        record("1", "1.1", "1.1.1", **ROOMY),
        record("1", "1.1", "1.1.1", "other"),
    )
    database.write(INDEX.clear)
    assert rows(database) == [0, 0, 0, 0, 0]
    with database.read() as connection:
        assert INDEX.totals(connection).instances == 0
        assert INDEX.quarantined_count(connection) == 0
