"""What explains an access: people, patients, studies and shifts, as far as known.

Rules ask ``Knowledge`` and nothing else about the world outside the trail. A node fills
it from its index, accounts, lists and assignments, and from feeds that a hospital gives
(staff, patients, shifts); the simulator fills it with what it invented. What is not
known is empty: then nothing is explained by it, and no rule accuses by it either.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Protocol

from leadglass.errors import BadData


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody who works here, or a program with an account.

    Attributes:
        name: The name that trails know (``Fact.who``).
        kind: ``person``, ``device`` or ``program``.
        department: Where they work; "" unknown.
        roles: Roles of the rule file, or of the hospital.
        surname: Folded (``dicom.personname.fold``); "" unknown.
        address: Folded "postcode street"; "" unknown.
        patient_id: Their own, if they are a patient here; "" unknown or none.
        born: Birth date.
        left: When their work here ended.
        created: When the account was made.
    """

    name: str
    kind: str = "person"
    department: str = ""
    roles: frozenset[str] = frozenset()
    surname: str = ""
    address: str = ""
    patient_id: str = ""
    born: date | None = None
    left: datetime | None = None
    created: datetime | None = None

    def __post_init__(self) -> None:
        if not self.name:
            raise BadData("a person needs the name that the trail knows")


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """A patient.

    Attributes:
        patient_id: As in the trail.
        surname: Folded; "" unknown.
        address: Folded "postcode street"; "" unknown.
        born: Birth date.
        is_flagged: Of public interest: every look is looked at.
        is_canary: Invented, so that nobody has a reason to look.
        is_staff: Works here.
        last_seen: When last treated, discharged or deceased here; None unknown.
    """

    patient_id: str
    surname: str = ""
    address: str = ""
    born: date | None = None
    is_flagged: bool = False
    is_canary: bool = False
    is_staff: bool = False
    last_seen: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyOf:
    """What is known of a study beside the trail.

    Attributes:
        uid: Study Instance UID.
        patient_id: Whose.
        modality: ``CT`` and the like.
        department: That ordered or owns it.
        referring: Names of accounts that referred.
        performing: Names of accounts that performed or sent it, devices too.
        assigned: Names of accounts that are to read it, or are on its list.
        origin: Name of the device that it came from.
        performed: When.
        reported: When the report was finished; None: open.
        is_canary: Invented, as a patient can be.
    """

    uid: str
    patient_id: str = ""
    modality: str = ""
    department: str = ""
    referring: frozenset[str] = frozenset()
    performing: frozenset[str] = frozenset()
    assigned: frozenset[str] = frozenset()
    origin: str = ""
    performed: datetime | None = None
    reported: datetime | None = None
    is_canary: bool = False


@dataclass(frozen=True, slots=True, order=True)
class Shift:
    """When somebody was on duty: from ``begins`` until before ``ends``."""

    begins: datetime
    ends: datetime


@dataclass(frozen=True, slots=True, order=True)
class Stay:
    """A patient in the care of a department: an order, a visit, a ward."""

    begins: datetime
    ends: datetime
    department: str


class Knowledge(Protocol):
    """What may be asked; every answer comes at once, from memory or one look-up."""

    def person(self, name: str) -> Person | None:
        """Return who bears this name in trails."""

    def patient(self, patient_id: str) -> Patient | None:
        """Return who this is."""

    def study(self, uid: str) -> StudyOf | None:
        """Return what is known of a study."""

    def studies_of(self, patient_id: str) -> tuple[StudyOf, ...]:
        """Return the studies of a patient."""

    def shifts(self, name: str) -> tuple[Shift, ...]:
        """Return when somebody was on duty, in order; empty: nobody knows."""

    def stays(self, patient_id: str) -> tuple[Stay, ...]:
        """Return in whose care a patient was, in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Knowledge that is all in memory, as a feed or a simulation gives it."""

    people: Mapping[str, Person] = field(default_factory=dict)
    patients: Mapping[str, Patient] = field(default_factory=dict)
    by_uid: Mapping[str, StudyOf] = field(default_factory=dict)
    by_patient: Mapping[str, tuple[StudyOf, ...]] = field(default_factory=dict)
    on_duty: Mapping[str, tuple[Shift, ...]] = field(default_factory=dict)
    in_care: Mapping[str, tuple[Stay, ...]] = field(default_factory=dict)

    def person(self, name: str) -> Person | None:
        """Return who bears this name in trails."""
        return self.people.get(name)

    def patient(self, patient_id: str) -> Patient | None:
        """Return who this is."""
        return self.patients.get(patient_id)

    def study(self, uid: str) -> StudyOf | None:
        """Return what is known of a study."""
        return self.by_uid.get(uid)

    def studies_of(self, patient_id: str) -> tuple[StudyOf, ...]:
        """Return the studies of a patient."""
        return self.by_patient.get(patient_id, ())

    def shifts(self, name: str) -> tuple[Shift, ...]:
        """Return when somebody was on duty."""
        return self.on_duty.get(name, ())

    def stays(self, patient_id: str) -> tuple[Stay, ...]:
        """Return in whose care a patient was."""
        return self.in_care.get(patient_id, ())
