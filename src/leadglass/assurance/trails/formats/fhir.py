"""FHIR R4 AuditEvent: one resource on each line (NDJSON), or Bundles of them.

A Bundle of any length is read in pieces: each of its entries is found by its braces
and parsed alone.
"""

import json
import re
from base64 import b64decode
from collections.abc import Iterator, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, BinaryIO, Final

from leadglass.assurance.trails.fact import Fact
from leadglass.assurance.trails.formats.messages import (
    PARTICIPANTS_MAX,
    Message,
    fact_of_message,
    id_type_of,
    participant,
)
from leadglass.assurance.trails.formats.pieces import objects
from leadglass.assurance.trails.formats.source import (
    Options,
    Unparsed,
    clipped,
    lines,
    shown,
)
from leadglass.audit.codes import ID_PATIENT, ID_STUDY_UID, ObjectRole, ObjectType
from leadglass.audit.events import Participant, ParticipantObject, SOPClass
from leadglass.audit.xml import NUMBER, PURPOSE, RECORD_NAME, RETURNED
from leadglass.errors import BadData

# What is looked at to tell lines from Bundles.
_PIECE_CHARACTERS: Final = 1 << 16
_ENTITIES_MAX: Final = 2_000

_IS_BUNDLE: Final = re.compile(r'"resourceType"\s*:\s*"Bundle"')
_OF_RECORD: Final = frozenset({NUMBER, PURPOSE, RETURNED})
_INSTANCES: Final = "NumberOfInstances "
_ID_TYPE: Final = "ParticipantObjectIDTypeCode"
# What IHE BALP calls the acts of a RESTful server (audit-event-type "rest").
_RESTFUL: Final[Mapping[str, str]] = MappingProxyType(
    {
        "search": "110112",
        "search-type": "110112",
        "search-system": "110112",
        "read": "110103",
        "vread": "110103",
    }
)
_UNSHAPED: Final = (
    *(BadData, ValueError, LookupError, TypeError, AttributeError),
    *(RecursionError, OverflowError),
)


def read(stream: BinaryIO, options: Options) -> Iterator[Fact | Unparsed]:
    """Yield what each resource says; one that cannot be read is told of.

    Raises:
        Misconfigured: A time has no zone, and none was named.
    """
    number = 0
    beginning = stream.read(_PIECE_CHARACTERS)
    stream.seek(0)
    first = beginning.lstrip().split(b"\n", 1)[0]
    texts = _by_line(stream) if _is_whole(first) else _in_pieces(stream, beginning)
    for at, text in texts:
        if isinstance(text, Unparsed):
            yield text
            continue
        try:
            resources = list(_resources(json.loads(text)))
        except _UNSHAPED:
            yield Unparsed(at, shown(text))
            continue
        for resource in resources:
            number += 1
            try:
                yield fact_of_message(_message(resource, number, options))
            except _UNSHAPED:
                yield Unparsed(at, shown(json.dumps(resource)))


def _is_whole(line: bytes) -> bool:
    """Tell whether the first line is a resource; if it is cut, it is a long Bundle."""
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return not line.startswith(b"{")


def _by_line(stream: BinaryIO) -> Iterator[tuple[int, str | Unparsed]]:
    for number, line in lines(stream):
        if isinstance(line, Unparsed) or line.strip():
            yield number, line


def _in_pieces(
    stream: BinaryIO, beginning: bytes
) -> Iterator[tuple[int, str | Unparsed]]:
    """Yield (how manieth, object): entries of a Bundle, or what stands alone."""
    is_bundle = _IS_BUNDLE.search(beginning.decode("utf-8", "replace"))
    return objects(stream, 2 if is_bundle else 1)


def _resources(found: Any) -> Iterator[Any]:
    """Yield the audit events in what was parsed; entries of a Bundle, or one."""
    kind = found.get("resourceType")
    if kind == "Bundle":
        for each in found.get("entry", ()):
            yield each["resource"]
    elif kind is None:
        # At the depth of entries there are links and meta data too.
        if "resource" in found:
            yield found["resource"]
    else:
        yield found


