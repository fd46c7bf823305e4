"""The events that occur in Leadglass, and which codes they have.

``Events(node)`` builds them; each method names its clause of PS3.15. What concerns
several patients yields one event per patient where the standard asks for it
(§A.5.3.3, §A.5.3.7), long lists several events, so these give tuples.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from functools import lru_cache, partial

from leadglass.audit.codes import (
    ID_NODE,
    ID_PATIENT,
    ID_SOP_CLASS_UID,
    ID_STUDY_UID,
    ID_URI,
    AccessPoint,
    Action,
    EventID,
    EventType,
    ObjectRole,
    ObjectType,
    Outcome,
    Role,
)
from leadglass.audit.events import (
    Event,
    Participant,
    ParticipantObject,
    Returned,
    SOPClass,
)

# Studies named in one query event: 500 of them are about 45 KB of record, below the
# 65,535 bytes that syslog receivers of PS3.15 §A.6 are likely to take whole.
STUDIES_PER_EVENT_MAX = 500

# SOP Instance UIDs in one event, for the same reason.
INSTANCES_PER_EVENT_MAX = 500

_ALERT = "Alert Description"  # ParticipantObjectDetail type of §A.5.3.12


@dataclass(frozen=True, slots=True)
class Node:
    """Ourselves, as a participant.

    Attributes:
        name: The name of the log (its origin), so that a search passes it over.
        ae_title: Our AE title.
        address: IP address or host name that peers reach us by.
    """

    name: str
    ae_title: str = ""
    address: str = ""


@dataclass(frozen=True, slots=True)
class Actor:
    """A party that is not us: device, person, or the destination of a transfer.

    Attributes:
        name: Proven name; in a refusal, what is known instead.
        address: IP address; "" for a command on the node itself.
        ae_title: The title it calls itself.
        certificate: SHA-256 fingerprint of its certificate, hex.
        channel: How it speaks to us: ``TLSv1.3``, ``plaintext``, ``local``.
        kind: ``device``, ``operator`` or ``exception``.
    """

    name: str
    address: str = ""
    ae_title: str = ""
    certificate: str = ""
    channel: str = ""
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Study:
    """A study, or the part of it that an event is about.

    Attributes:
        uid: Study Instance UID.
        patient_id: Patient ID; "" if the study has none.
        patient_name: As in the data set, DICOM's component groups and all.
        sop_classes: Its instances by SOP class.
        accession: Accession Number.
        mpps: SOP Instance UID of the performed procedure step.
    """

    uid: str
    patient_id: str = ""
    patient_name: str = ""
    sop_classes: tuple[SOPClass, ...] = ()
    accession: str = ""
    mpps: str = ""


@dataclass(frozen=True, slots=True)
class Association:
    """What a peer said when it asked for an association.

    Attributes:
        called: Called AE title.
        calling: Calling AE title.
        implementation_uid: Implementation Class UID.
        implementation_version: Implementation Version Name.
    """

    called: str = ""
    calling: str = ""
    implementation_uid: str = ""
    implementation_version: str = ""

    def details(self) -> dict[str, str]:
        """Return what goes to the event's details."""
        return _without_empty(
            {
                "called": self.called,
                "calling": self.calling,
                "implementation_uid": self.implementation_uid,
                "implementation_version": self.implementation_version,
            }
        )


class Service(StrEnum):
    """By which service instances moved or answers were given."""

    C_STORE = "C-STORE"
    C_FIND = "C-FIND"
    C_MOVE = "C-MOVE"
    C_GET = "C-GET"
    IMPORT = "import"
    EXPORT = "export"
    STOW_RS = "STOW-RS"
    QIDO_RS = "QIDO-RS"
    WADO_RS = "WADO-RS"
    WADO_URI = "WADO-URI"
    WEB_APP = "web app"


