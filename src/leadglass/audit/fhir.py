"""Audit records as FHIR R4 AuditEvent, after the patterns of IHE BALP.

Type and subtypes are the codes of DICOM, as PS3.15 A.5 and ATNA have them. From BALP
(https://profiles.ihe.net/ITI/BALP) come how agents and entities are told apart:

- a client or server by ``agent.type`` 110152 and 110153 of DICOM, a person or program
  that asked by IRCP, with ``requestor`` true, its name as an identifier;
- the patient by entity type 1 and role 1, with the Patient ID as an identifier;
- what it was done to by type 2, a study as ``urn:oid``.

No BALP profile is claimed: they are for operations of FHIR's own interface.
"""

import json
from base64 import b64encode
from collections.abc import Iterator, Mapping
from typing import Any, Final

from leadglass.audit.codes import ID_PATIENT, ID_STUDY_UID, SourceType
from leadglass.audit.events import (
    AuditSource,
    Code,
    Event,
    Participant,
    ParticipantObject,
    Returned,
)
from leadglass.audit.search import Record
from leadglass.audit.xml import (
    NOT_OURS,
    NUMBER,
    date_time,
    readable,
    unreadable,
    visible,
    words,
)

_TERMINOLOGY: Final = "http://terminology.hl7.org/CodeSystem"
DCM: Final = "http://dicom.nema.org/resources/ontology/DCM"
_RFC_3881: Final = "urn:ietf:rfc:3881"
_PARTICIPATION: Final = f"{_TERMINOLOGY}/v3-ParticipationType"
_ENTITY_TYPE: Final = f"{_TERMINOLOGY}/audit-entity-type"
_ROLE: Final = f"{_TERMINOLOGY}/object-role"
_LIFE_CYCLE: Final = f"{_TERMINOLOGY}/dicom-audit-lifecycle"
_SOURCE_TYPE: Final = f"{_TERMINOLOGY}/security-source-type"
_EXTENSION: Final = "http://hl7.org/fhir/StructureDefinition/auditevent-"
UID_SYSTEM: Final = "urn:dicom:uid"
_PERSON, _PATIENT, _SYSTEM, _RESOURCE = "1", "1", "2", "13"

Json = dict[str, Any]


def audit_event(record: Record, own: str) -> Json:
    """Return the resource of a record; also of one that cannot be read any more.

    Args:
        record: The record.
        own: Name of the log.
    """
    try:
        return _resource(*readable(record, own), record)
    except NOT_OURS:
        return _resource(*unreadable(record, own), record)


def feed(record: Record, own: str) -> bytes:
    """Return the resource of a record as one is created by (ITI-20): without an id."""
    made = audit_event(record, own)
    del made["id"]
    return json.dumps(made, ensure_ascii=False, separators=(",", ":")).encode()


def _resource(event: Event, source: AuditSource, record: Record) -> Json:
    happened, recorded = date_time(event.time), date_time(record.time)
    made: Json = {
        "resourceType": "AuditEvent",
        "id": str(record.n),
        "type": _dcm(event.id),
        "action": str(event.action),
        "recorded": recorded,
        "outcome": str(int(event.outcome)),
        "agent": [_agent(each) for each in event.participants],
        "source": _source(source),
        "entity": [
            *map(_entity, event.objects),
            *map(_returned, event.returned),
            _record(event, source, record.n),
        ],
    }
    if happened != recorded:
        made["period"] = {"start": happened, "end": happened}
    if event.types:
        made["subtype"] = [_dcm(each) for each in event.types]
    if event.outcome_description:
        made["outcomeDesc"] = visible(event.outcome_description)
    if event.purposes:
        made["purposeOfEvent"] = [_purpose(each) for each in event.purposes]
    return made


def _dcm(code: str) -> Json:
    scheme, said = words(code)
    system = DCM if scheme == "DCM" else _RFC_3881
    return {"system": system, "code": visible(code), "display": visible(said)}


def _purpose(code: Code) -> Json:
    coding = {"system": code.scheme, "code": code.value, "display": code.meaning}
    said = {name: visible(value) for name, value in coding.items() if value}
    return {"coding": [said]}


def _identifier(value: str) -> Json:
    """Return a reference to what has no address here; FHIR has no empty texts."""
    return (
        {"identifier": {"value": visible(value)}} if value else {"display": "unknown"}
    )


def _agent(participant: Participant) -> Json:
    made: Json = {
        "who": _identifier(participant.user_id),
        "requestor": participant.is_requestor,
    }
    roles = [{"coding": [_dcm(each)]} for each in participant.roles]
    if roles:
        made["type"] = roles[0]
        made |= {"role": roles[1:]} if roles[1:] else {}
    elif participant.is_requestor:
        made["type"] = {"coding": [{"system": _PARTICIPATION, "code": "IRCP"}]}
    if participant.alternative_id:
        made["altId"] = visible(participant.alternative_id)
    if participant.name:
        made["name"] = visible(participant.name)
    if participant.media:
        made["media"] = _dcm(participant.media)
    if participant.access_point:
        made["network"] = {
            "address": visible(participant.access_point),
            "type": str(int(participant.access_point_type)),
        }
    return made


