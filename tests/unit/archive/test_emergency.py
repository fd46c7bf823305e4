"""Broken glass: a reason, one patient, a while; loud, and open until it is signed."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest

from leadglass.access.policy import Kind, Subject
from leadglass.access.rights import Right
from leadglass.access.roles import HOUSE_NETWORKS, rules_of_person
from leadglass.access.scopes import EVERYTHING
from leadglass.archive import emergency as module
from leadglass.archive.caller import Caller
from leadglass.archive.emergency import (
    DURATION_MAX,
    Emergencies,
    Emergency,
    Verdict,
    emergency_rules,
)
from leadglass.audit.codes import EventID
from leadglass.audit.search import Search
from leadglass.errors import BadData, NotFound, Refused, Unavailable
from tests.unit.archive.conftest import Home
from tests.unit.archive.rig import alerts, events, on, quiet_disk

REASON = "unconscious, needs earlier CT"
HERE = ip_address("10.4.0.7")
PEOPLE = {
    "alice": "radiologist",
    "bob": "referring",
    "paul": "privacy",
    "pia": "privacy",
    "tim": "technologist",
    "ada": "administrator",
}


def caller(name: str) -> Caller:
    return Caller(Subject(Kind.OPERATOR, name), HERE, channel="TLSv1.3")


@dataclass
class Clock:
    now: datetime = field(
        default_factory=lambda: datetime.now(UTC).replace(microsecond=0)
    )

    def __call__(self) -> datetime:
        return self.now

    def wait(self, time: timedelta) -> None:
        self.now += time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def glass(home: Home, clock: Clock) -> Emergencies:
    home.rules.rules += tuple(
        rule
        for name, role in PEOPLE.items()
        for rule in rules_of_person(caller(name).subject, [role], EVERYTHING)
    )
    return Emergencies(home.parts, clock)


def opened(glass: Emergencies, name: str, clock: Clock) -> list[str]:
    """Return what broken glass lets somebody reach."""
    with glass.parts.database.read() as connection:
        rules = emergency_rules(
            connection, caller(name).subject, HOUSE_NETWORKS, clock()
        )
    return [str(rule.scope) for rule in rules]


def test_it_opens_one_patient_to_one_person_for_an_hour(
    glass: Emergencies, clock: Clock
) -> None:
    given = glass.start(caller("bob"), " P1 ", REASON)
    assert opened(glass, "bob", clock) == ["patient_id=P1"]
    assert opened(glass, "alice", clock) == []
    assert given.ends_at == clock() + timedelta(hours=1)
    assert glass.mine(caller("bob")) == (given,)
    clock.wait(timedelta(hours=1))
    assert opened(glass, "bob", clock) == ["patient_id=P1"]
    clock.wait(timedelta(microseconds=1))
    assert opened(glass, "bob", clock) == []


def test_it_opens_finding_and_looking_and_nothing_else(glass: Emergencies) -> None:
    rule = glass.start(caller("bob"), "P1", REASON).rule(HOUSE_NETWORKS)
    assert rule.rights == {Right.FIND, Right.VIEW}
    assert rule.networks == HOUSE_NETWORKS


def test_a_wildcard_is_a_character(glass: Emergencies, clock: Clock) -> None:
    glass.start(caller("bob"), "*", REASON)
    glass.start(caller("bob"), "P1,P2;x=everything", REASON)
    with glass.parts.database.read() as connection:
        rules = emergency_rules(
            connection, caller("bob").subject, HOUSE_NETWORKS, clock()
        )
    assert [rule.scope.patient_ids for rule in rules] == [
        {"*"},
        {"P1,P2;x=everything"},
    ]


def test_it_is_a_loud_event_that_is_found_by_the_patient(
    home: Home, glass: Emergencies
) -> None:
    given = glass.start(caller("alice"), "P1", REASON)
    glass.stop(caller("alice"), given.id)
    glass.sign(caller("paul"), given.id, Verdict.JUSTIFIED, "was in shock room")
    assert alerts(home) == [
        ("110127", "break-glass access started"),
        ("110138", "break-glass access stopped"),
        ("110132", "break-glass access reviewed"),
    ]
    first, _, last = (each for each in events(home, EventID.SECURITY_ALERT))
    facts = dict(first.objects[0].details)
    assert (facts["reason"], facts["person"]) == (REASON, "alice")
    assert first.participants[0].user_id == "alice"
    assert dict(last.objects[0].details)["verdict"] == "justified"
    assert last.participants[0].user_id == "paul"
    assert len(list(home.parts.audit.list(Search(patient="P1")))) == 3


@pytest.mark.parametrize("name", ["tim", "ada", "paul", "nobody"])
def test_who_has_no_right_to_it_breaks_no_glass(
    home: Home, glass: Emergencies, clock: Clock, name: str
) -> None:
    with pytest.raises(Refused):
        glass.start(caller(name), "P1", REASON)
    assert opened(glass, name, clock) == []
    (refusal,) = events(home)
    assert refusal.outcome != 0


@pytest.mark.parametrize("kind", [Kind.DEVICE, Kind.SERVICE, Kind.EXCEPTION])
def test_no_machine_breaks_glass(home: Home, glass: Emergencies, kind: Kind) -> None:
    machine = replace(caller("x"), subject=Subject(kind, "x"))
    (rule,) = rules_of_person(machine.subject, ["radiologist"], EVERYTHING)
    home.rules.rules += (rule,)
    with pytest.raises(Refused):
        glass.start(machine, "P1", REASON)


@pytest.mark.parametrize(
    ("patient", "reason", "duration"),
    [
        ("", REASON, timedelta(hours=1)),
        (" ", REASON, timedelta(hours=1)),
        ("P" * 65, REASON, timedelta(hours=1)),
        ("P1\\P2", REASON, timedelta(hours=1)),
        ("P1\n", "short one", timedelta(hours=1)),
        ("P\n1", REASON, timedelta(hours=1)),
        ("P1", "         x", timedelta(hours=1)),
        ("P1", "..........", timedelta(hours=1)),
        ("P1", "a" + "b" * 500, timedelta(hours=1)),
        ("P1", "an emergency\x1b[2J", timedelta(hours=1)),
        ("P1", REASON, timedelta(0)),
        ("P1", REASON, -timedelta(hours=1)),
        ("P1", REASON, DURATION_MAX + timedelta(microseconds=1)),
    ],
)
def test_what_cannot_be_reviewed_is_not_given(
    glass: Emergencies, patient: str, reason: str, duration: timedelta, clock: Clock
) -> None:
    with pytest.raises(BadData) as error:
        glass.start(caller("alice"), patient, reason, duration)
    assert opened(glass, "alice", clock) == []
    assert "P1" not in str(error.value)


def test_nobody_reads_the_archive_patient_by_patient(
    glass: Emergencies, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STANDING_MAX", 2)
    for number in (1, 2):
        glass.start(caller("alice"), f"P{number}", REASON)
    with pytest.raises(BadData, match="stop one first"):
        glass.start(caller("alice"), "P3", REASON)
    assert glass.start(caller("bob"), "P3", REASON).id == 3
    glass.stop(caller("alice"), 1)
    glass.start(caller("alice"), "P3", REASON)
    assert opened(glass, "alice", clock) == ["patient_id=P2", "patient_id=P3"]


def test_what_cannot_be_recorded_is_not_given(home: Home, glass: Emergencies) -> None:
    with on(home, quiet_disk()) as rig:
        rig.database.fail_before = 1
        failing = Emergencies(rig.parts, glass.clock)
        with pytest.raises(Unavailable):
            failing.start(caller("alice"), "P1", REASON)
    assert opened(glass, "alice", glass.clock) == []  # type: ignore[arg-type]
    assert events(home) == []


# ── its end ──────────────────────────────────────────────────────────────────


def test_who_reviews_can_end_it_and_others_cannot_tell_that_it_is(
    glass: Emergencies, clock: Clock
) -> None:
    given = glass.start(caller("alice"), "P1", REASON)
    for number in (given.id, given.id + 1):
        with pytest.raises(Refused, match=r"^not authorized$"):
            glass.stop(caller("bob"), number)
    assert opened(glass, "alice", clock)
    glass.stop(caller("paul"), given.id)
    assert opened(glass, "alice", clock) == []
    with pytest.raises(NotFound):
        glass.stop(caller("paul"), given.id)
    with pytest.raises(NotFound):
        glass.stop(caller("paul"), 99)


def test_the_end_of_its_time_goes_on_the_record_once(
    home: Home, glass: Emergencies, clock: Clock
) -> None:
    assert glass.expire() == 0
    given = glass.start(caller("alice"), "P1", REASON)
    assert glass.expire() == 0
    clock.wait(timedelta(hours=2))
    assert glass.expire() == 1
    assert glass.expire() == 0
    event = events(home)[-1]
    assert event.types == ("110138",)
    assert dict(event.objects[0].details)["stopped_by"] == "its time"
    (found,) = glass.open_reviews(caller("paul"))
    assert found.stopped_at == given.ends_at


# ── its review ───────────────────────────────────────────────────────────────


def over(glass: Emergencies, name: str = "alice") -> Emergency:
    given = glass.start(caller(name), "P1", REASON)
    return glass.stop(caller(name), given.id)


def test_a_review_is_open_until_somebody_signs(glass: Emergencies) -> None:
    given = over(glass)
    assert glass.open_reviews(caller("paul")) == (given,)
    assert glass.count_open() == 1
    signed = glass.sign(caller("paul"), given.id, Verdict.NOT_JUSTIFIED, "a neighbour")
    assert (signed.reviewer, signed.verdict) == ("paul", Verdict.NOT_JUSTIFIED)
    assert glass.open_reviews(caller("paul")) == ()
    assert glass.count_open() == 0
    with pytest.raises(NotFound):
        glass.sign(caller("pia"), given.id, Verdict.JUSTIFIED, "let it be")


def test_nobody_signs_his_own(home: Home, glass: Emergencies) -> None:
    given = over(glass)
    for subject in (caller("alice").subject, Subject(Kind.OPERATOR, "ALICE")):
        home.rules.rules += rules_of_person(subject, ["privacy"], EVERYTHING)
        with pytest.raises(Refused, match="his own"):
            glass.sign(Caller(subject, HERE), given.id, Verdict.JUSTIFIED, "all well")
        assert "his own" in events(home)[-1].outcome_description
    assert glass.count_open() == 1


def test_what_still_stands_is_not_signed(glass: Emergencies, clock: Clock) -> None:
    given = glass.start(caller("alice"), "P1", REASON)
    with pytest.raises(BadData, match="still stands"):
        glass.sign(caller("paul"), given.id, Verdict.JUSTIFIED, "all well")
    clock.wait(timedelta(hours=2))
    glass.sign(caller("paul"), given.id, Verdict.JUSTIFIED, "all well")


@pytest.mark.parametrize("number", [-1, 0, 1 << 63, 1 << 4096])
def test_a_number_that_cannot_be_is_none(glass: Emergencies, number: int) -> None:
    with pytest.raises(NotFound):
        glass.stop(caller("paul"), number)
    with pytest.raises(NotFound):
        glass.sign(caller("paul"), number, Verdict.JUSTIFIED, "all well")


@pytest.mark.parametrize("note", ["", "  ", "x" * 501, "a\x1b[2J", "\ud800"])
def test_a_review_says_why(glass: Emergencies, note: str) -> None:
    with pytest.raises(BadData, match="note"):
        glass.sign(caller("paul"), over(glass).id, Verdict.JUSTIFIED, note)


@pytest.mark.parametrize("name", ["alice", "bob", "ada", "tim"])
@pytest.mark.parametrize(
    "act",
    [
        lambda glass, who, id_: glass.open_reviews(who),
        lambda glass, who, id_: glass.sign(who, id_, Verdict.JUSTIFIED, "all well"),
    ],
)
def test_only_who_reviews_sees_or_signs_reviews(
    glass: Emergencies, act: Callable[..., object], name: str
) -> None:
    given = over(glass)
    with pytest.raises(Refused, match=r"^not authorized$"):
        act(glass, caller(name), given.id)


def test_that_reviews_were_read_is_on_the_record(
    home: Home, glass: Emergencies
) -> None:
    over(glass)
    glass.open_reviews(caller("paul"))
    (event,) = events(home, EventID.AUDIT_LOG_USED)
    assert event.participants[0].user_id == "paul"


def test_no_patient_is_in_what_is_logged(
    glass: Emergencies, caplog: pytest.LogCaptureFixture
) -> None:
    given = glass.start(caller("alice"), "SECRET-ID", REASON)
    assert "review is open" in caplog.text
    for word in ("SECRET-ID", "alice", REASON):
        assert word not in caplog.text
    assert "SECRET-ID" not in repr(given)
