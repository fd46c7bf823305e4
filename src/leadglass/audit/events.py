"""Audit events as values, and their canonical JSON (PS3.15 §A.5.1).

The fields are those of the DICOM audit message schema, so that an exporter can write
its XML (§A.5.1.1) from a record without loss; ``Event.decode`` gives back what was
encoded. Members that are empty are left out of the JSON; codes stand without their
meaning (see ``codes``).

Canonical: members sorted by code point, no blanks, UTF-8, no fractions. There is
one encoding of one event, so its hash means something.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from types import MappingProxyType
from typing import Any

from leadglass.audit.codes import (
    ID_PATIENT,
    ID_STUDY_UID,
    AccessPoint,
    Action,
    EventID,
    ObjectRole,
    ObjectType,
    Outcome,
    SourceType,
)
from leadglass.errors import BadData

FORMAT = 1

# One record. The builders divide long lists far below this; a larger one is a bug
# or an attack, and the act it would record is refused.
RECORD_BYTES_MAX = 1 << 20

# One text within a record: names and reasons of honest peers are shorter, and a
# hostile header must not fill the log. PS3.5 §6.2 allows 64 characters in most VRs.
TEXT_CHARACTERS_MAX = 1024
_CUT = "…"

# The data set of a query; the C-FIND identifiers of real viewers have 1 to 4 KiB.
QUERY_BYTES_MAX = 1 << 16

_NO_DETAILS: Mapping[str, str] = MappingProxyType({})

# What a JSON of another shape makes Python raise, whichever member it is.
_NOT_OURS = (ValueError, LookupError, TypeError, AttributeError, RecursionError)

# The pure C encoder, made once: json.dumps would make one for each event.
_ENCODER = json.JSONEncoder(
    ensure_ascii=False,
    check_circular=False,
    allow_nan=False,
    sort_keys=True,
    separators=(",", ":"),
)

# What a search goes by: (kind, value).
Mention = tuple[str, str]


def clip(text: str) -> str:
    """Return ``text``, cut to what one field of a record may hold."""
    if len(text) <= TEXT_CHARACTERS_MAX:
        return text
    return text[: TEXT_CHARACTERS_MAX - 1] + _CUT


def encode(members: Mapping[str, Any]) -> bytes:
    """Return the canonical JSON of a record's members.

    Raises:
        BadData: The record would be longer than ``RECORD_BYTES_MAX``.
    """
    # A lone surrogate has no UTF-8; as an escape it is valid JSON and not lost.
    data = _ENCODER.encode(members).encode("utf-8", "backslashreplace")
    if len(data) > RECORD_BYTES_MAX:
        raise BadData("the audit record of this act would be too long")
    return data


@lru_cache(maxsize=4096)
def mention_key(kind: str, value: str) -> bytes:
    """Return the eight bytes under which a record that mentions this is found.

    Two values may share a key once in 2^64; a search looks at the record itself.
    """
    return sha256(f"{kind}\0{value}".encode("utf-8", "backslashreplace")).digest()[:8]


def _is_unsaid(value: object) -> bool:
    """Tell whether a member is left out; a ``False`` is said."""
    return not value and value is not False


@dataclass(frozen=True, slots=True)
class Code:
    """A code of another scheme than DCM, such as a purpose of use."""

    value: str
    scheme: str
    meaning: str

    def members(self) -> list[str]:
        """Return what the record holds."""
        return [self.value, self.scheme, self.meaning]


@dataclass(frozen=True, slots=True)
class AuditSource:
    """AuditSourceIdentification: who writes the record.

    Attributes:
        id: AuditSourceID, the name of the log.
        site: AuditEnterpriseSiteID.
        types: AuditSourceTypeCode.
    """

    id: str
    site: str = ""
    types: tuple[SourceType, ...] = (SourceType.APPLICATION_SERVER,)

    def members(self) -> dict[str, Any]:
        """Return what the record holds."""
        members: dict[str, Any] = {"id": self.id, "types": [int(t) for t in self.types]}
        if self.site:
            members["site"] = self.site
        return members

    @classmethod
    def of(cls, members: Mapping[str, Any]) -> "AuditSource":
        """Return the value that ``members`` came from."""
        types = tuple(SourceType(each) for each in members["types"])
        return cls(members["id"], members.get("site", ""), types)


@dataclass(frozen=True, slots=True)
class Participant:
    """ActiveParticipant: a person or process that took part.

    Attributes:
        user_id: UserID: the proven name of a device or person, or the claimed one
            in a refusal.
        alternative_id: AlternativeUserID, ``AETITLES=…`` (§A.5.2.2).
        name: UserName.
        is_requestor: UserIsRequestor.
        roles: RoleIDCode, codes of DCM.
        access_point: NetworkAccessPointID.
        access_point_type: NetworkAccessPointTypeCode.
        media: MediaIdentifier, a code of DCM.
    """

    user_id: str
    alternative_id: str = ""
    name: str = ""
    is_requestor: bool = False
    roles: tuple[str, ...] = ()
    access_point: str = ""
    access_point_type: AccessPoint = AccessPoint.IP_ADDRESS
    media: str = ""

    def members(self) -> dict[str, Any]:
        """Return what the record holds."""
        members: dict[str, Any] = {"user": clip(self.user_id)}
        if self.alternative_id:
            members["alternative"] = clip(self.alternative_id)
        if self.name:
            members["name"] = clip(self.name)
        if self.is_requestor:
            members["requestor"] = True
        if self.roles:
            members["roles"] = self.roles
        if self.access_point:
            members["at"] = clip(self.access_point)
            members["at_type"] = int(self.access_point_type)
        if self.media:
            members["media"] = self.media
        return members

    @classmethod
    def of(cls, members: Mapping[str, Any]) -> "Participant":
        """Return the value that ``members`` came from."""
        return cls(
            user_id=members["user"],
            alternative_id=members.get("alternative", ""),
            name=members.get("name", ""),
            is_requestor=members.get("requestor", False),
            roles=tuple(members.get("roles", ())),
            access_point=members.get("at", ""),
            access_point_type=AccessPoint(members.get("at_type", 2)),
            media=members.get("media", ""),
        )


@dataclass(frozen=True, slots=True)
class SOPClass:
    """ParticipantObjectDescription/SOPClass: instances of one class in a study.

    Attributes:
        uid: SOP Class UID.
        count: NumberOfInstances.
        instances: SOP Instance UIDs, all or none of them.
    """

    uid: str
    count: int
    instances: tuple[str, ...] = ()

    def members(self) -> list[Any]:
        """Return what the record holds."""
        return [self.uid, self.count, *self.instances]

    @classmethod
    def of(cls, members: list[Any]) -> "SOPClass":
        """Return the value that ``members`` came from."""
        return cls(members[0], members[1], tuple(members[2:]))


@dataclass(frozen=True, slots=True)
class ParticipantObject:
    """ParticipantObjectIdentification: what it was done to.

    Attributes:
        id: ParticipantObjectID.
        id_type: ParticipantObjectIDTypeCode (see ``codes``).
        type: ParticipantObjectTypeCode.
        role: ParticipantObjectTypeCodeRole.
        life_cycle: ParticipantObjectDataLifeCycle, 1 to 15; 0 is unsaid.
        sensitivity: ParticipantObjectSensitivity.
        name: ParticipantObjectName.
        query: ParticipantObjectQuery; base64 in the record.
        details: ParticipantObjectDetail, (type, value), in order.
        sop_classes: ParticipantObjectDescription/SOPClass.
        accessions: ParticipantObjectDescription/Accession.
        mpps: ParticipantObjectDescription/MPPS, UIDs.
        studies: ParticipantObjectContainsStudy/StudyIDs.
        encrypted: ParticipantObjectDescription/Encrypted; None is unsaid.
        anonymized: ParticipantObjectDescription/Anonymized; None is unsaid.
    """

    id: str
    id_type: str
    type: ObjectType
    role: ObjectRole
    life_cycle: int = 0
    sensitivity: str = ""
    name: str = ""
    query: bytes = b""
    details: tuple[tuple[str, str], ...] = ()
    sop_classes: tuple[SOPClass, ...] = ()
    accessions: tuple[str, ...] = ()
    mpps: tuple[str, ...] = ()
    studies: tuple[str, ...] = ()
    encrypted: bool | None = None
    anonymized: bool | None = None

    def members(self) -> dict[str, Any]:
        """Return what the record holds."""
        members: dict[str, Any] = {
            "id": clip(self.id),
            "id_type": self.id_type,
            "role": int(self.role),
            "type": int(self.type),
        }
        if self.name:
            members["name"] = clip(self.name)
        if self.sop_classes:
            members["sop_classes"] = [each.members() for each in self.sop_classes]
        if self.accessions:
            members["accessions"] = [clip(each) for each in self.accessions]
        if self.details:
            members["details"] = [(kind, clip(value)) for kind, value in self.details]
        if self.query:
            members["query"] = b64encode(self.query[:QUERY_BYTES_MAX]).decode("ascii")
        members.update(
            {name: value for name, value in self._rare() if not _is_unsaid(value)}
        )
        return members

    def _rare(self) -> tuple[tuple[str, Any], ...]:
        return (
            ("life_cycle", self.life_cycle),
            ("sensitivity", self.sensitivity),
            ("mpps", self.mpps),
            ("studies", self.studies),
            ("encrypted", self.encrypted),
            ("anonymized", self.anonymized),
        )

    @classmethod
    def of(cls, members: Mapping[str, Any]) -> "ParticipantObject":
        """Return the value that ``members`` came from."""
        return cls(
            id=members["id"],
            id_type=members["id_type"],
            type=ObjectType(members["type"]),
            role=ObjectRole(members["role"]),
            life_cycle=members.get("life_cycle", 0),
            sensitivity=members.get("sensitivity", ""),
            name=members.get("name", ""),
            query=b64decode(members.get("query", "")),
            details=tuple((kind, value) for kind, value in members.get("details", ())),
            sop_classes=tuple(map(SOPClass.of, members.get("sop_classes", ()))),
            accessions=tuple(members.get("accessions", ())),
            mpps=tuple(members.get("mpps", ())),
            studies=tuple(members.get("studies", ())),
            encrypted=members.get("encrypted"),
            anonymized=members.get("anonymized"),
        )


@dataclass(frozen=True, slots=True)
class Returned:
    """What an answer told about one patient: compact, because answers are long.

    An exporter writes a patient object that contains these studies.
    """

    patient_id: str
    studies: tuple[str, ...] = ()

    def members(self) -> list[str]:
        """Return what the record holds."""
        return [clip(self.patient_id), *self.studies]

    @classmethod
    def of(cls, members: list[str]) -> "Returned":
        """Return the value that ``members`` came from."""
        return cls(members[0], tuple(members[1:]))


@dataclass(frozen=True, slots=True)
class Event:
    """One audit message; ``builders`` makes those that occur here.

    Attributes:
        id: EventID.
        action: EventActionCode.
        outcome: EventOutcomeIndicator.
        types: EventTypeCode.
        participants: ActiveParticipant.
        objects: ParticipantObjectIdentification.
        purposes: PurposeOfUse.
        outcome_description: EventOutcomeDescription.
        returned: Patients and studies that a query gave away.
        details: What else is known: certificate, channel, service, counts. An
            exporter writes them as details of an object that is this node.
        time: EventDateTime when it is not the moment of recording; with a zone.
    """

    id: EventID
    action: Action
    outcome: Outcome = Outcome.SUCCESS
    types: tuple[str, ...] = ()
    participants: tuple[Participant, ...] = ()
    objects: tuple[ParticipantObject, ...] = ()
    purposes: tuple[Code, ...] = ()
    outcome_description: str = ""
    returned: tuple[Returned, ...] = ()
    details: Mapping[str, str] = field(default_factory=lambda: _NO_DETAILS)
    time: datetime | None = None

    def __post_init__(self) -> None:
        if self.time is not None and self.time.tzinfo is None:
            raise BadData("the time of an audit event needs its zone")

    def members(self, source: Mapping[str, Any], time_us: int) -> dict[str, Any]:
        """Return the members of the record.

        Args:
            source: Members of the ``AuditSource``.
            time_us: Microseconds since 1970 UTC, unless the event has its own time.
        """
        if self.time is not None:
            time_us = to_us(self.time)
        members: dict[str, Any] = {
            "action": str(self.action),
            "format": FORMAT,
            "id": str(self.id),
            "outcome": int(self.outcome),
            "participants": [each.members() for each in self.participants],
            "source": source,
            "time_us": time_us,
        }
        if self.types:
            members["types"] = self.types
        if self.objects:
            members["objects"] = [each.members() for each in self.objects]
        if self.details:
            members["details"] = {
                name: clip(value) for name, value in self.details.items()
            }
        if self.outcome_description:
            members["outcome_description"] = clip(self.outcome_description)
        if self.returned:
            members["returned"] = [each.members() for each in self.returned]
        if self.purposes:
            members["purposes"] = [each.members() for each in self.purposes]
        return members

    @classmethod
    def decode(cls, record: bytes) -> tuple["Event", AuditSource]:
        """Return the event of a record, with its time, and who wrote it.

        Raises:
            BadData: It is not a record of this format.
        """
        try:
            members = json.loads(record)
            if members["format"] != FORMAT:
                raise BadData("an audit record of another format")
            return cls._of(members), AuditSource.of(members["source"])
        except _NOT_OURS as error:
            raise BadData("not an audit record") from error

    @classmethod
    def _of(cls, members: Mapping[str, Any]) -> "Event":
        return cls(
            id=EventID(members["id"]),
            action=Action(members["action"]),
            outcome=Outcome(members["outcome"]),
            types=tuple(members.get("types", ())),
            participants=tuple(map(Participant.of, members["participants"])),
            objects=tuple(map(ParticipantObject.of, members.get("objects", ()))),
            purposes=tuple(Code(*each) for each in members.get("purposes", ())),
            outcome_description=members.get("outcome_description", ""),
            returned=tuple(map(Returned.of, members.get("returned", ()))),
            details=members.get("details", _NO_DETAILS),
            time=from_us(members["time_us"]),
        )

    def mentions(self, own: str) -> Iterator[Mention]:
        """Yield what a search for this event may go by, possibly twice.

        Args:
            own: Name of the node that records; in every event, so of no use.
        """
        yield "event", self.id
        for participant in self.participants:
            if participant.user_id != own:
                yield "user", clip(participant.user_id)
                if participant.access_point:
                    yield "address", clip(participant.access_point)
        for each in self.objects:
            if each.id_type == ID_PATIENT:
                yield "patient", clip(each.id)
            elif each.id_type == ID_STUDY_UID:
                yield "study", clip(each.id)
            for study in each.studies:
                yield "study", study
        for told in self.returned:
            yield "patient", clip(told.patient_id)
            for study in told.studies:
                yield "study", study


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_us(time: datetime) -> int:
    """Return microseconds since 1970 UTC, exactly."""
    since = time - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def from_us(time_us: int) -> datetime:
    """Return the moment, in UTC."""
    seconds, us = divmod(time_us, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=us)
