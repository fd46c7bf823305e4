"""Alerts are raised once, judged by somebody else, told when overdue; weeks signed."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from leadglass.access.policy import Kind, Subject
from leadglass.access.rights import Right
from leadglass.archive.caller import Caller
from leadglass.archive.ingest import Ingest
from leadglass.assurance.review import desk as module
from leadglass.assurance.review.alerts import DecoyKind, Disposition, week_of
from leadglass.assurance.review.desk import ReviewDesk
from leadglass.assurance.review.known import Known, read_feeds
from leadglass.assurance.review.look import Settings
from leadglass.assurance.review.working import Reviewing
from leadglass.errors import BadData, NotFound, Refused
from tests.unit.archive.conftest import OPERATOR, Home, make_instance
from tests.unit.archive.rig import alerts, send

REASON = "asked the person, all is well"


class Clock:
    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def desk(home: Home, clock: Clock) -> ReviewDesk:
    return ReviewDesk(home.parts, clock=clock)


@pytest.fixture
def decoyed(home: Home, desk: ReviewDesk, ingest: Ingest) -> ReviewDesk:
    """A node with a decoy, which somebody exported."""
    send(ingest, make_instance(patient="DECOY-1"))
    desk.set_decoy(OPERATOR, DecoyKind.PATIENT, "DECOY-1")
    touch(home)
    return desk


def touch(home: Home, name: str = "eve") -> None:
    """Let somebody read the record, whose work it is not."""
    caller = replace(OPERATOR, subject=Subject(Kind.OPERATOR, name))
    actor = home.parts.actor(caller)
    home.parts.record(home.parts.events.audit_log_used(actor, "export", 7))


def person(home: Home, name: str, *rights: Right) -> Caller:
    caller = Caller(Subject(Kind.OPERATOR, name), None)
    home.rules.allow(caller.subject, *rights)
    return caller


def test_an_alert_is_raised_once(home: Home, desk: ReviewDesk) -> None:
    touch(home)

    first, again = desk.run(OPERATOR), desk.run(OPERATOR)

    (raised,) = desk.waiting(OPERATOR)
    assert first.new == (raised.id,)
    assert again.new == ()
    assert (raised.alert.rule, raised.alert.subject) == ("R-23", "eve")


def test_what_happens_again_on_the_day_is_counted(home: Home, desk: ReviewDesk) -> None:
    for _ in range(3):
        touch(home)
        desk.run(OPERATOR)

    (raised,) = desk.waiting(OPERATOR)
    assert raised.alert.count == 3


def test_portions_change_nothing(
    home: Home, desk: ReviewDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RECORDS_READ", 2)
    monkeypatch.setattr(module, "RECORDS_SAVED", 2)
    for number in range(7):
        touch(home, f"eve{number % 3}")

    ran = desk.run(OPERATOR)

    assert ran.records == 7
    found = {each.alert.subject: each.alert.count for each in desk.waiting(OPERATOR)}
    assert found == {"eve0": 3, "eve1": 2, "eve2": 2}


def test_the_review_does_not_tell_of_itself(desk: ReviewDesk) -> None:
    for _ in range(3):
        desk.run(OPERATOR)
        desk.waiting(OPERATOR)
    assert desk.waiting(OPERATOR) == ()


def test_a_decoy_of_the_node_is_known_to_the_rules(
    home: Home, decoyed: ReviewDesk
) -> None:
    from_index = Known(home.parts.database, read_feeds(None))
    found = from_index.patient("DECOY-1")
    assert found is not None
    assert found.is_canary
    assert found.surname == "muller"
    (study,) = from_index.studies_of("DECOY-1")
    assert study.origin == "operator"
    assert from_index.patient("NOBODY") is None


def test_judged_alerts_wait_no_more(home: Home, desk: ReviewDesk) -> None:
    touch(home)
    (number,) = desk.run(OPERATOR).new

    judged = desk.dispose(OPERATOR, number, Disposition.BREACH, REASON)

    assert (judged.disposition, judged.reviewer) == (Disposition.BREACH, "operator")
    assert desk.waiting(OPERATOR) == ()
    assert "review alert judged" in [each[1] for each in alerts(home)]
    with pytest.raises(NotFound):
        desk.dispose(OPERATOR, number, Disposition.BENIGN, REASON)


def test_more_of_the_same_opens_it_again(home: Home, desk: ReviewDesk) -> None:
    touch(home)
    (number,) = desk.run(OPERATOR).new
    desk.dispose(OPERATOR, number, Disposition.BENIGN, REASON)

    touch(home)
    desk.run(OPERATOR)

    assert [each.id for each in desk.waiting(OPERATOR)] == [number]


def test_nobody_judges_himself(home: Home, desk: ReviewDesk) -> None:
    touch(home, "Eve")
    (number,) = desk.run(OPERATOR).new
    eve = person(home, "eve", Right.REVIEW)

    with pytest.raises(Refused):
        desk.dispose(eve, number, Disposition.BENIGN, REASON)

    assert [each.id for each in desk.waiting(OPERATOR)] == [number]


def test_a_reason_is_words(home: Home, desk: ReviewDesk) -> None:
    touch(home)
    (number,) = desk.run(OPERATOR).new
    for reason in ("", "ok", "aaaaaaaa", "x" * 1_001, "a\x1b[31mb c"):
        with pytest.raises(BadData):
            desk.dispose(OPERATOR, number, Disposition.BENIGN, reason)


Act = Callable[[ReviewDesk, Caller], object]
READING: tuple[Act, ...] = (
    lambda desk, who: desk.run(who),
    lambda desk, who: desk.waiting(who),
    lambda desk, who: desk.latest(who),
    lambda desk, who: desk.get(who, 1),
    lambda desk, who: desk.signatures(who),
    lambda desk, who: desk.rules(who),
)
JUDGING: tuple[Act, ...] = (
    lambda desk, who: desk.dispose(who, 1, Disposition.BENIGN, REASON),
    lambda desk, who: desk.sign(who, "2024-W01", REASON),
    lambda desk, who: desk.decoys(who),
    lambda desk, who: desk.set_decoy(who, DecoyKind.PATIENT, "X"),
    lambda desk, who: desk.take_decoy(who, DecoyKind.PATIENT, "X"),
)


def test_strangers_may_nothing(desk: ReviewDesk, stranger: Caller) -> None:
    for act in READING + JUDGING:
        with pytest.raises(Refused):
            act(desk, stranger)


def test_who_may_read_may_not_judge(home: Home, desk: ReviewDesk) -> None:
    reader = person(home, "ron", Right.AUDIT)
    for act in JUDGING:
        with pytest.raises(Refused):
            act(desk, reader)


def test_there_is_no_such_alert(desk: ReviewDesk) -> None:
    for number in (0, -1, 99, 1 << 70):
        with pytest.raises(NotFound):
            desk.get(OPERATOR, number)


def test_what_is_overdue_is_told_once(
    home: Home, desk: ReviewDesk, clock: Clock
) -> None:
    touch(home)
    desk.run(OPERATOR)
    assert desk.escalate() == ()

    clock.now += timedelta(days=4)

    assert len(desk.escalate()) == 1
    assert desk.escalate() == ()
    assert [each[1] for each in alerts(home)].count("review alerts overdue") == 1
    (raised,) = desk.waiting(OPERATOR)
    assert raised.is_overdue(clock.now)


def test_a_week_is_signed_once_nothing_waits_in_it(
    home: Home, desk: ReviewDesk, clock: Clock
) -> None:
    week = week_of(clock.now.date())
    touch(home)
    with pytest.raises(BadData, match="never reviewed"):
        desk.sign(OPERATOR, "2024-W01", REASON)
    (number,) = desk.run(OPERATOR).new
    with pytest.raises(BadData, match="not over"):
        desk.sign(OPERATOR, week, REASON)
    clock.now += timedelta(days=8)
    with pytest.raises(BadData, match="1 alerts"):
        desk.sign(OPERATOR, week, REASON)
    desk.dispose(OPERATOR, number, Disposition.INCIDENT, REASON)

    signed = desk.sign(OPERATOR, week, REASON)

    assert (signed.week, signed.alerts) == (week, 1)
    assert [each.week for each in desk.signatures(OPERATOR)] == [week]
    with pytest.raises(BadData, match="already"):
        desk.sign(OPERATOR, week, REASON)


def test_a_week_is_one_of_the_calendar(desk: ReviewDesk) -> None:
    desk.set_decoy(OPERATOR, DecoyKind.TITLE, "X")
    desk.run(OPERATOR)
    for week in ("", "2024", "2024-W99", "x-Wy", "2024-W-1"):
        with pytest.raises(BadData, match="week is written"):
            desk.sign(OPERATOR, week, REASON)


def test_decoys_are_set_and_taken(desk: ReviewDesk) -> None:
    desk.set_decoy(OPERATOR, DecoyKind.TITLE, "OLDPACS")
    assert list(desk.decoys(OPERATOR)) == [(DecoyKind.TITLE, "OLDPACS")]
    desk.take_decoy(OPERATOR, DecoyKind.TITLE, "OLDPACS")
    assert list(desk.decoys(OPERATOR)) == []
    with pytest.raises(NotFound):
        desk.take_decoy(OPERATOR, DecoyKind.TITLE, "OLDPACS")
    with pytest.raises(BadData):
        desk.set_decoy(OPERATOR, DecoyKind.TITLE, "")


def test_no_record_of_a_decoy_names_it(home: Home, decoyed: ReviewDesk) -> None:
    told = [each.data for each in home.records() if b"review decoy" in bytes(each.data)]
    assert told
    assert not any(b"DECOY-1" in bytes(each) for each in told)


def test_rules_say_what_they_lack(desk: ReviewDesk) -> None:
    told = {each.rule.id: each.lacks for each in desk.rules(OPERATOR)}
    assert told["R-08"] == ("shifts",)
    assert told["R-32"] == ("decoys",)
    assert told["R-10"] == ()
    desk.set_decoy(OPERATOR, DecoyKind.TITLE, "OLDPACS")
    told = {each.rule.id: each.lacks for each in desk.rules(OPERATOR)}
    assert told["R-32"] == ()


def test_the_node_reviews_by_itself(home: Home, desk: ReviewDesk) -> None:
    touch(home)
    before = len(home.records())

    Reviewing(desk, 300).step()
    Reviewing(desk, 300).step()

    # One record: that an alert came up. Reading by the node itself is none.
    assert len(home.records()) == before + 1
    assert len(desk.waiting(OPERATOR)) == 1


def test_a_rule_that_is_off_raises_nothing(home: Home) -> None:
    desk = ReviewDesk(home.parts, Settings(off=frozenset({"R-23"})))
    touch(home)
    assert desk.run(OPERATOR).new == ()
