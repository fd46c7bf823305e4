"""Audit messages and AuditEvents of others: the same facts as of our own record."""

import io
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leadglass.assurance.trails.fact import Ending, Fact, Kind, Reach, Touched
from leadglass.assurance.trails.formats import atna, fhir
from leadglass.assurance.trails.formats.source import Options, Unparsed
from leadglass.assurance.trails.own import fact_of
from leadglass.audit.events import Event
from leadglass.audit.fhir import audit_event
from leadglass.audit.search import Record
from leadglass.audit.syslog import Sender
from leadglass.audit.xml import message
from leadglass.errors import Misconfigured
from tests.unit.audit.test_xml import BUILT, record_of

Found = Fact | Unparsed


def of_xml(data: bytes | str) -> list[Found]:
    data = data.encode() if isinstance(data, str) else data
    return list(atna.read(io.BytesIO(data), Options()))


def of_fhir(data: bytes | str) -> list[Found]:
    data = data.encode() if isinstance(data, str) else data
    return list(fhir.read(io.BytesIO(data), Options()))


def told(found: Found) -> Fact:
    assert isinstance(found, Fact)
    return found


def as_foreign(record: Record) -> dict[str, object]:
    """Return what our record says, but for what only the node itself knows."""
    fact = fact_of(record, "node")
    is_in = fact.kind in {Kind.STORE, Kind.GATE, Kind.IMPORT}
    fact = replace(fact, destination="") if is_in else fact
    return {**fact.members(), "number": 1, "trail": 1}


def comparable(fact: Fact) -> dict[str, object]:
    return {**fact.members(), "details": {}, "touched": sorted(map(str, fact.touched))}


@pytest.mark.parametrize(("name", "event"), BUILT, ids=[name for name, _ in BUILT])
@pytest.mark.parametrize("is_fhir", [False, True], ids=["xml", "fhir"])
def test_what_we_send_is_what_we_know(name: str, event: Event, is_fhir: bool) -> None:
    record = record_of(event)
    own = Fact.of(as_foreign(record))
    if is_fhir:
        (found,) = of_fhir(json.dumps(audit_event(record, "node")))
    else:
        (found,) = of_xml(message(record, "node").text)
    fact = told(found)
    assert comparable(fact) == comparable(own), name


def test_lines_of_syslog_are_read() -> None:
    sender = Sender("node", "host", "host", "1")
    records = [record_of(event, n) for n, (_, event) in enumerate(BUILT)]
    data = b"\n".join(sender.frame(each) for each in records)
    assert [told(each).number for each in of_xml(data)] == [
        n + 1 for n in range(len(records))
    ]


# As dcm4chee-arc 5 writes it: AE titles as user ids, and a type that says so.
OF_DCM4CHEE = """<?xml version="1.0" encoding="UTF-8"?>
<AuditMessage xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
<EventIdentification EventActionCode="E" EventOutcomeIndicator="0"
 EventDateTime="2026-03-01T10:00:00.123+01:00">
<EventID csd-code="110112" originalText="Query" codeSystemName="DCM"/>
</EventIdentification>
<ActiveParticipant UserID="DESK" UserIsRequestor="true" NetworkAccessPointID="192.0.2.4"
 NetworkAccessPointTypeCode="2">
<RoleIDCode csd-code="110153" originalText="Source Role ID" codeSystemName="DCM"/>
<UserIDTypeCode csd-code="110119" codeSystemName="DCM" originalText="Station AE Title"/>
</ActiveParticipant>
<ActiveParticipant UserID="DCM4CHEE" UserIsRequestor="false">
<RoleIDCode csd-code="110152" codeSystemName="DCM" originalText="Destination Role ID"/>
</ActiveParticipant>
<AuditSourceIdentification AuditSourceID="dcm4chee-arc"/>
<ParticipantObjectIdentification ParticipantObjectID="1.2.840.10008.5.1.4.1.2.2.1"
 ParticipantObjectTypeCode="2" ParticipantObjectTypeCodeRole="3">
<ParticipantObjectIDTypeCode csd-code="110181" originalText="SOP Class UID"
 codeSystemName="DCM"/><ParticipantObjectName/>
</ParticipantObjectIdentification>
</AuditMessage>
"""


def test_a_message_of_another_archive_is_read() -> None:
    (found,) = of_xml(OF_DCM4CHEE)
    assert told(found) == Fact(
        number=1,
        trail=1,
        time=datetime(2026, 3, 1, 9, 0, 0, 123_000, UTC),
        kind=Kind.QUERY,
        who="DESK",
        who_kind="device",
        ae_title="DESK",
        address="192.0.2.4",
        details={"keys": ""},
    )


