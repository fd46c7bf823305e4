"""Facts in the database: what was put in comes out, and what is forgotten is gone."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Thread
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from leadglass.assurance.trails import reading, tables
from leadglass.assurance.trails.fact import (
    OWN,
    Ending,
    Fact,
    Kind,
    Reach,
    Touched,
)
from leadglass.assurance.trails.own import ERASED, fact_of
from leadglass.assurance.trails.store import Facts
from leadglass.audit.builders import Actor, Question, Study
from leadglass.audit.events import SOPClass
from leadglass.database.engine import Transaction
from leadglass.errors import Damaged
from tests.unit.assurance.trails.conftest import Shelf
from tests.unit.audit.surroundings import EVENTS, SCANNER, erase, prune

NOW = datetime(2027, 1, 1, tzinfo=UTC)
ALICE = Actor("alice", "192.0.2.9", channel="TLSv1.3", kind="operator")
_TEXT = st.text(max_size=12)


@st.composite
def some_facts(draw: st.DrawFn) -> list[Fact]:
    """Draw facts of one trail, in their order, each patient once."""
    touched = st.lists(
        st.builds(
            Touched,
            st.sampled_from(("", "P1", "P2", "Ä")),
            st.sampled_from(Reach),
            st.lists(st.sampled_from(("1.2", "1.3")), unique=True).map(tuple),
        ),
        unique_by=lambda each: each.patient,
    ).map(lambda found: tuple(sorted(found, key=lambda each: each.patient)))
    one = st.builds(
        Fact,
        number=st.just(0),
        trail=st.just(3),
        time=st.integers(0, 1 << 40).map(lambda s: NOW + timedelta(microseconds=s)),
        kind=st.sampled_from(Kind),
        ending=st.sampled_from(Ending),
        **{each: _TEXT.map(reading.kept) for each in reading.NAMED},
        what=_TEXT,
        service=_TEXT,
        called=_TEXT,
        octets=st.integers(0, 1 << 50),
        returned=st.integers(0, 1 << 50),
        touched=touched,
        details=st.dictionaries(_TEXT, _TEXT, max_size=3),
    )
    found = draw(st.lists(one, max_size=5))
    return [replace(each, number=n) for n, each in enumerate(found)]


def plain(facts: Iterator[Fact] | list[Fact]) -> list[Any]:
    return [
        {**each.members(), "touched": sorted(each.touched, key=lambda one: one.patient)}
        for each in facts
    ]


def stored(shelf: Shelf, of: int | None = None) -> list[Fact]:
    with shelf.database.read() as connection:
        return list(reading.facts(connection, of=of))


def names(shelf: Shelf) -> set[str]:
    with shelf.database.read() as connection:
        return set(connection.scalars(select(tables.name.c.text)))


def echo(number: int, **more: Any) -> Fact:
    return Fact(number=number, time=NOW, kind=Kind.ECHO, trail=1, **more)


def record(shelf: Shelf, count: int, patient: str = "PAT-1") -> None:
    """Put views of a patient on the record."""
    study = Study("1.2.3", patient, "", (SOPClass("1.2.840", 2),))

    def work(tx: Transaction) -> None:
        for _ in range(count):
            for event in EVENTS.begin_transferring(ALICE, [study], right="view"):
                shelf.log.append(tx, event)

    shelf.database.write(work)


@settings(
    max_examples=30,
    deadline=None,
    # Each example clears what the one before left.
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(facts=some_facts())
def test_what_is_put_in_comes_out(facts: list[Fact], shelf: Shelf) -> None:
    def clear(tx: Transaction) -> None:
        shelf.facts.forget(tx, range(10), 3)

    shelf.database.write(clear)
    shelf.facts.write(facts)
    assert plain(stored(shelf, 3)) == plain(facts)


def test_the_same_fact_twice_is_one(shelf: Shelf) -> None:
    shelf.facts.write([echo(1, who="ct")])
    shelf.facts.write([echo(1, who="other"), echo(2, who="mr")])
    assert [each.who for each in stored(shelf)] == ["ct", "mr"]


def test_an_undone_transaction_leaves_no_name_in_mind(shelf: Shelf) -> None:
    class Undone(Exception):
        pass

    def work(tx: Transaction) -> None:
        shelf.facts.add(tx, [echo(1, who="never")])
        raise Undone

    with suppress(Undone):
        shelf.database.write(work)
    shelf.facts.write([echo(1, who="first"), echo(2, who="never")])
    assert [each.who for each in stored(shelf)] == ["first", "never"]


def test_facts_of_all_trails_come_by_time(shelf: Shelf) -> None:
    early, late = NOW - timedelta(hours=1), NOW + timedelta(hours=1)
    shelf.facts.write([replace(echo(5), time=late), replace(echo(6), time=early)])
    shelf.facts.write([replace(echo(1), trail=2)])
    assert [each.number for each in stored(shelf)] == [6, 1, 5]
    with shelf.database.read() as connection:
        between = reading.facts(connection, since=NOW, until=late)
        assert [each.number for each in between] == [1]
        after = reading.facts(connection, of=1, after=5)
        assert [each.number for each in after] == [6]


def test_the_own_record_is_taken_in_and_nothing_twice(shelf: Shelf) -> None:
    record(shelf, 3)
    assert shelf.facts.take_own(shelf.log, 2) == 2
    assert shelf.facts.take_all(shelf.log) == 1
    assert shelf.facts.take_all(shelf.log) == 0
    record(shelf, 1)
    assert shelf.facts.take_all(shelf.log) == 1
    expected = [fact_of(each, shelf.log.origin) for each in shelf.log.list()]
    assert plain(stored(shelf, OWN)) == plain(expected)


def test_several_may_take_at_once(shelf: Shelf) -> None:
    record(shelf, 1_200)
    taken: list[int] = []
    several = [
        Thread(
            target=lambda: taken.append(Facts(shelf.database).take_all(shelf.log)),
        )
        for _ in range(3)
    ]
    for each in several:
        each.start()
    for each in several:
        each.join()
    assert sum(taken) == 1_200
    assert [each.number for each in stored(shelf, OWN)] == list(range(1_200))


def test_a_query_of_many_patients_is_asked_by_each(shelf: Shelf) -> None:
    question = Question("1.2", b"", "")
    told = [(f"P{n}", f"1.2.{n}") for n in range(700)]
    for event in EVENTS.query(SCANNER, question, told):
        shelf.log.record(event)
    shelf.facts.take_all(shelf.log)
    with shelf.database.read() as connection:
        patient = reading.id_of(connection, "P650")
        rows = connection.execute(
            select(tables.touch).where(tables.touch.c.patient == patient)
        ).all()
    assert [(row.number, row.studies) for row in rows] == [(1, "1.2.650")]


def test_who_is_forgotten_is_no_name_any_more(shelf: Shelf) -> None:
    ours = (Touched("GONE", Reach.IMAGES), Touched("STAYS"))
    shelf.facts.write([echo(1, who="ct", touched=ours)])
    shelf.facts.write([echo(2, who="ct", touched=ours[1:])])
    other = Facts(shelf.database)  # as another process, which has names in mind
    other.write([echo(3, who="mr", touched=(Touched("GONE"),))])
    shelf.database.write(lambda tx: shelf.facts.forget(tx, [1, 3], 1))
    assert names(shelf) == {"ct", "STAYS"}
    shelf.facts.write([echo(4, touched=(Touched("NEW"),))])
    other.write([echo(5, who="mr", touched=(Touched("GONE"),))])
    assert stored(shelf)[2].touched == (Touched("GONE"),)
    assert stored(shelf)[1].touched == (Touched("NEW"),)


def test_what_was_erased_from_the_record_is_erased_here(shelf: Shelf) -> None:
    record(shelf, 2, "GONE")
    record(shelf, 1, "STAYS")
    shelf.facts.take_all(shelf.log)
    assert "GONE" in names(shelf)

    erase(shelf.log, shelf.database, 0, 1)
    shelf.facts.take_all(shelf.log)
    assert "GONE" not in names(shelf)
    assert [each.what for each in stored(shelf, OWN)][:2] == [ERASED, ERASED]
    assert [each.number for each in stored(shelf, OWN)] == [0, 1, 2, 3]


def test_what_was_pruned_is_gone_here(shelf: Shelf) -> None:
    record(shelf, 300)
    shelf.facts.take_all(shelf.log)
    prune(shelf.log, shelf.database, 0)
    shelf.facts.take_all(shelf.log)
    assert [each.number for each in stored(shelf, OWN)] == list(range(256, 301))


def test_a_row_that_was_tampered_with_is_damage(shelf: Shelf) -> None:
    shelf.facts.write([echo(1)])

    def work(tx: Transaction) -> None:
        tx.connection.execute(tables.fact.update().values(kind="nothing"))

    shelf.database.write(work)
    with pytest.raises(Damaged):
        stored(shelf)


def test_a_hostile_text_is_kept_and_cut(shelf: Shelf) -> None:
    details = MappingProxyType({"\ud800": "'; DROP TABLE fact; --"})
    shelf.facts.write([echo(1, who="\ud800" + "x" * 9_000, details=details)])
    (found,) = stored(shelf)
    assert len(found.who) == 1_024
    assert "'; DROP TABLE fact; --" in found.details.values()
    with shelf.database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(tables.fact)) == 1
