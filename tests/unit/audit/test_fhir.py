"""FHIR R4 AuditEvent: its shape, for every event that is built, and what is in it."""

import json
import re
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given, settings

from leadglass.audit.builders import Actor, Events, Node, Question, Result, Study
from leadglass.audit.codes import Outcome
from leadglass.audit.events import Event, SOPClass
from leadglass.audit.fhir import DCM, audit_event
from leadglass.audit.search import Record
from tests.unit.audit.test_events import events
from tests.unit.audit.test_xml import BUILT, HOSTILE, NOW, record_of

EVENTS = Events(Node("leadglass-1", "LEADGLASS", "192.0.2.1"))
ALICE = Actor("alice", "192.0.2.9", channel="TLSv1.3", kind="operator")
STUDY = Study(
    "1.2.3",
    "PAT-1",
    "DOE^JANE",
    (SOPClass("1.2.840.1", 2, ("1.2.3.4", "1.2.3.5")), SOPClass("1.2.840.2", 1)),
    "ACC1",
    "1.2.9",
)

# ── the resource of R4 (http://hl7.org/fhir/R4/auditevent.html) ──────────────

Check = Callable[[Any], bool]


def _matches(pattern: str) -> Check:
    return lambda value: isinstance(value, str) and bool(re.fullmatch(pattern, value))


def _some_text(value: object) -> bool:
    # R4: no string is empty, and of control characters only TAB, CR and LF.
    if not isinstance(value, str) or not value or not value.strip():
        return False
    value.encode("utf-8")
    return not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f]", value)


def _base64(value: object) -> bool:
    return isinstance(value, str) and bool(b64decode(value, validate=True))


