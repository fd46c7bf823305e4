"""Ordinary days: who comes, is examined, is read, is looked at, and by whom.

Everything here is somebody's work. Some of it no relation that a hospital keeps will
ever explain (``noise``): that is so in hospitals, and nothing here makes it rarer.
"""

import random
from collections import deque
from typing import Final

from leadglass.assurance.review.knowledge import Stay
from leadglass.assurance.simulation import acts
from leadglass.assurance.simulation.chance import happens, stream
from leadglass.assurance.simulation.draft import DAY_S, HOUR_S, MINUTE_S, Draft
from leadglass.assurance.simulation.hospital import Hospital, Known, OnDuty, Session
from leadglass.assurance.simulation.patients import Care, Case, Exam, images_of
from leadglass.assurance.simulation.staff import (
    DEPARTMENTS,
    EMERGENCY,
    OUTSIDE,
    RADIOLOGY,
    Department,
)

OCCUPIED: Final = 0.85
# On a day, for each bed of the house.
EMERGENCIES_PER_BED: Final = 0.25
CLINIC_VISITS_PER_BED: Final = 0.45
REFERRED_PER_BED: Final = 0.12
# Of those who come, who was here before.
COMES_AGAIN: Final = 0.35
EXAMINED_IN_BED: Final = 0.22
EXAMINED_IN_EMERGENCY: Final = 0.6
EXAMINED_IN_CLINIC: Final = 0.4
# Looks at somebody in bed on a day.
DOCTOR_LOOKS: Final = 0.7
NURSE_LOOKS: Final = 0.15
# After the discharge, of the discharged of the last days.
LETTER_LOOKS: Final = 0.04
DISCHARGED_REMEMBERED_PER_BED: Final = 3
# Studies that another radiologist reads than the one whose they were.
READ_BY_ANOTHER: Final = 0.06
READ_AT_STATION: Final = 0.12
PRIOR_OPENED: Final = 0.5
AI_LOOKS: Final = 0.3
_AI_KINDS: Final = frozenset({"CT", "CR", "MG"})
WORKLIST_LENGTH: Final = 12


