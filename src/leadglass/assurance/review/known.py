"""What this node knows beside its record: index, accounts, assignments, and feeds.

A feed is a CSV file that a hospital's other systems write. It is data of strangers:
its size is bounded, what is no row is counted and left out, and nothing in it is
executed or shown.

    staff.csv     name,department,roles,surname,address,patient_id,born,left
    patients.csv  patient_id,address,is_flagged,is_staff,last_seen
    shifts.csv    name,begins,ends
    stays.csv     patient_id,begins,ends,department
"""

import csv
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Final

from sqlalchemy import select

from leadglass.assurance.review.alerts import DecoyKind, decoys
from leadglass.assurance.review.knowledge import (
    Patient,
    Person,
    Shift,
    Stay,
    StudyOf,
    World,
)
from leadglass.assurance.review.look import Feed
from leadglass.audit.events import from_us
from leadglass.database.engine import Database
from leadglass.dicom.personname import fold
from leadglass.errors import Misconfigured
from leadglass.identity.people.tables import person as account
from leadglass.identity.tables import device
from leadglass.index.tables import SOURCE, assignment, item_value
from leadglass.index.tables import patient as patient_row
from leadglass.index.tables import study as study_row

# A hospital's year of shifts has some 300,000 rows of 60 characters.
FEED_BYTES_MAX: Final = 64 << 20
FIELD_CHARACTERS_MAX: Final = 256
_REMEMBERED: Final = 50_000
_STUDIES_MAX: Final = 64
_OF_STUDY: Final = "study"

Row = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Feeds:
    """What the files of a folder say.

    Attributes:
        world: All of it.
        given: Which feeds there are.
        skipped: Rows that are none, by file.
    """

    world: World = field(default_factory=World)
    given: frozenset[Feed] = frozenset()
    skipped: Mapping[str, int] = field(default_factory=dict)


def read_feeds(folder: Path | None) -> Feeds:
    """Read the CSV files that are there.

    Raises:
        Misconfigured: A file cannot be read, or is too large.
    """
    if folder is None:
        return Feeds()
    people: dict[str, Person] = {}
    patients: dict[str, Patient] = {}
    shifts: dict[str, list[Shift]] = defaultdict(list)
    stays: dict[str, list[Stay]] = defaultdict(list)

    def staff(row: Row) -> None:
        one = _person(row)
        people[one.name] = one

    def patient(row: Row) -> None:
        one = _patient(row)
        patients[one.patient_id] = one

    def shift(row: Row) -> None:
        shifts[_needed(row, "name")].append(
            Shift(_moment(row["begins"]), _moment(row["ends"]))
        )

    def stay(row: Row) -> None:
        stays[_needed(row, "patient_id")].append(
            Stay(
                _moment(row["begins"]), _moment(row["ends"]), row["department"].strip()
            )
        )

    takers = {
        Feed.STAFF: staff,
        Feed.PATIENTS: patient,
        Feed.SHIFTS: shift,
        Feed.STAYS: stay,
    }
    skipped: dict[str, int] = {}
    given = set()
    for feed, take in takers.items():
        path = folder / f"{feed}.csv"
        if path.exists():
            given.add(feed)
            skipped[path.name] = _read(path, take)
    world = World(
        people=people,
        patients=patients,
        on_duty={name: tuple(sorted(each)) for name, each in shifts.items()},
        in_care={name: tuple(sorted(each)) for name, each in stays.items()},
    )
    return Feeds(world, frozenset(given), skipped)


def _read(path: Path, take: Callable[[Row], None]) -> int:
    """Give each row to ``take``; return how many were none."""
    skipped = 0
    try:
        if path.stat().st_size > FEED_BYTES_MAX:
            raise Misconfigured(f"{path.name}: too large for a feed of the review")
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
            for row in csv.DictReader(stream, restval=""):
                try:
                    take({k: v for k, v in row.items() if isinstance(k, str)})
                except (LookupError, ValueError, AttributeError, TypeError):
                    skipped += 1
    except (OSError, csv.Error) as error:
        raise Misconfigured(f"{path.name}: cannot be read as a feed") from error
    return skipped


def _needed(row: Row, name: str) -> str:
    value = row[name].strip()
    if not value or len(value) > FIELD_CHARACTERS_MAX:
        raise ValueError(name)
    return value


def _moment(text: str) -> datetime:
    found = datetime.fromisoformat(text.strip())
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _person(row: Row) -> Person:
    born, left = row.get("born", "").strip(), row.get("left", "").strip()
    return Person(
        name=_needed(row, "name"),
        department=row.get("department", "").strip(),
        roles=frozenset(row.get("roles", "").replace(";", " ").split()),
        surname=fold(row.get("surname", "")),
        address=fold(row.get("address", "")),
        patient_id=row.get("patient_id", "").strip(),
        born=date.fromisoformat(born) if born else None,
        left=_moment(left) if left else None,
    )


def _patient(row: Row) -> Patient:
    seen = row.get("last_seen", "").strip()
    return Patient(
        patient_id=_needed(row, "patient_id"),
        address=fold(row.get("address", "")),
        is_flagged=_is_yes(row.get("is_flagged", "")),
        is_staff=_is_yes(row.get("is_staff", "")),
        last_seen=_moment(seen) if seen else None,
    )


def _is_yes(text: str) -> bool:
    return text.strip().casefold() in {"1", "true", "yes", "ja"}