def _message(resource: Any, number: int, options: Options) -> Message:
    if resource["resourceType"] != "AuditEvent":
        raise BadData("no AuditEvent")
    type_ = resource["type"]
    id_ = str(type_["code"])
    types = tuple(str(each.get("code", "")) for each in resource.get("subtype", ()))
    if id_ == "rest":
        id_ = next((_RESTFUL[each] for each in types if each in _RESTFUL), id_)
    period = resource.get("period", {})
    time = period.get("start") or resource["recorded"]
    agents = resource["agent"][:PARTICIPANTS_MAX]
    details: dict[str, str] = {}
    objects: list[ParticipantObject] = []
    for entity in resource.get("entity", ())[:_ENTITIES_MAX]:
        if entity.get("name") == RECORD_NAME:
            details |= {k: v for k, v in _details(entity) if k not in _OF_RECORD}
        else:
            objects.append(_object(entity))
    return Message(
        number=number,
        time=options.aware(datetime.fromisoformat(time)),
        id=id_,
        meaning=clipped(str(type_.get("display", ""))),
        types=types,
        action=str(resource.get("action", "")),
        outcome=str(resource.get("outcome", "")),
        description=clipped(str(resource.get("outcomeDesc", ""))),
        participants=tuple(map(_participant, agents)),
        user_types=("",) * len(agents),
        objects=tuple(objects),
        details=details,
    )


def _named(reference: Any) -> str:
    """Return what a Reference names: its identifier, or the end of its address."""
    value = str(reference.get("identifier", {}).get("value", ""))
    address = str(reference.get("reference", "")).rpartition("/")[2]
    return (value or address or str(reference.get("display", ""))).removeprefix(
        "urn:oid:"
    )


def _codes(concepts: Any) -> Iterator[str]:
    for concept in concepts:
        for coding in concept.get("coding", ()):
            yield str(coding.get("code", ""))


def _participant(agent: Any) -> Participant:
    network = agent.get("network", {})
    kinds = [agent["type"]] if "type" in agent else []
    return participant(
        _named(agent.get("who", {})) or str(agent.get("altId", "")),
        alternative=str(agent.get("altId", "")),
        name=str(agent.get("name", "")),
        is_requestor=bool(agent.get("requestor")),
        roles=tuple(_codes((*kinds, *agent.get("role", ())))),
        access_point=str(network.get("address", "")),
        access_point_type=str(network.get("type", "")),
    )


def _object(entity: Any) -> ParticipantObject:
    what = entity.get("what", {})
    details = list(_details(entity))
    kind = what.get("type") or str(what.get("reference", "")).partition("/")[0]
    type_ = str(entity.get("type", {}).get("code", ""))
    role = str(entity.get("role", {}).get("code", ""))
    code = dict(details).get(_ID_TYPE, "")
    if kind == "Patient":
        code = ID_PATIENT
    elif kind == "ImagingStudy":
        code = ID_STUDY_UID
    studies = [
        str(each.get("valueIdentifier", {}).get("value", "")).removeprefix("urn:oid:")
        for each in entity.get("extension", ())
        if str(each.get("url", "")).endswith("ContainsStudy")
    ]
    anonymized = [
        bool(each["valueBoolean"])
        for each in entity.get("extension", ())
        if str(each.get("url", "")).endswith("Anonymized") and "valueBoolean" in each
    ]
    return ParticipantObject(
        id=clipped(_named(what)),
        id_type=id_type_of(code, type_, role),
        type=ObjectType.SYSTEM if type_ != "1" else ObjectType.PERSON,
        role=ObjectRole.PATIENT if role == "1" else ObjectRole.REPORT,
        query=b64decode(entity.get("query", "")),
        details=tuple(
            each
            for each in details
            if each[0] != _ID_TYPE and not each[0].startswith(_INSTANCES)
        ),
        sop_classes=tuple(
            SOPClass(name.removeprefix(_INSTANCES), int(value))
            for name, value in details
            if name.startswith(_INSTANCES)
        ),
        studies=tuple(uid for uid in studies if uid),
        anonymized=anonymized[0] if anonymized else None,
    )


def _details(entity: Any) -> Iterator[tuple[str, str]]:
    for each in entity.get("detail", ()):
        value = each.get("valueString")
        if value is None:
            data = b64decode(each.get("valueBase64Binary", ""))
            value = data.decode("utf-8", "replace")
        yield clipped(str(each["type"])), clipped(str(value))
