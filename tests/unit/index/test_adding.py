import json
import threading
from typing import Any

import pytest
from sqlalchemy import select

from leadglass.access.scopes import EVERYTHING
from leadglass.database.engine import Database, Transaction
from leadglass.dicom.attributes import Level
from leadglass.index import adding
from leadglass.index.index import Index
from leadglass.index.query import Query
from leadglass.index.records import Added, InstanceRecord, Kind
from leadglass.index.tables import study
from tests.unit.index.samples import MR, record

INDEX = Index()


def add(database: Database, *records: InstanceRecord) -> list[Added]:
    return database.write(lambda tx: [INDEX.add(tx, each) for each in records])


def answers(database: Database, level: Level = Level.STUDY) -> list[dict[str, Any]]:
    query = Query(level=level, keys={}, scopes=(EVERYTHING,), relational=True)
    with database.read() as connection:
        return [dict(row.json) for row in INDEX.find(connection, query)]


def columns(database: Database, *names: str) -> list[tuple[Any, ...]]:
    with database.read() as connection:
        rows = connection.execute(
            select(*(study.c[name] for name in names)).order_by(study.c.id)
        )
        return [tuple(row) for row in rows]


def test_what_is_new_is_found_with_its_numbers(database: Database) -> None:
    found = add(database, record("1.1", "1.1.1", "1.1.1.1", StudyDescription="Chest"))
    assert [each.kind for each in found] == [Kind.NEW]
    (answer,) = answers(database)
    assert answer["00081030"] == {"vr": "LO", "Value": ["Chest"]}
    assert answer["00100010"] == {"vr": "PN", "Value": [{"Alphabetic": "DOE^JANE"}]}
    assert answer["00201206"] == {"vr": "IS", "Value": [1]}
    assert answer["00201208"] == {"vr": "IS", "Value": [1]}
    assert answer["00080061"] == {"vr": "CS", "Value": ["CT"]}


@pytest.mark.parametrize("together", [True, False])
def test_counters_count_series_and_instances(
    database: Database, together: bool
) -> None:
    records = [
        record("1.1", "1.1.1", "1.1.1.1"),
        record("1.1", "1.1.1", "1.1.1.2"),
        record("1.1", "1.1.2", "1.1.2.1", Modality="SR", SOPClassUID=MR),
        record("1.2", "1.2.1", "1.2.1.1"),
    ]
    for part in [records] if together else [[each] for each in records]:
        add(database, *part)
    first, second = columns(database, "series_count", "instance_count", "blob_bytes")
    assert first == (2, 3, 3_000)
    assert second == (1, 1, 1_000)
    assert [each["00201209"]["Value"] for each in answers(database, Level.SERIES)] == [
        [2],
        [1],
        [1],
    ]
    assert answers(database)[1]["00080061"]["Value"] == ["CT", "SR"]
    with database.read() as connection:
        totals = INDEX.totals(connection)
    assert (totals.patients, totals.studies, totals.series) == (1, 2, 3)
    assert (totals.instances, totals.blob_bytes, totals.quarantined) == (4, 4_000, 0)


def test_the_same_again_changes_nothing(database: Database) -> None:
    each = record("1.1", "1.1.1", "1.1.1.1")
    add(database, each)
    before = columns(database, "instance_count", "changed_at")
    (again,) = add(database, each)
    assert again.kind is Kind.SAME
    assert again.existing is not None
    assert again.existing.blob == each.blob
    assert columns(database, "instance_count", "changed_at") == before


def test_the_same_twice_in_one_transaction(database: Database) -> None:
    each = record("1.1", "1.1.1", "1.1.1.1")
    assert [a.kind for a in add(database, each, each)] == [Kind.NEW, Kind.SAME]
    assert columns(database, "instance_count") == [(1,)]


def test_other_bytes_are_told_and_change_nothing(database: Database) -> None:
    first = record("1.1", "1.1.1", "1.1.1.1")
    add(database, first)
    (other,) = add(database, record("1.1", "1.1.1", "1.1.1.1", "other"))
    assert other.kind is Kind.OTHER
    assert other.existing is not None
    assert other.existing.digest == first.digest
    assert columns(database, "instance_count") == [(1,)]


def test_an_instance_in_another_study_is_other(database: Database) -> None:
    add(database, record("1.1", "1.1.1", "1.1.1.1"))
    (other,) = add(database, record("1.2", "1.2.1", "1.1.1.1", "other"))
    assert other.kind is Kind.OTHER
    assert other.existing is not None
    assert other.existing.study_uid == "1.1"
    assert len(answers(database)) == 1


def test_a_series_uid_in_two_studies_is_two_series(database: Database) -> None:
    add(database, record("1.1", "9", "1.1.1"), record("1.2", "9", "1.2.1"))
    assert len(answers(database, Level.SERIES)) == 2


