"""Who was reached from given sources within a window, and how far (45 CFR 164.402).

Facts answer; the record proves. What is said here of "neither" holds as far as the
record does: it is complete (its numbers have no gap and its tree is signed), every
record in the window has been taken as a fact, and what leaves is recorded before its
first byte. It says nothing of what somebody saw over a shoulder.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from sqlalchemy import ColumnElement, Connection, func, or_, select

from leadglass.assurance.trails.fact import Kind, Reach
from leadglass.assurance.trails.reading import id_of, texts_of
from leadglass.assurance.trails.tables import fact, touch
from leadglass.audit.events import from_us, to_us
from leadglass.errors import BadData
from leadglass.index.tables import patient

# Sources of one question; a breach with more is a breach of everything.
SOURCES_MAX: Final = 100
# 45 CFR 164.404(b), 164.410(b): without unreasonable delay, 60 days at most.
NOTICE_WITHIN: Final = timedelta(days=60)
# 45 CFR 164.406, 164.408(b): media and the Secretary are told at the same time.
MANY: Final = 500
# 45 CFR 164.408(c): fewer are told of within 60 days of the end of the year.
_YEAR_END: Final = (12, 31)


class SourceKind(StrEnum):
    """By what a source is known."""

    ADDRESS = "address"
    PERSON = "person"
    DEVICE = "device"
    CERTIFICATE = "certificate"
    TITLE = "title"


@dataclass(frozen=True, slots=True)
class Source:
    """Somebody or something that may have done it.

    Attributes:
        kind: By what it is known.
        value: The address, the name, the fingerprint, the AE title.
    """

    kind: SourceKind
    value: str

    @classmethod
    def parse(cls, text: str) -> "Source":
        """Read ``address=10.4.0.7``.

        Raises:
            BadData: It is not of that form.
        """
        kind, mark, value = text.partition("=")
        if not mark or not value.strip() or kind not in set(SourceKind):
            known = ", ".join(SourceKind)
            raise BadData(f"a source is KIND=VALUE, with a kind of: {known}")
        return cls(SourceKind(kind), value.strip())


_COLUMNS: Final = {
    SourceKind.ADDRESS: fact.c.address,
    SourceKind.PERSON: fact.c.who,
    SourceKind.DEVICE: fact.c.who,
    SourceKind.CERTIFICATE: fact.c.certificate,
    SourceKind.TITLE: fact.c.ae_title,
}


@dataclass(frozen=True, slots=True)
class Concerned:
    """A patient who was reached.

    Attributes:
        patient: Patient ID.
        reach: How far.
        acts: How many acts.
        first: The first of them.
        last: The last.
        studies: Study Instance UIDs.
    """

    patient: str
    reach: Reach
    acts: int
    first: datetime
    last: datetime
    studies: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a window and sources come to.

    Attributes:
        acts: How many acts of the sources are in the window.
        failed: How many of them failed or were refused.
        listed: Patients of whom demographics were returned, and no more.
        seen: Patients whose images left or were shown.
        neither: Patients of the archive who were not reached.
        begun: Images that were to leave.
        left: Images of which it is recorded that they left.
    """

    acts: int
    failed: int
    listed: tuple[Concerned, ...]
    seen: tuple[Concerned, ...]
    neither: int
    begun: int
    left: int

    @property
    def concerned(self) -> int:
        """How many patients are to be told."""
        return len(self.listed) + len(self.seen)


def bound(
    connection: Connection,
    sources: Iterable[Source],
    since: datetime,
    until: datetime,
    trail: int = 0,
) -> Bounds:
    """Return who was reached; its cost grows with what the sources did.

    Raises:
        BadData: No source, too many, or a window that is none.
    """
    asked = tuple(sources)
    if not 0 < len(asked) <= SOURCES_MAX:
        raise BadData(f"name 1 to {SOURCES_MAX} sources")
    if since >= until:
        raise BadData("the window ends before it begins")
    where = list(_matching(connection, asked, since, until, trail))
    told = connection.execute(
        select(
            func.count(),
            func.coalesce(func.sum(fact.c.ending != 0), 0),
        ).where(*where)
    ).one()
    images = {
        kind: int(total)
        for kind, total in connection.execute(
            select(fact.c.kind, func.sum(fact.c.instances))
            .where(*where)
            .group_by(fact.c.kind)
        )
    }
    concerned = _concerned(connection, where)
    known = connection.scalar(select(func.count()).select_from(patient)) or 0
    reached = {each.patient for each in concerned}
    here = _count_known(connection, reached)
    return Bounds(
        acts=told[0],
        failed=int(told[1]),
        listed=tuple(each for each in concerned if each.reach is Reach.LISTED),
        seen=tuple(each for each in concerned if each.reach is Reach.IMAGES),
        neither=known - here,
        begun=images.get(Kind.RETRIEVE, 0) + images.get(Kind.VIEW, 0),
        left=images.get(Kind.TRANSFERRED, 0),
    )


