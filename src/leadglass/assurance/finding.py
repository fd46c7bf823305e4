"""A finding: one type for whoever finds something, with one report and one exit code.

A scan, the review of a configuration, the review of a trail and a compliance run all
yield these. None of their texts carries patient data: evidence counts, names
attributes that were present, or quotes what a program sent with values masked.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from leadglass.errors import BadData

# A finding is read by people: a title is one line, evidence and remedy a paragraph.
TITLE_CHARACTERS_MAX: Final = 200
TEXT_CHARACTERS_MAX: Final = 4_000


class Severity(StrEnum):
    """How bad it is; ordered, the mildest first."""

    INFO = "info"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """Return the place in the order, 0 for ``info``."""
        return _RANKS[self]

    def milder(self, steps: int) -> "Severity":
        """Return this severity, so many steps milder, but at least ``low``.

        What is only worth knowing stays so.
        """
        if self is Severity.INFO:
            return self
        return tuple(Severity)[max(self.rank - steps, Severity.LOW.rank)]


_RANKS: Final[Mapping[Severity, int]] = {
    each: rank for rank, each in enumerate(Severity)
}
# From here on a finding needs somebody: exit code 2, a red page.
ALARMING: Final = Severity.MEDIUM


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found.

    Attributes:
        id: Of the check or rule, such as ``DM-02`` or ``R-10``.
        severity: How bad it is here.
        target: Where: ``address:port``, ``file:line``, a control, a person.
        title: What, in one line.
        evidence: What was seen, without patient data.
        remedy: What to do, for this very product where it is known.
        references: Clauses: PS3.15 §, RFC, CFR, CVE.
        details: What programs want beside it: flat JSON values.
    """

    id: str
    severity: Severity
    target: str
    title: str
    evidence: str = ""
    remedy: str = ""
    references: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.id or not self.title:
            raise BadData("a finding needs the id of its check and a title")
        if len(self.title) > TITLE_CHARACTERS_MAX or "\n" in self.title:
            raise BadData("the title of a finding is one line")
        if max(len(self.evidence), len(self.remedy)) > TEXT_CHARACTERS_MAX:
            raise BadData("the text of a finding is a paragraph, not a dump")

    @property
    def is_alarming(self) -> bool:
        """Whether somebody has to act."""
        return self.severity.rank >= ALARMING.rank

    def members(self) -> dict[str, Any]:
        """Return what ``--json`` prints."""
        members: dict[str, Any] = {
            "id": self.id,
            "severity": str(self.severity),
            "target": self.target,
            "title": self.title,
            "evidence": self.evidence,
            "remedy": self.remedy,
            "references": list(self.references),
        }
        if self.details:
            members["details"] = dict(self.details)
        return members


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings, the worst first, then by target and id."""
    return sorted(
        findings, key=lambda each: (-each.severity.rank, each.target, each.id)
    )


def worst_of(findings: Iterable[Finding]) -> Severity:
    """Return the worst severity; ``info`` if nothing was found."""
    return max(
        (each.severity for each in findings),
        key=lambda each: each.rank,
        default=Severity.INFO,
    )