def test_a_patient_record_that_was_read_listed_somebody() -> None:
    text = OF_DCM4CHEE.replace('"110112"', '"110110"').replace(
        'EventActionCode="E"', 'EventActionCode="R"'
    )
    patient = """<ParticipantObjectIdentification ParticipantObjectID="P1^^^Clinic"
 ParticipantObjectTypeCode="1" ParticipantObjectTypeCodeRole="1">
<ParticipantObjectIDTypeCode csd-code="2" originalText="Patient Number"/>
</ParticipantObjectIdentification></AuditMessage>"""
    (found,) = of_xml(text.replace("</AuditMessage>", patient))
    fact = told(found)
    assert (fact.kind, fact.what) == (Kind.OTHER, "Query")
    assert fact.touched == (Touched("P1^^^Clinic", Reach.LISTED),)


@pytest.mark.parametrize(
    "hostile",
    [
        '<!DOCTYPE a [<!ENTITY b "bbbb">]><AuditMessage>&b;</AuditMessage>',
        "<AuditMessage>&amp;&b;</AuditMessage>",
        "<AuditMessage>" + "<a>" * 5_000 + "</AuditMessage>",
        "<AuditMessage><a></b></AuditMessage>",
        "<AuditMessage/>" * 3,
        "<AuditMessage >",
        "no message at all \x1b[2J",
        OF_DCM4CHEE.replace('Indicator="0"', 'Indicator="5"'),
        OF_DCM4CHEE.replace("2026-03-01", "2026-13-01"),
    ],
)
def test_what_is_no_message_is_told_of_and_takes_nothing_with_it(hostile: str) -> None:
    *bad, good = of_xml(hostile + "\n" + OF_DCM4CHEE)
    assert isinstance(good, Fact)
    assert bad
    for each in bad:
        assert isinstance(each, Unparsed)
        assert each.text.isprintable()
        assert len(each.text) <= 200


def test_a_line_without_end_is_bounded() -> None:
    class Endless(io.RawIOBase):
        left = 40

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
            if not self.left:
                return 0
            self.left -= 1
            buffer[:] = b"x" * len(buffer)
            return len(buffer)

    stream = io.BufferedReader(Endless(), 1 << 16)  # type: ignore[type-var]
    (found,) = atna.read(stream, Options())
    assert isinstance(found, Unparsed)


def test_a_time_without_zone_needs_one() -> None:
    text = OF_DCM4CHEE.replace("+01:00", "")
    with pytest.raises(Misconfigured, match="--zone"):
        of_xml(text)
    (found,) = atna.read(io.BytesIO(text.encode()), Options(zone=UTC))
    assert told(found).time.hour == 10


def resources(count: int) -> list[dict[str, object]]:
    return [audit_event(record_of(event, n), "node") for n, (_, event) in BUILT_SOME][
        :count
    ]


BUILT_SOME = list(enumerate(BUILT))


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("count", [1, 30])
def test_a_bundle_of_any_length_is_read(indent: int | None, count: int) -> None:
    entries = [{"fullUrl": '}{"', "resource": each} for each in resources(30) * count]
    bundle = {
        "resourceType": "Bundle",
        "link": [{"relation": "self", "url": "https://x/{"}],
        "entry": entries,
    }
    found = of_fhir(json.dumps(bundle, indent=indent))
    assert [told(each).number for each in found] == [n + 1 for n in range(len(entries))]


@pytest.mark.parametrize(
    "hostile",
    ["{", "[" * 100_000, '{"resourceType": "Patient"}', '"', '{"a": "\x1b[2J"}', "x"],
)
def test_a_line_that_is_no_resource_is_told_of(hostile: str) -> None:
    line = json.dumps(resources(1)[0])
    good, bad, again = of_fhir(f"{line}\n{hostile}\n{line}")
    assert isinstance(good, Fact)
    assert isinstance(again, Fact)
    assert isinstance(bad, Unparsed)
    assert bad.text.isprintable()


def test_a_failure_keeps_how_bad_it_was() -> None:
    resource = {**resources(1)[0], "outcome": "8"}
    (found,) = of_fhir(json.dumps(resource))
    assert told(found).ending is Ending.SERIOUS_FAILURE


_READERS: list[Callable[[bytes], list[Found]]] = [of_xml, of_fhir]


@settings(max_examples=50, deadline=None)
@given(data=st.binary(max_size=400), reader=st.sampled_from(_READERS))
def test_any_bytes_are_read_or_told_of(
    data: bytes, reader: Callable[[bytes], list[Found]]
) -> None:
    found = reader(data)
    assert all(isinstance(each, Unparsed) for each in found)


@settings(max_examples=30, deadline=None)
@given(cut=st.integers(0, len(OF_DCM4CHEE)))
def test_a_file_that_was_cut_off_is_told_of(cut: int) -> None:
    found = of_xml(OF_DCM4CHEE + OF_DCM4CHEE[:cut])
    whole = [each for each in found if isinstance(each, Fact)]
    is_whole = OF_DCM4CHEE[:cut].strip() == OF_DCM4CHEE.strip()
    assert len(whole) == (2 if is_whole else 1)