@dataclass(frozen=True, slots=True)
class Result:
    """How it ended.

    Attributes:
        outcome: Success, or how bad.
        description: Why, for the record; never sent to the peer.
        counts: Numbers to keep, such as succeeded, failed and warned instances.
    """

    outcome: Outcome = Outcome.SUCCESS
    description: str = ""
    counts: Mapping[str, int] | None = None

    def details(self) -> dict[str, str]:
        """Return what goes to the event's details."""
        return {name: str(count) for name, count in (self.counts or {}).items()}


SUCCESS = Result()


@dataclass(frozen=True, slots=True)
class Question:
    """A query as it came.

    Attributes:
        sop_class: UID of the information model.
        data_set: The encoded identifier, or the query part of a URL.
        transfer_syntax: UID of its encoding.
        level: Query/Retrieve Level.
        service: By which service it was asked.
    """

    sop_class: str
    data_set: bytes
    transfer_syntax: str
    level: str = ""
    service: str = Service.C_FIND


@dataclass(frozen=True, slots=True)
class Medium:
    """Where an import came from or an export went to.

    Attributes:
        name: Folder, label or address, as the operator knows it.
        code: A code of PS3.16 CID 405 (``codes.MEDIA_…``).
        is_encrypted: Whether it cannot be read without a key.
        is_anonymized: Whether identities were removed.
    """

    name: str
    code: str = "110037"
    is_encrypted: bool | None = None
    is_anonymized: bool | None = None


@dataclass(frozen=True, slots=True)
class DeviceChange:
    """What became of a device in the register.

    Attributes:
        name: The device.
        certificate: SHA-256 fingerprint of its (new or revoked) certificate.
        reason: Why, where there is a reason to give.
        facts: Rights, networks, scope, serial, expiry: what is worth keeping.
    """

    name: str
    certificate: str = ""
    reason: str = ""
    facts: Mapping[str, str] | None = None


def _without_empty(details: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in details.items() if value}


def _actor_details(actor: Actor) -> dict[str, str]:
    details: dict[str, str] = {}
    if actor.certificate:
        details["certificate"] = actor.certificate
    if actor.channel:
        details["channel"] = actor.channel
    if actor.kind:
        details["kind"] = actor.kind
    return details


@lru_cache(maxsize=1024)  # the same few parties come again and again
def _participant(
    actor: Actor | Node, *roles: Role, is_requestor: bool = False
) -> Participant:
    return Participant(
        user_id=actor.name,
        alternative_id=f"AETITLES={actor.ae_title}" if actor.ae_title else "",
        is_requestor=is_requestor,
        roles=roles,
        access_point=actor.address,
    )


def _study_object(
    study: Study,
    encrypted: bool | None = None,
    anonymized: bool | None = None,
) -> ParticipantObject:
    return ParticipantObject(
        id=study.uid,
        id_type=ID_STUDY_UID,
        type=ObjectType.SYSTEM,
        role=ObjectRole.REPORT,
        sop_classes=study.sop_classes,
        accessions=(study.accession,) if study.accession else (),
        mpps=(study.mpps,) if study.mpps else (),
        encrypted=encrypted,
        anonymized=anonymized,
    )


def _patient_object(study: Study) -> ParticipantObject:
    return ParticipantObject(
        id=study.patient_id,
        id_type=ID_PATIENT,
        type=ObjectType.PERSON,
        role=ObjectRole.PATIENT,
        name=study.patient_name,
    )


def _alert_object(
    id_: str, description: str, facts: Mapping[str, str] | None = None
) -> ParticipantObject:
    """The alert subject of §A.5.3.12."""
    return ParticipantObject(
        id=id_,
        id_type=ID_NODE,
        type=ObjectType.SYSTEM,
        role=ObjectRole.SECURITY_RESOURCE,
        details=((_ALERT, description), *sorted((facts or {}).items())),
    )