class Known:
    """Knowledge of a node; what is asked twice is read once.

    Made anew for each run of the review, so that it never grows old.
    """

    def __init__(self, database: Database, feeds: Feeds) -> None:
        """Read accounts and devices; patients and studies are read when asked."""
        self._database = database
        self._feeds = feeds
        self._people = _accounts(database) | _devices(database)
        with database.read() as connection:
            found = decoys(connection)
        self._canaries = {v for kind, v in found if kind is not DecoyKind.TITLE}
        self.decoy_titles = frozenset(v for k, v in found if k is DecoyKind.TITLE)
        self.patient = lru_cache(_REMEMBERED)(self._patient)
        self.study = lru_cache(_REMEMBERED)(self._study)
        self.studies_of = lru_cache(_REMEMBERED)(self._studies_of)

    @property
    def feeds(self) -> frozenset[Feed]:
        """Which of the feeds that rules need there are."""
        given = set(self._feeds.given) | {Feed.STUDIES}
        if self._canaries or self.decoy_titles:
            given.add(Feed.DECOYS)
        return frozenset(given)

    def person(self, name: str) -> Person | None:
        """Return who bears this name in trails."""
        told = self._feeds.world.person(name)
        here = self._people.get(name)
        if told is None or here is None:
            return told or here
        return replace(told, roles=told.roles | here.roles, created=here.created)

    def shifts(self, name: str) -> tuple[Shift, ...]:
        """Return when somebody was on duty."""
        return self._feeds.world.shifts(name)

    def stays(self, patient_id: str) -> tuple[Stay, ...]:
        """Return in whose care a patient was."""
        return self._feeds.world.stays(patient_id)

    def _patient(self, patient_id: str) -> Patient | None:
        told = self._feeds.world.patient(patient_id)
        found = told or Patient(patient_id=patient_id)
        if patient_id:
            query = select(
                patient_row.c.patient_name_alphabetic, patient_row.c.patient_birth_date
            ).where(patient_row.c.patient_id == patient_id)
            with self._database.read() as connection:
                row = connection.execute(query.limit(1)).one_or_none()
            if row is not None:
                found = replace(
                    found, surname=row[0].partition("^")[0], born=_date(row[1])
                )
            elif told is None and patient_id not in self._canaries:
                return None
        return replace(found, is_canary=patient_id in self._canaries)

    def _study(self, uid: str) -> StudyOf | None:
        return next(iter(self._read(study_row.c.study_instance_uid == uid)), None)

    def _studies_of(self, patient_id: str) -> tuple[StudyOf, ...]:
        if not patient_id:
            return ()
        return self._read(study_row.c.patient_id == patient_id)

    def _read(self, which: object) -> tuple[StudyOf, ...]:
        columns = study_row.c
        query = select(
            columns.id,
            columns.study_instance_uid,
            columns.patient_id,
            columns.study_date,
            columns.referring_physician_name_alphabetic,
        ).where(which)  # type: ignore[arg-type]
        with self._database.read() as connection:
            rows = connection.execute(
                query.order_by(columns.study_date.desc()).limit(_STUDIES_MAX)
            ).all()
            found = []
            for row in rows:
                sources = connection.scalars(
                    select(item_value.c.value).where(
                        item_value.c.owner == _OF_STUDY,
                        item_value.c.owner_id == row.id,
                        item_value.c.tag == SOURCE,
                    )
                ).all()
                assigned = connection.scalars(
                    select(assignment.c.assignee).where(
                        assignment.c.study_uid == row.study_instance_uid
                    )
                ).all()
                found.append(
                    StudyOf(
                        uid=row.study_instance_uid,
                        patient_id=row.patient_id,
                        origin=sources[0] if len(sources) == 1 else "",
                        performing=frozenset(sources),
                        assigned=frozenset(
                            each.rpartition(" ")[2] for each in assigned
                        ),
                        performed=_performed(row.study_date),
                        referring=self._named(row.referring_physician_name_alphabetic),
                        is_canary=row.study_instance_uid in self._canaries,
                    )
                )
        return tuple(found)

    def _named(self, folded: str) -> frozenset[str]:
        """Return accounts whose surname a study's referrer bears.

        Names are no identities: it explains a look, and never accuses.
        """
        surname = folded.partition("^")[0]
        if not surname:
            return frozenset()
        return frozenset(
            each.name
            for each in self._feeds.world.people.values()
            if each.surname == surname
        )


def _accounts(database: Database) -> dict[str, Person]:
    columns = account.c
    with database.read() as connection:
        rows = connection.execute(
            select(columns.name, columns.roles, columns.created_us, columns.disabled_us)
        ).all()
    return {
        row.name: Person(
            name=row.name,
            roles=frozenset(json.loads(row.roles)),
            created=from_us(row.created_us),
            left=None if row.disabled_us is None else from_us(row.disabled_us),
        )
        for row in rows
    }


def _devices(database: Database) -> dict[str, Person]:
    columns = device.c
    with database.read() as connection:
        rows = connection.execute(
            select(columns.name, columns.enrolled_us, columns.revoked_us)
        ).all()
    return {
        row.name: Person(
            name=row.name,
            kind="device",
            created=from_us(row.enrolled_us),
            left=None if row.revoked_us is None else from_us(row.revoked_us),
        )
        for row in rows
    }


def _date(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _performed(text: str) -> datetime | None:
    day = _date(text)
    if day is None:
        return None
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(hours=12)


def blind(
    rules: Iterable[tuple[str, frozenset[Feed]]], given: frozenset[Feed]
) -> dict[str, tuple[str, ...]]:
    """Return which rules are silent, and which feeds they lack."""
    return {
        rule: tuple(sorted(map(str, needs - given)))
        for rule, needs in rules
        if needs - given
    }
