"""Portions of an answer: nothing is missed between them, each has a bounded cost."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leadglass.audit import search as module
from leadglass.audit.builders import Result
from leadglass.audit.codes import EventID, Outcome
from leadglass.audit.log import AuditLog, Cancelled
from leadglass.audit.search import Search
from tests.unit.audit.surroundings import EVENTS, SCANNER, Home, fill, stored

FIRST = datetime.fromtimestamp(1_800_000_000, UTC)
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home(tmp_path_factory.mktemp("long"))
    home.prepare()
    with home.database() as database:
        log = home.over(database)
        for _ in range(7):
            fill(log, database, 100)
            home.clock.passes(86_400)
        log.close()
    return home


def portions(log: AuditLog, search: Search, found_max: int) -> list[list[int]]:
    """Return the numbers of all portions, one after the other."""
    found, after = [], search.after
    while True:
        part = log.look(replace(search, after=after), found_max)
        found.append([each.n for each in part.records])
        if part.after is None:
            return found
        assert after is None or part.after < after  # it always goes on
        after = part.after


@settings(max_examples=30, deadline=None)
@given(
    found_max=st.integers(1, 400),
    looked_max=st.integers(1, 400),
    patient=st.none() | st.sampled_from(["PAT-0012", "PAT-0025", "PAT-0069", "NOBODY"]),
    event=st.none() | st.sampled_from([EventID.INSTANCES_TRANSFERRED, EventID.QUERY]),
    since=st.none() | st.integers(-1, 8),
    until=st.none() | st.integers(-1, 8),
)
def test_portions_together_are_the_whole_answer(
    long: Home,
    *,
    found_max: int,
    looked_max: int,
    patient: str | None,
    event: EventID | None,
    since: int | None,
    until: int | None,
) -> None:
    search = Search(
        patient=patient,
        event=event,
        since=None if since is None else FIRST + since * DAY,
        until=None if until is None else FIRST + until * DAY,
        newest_first=True,
    )
    with long.database() as database, pytest.MonkeyPatch.context() as patch:
        log = long.over(database)
        patch.setattr(module, "LOOKED_MAX", looked_max)
        found = portions(log, search, found_max)
        expected = [each.n for each in log.list(search)]
    assert [n for part in found for n in part] == expected
    assert all(len(part) <= found_max for part in found)


def test_a_portion_does_not_look_through_the_whole_log(
    long: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOKED_MAX", 10)
    failed = Search(outcomes=frozenset({Outcome.MINOR_FAILURE}))
    with long.database() as database:
        part = long.over(database).look(failed, 5)
    assert part.records == ()
    assert part.after == 690  # said, so that who searches can go on


def test_what_is_read_comes_in_order_without_being_sorted(long: Home) -> None:
    wanted = Search(user=SCANNER.name, event=EventID.QUERY, newest_first=True)
    query, order = module._indexed(wanted, 0, 512)
    with long.database() as database, database.read() as connection:
        text = str(
            query.order_by(order.desc()).compile(
                dialect=connection.dialect, compile_kwargs={"literal_binds": True}
            )
        )
        plan = " ".join(
            row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}")
        )
    assert "SCAN" not in plan
    assert "TEMP B-TREE" not in plan


def test_outcomes_and_kinds_are_told_apart(home: Home) -> None:
    with home.log() as log:
        log.record(stored(0))
        log.record(EVENTS.echo(SCANNER))
        failed = Result(Outcome.MINOR_FAILURE, "why")
        log.record(EVENTS.stored(SCANNER, (), failed)[0])
        found = log.look(Search(outcomes=frozenset({Outcome.MINOR_FAILURE})), 10)
        assert [each.n for each in found.records] == [2]
        kinds = frozenset({EventID.NETWORK_ENTRY, EventID.QUERY})
        found = log.look(Search(events=kinds), 10)
        assert [each.n for each in found.records] == [1]


def test_the_state_is_what_was_signed(home: Home) -> None:
    with home.log() as log:
        assert (log.state().size, log.state().file_size) == (0, None)
        log.record(stored(0))
        home.clock.passes(5)
        log.record(stored(1))
        log.flush()
        state = log.state()
        assert (state.size, state.file_size) == (2, 2)
        assert state.root.hex() == log.verify().root
        assert state.signed_at == FIRST + timedelta(seconds=5)
        assert state.file_written_at is not None
        assert state.file.exists()


def test_a_verification_tells_how_far_it_is_and_can_be_ended(long: Home) -> None:
    told: list[tuple[int, int]] = []

    def end(_done: int, _total: int) -> None:
        raise Cancelled

    with long.database() as database:
        log = long.over(database)
        assert log.verify(progress=lambda *far: told.append(far)).is_intact
        with pytest.raises(Cancelled):
            log.verify(progress=end)
    assert told == [(512, 700)]


def test_thirty_years_are_one_question(long: Home) -> None:
    with long.database() as database:
        log = long.over(database)
        search = Search(since=FIRST - 10_900 * DAY, until=FIRST + 3 * DAY)
        narrow = Search(since=FIRST - DAY, until=FIRST + 3 * DAY)
        assert portions(log, search, 1000) == portions(log, narrow, 1000)
        assert [len(part) for part in portions(log, search, 1000)] == [300]
        log.close()
