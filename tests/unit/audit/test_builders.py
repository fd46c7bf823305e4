"""What happens here, in the codes of PS3.15."""

from collections import Counter
from datetime import UTC, datetime

import pytest

from leadglass.audit.builders import (
    INSTANCES_PER_EVENT_MAX,
    STUDIES_PER_EVENT_MAX,
    Actor,
    Association,
    DeviceChange,
    Medium,
    Question,
    Result,
    Study,
)
from leadglass.audit.codes import Action, EventID, EventType, Outcome, Role
from leadglass.audit.events import AuditSource, Event, SOPClass, encode
from tests.unit.audit.surroundings import CT, EVENTS, OPERATOR, ORIGIN, SCANNER

STUDY = Study(
    "1.2.3", "PAT-1", "DOE^JANE", (SOPClass(CT, 2, ("1.2.4", "1.2.5")),), "A1"
)
OTHER = Study("1.2.6", "PAT-2", "ROE^RICK")
DESTINATION = Actor("workstation", "192.0.2.9", "WS_1")
ASSOCIATION = Association("LEADGLASS", "CT_1", "1.2.276.0", "DCMTK_369")
QUESTION = Question("1.2.840.10008.5.1.4.1.2.2.1", b"\x08\x00", "1.2.840.10008.1.2")
FACTS = {"was": "a", "is": "b"}
CHANGE = DeviceChange("ct-1", "cd" * 32, "lost", {"rights": "store"})
FAILED = Result(Outcome.MINOR_FAILURE, "disk full", {"failed": 1})


def roles(event: Event) -> dict[str, tuple[str, ...]]:
    return {each.user_id: each.roles for each in event.participants}


def requestors(event: Event) -> list[str]:
    return [each.user_id for each in event.participants if each.is_requestor]


CODES = [
    (EVENTS.application_started("0.1"), "110100", "E", ("110120",)),
    (EVENTS.application_stopped("asked"), "110100", "E", ("110121",)),
    (EVENTS.audit_log_used(OPERATOR, "list", 3), "110101", "R", ()),
    (EVENTS.association_accepted(SCANNER, ASSOCIATION), "110114", "E", ("110122",)),
    (
        EVENTS.association_refused(SCANNER, ASSOCIATION, "unknown"),
        "110113",
        "E",
        ("110126",),
    ),
    (
        EVENTS.knocks("192.0.2.66", 9, datetime(2026, 1, 1, tzinfo=UTC), "no TLS"),
        "110113",
        "E",
        ("110126",),
    ),
    (EVENTS.echo(SCANNER), "110108", "E", ("110124",)),
    (EVENTS.access_refused(SCANNER, "C-GET", "no rule"), "110113", "E", ("110132",)),
    (EVENTS.stored(SCANNER, (STUDY,))[0], "110104", "C", ()),
    (EVENTS.stored(SCANNER, (STUDY,), is_new=False)[0], "110104", "R", ()),
    (EVENTS.begin_transferring(SCANNER, (STUDY,))[0], "110102", "E", ()),
    (EVENTS.transferred(SCANNER, (STUDY,), Result())[0], "110104", "R", ()),
    (EVENTS.instances_accessed(SCANNER, (STUDY,))[0], "110103", "R", ()),
    (EVENTS.exported(OPERATOR, (STUDY,), Medium("cd"))[0], "110106", "R", ()),
    (EVENTS.imported(OPERATOR, (STUDY,), Medium("cd"))[0], "110107", "C", ()),
    (EVENTS.query(SCANNER, QUESTION, ())[0], "110112", "E", ()),
    (EVENTS.study_erased(OPERATOR, STUDY, "wish"), "110105", "D", ()),
    (EVENTS.quarantined(SCANNER, STUDY, FACTS), "110113", "E", ("110135",)),
    (EVENTS.damage_found(OPERATOR, STUDY, FACTS), "110113", "E", ("110135",)),
    (EVENTS.local_service(OPERATOR, "verify"), "110113", "E", ("110141",)),
    (EVENTS.local_service(OPERATOR, "verify", FAILED), "110113", "E", ("110142",)),
    (
        EVENTS.device_enrolled(OPERATOR, CHANGE),
        "110113",
        "E",
        ("110137", "110136"),
    ),
    (EVENTS.device_changed(OPERATOR, CHANGE), "110113", "E", ("110137", "110136")),
    (EVENTS.device_renewed(OPERATOR, CHANGE), "110113", "E", ("110137",)),
    (EVENTS.device_revoked(OPERATOR, CHANGE), "110113", "E", ("110137", "110136")),
    (EVENTS.rules_changed(OPERATOR, FACTS), "110113", "E", ("110136",)),
    (EVENTS.rules_asked(OPERATOR, FACTS), "110113", "E", ("110132",)),
    (EVENTS.configuration_changed(OPERATOR, FACTS), "110113", "E", ("110129",)),
    (EVENTS.key_rotated(OPERATOR, "master", FACTS), "110113", "E", ("110129",)),
    (EVENTS.audit_restarted(OPERATOR, "restored"), "110113", "E", ("110134",)),
]