def _source(source: AuditSource) -> Json:
    made: Json = {"observer": _identifier(source.id)}
    if source.site:
        made["site"] = visible(source.site)
    kinds = [_coding(_SOURCE_TYPE, SourceType(each)) for each in source.types]
    return made | ({"type": kinds} if kinds else {})


def _coding(system: str, code: int) -> Json:
    return {"system": system, "code": str(int(code))}


def _entity(thing: ParticipantObject) -> Json:
    made: Json = {
        "what": _what(thing),
        "type": _coding(_ENTITY_TYPE, thing.type),
        "role": _coding(_ROLE, thing.role),
    }
    if thing.life_cycle:
        made["lifecycle"] = _coding(_LIFE_CYCLE, thing.life_cycle)
    if thing.sensitivity:
        made["securityLabel"] = [{"display": visible(thing.sensitivity)}]
    # Constraint sev-1: either a name or a query.
    if thing.query:
        made["query"] = b64encode(thing.query).decode("ascii")
        made |= {"description": visible(thing.name)} if thing.name else {}
    elif thing.name:
        made["name"] = visible(thing.name)
    details = [_detail("ParticipantObjectIDTypeCode", thing.id_type)]
    details += [_detail(kind, value) for kind, value in thing.details]
    details += [
        _detail(f"NumberOfInstances {each.uid}", str(each.count))
        for each in thing.sop_classes
    ]
    made["detail"] = details
    extensions = list(_extensions(thing))
    return made | ({"extension": extensions} if extensions else {})


def _what(thing: ParticipantObject) -> Json:
    if thing.id_type == ID_PATIENT:
        return {"type": "Patient", **_identifier(thing.id)}
    if thing.id_type == ID_STUDY_UID:
        return {"type": "ImagingStudy", "identifier": _uid(thing.id)}
    return _identifier(thing.id)


def _uid(uid: str) -> Json:
    return {"system": UID_SYSTEM, "value": f"urn:oid:{visible(uid)}"}


def _detail(kind: str, value: str) -> Json:
    """Return a detail; what no FHIR string can hold is given as its bytes."""
    name = visible(kind) or "unknown"
    said = visible(value)
    if said and said == value:
        return {"type": name, "valueString": value}
    data = b64encode(value.encode("utf-8", "surrogatepass")).decode("ascii")
    # Nothing at all is no base64 either.
    return (
        {"type": name, "valueBase64Binary": data}
        if data
        else {
            "type": name,
            "valueString": "-",
        }
    )


def _extensions(thing: ParticipantObject) -> Iterator[Json]:
    """Yield what FHIR has extensions for, of a ParticipantObjectDescription."""
    for sop_class in thing.sop_classes:
        if sop_class.uid:
            yield _extended(
                "SOPClass", "Reference", {"identifier": _uid(sop_class.uid)}
            )
        for uid in sop_class.instances:
            yield _extended("Instance", "Identifier", _uid(uid))
    if thing.sop_classes:
        count = sum(each.count for each in thing.sop_classes)
        yield _extended("NumberOfInstances", "Integer", count)
    for number in thing.accessions:
        yield _extended("Accession", "Identifier", {"value": visible(number)})
    for uid in thing.mpps:
        yield _extended("MPPS", "Identifier", _uid(uid))
    for uid in thing.studies:
        yield _extended("ParticipantObjectContainsStudy", "Identifier", _uid(uid))
    for name, is_so in (
        ("Encrypted", thing.encrypted),
        ("Anonymized", thing.anonymized),
    ):
        if is_so is not None:
            yield _extended(name, "Boolean", is_so)


def _extended(name: str, kind: str, value: object) -> Json:
    return {"url": f"{_EXTENSION}{name}", f"value{kind}": value}


def _returned(told: Returned) -> Json:
    made: Json = {
        "what": {"type": "Patient", **_identifier(told.patient_id)},
        "type": {"system": _ENTITY_TYPE, "code": _PERSON},
        "role": {"system": _ROLE, "code": _PATIENT},
    }
    name = "ParticipantObjectContainsStudy"
    studies = [_extended(name, "Identifier", _uid(uid)) for uid in told.studies]
    return made | ({"extension": studies} if studies else {})


def _record(event: Event, source: AuditSource, number: int) -> Json:
    details: Mapping[str, str] = {NUMBER: str(number), **event.details}
    return {
        "what": _identifier(source.id),
        "type": {"system": _ENTITY_TYPE, "code": _SYSTEM},
        "role": {"system": _ROLE, "code": _RESOURCE},
        "name": "Audit Record",
        "detail": [_detail(kind, value) for kind, value in details.items()],
    }
