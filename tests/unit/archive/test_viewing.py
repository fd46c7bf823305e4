"""Viewings: one pair of records for a series, and nothing that gets round them."""

from dataclasses import dataclass, replace

import pytest

from leadglass.access.rights import Right
from leadglass.access.scopes import Scope
from leadglass.archive import viewing as viewing_module
from leadglass.archive.caller import Caller
from leadglass.archive.erase import Erase
from leadglass.archive.fetch import Fetch, Retrieval, Selection
from leadglass.archive.ingest import Ingest
from leadglass.archive.parts import Parts
from leadglass.archive.viewing import IDLE_S, LENGTH_S, Viewings
from leadglass.audit.builders import Service
from leadglass.audit.codes import EventID, Outcome
from leadglass.audit.events import Event
from leadglass.dicom.attributes import Level
from leadglass.dicom.uids import UID
from leadglass.errors import Refused, Unavailable
from tests.unit.archive.conftest import OPERATOR, STUDY, Home, Rules, make_instance
from tests.unit.archive.rig import events, on, quiet_disk, send

SERIES = f"{STUDY}.1"


@dataclass
class Clock:
    now_s: float = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def viewings(parts: Parts, clock: Clock) -> Viewings:
    return Viewings(parts, Fetch(parts), clock)


@pytest.fixture(autouse=True)
def two(ingest: Ingest) -> None:
    for number in (1, 2):
        send(ingest, make_instance(number))


def one(number: int, series: str = SERIES) -> Selection:
    return Selection(
        level=Level.IMAGE,
        study_uids=(STUDY,),
        series_uids=(series,),
        instance_uids=(f"{SERIES}.{number}",),
    )


def look(viewings: Viewings, number: int, caller: Caller = OPERATOR) -> Retrieval:
    """Look at an instance, and have it."""
    retrieval = viewings.begin(caller, Right.VIEW, one(number), Service.WADO_RS)
    for each in retrieval.locations:
        retrieval.sent(each)
    retrieval.finish()
    return retrieval


def left(home: Home) -> list[Event]:
    """Return what is recorded as having left; the arrivals are not that."""
    return [
        each
        for each in events(home, EventID.INSTANCES_TRANSFERRED)
        if each.details.get("service") == Service.WADO_RS
    ]


def test_many_looks_are_one_viewing(home: Home, viewings: Viewings) -> None:
    for number in (1, 2, 1, 1):
        assert len(look(viewings, number).locations) == 1
    (before,) = events(home, EventID.BEGIN_TRANSFERRING)
    assert set(before.objects[0].sop_classes[0].instances) == {
        f"{SERIES}.1",
        f"{SERIES}.2",
    }
    assert not left(home)
    viewings.close()
    (after,) = left(home)
    assert after.outcome is Outcome.SUCCESS
    assert (after.details["requests"], after.details["succeeded"]) == ("4", "2")
    assert after.objects[1].id == "PAT-1"


def test_the_end_names_only_what_left(home: Home, viewings: Viewings) -> None:
    look(viewings, 2)
    viewings.close()
    (after,) = left(home)
    assert after.objects[0].sop_classes[0].instances == (f"{SERIES}.2",)


@pytest.mark.parametrize(("step_s", "steps"), [(IDLE_S + 1, 1), (IDLE_S / 2, 25)])
def test_who_goes_or_stays_too_long_is_told(
    home: Home, viewings: Viewings, clock: Clock, step_s: float, steps: int
) -> None:
    assert step_s * steps > min(IDLE_S, LENGTH_S)
    look(viewings, 1)
    for _ in range(steps):
        clock.now_s += step_s
        viewings.end()
        if not left(home):
            look(viewings, 1)
    assert len(left(home)) == 1
    look(viewings, 1)
    assert len(events(home, EventID.BEGIN_TRANSFERRING)) == 2


def test_callers_do_not_share(home: Home, viewings: Viewings) -> None:
    elsewhere = replace(OPERATOR, ae_title="ELSEWHERE")
    look(viewings, 1)
    look(viewings, 1, elsewhere)
    assert len(events(home, EventID.BEGIN_TRANSFERRING)) == 2


