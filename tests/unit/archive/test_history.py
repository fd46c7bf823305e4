"""Who saw a patient: found in the record, counted, told with what stood then."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest

from leadglass.access.policy import Kind, Subject
from leadglass.access.rights import Right
from leadglass.access.roles import HOUSE_NETWORKS, rules_of_person
from leadglass.access.scopes import EVERYTHING
from leadglass.archive.caller import Caller
from leadglass.archive.emergency import Emergencies
from leadglass.archive.history import Act, Histories, Span
from leadglass.audit.builders import Actor, Medium, Question, Service, Study
from leadglass.audit.codes import EventID
from leadglass.audit.events import Event, SOPClass
from leadglass.dicom.uids import UID
from leadglass.errors import BadData, Refused
from tests.unit.archive.conftest import CT, OPERATOR, Home
from tests.unit.archive.rig import events

ALICE = Actor("alice", "10.4.0.7", channel="TLSv1.3", kind="operator")
CT1 = Actor("CT1", "10.4.0.9", "CT_1", kind="device")
REASON = "unconscious, needs earlier CT"


def study(patient: str = "P1", uid: str = "1.2.3.1", count: int = 2) -> Study:
    return Study(uid, patient, "DOE^JANE", (SOPClass(UID(CT), count),), "ACC1")


def record(home: Home, *found: Event) -> None:
    home.parts.record(*found)


def question() -> Question:
    return Question("1.2", b"", "1.2", service=Service.QIDO_RS)


def test_who_saw_a_patient_is_told_by_person_and_as_a_list(home: Home) -> None:
    made = home.parts.events
    record(home, *made.stored(CT1, (study(),)))  # who sends has not seen it by that
    told = [("P1", "1.2.3.1"), ("P1", "1.2.3.2"), ("P2", "1.2.3.9")]
    record(home, *made.query(ALICE, question(), told))
    view = made.begin_transferring(
        ALICE, (study(),), service=Service.WADO_RS, right=Right.VIEW
    )
    record(home, *view)
    record(home, *made.begin_transferring(CT1, (study(),), destination=Actor("WS9")))
    record(home, *made.exported(ALICE, (study(count=7),), Medium("/media/usb")))
    record(home, *made.begin_transferring(ALICE, (study("P2"),)))
    found = Histories(home.parts)(OPERATOR, " P1 ")
    assert [(each.act, each.who, each.right) for each in found.accesses] == [
        (Act.EXPORTED, "alice", Right.EXPORT),
        (Act.RETRIEVED, "CT1", Right.MOVE),
        (Act.VIEWED, "alice", Right.VIEW),
        (Act.FOUND, "alice", Right.FIND),
    ]
    export, move, look, query = found.accesses
    assert (export.destination, move.destination) == ("/media/usb", "WS9")
    assert (look.address, look.service) == ("10.4.0.7", "WADO-RS")
    assert [(each.uid, each.accession, each.instances) for each in look.studies] == [
        ("1.2.3.1", "ACC1", 2)
    ]
    # Those of the other patient in the same answer are not told.
    assert [each.uid for each in query.studies] == ["1.2.3.1", "1.2.3.2"]
    (alice, ct1) = found.seers
    assert (alice.who, alice.studies, ct1.who) == ("alice", 2, "CT1")
    assert alice.acts == {Act.EXPORTED: 1, Act.VIEWED: 1, Act.FOUND: 1}
    assert (alice.first, alice.last) == (query.time, export.time)


def test_asking_is_on_the_record_with_the_patient(home: Home) -> None:
    histories = Histories(home.parts)
    assert histories(OPERATOR, "P1").accesses == ()
    (asked,) = events(home, EventID.AUDIT_LOG_USED)
    assert ("use", "patient history") in asked.objects[0].details
    assert asked.objects[1].id == "P1"
    (again,) = histories(OPERATOR, "P1").accesses
    assert (again.act, again.who) == (Act.HISTORY_READ, "operator")


def test_without_the_right_nothing_is_told(home: Home) -> None:
    home.rules.allow(OPERATOR.subject, *(frozenset(Right) - {Right.AUDIT}))
    with pytest.raises(Refused):
        Histories(home.parts)(OPERATOR, "P1")


@pytest.mark.parametrize("wrong", ["", "  ", "x" * 65, "a\nb", "a\0"])
def test_what_is_no_patient_id_is_refused(home: Home, wrong: str) -> None:
    with pytest.raises(BadData):
        Histories(home.parts)(OPERATOR, wrong)


def test_a_long_history_comes_in_parts(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leadglass.archive.history.TOGETHER_MAX", 2)
    for _ in range(5):
        record(home, *home.parts.events.begin_transferring(ALICE, (study(),)))
    histories = Histories(home.parts)
    numbers, after = [], None
    while True:
        part = histories(OPERATOR, "P1", Span(after=after))
        numbers += [each.number for each in part.accesses]
        if (after := part.after) is None:
            break
    looked = [n for n in numbers if n < 5]
    assert looked == [4, 3, 2, 1, 0]


def test_a_time_narrows_it(home: Home) -> None:
    record(home, *home.parts.events.begin_transferring(ALICE, (study(),)))
    now = datetime.now(UTC)
    hour = timedelta(hours=1)
    histories = Histories(home.parts)
    assert histories(OPERATOR, "P1", Span(until=now - hour)).accesses == ()
    assert histories(OPERATOR, "P1", Span(since=now + hour)).accesses == ()
    within = Span(since=now - hour, until=now + hour)
    acts = [each.act for each in histories(OPERATOR, "P1", within).accesses]
    assert Act.RETRIEVED in acts


def test_a_changed_record_is_shown_as_what_it_is(home: Home) -> None:
    record(home, *home.parts.events.begin_transferring(ALICE, (study(),)))
    change = "UPDATE audit_record SET record = x'00' WHERE n = 0"
    home.parts.database.write(lambda tx: tx.connection.exec_driver_sql(change) and None)
    (found,) = Histories(home.parts)(OPERATOR, "P1").accesses
    assert (found.number, found.act) == (0, Act.UNREADABLE)


def person(name: str) -> Caller:
    here = ip_address("10.4.0.7")
    return Caller(Subject(Kind.OPERATOR, name), here, channel="TLSv1.3")


def allow(home: Home, **roles: str) -> None:
    home.rules.rules += tuple(
        rule
        for name, role in roles.items()
        for rule in rules_of_person(
            Subject(Kind.OPERATOR, name), (role,), EVERYTHING, HOUSE_NETWORKS
        )
    )


def test_what_was_seen_with_broken_glass_is_told_to_who_reviews(home: Home) -> None:
    allow(home, alice="radiologist", paul="privacy")
    made, glass = home.parts.events, Emergencies(home.parts)
    view = made.begin_transferring(
        ALICE, (study(),), service=Service.WADO_RS, right=Right.VIEW
    )
    record(home, *view)  # before: not by it
    given = glass.start(person("alice"), "P1", REASON)
    record(home, *view)
    record(home, *made.begin_transferring(CT1, (study(),)))
    record(home, *made.begin_transferring(ALICE, (study("P2"),)))
    ended = glass.stop(person("alice"), given.id)
    histories = Histories(home.parts)
    seen = histories.with_glass(person("paul"), ended)
    assert [(each.act, each.glass) for each in seen.accesses] == [
        (Act.GLASS_OVER, None),
        (Act.VIEWED, given.id),
        (Act.GLASS_BROKEN, None),
    ]
    assert seen.accesses[2].facts["reason"] == REASON
    with pytest.raises(Refused):
        histories.with_glass(person("alice"), ended)
    whole = histories(person("paul"), "P1")
    views = [each.glass for each in whole.accesses if each.act is Act.VIEWED]
    # The moments before are within what two clocks may differ; all before is not.
    assert views[0] == given.id
    assert {each.who for each in whole.seers if each.had_glass} == {"alice"}
