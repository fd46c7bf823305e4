"""Frames of RFC 5425 with headers of RFC 5424."""

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadglass.audit.builders import Actor, Association, Events, Node
from leadglass.audit.events import AuditSource, Event, encode
from leadglass.audit.search import Record
from leadglass.audit.syslog import Sender
from leadglass.audit.xml import message
from tests.support.syslog import split

NOW = datetime(2026, 11, 3, 8, 30, 0, 123456, UTC)
SENDER = Sender("leadglass-1", "pacs.hospital.example", "leadglass", "4711")
EVENTS = Events(Node("leadglass-1"))
FINE = EVENTS.application_started("1")
REFUSED = EVENTS.association_refused(Actor("Zoë"), Association(), "why")
# RFC 5424 §6, for the header that we write.
HEADER = re.compile(
    rb"<(\d{1,3})>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z) "
    rb"([!-~]{1,255}) ([!-~]{1,48}) ([!-~]{1,128}) (DICOM\+RFC3881) - \xef\xbb\xbf"
)


def record_of(event: Event, time: datetime = NOW) -> Record:
    return Record(3, time, 1, 1, encode(event.members(AuditSource("x").members(), 0)))


def test_a_message_has_the_header_of_the_standard() -> None:
    said = SENDER.message(record_of(FINE))
    assert said.startswith(
        b"<85>1 2026-11-03T08:30:00.123456Z pacs.hospital.example leadglass 4711 "
        b"DICOM+RFC3881 - \xef\xbb\xbf<?xml "
    )
    assert said.endswith(b"</AuditMessage>")
    text = message(record_of(FINE), "leadglass-1").text
    assert said.partition(b"\xef\xbb\xbf")[2] == text.encode()


@pytest.mark.parametrize(
    ("record", "priority"),
    [
        (record_of(FINE), b"<85>"),
        (record_of(REFUSED), b"<84>"),
        (Record(1, NOW, 1, 1, b""), b"<84>"),
        (Record(1, NOW, 1, 1, b"tampered with"), b"<84>"),
    ],
    ids=["success", "refused", "erased", "unreadable"],
)
def test_what_failed_is_a_warning(record: Record, priority: bytes) -> None:
    assert SENDER.message(record).startswith(priority)


def test_a_frame_counts_octets_not_characters() -> None:
    record = record_of(REFUSED)
    frame = SENDER.frame(record)
    said = SENDER.message(record)
    assert len(said) > len(said.decode())
    assert frame == str(len(said)).encode() + b" " + said


def test_frames_stand_one_after_the_other() -> None:
    records = [record_of(FINE), record_of(REFUSED), record_of(FINE)]
    stream = b"".join(map(SENDER.frame, records))
    assert list(split(stream)) == [SENDER.message(each) for each in records]


def test_the_time_is_utc() -> None:
    east = NOW.astimezone(timezone(timedelta(hours=5)))
    assert SENDER.message(record_of(FINE, east)) == SENDER.message(record_of(FINE))


names = st.text(max_size=300) | st.text(st.characters(codec="ascii"), max_size=300)


@given(names, names, names)
def test_header_fields_are_printable_and_not_too_long(
    host: str, app: str, process: str
) -> None:
    said = Sender("x", host, app, process).message(record_of(FINE))
    found = HEADER.match(said)
    assert found
    assert found[3] == (_clean(host)[:255] or b"-")
    assert found[4] == (_clean(app)[:48] or b"-")
    assert found[5] == (_clean(process)[:128] or b"-")


def _clean(text: str) -> bytes:
    return "".join(c if "!" <= c <= "~" else "_" for c in text).encode()