@pytest.mark.parametrize(("event", "id_", "action", "types"), CODES)
def test_every_event_has_its_codes_and_can_be_recorded(
    event: Event, id_: str, action: str, types: tuple[str, ...]
) -> None:
    assert (event.id, event.action, event.types) == (id_, action, types)
    source = AuditSource(ORIGIN)
    decoded, _ = Event.decode(encode(event.members(source.members(), 1)))
    assert decoded.objects == event.objects
    assert decoded.participants == event.participants
    assert dict(decoded.details) == dict(event.details)
    # PS3.15 A.5.3.2 and later: each message has a participant who asked for it.
    assert event.id is EventID.APPLICATION_ACTIVITY or len(requestors(event)) == 1


def test_a_store_names_source_and_destination() -> None:
    (event,) = EVENTS.stored(SCANNER, (STUDY,))
    assert roles(event) == {"ct-1": (Role.SOURCE,), ORIGIN: (Role.DESTINATION,)}
    assert event.participants[0].alternative_id == "AETITLES=CT_1"
    assert event.participants[0].access_point == "192.0.2.5"
    assert event.details["certificate"] == "ab" * 32
    study, patient = event.objects
    assert (study.id, study.id_type) == ("1.2.3", "110180")
    assert study.sop_classes == STUDY.sop_classes
    assert study.accessions == ("A1",)
    assert (patient.id, patient.id_type, patient.name) == ("PAT-1", "2", "DOE^JANE")


def test_one_patient_in_each_event() -> None:
    events = EVENTS.stored(SCANNER, (STUDY, OTHER, Study("1.2.7", "PAT-1", "DOE^JANE")))
    ids = [[each.id for each in event.objects] for event in events]
    assert ids == [["1.2.3", "1.2.7", "PAT-1"], ["1.2.6", "PAT-2"]]


def test_many_instances_are_several_events() -> None:
    count = 2 * INSTANCES_PER_EVENT_MAX + 7
    uids = tuple(f"1.2.{n}" for n in range(count))
    study = Study("1.2.3", "PAT-1", "DOE^JANE", (SOPClass(CT, count, uids),))
    events = EVENTS.stored(SCANNER, (study, OTHER))
    named = [
        uid
        for event in events
        for each in event.objects
        for sop_class in each.sop_classes
        for uid in sop_class.instances
    ]
    assert tuple(named) == uids
    assert len(events) == 4
    for event in events:
        for each in event.objects:
            assert all(c.count == len(c.instances) for c in each.sop_classes)


def test_counted_instances_need_no_names() -> None:
    study = Study("1.2.3", "P", "N", (SOPClass(CT, 100_000),))
    (event,) = EVENTS.stored(SCANNER, (study,))
    assert event.objects[0].sop_classes[0].count == 100_000


def test_what_failed_before_a_study_was_known_is_an_event() -> None:
    (event,) = EVENTS.stored(SCANNER, (), FAILED)
    assert event.objects == ()
    assert event.outcome is Outcome.MINOR_FAILURE
    assert event.outcome_description == "disk full"
    assert event.details["failed"] == "1"


def test_a_move_names_all_three() -> None:
    (begin,) = EVENTS.begin_transferring(SCANNER, (STUDY,), destination=DESTINATION)
    (end,) = EVENTS.transferred(
        SCANNER, (STUDY,), FAILED, destination=DESTINATION, service="C-MOVE"
    )
    for event in (begin, end):
        assert roles(event) == {
            ORIGIN: (Role.SOURCE,),
            "workstation": (Role.DESTINATION,),
            "ct-1": (),
        }
        assert requestors(event) == ["ct-1"]
        assert event.details["service"] == "C-MOVE"
    assert begin.action is Action.EXECUTE
    (got,) = EVENTS.begin_transferring(SCANNER, (STUDY,), service="C-GET")
    assert roles(got)["ct-1"] == (Role.DESTINATION,)


