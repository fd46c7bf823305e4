"""Audit messages as facts: what XML and FHIR say, as an ``Event``, and then as ours.

Codes that are not among those of our events (PS3.16 CID 400 has more, IHE too) give a
fact of the kind ``other`` that says what the message calls itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from typing import Final

from leadglass.assurance.trails.fact import Fact, Kind, Reach
from leadglass.assurance.trails.formats.source import clipped
from leadglass.assurance.trails.own import told
from leadglass.audit.codes import (
    ID_PATIENT,
    ID_STUDY_UID,
    AccessPoint,
    Action,
    EventID,
    ObjectRole,
    ObjectType,
    Outcome,
)
from leadglass.audit.events import Event, Participant, ParticipantObject
from leadglass.errors import BadData

# Of UserIDTypeCode (PS3.16 CID 402 and neighbours), as dcm4chee and others send it.
STATION_AE_TITLE: Final = "110119"
_KINDS_OF_USERS: Final[Mapping[str, str]] = MappingProxyType(
    {STATION_AE_TITLE: "device", "113871": "person"}
)
PARTICIPANTS_MAX: Final = 100
_AE_TITLES: Final = "AETITLES="
# Events about a patient's record, an order or a procedure, where reading one shows
# demographics (PS3.16 CID 400, DICOM supplement 95).
_RECORDS: Final = frozenset({"110109", "110110", "110111", "110108"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One audit message, as another program wrote it.

    Attributes:
        number: Of the message.
        time: When it happened.
        id: EventID.
        meaning: What the message calls it.
        types: EventTypeCode.
        action: EventActionCode; "" is unsaid.
        outcome: EventOutcomeIndicator; "" is unsaid.
        description: EventOutcomeDescription.
        participants: ActiveParticipant.
        user_types: UserIDTypeCode of each of them.
        objects: ParticipantObjectIdentification.
        details: What else it says of the event.
    """

    number: int
    time: datetime
    id: str
    meaning: str = ""
    types: tuple[str, ...] = ()
    action: str = ""
    outcome: str = ""
    description: str = ""
    participants: tuple[Participant, ...] = ()
    user_types: tuple[str, ...] = ()
    objects: tuple[ParticipantObject, ...] = ()
    details: Mapping[str, str] = field(default_factory=dict)


def fact_of_message(message: Message) -> Fact:
    """Return what a message says.

    Raises:
        BadData: It has a code that no message may have.
    """
    is_known = message.id in set(EventID)
    try:
        action = Action(message.action or "E")
        outcome = Outcome(int(message.outcome or 0))
    except ValueError as error:
        raise BadData("an audit message with a code that there is not") from error
    details = dict(message.details)
    requestor = next(
        (at for at, each in enumerate(message.participants) if each.is_requestor), None
    )
    if requestor is not None and "kind" not in details:
        user_type = dict(enumerate(message.user_types)).get(requestor, "")
        if user_type in _KINDS_OF_USERS:
            details["kind"] = _KINDS_OF_USERS[user_type]
    description = message.description or ("" if is_known else message.meaning)
    event = Event(
        id=EventID(message.id) if is_known else EventID.SECURITY_ALERT,
        action=action,
        outcome=outcome,
        types=message.types if is_known else (),
        participants=message.participants,
        objects=message.objects,
        outcome_description=description,
        details=details,
        time=message.time,
    )
    fact = told(event, message.number, own="", trail=1)
    if fact.kind in {Kind.STORE, Kind.GATE, Kind.IMPORT}:
        return replace(fact, destination="")  # the archive that wrote this
    if not is_known and message.id in _RECORDS and action is Action.READ:
        listed = tuple(replace(each, reach=Reach.LISTED) for each in fact.touched)
        return replace(fact, touched=listed)
    return fact


def participant(  # noqa: PLR0913 - a participant has that many members
    user_id: str,
    *,
    alternative: str = "",
    name: str = "",
    user_type: str = "",
    is_requestor: bool = False,
    roles: tuple[str, ...] = (),
    access_point: str = "",
    access_point_type: str = "",
) -> Participant:
    """Return a participant of a message; an AE title is told from a name."""
    if user_type == STATION_AE_TITLE and not alternative.startswith(_AE_TITLES):
        alternative = _AE_TITLES + user_id
    try:
        kind = AccessPoint(int(access_point_type or AccessPoint.IP_ADDRESS))
    except ValueError:
        kind = AccessPoint.IP_ADDRESS
    return Participant(
        user_id=clipped(user_id),
        alternative_id=clipped(alternative),
        name=clipped(name),
        is_requestor=is_requestor,
        roles=roles,
        access_point=clipped(access_point),
        access_point_type=kind,
    )


def id_type_of(code: str, type_: str, role: str) -> str:
    """Return by which code an object is known: some programs say it by role alone."""
    if type_ == str(int(ObjectType.PERSON)) and role == str(int(ObjectRole.PATIENT)):
        return ID_PATIENT
    return {"9": ID_STUDY_UID}.get(code, code)
