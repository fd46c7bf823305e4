"""What each event of our own record is as a fact."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings

from leadglass.assurance.trails.fact import Ending, Fact, Kind, Reach, Touched
from leadglass.assurance.trails.own import ERASED, UNREADABLE, fact_of
from leadglass.audit.accounts import AccountEvents
from leadglass.audit.builders import (
    Actor,
    Association,
    Events,
    Medium,
    Node,
    Question,
    Result,
    Service,
    Study,
)
from leadglass.audit.codes import Outcome
from leadglass.audit.emergency import BrokenGlass, EmergencyEvents
from leadglass.audit.events import Event, SOPClass
from leadglass.audit.lists import ListEvents
from leadglass.audit.orders import RetentionEvents
from leadglass.audit.runs import Runs
from leadglass.audit.search import Record
from leadglass.dicom.dataset import DataSet
from leadglass.dicom.transfer_syntaxes import IMPLICIT_VR_LE
from tests.unit.audit.test_events import events
from tests.unit.audit.test_xml import BUILT, record_of

NODE = Node("node", "LEADGLASS", "192.0.2.1")
EVENTS = Events(NODE)
SCANNER = Actor("ct-1", "192.0.2.5", "CT_1", "ab" * 32, "TLSv1.3", "device")
ALICE = Actor("alice", "192.0.2.9", channel="TLSv1.3", kind="operator")
STUDY = Study("1.2.3", "PAT-1", "DOE^JANE", (SOPClass("1.2.840.1", 3),))
GLASS = BrokenGlass(4, "alice", "PAT-1", "unconscious", "2027-01-01T00:00:00+00:00")


def told(event: Event) -> Fact:
    return fact_of(record_of(event), "node")


# What every builder's events are; whoever adds a builder says it here.
KINDS = {
    "application_started": {Kind.START},
    "application_stopped": {Kind.STOP},
    "audit_log_used": {Kind.AUDIT_READ},
    "local_service": {Kind.OTHER},
    "association_accepted": {Kind.ASSOCIATE},
    "association_refused": {Kind.ASSOCIATE},
    "knocks": {Kind.ASSOCIATE},
    "echo": {Kind.ECHO},
    "access_refused": {Kind.REFUSED},
    "stored": {Kind.STORE, Kind.GATE},
    "begin_transferring": {Kind.RETRIEVE, Kind.VIEW},
    "transferred": {Kind.TRANSFERRED},
    "instances_accessed": {Kind.VIEW, Kind.CHANGE, Kind.DELETE},
    "exported": {Kind.EXPORT},
    "imported": {Kind.IMPORT},
    "query": {Kind.QUERY},
    "study_erased": {Kind.DELETE},
    "quarantined": {Kind.CONFLICT},
    "damage_found": {Kind.DAMAGE},
    "device_enrolled": {Kind.CHANGE},
    "device_changed": {Kind.CHANGE},
    "device_renewed": {Kind.CHANGE},
    "device_revoked": {Kind.CHANGE},
    "rules_changed": {Kind.CHANGE},
    "rules_asked": {Kind.OTHER},
    "configuration_changed": {Kind.CHANGE},
    "key_rotated": {Kind.CHANGE},
    "audit_restarted": {Kind.AUDIT_STARTED},
    "logged_in": {Kind.LOGIN},
    "login_failed": {Kind.LOGIN},
    "proven_anew": {Kind.LOGIN},
    "logged_out": {Kind.LOGOUT},
    "sessions_read": {Kind.OTHER},
    "account_changed": {Kind.CHANGE},
    "token_added": {Kind.CHANGE},
    "token_revoked": {Kind.CHANGE},
    "started": {Kind.GLASS_BROKEN},
    "stopped": {Kind.GLASS_OVER},
    "reviewed": {Kind.GLASS_REVIEWED},
    "studies_changed": {Kind.CHANGE},
    "patients_changed": {Kind.CHANGE},
    "patients_read": {Kind.OTHER},
    "pruned": {Kind.CHANGE},
    "erased": {Kind.CHANGE},
    "erasure_done": {Kind.CHANGE},
    "order_asked": {Kind.CHANGE},
    "order_decided": {Kind.CHANGE},
    "hold_placed": {Kind.CHANGE},
    "hold_released": {Kind.CHANGE},
    "raised": {Kind.OTHER},
    "disposed": {Kind.OTHER},
    "escalated": {Kind.OTHER},
    "signed": {Kind.OTHER},
    "decoy_changed": {Kind.CHANGE},
}


@pytest.mark.parametrize(("name", "event"), BUILT, ids=[name for name, _ in BUILT])
def test_every_event_that_is_built_is_a_fact(name: str, event: Event) -> None:
    fact = told(event)
    assert fact.kind in KINDS[name]
    assert int(fact.ending) == int(event.outcome)
    requestor = next((each for each in event.participants if each.is_requestor), None)
    assert fact.who == ("" if requestor is None else requestor.user_id)
    for kind, value in event.mentions("node"):
        if kind == "patient" and value:
            assert value in {each.patient for each in fact.touched}
        if kind == "study" and value:
            assert value in {uid for each in fact.touched for uid in each.studies}
    assert Fact.of(fact.members()).members() == fact.members()


@settings(max_examples=50)
@given(events)
def test_whatever_an_event_holds_it_is_a_fact(event: Event) -> None:
    assert told(event).number == 7


def test_a_query_says_whom_it_told_and_by_which_keys() -> None:
    asked = DataSet()
    asked.set(0x00080052, "CS", b"STUDY ")
    asked.set(0x00100010, "PN", b"DOE* ")
    asked.set(0x00100020, "LO", b"PAT-1 ")
    asked.set(0x0020000D, "UI", b"")
    question = Question(
        "1.2.840", asked.encode(IMPLICIT_VR_LE), str(IMPLICIT_VR_LE), "STUDY"
    )
    answer = [("PAT-1", "1.2.3"), ("PAT-1", "1.2.4"), ("PAT-2", "1.2.5")]
    (event,) = EVENTS.query(SCANNER, question, answer)
    fact = told(event)
    assert (fact.service, fact.returned, fact.details["level"]) == (
        "C-FIND",
        3,
        "STUDY",
    )
    assert fact.details["keys"] == "PatientName~DOE* PatientID=PAT-1"
    assert fact.touched == (
        Touched("PAT-1", Reach.LISTED, ("1.2.3", "1.2.4")),
        Touched("PAT-2", Reach.LISTED, ("1.2.5",)),
    )
    assert (fact.who, fact.who_kind, fact.ae_title) == ("ct-1", "device", "CT_1")
    assert (fact.address, fact.channel) == ("192.0.2.5", "TLSv1.3")
    assert fact.certificate == "ab" * 32


def test_a_query_of_a_browser_says_its_keys() -> None:
    target = b"/studies?PatientID=PAT-1&PatientName=D*&includefield=all&limit=5"
    question = Question("1.2.840", target, "", "STUDY", Service.QIDO_RS)
    (event,) = EVENTS.query(ALICE, question, [])
    assert told(event).details["keys"] == "PatientID=PAT-1 PatientName~D*"


def test_bytes_that_are_no_query_have_no_keys() -> None:
    question = Question("1.2", b"\xff" * 9, str(IMPLICIT_VR_LE))
    assert told(EVENTS.query(SCANNER, question, [])[0]).details["keys"] == ""


@pytest.mark.parametrize(
    ("service", "right", "kind"),
    [
        (Service.C_GET, "", Kind.RETRIEVE),
        (Service.C_MOVE, "move", Kind.RETRIEVE),
        (Service.WADO_RS, "view", Kind.VIEW),
        (Service.WEB_APP, "view", Kind.VIEW),
        (Service.EXPORT, "export", Kind.RETRIEVE),
    ],
)
def test_what_is_shown_is_told_from_what_is_retrieved(
    service: str, right: str, kind: Kind
) -> None:
    (event,) = EVENTS.begin_transferring(ALICE, [STUDY], service=service, right=right)
    fact = told(event)
    assert (fact.kind, fact.reach, fact.instances) == (kind, Reach.IMAGES, 3)
    assert (fact.who, fact.who_kind) == ("alice", "person")


def test_a_third_party_is_where_it_went() -> None:
    to = Actor("viewer", "192.0.2.7", "VIEWER")
    (event,) = EVENTS.begin_transferring(SCANNER, [STUDY], destination=to)
    assert (told(event).who, told(event).destination) == ("ct-1", "VIEWER")


def test_a_failed_store_came_to_no_archive() -> None:
    failed = Result(Outcome.SERIOUS_FAILURE, "an executable preamble")
    (event,) = EVENTS.stored(SCANNER, [STUDY], failed)
    fact = told(event)
    assert (fact.kind, fact.reach) == (Kind.GATE, Reach.NONE)
    assert fact.what == "an executable preamble"


def test_broken_glass_has_its_number() -> None:
    of = EmergencyEvents(NODE)
    for event in (
        of.started(ALICE, GLASS),
        of.stopped(ALICE, GLASS, "time"),
        of.reviewed(ALICE, GLASS, "justified", ""),
    ):
        assert told(event).details["glass"] == "4"
        assert told(event).touched == (Touched("PAT-1"),)


def test_an_association_says_who_it_calls_itself() -> None:
    said = Association("LEADGLASS", "CT_1", "1.2.3", "SCAN_1")
    fact = told(EVENTS.association_accepted(SCANNER, said))
    assert (fact.called, fact.ae_title, fact.implementation) == (
        "LEADGLASS",
        "CT_1",
        "SCAN_1",
    )


def test_an_export_says_to_what_and_whether_names_were_removed() -> None:
    medium = Medium("/media/stick", is_anonymized=False)
    (event,) = EVENTS.exported(ALICE, [STUDY], medium)
    fact = told(event)
    assert (fact.destination, fact.details["anonymized"]) == ("/media/stick", "False")


def test_a_list_that_was_read_told_of_its_patients() -> None:
    (event,) = ListEvents(NODE).patients_read(ALICE, "list read", "ward", ["A", "B"])
    assert [each.reach for each in told(event).touched] == [Reach.LISTED] * 2


def test_a_failed_login_is_a_login() -> None:
    fact = told(AccountEvents(NODE).login_failed(ALICE, "wrong password"))
    assert (fact.kind, fact.ending) == (Kind.LOGIN, Ending.MINOR_FAILURE)
    assert fact.what == "wrong password"


def test_what_became_of_the_record_is_a_change() -> None:
    event = RetentionEvents(NODE).pruned(ALICE, Runs(((0, 256),)), "2020", "")
    assert told(event).kind is Kind.CHANGE


@pytest.mark.parametrize(("data", "what"), [(b"", ERASED), (b"{}", UNREADABLE)])
def test_what_cannot_be_read_has_happened(data: bytes, what: str) -> None:
    record = Record(9, datetime(2027, 1, 1, tzinfo=UTC), 0, 0, data)
    fact = fact_of(record, "node")
    assert (fact.number, fact.kind, fact.what) == (9, Kind.OTHER, what)


def test_a_clipped_text_stays_a_fact() -> None:
    event = EVENTS.echo(replace(SCANNER, name="x" * 5000))
    assert len(told(event).who) <= 1024
