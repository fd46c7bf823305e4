"""Events and their canonical JSON."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadglass.audit.codes import (
    DCM_MEANINGS,
    AccessPoint,
    Action,
    EventID,
    EventType,
    ObjectRole,
    ObjectType,
    Outcome,
    Role,
    SourceType,
    meaning,
)
from leadglass.audit.events import (
    QUERY_BYTES_MAX,
    RECORD_BYTES_MAX,
    TEXT_CHARACTERS_MAX,
    AuditSource,
    Code,
    Event,
    Participant,
    ParticipantObject,
    Returned,
    SOPClass,
    clip,
    encode,
    from_us,
    mention_key,
    to_us,
)
from leadglass.errors import BadData

SOURCE = AuditSource("log.example", "ward", (SourceType.WEB_SERVER, SourceType.DEVICE))

texts = st.text(max_size=12)
participants = st.builds(
    Participant,
    user_id=texts,
    alternative_id=texts,
    name=texts,
    is_requestor=st.booleans(),
    roles=st.lists(st.sampled_from(Role), max_size=2).map(tuple),
    access_point=texts,
    access_point_type=st.just(AccessPoint.IP_ADDRESS),
    media=st.sampled_from(["", "110032"]),
)
objects = st.builds(
    ParticipantObject,
    id=texts,
    id_type=st.sampled_from(["2", "12", "110180", "110181", "110182"]),
    type=st.sampled_from(ObjectType),
    role=st.sampled_from(ObjectRole),
    life_cycle=st.integers(0, 15),
    sensitivity=texts,
    name=texts,
    query=st.binary(max_size=20),
    details=st.lists(st.tuples(texts, texts), max_size=2).map(tuple),
    sop_classes=st.lists(
        st.builds(
            SOPClass,
            uid=texts,
            count=st.integers(0, 1 << 40),
            instances=st.lists(texts, max_size=2).map(tuple),
        ),
        max_size=2,
    ).map(tuple),
    accessions=st.lists(texts, max_size=2).map(tuple),
    mpps=st.lists(texts, max_size=2).map(tuple),
    studies=st.lists(texts, max_size=2).map(tuple),
    encrypted=st.none() | st.booleans(),
    anonymized=st.none() | st.booleans(),
)
events = st.builds(
    Event,
    id=st.sampled_from(EventID),
    action=st.sampled_from(Action),
    outcome=st.sampled_from(Outcome),
    types=st.lists(st.sampled_from(EventType), max_size=2).map(tuple),
    participants=st.lists(participants, max_size=3).map(tuple),
    objects=st.lists(objects, max_size=3).map(tuple),
    purposes=st.lists(st.builds(Code, texts, texts, texts), max_size=1).map(tuple),
    outcome_description=texts,
    returned=st.lists(
        st.builds(Returned, texts, st.lists(texts, max_size=2).map(tuple)), max_size=2
    ).map(tuple),
    details=st.dictionaries(texts, texts, max_size=3),
    time=st.datetimes(
        datetime(1980, 1, 1),  # noqa: DTZ001  # the zone is added
        datetime(2100, 1, 1),  # noqa: DTZ001
        timezones=st.just(UTC),
    ),
)


def recorded(event: Event, time_us: int = 0) -> bytes:
    return encode(event.members(SOURCE.members(), time_us))


@given(events)
def test_nothing_is_lost(event: Event) -> None:
    assert Event.decode(recorded(event)) == (event, SOURCE)


@given(events)
def test_there_is_one_encoding(event: Event) -> None:
    data = recorded(event)
    members = json.loads(data)
    again = json.dumps(
        members, sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )
    assert again.encode("utf-8", "backslashreplace") == data
    assert recorded(Event.decode(data)[0]) == data


def test_the_moment_of_recording_is_the_time_unless_there_is_another() -> None:
    event = Event(EventID.QUERY, Action.EXECUTE)
    assert Event.decode(recorded(event, 5))[0].time == from_us(5)
    earlier = Event(EventID.QUERY, Action.EXECUTE, time=from_us(3))
    assert Event.decode(recorded(earlier, 5))[0].time == from_us(3)


def test_a_time_needs_its_zone() -> None:
    with pytest.raises(BadData, match="zone"):
        Event(EventID.QUERY, Action.EXECUTE, time=datetime(2026, 1, 1))  # noqa: DTZ001


@given(st.datetimes(timezones=st.just(UTC)))
def test_times_keep_their_microseconds(time: datetime) -> None:
    assert from_us(to_us(time)) == time
    assert to_us(time + timedelta(microseconds=1)) == to_us(time) + 1


def test_a_text_that_is_none_is_kept_as_an_escape() -> None:
    event = Event(EventID.QUERY, Action.EXECUTE, outcome_description="\udc80é")
    data = recorded(event)
    assert rb"\udc80" in data
    assert Event.decode(data)[0].outcome_description == "\udc80é"


def test_hostile_lengths_are_cut() -> None:
    long = "x" * 100_000
    person = ParticipantObject(
        long,
        "2",
        ObjectType.PERSON,
        ObjectRole.PATIENT,
        name=long,
        query=b"q" * 100_000,
    )
    event = Event(
        EventID.QUERY,
        Action.EXECUTE,
        participants=(Participant(long, long, long),),
        objects=(person,),
        details={"reason": long},
        outcome_description=long,
        returned=(Returned(long),),
    )
    data = recorded(event)
    assert len(data) < 9 * TEXT_CHARACTERS_MAX + 2 * QUERY_BYTES_MAX
    assert clip(long).endswith("…")
    assert len(clip(long)) == TEXT_CHARACTERS_MAX


def test_a_record_has_a_largest_size() -> None:
    with pytest.raises(BadData, match="too long"):
        encode({"x": "y" * RECORD_BYTES_MAX})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff",
        b'{"format":2}',
        b'{"format":1,"source":{"id":"x","types":[99]}}',
        b'{"format":1,"id":"0","action":"E","outcome":0}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_record_is_bad_data(data: bytes) -> None:
    with pytest.raises(BadData):
        Event.decode(data)


def test_mentions_are_found_once_by_key() -> None:
    assert mention_key("patient", "1") != mention_key("study", "1")
    assert len(mention_key("patient", "\udc80")) == 8


def test_every_code_has_its_meaning() -> None:
    for code in (*EventID, *EventType, *Role):
        assert meaning(code) == ("DCM", DCM_MEANINGS[code])
    assert meaning("2") == ("RFC-3881", "Patient Number")
    with pytest.raises(KeyError):
        meaning("99")