def test_an_undone_work_is_not_counted(database: Database) -> None:
    def fails(tx: Transaction) -> None:
        INDEX.add(tx, record("1.1", "1.1.1", "1.1.1.2"))
        raise RuntimeError

    add(database, record("1.1", "1.1.1", "1.1.1.1"))
    with pytest.raises(RuntimeError):
        database.write(fails)
    assert columns(database, "instance_count") == [(1,)]


def test_eight_threads_on_one_study_count_right(database: Database) -> None:
    def send(series: int) -> None:
        for number in range(25):
            # Every second instance is sent by two threads at once.
            own = series if number % 2 else series // 2 * 2
            each = record("1.1", f"1.1.{own}", f"1.1.{own}.{number}")
            add(database, each)

    threads = [threading.Thread(target=send, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as connection:
        real = {each.instance_uid for each in INDEX.all_instances(connection)}
    ((series_count, instance_count),) = columns(
        database, "series_count", "instance_count"
    )
    assert instance_count == len(real) == 8 * 12 + 4 * 13
    assert series_count == 8
    counted = [each["00201209"]["Value"][0] for each in answers(database, Level.SERIES)]
    assert sorted(counted) == [12] * 4 + [25] * 4


@pytest.mark.parametrize(
    "said",
    [
        {"PatientID": "P2"},
        {"PatientID": ""},
        {"PatientName": "ROE^JANE"},
        {"PatientBirthDate": "19700102"},
        {"PatientSex": "M"},
        {"IssuerOfPatientID": "South"},
    ],
)
@pytest.mark.parametrize("together", [True, False])
def test_a_study_that_contradicts_itself_on_the_patient_is_marked(
    database: Database, said: dict[str, str], together: bool
) -> None:
    whole = {
        "PatientBirthDate": "19700101",
        "PatientSex": "F",
        "IssuerOfPatientID": "North",
    }
    first = record("1.1", "1.1.1", "1.1.1.1", **whole)
    second = record("1.1", "1.1.1", "1.1.1.2", **whole | said)
    for part in [[first, second]] if together else [[first], [second]]:
        add(database, *part)
    assert columns(database, "patient_differs", "patient_id") == [(True, "P1")]
    assert len(answers(database)) == 1


@pytest.mark.parametrize(
    "said", [{"PatientName": "Doe^Jané"}, {"PatientSex": ""}, {"PatientBirthDate": ""}]
)
def test_case_accents_and_silence_are_no_contradiction(
    database: Database, said: dict[str, str]
) -> None:
    whole = {"PatientBirthDate": "19700101", "PatientSex": "F"}
    add(
        database,
        record("1.1", "1.1.1", "1.1.1.1", **whole),
        record("1.1", "1.1.1", "1.1.1.2", **whole | said),
    )
    assert columns(database, "patient_differs") == [(False,)]


def test_a_study_that_contradicts_the_patients_others_is_marked_and_kept_whole(
    database: Database,
) -> None:
    add(database, record("1.1", "1.1.1", "1.1.1.1", PatientName="DOE^JANE"))
    add(database, record("1.2", "1.2.1", "1.2.1.1", PatientName="ROE^JANE"))
    assert columns(database, "patient_differs", "patient_name_alphabetic") == [
        (False, "doe^jane"),
        (True, "roe^jane"),
    ]


def test_studies_without_a_patient_id_are_of_nobody_in_common(
    database: Database,
) -> None:
    add(
        database,
        record("1.1", "1.1.1", "1.1.1.1", PatientID="", PatientName="A"),
        record("1.2", "1.2.1", "1.2.1.1", PatientID="", PatientName="B"),
    )
    with database.read() as connection:
        assert INDEX.totals(connection).patients == 2
    assert columns(database, "patient_differs") == [(False,), (False,)]


def test_the_issuer_tells_patients_apart(database: Database) -> None:
    add(
        database,
        record("1.1", "1.1.1", "1.1.1.1", IssuerOfPatientID="North"),
        record("1.2", "1.2.1", "1.2.1.1", IssuerOfPatientID="South"),
    )
    with database.read() as connection:
        assert INDEX.totals(connection).patients == 2


def test_a_study_keeps_its_first_key_and_knows_all(database: Database) -> None:
    add(database, record("1.1", "1.1.1", "1.1.1.1", key_id="k1"))
    add(database, record("1.1", "1.1.1", "1.1.1.2", key_id="k2"))
    assert INDEX.study_key(database, "1.1") == "k1"
    assert INDEX.study_key(database, "1.2") is None
    ((key_ids,),) = columns(database, "key_ids")
    assert json.loads(key_ids) == ["k1", "k2"]


def test_made_up_values_do_not_grow_a_study_without_end(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adding, "GATHERED_MAX", 3)
    for number in range(6):
        add(
            database,
            record(
                "1.1",
                "1.1.1",
                f"1.1.1.{number}",
                Modality=f"M{number}",
                key_id=f"k{number}",
            ),
        )
    ((key_ids,),) = columns(database, "key_ids")
    assert json.loads(key_ids) == [f"k{n}" for n in range(6)]
    assert answers(database)[0]["00080061"]["Value"] == ["M0", "M1", "M2"]
