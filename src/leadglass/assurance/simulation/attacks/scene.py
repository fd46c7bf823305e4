"""What an attack has to work with: somebody who does it, and somebody it is done to."""

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from leadglass.assurance.simulation import acts
from leadglass.assurance.simulation.chance import fingerprint
from leadglass.assurance.simulation.days import Days
from leadglass.assurance.simulation.devices import CALLED, Device
from leadglass.assurance.simulation.draft import HOUR_S, Draft
from leadglass.assurance.simulation.hospital import Session
from leadglass.assurance.simulation.patients import Case, Exam
from leadglass.assurance.simulation.staff import Member

# Addresses for documentation (RFC 5737): nobody has them.
ABROAD: Final = "203.0.113."
_TRIES: Final = 4_000
# Who has a screen on a ward, and would look.
ONLOOKERS: Final = ("nurse", "physician")


@dataclass(frozen=True, slots=True)
class Scene:
    """One attack, about to happen.

    Attributes:
        days: The day on which it begins, made already.
        chance: Its own.
        number: Of the attack.
    """

    days: Days
    chance: random.Random
    number: int

    def session(self, *roles: str) -> Session:
        """Return somebody with one of these roles who is at a screen today."""
        start_s = self.days.start_s
        found = [
            each
            for each in self.days.on_duty.sessions
            if each.member.role in (roles or ONLOOKERS)
            and each.begins_s >= start_s
            and each.ends_s - each.begins_s > 4 * HOUR_S
        ]
        if not found:
            return self._called_in(roles or ONLOOKERS)
        return self.chance.choice(found)

    def _called_in(self, roles: tuple[str, ...]) -> Session:
        """Return somebody who comes on a day off."""
        member = self.chance.choice(self.days.hospital.by_role[roles[0]])
        begins_s = self.days.start_s + 9 * HOUR_S
        base = member.base(member.addresses[0])
        return Session(member, begins_s, begins_s + 8 * HOUR_S, base)

    def within(self, session: Session) -> float:
        """Return some time of a session, with three hours left of it."""
        return self.chance.uniform(
            session.begins_s + HOUR_S / 2, session.ends_s - 3 * HOUR_S
        )

    def strangers(
        self,
        member: Member,
        count: int,
        suits: Callable[[Case], bool] = lambda _case: True,
    ) -> list[Case]:
        """Return patients whom somebody has no reason to look at."""
        patients, found = self.days.hospital.patients, dict[str, Case]()
        for _ in range(_TRIES):
            case = patients.again(self.chance)
            if case and _is_stranger(case, member) and suits(case):
                found[case.id] = case
            if len(found) == count:
                break
        return list(found.values())

    def invented(self, member: Member, **known: Any) -> Case:
        """Return a patient of another ward about whom this is known."""
        days, hospital = self.days, self.days.hospital
        at_s = days.start_s - 10 * HOUR_S
        case = hospital.patients.new(at_s, **known)
        doctors = [
            each
            for each in hospital.by_role["physician"]
            if each.person.department != member.person.department
        ]
        device = self.chance.choice(hospital.modalities)
        hospital.patients.add_earlier(case, at_s, device, doctors)
        days.news += [case.patient, case.exams[-1].known(days.scale)]
        return case

    def looks(self, base: acts.Base, cases: list[Case], at_s: float) -> Iterator[Draft]:
        """Find and open one patient after the other."""
        for case in cases:
            exam = case.exams[-1]
            yield acts.query(at_s - 12, base, [case], acts.BY_ID)
            yield acts.view(at_s, base, exam)
            lasts_s = self.chance.uniform(20, 200)
            yield acts.shown(at_s + lasts_s, base, exam, exam.images)
            at_s += lasts_s + self.chance.uniform(20, 300)

    def device(self, *kinds: str) -> Device:
        """Return a device that has a certificate."""
        found = [
            each
            for each in self.days.hospital.devices
            if each.base["certificate"]
            and (each.kind in kinds if kinds else each.images)
        ]
        return self.chance.choice(found)

    def exam(self) -> tuple[Case, Exam]:
        """Return a study of somebody who was here lately."""
        for _ in range(_TRIES):
            case = self.days.hospital.patients.again(self.chance)
            if case and case.exams:
                return case, self.chance.choice(case.exams)
        case = self.days.hospital.patients.canaries[0]
        return case, case.exams[0]  # unreachable while patients are remembered

    def foreigner(self, **more: str) -> Mapping[str, Any]:
        """Return somebody at the door who is nobody."""
        return {
            "who": "",
            "address": f"{ABROAD}{self.chance.randrange(2, 250)}",
            "called": CALLED,
            "channel": "TLSv1.3",
            **more,
        }

    def mark(self, *what: object) -> str:
        """Return the fingerprint of a certificate that nobody has seen."""
        return fingerprint(self.days.scale.seed, "attack", self.number, *what)


def _is_stranger(case: Case, member: Member) -> bool:
    department = member.person.department
    if not case.exams or case.department == department or case.patient.is_staff:
        return False
    if case.patient.is_flagged or case.id == member.person.patient_id:
        return False
    return all(
        exam.department != department
        and member.name not in exam.referring | exam.performing | exam.assigned
        for exam in case.exams
    )
