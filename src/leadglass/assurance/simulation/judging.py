"""How well rules find what is known to have happened.

An alert is true when one of the facts that it names was part of an attack, whichever
rule raised it: somebody who looks into it finds the attack. A script counts as found
for a rule when an alert of that rule names one of its facts.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from leadglass.assurance.review.look import Settings
from leadglass.assurance.review.reviewer import Alert, Reviewer
from leadglass.assurance.simulation.draft import Label
from leadglass.assurance.simulation.lines import Learned
from leadglass.assurance.simulation.simulation import Line
from leadglass.assurance.trails.fact import Fact, Kind, Reach
from leadglass.errors import BadData

# What the goals are about: somebody was told of a patient, or saw or took images.
ACCESSES: Final = frozenset({Kind.QUERY, Kind.VIEW, Kind.RETRIEVE, Kind.EXPORT})


class Judged(Protocol):
    """Whoever is judged: ``review.reviewer.Reviewer``."""

    def take(self, fact: Fact) -> Iterable[object]:
        """Look at the next fact."""

    def changed(self) -> tuple[Alert, ...]:
        """Return alerts, as they are now, that are new or grew since asked before."""

    def explains(self, fact: Fact) -> bool:
        """Whether a relation explains this access."""


def is_access(fact: Fact) -> bool:
    """Whether somebody reached a patient's data."""
    return fact.kind in ACCESSES and fact.reach > Reach.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class OfRule:
    """What became of one rule.

    Attributes:
        rule: Its id.
        alerts: How many it raised.
        true: How many of them are about an attack.
        scripts: How many attacks it ought to find.
        found: How many it found.
    """

    rule: str
    alerts: int
    true: int
    scripts: int
    found: int

    @property
    def precision(self) -> float | None:
        """Of its alerts, the part that is about an attack; None without alerts."""
        return self.true / self.alerts if self.alerts else None

    @property
    def recall(self) -> float | None:
        """Of the attacks that it ought to find, the part it found; None for none."""
        return self.found / self.scripts if self.scripts else None

    def members(self) -> dict[str, Any]:
        """Return what ``--json`` prints."""
        return {
            "rule": self.rule,
            "alerts": self.alerts,
            "true": self.true,
            "precision": _rounded(self.precision),
            "scripts": self.scripts,
            "found": self.found,
            "recall": _rounded(self.recall),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What became of all rules.

    Attributes:
        rules: Rule by rule, in order of their ids.
        facts: How many there were.
        accesses: How many of them reach a patient's data.
        alerts: How many there were.
        false: How many are about no attack.
        scripts: How many attacks there were.
        found: How many were found by one of the rules that ought to.
        missed: Which were not, by name of the script.
        quiet: How many quiet attacks there were; the counts before are without them.
        quiet_found: How many of those were found all the same.
        looks: Accesses by people to images that were no attack.
        explained: How many of them a relation explains.
    """

    rules: tuple[OfRule, ...]
    facts: int
    accesses: int
    alerts: int
    false: int
    scripts: int
    found: int
    missed: Mapping[str, int]
    quiet: int
    quiet_found: int
    looks: int
    explained: int

    @property
    def recall(self) -> float:
        """Of all attacks, the part that was found."""
        return self.found / self.scripts if self.scripts else 1.0

    @property
    def alerts_per_1000(self) -> float:
        """Alerts, true and false, for each 1,000 accesses."""
        return 1_000 * self.alerts / max(1, self.accesses)

    @property
    def false_per_1000(self) -> float:
        """False alerts for each 1,000 accesses."""
        return 1_000 * self.false / max(1, self.accesses)

    @property
    def explained_share(self) -> float:
        """Of looks that were no attack, the part that a relation explains."""
        return self.explained / self.looks if self.looks else 1.0

    def members(self) -> dict[str, Any]:
        """Return what ``--json`` prints."""
        return {
            "facts": self.facts,
            "accesses": self.accesses,
            "alerts": self.alerts,
            "alerts_per_1000": _rounded(self.alerts_per_1000),
            "false_per_1000": _rounded(self.false_per_1000),
            "scripts": self.scripts,
            "found": self.found,
            "recall": _rounded(self.recall),
            "missed": dict(self.missed),
            "quiet": self.quiet,
            "quiet_found": self.quiet_found,
            "looks": self.looks,
            "explained": _rounded(self.explained_share),
            "rules": [each.members() for each in self.rules],
        }


def _rounded(share: float | None) -> float | None:
    return None if share is None else round(share, 4)


# So often the alerts are asked for; they grow while a day goes on.
_ASKED_EVERY: Final = 5_000
# What a fact was, one byte for each, since labels come after the facts.
_NO_LOOK, _EXPLAINED, _UNEXPLAINED = 0, 1, 2


@dataclass(slots=True)
class _Kept:
    """What is kept while facts go by."""

    raised: dict[str, Alert] = field(default_factory=dict)
    labels: list[Label] = field(default_factory=list)
    looks: bytearray = field(default_factory=bytearray)
    accesses: int = 0


def trial(lines: Iterable[Line], settings: Settings | None = None) -> Judgement:
    """Judge the rules of the review, as a house has set them."""
    learned = Learned()
    return judge(lines, learned, Reviewer(learned.world, settings))


def judge(lines: Iterable[Line], learned: Learned, judged: Judged) -> Judgement:
    """Show everything to the rules in order, and tell how well they did.

    ``judged`` asks ``learned.world``; labels are shown to nobody but this function.

    Raises:
        BadData: Facts are missing, or a label names others.
    """
    kept = _Kept()
    for line in lines:
        if isinstance(line, Fact):
            _show(kept, judged, line)
        elif isinstance(line, Label):
            if not 0 <= min(line.facts) <= max(line.facts) < len(kept.looks):
                raise BadData(
                    "a label of the simulation names facts that are not there"
                )
            kept.labels.append(line)
        else:
            learned.take(line)
    _keep(kept, judged)
    return _told(kept)


def _keep(kept: _Kept, judged: Judged) -> None:
    kept.raised.update((alert.key, alert) for alert in judged.changed())


def _show(kept: _Kept, judged: Judged, fact: Fact) -> None:
    """Show one fact; its number is that of its place."""
    if fact.number != len(kept.looks):
        raise BadData("the facts of a simulation are numbered without a gap")
    mark = _NO_LOOK
    if is_access(fact):
        kept.accesses += 1
        if fact.who_kind == "person" and fact.reach is Reach.IMAGES:
            # Asked before the rules see it: what they learn of it explains nothing.
            mark = _EXPLAINED if judged.explains(fact) else _UNEXPLAINED
    kept.looks.append(mark)
    for _ in judged.take(fact):
        pass  # what is new is in ``changed`` too, and grows there
    if len(kept.looks) % _ASKED_EVERY == 0:
        _keep(kept, judged)


def _told(kept: _Kept) -> Judgement:
    attack_of = {
        number: label.number for label in kept.labels for number in label.facts
    }
    alerts, true = Counter[str](), Counter[str]()
    found_by: dict[int, set[str]] = defaultdict(set)
    for alert in kept.raised.values():
        attacks = {attack_of[each] for each in alert.facts if each in attack_of}
        alerts[alert.rule] += 1
        true[alert.rule] += bool(attacks)
        for attack in attacks:
            found_by[attack].add(alert.rule)
    scripts, found, missed = Counter[str](), Counter[str](), Counter[str]()
    plain = [each for each in kept.labels if not each.is_quiet]
    for label in plain:
        for rule in label.rules:
            scripts[rule] += 1
            found[rule] += rule in found_by[label.number]
        if not found_by[label.number] & set(label.rules):
            missed[label.script] += 1
    quiet = [each for each in kept.labels if each.is_quiet]
    facts = len(kept.looks)
    for number in attack_of:
        kept.looks[number] = _NO_LOOK
    explained = kept.looks.count(_EXPLAINED)
    return Judgement(
        rules=tuple(
            OfRule(
                rule=rule,
                alerts=alerts[rule],
                true=true[rule],
                scripts=scripts[rule],
                found=found[rule],
            )
            for rule in sorted({*alerts, *scripts})
        ),
        facts=facts,
        accesses=kept.accesses,
        alerts=alerts.total(),
        false=alerts.total() - true.total(),
        scripts=len(plain),
        found=len(plain) - missed.total(),
        missed=missed,
        quiet=len(quiet),
        quiet_found=sum(bool(found_by[e.number] & set(e.rules)) for e in quiet),
        looks=explained + kept.looks.count(_UNEXPLAINED),
        explained=explained,
    )
