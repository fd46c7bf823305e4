r"""Audit records as DICOM audit messages: the XML of PS3.15 §A.5.1.

One record is one message, with everything that is in the record:

- What an event knows beside its fields, and the number of the record, are details of
  an object of its own, the last one: this log, ``RECORD_NAME``.
- Whom an answer named (``Returned``) are patient objects with their studies, in front
  of that one; its detail ``RETURNED`` says how many they are.
- ``ParticipantObjectDetail`` holds bytes, so any text is in it as it was. Elsewhere a
  character that XML 1.0 forbids stands as ``\uXXXX``, see ``visible``.

A message has no line end and no control character in it, whatever a peer sent.
"""

import json
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from leadglass.audit.codes import (
    ID_NODE,
    ID_PATIENT,
    RFC_3881_MEANINGS,
    Action,
    EventID,
    ObjectRole,
    ObjectType,
    Outcome,
    Role,
    meaning,
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
from leadglass.audit.search import Record
from leadglass.errors import BadData

# ParticipantObjectName and ParticipantObjectDetail types of the object that is the
# record itself.
RECORD_NAME: Final = "Audit Record"
NUMBER: Final = "Record Number"
RETURNED: Final = "Returned Patients"
PURPOSE: Final = "Purpose Of Use"
# The detail with a name for which the schema has no room beside a query.
OBJECT_NAME: Final = "ParticipantObjectName"

_DECLARATION: Final = '<?xml version="1.0" encoding="UTF-8"?>'

# What XML 1.0 §2.2 has no way to write, and a backslash that would look like it.
_FORBIDDEN: Final = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]|\\\\(?=u[0-9a-f]{4})"
)
# What is written as a reference: markup, and control characters that are allowed.
_REFERENCED: Final = re.compile('[&<>"\t\n\r\x7f-\x9f\u2028\u2029]')

# What composing raises for members of another type than we ever write.
NOT_OURS: Final = (BadData, TypeError, AttributeError, ValueError)

# Either of them, or what might be.
_SPECIAL: Final = re.compile(
    '[&<>"\\\\\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]'
)

Attributes = Iterable[tuple[str, str]]


def visible(text: str) -> str:
    r"""Return ``text`` with what XML 1.0 forbids written as ``\uXXXX``.

    A backslash in front of what looks like that becomes ``\u005c``, so there is one
    way back: replace each ``\uXXXX`` by its character.
    """
    return _FORBIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _referenced(text: str) -> str:
    if not _SPECIAL.search(text):
        return text  # nearly all of them
    return _REFERENCED.sub(lambda found: f"&#{ord(found[0])};", visible(text))


def _element(name: str, attributes: Attributes = (), *content: str) -> str:
    """Return an element; ``content`` is XML already."""
    said = "".join([f' {key}="{_referenced(value)}"' for key, value in attributes])
    if not content:
        return f"<{name}{said}/>"
    return f"<{name}{said}>{''.join(content)}</{name}>"


@dataclass(frozen=True, slots=True)
class Message:
    """An audit message.

    Attributes:
        text: The XML.
        outcome: How what it tells of ended.
    """

    text: str
    outcome: Outcome


def message(record: Record, own: str) -> Message:
    """Return the audit message of a record.

    A record that cannot be read any more, because personal data was erased or somebody
    tampered with it, gives a message that says so: its number is never missing.

    Args:
        record: The record.
        own: Name of the log.
    """
    event, source = readable(record, own)
    try:
        return Message(_message(event, source, record.n), event.outcome)
    except NOT_OURS:
        event, source = unreadable(record, own)
        return Message(_message(event, source, record.n), event.outcome)


def readable(record: Record, own: str) -> tuple[Event, AuditSource]:
    """Return the event of a record, or one that says why there is none.

    Args:
        record: The record.
        own: Name of the log.
    """
    if not record.data:
        return _stand_in(record, own, "the personal data of this record was erased")
    try:
        return Event.decode(record.data)
    except BadData:
        return unreadable(record, own)


def unreadable(record: Record, own: str) -> tuple[Event, AuditSource]:
    """Return what stands for a record that somebody tampered with."""
    return _stand_in(record, own, "this record cannot be read; verify the log")


def _stand_in(record: Record, own: str, why: str) -> tuple[Event, AuditSource]:
    event = Event(
        id=EventID.SECURITY_ALERT,
        action=Action.EXECUTE,
        outcome=Outcome.MINOR_FAILURE,
        participants=(Participant(own, roles=(Role.APPLICATION,)),),
        outcome_description=why,
        time=record.time,
    )
    return event, AuditSource(own)


def _message(event: Event, source: AuditSource, number: int) -> str:
    return _DECLARATION + _element(
        "AuditMessage",
        (),
        _event(event),
        *map(_participant, event.participants),
        _source(source),
        *map(_object, event.objects),
        *map(_object, map(_returned, event.returned)),
        _object(_record(event, source, number)),
    )


def _event(event: Event) -> str:
    parts = [_dcm("EventID", event.id)]
    parts += [_dcm("EventTypeCode", each) for each in event.types]
    if event.outcome_description:
        described = _referenced(event.outcome_description)
        parts.append(_element("EventOutcomeDescription", (), described))
    attributes = (
        ("EventActionCode", event.action),
        ("EventDateTime", date_time(event.time)),
        ("EventOutcomeIndicator", str(int(event.outcome))),
    )
    return _element("EventIdentification", attributes, *parts)


