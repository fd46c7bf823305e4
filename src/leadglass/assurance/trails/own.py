"""Our own record as facts; what a foreign audit message says is told the same way.

Each event of ``audit`` has one line in a table here, by its event id and, for alerts,
by its type and by how it ended. A record that was erased or cannot be read is a fact
all the same: that something happened then is known.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

from leadglass.access.policy import Kind as SubjectKind
from leadglass.access.rights import Right
from leadglass.assurance.trails.fact import OWN, Ending, Fact, Kind, Reach, Touched
from leadglass.assurance.trails.keys import keys_of
from leadglass.audit.builders import Service
from leadglass.audit.codes import (
    ID_NODE,
    ID_PATIENT,
    ID_SOP_CLASS_UID,
    ID_STUDY_UID,
    AccessPoint,
    Action,
    EventID,
    EventType,
    ObjectType,
    Outcome,
    Role,
)
from leadglass.audit.events import Event, Participant
from leadglass.audit.search import Record
from leadglass.errors import BadData

ERASED: Final = "personal data erased"
UNREADABLE: Final = "record cannot be read"

_ALERT: Final = "Alert Description"
_AE_TITLES: Final = "AETITLES="
_WHO_KINDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        SubjectKind.DEVICE: "device",
        SubjectKind.EXCEPTION: "device",
        SubjectKind.SERVICE: "program",
    }
)
_LEFT_TO_VIEW: Final = frozenset({Right.GET, Right.MOVE, Right.EXPORT})
_RIGHTS_OF_SERVICES: Final[Mapping[str, str]] = MappingProxyType(
    {
        Service.C_GET: Right.GET,
        Service.C_MOVE: Right.MOVE,
        Service.EXPORT: Right.EXPORT,
    }
)
# Details of an event that have a field of their own in a fact.
_HAVE_FIELDS: Final = frozenset(
    {
        "certificate",
        "channel",
        "kind",
        "called",
        "calling",
        "implementation_uid",
        "implementation_version",
        "service",
    }
)
_BYTES: Final = frozenset({"bytes", "octets"})


def fact_of(record: Record, own: str) -> Fact:
    """Return what a record of our log says.

    Args:
        record: The record; one that is erased or was tampered with says only when.
        own: Name of the log.
    """
    if not record.data:
        return Fact(number=record.n, time=record.time, kind=Kind.OTHER, what=ERASED)
    try:
        return told(record.event, record.n, own)
    except BadData:
        return Fact(
            number=record.n,
            time=record.time,
            kind=Kind.OTHER,
            ending=Ending.MINOR_FAILURE,
            what=UNREADABLE,
        )


def told(event: Event, number: int, own: str, trail: int = OWN) -> Fact:
    """Return what an audit event says.

    Args:
        event: The event; it has its time.
        number: Of the message.
        own: Who wrote it: as a participant it is not somebody else.
        trail: Which trail it is of.
    """
    said = _Said.of(event, own)
    kind = _KINDS[event.id](said)
    service = event.details.get("service", "")
    return Fact(
        number=number,
        trail=trail,
        time=event.time or datetime.fromtimestamp(0, UTC),
        kind=kind,
        ending=Ending(int(event.outcome)),
        who="" if said.who is None else said.who.user_id,
        who_kind=_who_kind(event, said),
        ae_title=said.ae_title,
        called=event.details.get("called", ""),
        address=said.address,
        certificate=event.details.get("certificate", ""),
        implementation=event.details.get("implementation_version", "")
        or event.details.get("implementation_uid", ""),
        channel=event.details.get("channel", ""),
        service=service,
        destination=_destination(event, said),
        what=_what(event, said),
        returned=_returned(event, kind),
        instances=sum(each.count for one in event.objects for each in one.sop_classes),
        octets=next((_count(event.details.get(name)) for name in sorted(_BYTES)), 0),
        touched=_touched(event, kind, said),
        details=_details(event, said),
    )


@dataclass(frozen=True, slots=True)
class _Said:
    """An event, with what several questions about it need."""

    event: Event
    own: str
    who: Participant | None
    facts: Mapping[str, str]

    @classmethod
    def of(cls, event: Event, own: str) -> "_Said":
        facts = {
            kind: value
            for one in event.objects
            if one.id_type not in {ID_PATIENT, ID_STUDY_UID, ID_SOP_CLASS_UID}
            for kind, value in one.details
        }
        who = next((each for each in event.participants if each.is_requestor), None)
        if who is not None and who.user_id == own and not _is_alone(event):
            who = None
        return cls(event, own, who, facts)

    @property
    def alert(self) -> str:
        return self.facts.get(_ALERT, "")

    @property
    def ae_title(self) -> str:
        if self.who is None:
            return ""
        title = self.who.alternative_id
        return title.removeprefix(_AE_TITLES) if title.startswith(_AE_TITLES) else ""

    @property
    def address(self) -> str:
        who = self.who
        if who is None or who.access_point_type not in {
            AccessPoint.IP_ADDRESS,
            AccessPoint.MACHINE_NAME,
        }:
            return ""
        return who.access_point


def _is_alone(event: Event) -> bool:
    """Tell whether a node did something on its own."""
    return len(event.participants) == 1


# ── what was done ────────────────────────────────────────────────────────────


def _activity(said: _Said) -> Kind:
    types = set(said.event.types)
    if EventType.APPLICATION_START in types:
        return Kind.START
    return Kind.STOP if EventType.APPLICATION_STOP in types else Kind.OTHER


def _began(said: _Said) -> Kind:
    service = said.event.details.get("service", "")
    right = said.event.details.get("right") or _RIGHTS_OF_SERVICES.get(service, "")
    # A message of another program names neither: it is a retrieve.
    is_view = bool(right or service) and right not in _LEFT_TO_VIEW
    return Kind.VIEW if is_view else Kind.RETRIEVE


def _accessed(said: _Said) -> Kind:
    return _ACCESSED[said.event.action]


_ACCESSED: Final[Mapping[Action, Kind]] = MappingProxyType(
    {
        Action.CREATE: Kind.STORE,
        Action.READ: Kind.VIEW,
        Action.UPDATE: Kind.CHANGE,
        Action.DELETE: Kind.DELETE,
        Action.EXECUTE: Kind.VIEW,
    }
)


def _moved(said: _Said) -> Kind:
    """Tell what came in from what left: the source is who asked, or it is the node."""
    if said.who is None or Role.SOURCE not in said.who.roles:
        return Kind.TRANSFERRED
    return Kind.STORE if said.event.outcome is Outcome.SUCCESS else Kind.GATE


def _network(said: _Said) -> Kind:
    return Kind.ECHO if said.event.details.get("service") == "C-ECHO" else Kind.OTHER


def _authenticated(said: _Said) -> Kind:
    event = said.event
    if EventType.LOGOUT in event.types:
        return Kind.LOGOUT
    is_device = (
        _WHO_KINDS.get(event.details.get("kind", "")) == "device"
        or EventType.NODE_AUTHENTICATION in event.types
        or any(each.alternative_id for each in event.participants)
    )
    return Kind.ASSOCIATE if is_device else Kind.LOGIN


def _alerted(said: _Said) -> Kind:
    return next(
        (_ALERTS[each](said) for each in said.event.types if each in _ALERTS),
        Kind.OTHER,
    )


def _restricted(said: _Said) -> Kind:
    """Tell what a "restricted function" was; 110132 stands for much."""
    if "verdict" in said.facts:
        return Kind.GLASS_REVIEWED
    if "function" in said.facts or said.event.outcome is not Outcome.SUCCESS:
        return Kind.REFUSED
    is_order = said.alert.startswith(_ORDERS)
    return Kind.CHANGE if is_order else Kind.OTHER


# How what changes begins: what became of the record itself (``audit.orders``), and of
# decoys (``audit.reviewing``).
_ORDERS: Final = (
    "review decoy ",
    "order ",
    "legal hold ",
    "erasure ",
    "audit records ",
    "personal data ",
)


def _object(said: _Said) -> Kind:
    return _OBJECTS[said.event.outcome]


_OBJECTS: Final[Mapping[Outcome, Kind]] = MappingProxyType(
    {
        Outcome.SUCCESS: Kind.CHANGE,  # of a list, which is no image
        Outcome.MINOR_FAILURE: Kind.CONFLICT,
        Outcome.SERIOUS_FAILURE: Kind.DAMAGE,
        Outcome.MAJOR_FAILURE: Kind.DAMAGE,
    }
)

_Telling = Callable[[_Said], Kind]


def _always(kind: Kind) -> _Telling:
    return lambda _said: kind


_ALERTS: Final[Mapping[str, _Telling]] = MappingProxyType(
    {
        EventType.NODE_AUTHENTICATION: _always(Kind.ASSOCIATE),
        EventType.EMERGENCY_OVERRIDE_STARTED: _always(Kind.GLASS_BROKEN),
        EventType.EMERGENCY_OVERRIDE_STOPPED: _always(Kind.GLASS_OVER),
        EventType.NETWORK_CONFIGURATION: _always(Kind.CHANGE),
        EventType.SECURITY_CONFIGURATION: _always(Kind.CHANGE),
        EventType.HARDWARE_CONFIGURATION: _always(Kind.CHANGE),
        EventType.SOFTWARE_CONFIGURATION: _always(Kind.CHANGE),
        EventType.USE_OF_RESTRICTED_FUNCTION: _restricted,
        EventType.AUDIT_RECORDING_STOPPED: _always(Kind.AUDIT_STOPPED),
        EventType.AUDIT_RECORDING_STARTED: _always(Kind.AUDIT_STARTED),
        EventType.OBJECT_SECURITY_ATTRIBUTES_CHANGED: _object,
        EventType.SECURITY_ROLES_CHANGED: _always(Kind.CHANGE),
        EventType.USER_SECURITY_ATTRIBUTES_CHANGED: _always(Kind.CHANGE),
    }
)
_KINDS: Final[Mapping[EventID, _Telling]] = MappingProxyType(
    {
        EventID.APPLICATION_ACTIVITY: _activity,
        EventID.AUDIT_LOG_USED: _always(Kind.AUDIT_READ),
        EventID.BEGIN_TRANSFERRING: _began,
        EventID.INSTANCES_ACCESSED: _accessed,
        EventID.INSTANCES_TRANSFERRED: _moved,
        EventID.STUDY_DELETED: _always(Kind.DELETE),
        EventID.EXPORT: _always(Kind.EXPORT),
        EventID.IMPORT: _always(Kind.IMPORT),
        EventID.NETWORK_ENTRY: _network,
        EventID.QUERY: _always(Kind.QUERY),
        EventID.SECURITY_ALERT: _alerted,
        EventID.USER_AUTHENTICATION: _authenticated,
    }
)

# ── by whom, to whom ─────────────────────────────────────────────────────────


def _who_kind(event: Event, said: _Said) -> str:
    """Return what somebody is: an operator at a distance is a person."""
    kind = event.details.get("kind", "")
    if kind == SubjectKind.OPERATOR:
        return "person" if said.address else "operator"
    return _WHO_KINDS.get(kind, kind if kind in {"person", "program"} else "")


def _destination(event: Event, said: _Said) -> str:
    """Return who received, if it is neither who asked nor who wrote the message."""
    if event.id is EventID.QUERY:
        return ""
    receiving = {Role.DESTINATION, Role.DESTINATION_MEDIA}
    return next(
        (
            each.alternative_id.removeprefix(_AE_TITLES)
            if each.alternative_id.startswith(_AE_TITLES)
            else each.user_id
            for each in event.participants
            if each is not said.who
            and each.user_id != said.own
            and receiving & set(each.roles)
        ),
        "",
    )


# ── what about ───────────────────────────────────────────────────────────────

_REACHES: Final[Mapping[Kind, Reach]] = MappingProxyType(
    {
        Kind.QUERY: Reach.LISTED,
        Kind.VIEW: Reach.IMAGES,
        Kind.RETRIEVE: Reach.IMAGES,
        Kind.TRANSFERRED: Reach.IMAGES,
        Kind.EXPORT: Reach.IMAGES,
    }
)


def _touched(event: Event, kind: Kind, said: _Said) -> tuple[Touched, ...]:
    """Return the patients of an event, each once, with their studies."""
    reach = _REACHES.get(kind, Reach.NONE)
    if kind is Kind.OTHER and "name" in said.facts and event.objects[1:]:
        reach = Reach.LISTED  # a list of patients was read
    patients: dict[str, dict[str, None]] = {}
    named = [each.id for each in event.objects if each.id_type == ID_STUDY_UID]
    owners = [each for each in event.objects if each.id_type == ID_PATIENT]
    for owner in owners:
        studies = patients.setdefault(owner.id, {})
        studies.update(dict.fromkeys(owner.studies))
    # An event about instances is about one patient (PS3.15 §A.5.3.3, §A.5.3.7).
    patient = owners[0].id if owners else ""
    if len({each.id for each in owners}) <= 1 and (named or owners):
        patients.setdefault(patient, {}).update(dict.fromkeys(u for u in named if u))
    elif any(named):
        patients.setdefault("", {}).update(dict.fromkeys(u for u in named if u))
    for each in event.returned:
        patients.setdefault(each.patient_id, {}).update(dict.fromkeys(each.studies))
    return tuple(
        Touched(patient, reach, tuple(studies))
        for patient, studies in patients.items()
        if patient or studies
    )


def _returned(event: Event, kind: Kind) -> int:
    """Return how many matches an answer had: as told, or as patients and studies."""
    if kind is not Kind.QUERY:
        return 0
    for name in ("responses", "matches", "returned"):
        if name in event.details:
            return _count(event.details[name])
    told_of = [*((len(each.studies) or 1) for each in event.returned)]
    told_of += [
        len(each.studies) or 1 for each in event.objects if each.id_type == ID_PATIENT
    ]
    return sum(told_of)


def _count(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdecimal() else 0


def _what(event: Event, said: _Said) -> str:
    """Return which variety it was: why it failed, or what was changed or read."""
    return (
        event.outcome_description
        or said.alert
        or said.facts.get("use", "")
        or event.details.get("reason", "")
    )


def _details(event: Event, said: _Said) -> dict[str, str]:
    found = {
        name: value for name, value in said.facts.items() if name not in {_ALERT, "use"}
    }
    found |= {
        name: value for name, value in event.details.items() if name not in _HAVE_FIELDS
    }
    if event.id is EventID.QUERY:
        found |= {"keys": keys_of(event.objects)}
    if event.id is EventID.SECURITY_ALERT:
        found |= _alert_details(event, said)
    if event.id is EventID.EXPORT:
        known = {one.anonymized for one in event.objects} - {None}
        found |= {"anonymized": str(known.pop())} if len(known) == 1 else {}
    method = event.details.get("factor")
    if event.id is EventID.USER_AUTHENTICATION and method:
        found["method"] = method
    return found


def _alert_details(event: Event, said: _Said) -> dict[str, str]:
    """Return whom or what an alert was about, in the words that rules know."""
    found: dict[str, str] = {}
    if EventType.EMERGENCY_OVERRIDE_STARTED in event.types or (
        "person" in said.facts and "number" in said.facts
    ):
        found["glass"] = said.facts.get("number", "")
    if "function" in said.facts:
        found["right"] = said.facts["function"]
    for each in event.objects:
        if each.id_type == ID_NODE and each.id != said.own:
            found["user" if each.type is ObjectType.PERSON else "device"] = each.id
    return found
