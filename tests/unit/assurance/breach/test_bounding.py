"""Whom a window and sources concern, and whom not."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert

from leadglass.assurance.breach.bounding import (
    Bounds,
    Source,
    SourceKind,
    bound,
    deadlines,
)
from leadglass.assurance.trails.fact import Ending, Fact, Kind, Reach, Touched
from leadglass.database.engine import Transaction
from leadglass.errors import BadData
from leadglass.index.tables import patient
from tests.unit.assurance.trails.conftest import Shelf

NOW = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
THIEF = "203.0.113.7"
FINGERPRINT = "ab" * 32


def fact(number: int, kind: Kind, who: str, address: str, **more: object) -> Fact:
    values: dict[str, object] = {"time": NOW + number * timedelta(minutes=1)}
    return Fact(
        number=number,
        kind=kind,
        who=who,
        address=address,
        **(values | more),  # type: ignore[arg-type]
    )


FACTS = (
    fact(
        0,
        Kind.QUERY,
        "WS1",
        THIEF,
        touched=(Touched("P1", Reach.LISTED, ("1.1",)), Touched("P2", Reach.LISTED)),
    ),
    fact(
        1,
        Kind.RETRIEVE,
        "WS1",
        THIEF,
        instances=9,
        certificate=FINGERPRINT,
        touched=(Touched("P1", Reach.IMAGES, ("1.1", "1.2")),),
    ),
    fact(2, Kind.TRANSFERRED, "WS1", THIEF, instances=7),
    fact(3, Kind.STORE, "CT1", THIEF, touched=(Touched("P3", Reach.NONE),)),
    fact(4, Kind.REFUSED, "WS1", THIEF, ending=Ending.SERIOUS_FAILURE),
    fact(5, Kind.VIEW, "alice", "10.0.0.9", touched=(Touched("P4", Reach.IMAGES),)),
    fact(
        6,
        Kind.QUERY,
        "WS1",
        THIEF,
        time=NOW + 5 * DAY,
        touched=(Touched("P5", Reach.LISTED),),
    ),
)


@pytest.fixture(name="filled")
def _filled(shelf: Shelf) -> Shelf:
    shelf.database.write(lambda tx: shelf.facts.add(tx, FACTS))
    return shelf


def found(shelf: Shelf, *sources: str, days: int = 1) -> Bounds:
    with shelf.database.read() as connection:
        return bound(connection, map(Source.parse, sources), NOW, NOW + days * DAY)


def test_the_farthest_reach_counts_once_for_each_patient(filled: Shelf) -> None:
    told = found(filled, f"address={THIEF}")
    assert [each.patient for each in told.seen] == ["P1"]
    assert [each.patient for each in told.listed] == ["P2"]
    (p1,) = told.seen
    assert (p1.acts, p1.studies) == (2, ("1.1", "1.2"))
    assert (p1.first, p1.last) == (FACTS[0].time, FACTS[1].time)
    assert told.concerned == 2
    assert (told.acts, told.failed) == (5, 1)
    assert (told.begun, told.left) == (9, 7)


@pytest.mark.parametrize(
    ("source", "patients"),
    [
        ("person=alice", ["P4"]),
        ("device=WS1", ["P1", "P2"]),
        (f"certificate={FINGERPRINT}", ["P1"]),
        ("device=CT1", []),
        ("address=198.51.100.1", []),
        ("title=WS1", []),
    ],
)
def test_each_kind_of_source(filled: Shelf, source: str, patients: list[str]) -> None:
    told = found(filled, source)
    assert [each.patient for each in (*told.seen, *told.listed)] == patients


def test_sources_are_joined_and_the_window_is_kept(filled: Shelf) -> None:
    told = found(filled, "person=alice", f"address={THIEF}", days=9)
    assert {each.patient for each in told.seen} == {"P1", "P4"}
    assert {each.patient for each in told.listed} == {"P2", "P5"}


@pytest.mark.parametrize("text", ["", "address", "address=", "=x", "planet=Mars"])
def test_other_texts_are_no_source(text: str) -> None:
    with pytest.raises(BadData):
        Source.parse(text)


def test_a_window_and_a_source_are_needed(filled: Shelf) -> None:
    with filled.database.read() as connection:
        with pytest.raises(BadData):
            bound(connection, (), NOW, NOW + DAY)
        source = Source(SourceKind.PERSON, "alice")
        with pytest.raises(BadData):
            bound(connection, (source,), NOW, NOW)


def test_matching_goes_by_an_index(filled: Shelf) -> None:
    with filled.database.read() as connection:
        plan = connection.exec_driver_sql(
            "EXPLAIN QUERY PLAN SELECT count(*) FROM fact WHERE address = 7 AND "
            "time_us >= 1 AND time_us < 2 AND trail = 0"
        ).fetchall()
    assert "ix_fact_address_time_us" in str(plan)


def test_who_was_not_reached_is_counted(filled: Shelf) -> None:
    def stored(tx: Transaction) -> None:
        for number, text in enumerate(("P1", "P2", "P8", "P9"), start=1):
            empty = {each.name: "" for each in patient.c if not each.nullable}
            tx.connection.execute(
                insert(patient).values(empty | {"id": number, "patient_id": text})
            )

    filled.database.write(stored)
    assert found(filled, f"address={THIEF}").neither == 2
    assert found(filled, "device=CT1").neither == 4


def test_deadlines_go_by_how_many_are_concerned() -> None:
    few = deadlines(3, NOW)
    assert [each.until for each in few] == [
        NOW + 60 * DAY,
        datetime(2027, 3, 1, tzinfo=UTC),
    ]
    assert any("media" in each.whom for each in deadlines(501, NOW))
    assert deadlines(0, NOW) == []
