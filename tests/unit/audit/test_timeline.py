"""The timeline counts as the records do, and says where it does not know."""

from datetime import UTC, datetime, timedelta

import pytest

from leadglass.audit import timeline
from leadglass.audit.builders import Result
from leadglass.audit.codes import Outcome
from leadglass.errors import BadData
from tests.unit.audit.surroundings import EVENTS, SCANNER, Home, fill

FIRST = datetime.fromtimestamp(1_800_000_000, UTC)
DAY = timedelta(days=1)


def test_each_record_is_counted_in_its_time(home: Home) -> None:
    with home.database() as database:
        log = home.over(database)
        for day in range(4):
            fill(log, database, day)
            failed = Result(Outcome.MINOR_FAILURE, "why")
            log.record(EVENTS.stored(SCANNER, (), failed)[0])
            home.clock.passes(86_400)
        found = log.count([FIRST + day * DAY for day in range(-1, 6)])
        log.close()
    assert [each.total for each in found] == [0, 1, 2, 3, 4, 0]
    assert found[3].outcomes == {Outcome.SUCCESS: 2, Outcome.MINOR_FAILURE: 1}
    assert found[0].outcomes == {}
    assert (found[1].since, found[1].until) == (FIRST, FIRST + DAY)


def test_of_what_is_too_much_only_the_number_is_told(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeline, "READ_MAX", 5)
    with home.database() as database:
        log = home.over(database)
        for _ in range(3):
            fill(log, database, 4)
            home.clock.passes(86_400)
        found = log.count([FIRST + day * DAY for day in range(4)])
        log.close()
    assert [each.total for each in found] == [4, 4, 4]
    assert [each.outcomes for each in found] == [None, None, {Outcome.SUCCESS: 4}]


@pytest.mark.parametrize("days", [(), (0,), (1, 0), tuple(range(101))])
def test_moments_that_make_no_timeline_are_refused(
    home: Home, days: tuple[int, ...]
) -> None:
    with home.log() as log, pytest.raises(BadData):
        log.count([FIRST + day * DAY for day in days])
