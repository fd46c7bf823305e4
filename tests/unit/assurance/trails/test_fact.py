"""Facts check themselves, and survive their JSON."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from leadglass.assurance.trails.fact import Ending, Fact, Kind, Reach, Touched
from leadglass.errors import BadData

FACT = Fact(
    number=7,
    trail=2,
    time=datetime(2026, 3, 1, 12, 30, 0, 5, tzinfo=UTC),
    kind=Kind.RETRIEVE,
    ending=Ending.MINOR_FAILURE,
    who="CT1",
    who_kind="device",
    ae_title="CT1",
    address="10.4.0.7",
    service="C-GET",
    returned=3,
    instances=500,
    touched=(Touched("P1", Reach.IMAGES, ("1.2.3", "1.2.4")), Touched("P2")),
    details={"level": "STUDY"},
)


def test_a_fact_comes_back_from_its_json() -> None:
    assert Fact.of(json.loads(json.dumps(FACT.members()))) == FACT


def test_a_time_of_another_zone_is_the_same_moment() -> None:
    east = timezone(timedelta(hours=2))
    members = FACT.members() | {"time": FACT.time.astimezone(east).isoformat()}
    assert Fact.of(members) == FACT


def test_the_farthest_reach_counts() -> None:
    assert FACT.reach is Reach.IMAGES
    assert Fact(number=0, time=FACT.time, kind=Kind.ECHO).reach is Reach.NONE


@pytest.mark.parametrize(
    "change",
    [
        {"time": "yesterday"},
        {"kind": "miracle"},
        {"ending": 5},
        {"number": -1},
        {"touched": [["P1", 9]]},
        {"touched": 3},
        {"details": 3},
        {"returned": "many"},
    ],
)
def test_other_members_are_no_fact(change: dict[str, object]) -> None:
    with pytest.raises(BadData):
        Fact.of(FACT.members() | change)


def test_a_time_needs_its_zone() -> None:
    with pytest.raises(BadData, match="zone"):
        Fact(number=0, time=datetime(2026, 3, 1), kind=Kind.ECHO)  # noqa: DTZ001
