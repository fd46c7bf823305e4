"""Audit messages: valid by the schema of PS3.15 §A.5.1, and nothing is lost in them."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leadglass.audit.builders import Actor, Events, Medium, Node, Study
from leadglass.audit.codes import (
    ID_PATIENT,
    Action,
    EventID,
    ObjectRole,
    ObjectType,
    Outcome,
)
from leadglass.audit.events import (
    AuditSource,
    Event,
    Participant,
    ParticipantObject,
    SOPClass,
    encode,
    from_us,
)
from leadglass.audit.search import Record
from leadglass.audit.xml import message, visible
from tests.docs.tables import EXAMPLES, PEOPLE_EXAMPLES, flat
from tests.support.auditxml import SCHEMA, check, exact, parsed
from tests.unit.audit.test_events import events

SOURCE = AuditSource("leadglass-1", "a hospital")
NOW = datetime(2026, 11, 3, 8, 30, 0, 123456, UTC)
HOSTILE = (
    "]]>",
    "<!--",
    "<![CDATA[",
    "&amp;",
    "&#0;",
    "\"'><x/>",
    "\0",
    "\x1b[31m",
    "\ud800",
    "\udfff\ud800",
    "\ufffe",
    "\uffff",
    "\u2028",
    "\r\n<84>1 - - - - - - forged",
    "\\",
    "\\u0000",
    "\\\\u005c",
    "\\u005cu0000\0",
    "  spaces  ",
    "\t",
    "\x85",
    "\x7f",
    "Ärztin^Zoë",
    "山田^太郎",
    "\U0001f600",
    "x" * 1024,
    "\0" * 1024,
)


def record_of(event: Event, n: int = 7) -> Record:
    data = encode(event.members(SOURCE.members(), 1_800_000_000_000_000))
    return Record(n, NOW, 1, 1, data)


def text_of(event: Event, n: int = 7) -> str:
    return message(record_of(event, n), "own").text


def everything() -> Iterator[tuple[str, Event]]:
    """Yield each event that the product builds, by the name of its builder."""
    for name, (_, make) in EXAMPLES.items():
        for event in flat(make(Events(Node("node", "LEADGLASS", "192.0.2.1")))):
            yield name, event
    for (maker, name), (_, build) in PEOPLE_EXAMPLES.items():
        for event in flat(build(maker(Node("node")))):
            yield name, event


BUILT = list(everything())


@pytest.mark.parametrize(
    "event", [each for _, each in BUILT], ids=[name for name, _ in BUILT]
)
def test_every_event_that_is_built_is_valid_and_whole(event: Event) -> None:
    record = record_of(event)
    text = message(record, "own").text
    assert check(text) == []
    assert parsed(text) == (Event.decode(record.data)[0], SOURCE, 7)


@settings(max_examples=100)
@given(events.filter(lambda event: bool(event.participants)), st.integers(0, 1 << 60))
def test_whatever_an_event_holds_comes_back(event: Event, n: int) -> None:
    event = _writable(event)
    text = text_of(event, n)
    assert check(text) == []
    assert parsed(text) == (event, SOURCE, n)


def _writable(event: Event) -> Event:
    """Return the event without what tells nothing: an access point of no name."""
    members = event.members(SOURCE.members(), 0)
    members["details"] = {
        name: value
        for name, value in members.get("details", {}).items()
        if name not in {"Returned Patients", "Purpose Of Use"}
    }
    return Event.decode(encode(members))[0]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_anywhere_is_valid_and_comes_back(text: str) -> None:
    events = Events(Node("node"))
    actor = Actor(text, text, text, text, text, text)
    study = Study(text, text, text, (SOPClass(text, 1, (text,)),), text, text)
    made = [
        *events.stored(actor, (study,)),
        *events.exported(actor, (study,), Medium(text, "110010", True, False)),
        events.access_refused(actor, text, text, (study,)),
    ]
    for event in made:
        record = record_of(event)
        said = message(record, "own").text
        assert check(said) == []
        assert parsed(said)[0] == Event.decode(record.data)[0]
        # Nothing that a line, a terminal or a parser could take for its own.
        assert not re.search("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", said)
        said.encode("utf-8")


@given(st.text(st.sampled_from("\\u0019afAF\0\ud800x"), max_size=12))
def test_what_xml_forbids_has_one_way_back(text: str) -> None:
    assert exact(visible(text)) == text
    assert visible(text) == text or "\\u" in visible(text)


def test_common_backslashes_stay() -> None:
    assert visible("CT\\MR C:\\users\\u12") == "CT\\MR C:\\users\\u12"


def test_a_name_beside_a_query_is_kept() -> None:
    thing = ParticipantObject(
        "1", ID_PATIENT, ObjectType.PERSON, ObjectRole.PATIENT, name="n", query=b"\0q"
    )
    event = Event(
        EventID.QUERY,
        Action.EXECUTE,
        participants=(Participant("alice"),),
        objects=(thing,),
    )
    text = text_of(event)
    assert check(text) == []
    assert parsed(text)[0].objects == (thing,)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"{}",
        encode(Event(EventID.QUERY, Action.READ).members(SOURCE.members(), 0)).replace(
            b'"format":1', b'"format":9'
        ),
        encode(
            Event(
                EventID.QUERY, Action.READ, participants=(Participant("alice"),)
            ).members(SOURCE.members(), 0)
        ).replace(b'"alice"', b"17"),
    ],
    ids=["erased", "no text", "no event", "another format", "another type"],
)
def test_a_record_that_cannot_be_read_is_told_and_keeps_its_number(data: bytes) -> None:
    made = message(Record(41, NOW, 1, 1, data), "leadglass-1")
    assert made.outcome is Outcome.MINOR_FAILURE
    assert check(made.text) == []
    event, source, number = parsed(made.text)
    assert (event.id, source.id, number) == (EventID.SECURITY_ALERT, "leadglass-1", 41)
    assert event.time == NOW
    assert "this record" in event.outcome_description


def test_times_are_utc_to_the_microsecond() -> None:
    event = Event(
        EventID.QUERY,
        Action.EXECUTE,
        participants=(Participant("alice"),),
        time=from_us(1_700_000_000_000_001),
    )
    assert 'EventDateTime="2023-11-14T22:13:20.000001Z"' in text_of(event)


def test_codes_have_their_words() -> None:
    root = ET.fromstring(text_of(BUILT[0][1]))  # our own
    assert root[0][0].attrib == {
        "csd-code": "110100",
        "codeSystemName": "DCM",
        "originalText": "Application Activity",
    }


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("<EventID ", "<EventId "),
        ('csd-code="110100"', 'code="110100"'),
        ('EventOutcomeIndicator="0"', 'EventOutcomeIndicator="3"'),
        ('EventActionCode="E"', 'EventActionCode="X"'),
        ('UserIsRequestor="false"', 'UserIsRequestor="no"'),
        (' UserID="node"', ""),
        ("<ParticipantObjectName>Audit Record</ParticipantObjectName>", ""),
        ("</AuditMessage>", "<EventID/></AuditMessage>"),
        ("T08:", "T28:"),
    ],
)
def test_the_checker_sees_what_is_wrong(old: str, new: str) -> None:
    text = text_of(replace(BUILT[0][1], time=NOW))
    wrong = text.replace(old, new, 1)
    assert wrong != text
    assert check(wrong)


def test_the_checker_knows_every_element() -> None:
    names = set(re.findall(r"[A-Z]\w+", " ".join(r.children for r in SCHEMA.values())))
    assert names | {"AuditMessage"} == set(SCHEMA)