def _portions(study: Study) -> Iterator[Study]:
    """Divide a study whose instances are too many to name in one event."""
    named = sum(len(each.instances) for each in study.sop_classes)
    if named <= INSTANCES_PER_EVENT_MAX:
        yield study
        return
    for sop_class in study.sop_classes:
        uids = sop_class.instances
        if not uids:
            yield replace(study, sop_classes=(sop_class,))
        for at in range(0, len(uids), INSTANCES_PER_EVENT_MAX):
            part = uids[at : at + INSTANCES_PER_EVENT_MAX]
            yield replace(
                study, sop_classes=(SOPClass(sop_class.uid, len(part), part),)
            )


def _by_patient(studies: Sequence[Study]) -> Iterator[tuple[Study, ...]]:
    """Group studies into events: one patient and not too many UIDs in each."""
    if len(studies) == 1 and all(len(c.instances) <= 1 for c in studies[0].sop_classes):
        yield (studies[0],)  # an instance came in: nearly every event there is
        return
    groups: dict[tuple[str, str], list[Study]] = {}
    for study in studies:
        for portion in _portions(study):
            key = (portion.patient_id, portion.patient_name)
            groups.setdefault(key, []).append(portion)
    for group in groups.values():
        event: list[Study] = []
        room = INSTANCES_PER_EVENT_MAX
        for portion in group:
            cost = 1 + sum(len(each.instances) for each in portion.sop_classes)
            if event and cost > room:
                yield tuple(event)
                event, room = [], INSTANCES_PER_EVENT_MAX
            event.append(portion)
            room -= cost
        yield tuple(event)


