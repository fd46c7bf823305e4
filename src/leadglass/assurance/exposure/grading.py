"""A grade from A to F for each port: what a stranger gets there, wherever it stands.

The grade goes by what would be found from the Internet: a firewall makes a finding
milder, not the PACS better.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from leadglass.assurance.exposure.checks.exposed import Exposure
from leadglass.assurance.finding import Severity


class Grade(StrEnum):
    """From the best to the worst."""

    A = "A"
    B = "B"
    C = "C"
    D = "D"
    E = "E"
    F = "F"


MEANINGS: Final[Mapping[Grade, str]] = MappingProxyType(
    {
        Grade.A: "a stranger reaches nothing",
        Grade.B: "a stranger learns trifles",
        Grade.C: "a stranger finds a weakness",
        Grade.D: "a stranger is let in, or is listened to in plaintext",
        Grade.E: "anyone reads patient data, or writes",
        Grade.F: "anyone reads patient data, and is offered to write",
    }
)
# Of 100, where 100 is a PACS that keeps nothing from anyone.
SCORES: Final[Mapping[Grade, int]] = MappingProxyType(
    {Grade.A: 0, Grade.B: 10, Grade.C: 30, Grade.D: 55, Grade.E: 80, Grade.F: 100}
)
_BY_WORST: Final[Mapping[Severity, Grade]] = MappingProxyType(
    {
        Severity.INFO: Grade.A, Severity.LOW: Grade.B, Severity.MEDIUM: Grade.C,
        Severity.HIGH: Grade.D, Severity.CRITICAL: Grade.D,
    }
)  # fmt: skip


def grade(found: Exposure, severities: Iterable[Severity]) -> Grade:
    """Return the grade of what was found, by severities as of the Internet."""
    if found.shows_patients and (found.is_written or found.is_storage_offered):
        return Grade.F
    if found.shows_patients or found.is_written or found.is_downloadable:
        return Grade.E
    worst = max(severities, key=lambda each: each.rank, default=Severity.INFO)
    return _BY_WORST[worst]