_CODE = _matches(r"[^\s]+( [^\s]+)*")
_URI = _matches(r"\S+")
_INSTANT = _matches(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_BOOLEAN: Check = lambda value: isinstance(value, bool)  # noqa: E731
_INTEGER: Check = lambda value: type(value) is int  # noqa: E731

# Element → (type, least, most); most 0: any number, as a list.
Shape = Mapping[str, tuple[Any, int, int]]
_CODING: Shape = {
    "system": (_URI, 0, 1),
    "code": (_CODE, 0, 1),
    "display": (_some_text, 0, 1),
}
_CONCEPT: Shape = {"coding": (_CODING, 0, 0), "text": (_some_text, 0, 1)}
_IDENTIFIER: Shape = {"system": (_URI, 0, 1), "value": (_some_text, 0, 1)}
_REFERENCE: Shape = {
    "type": (_URI, 0, 1),
    "identifier": (_IDENTIFIER, 0, 1),
    "display": (_some_text, 0, 1),
}
_EXTENSION: Shape = {
    "url": (_URI, 1, 1),
    "valueReference": (_REFERENCE, 0, 1),
    "valueIdentifier": (_IDENTIFIER, 0, 1),
    "valueInteger": (_INTEGER, 0, 1),
    "valueBoolean": (_BOOLEAN, 0, 1),
}
_AGENT: Shape = {
    "type": (_CONCEPT, 0, 1),
    "role": (_CONCEPT, 0, 0),
    "who": (_REFERENCE, 0, 1),
    "altId": (_some_text, 0, 1),
    "name": (_some_text, 0, 1),
    "requestor": (_BOOLEAN, 1, 1),
    "media": (_CODING, 0, 1),
    "network": (
        {"address": (_some_text, 0, 1), "type": (_matches("[1-5]"), 0, 1)},
        0,
        1,
    ),
}
_DETAIL: Shape = {
    "type": (_some_text, 1, 1),
    "valueString": (_some_text, 0, 1),
    "valueBase64Binary": (_base64, 0, 1),
}
_ENTITY: Shape = {
    "extension": (_EXTENSION, 0, 0),
    "what": (_REFERENCE, 0, 1),
    "type": (_CODING, 0, 1),
    "role": (_CODING, 0, 1),
    "lifecycle": (_CODING, 0, 1),
    "securityLabel": (_CODING, 0, 0),
    "name": (_some_text, 0, 1),
    "description": (_some_text, 0, 1),
    "query": (_base64, 0, 1),
    "detail": (_DETAIL, 0, 0),
}
AUDIT_EVENT: Shape = {
    "resourceType": (_matches("AuditEvent"), 1, 1),
    "id": (_matches(r"[A-Za-z0-9\-.]{1,64}"), 0, 1),
    "type": (_CODING, 1, 1),
    "subtype": (_CODING, 0, 0),
    "action": (_matches("[CRUDE]"), 0, 1),
    "recorded": (_INSTANT, 1, 1),
    "period": ({"start": (_INSTANT, 0, 1), "end": (_INSTANT, 0, 1)}, 0, 1),
    "outcome": (_matches("0|4|8|12"), 0, 1),
    "outcomeDesc": (_some_text, 0, 1),
    "purposeOfEvent": (_CONCEPT, 0, 0),
    "agent": (_AGENT, 1, 0),
    "source": (
        {
            "site": (_some_text, 0, 1),
            "observer": (_REFERENCE, 1, 1),
            "type": (_CODING, 0, 0),
        },
        1,
        1,
    ),
    "entity": (_ENTITY, 0, 0),
}


def faults(value: Any, shape: Any, path: str = "AuditEvent") -> Iterator[str]:
    """Yield what is against the shape."""
    if callable(shape):
        if not shape(value):
            yield f"{path} must not be {value!r}"
        return
    if not isinstance(value, dict) or not value:
        yield f"{path} must be an object that says something"
        return
    for name in value.keys() - shape.keys():
        yield f"{path} has no {name}"
    for name, (kind, least, most) in shape.items():
        if name in value:
            yield from _faults_of_member(value[name], kind, most, f"{path}.{name}")
        elif least:
            yield f"{path} lacks {name}"
    if {"name", "query"} <= value.keys():
        yield f"{path}: either a name or a query (sev-1)"
    if "url" in value and len(value) != 2:
        yield f"{path}: an extension has one value"


def _faults_of_member(value: Any, kind: Any, most: int, path: str) -> Iterator[str]:
    if most == 1:
        yield from faults(value, kind, path)
    elif not isinstance(value, list) or not value:
        yield f"{path} must be a list of some"
    else:
        for each in value:
            yield from faults(each, kind, path)


def made(event: Event) -> dict[str, Any]:
    return audit_event(record_of(event), "leadglass-1")


@pytest.mark.parametrize(
    "event", [each for _, each in BUILT], ids=[name for name, _ in BUILT]
)
def test_every_event_that_is_built_has_the_shape(event: Event) -> None:
    assert list(faults(made(event), AUDIT_EVENT)) == []


@settings(max_examples=60)
@given(events.filter(lambda event: bool(event.participants)))
def test_whatever_an_event_holds_is_json(event: Event) -> None:
    found = made(event)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_anywhere_has_the_shape(text: str) -> None:
    actor = Actor(text, text, text, text, text, text)
    study = Study("1.2", text, text, (SOPClass("1.3", 1, ("1.4",)),), text)
    for event in (
        *EVENTS.stored(actor, (study,)),
        EVENTS.access_refused(actor, text, text, (study,)),
    ):
        told = list(faults(made(event), AUDIT_EVENT))
        assert not text.strip() or told == []


def test_a_transfer_has_client_server_study_and_patient() -> None:
    (event,) = EVENTS.transferred(ALICE, (STUDY,), Result(Outcome.MINOR_FAILURE, "cut"))
    found = made(event)
    assert found["type"] == {
        "system": DCM,
        "code": "110104",
        "display": "DICOM Instances Transferred",
    }
    assert (found["action"], found["outcome"], found["outcomeDesc"]) == (
        "R",
        "4",
        "cut",
    )
    server, client = found["agent"]
    assert server["type"]["coding"][0]["code"] == "110153"
    assert client["type"]["coding"][0]["code"] == "110152"
    assert client["who"] == {"identifier": {"value": "alice"}}
    assert client["requestor"] is True
    assert client["network"] == {"address": "192.0.2.9", "type": "2"}
    study, patient, record = found["entity"]
    assert study["what"] == {
        "type": "ImagingStudy",
        "identifier": {"system": "urn:dicom:uid", "value": "urn:oid:1.2.3"},
    }
    assert patient["what"] == {"type": "Patient", "identifier": {"value": "PAT-1"}}
    assert (patient["type"]["code"], patient["role"]["code"]) == ("1", "1")
    assert patient["name"] == "DOE^JANE"
    values = {
        each["url"].rpartition("-")[2]: next(
            value for name, value in each.items() if name != "url"
        )
        for each in study["extension"]
    }
    assert values["NumberOfInstances"] == 3
    assert values["Accession"] == {"value": "ACC1"}
    assert values["MPPS"]["value"] == "urn:oid:1.2.9"
    assert {"type": "NumberOfInstances 1.2.840.1", "valueString": "2"} in study[
        "detail"
    ]
    assert {"type": "Record Number", "valueString": "7"} in record["detail"]
    assert {"type": "channel", "valueString": "TLSv1.3"} in record["detail"]


def test_a_query_has_its_question_and_whom_it_named() -> None:
    question = Question("1.2.840.10008.5.1.4.1.2.2.1", b"\x08\0", "1.2.840.10008.1.2")
    (event,) = EVENTS.query(ALICE, question, [("PAT-1", "1.2.3"), ("PAT-2", "1.2.4")])
    found = made(event)
    asked, one, other, _ = found["entity"]
    assert b64decode(asked["query"]) == b"\x08\0"
    assert [each["what"]["identifier"]["value"] for each in (one, other)] == [
        "PAT-1",
        "PAT-2",
    ]
    (study,) = one["extension"]
    assert study["valueIdentifier"]["value"] == "urn:oid:1.2.3"


def test_who_asks_without_a_role_is_a_recipient() -> None:
    (event,) = EVENTS.instances_accessed(ALICE, (STUDY,))
    (agent,) = made(event)["agent"]
    assert agent["type"]["coding"][0]["code"] == "IRCP"


@pytest.mark.parametrize("data", [b"", b"no record"], ids=["erased", "tampered with"])
def test_a_record_that_cannot_be_read_is_told(data: bytes) -> None:
    found = audit_event(Record(41, NOW, 1, 1, data), "leadglass-1")
    assert list(faults(found, AUDIT_EVENT)) == []
    assert (found["id"], found["outcome"]) == ("41", "4")
    assert "this record" in found["outcomeDesc"]


def test_a_record_of_another_type_is_told() -> None:
    data = record_of(BUILT[0][1]).data.replace(b'"user":"node"', b'"user":17')
    found = audit_event(Record(41, NOW, 1, 1, data), "leadglass-1")
    assert list(faults(found, AUDIT_EVENT)) == []
    assert "cannot be read" in found["outcomeDesc"]


@pytest.mark.parametrize(
    "change",
    [
        {"type": None},
        {"agent": []},
        {"recorded": "yesterday"},
        {"outcome": "3"},
        {"color": "red"},
        {"outcomeDesc": ""},
    ],
)
def test_the_checker_sees_what_is_wrong(change: dict[str, Any]) -> None:
    assert list(faults({**made(BUILT[0][1]), **change}, AUDIT_EVENT))