def test_media_are_participants() -> None:
    medium = Medium("disc 7", "110032", is_encrypted=True, is_anonymized=False)
    (event,) = EVENTS.exported(OPERATOR, (STUDY,), medium)
    assert roles(event)["disc 7"] == (Role.DESTINATION_MEDIA,)
    assert event.participants[-1].media == "110032"
    assert (event.objects[0].encrypted, event.objects[0].anonymized) == (True, False)
    (event,) = EVENTS.imported(OPERATOR, (STUDY,), medium)
    assert roles(event)["disc 7"] == (Role.SOURCE_MEDIA,)


def test_a_query_names_every_study_it_returned() -> None:
    returned = [("P1", "1.1"), ("P1", "1.2"), ("P2", "1.3"), ("P1", "1.1"), ("P3", "")]
    (event,) = EVENTS.query(
        SCANNER, QUESTION, returned, Result(counts={"responses": 5})
    )
    assert [each.members() for each in event.returned] == [
        ["P1", "1.1", "1.2"],
        ["P2", "1.3"],
        ["P3"],
    ]
    asked = event.objects[0]
    assert asked.query == QUESTION.data_set
    assert asked.details == (("TransferSyntax", "1.2.840.10008.1.2"),)
    assert event.details["studies"] == "3"
    assert event.details["responses"] == "5"
    mentions = set(event.mentions(ORIGIN))
    assert {("patient", "P3"), ("study", "1.2"), ("user", "ct-1")} <= mentions


def test_a_long_answer_is_several_events() -> None:
    count = 2 * STUDIES_PER_EVENT_MAX + 1
    returned = [(f"PATIENT-{n:06}", f"1.2.826.0.1.3680043.{n}") for n in range(count)]
    events = EVENTS.query(SCANNER, QUESTION, returned)
    assert [event.details["part"] for event in events] == ["1", "2", "3"]
    assert {event.details["parts"] for event in events} == {"3"}
    found = Counter(
        (told.patient_id, study)
        for event in events
        for told in event.returned
        for study in told.studies
    )
    assert found == Counter(returned)
    source = AuditSource(ORIGIN).members()
    sizes = [len(encode(event.members(source, 1))) for event in events]
    assert max(sizes) < 65_535


def test_a_refusal_says_what_was_seen() -> None:
    event = EVENTS.association_refused(SCANNER, ASSOCIATION, "called title unknown")
    assert event.outcome is Outcome.MINOR_FAILURE
    assert event.details["calling"] == "CT_1"
    assert event.details["implementation_version"] == "DCMTK_369"
    assert ("Alert Description", "called title unknown") in event.objects[0].details


def test_knocks_are_counted() -> None:
    first = datetime(2026, 1, 1, 12, tzinfo=UTC)
    event = EVENTS.knocks("192.0.2.66", 31, first, "no certificate")
    assert ("count", "31") in event.objects[0].details
    assert event.time == first
    assert ("address", "192.0.2.66") in set(event.mentions(ORIGIN))


def test_a_device_change_says_what_it_was() -> None:
    event = EVENTS.device_revoked(OPERATOR, CHANGE)
    subject = event.objects[0]
    assert subject.id == "ct-1"
    assert dict(subject.details) == {
        "Alert Description": "device revoked",
        "certificate": "cd" * 32,
        "reason": "lost",
        "rights": "store",
    }
    assert EventType.SECURITY_ROLES_CHANGED in event.types


def test_damage_and_quarantine_name_the_patient() -> None:
    for event in (
        EVENTS.quarantined(SCANNER, STUDY, FACTS),
        EVENTS.damage_found(OPERATOR, STUDY, FACTS),
    ):
        assert {("patient", "PAT-1"), ("study", "1.2.3")} <= set(event.mentions(ORIGIN))
    unknown = EVENTS.damage_found(OPERATOR, None, FACTS)
    assert unknown.outcome is Outcome.SERIOUS_FAILURE
