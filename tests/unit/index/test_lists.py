"""What is assigned and listed, and that scopes see it at the next question."""

import pytest

from leadglass.access.scopes import Scope
from leadglass.database.engine import Database
from leadglass.dicom.attributes import Level
from leadglass.errors import BadData
from leadglass.index import lists
from leadglass.index.index import Index
from leadglass.index.lists import ASSIGNMENTS, PATIENT_LISTS, Lists
from leadglass.index.query import Query
from tests.unit.index.samples import record

INDEX = Index()
ALICE = "operator alice"


@pytest.fixture
def archive(database: Database) -> Database:
    for number in (1, 2, 3):
        uid = f"1.{number}"
        sample = record(uid, f"{uid}.1", f"{uid}.1.1", PatientID=f"P{number}")
        database.write(lambda tx, sample=sample: INDEX.add(tx, sample))  # type: ignore[misc]
    return database


def found(database: Database, *scopes: str) -> set[str]:
    query = Query(
        level=Level.STUDY, keys={}, scopes=tuple(map(Scope.parse, scopes)),
        relational=True,
    )  # fmt: skip
    with database.read() as connection:
        return {row.uids.study_uid or "" for row in INDEX.find(connection, query)}


def add(database: Database, table: Lists, name: str, *members: str) -> int:
    return database.write(lambda tx: table.add(tx, name, members))


def remove(database: Database, table: Lists, name: str, *members: str) -> int:
    return database.write(lambda tx: table.remove(tx, name, members))


def test_what_is_assigned_is_reached_until_it_is_taken_back(archive: Database) -> None:
    scope = f"assigned_to={ALICE}"
    assert found(archive, scope) == set()
    assert add(archive, ASSIGNMENTS, ALICE, "1.1", "1.3") == 2
    assert found(archive, scope) == {"1.1", "1.3"}
    assert remove(archive, ASSIGNMENTS, ALICE, "1.1", "1.2") == 1
    assert found(archive, scope) == {"1.3"}


def test_nobody_reaches_what_is_assigned_to_somebody_else(archive: Database) -> None:
    add(archive, ASSIGNMENTS, ALICE, "1.1")
    assert found(archive, "assigned_to=service alice") == set()
    assert found(archive, "assigned_to=operator Alice") == set()
    # A scope whose owner was never said reaches nothing.
    assert found(archive, "assigned_to=own") == set()


def test_a_list_of_patients_reaches_their_studies(archive: Database) -> None:
    add(archive, PATIENT_LISTS, "ward 3", "P2", "P9")
    assert found(archive, "patient_list=ward 3") == {"1.2"}
    assert found(archive, "patient_list=ward 4") == set()
    assert found(archive, "patient_list=ward 3,ward 4") == {"1.2"}


def test_fields_of_a_scope_are_joined_by_and(archive: Database) -> None:
    add(archive, ASSIGNMENTS, ALICE, "1.1", "1.2")
    add(archive, PATIENT_LISTS, "ward 3", "P2", "P3")
    assert found(archive, f"assigned_to={ALICE};patient_list=ward 3") == {"1.2"}
    both = found(archive, f"assigned_to={ALICE}", "patient_list=ward 3")
    assert both == {"1.1", "1.2", "1.3"}


def test_what_is_in_already_is_in_once(archive: Database) -> None:
    assert add(archive, PATIENT_LISTS, "w", "P1", "P1", "P2") == 2
    assert add(archive, PATIENT_LISTS, "w", "P2", "P3") == 1
    with archive.read() as connection:
        assert PATIENT_LISTS.members(connection, "w") == ("P1", "P2", "P3")
        assert PATIENT_LISTS.members(connection, "v") == ()


@pytest.mark.parametrize(
    ("name", "members"),
    [
        ("w", ()),
        ("", ("P1",)),
        ("w", ("",)),
        ("w", (" P1",)),
        ("w", ("P\n1",)),
        ("w", ("P" * 195,)),
        ("w", tuple(map(str, range(lists.CHANGES_MAX + 1)))),
    ],
)
def test_what_cannot_be_a_member_is_refused(
    database: Database, name: str, members: tuple[str, ...]
) -> None:
    with pytest.raises(BadData):
        add(database, PATIENT_LISTS, name, *members)


def test_a_list_has_an_end(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "ENTRIES_MAX", 3)
    add(database, PATIENT_LISTS, "w", "P1", "P2")
    with pytest.raises(BadData, match="more than 3"):
        add(database, PATIENT_LISTS, "w", "P3", "P4")
    assert add(database, PATIENT_LISTS, "w", "P2", "P3") == 1
