"""What is known in a simulation, as the CSV files that the review of a node reads."""

import csv
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import date
from pathlib import Path
from typing import Any, Final

from leadglass.assurance.review.knowledge import Patient, Person
from leadglass.assurance.review.look import Feed
from leadglass.assurance.simulation.hospital import Known
from leadglass.assurance.simulation.patients import Care, Duty

_STAFF: Final = (
    *("name", "department", "roles", "surname", "address", "patient_id"),
    *("born", "left"),
)
_PATIENT: Final = ("patient_id", "address", "is_flagged", "is_staff", "last_seen")


def _shift(duty: Duty) -> tuple[object, ...]:
    return duty.name, duty.shift.begins, duty.shift.ends


def _stay(care: Care) -> tuple[object, ...]:
    return care.patient_id, care.stay.begins, care.stay.ends, care.stay.department


def _fields(names: tuple[str, ...]) -> Callable[[Any], tuple[object, ...]]:
    return lambda value: tuple(getattr(value, name) for name in names)


# What goes where, in which columns; studies are in the index of a node.
_FILES: Final[
    Mapping[type, tuple[Feed, tuple[str, ...], Callable[[Any], tuple[object, ...]]]]
] = {
    Person: (Feed.STAFF, _STAFF, _fields(_STAFF)),
    Patient: (Feed.PATIENTS, _PATIENT, _fields(_PATIENT)),
    Duty: (Feed.SHIFTS, ("name", "begins", "ends"), _shift),
    Care: (Feed.STAYS, ("patient_id", "begins", "ends", "department"), _stay),
}


def _cell(value: object) -> str:
    match value:
        case bool():
            return "yes" if value else ""
        case frozenset():
            return " ".join(sorted(value))
        case date():  # a moment is one, too
            return value.isoformat()
        case None:
            return ""
    return str(value)


@contextmanager
def feeds(folder: Path) -> Iterator[Callable[[Known], None]]:
    """Make a folder of feeds; gives what writes one thing that is known.

    Raises:
        FileExistsError: The folder is there.
    """
    folder.mkdir()
    with ExitStack() as stack:
        rows: dict[type, Any] = {}
        for kind, (feed, columns, _) in _FILES.items():
            path = folder / f"{feed}.csv"
            stream = stack.enter_context(path.open("x", encoding="utf-8", newline=""))
            rows[kind] = csv.writer(stream)
            rows[kind].writerow(columns)

        def write(known: Known) -> None:
            kind = type(known)
            if kind in rows:
                cells = _FILES[kind][2](known)
                rows[kind].writerow([_cell(each) for each in cells])

        yield write
