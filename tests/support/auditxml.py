r"""The schema of audit messages, and the way back from a message to the event.

``SCHEMA`` says what PS3.15 §A.5.1 says in RELAX NG compact: for each element its
attributes, which of them must be there, and the order of its children. ``check``
names everything that is against it; ``parsed`` undoes ``leadglass.audit.xml``.
"""

import json
import re
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final
from xml.etree import ElementTree as ET

from leadglass.audit.codes import (
    AccessPoint,
    Action,
    EventID,
    ObjectRole,
    ObjectType,
    Outcome,
    SourceType,
)
from leadglass.audit.events import (
    AuditSource,
    Code,
    Event,
    Participant,
    ParticipantObject,
    Returned,
    SOPClass,
)

Type = Callable[[str], object]


def _pattern(text: str) -> Type:
    return re.compile(text).fullmatch


def _among(*values: str) -> Type:
    return lambda text: text in values


def _numbers(last: int) -> Type:
    return _among(*(str(each) for each in range(1, last + 1)))


_TEXT: Type = lambda _text: True  # noqa: E731  # a type beside the others
_BOOLEAN = _among("true", "false", "1", "0")
_INTEGER = _pattern(r"[+-]?[0-9]+")
_BASE64 = _pattern(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")
_DATE_TIME = _pattern(
    r"-?\d{4,}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])"
    r"T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)?"
)


@dataclass(frozen=True)
class Rule:
    """What one element may be.

    Attributes:
        children: Their names in order, as an expression; each ends with a comma.
        must: Attributes that must be there.
        may: Attributes that may.
        text: What it contains; ``None``: nothing but children.
    """

    children: str = ""
    must: Mapping[str, Type] = field(default_factory=dict)
    may: Mapping[str, Type] = field(default_factory=dict)
    text: Type | None = None


_CODED: Final = Rule(
    must={"csd-code": _TEXT, "codeSystemName": _TEXT, "originalText": _TEXT},
    may={"displayName": _TEXT},
)
_UID: Final = Rule(must={"UID": _TEXT})
SCHEMA: Final[Mapping[str, Rule]] = {
    "AuditMessage": Rule(
        "EventIdentification,(ActiveParticipant,)+AuditSourceIdentification,"
        "(ParticipantObjectIdentification,)*"
    ),
    "EventIdentification": Rule(
        "EventID,(EventTypeCode,)*(EventOutcomeDescription,)?",
        must={
            "EventDateTime": _DATE_TIME,
            "EventOutcomeIndicator": _among("0", "4", "8", "12"),
        },
        may={"EventActionCode": _among(*"CRUDE")},
    ),
    "EventID": _CODED,
    "EventTypeCode": _CODED,
    "EventOutcomeDescription": Rule(text=_TEXT),
    "ActiveParticipant": Rule(
        "(RoleIDCode,)*(MediaIdentifier,)?",
        must={"UserID": _TEXT, "UserIsRequestor": _BOOLEAN},
        may={
            "AlternativeUserID": _TEXT,
            "UserName": _TEXT,
            "NetworkAccessPointID": _TEXT,
            "NetworkAccessPointTypeCode": _numbers(5),
        },
    ),
    "RoleIDCode": _CODED,
    "MediaIdentifier": Rule("MediaType,"),
    "MediaType": _CODED,
    "AuditSourceIdentification": Rule(
        "(AuditSourceTypeCode,)*",
        must={"AuditSourceID": _TEXT},
        may={"AuditEnterpriseSiteID": _TEXT},
    ),
    "AuditSourceTypeCode": Rule(must={"csd-code": _numbers(9)}),
    "ParticipantObjectIdentification": Rule(
        "ParticipantObjectIDTypeCode,"
        "(ParticipantObjectName,|ParticipantObjectQuery,)"
        "(ParticipantObjectDetail,)*(ParticipantObjectDescription,)*",
        must={"ParticipantObjectID": _TEXT},
        may={
            "ParticipantObjectTypeCode": _numbers(4),
            "ParticipantObjectTypeCodeRole": _numbers(26),
            "ParticipantObjectDataLifeCycle": _numbers(15),
            "ParticipantObjectSensitivity": _TEXT,
        },
    ),
    "ParticipantObjectIDTypeCode": _CODED,
    "ParticipantObjectName": Rule(text=_TEXT),
    "ParticipantObjectQuery": Rule(text=_BASE64),
    "ParticipantObjectDetail": Rule(must={"type": _TEXT, "value": _BASE64}),
    "ParticipantObjectDescription": Rule(
        "(MPPS,)*(Accession,)*(SOPClass,)*(ParticipantObjectContainsStudy,)?"
        "(Encrypted,)?(Anonymized,)?"
    ),
    "MPPS": _UID,
    "Accession": Rule(must={"Number": _TEXT}),
    "SOPClass": Rule(
        "(Instance,)*", must={"NumberOfInstances": _INTEGER}, may={"UID": _TEXT}
    ),
    "Instance": _UID,
    "ParticipantObjectContainsStudy": Rule("(StudyIDs,)*"),
    "StudyIDs": _UID,
    "Encrypted": Rule(text=_BOOLEAN),
    "Anonymized": Rule(text=_BOOLEAN),
}


def check(text: str) -> list[str]:
    """Return what of a message is against the schema."""
    root = ET.fromstring(text)  # our own
    if root.tag != "AuditMessage":
        return [f"the root is {root.tag}"]
    return list(_against(root))


def _against(element: ET.Element) -> Iterator[str]:
    rule = SCHEMA.get(element.tag)
    if rule is None:
        yield f"{element.tag} is no element"
        return
    for name in rule.must:
        if name not in element.attrib:
            yield f"{element.tag} has no {name}"
    for name, value in element.attrib.items():
        known = {**rule.must, **rule.may}.get(name)
        if known is None or not known(value):
            yield f"{element.tag}/@{name} must not be {value!r}"
    children = "".join(f"{each.tag}," for each in element)
    if not re.fullmatch(rule.children, children):
        yield f"{element.tag} must not contain {children}"
    if not (rule.text or _among(""))(element.text or ""):
        yield f"{element.tag} must not say {element.text!r}"
    for each in element:
        if each.tail:
            yield f"{element.tag} has text between its children"
        yield from _against(each)


# ── the way back ─────────────────────────────────────────────────────────────


def exact(text: str) -> str:
    r"""Return a text with each ``\uXXXX`` as the character that it stands for."""
    return re.sub(r"\\u([0-9a-f]{4})", lambda each: chr(int(each[1], 16)), text)


def parsed(text: str) -> tuple[Event, AuditSource, int]:
    """Return event, source and number of the record that a message was made from."""
    root = ET.fromstring(text)  # our own
    identification = root[0]
    things = [
        _object(each) for each in root.iterfind("ParticipantObjectIdentification")
    ]
    *objects, record = things
    assert record.name == "Audit Record"
    details = list(record.details)
    number = int(_take(details, "Record Number"))
    told = 0
    if details and details[0][0] == "Returned Patients":
        told = int(_take(details, "Returned Patients"))
    purposes = []
    while details and details[0][0] == "Purpose Of Use":
        purposes.append(Code(*json.loads(_take(details, "Purpose Of Use"))))
    cut = len(objects) - told
    event = Event(
        id=EventID(identification[0].get("csd-code", "")),
        action=Action(_said(identification, "EventActionCode")),
        outcome=Outcome(int(_said(identification, "EventOutcomeIndicator"))),
        types=tuple(_codes(identification, "EventTypeCode")),
        participants=tuple(map(_participant, root.iterfind("ActiveParticipant"))),
        objects=tuple(objects[:cut]),
        purposes=tuple(purposes),
        outcome_description=exact(
            identification.findtext("EventOutcomeDescription") or ""
        ),
        returned=tuple(Returned(each.id, each.studies) for each in objects[cut:]),
        details=dict(details),
        time=datetime.fromisoformat(_said(identification, "EventDateTime")),
    )
    element = root.find("AuditSourceIdentification")
    assert element is not None
    kinds = (SourceType(int(each)) for each in _codes(element, "AuditSourceTypeCode"))
    source = AuditSource(
        _said(element, "AuditSourceID"),
        _said(element, "AuditEnterpriseSiteID"),
        tuple(kinds),
    )
    return event, source, number


def _take(details: list[tuple[str, str]], kind: str) -> str:
    found, value = details.pop(0)
    assert found == kind
    return value


def _said(element: ET.Element, name: str) -> str:
    return exact(element.get(name, ""))


def _codes(element: ET.Element, name: str) -> Iterator[str]:
    for each in element.iterfind(name):
        yield _said(each, "csd-code")


def _participant(element: ET.Element) -> Participant:
    at = _said(element, "NetworkAccessPointTypeCode")
    made = Participant(
        user_id=_said(element, "UserID"),
        alternative_id=_said(element, "AlternativeUserID"),
        name=_said(element, "UserName"),
        is_requestor=_said(element, "UserIsRequestor") == "true",
        roles=tuple(_codes(element, "RoleIDCode")),
        access_point=_said(element, "NetworkAccessPointID"),
        media=next(_codes(element.find("MediaIdentifier") or element, "MediaType"), ""),
    )
    return replace(made, access_point_type=AccessPoint(int(at))) if at else made


def _object(element: ET.Element) -> ParticipantObject:
    details = tuple(
        (
            _said(each, "type"),
            b64decode(_said(each, "value")).decode("utf-8", "surrogatepass"),
        )
        for each in element.iterfind("ParticipantObjectDetail")
    )
    query = b64decode(element.findtext("ParticipantObjectQuery") or "")
    name = exact(element.findtext("ParticipantObjectName") or "")
    if query and details and details[0][0] == "ParticipantObjectName":
        name, details = details[0][1], details[1:]
    described = element.find("ParticipantObjectDescription")
    if described is None:
        described = ET.Element("ParticipantObjectDescription")
    return ParticipantObject(
        id=_said(element, "ParticipantObjectID"),
        id_type=next(_codes(element, "ParticipantObjectIDTypeCode")),
        type=ObjectType(int(_said(element, "ParticipantObjectTypeCode"))),
        role=ObjectRole(int(_said(element, "ParticipantObjectTypeCodeRole"))),
        life_cycle=int(_said(element, "ParticipantObjectDataLifeCycle") or 0),
        sensitivity=_said(element, "ParticipantObjectSensitivity"),
        name=name,
        query=query,
        details=details,
        sop_classes=tuple(map(_sop_class, described.iterfind("SOPClass"))),
        accessions=tuple(_said(each, "Number") for each in described.iter("Accession")),
        mpps=tuple(_said(each, "UID") for each in described.iter("MPPS")),
        studies=tuple(_said(each, "UID") for each in described.iter("StudyIDs")),
        encrypted=_truth(described.findtext("Encrypted")),
        anonymized=_truth(described.findtext("Anonymized")),
    )


def _sop_class(element: ET.Element) -> SOPClass:
    uids = tuple(_said(each, "UID") for each in element.iterfind("Instance"))
    return SOPClass(
        _said(element, "UID"), int(_said(element, "NumberOfInstances")), uids
    )


def _truth(text: str | None) -> bool | None:
    return None if text is None else text == "true"