@dataclass(frozen=True, slots=True)
class Events:
    """Builds events in which ``node`` takes part."""

    node: Node

    # ── the program itself ───────────────────────────────────────────────────

    def application_started(self, version: str) -> Event:
        """The node serves from now on (§A.5.3.1)."""
        return self._activity(EventType.APPLICATION_START, {"version": version})

    def application_stopped(self, reason: str) -> Event:
        """The node stops in good order (§A.5.3.1)."""
        return self._activity(EventType.APPLICATION_STOP, {"reason": reason})

    def _activity(self, type_: EventType, details: Mapping[str, str]) -> Event:
        return Event(
            id=EventID.APPLICATION_ACTIVITY,
            action=Action.EXECUTE,
            types=(type_,),
            participants=(_participant(self.node, Role.APPLICATION),),
            details=_without_empty(details),
        )

    def audit_log_used(
        self, actor: Actor, use: str, records: int, patient_id: str = ""
    ) -> Event:
        """Somebody read, proved or exported records (§A.5.3.2).

        Args:
            actor: Who.
            use: What for.
            records: How many were told of.
            patient_id: Whose, if they were asked for as one patient's.
        """
        about = (_patient_object(Study("", patient_id)),) if patient_id else ()
        return Event(
            id=EventID.AUDIT_LOG_USED,
            action=Action.READ,
            participants=(_participant(actor, is_requestor=True),),
            objects=(
                ParticipantObject(
                    id=self.node.name,
                    id_type=ID_URI,
                    type=ObjectType.SYSTEM,
                    role=ObjectRole.SECURITY_RESOURCE,
                    name="Security Audit Log",
                    details=(("use", use), ("records", str(records))),
                ),
                *about,
            ),
            details=_actor_details(actor),
        )

    def local_service(
        self, actor: Actor, service: str, result: Result | None = None
    ) -> Event:
        """A verification or rebuild of the archive begins, or ended with ``result``.

        Security Alert with Local Service Operation Started (110141) or Stopped
        (110142), §A.5.3.12: maintenance that sees everything.
        """
        ended = result or SUCCESS
        is_start = result is None
        return self._alert(
            EventType.LOCAL_SERVICE_STARTED
            if is_start
            else EventType.LOCAL_SERVICE_STOPPED,
            actor,
            _alert_object(self.node.name, service, ended.details()),
            ended,
        )

    # ── who comes to the door ────────────────────────────────────────────────

    def association_accepted(self, actor: Actor, association: Association) -> Event:
        """A peer has proven itself: User Authentication, Login (§A.5.3.13)."""
        return Event(
            id=EventID.USER_AUTHENTICATION,
            action=Action.EXECUTE,
            types=(EventType.LOGIN,),
            participants=(
                _participant(actor, is_requestor=True),
                _participant(self.node),
            ),
            details=_actor_details(actor) | association.details(),
        )

    def association_refused(
        self, actor: Actor, association: Association, reason: str
    ) -> Event:
        """A peer was turned away: Security Alert, Node Authentication (110126).

        ``actor`` holds what was seen: the address, the certificate if one was
        shown; its name is the proven one, or the title that it claimed.
        """
        event = self._alert(
            EventType.NODE_AUTHENTICATION,
            actor,
            _alert_object(self.node.name, reason),
            Result(Outcome.MINOR_FAILURE, reason),
        )
        return replace(event, details={**event.details, **association.details()})

    def knocks(self, address: str, count: int, first: datetime, reason: str) -> Event:
        """Strangers at the port, counted per address and minute, not one by one.

        Security Alert, Node Authentication (110126); its time is the first knock.
        Counting keeps a flood from filling the log.
        """
        event = self._alert(
            EventType.NODE_AUTHENTICATION,
            Actor(name=address, address=address),
            _alert_object(self.node.name, reason, {"count": str(count)}),
            Result(Outcome.MINOR_FAILURE, reason),
        )
        return replace(event, time=first)

    def echo(self, actor: Actor) -> Event:
        """C-ECHO: a peer showed that it is there: Network Entry, Attach (§A.5.3.9)."""
        return Event(
            id=EventID.NETWORK_ENTRY,
            action=Action.EXECUTE,
            types=(EventType.ATTACH,),
            participants=(_participant(actor, is_requestor=True),),
            details={"service": "C-ECHO", **_actor_details(actor)},
        )

    def access_refused(
        self, actor: Actor, function: str, reason: str, studies: Iterable[Study] = ()
    ) -> Event:
        """A known peer asked for what no rule permits: Use of Restricted Function."""
        event = self._alert(
            EventType.USE_OF_RESTRICTED_FUNCTION,
            actor,
            _alert_object(self.node.name, reason, {"function": function}),
            Result(Outcome.MINOR_FAILURE, reason),
        )
        named = tuple(_study_object(study) for study in studies)
        return replace(event, objects=(*event.objects, *named))

    # ── instances move ───────────────────────────────────────────────────────

    def stored(
        self,
        actor: Actor,
        studies: Sequence[Study],
        result: Result = SUCCESS,
        *,
        is_new: bool = True,
        service: str = Service.C_STORE,
    ) -> tuple[Event, ...]:
        """Instances came in from ``actor`` (§A.5.3.7), or did not: see ``result``.

        ``is_new`` is false when all of them were here already, byte for byte.
        """
        participants = (
            _participant(actor, Role.SOURCE, is_requestor=True),
            _participant(self.node, Role.DESTINATION),
        )
        details = {"service": service, **_actor_details(actor), **result.details()}
        return _per_patient(
            partial(
                Event,
                id=EventID.INSTANCES_TRANSFERRED,
                action=Action.CREATE if is_new else Action.READ,
                outcome=result.outcome,
                participants=participants,
                outcome_description=result.description,
                details=details,
            ),
            studies,
        )

    def begin_transferring(
        self,
        actor: Actor,
        studies: Sequence[Study],
        *,
        destination: Actor | None = None,
        service: str = Service.C_MOVE,
        right: str = "",
    ) -> tuple[Event, ...]:
        """Instances are about to leave (§A.5.3.3): recorded before the first byte.

        ``destination`` is the third party of a C-MOVE; without one, ``actor``
        itself receives. ``right`` is the one that let them out.
        """
        return _per_patient(
            partial(
                Event,
                id=EventID.BEGIN_TRANSFERRING,
                action=Action.EXECUTE,
                participants=self._leaving(actor, destination),
                details=_without_empty(
                    {"service": service, "right": right, **_actor_details(actor)}
                ),
            ),
            studies,
        )

    def transferred(
        self,
        actor: Actor,
        studies: Sequence[Study],
        result: Result,
        *,
        destination: Actor | None = None,
        service: str = Service.C_MOVE,
    ) -> tuple[Event, ...]:
        """Instances have left, or some of them (§A.5.3.7).

        ``studies`` hold what was really sent; ``result.counts`` say succeeded,
        failed, warned. A difference from ``begin_transferring`` is a finding.
        """
        details = {"service": service, **_actor_details(actor), **result.details()}
        return _per_patient(
            partial(
                Event,
                id=EventID.INSTANCES_TRANSFERRED,
                action=Action.READ,
                outcome=result.outcome,
                participants=self._leaving(actor, destination),
                outcome_description=result.description,
                details=details,
            ),
            studies,
        )

    def instances_accessed(
        self, actor: Actor, studies: Sequence[Study], action: Action = Action.READ
    ) -> tuple[Event, ...]:
        """Instances were looked at, changed or deleted in part (§A.5.3.6)."""
        return _per_patient(
            partial(
                Event,
                id=EventID.INSTANCES_ACCESSED,
                action=action,
                participants=(_participant(actor, is_requestor=True),),
                details=_actor_details(actor),
            ),
            studies,
        )

    def exported(
        self,
        actor: Actor,
        studies: Sequence[Study],
        medium: Medium,
        result: Result = SUCCESS,
    ) -> tuple[Event, ...]:
        """Instances left to a medium (§A.5.3.4)."""
        return self._media(EventID.EXPORT, actor, studies, medium, result)

    def imported(
        self,
        actor: Actor,
        studies: Sequence[Study],
        medium: Medium,
        result: Result = SUCCESS,
    ) -> tuple[Event, ...]:
        """Instances came from a medium (§A.5.3.5)."""
        return self._media(EventID.IMPORT, actor, studies, medium, result)

    def _media(
        self,
        id_: EventID,
        actor: Actor,
        studies: Sequence[Study],
        medium: Medium,
        result: Result,
    ) -> tuple[Event, ...]:
        is_export = id_ is EventID.EXPORT
        media = Participant(
            user_id=medium.name,
            roles=(Role.DESTINATION_MEDIA if is_export else Role.SOURCE_MEDIA,),
            access_point=medium.name,
            access_point_type=AccessPoint.URI,
            media=medium.code,
        )
        make = partial(
            Event,
            id=id_,
            action=Action.READ if is_export else Action.CREATE,
            outcome=result.outcome,
            participants=(
                _participant(actor, is_requestor=True),
                _participant(self.node, Role.SOURCE if is_export else Role.DESTINATION),
                media,
            ),
            outcome_description=result.description,
            details={**_actor_details(actor), **result.details()},
        )
        return _per_patient(make, studies, medium)

    def _leaving(
        self, actor: Actor, destination: Actor | None
    ) -> tuple[Participant, ...]:
        source = _participant(self.node, Role.SOURCE)
        if destination is None:
            return source, _participant(actor, Role.DESTINATION, is_requestor=True)
        return (
            source,
            _participant(destination, Role.DESTINATION),
            _participant(actor, is_requestor=True),
        )

    # ── questions ────────────────────────────────────────────────────────────

    def query(
        self,
        actor: Actor,
        question: Question,
        returned: Iterable[tuple[str, str]],
        result: Result = SUCCESS,
    ) -> tuple[Event, ...]:
        """A query and whom its answer named (§A.5.3.10).

        Args:
            actor: Who asked.
            question: The query itself; in every one of the events.
            returned: (patient id, study UID or "") of everything that was told.
            result: How it ended; ``counts`` may hold the number of responses.

        Returns:
            One event, or several when more than ``STUDIES_PER_EVENT_MAX`` studies
            were named; details ``part`` and ``parts`` then say which.
        """
        asked = ParticipantObject(
            id=question.sop_class,
            id_type=ID_SOP_CLASS_UID,
            type=ObjectType.SYSTEM,
            role=ObjectRole.REPORT,
            query=question.data_set,
            details=(("TransferSyntax", question.transfer_syntax),),
        )
        # A series or image level answer names its study many times over.
        told = list(dict.fromkeys(returned))
        details = {
            "service": question.service,
            "level": question.level,
            "studies": str(len({study for _, study in told if study})),
            **_actor_details(actor),
            **result.details(),
        }
        parts = [
            told[at : at + STUDIES_PER_EVENT_MAX]
            for at in range(0, len(told), STUDIES_PER_EVENT_MAX)
        ] or [[]]
        event = Event(
            id=EventID.QUERY,
            action=Action.EXECUTE,
            outcome=result.outcome,
            participants=(
                _participant(actor, Role.SOURCE, is_requestor=True),
                _participant(self.node, Role.DESTINATION),
            ),
            objects=(asked,),
            outcome_description=result.description,
            details=_without_empty(details),
        )
        if len(parts) == 1:
            return (replace(event, returned=_grouped(parts[0])),)
        return tuple(
            replace(
                event,
                returned=_grouped(part),
                details={
                    **event.details,
                    "part": str(number),
                    "parts": str(len(parts)),
                },
            )
            for number, part in enumerate(parts, start=1)
        )

    # ── what the archive loses, keeps aside or finds broken ──────────────────

    def study_erased(
        self, actor: Actor, study: Study, reason: str, result: Result = SUCCESS
    ) -> Event:
        """A whole study is deleted, and why (§A.5.3.8)."""
        return Event(
            id=EventID.STUDY_DELETED,
            action=Action.DELETE,
            outcome=result.outcome,
            participants=(_participant(actor, is_requestor=True),),
            objects=(_study_object(study), _patient_object(study)),
            outcome_description=result.description,
            details={"reason": reason, **_actor_details(actor), **result.details()},
        )

    def quarantined(
        self, actor: Actor, study: Study, facts: Mapping[str, str]
    ) -> Event:
        """Other bytes came under a known SOP Instance UID and were kept aside.

        Security Alert, Object Security Attributes Changed (110135). ``facts`` hold
        both digests and from whom each came.
        """
        event = self._alert(
            EventType.OBJECT_SECURITY_ATTRIBUTES_CHANGED,
            actor,
            _alert_object(
                self.node.name, "other bytes under a known SOP Instance UID", facts
            ),
            Result(Outcome.MINOR_FAILURE),
        )
        return self._about(event, study)

    def damage_found(
        self, actor: Actor, study: Study | None, facts: Mapping[str, str]
    ) -> Event:
        """Stored bytes no longer verify: rot, loss or a hand on the disk.

        Security Alert, Object Security Attributes Changed (110135), serious.
        """
        event = self._alert(
            EventType.OBJECT_SECURITY_ATTRIBUTES_CHANGED,
            actor,
            _alert_object(self.node.name, "stored bytes do not verify", facts),
            Result(Outcome.SERIOUS_FAILURE),
        )
        return event if study is None else self._about(event, study)

    @staticmethod
    def _about(event: Event, study: Study) -> Event:
        return replace(
            event,
            objects=(*event.objects, _study_object(study), _patient_object(study)),
        )

    # ── who may come, and what the node is ───────────────────────────────────

    def device_enrolled(self, actor: Actor, change: DeviceChange) -> Event:
        """A device may come from now on: 110137 and, for its rights, 110136."""
        return self._device("device enrolled", actor, change, is_of_rights=True)

    def device_changed(self, actor: Actor, change: DeviceChange) -> Event:
        """Rights, networks or scope of a device changed: 110137 and 110136."""
        return self._device("device changed", actor, change, is_of_rights=True)

    def device_renewed(self, actor: Actor, change: DeviceChange) -> Event:
        """A device has a new certificate: 110137."""
        return self._device("device renewed", actor, change, is_of_rights=False)

    def device_revoked(self, actor: Actor, change: DeviceChange) -> Event:
        """A device may not come any more: 110137 and 110136."""
        return self._device("device revoked", actor, change, is_of_rights=True)

    def _device(
        self, what: str, actor: Actor, change: DeviceChange, *, is_of_rights: bool
    ) -> Event:
        facts = _without_empty(
            {
                **(change.facts or {}),
                "certificate": change.certificate,
                "reason": change.reason,
            }
        )
        event = self._alert(
            EventType.USER_SECURITY_ATTRIBUTES_CHANGED,
            actor,
            _alert_object(change.name, what, facts),
        )
        if is_of_rights:
            event = replace(
                event, types=(*event.types, EventType.SECURITY_ROLES_CHANGED)
            )
        return event

    def rules_changed(self, actor: Actor, facts: Mapping[str, str]) -> Event:
        """Who may do what has changed: Security Roles Changed (110136)."""
        return self._alert(
            EventType.SECURITY_ROLES_CHANGED,
            actor,
            _alert_object(self.node.name, "rules changed", facts),
        )

    def rules_asked(self, actor: Actor, facts: Mapping[str, str]) -> Event:
        """Somebody asked what the rules answer to another: 110132 (§A.5.3.12)."""
        return self._alert(
            EventType.USE_OF_RESTRICTED_FUNCTION,
            actor,
            _alert_object(self.node.name, "rules asked", facts),
        )

    def configuration_changed(self, actor: Actor, facts: Mapping[str, str]) -> Event:
        """Settings changed: Security Configuration (110129)."""
        return self._alert(
            EventType.SECURITY_CONFIGURATION,
            actor,
            _alert_object(self.node.name, "configuration changed", facts),
        )

    def key_rotated(self, actor: Actor, key: str, facts: Mapping[str, str]) -> Event:
        """A key was replaced: Security Configuration (110129)."""
        return self._alert(
            EventType.SECURITY_CONFIGURATION,
            actor,
            _alert_object(self.node.name, f"key rotated: {key}", facts),
        )

    def audit_restarted(self, actor: Actor, reason: str) -> Event:
        """The log goes on from an older state, and somebody says why.

        Security Alert, Audit Recording Started (110134), serious: records after
        that state are gone from this node.
        """
        return self._alert(
            EventType.AUDIT_RECORDING_STARTED,
            actor,
            _alert_object(self.node.name, reason),
            Result(Outcome.SERIOUS_FAILURE, reason),
        )

    def _alert(
        self,
        type_: EventType,
        actor: Actor,
        subject: ParticipantObject,
        result: Result = SUCCESS,
    ) -> Event:
        """Security Alert (§A.5.3.12): ``actor`` caused it, the node reports it."""
        return Event(
            id=EventID.SECURITY_ALERT,
            action=Action.EXECUTE,
            outcome=result.outcome,
            types=(type_,),
            participants=(
                _participant(actor, is_requestor=True),
                _participant(self.node, Role.APPLICATION),
            ),
            objects=(subject,),
            outcome_description=result.description,
            details=_actor_details(actor),
        )


def _per_patient(
    make: Callable[..., Event], studies: Sequence[Study], medium: Medium | None = None
) -> tuple[Event, ...]:
    """Make the events of a transfer: one for each patient, or more."""
    encrypted = medium.is_encrypted if medium else None
    anonymized = medium.is_anonymized if medium else None
    made = tuple(
        make(
            objects=(
                *(_study_object(each, encrypted, anonymized) for each in group),
                _patient_object(group[0]),
            )
        )
        for group in _by_patient(studies)
    )
    # What failed before any study was known is an event all the same.
    return made or (make(),)


def _grouped(told: Iterable[tuple[str, str]]) -> tuple[Returned, ...]:
    """Gather the studies of each patient."""
    patients: dict[str, list[str]] = {}
    for patient_id, study in told:
        studies = patients.setdefault(patient_id, [])
        if study:
            studies.append(study)
    return tuple(
        Returned(patient_id, tuple(studies)) for patient_id, studies in patients.items()
    )