def date_time(time: datetime | None) -> str:
    """Return a moment in UTC, to the microsecond, as XML Schema and RFC 3339 have it.

    Raises:
        BadData: There is none.
    """
    if time is None:
        raise BadData("an audit message needs its time")
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@lru_cache(maxsize=1024)  # the same few parties come again and again
def _participant(participant: Participant) -> str:
    attributes = [("UserID", participant.user_id)]
    if participant.alternative_id:
        attributes.append(("AlternativeUserID", participant.alternative_id))
    if participant.name:
        attributes.append(("UserName", participant.name))
    is_requestor = "true" if participant.is_requestor else "false"
    attributes.append(("UserIsRequestor", is_requestor))
    if participant.access_point:
        kind = str(int(participant.access_point_type))
        attributes.append(("NetworkAccessPointID", participant.access_point))
        attributes.append(("NetworkAccessPointTypeCode", kind))
    parts = [_dcm("RoleIDCode", each) for each in participant.roles]
    if participant.media:
        media = _dcm("MediaType", participant.media)
        parts.append(_element("MediaIdentifier", (), media))
    return _element("ActiveParticipant", attributes, *parts)


@lru_cache(maxsize=16)
def _source(source: AuditSource) -> str:
    attributes = [("AuditEnterpriseSiteID", source.site)] if source.site else []
    attributes.append(("AuditSourceID", source.id))
    # A single digit needs no scheme (§A.5.1.2.1).
    kinds = (
        _element("AuditSourceTypeCode", (("csd-code", str(int(each))),))
        for each in source.types
    )
    return _element("AuditSourceIdentification", attributes, *kinds)


def _object(thing: ParticipantObject) -> str:
    attributes = [
        ("ParticipantObjectID", thing.id),
        ("ParticipantObjectTypeCode", str(int(thing.type))),
        ("ParticipantObjectTypeCodeRole", str(int(thing.role))),
    ]
    if thing.life_cycle:
        attributes.append(("ParticipantObjectDataLifeCycle", str(thing.life_cycle)))
    if thing.sensitivity:
        attributes.append(("ParticipantObjectSensitivity", thing.sensitivity))
    parts = [_coded("ParticipantObjectIDTypeCode", *_id_type(thing.id_type))]
    details = thing.details
    if thing.query:
        query = b64encode(thing.query).decode("ascii")
        parts.append(_element("ParticipantObjectQuery", (), query))
        # The schema has either the one or the other.
        details = ((OBJECT_NAME, thing.name), *details) if thing.name else details
    else:
        parts.append(_element("ParticipantObjectName", (), _referenced(thing.name)))
    parts += [_detail(kind, value) for kind, value in details]
    described = list(_description(thing))
    if described:
        parts.append(_element("ParticipantObjectDescription", (), *described))
    return _element("ParticipantObjectIdentification", attributes, *parts)


def _detail(kind: str, value: str) -> str:
    # A lone surrogate has no UTF-8; it is kept all the same, as bytes.
    data = b64encode(value.encode("utf-8", "surrogatepass")).decode("ascii")
    return _element("ParticipantObjectDetail", (("type", kind), ("value", data)))


def _description(thing: ParticipantObject) -> Iterator[str]:
    """Yield what is in a description, in the order of the schema."""
    for uid in thing.mpps:
        yield _element("MPPS", (("UID", uid),))
    for number in thing.accessions:
        yield _element("Accession", (("Number", number),))
    yield from map(_sop_class, thing.sop_classes)
    if thing.studies:
        ids = (_element("StudyIDs", (("UID", uid),)) for uid in thing.studies)
        yield _element("ParticipantObjectContainsStudy", (), *ids)
    for name, is_so in (
        ("Encrypted", thing.encrypted),
        ("Anonymized", thing.anonymized),
    ):
        if is_so is not None:
            yield _element(name, (), "true" if is_so else "false")


def _sop_class(sop_class: SOPClass) -> str:
    attributes = [("UID", sop_class.uid)] if sop_class.uid else []
    attributes.append(("NumberOfInstances", str(sop_class.count)))
    instances = (_element("Instance", (("UID", uid),)) for uid in sop_class.instances)
    return _element("SOPClass", attributes, *instances)


def _returned(told: Returned) -> ParticipantObject:
    return ParticipantObject(
        id=told.patient_id,
        id_type=ID_PATIENT,
        type=ObjectType.PERSON,
        role=ObjectRole.PATIENT,
        studies=told.studies,
    )


def _record(event: Event, source: AuditSource, number: int) -> ParticipantObject:
    return ParticipantObject(
        id=source.id,
        id_type=ID_NODE,
        type=ObjectType.SYSTEM,
        role=ObjectRole.SECURITY_RESOURCE,
        name=RECORD_NAME,
        details=(
            (NUMBER, str(number)),
            *(((RETURNED, str(len(event.returned))),) if event.returned else ()),
            *((PURPOSE, _purpose(each)) for each in event.purposes),
            *event.details.items(),
        ),
    )


def _purpose(code: Code) -> str:
    """Return a purpose of use; the schema of §A.5.1 has no element for it."""
    return json.dumps(code.members())


def _dcm(name: str, code: str) -> str:
    return _coded(name, code, *words(code))


def words(code: str) -> tuple[str, str]:
    """Return (scheme, meaning), also of a code that a later version wrote."""
    try:
        return meaning(code)
    except KeyError:
        return "DCM", code


def _id_type(code: str) -> tuple[str, str, str]:
    if code in RFC_3881_MEANINGS:
        return code, "RFC-3881", RFC_3881_MEANINGS[code]
    return code, *words(code)


@lru_cache(maxsize=1024)
def _coded(name: str, code: str, scheme: str, original: str) -> str:
    attributes = (
        ("csd-code", code),
        ("codeSystemName", scheme),
        ("originalText", original),
    )
    return _element(name, attributes)
