"""Who saw a patient: what the audit record says of one, as people ask for it.

What came in is not among it: who sent an image has not seen it by that. What left is
told by what was recorded *before* the first byte, so that an act that was cut off is
told as well; how much really left stands in the record that follows it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from leadglass.access.rights import Right
from leadglass.archive.caller import Caller
from leadglass.archive.emergency import (
    DURATION_MAX,
    PATIENT_ID_CHARACTERS_MAX,
    Emergency,
)
from leadglass.archive.parts import Parts
from leadglass.audit.builders import Service
from leadglass.audit.codes import ID_STUDY_UID, EventID, EventType, Outcome, Role
from leadglass.audit.events import Event, Participant
from leadglass.audit.search import Record, Search
from leadglass.errors import BadData

# Shown at once: what a printer takes, and a browser lays out without a pause.
TOGETHER_MAX: Final = 500
# Emergencies of one patient within the hours before what is shown.
_GLASSES_MAX: Final = 100
# Between the clock that began an emergency and the one that recorded it.
_CLOCKS_APART: Final = timedelta(seconds=5)


class Act(StrEnum):
    """What somebody did."""

    FOUND = "found"  # was in the answer of a query
    VIEWED = "viewed"
    RETRIEVED = "retrieved"
    EXPORT_BEGUN = "export begun"
    EXPORTED = "exported"
    ERASED = "erased"
    LISTED = "listed"  # was on a list that was read
    GLASS_BROKEN = "glass broken"
    GLASS_OVER = "glass over"
    GLASS_REVIEWED = "glass reviewed"
    HISTORY_READ = "history read"
    UNREADABLE = "unreadable"  # the record was tampered with


_ACTS: Final[Mapping[EventID, Act]] = MappingProxyType(
    {
        EventID.QUERY: Act.FOUND,
        EventID.INSTANCES_ACCESSED: Act.VIEWED,
        EventID.BEGIN_TRANSFERRING: Act.RETRIEVED,
        EventID.EXPORT: Act.EXPORTED,
        EventID.STUDY_DELETED: Act.ERASED,
        EventID.AUDIT_LOG_USED: Act.HISTORY_READ,
    }
)
_ALERTS: Final[Mapping[str, Act]] = MappingProxyType(
    {
        EventType.EMERGENCY_OVERRIDE_STARTED: Act.GLASS_BROKEN,
        EventType.EMERGENCY_OVERRIDE_STOPPED: Act.GLASS_OVER,
        EventType.USE_OF_RESTRICTED_FUNCTION: Act.LISTED,
    }
)
_EVENTS: Final = frozenset({*_ACTS, EventID.SECURITY_ALERT})
# What stands in no record of its own: a query needs this right and no other.
_RIGHTS: Final[Mapping[Act, Right]] = MappingProxyType(
    {
        Act.FOUND: Right.FIND,
        Act.EXPORTED: Right.EXPORT,
        Act.ERASED: Right.ERASE,
        Act.GLASS_BROKEN: Right.BREAK_GLASS,
        Act.GLASS_REVIEWED: Right.REVIEW,
        Act.HISTORY_READ: Right.AUDIT,
    }
)
# By which right instances leave, where a record of an older version does not say it.
_RIGHTS_OF_SERVICES: Final[Mapping[str, Right]] = MappingProxyType(
    {
        Service.C_GET: Right.GET,
        Service.C_MOVE: Right.MOVE,
        Service.EXPORT: Right.EXPORT,
    }
)
# What gives away what a patient has; for these broken glass is told.
_SEEING: Final = frozenset({Act.FOUND, Act.VIEWED, Act.RETRIEVED})


@dataclass(frozen=True, slots=True)
class StudyPart:
    """What of a study somebody reached.

    Attributes:
        uid: Study Instance UID.
        accession: Accession Number, where the record has it.
        instances: How many images and other instances; 0 for a query.
    """

    uid: str
    accession: str
    instances: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """One line of the history.

    Attributes:
        number: Of the record.
        time: When it was recorded, UTC.
        act: What was done.
        who: Name of the person, device or program.
        kind: Which of these it is.
        address: Where from.
        ae_title: The title that it called itself.
        service: By which service.
        right: By which right; None: the record does not say.
        studies: What exactly.
        destination: Where it went, if not to who asked.
        outcome: How it ended.
        facts: Reason, end, verdict and note of broken glass.
        glass: Number of the emergency that stood for this person then.
    """

    number: int
    time: datetime
    act: Act
    who: str = ""
    kind: str = ""
    address: str = ""
    ae_title: str = ""
    service: str = ""
    right: Right | None = None
    studies: tuple[StudyPart, ...] = field(default=(), repr=False)
    destination: str = ""
    outcome: Outcome = Outcome.SUCCESS
    facts: Mapping[str, str] = field(default_factory=dict, repr=False)
    glass: int | None = None


@dataclass(slots=True)
class Seer:
    """Somebody, and how often.

    Attributes:
        who: The name.
        kind: Person, device or program.
        first: The oldest of what is counted.
        last: The newest.
        acts: How often each.
        studies: How many different ones.
        had_glass: Whether some of it was with broken glass.
    """

    who: str
    kind: str
    first: datetime
    last: datetime
    acts: dict[Act, int] = field(default_factory=dict)
    studies: int = 0
    had_glass: bool = False


@dataclass(frozen=True, slots=True)
class History:
    """A part of the history of a patient, the newest first.

    Attributes:
        patient_id: Whose.
        accesses: The lines.
        seers: Who is in them, the last first.
        after: Where the next part goes on; None: there is no more.
    """

    patient_id: str = field(repr=False)
    accesses: tuple[Access, ...]
    seers: tuple[Seer, ...]
    after: int | None


@dataclass(frozen=True, slots=True)
class Span:
    """Which part is asked for.

    Attributes:
        since: Recorded at or after; with a zone.
        until: Recorded before; with a zone.
        after: Only records with lower numbers.
    """

    since: datetime | None = None
    until: datetime | None = None
    after: int | None = None


EVERYTHING: Final = Span()


@dataclass(frozen=True, slots=True)
class _Glass:
    number: int
    person: str
    since: datetime
    until: datetime

    def stood(self, access: Access) -> bool:
        return access.who == self.person and self.since <= access.time <= self.until


@dataclass(frozen=True, slots=True)
class Histories:
    """The use case."""

    parts: Parts

    def __call__(
        self, caller: Caller, patient_id: str, span: Span = EVERYTHING
    ) -> History:
        """Return who saw a patient; that it was asked is recorded, with the patient.

        Its cost grows with what is recorded of this patient, up to a bound, and not
        with the archive (``audit.search.look``).

        Raises:
            Refused: ``caller`` may not.
            BadData: That is no Patient ID.
            Unavailable: It cannot be recorded, so it is not told.
        """
        self.parts.require(caller, Right.AUDIT, "patient history")
        patient_id = patient_id.strip()
        if (
            not 0 < len(patient_id) <= PATIENT_ID_CHARACTERS_MAX
            or not patient_id.isprintable()
        ):
            raise BadData(f"a Patient ID of 1 to {PATIENT_ID_CHARACTERS_MAX}")
        search = Search(
            patient=patient_id,
            events=_EVENTS,
            since=span.since,
            until=span.until,
            after=span.after,
        )
        return self._told(caller, search, "patient history")

    def with_glass(self, caller: Caller, emergency: Emergency) -> History:
        """Return what a person saw of a patient while its glass was broken.

        Raises:
            Refused: ``caller`` may not review.
            Unavailable: It cannot be recorded, so it is not told.
        """
        self.parts.require(caller, Right.REVIEW, "read a break-glass review")
        search = Search(
            patient=emergency.patient_id,
            user=emergency.subject.name,
            events=_EVENTS,
            since=emergency.started_at,
            until=(emergency.stopped_at or emergency.ends_at) + _CLOCKS_APART,
        )
        return self._told(caller, search, "what was seen with broken glass")

    def _told(self, caller: Caller, search: Search, use: str) -> History:
        found = self.parts.audit.look(search, TOGETHER_MAX)
        patient_id = search.patient or ""
        accesses = [
            access
            for record in found.records
            if (access := access_of(record, patient_id)) is not None
        ]
        glasses = self._glasses(patient_id, accesses)
        accesses = [_with_glass(each, glasses) for each in accesses]
        self.parts.record(
            self.parts.events.audit_log_used(
                self.parts.actor(caller), use, len(accesses), patient_id
            )
        )
        return History(patient_id, tuple(accesses), _seers(accesses), found.after)

    def _glasses(self, patient_id: str, accesses: list[Access]) -> list[_Glass]:
        """Return the emergencies that may have stood during some accesses."""
        if not accesses:
            return []
        search = Search(
            patient=patient_id,
            events=frozenset({EventID.SECURITY_ALERT}),
            since=accesses[-1].time - DURATION_MAX,
            until=accesses[0].time + _CLOCKS_APART,
        )
        found = self.parts.audit.look(search, _GLASSES_MAX)
        return _glasses_of(
            access
            for record in reversed(found.records)
            if (access := access_of(record, patient_id)) is not None
        )


def access_of(record: Record, patient_id: str) -> Access | None:
    """Return what a record says of a patient; None: nobody saw anything by it."""
    try:
        event = record.event
    except BadData:
        return Access(number=record.n, time=record.time, act=Act.UNREADABLE)
    facts = {kind: value for each in event.objects for kind, value in each.details}
    act = _act_of(event, facts)
    if act is None:
        return None
    who = next((each for each in event.participants if each.is_requestor), None)
    return Access(
        number=record.n,
        time=record.time,
        act=act,
        who="" if who is None else who.user_id,
        kind=event.details.get("kind", ""),
        address="" if who is None else who.access_point,
        ae_title="" if who is None else who.alternative_id.removeprefix("AETITLES="),
        service=event.details.get("service", ""),
        right=_right_of(event, act),
        studies=tuple(_studies_of(event, patient_id)),
        destination=_destination_of(event, who),
        outcome=event.outcome,
        facts=facts,
    )


def _act_of(event: Event, facts: Mapping[str, str]) -> Act | None:
    act = _ACTS.get(event.id)
    if event.id is EventID.BEGIN_TRANSFERRING:
        right = _right_of(event, Act.RETRIEVED)
        if right is Right.EXPORT:
            return Act.EXPORT_BEGUN
        return Act.RETRIEVED if right in {Right.GET, Right.MOVE} else Act.VIEWED
    if event.id is EventID.SECURITY_ALERT:
        act = next((_ALERTS[each] for each in event.types if each in _ALERTS), None)
        if act is Act.LISTED and "verdict" in facts:
            return Act.GLASS_REVIEWED
    return act


def _right_of(event: Event, act: Act) -> Right | None:
    said = event.details.get("right", "")
    if said in set(Right):
        return Right(said)
    if event.id is EventID.BEGIN_TRANSFERRING:
        return _RIGHTS_OF_SERVICES.get(event.details.get("service", ""))
    return _RIGHTS.get(act)


def _studies_of(event: Event, patient_id: str) -> Iterable[StudyPart]:
    for each in event.objects:
        if each.id_type == ID_STUDY_UID:
            count = sum(sop_class.count for sop_class in each.sop_classes)
            yield StudyPart(each.id, " ".join(each.accessions), count)
    for told in event.returned:
        if told.patient_id == patient_id:
            yield from (StudyPart(uid, "", 0) for uid in told.studies)


def _destination_of(event: Event, who: Participant | None) -> str:
    """Return who received, if it is neither who asked nor this node."""
    receiving = {Role.DESTINATION, Role.DESTINATION_MEDIA}
    return next(
        (
            each.user_id
            for each in event.participants
            if event.id is not EventID.QUERY
            and each is not who
            and receiving & set(each.roles)
        ),
        "",
    )


def _glasses_of(accesses: Iterable[Access]) -> list[_Glass]:
    """Return the emergencies that records tell of, which come the oldest first."""
    found: dict[int, _Glass] = {}
    for each in accesses:
        number = each.facts.get("number", "")
        if not number.isdecimal():
            continue
        if each.act is Act.GLASS_BROKEN:
            until = _moment(each.facts.get("until", "")) or each.time + DURATION_MAX
            person = each.facts.get("person", "")
            since = each.time - _CLOCKS_APART
            found[int(number)] = _Glass(int(number), person, since, until)
        elif each.act is Act.GLASS_OVER and int(number) in found:
            glass = found[int(number)]
            found[int(number)] = replace(glass, until=min(glass.until, each.time))
    return list(found.values())


def _moment(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


def _with_glass(access: Access, glasses: list[_Glass]) -> Access:
    """Add which emergency stood, if something was seen."""
    number = next((each.number for each in glasses if each.stood(access)), None)
    if number is None or access.act not in _SEEING:
        return access
    return replace(access, glass=number)


def _seers(accesses: Iterable[Access]) -> tuple[Seer, ...]:
    """Count by person; accesses come the newest first."""
    found: dict[tuple[str, str], Seer] = {}
    studies: dict[tuple[str, str], set[str]] = {}
    for each in accesses:
        if each.act is Act.UNREADABLE:
            continue
        key = each.who, each.kind
        seer = found.setdefault(key, Seer(each.who, each.kind, each.time, each.time))
        seer.first = each.time
        seer.acts[each.act] = seer.acts.get(each.act, 0) + 1
        seer.had_glass = seer.had_glass or each.glass is not None
        seen = studies.setdefault(key, set())
        seen.update(part.uid for part in each.studies)
        seer.studies = len(seen)
    return tuple(found.values())