class Days:
    """Makes one day after the other."""

    def __init__(self, hospital: Hospital) -> None:
        self.hospital = hospital
        self.scale = hospital.scale
        self.chance = random.Random()  # noqa: S311 - set for each day
        self.wards: dict[str, list[Case]] = {each.name: [] for each in DEPARTMENTS}
        self.discharged: deque[tuple[Case, str]] = deque(
            maxlen=self.scale.beds * DISCHARGED_REMEMBERED_PER_BED
        )
        self.today: deque[tuple[Case, Exam]] = deque(maxlen=self.scale.beds * 4)
        self._unread: list[tuple[Case, Exam]] = []
        self._modalities = hospital.modalities
        self._stations = hospital.of_kind("read")
        self._finders = hospital.of_kind("ai")
        self.on_duty = OnDuty([])
        self.news: list[Known] = []
        self.out: list[Draft] = []
        self.start_s = 0.0

    def make(self, day: int) -> None:
        """Make a day; leaves what became known in ``news``, what was done in ``out``.

        Days are made in order.
        """
        self.chance = stream(self.scale.seed, "day", day)
        self.start_s = day * DAY_S
        self.news, self.out = [], []
        if day % 7 == 0:
            self.news += self.hospital.roster(day // 7)
        self.on_duty = self.hospital.on_duty(day)
        self.today.clear()
        # They change: certificates are renewed, programs get new versions.
        self._modalities = self.hospital.modalities
        self._stations = self.hospital.of_kind("read")
        self._finders = self.hospital.of_kind("ai")
        self._read_of_yesterday()
        for department in DEPARTMENTS:
            self._ward(department, day)
        self._emergencies()
        self._visits(day)
        self._letters()

    # ── who comes ────────────────────────────────────────────────────────────

    def moment(self, from_h: float, to_h: float) -> float:
        """Return some time of this day."""
        return self.start_s + self.chance.uniform(from_h, to_h) * HOUR_S

    def comer(self, at_s: float, again: float = COMES_AGAIN) -> Case:
        """Return who comes to the door."""
        case = None
        if self.chance.random() < again:
            case = self.hospital.patients.again(self.chance)
            # Some of them work here.
            if self.chance.random() < 0.02 and self.hospital.patients.staff:
                case = self.chance.choice(self.hospital.patients.staff)
        if case is None:
            case = self.hospital.patients.new(at_s)
            self.hospital.patients.remembered.append(case)
        elif case.until_s > self.start_s:
            return self.comer(at_s, 0.0)  # is in bed already
        self.news.append(self.hospital.seen(case, at_s))
        return case

    def care(self, case: Case, department: str, at_s: float, until_s: float) -> None:
        """Note in whose care somebody is."""
        case.department, case.until_s = department, until_s
        moment = self.scale.moment
        self.news.append(Care(case.id, Stay(moment(at_s), moment(until_s), department)))

    def _ward(self, department: Department, day: int) -> None:
        """Discharge, admit, examine and look at the patients of one ward."""
        if department.name == EMERGENCY:
            return
        chance, ward = self.chance, self.wards[department.name]
        for case in [each for each in ward if each.until_s < self.start_s]:
            ward.remove(case)
            self.discharged.append((case, department.name))
        beds = self.scale.beds * department.share * OCCUPIED
        wanted = beds - len(ward) if day == 0 else beds / department.stay_days
        free = int(beds * 1.15) + 1 - len(ward)
        for _ in range(min(free, happens(chance, wanted))):
            at_s = self.moment(7, 19)
            stay_s = chance.expovariate(1 / department.stay_days) * DAY_S
            case = self.comer(at_s)
            self.care(case, department.name, at_s, at_s + max(DAY_S / 2, stay_s))
            ward.append(case)
        for case in ward:
            if chance.random() < EXAMINED_IN_BED:
                self.examine(case, department.name, self.moment(7, 19))
            if case.exams:
                self._looks(case, department.name)

    def _looks(self, case: Case, department: str) -> None:
        """Let doctors and nurses of the ward look at what there is."""
        chance = self.chance
        for role, mean in (("physician", DOCTOR_LOOKS), ("nurse", NURSE_LOOKS)):
            for _ in range(happens(chance, mean)):
                hour = (
                    chance.gauss(11, 4) if role == "physician" else chance.random() * 24
                )
                at_s = self.start_s + hour % 24 * HOUR_S
                self.look(case, department, role, at_s)

    def _emergencies(self) -> None:
        chance = self.chance
        for _ in range(happens(chance, self.scale.beds * EMERGENCIES_PER_BED)):
            at_s = self.start_s + chance.triangular(0, 24, 15) * HOUR_S
            case = self.comer(at_s, 0.3)
            hours = chance.lognormvariate(1.2, 0.5)
            self.care(case, EMERGENCY, at_s, at_s + hours * HOUR_S)
            if chance.random() < EXAMINED_IN_EMERGENCY:
                self.examine(case, EMERGENCY, at_s + chance.uniform(0.2, 1) * HOUR_S)

    def _visits(self, day: int) -> None:
        """Clinics and those whom doctors outside have sent."""
        if not self.scale.is_workday(day):
            return
        chance = self.chance
        departments = [each.name for each in DEPARTMENTS if each.name != EMERGENCY]
        for _ in range(happens(chance, self.scale.beds * CLINIC_VISITS_PER_BED)):
            at_s = self.moment(8, 15)
            case, department = self.comer(at_s, 0.6), chance.choice(departments)
            self.care(case, department, at_s - 3 * HOUR_S, at_s + 8 * HOUR_S)
            if chance.random() < EXAMINED_IN_CLINIC:
                self.examine(case, department, at_s + HOUR_S / 2)
            elif case.exams:
                self.look(case, department, "physician", at_s)
        for _ in range(happens(chance, self.scale.beds * REFERRED_PER_BED)):
            at_s = self.moment(8, 17)
            case = self.comer(at_s, 0.4)
            self.care(case, RADIOLOGY, at_s - HOUR_S, at_s + 4 * HOUR_S)
            self.examine(case, OUTSIDE, at_s)

    def _letters(self) -> None:
        """Let doctors look again at those who went home lately."""
        for case, department in self.discharged:
            if self.chance.random() < LETTER_LOOKS and case.exams:
                self.look(case, department, "physician", self.moment(8, 17))

    # ── what is done with them ───────────────────────────────────────────────

    def examine(self, case: Case, department: str, at_s: float) -> None:
        """Order, take, store and read one study."""
        chance, hospital = self.chance, self.hospital
        device = chance.choices(self._modalities, hospital.use)[0]
        if department == OUTSIDE:
            referring = chance.choice(hospital.by_role["referring"]).name
            department = RADIOLOGY
        else:
            orderer = self.somebody(department, "physician", at_s)
            referring = orderer.member.name if orderer else ""
        taker = self.on_duty.at(chance, RADIOLOGY, "technologist", at_s)
        is_found = device.kind in _AI_KINDS and chance.random() < AI_LOOKS
        finder = chance.choice(self._finders) if is_found else None
        urgent = department == EMERGENCY or at_s % DAY_S > 20 * HOUR_S
        wait_s = chance.lognormvariate(3.6 if urgent else 4.8, 0.6) * MINUTE_S
        read_s = at_s + 10 * MINUTE_S + wait_s
        reader = hospital.reader(self.on_duty, chance, read_s)
        if reader and self._is_of(reader, case.id):
            reader = None
        performing = {device.name}
        if taker:
            performing.add(taker.member.name)
        if finder:
            performing.add(finder.name)
        exam = Exam(
            uid=hospital.patients.uid(),
            patient_id=case.id,
            device=device.name,
            modality=device.kind,
            department=department,
            referring=frozenset({referring} if referring else ()),
            performing=frozenset(performing),
            assigned=frozenset(self._whose(reader)),
            performed_s=at_s,
            reported_s=read_s + 15 * MINUTE_S if reader else at_s + DAY_S,
            images=images_of(chance, device),
        )
        case.exams.append(exam)
        self.today.append((case, exam))
        self.news.append(exam.known(self.scale))
        self.out.append(acts.associate(at_s + MINUTE_S, device.base))
        stored_s = at_s + chance.uniform(2, 10) * MINUTE_S
        self.out.append(acts.store(stored_s, device.base, exam, exam.images))
        if finder:
            self._find(exam, finder.base, stored_s)
        if taker and not self._is_of(taker, case.id) and chance.random() < 0.3:
            self.show(taker, exam, stored_s + MINUTE_S)
        if reader:
            self._read(reader, case, exam, read_s)
        else:
            self._unread.append((case, exam))
        self._results(case, exam, read_s + 15 * MINUTE_S)

    def _whose(self, reader: Session | None) -> list[str]:
        if reader is None:
            return []
        if self.chance.random() < READ_BY_ANOTHER:
            return [self.chance.choice(self.hospital.by_role["radiologist"]).name]
        return [reader.member.name]

    def _find(self, exam: Exam, base: acts.Base, at_s: float) -> None:
        """Let the program that finds things fetch a study and store its report."""
        self.out.append(acts.retrieve(at_s + 20, base, exam, "C-GET"))
        self.out.append(acts.transferred(at_s + 50, base, exam, "C-GET"))
        self.out.append(acts.store(at_s + 110, base, exam, 1))

    def _read_of_yesterday(self) -> None:
        """Read what nobody was there for."""
        unread, self._unread = self._unread, []
        for case, exam in unread:
            at_s = self.moment(7.6, 10)
            reader = self.hospital.reader(self.on_duty, self.chance, at_s)
            if reader and not self._is_of(reader, case.id):
                self._read(reader, case, exam, at_s)
            else:
                self._unread.append((case, exam))

    def _read(self, reader: Session, case: Case, exam: Exam, at_s: float) -> None:
        """Let a radiologist read a study, with what was there before."""
        chance = self.chance
        if chance.random() < 0.2:
            some = min(len(self.today), WORKLIST_LENGTH)
            on_list = [case for case, _ in list(self.today)[-some:]]
            self.out.append(
                acts.query(at_s - 60, reader.base, on_list, acts.BY_WORKLIST)
            )
        is_here = reader.member.person.department == RADIOLOGY
        if is_here and chance.random() < READ_AT_STATION:
            self._move(exam, at_s)
        else:
            self.show(reader, exam, at_s)
        for prior in list(case.exams)[-3:]:
            if prior.uid != exam.uid and chance.random() < PRIOR_OPENED:
                self.show(reader, prior, at_s + chance.uniform(30, 300))

    def _move(self, exam: Exam, at_s: float) -> None:
        station = self.chance.choice(self._stations)
        base, title = station.base, station.ae_title
        self.out.append(acts.associate(at_s - 2, base))
        self.out.append(acts.retrieve(at_s, base, exam, "C-MOVE", title))
        self.out.append(acts.transferred(at_s + 20, base, exam, "C-MOVE", title))

    def _results(self, case: Case, exam: Exam, at_s: float) -> None:
        """Let those look who had asked for it."""
        chance = self.chance
        if exam.department == RADIOLOGY:
            name = next(iter(exam.referring), "")
            session = self.on_duty.of(name, at_s) if chance.random() < 0.6 else None
            if session:
                self.search_and_show(session, case, exam, at_s)
            return
        for _ in range(happens(chance, 1.1)):
            later_s = at_s + chance.expovariate(1 / HOUR_S)
            self.look(case, exam.department, "physician", later_s, exam)

    # ── what people do at a screen ───────────────────────────────────────────

    def somebody(self, department: str, role: str, at_s: float) -> Session | None:
        """Return somebody of a ward who is there; at night, who stands in for them."""
        found = self.on_duty.at(self.chance, department, role, at_s)
        return found or self.on_duty.at(self.chance, EMERGENCY, role, at_s)

    @staticmethod
    def _is_of(session: Session, patient_id: str) -> bool:
        """Whether the patient is the one at the screen; nobody treats themselves."""
        return session.member.person.patient_id == patient_id

    def look(
        self,
        case: Case,
        department: str,
        role: str,
        at_s: float,
        exam: Exam | None = None,
    ) -> None:
        """Let somebody of a department look at a patient."""
        session = self.somebody(department, role, at_s)
        if session and not self._is_of(session, case.id):
            self.search_and_show(session, case, exam or case.exams[-1], at_s)

    def search_and_show(
        self, session: Session, case: Case, exam: Exam, at_s: float
    ) -> None:
        """Let somebody find a patient, and open a study."""
        chance = self.chance
        drawn = chance.random()
        if drawn < 0.5:
            self.out.append(acts.query(at_s - 15, session.base, [case], acts.BY_ID))
        elif drawn < 0.58:
            # A name finds namesakes as well.
            others = [self.hospital.patients.again(chance) for _ in range(3)]
            found = [case, *(each for each in others if each is not None)]
            self.out.append(acts.query(at_s - 15, session.base, found, acts.BY_NAME))
        self.show(session, exam, at_s)

    def show(self, session: Session, exam: Exam, at_s: float) -> None:
        """Show a study to somebody, all of it or a part."""
        chance = self.chance
        at_s = max(at_s, session.begins_s + MINUTE_S)
        part = 1.0 if chance.random() < 0.5 else chance.random()
        seen = max(1, int(exam.images * part))
        self.out.append(acts.view(at_s, session.base, exam))
        ends_s = at_s + chance.expovariate(1 / 240.0) + 5
        self.out.append(acts.shown(ends_s, session.base, exam, seen))
