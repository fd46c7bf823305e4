"""What a probe is, and what it tells.

A probe answers one question about this node, by an experiment or by looking. It says
what it expected before it looks, and what it saw; its evidence is kept by hash in the
record, so that a report that is shown later can be held against it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final

from leadglass.assurance.finding import Finding, Severity
from leadglass.errors import BadData

# A paragraph: reports are read.
TEXT_CHARACTERS_MAX: Final = 2_000


class Verdict(StrEnum):
    """What came of it; there is no word for "compliant"."""

    PASS = "pass"  # noqa: S105  # a verdict
    FAIL = "fail"
    ATTESTED = "attested"
    NOT_COVERED = "not covered"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What a probe saw.

    Attributes:
        probe: Its name.
        title: What it does, in one line.
        verdict: ``PASS``, ``FAIL`` or ``NOT_COVERED``.
        expected: What should be seen.
        observed: What was seen, without patient data.
        evidence: The lines that show it, without patient data.
        took_ms: How long it took.
        is_experiment: Something was done to see it.
    """

    probe: str
    title: str
    verdict: Verdict
    expected: str
    observed: str
    evidence: tuple[str, ...] = ()
    took_ms: int = 0
    is_experiment: bool = False

    def __post_init__(self) -> None:
        if self.verdict is Verdict.ATTESTED:
            raise BadData("a probe sees; it vouches for nothing")

    @property
    def evidence_sha256(self) -> str:
        """Return the hash of the evidence, as the record holds it."""
        return sha256("\n".join(self.evidence).encode()).hexdigest()

    def members(self) -> dict[str, Any]:
        """Return what ``--json`` prints."""
        return {
            "probe": self.probe,
            "title": self.title,
            "verdict": str(self.verdict),
            "expected": self.expected,
            "observed": self.observed,
            "evidence": list(self.evidence),
            "evidence_sha256": self.evidence_sha256,
            "took_ms": self.took_ms,
            "is_experiment": self.is_experiment,
        }


@dataclass(frozen=True, slots=True)
class Seen:
    """What the body of a probe returns: did everything hold, and what was seen.

    Attributes:
        faults: What did not hold; empty: it passes.
        observed: What was seen, in a sentence.
        evidence: Lines that show it.
        is_covered: It could be looked at.
    """

    faults: tuple[str, ...] = ()
    observed: str = ""
    evidence: tuple[str, ...] = ()
    is_covered: bool = True

    @property
    def verdict(self) -> Verdict:
        """Return what that comes to."""
        if not self.is_covered:
            return Verdict.NOT_COVERED
        return Verdict.FAIL if self.faults else Verdict.PASS


@dataclass(slots=True)
class Witnessed:
    """Collects what a probe sees: each thing that must hold, held or not."""

    lines: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def expect(self, holds: object, what: str) -> bool:
        """Note one thing that must hold; return whether it does."""
        self.lines.append(f"{'ok' if holds else 'FAULT'}: {what}")
        if not holds:
            self.faults.append(what)
        return bool(holds)

    def note(self, what: str) -> None:
        """Note what is worth knowing."""
        self.lines.append(what)

    def seen(self, observed: str = "") -> Seen:
        """Return what was seen; without anything looked at, it covers nothing."""
        held = sum(line.startswith("ok: ") for line in self.lines)
        told = observed or f"{held} of {held + len(self.faults)} held"
        if self.faults:
            told += "; not: " + "; ".join(self.faults)
        return Seen(
            tuple(self.faults),
            told[:TEXT_CHARACTERS_MAX],
            tuple(self.lines),
            is_covered=bool(held or self.faults),
        )


def nothing_to_see(why: str) -> Seen:
    """Return that a probe could not look, and why."""
    return Seen(observed=why, is_covered=False)


def findings_of(observations: Iterable[Observation]) -> list[Finding]:
    """Return what failed, as findings."""
    return [
        Finding(
            id=each.probe,
            severity=Severity.HIGH,
            target="this node",
            title=each.title,
            evidence=each.observed,
            remedy=each.expected,
        )
        for each in observations
        if each.verdict is Verdict.FAIL
    ]
