"""A simulation as a file of JSON lines, and back.

Each line is an object with one member, whose name says what it is; the first is the
header. ``docs/reference/simulation.md`` is its document.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Any, Final, TextIO

from leadglass.assurance.review.knowledge import (
    Patient,
    Person,
    Shift,
    Stay,
    StudyOf,
    World,
)
from leadglass.assurance.simulation.draft import Label
from leadglass.assurance.simulation.hospital import Known
from leadglass.assurance.simulation.patients import Care, Duty
from leadglass.assurance.simulation.scale import Scale
from leadglass.assurance.simulation.simulation import Line
from leadglass.assurance.trails.fact import Fact
from leadglass.errors import BadData

FORMAT: Final = "leadglass-simulation"
VERSION: Final = 1
# A label of an attack of some hundred facts is the longest line by far; what is longer
# than this was not written by us.
LINE_CHARACTERS_MAX: Final = 4_000_000

# What a JSON of another shape makes Python raise, whichever member it is.
_NOT_OURS: Final = (
    *(LookupError, ValueError, TypeError, AttributeError),
    *(OverflowError, RecursionError),
)


def header(scale: Scale) -> dict[str, Any]:
    """Return the first line."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "seed": scale.seed,
        "beds": scale.beds,
        "days": scale.days,
        "first": scale.first.isoformat(),
        "light": scale.is_light,
    }


def scale_of(line: str) -> Scale:
    """Return the scale that a header says.

    Raises:
        BadData: It is not the header of a simulation, or of another version.
    """
    try:
        members = json.loads(line)
        if members["format"] != FORMAT or members["version"] != VERSION:
            raise BadData("not a simulation of a version that is known here")
        return Scale(
            seed=int(members["seed"]),
            beds=int(members["beds"]),
            days=int(members["days"]),
            first=date.fromisoformat(members["first"]),
            is_light=bool(members["light"]),
        )
    except _NOT_OURS as error:
        raise BadData("not the header of a simulation") from error


def _text(value: object) -> Any:
    """Return what JSON has no form for."""
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, date):  # a moment is one, too
        return value.isoformat()
    raise TypeError(type(value))


def _plain(value: Any) -> dict[str, Any]:
    """Return the members of a value of ``knowledge``; what is empty is left out."""
    return {
        name: member
        for name in type(value).__slots__
        if (member := getattr(value, name)) not in ("", None, False, frozenset())
    }


def _fact(fact: Fact) -> dict[str, Any]:
    members = fact.members()
    del members["trail"]  # that of whoever takes it in
    return members


# What a line is, and what stands in it.
_WORDS: Final[Mapping[type, tuple[str, Callable[[Any], Any]]]] = {
    Fact: ("fact", _fact),
    Label: ("label", Label.members),
    Person: ("person", _plain),
    Patient: ("patient", _plain),
    StudyOf: ("study", _plain),
    Duty: ("shift", lambda duty: [duty.name, duty.shift.begins, duty.shift.ends]),
    Care: (
        "stay",
        lambda care: [
            *(care.patient_id, care.stay.begins, care.stay.ends, care.stay.department)
        ],
    ),
}


_ENCODE: Final = json.JSONEncoder(
    check_circular=False, separators=(",", ":"), default=_text
).encode


def write(lines: Iterable[Line], scale: Scale, stream: TextIO) -> Iterator[Line]:
    """Write everything; yield each line when it is written."""
    stream.write(_ENCODE(header(scale)) + "\n")
    for line in lines:
        word, members = _WORDS[type(line)]
        stream.write(f'{{"{word}":{_ENCODE(members(line))}}}\n')
        yield line


def _moment(text: Any) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


# How members become values again, where JSON has only texts.
_VALUES: Final[Mapping[str, Callable[[Any], Any]]] = {
    "born": date.fromisoformat,
    "left": _moment,
    "created": _moment,
    "last_seen": _moment,
    "performed": _moment,
    "reported": _moment,
    "roles": frozenset,
    "referring": frozenset,
    "performing": frozenset,
    "assigned": frozenset,
}


def _valued(members: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _VALUES[name](value) if name in _VALUES else value
        for name, value in members.items()
    }


_READ: Final[Mapping[str, Callable[[Any], Line]]] = {
    "fact": lambda members: Fact.of({"trail": 0, **members}),
    "label": Label.of,
    "person": lambda members: Person(**_valued(members)),
    "patient": lambda members: Patient(**_valued(members)),
    "study": lambda members: StudyOf(**_valued(members)),
    "shift": lambda m: Duty(str(m[0]), Shift(_moment(m[1]), _moment(m[2]))),
    "stay": lambda m: Care(str(m[0]), Stay(_moment(m[1]), _moment(m[2]), str(m[3]))),
}


def read(stream: TextIO) -> tuple[Scale, Iterator[Line]]:
    """Return the scale of a file, and its lines one after the other.

    Raises:
        BadData: It is no simulation; while it is read, when a line is broken.
    """
    return scale_of(stream.readline(LINE_CHARACTERS_MAX)), _lines(stream)


def _lines(stream: TextIO) -> Iterator[Line]:
    while line := stream.readline(LINE_CHARACTERS_MAX):
        try:
            ((word, members),) = json.loads(line).items()
            yield _READ[word](members)
        except _NOT_OURS as error:
            raise BadData("a line of the simulation cannot be read") from error


class Learned:
    """Knowledge that grows while a simulation goes on."""

    def __init__(self) -> None:
        self._people: dict[str, Person] = {}
        self._patients: dict[str, Patient] = {}
        self._by_uid: dict[str, StudyOf] = {}
        self._by_patient: dict[str, tuple[StudyOf, ...]] = {}
        self._on_duty: dict[str, tuple[Shift, ...]] = {}
        self._in_care: dict[str, tuple[Stay, ...]] = {}
        self.world = World(
            people=self._people,
            patients=self._patients,
            by_uid=self._by_uid,
            by_patient=self._by_patient,
            on_duty=self._on_duty,
            in_care=self._in_care,
        )

    def take(self, known: Known) -> None:
        """Learn one thing; what is said again replaces what was known."""
        match known:
            case Person():
                self._people[known.name] = known
            case Patient():
                self._patients[known.patient_id] = known
            case StudyOf():
                self._by_uid[known.uid] = known
                others = self._by_patient.get(known.patient_id, ())
                self._by_patient[known.patient_id] = (
                    *(each for each in others if each.uid != known.uid),
                    known,
                )
            case Duty(name, shift):
                shifts = (*self._on_duty.get(name, ()), shift)
                self._on_duty[name] = tuple(sorted(shifts))
            case Care(patient_id, stay):
                stays = (*self._in_care.get(patient_id, ()), stay)
                self._in_care[patient_id] = tuple(sorted(stays))