def test_every_look_is_decided(
    home: Home, rules: Rules, viewings: Viewings, stranger: Caller
) -> None:
    look(viewings, 1)
    with pytest.raises(Refused):
        look(viewings, 1, stranger)
    allowed, rules.rules = rules.rules, ()
    with pytest.raises(Refused):
        look(viewings, 1)
    rules.rules = tuple(
        replace(each, scope=Scope.parse("modality=MR")) for each in allowed
    )
    assert look(viewings, 1).locations == ()
    rules.rules = allowed
    assert len(look(viewings, 1).locations) == 1


def test_an_erasure_counts_at_once_and_so_does_what_comes_instead(
    home: Home, viewings: Viewings, parts: Parts, ingest: Ingest
) -> None:
    look(viewings, 1)
    Erase(parts)(OPERATOR, UID(STUDY), "asked for by the patient")
    assert look(viewings, 1).locations == ()
    send(ingest, make_instance(1))
    again = look(viewings, 1)
    (location,) = again.locations
    assert b"".join(map(bytes, again.data_set(location)))


def test_what_arrives_meanwhile_is_recorded_before_it_leaves(
    home: Home, viewings: Viewings, clock: Clock, ingest: Ingest
) -> None:
    look(viewings, 1)
    send(ingest, make_instance(3))
    for _ in range(2):
        assert len(look(viewings, 3).locations) == 1
    told = events(home, EventID.BEGIN_TRANSFERRING)
    assert [
        each.objects[0].sop_classes[0].instances for each in told if each.objects
    ] == [
        (f"{SERIES}.1", f"{SERIES}.2"),
        (f"{SERIES}.3",),
    ]


def test_what_is_not_there_is_asked_for_on_the_record(
    home: Home, viewings: Viewings
) -> None:
    assert look(viewings, 7).locations == ()
    foreign = viewings.begin(
        OPERATOR, Right.VIEW, one(1, series="1.2.9"), Service.WADO_RS
    )
    assert foreign.locations == ()
    told = events(home, EventID.BEGIN_TRANSFERRING)
    assert len(told) == 2
    assert not any(each.sop_classes for event in told for each in event.objects)


def test_a_series_beyond_the_limit_is_recorded_look_by_look(
    home: Home, viewings: Viewings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(viewing_module, "_INSTANCES_MAX", 1)
    for _ in range(2):
        assert len(look(viewings, 1).locations) == 1
    assert len(events(home, EventID.BEGIN_TRANSFERRING)) == 2
    assert len(left(home)) == 2


def test_too_many_viewings_end_the_oldest(
    home: Home, viewings: Viewings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(viewing_module, "_VIEWINGS_MAX", 2)
    for last in (1, 2, 3):
        look(viewings, 1, replace(OPERATOR, ae_title=f"WS{last}"))
    assert len(left(home)) == 1


def test_a_look_that_outlasts_its_viewing_is_recorded(
    home: Home, viewings: Viewings
) -> None:
    retrieval = viewings.begin(OPERATOR, Right.VIEW, one(1), Service.WADO_RS)
    viewings.close()
    retrieval.sent(retrieval.locations[0])
    retrieval.finish()
    assert [each.details["succeeded"] for each in left(home)] == ["0", "1"]


def test_failures_show(home: Home, viewings: Viewings) -> None:
    retrieval = viewings.begin(OPERATOR, Right.VIEW, one(1), Service.WADO_RS)
    retrieval.failed()
    retrieval.finish()
    viewings.close()
    (after,) = left(home)
    assert after.outcome is Outcome.MINOR_FAILURE
    assert after.details["failed"] == "1"


def test_what_cannot_be_recorded_does_not_leave(home: Home) -> None:
    with on(home, quiet_disk()) as rig:
        rig.database.fail_before = 1
        viewings = Viewings(rig.parts, Fetch(rig.parts))
        with pytest.raises(Unavailable):
            viewings.begin(OPERATOR, Right.VIEW, one(1), Service.WADO_RS)
    assert not events(home, EventID.BEGIN_TRANSFERRING)
