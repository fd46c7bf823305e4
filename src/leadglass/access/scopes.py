r"""Which studies a rule reaches.

A scope is written as ``modality=CT,MR;institution=North``: fields are joined by
AND, values of a field by OR. A backslash takes the next character as it is; no
DICOM value holds one, since it separates values there (PS3.5 §6.4).
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Self

from leadglass.errors import Misconfigured

# Each value becomes a parameter of every query of the subject; longer lists are a
# field of the study (an institution, a department) that nobody has filled in.
VALUES_MAX = 1_000
# The longest value of all fields is a person name: three component groups of 64
# characters and two separators (PS3.5 §6.2, PN).
VALUE_CHARACTERS_MAX = 194
TEXT_CHARACTERS_MAX = VALUES_MAX * VALUE_CHARACTERS_MAX

# In the scope of a device: what this device has sent; no device can be called so. In
# that of anybody: what is assigned to him.
OWN = "own"

# How "no restriction" is written; the empty text is more often a mistake.
EVERYTHING_TEXT = "everything"

# The name of a field in a text, and the attribute that holds it.
FIELDS = {
    "institution": "institutions",
    "department": "departments",
    "modality": "modalities",
    "referring_physician": "referring_physicians",
    "patient_id": "patient_ids",
    "study_uid": "study_uids",
    "source": "sources",
    "assigned_to": "assignees",
    "patient_list": "patient_lists",
}

# What a value must be, in all fields or in one, and what is said if it is not: the
# value itself may be a patient's, so it is not repeated.
_Check = tuple[Callable[[str], object], str]
_CHECKS: tuple[_Check, ...] = (
    (bool, "a value is empty; name one, or leave the field out"),
    (lambda text: text == text.strip(), "a value begins or ends blank; remove that"),
    (
        lambda text: len(text) <= VALUE_CHARACTERS_MAX,
        f"a value is longer than {VALUE_CHARACTERS_MAX} characters; shorten it",
    ),
    (str.isprintable, "a value has a control character; remove it"),
)
_CHECKS_OF: dict[str, tuple[_Check, ...]] = {
    "modality": ((str.isupper, "modalities are written in capitals, as CT"),),
    "study_uid": (
        # PS3.5 §9.1
        (re.compile(r"[0-9.]{1,64}").fullmatch, "a UID has 1 to 64 digits and dots"),
    ),
}

_SPECIAL = re.compile(r"([\\,;=])")


def _problem(key: str, values: frozenset[str]) -> str | None:
    """Say the first thing that is wrong with the values of one field."""
    if len(values) > VALUES_MAX:
        return f"more than {VALUES_MAX} values; name an institution or a department"
    for holds, problem in _CHECKS + _CHECKS_OF.get(key, ()):
        if not all(holds(value) for value in values):
            return problem
    return None


@dataclass(frozen=True, slots=True)
class Scope:
    """A set of studies, by what they carry; an empty field does not restrict.

    Attributes:
        institutions: Institution Name (0008,0080).
        departments: Institutional Department Name (0008,1040).
        modalities: Modality (0008,0060) of any of the study's series.
        referring_physicians: Referring Physician's Name (0008,0090).
        patient_ids: Patient ID (0010,0020).
        study_uids: Study Instance UID (0020,000D).
        sources: Names of the devices that sent the instances, or `OWN`.
        assignees: Whom the study is assigned to, as ``operator alice``, or `OWN`.
        patient_lists: Names of lists of patients that the patient is on.

    Raises:
        Misconfigured: A value that no study can have; all of them at once.
    """

    institutions: frozenset[str] = frozenset()
    departments: frozenset[str] = frozenset()
    modalities: frozenset[str] = frozenset()
    referring_physicians: frozenset[str] = frozenset()
    patient_ids: frozenset[str] = frozenset()
    study_uids: frozenset[str] = frozenset()
    sources: frozenset[str] = frozenset()
    assignees: frozenset[str] = frozenset()
    patient_lists: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        problems = [
            f"scope: {key}: {problem}"
            for key, attribute in FIELDS.items()
            if (problem := _problem(key, getattr(self, attribute))) is not None
        ]
        if problems:
            raise Misconfigured(*problems)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a scope as ``str()`` writes it; spaces round a value are dropped.

        Raises:
            Misconfigured: Not a scope; all that is wrong, each with its remedy.
        """
        if len(text) > TEXT_CHARACTERS_MAX:
            raise Misconfigured("scope: too long; name an institution or a department")
        if text.strip() == EVERYTHING_TEXT:
            return cls()
        values: dict[str, set[str]] = {}
        problems = []
        for part in _split(text, ";"):
            key, *rest = _split(part, "=")
            key = key.strip()
            if key not in FIELDS:
                known = ", ".join(FIELDS)
                problems.append(f"scope: {key!r} is no field; use {known}")
            elif len(rest) != 1:
                problems.append(f"scope: {key}: write {key}=VALUE,VALUE")
            else:
                found = {_plain(value) for value in _split(rest[0], ",")}
                values.setdefault(FIELDS[key], set()).update(found)
        if not text.strip():
            problems = [f"scope: empty; write {EVERYTHING_TEXT!r} if that is meant"]
        if problems:
            raise Misconfigured(*problems)
        return cls(**{name: frozenset(found) for name, found in values.items()})

    def __str__(self) -> str:
        parts = [
            f"{key}={','.join(_quote(value) for value in sorted(values))}"
            for key, attribute in FIELDS.items()
            if (values := getattr(self, attribute))
        ]
        return ";".join(parts) or EVERYTHING_TEXT

    @property
    def is_everything(self) -> bool:
        """Whether no field restricts."""
        return not any(getattr(self, each.name) for each in fields(self))

    def of_device(self, name: str) -> "Scope":
        """Return the scope with `OWN` said as the name of the device."""
        if OWN not in self.sources:
            return self
        return replace(self, sources=self.sources - {OWN} | {name})

    def of_assignee(self, subject: str) -> "Scope":
        """Return the scope with `OWN` among the assignees said as the subject."""
        if OWN not in self.assignees:
            return self
        return replace(self, assignees=self.assignees - {OWN} | {subject})

    def is_within(self, other: "Scope") -> bool:
        """Whether ``other`` surely reaches every study that this scope reaches."""
        return all(
            not (theirs := getattr(other, each.name))
            or ((ours := getattr(self, each.name)) and ours <= theirs)
            for each in fields(self)
        )


EVERYTHING = Scope()


def _split(text: str, separator: str) -> Iterator[str]:
    """Yield the parts between separators; escapes are left as they are."""
    start = position = 0
    while position < len(text):
        if text[position] == "\\":
            position += 1
        elif text[position] == separator:
            yield text[start:position]
            start = position + 1
        position += 1
    yield text[start:]


def _plain(text: str) -> str:
    """Undo the escapes of a value."""
    return re.sub(r"\\(.)", r"\1", text.strip(), flags=re.DOTALL)


def _quote(value: str) -> str:
    """Escape what would end a value."""
    return _SPECIAL.sub(r"\\\1", value)
