"""Patients, their examinations and their stays; how many are remembered is bounded."""

import random
from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Final, NamedTuple

from leadglass.assurance.review.knowledge import Patient, Shift, Stay, StudyOf
from leadglass.assurance.simulation.chance import Weighted, stream, uid
from leadglass.assurance.simulation.devices import Device
from leadglass.assurance.simulation.draft import DAY_S
from leadglass.assurance.simulation.scale import Scale
from leadglass.assurance.simulation.staff import Member

# Of all patients, who is of public interest.
FLAGGED: Final = 0.004
CANARIES: Final = 4
# Patients that may come again, for each bed; older ones are forgotten, so that memory
# does not grow with the days.
REMEMBERED_PER_BED: Final = 60
# Patients who were here before the first day, for each bed, and how long ago at most.
EARLIER_PER_BED: Final = 20
EARLIER_DAYS: Final = 900
# Studies of one patient that are remembered.
STUDIES_MAX: Final = 8
_UID_ROOT: Final = 7
# How often a modality is used, compared with the others.
_USE: Final = {"CR": 8, "CT": 3, "MR": 2, "US": 4, "XA": 0.6, "MG": 0.5, "NM": 0.4}


@dataclass(frozen=True, slots=True)
class Exam:
    """An examination: what the archive knows of a study, and when things happened."""

    uid: str
    patient_id: str
    device: str
    modality: str
    department: str
    referring: frozenset[str]
    performing: frozenset[str]
    assigned: frozenset[str]
    performed_s: float
    reported_s: float
    images: int
    is_canary: bool = False

    def known(self, scale: Scale) -> StudyOf:
        """Return what is known of it."""
        return StudyOf(
            uid=self.uid,
            patient_id=self.patient_id,
            modality=self.modality,
            department=self.department,
            referring=self.referring,
            performing=self.performing,
            assigned=self.assigned,
            origin=self.device,
            performed=scale.moment(self.performed_s),
            reported=scale.moment(self.reported_s),
            is_canary=self.is_canary,
        )


@dataclass(slots=True)
class Case:
    """A patient as the simulation remembers them."""

    patient: Patient
    last_s: float
    exams: deque[Exam] = field(default_factory=lambda: deque(maxlen=STUDIES_MAX))
    department: str = ""
    until_s: float = 0.0

    @property
    def id(self) -> str:
        """Patient ID."""
        return self.patient.patient_id


class Duty(NamedTuple):
    """Knowledge: somebody is on the roster."""

    name: str
    shift: Shift


class Care(NamedTuple):
    """Knowledge: a patient is in somebody's care."""

    patient_id: str
    stay: Stay


class Patients:
    """Who comes, and who comes again."""

    def __init__(self, scale: Scale, names: Weighted, homes: Weighted) -> None:
        self.scale = scale
        self.names = names
        self.homes = homes
        self.chance = stream(scale.seed, "patients")
        self.remembered: deque[Case] = deque(maxlen=scale.beds * REMEMBERED_PER_BED)
        self.flagged: deque[Case] = deque(maxlen=50)
        self.staff: list[Case] = []
        self.canaries: list[Case] = []
        self.old: list[Case] = []
        self._made = 0
        self._exams = 0

    def new(self, at_s: float, **known: object) -> Case:
        """Return a patient who was never here."""
        chance = self.chance
        self._made += 1
        about: dict[str, object] = {
            "patient_id": f"P{self._made:08d}",
            "surname": self.names.draw(chance),
            "address": self.homes.draw(chance),
            "born": date(1930, 1, 1) + timedelta(days=int(chance.random() * 34_000)),
            "is_flagged": chance.random() < FLAGGED,
            "last_seen": self.scale.moment(at_s),
        }
        case = Case(Patient(**(about | known)), at_s)  # type: ignore[arg-type]
        if case.patient.is_flagged:
            self.flagged.append(case)
        return case

    def uid(self) -> str:
        """Return the UID of the next study."""
        self._exams += 1
        return uid(self._exams, root=_UID_ROOT)

    def earlier(self, devices: tuple[Device, ...], doctors: list[Member]) -> list[Case]:
        """Return those who were here before the first day, with their studies."""
        chance, made = self.chance, []
        for _ in range(self.scale.beds * EARLIER_PER_BED):
            at_s = -(chance.random() ** 2 * EARLIER_DAYS + 1) * DAY_S
            case = self.new(at_s)
            for _ in range(1 + (chance.random() < 0.4)):
                self.add_earlier(case, at_s, chance.choice(devices), doctors)
            made.append(case)
            old = at_s < -200 * DAY_S
            (self.old if old else self.remembered).append(case)
        return made

    def add_earlier(
        self, case: Case, at_s: float, device: Device, doctors: list[Member]
    ) -> None:
        """Give a patient a study of long ago."""
        doctor = self.chance.choice(doctors)
        case.exams.append(
            Exam(
                uid=self.uid(),
                patient_id=case.id,
                device=device.name,
                modality=device.kind,
                department=doctor.person.department,
                referring=frozenset({doctor.name}),
                performing=frozenset({device.name}),
                assigned=frozenset(),
                performed_s=at_s,
                reported_s=at_s + DAY_S / 4,
                images=device.images,
                is_canary=case.patient.is_canary,
            )
        )

    def of_staff(self, members: tuple[Member, ...]) -> list[Case]:
        """Return those of the staff who are patients too."""
        for member in members:
            person = member.person
            if not person.patient_id:
                continue
            at_s = -self.chance.uniform(5, 600) * DAY_S
            self.staff.append(
                self.new(
                    at_s,
                    patient_id=person.patient_id,
                    surname=person.surname,
                    address=person.address,
                    born=person.born,
                    is_flagged=False,
                    is_staff=True,
                )
            )
        return self.staff

    def decoys(self) -> list[Case]:
        """Return the invented patients that nobody has a reason to look at."""
        for _ in range(CANARIES):
            self.canaries.append(
                self.new(-100 * DAY_S, is_canary=True, is_flagged=False)
            )
        return self.canaries

    def again(self, chance: random.Random) -> Case | None:
        """Return somebody who comes again, if anybody is remembered."""
        if not self.remembered:
            return None
        return self.remembered[int(chance.random() * len(self.remembered))]


def images_of(chance: random.Random, device: Device) -> int:
    """Return how many images a study of a device has."""
    return max(1, int(device.images * chance.lognormvariate(0.0, 0.35)))


def weights_of(modalities: tuple[Device, ...]) -> tuple[float, ...]:
    """Return how often each modality is used: radiographs most, nuclear least."""
    many = Counter(each.kind for each in modalities)
    return tuple(_USE[each.kind] / many[each.kind] for each in modalities)