def _matching(
    connection: Connection,
    sources: tuple[Source, ...],
    since: datetime,
    until: datetime,
    trail: int,
) -> Iterator[ColumnElement[bool]]:
    ids = [(_COLUMNS[each.kind], id_of(connection, each.value)) for each in sources]
    # A name that no trail has was never a source of anything.
    yield or_(*(column == (-1 if number is None else number) for column, number in ids))
    yield fact.c.time_us >= to_us(since)
    yield fact.c.time_us < to_us(until)
    yield fact.c.trail == trail


def _concerned(
    connection: Connection, where: list[ColumnElement[bool]]
) -> list[Concerned]:
    """Return the patients of acts, the farthest reached first."""
    rows = connection.execute(
        select(touch.c.patient, touch.c.reach, touch.c.time_us, touch.c.studies)
        .join(
            fact,
            (fact.c.trail == touch.c.trail) & (fact.c.number == touch.c.number),
        )
        .where(*where, touch.c.reach > int(Reach.NONE))
    )
    found: dict[int, _Gathered] = {}
    for number, reach, time_us, studies in rows:
        found.setdefault(number, _Gathered(time_us, time_us)).add(
            reach, time_us, studies
        )
    texts = texts_of(connection, found)
    told = [each.told(texts[number]) for number, each in found.items()]
    return sorted(told, key=lambda each: (-each.reach, each.patient))


@dataclass(slots=True)
class _Gathered:
    first_us: int
    last_us: int
    reach: int = 0
    acts: int = 0
    studies: set[str] | None = None

    def add(self, reach: int, time_us: int, studies: str) -> None:
        self.reach = max(self.reach, reach)
        self.acts += 1
        self.first_us = min(self.first_us, time_us)
        self.last_us = max(self.last_us, time_us)
        if self.studies is None:
            self.studies = set()
        self.studies.update(filter(None, studies.split("\\")))

    def told(self, text: str) -> Concerned:
        return Concerned(
            patient=text,
            reach=Reach(self.reach),
            acts=self.acts,
            first=from_us(self.first_us),
            last=from_us(self.last_us),
            studies=tuple(sorted(self.studies or ())),
        )


def _count_known(connection: Connection, patients: set[str]) -> int:
    """Return how many of these Patient IDs the archive still has."""
    count = 0
    ids = sorted(patients)
    for at in range(0, len(ids), _TOGETHER):
        query = select(func.count(func.distinct(patient.c.patient_id))).where(
            patient.c.patient_id.in_(ids[at : at + _TOGETHER])
        )
        count += connection.scalar(query) or 0
    return count


_TOGETHER: Final = 500  # values of one statement


@dataclass(frozen=True, slots=True)
class Deadline:
    """Who is to be told, until when, by which clause."""

    whom: str
    until: datetime
    clause: str


def deadlines(concerned: int, discovered: datetime) -> list[Deadline]:
    """Return who is to be told of a breach that concerns so many."""
    if not concerned:
        return []
    soon = discovered + NOTICE_WITHIN
    yearly = discovered.replace(month=_YEAR_END[0], day=_YEAR_END[1]) + NOTICE_WITHIN
    found = [Deadline("each person concerned", soon, "45 CFR 164.404")]
    if concerned > MANY:
        found.append(
            Deadline("media, if more than 500 live in one State", soon, "164.406")
        )
    found.append(
        Deadline("the Secretary of HHS", soon, "164.408(b)")
        if concerned >= MANY
        else Deadline("the Secretary of HHS, with the year's", yearly, "164.408(c)")
    )
    return found
