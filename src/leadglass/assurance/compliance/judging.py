"""From what probes saw to what each control comes to."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final

from leadglass.assurance.compliance import inventory
from leadglass.assurance.compliance.controls import Control, Kind, Profile
from leadglass.assurance.compliance.experiments.table import EXPERIMENTS
from leadglass.assurance.compliance.looking import CHECKS
from leadglass.assurance.compliance.probe import Observation, Seen, Verdict
from leadglass.assurance.compliance.state import NodeState
from leadglass.assurance.compliance.twin import Twin
from leadglass.errors import LeadglassError

# Says how far a run is: probes done, of how many, and which comes next.
Progress = Callable[[int, int, str], None]

_RISKS: Final = "risks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attestation:
    """What somebody vouches for.

    Attributes:
        control: Id of the control.
        document: Its name.
        version: Of the document.
        sha256: Of its file; "" if there is none here.
        owner: Who answers for it.
        by: Who entered it.
        at: When.
        ends: Until when it is taken.
    """

    control: str
    document: str
    version: str
    sha256: str
    owner: str
    by: str
    at: datetime
    ends: datetime

    def members(self) -> dict[str, Any]:
        """Return what ``--json`` prints."""
        return {
            "control": self.control,
            "document": self.document,
            "version": self.version,
            "sha256": self.sha256,
            "owner": self.owner,
            "by": self.by,
            "at": self.at.isoformat(),
            "ends": self.ends.isoformat(),
        }


@dataclass(frozen=True, slots=True)
class Result:
    """What a control comes to.

    Attributes:
        control: Which.
        verdict: Pass, fail, attested or not covered; never "compliant".
        note: Why, where the verdict alone does not say it.
        observations: Names of the probes that it rests on.
        attestation: Whose word it rests on, beside or alone.
    """

    control: Control
    verdict: Verdict
    note: str
    observations: tuple[str, ...]
    attestation: Attestation | None = None


def observe(
    state: NodeState, twin: Twin, progress: Progress = lambda *_: None
) -> dict[str, Observation]:
    """Make every experiment and every check; none keeps another from being made."""
    found: dict[str, Observation] = {}
    total = len(CHECKS) + len(EXPERIMENTS)
    for check in CHECKS:
        progress(len(found), total, check.title)
        found[check.name] = _observed(
            check.name, check.title, check.expected, partial(check.run, state)
        )
    for each in EXPERIMENTS:
        progress(len(found), total, each.title)
        found[each.name] = _observed(
            each.name,
            each.title,
            each.expected,
            partial(each.run, twin),
            is_experiment=True,
        )
    found[_RISKS] = weighed(found)
    progress(total, total, "")
    return found


def _observed(
    name: str,
    title: str,
    expected: str,
    run: Callable[[], Seen],
    *,
    is_experiment: bool = False,
) -> Observation:
    began = time.monotonic()
    try:
        seen = run()
    except (LeadglassError, OSError) as error:
        # What cannot be shown does not hold.
        why = f"it could not be made: {type(error).__name__}"
        seen = Seen((why,), why)
    return Observation(
        probe=name,
        title=title,
        verdict=seen.verdict,
        expected=expected,
        observed=seen.observed,
        evidence=seen.evidence,
        took_ms=round(1_000 * (time.monotonic() - began)),
        is_experiment=is_experiment,
    )


def weighed(found: Mapping[str, Observation]) -> Observation:
    """Hold the drafted threats against what stands in their way."""
    open_ = []
    lines = []
    for each in inventory.THREATS:
        failed = [
            name
            for name in each.safeguards
            if name not in found or found[name].verdict is Verdict.FAIL
        ]
        lines.append(f"{each.threat}: {'open, ' if failed else ''}{each.safeguards}")
        if failed:
            open_.append(each.threat)
    told = f"{len(inventory.THREATS)} threats are drafted, {len(open_)} are open"
    return Observation(
        probe=_RISKS,
        title="Threats, held against what stands in their way",
        verdict=Verdict.FAIL if open_ else Verdict.PASS,
        expected="no threat whose safeguard has failed",
        observed=": ".join([told, "; ".join(open_)]) if open_ else told,
        evidence=tuple(lines),
    )


def judge(
    controls: Iterable[Control],
    found: Mapping[str, Observation],
    attested: Mapping[str, Attestation],
    now: datetime,
) -> list[Result]:
    """Return what each control comes to."""
    return [_judged(each, found, attested.get(each.id), now) for each in controls]


def _judged(
    control: Control,
    found: Mapping[str, Observation],
    attestation: Attestation | None,
    now: datetime,
) -> Result:
    seen = [found[name] for name in control.probes if name in found]
    verdict, note = _of_probes(control, seen)
    is_vouched = attestation is not None and attestation.ends > now
    if control.kind is Kind.ATTESTED:
        verdict = Verdict.ATTESTED if is_vouched else Verdict.NOT_COVERED
    elif control.kind is Kind.HYBRID and verdict is Verdict.PASS and not is_vouched:
        verdict = Verdict.NOT_COVERED
        note = "what can be tried passed"
    if control.kind is not Kind.AUTOMATIC and not is_vouched:
        what = "has run out" if attestation else "is missing"
        missing = f"attestation {what}: {control.document}"
        note = f"{note}; {missing}" if note else missing
    return Result(
        control, verdict, note, tuple(each.probe for each in seen), attestation
    )


def _of_probes(control: Control, seen: Sequence[Observation]) -> tuple[Verdict, str]:
    missing = set(control.probes) - {each.probe for each in seen}
    failed = [each for each in seen if each.verdict is Verdict.FAIL]
    uncovered = [each for each in seen if each.verdict is Verdict.NOT_COVERED]
    if failed:
        return Verdict.FAIL, "; ".join(each.observed for each in failed)
    if missing:
        return Verdict.NOT_COVERED, f"not made: {', '.join(sorted(missing))}"
    if uncovered:
        return Verdict.NOT_COVERED, "; ".join(each.observed for each in uncovered)
    return Verdict.PASS, ""


def counted(results: Iterable[Result]) -> dict[str, int]:
    """Return how many controls came to each verdict."""
    counts = {str(each): 0 for each in Verdict}
    for each in results:
        counts[str(each.verdict)] += 1
    return counts


def members(result: Result, profile: Profile) -> dict[str, Any]:
    """Return what ``--json`` prints of a control."""
    control = result.control
    told: dict[str, Any] = {
        "id": control.id,
        "title": control.title,
        "kind": str(control.kind),
        "verdict": str(result.verdict),
        "note": result.note,
        "references": list(control.clauses(profile)),
        "csf": list(control.csf),
        "sp800_53": list(control.sp800_53),
        "probes": list(result.observations),
        "answers": list(control.answers),
    }
    if result.attestation is not None:
        told["attestation"] = result.attestation.members()
    return told
