"""The reviewer: shows each fact to the rules, and folds what they say into alerts.

Facts come one after the other as they were recorded. What is remembered is bounded and
can be saved, so that a node goes on after a restart where it was.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from leadglass.assurance.finding import Finding, Severity
from leadglass.assurance.review.knowledge import Knowledge
from leadglass.assurance.review.look import DAY_S, SEPARATOR, Hit, Look, Rule, Settings
from leadglass.assurance.review.memory import PAIRS_MAX, VALUES_MAX, Memory
from leadglass.assurance.review.relations import (
    Access,
    Explanation,
    can_be_judged,
    explain,
    studies_near,
)
from leadglass.assurance.review.rules import habits
from leadglass.assurance.review.rules.relations import OPENING, REACHING
from leadglass.assurance.review.rules.table import BY_ID, RULES
from leadglass.assurance.trails.fact import Fact, Kind, Touched

# Accesses of a day that tell something of what is usual; fewer are left-overs.
WORK_MIN: Final = 40
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# Of one fact; who opens more at once is told of by amount, not by relation.
EXPLAINED_MAX: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """What one rule says of one subject on one day, however often.

    Attributes:
        rule: Id of the rule.
        severity: The worst so far.
        subject: Whom it is about: a name, an AE title or an address.
        trail: Which trail says so.
        day: On which day.
        evidence: What was seen last, without patient data.
        count: How often.
        first: When first.
        last: When last.
        facts: Numbers of the records that prove it, the first of them.
        patients: Patient IDs, the first of them; shown to who may read the record.
    """

    rule: str
    severity: Severity
    subject: str
    trail: int
    day: date
    evidence: str
    count: int
    first: datetime
    last: datetime
    facts: tuple[int, ...]
    patients: tuple[str, ...]

    @property
    def key(self) -> str:
        """The same for everything that is folded into one alert."""
        return SEPARATOR.join(
            (self.rule, str(self.trail), self.day.isoformat(), self.subject)
        )

    def finding(self) -> Finding:
        """Return it as a finding; patients are not named there."""
        rule = BY_ID[self.rule]
        return Finding(
            id=self.rule,
            severity=self.severity,
            target=self.subject,
            title=rule.title,
            evidence=self.evidence,
            remedy=rule.remedy,
            details={
                "day": self.day.isoformat(),
                "trail": self.trail,
                "count": self.count,
                "first": self.first.isoformat(),
                "last": self.last.isoformat(),
                "facts": list(self.facts),
                "patients": len(self.patients),
            },
        )


class Reviewer:
    """Looks at facts one after the other.

    Attributes:
        knowledge: What is known beside the trail.
        settings: What the house decided.
        memory: What was seen before.
    """

    def __init__(
        self,
        knowledge: Knowledge,
        settings: Settings | None = None,
        memory: Memory | None = None,
    ) -> None:
        self.knowledge = knowledge
        self.settings = settings or Settings()
        self.memory = memory or Memory()
        self._changed: dict[str, Alert] = {}
        self._rules: dict[Kind, list[tuple[Rule, float]]] = {
            kind: [
                (rule, self.settings.thresholds.get(rule.id, rule.default))
                for rule in RULES
                if kind in rule.kinds and rule.id not in self.settings.off
            ]
            for kind in Kind
        }

    def take(self, fact: Fact) -> Iterator[Alert]:
        """Look at the next fact; yield alerts that are new.

        What only adds to an alert of this day is in ``changed``.
        """
        look = self._look(fact)
        if fact.kind in REACHING and fact.succeeded:
            habits.count(look)
        if fact.kind in OPENING and fact.succeeded and fact.touched:
            look.unexplained = tuple(self._unexplained(look))
        elif fact.kind is Kind.GLASS_BROKEN and fact.succeeded:
            for each in fact.touched:
                self._broken.put(look.key(each.patient), look.now_s)
        for rule, threshold in self._rules[fact.kind]:
            hit = rule.check(look, threshold)
            if hit is not None:
                alert = self._fold(look, rule, hit)
                if alert is not None:
                    yield alert

    def changed(self) -> tuple[Alert, ...]:
        """Return alerts, as they are now, that are new or grew since asked before."""
        found = tuple(self._changed.values())
        self._changed.clear()
        return found

    def explains(self, fact: Fact) -> bool:
        """Whether a relation explains an access; remembers nothing.

        What cannot be judged is not explained.
        """
        look = self._look(fact, is_asked=True)
        opened = look.opened[:EXPLAINED_MAX]
        return bool(opened) and all(
            self._explanation(look, each)[0] is not None for each in opened
        )

    # ── relations ────────────────────────────────────────────────────────────

    @property
    def _reasons(self) -> Any:
        return self.memory.shelf("reasons", PAIRS_MAX)

    @property
    def _broken(self) -> Any:
        return self.memory.shelf("broken_glass")

    def _unexplained(self, look: Look) -> Iterable[Touched]:
        """Yield what nothing explains, and remember what is explained."""
        if look.is_machine or look.person is None:
            return
        for each in look.opened[:EXPLAINED_MAX]:
            explanation, is_judged = self._explanation(look, each)
            if explanation is not None:
                self._reasons.put(look.key(each.patient), look.now_s)
            elif is_judged:
                yield each

    def _explanation(
        self, look: Look, touched: Touched
    ) -> tuple[Explanation | None, bool]:
        """Return what explains one patient's images, and whether it can be judged."""
        if look.person is None:
            return None, False
        zone = self.settings.zone
        at = look.fact.time.astimezone(zone)
        key = look.key(touched.patient)
        access = Access(
            person=look.person,
            touched=touched,
            at=at,
            knowledge=self.knowledge,
            seen_before=_moment(self._reasons.get(key)),
            glass_broken=_moment(self._broken.get(key)),
            covering=self.settings.covering,
            studies=studies_near(touched, at, self.knowledge),
        )
        explanation = explain(access)
        return explanation, explanation is not None or can_be_judged(access)

    # ── time and folding ─────────────────────────────────────────────────────

    def _look(self, fact: Fact, *, is_asked: bool = False) -> Look:
        """Return the fact with what is known; its time goes back by a day at least.

        A clock that is set back by less would open windows and days again.
        """
        shelf = self.memory.shelf("time")
        at_s = fact.time.timestamp()
        key = str(fact.trail)
        times: list[float] | None = shelf.get(key)
        if times is None:
            # Begin and end of what was watched; days of work, the last day with an
            # access, accesses on it, days with any.
            times = [at_s, at_s, 0, -1, 0, 0]
            if not is_asked:
                shelf.put(key, times)
        now_s = at_s if at_s < times[1] - DAY_S else max(at_s, times[1])
        if not is_asked:
            times[1] = now_s
            if fact.kind in REACHING:
                _count_work(times, now_s // DAY_S)
        return Look(
            fact,
            now_s=now_s,
            age_s=now_s - times[0],
            watched_days=int(times[2]),
            seen_days=int(times[5]),
            knowledge=self.knowledge,
            memory=self.memory,
            settings=self.settings,
        )

    def _fold(self, look: Look, rule: Rule, hit: Hit) -> Alert | None:
        """Return a new alert; None if it only adds to one of this day."""
        fact = look.fact
        subject = hit.subject or look.subject
        severity = hit.severity or rule.severity
        key = SEPARATOR.join((rule.id, str(fact.trail), str(look.day), subject))
        folds = self.memory.shelf("alerts")
        fold: dict[str, Any] | None = folds.get(key)
        is_new = fold is None
        if fold is None:
            fold = {
                "count": 0, "first": look.now_s, "severity": str(severity),
                "facts": [], "patients": [],
            }  # fmt: skip
            folds.put(key, fold)
        fold["count"] += 1
        if severity.rank > Severity(fold["severity"]).rank:
            fold["severity"] = str(severity)
        _add(fold["facts"], (*hit.facts, fact.number))
        _add(fold["patients"], hit.patients)
        alert = Alert(
            rule=rule.id,
            severity=Severity(fold["severity"]),
            subject=subject,
            trail=fact.trail,
            day=(_EPOCH + timedelta(days=look.day)).date(),
            evidence=hit.evidence,
            count=fold["count"],
            first=_EPOCH + timedelta(seconds=fold["first"]),
            last=_EPOCH + timedelta(seconds=look.now_s),
            facts=tuple(fold["facts"]),
            patients=tuple(fold["patients"]),
        )
        self._changed[alert.key] = alert
        return alert if is_new else None


def _count_work(times: list[float], day: float) -> None:
    """Count a day once so much is done on it that it shows what is usual."""
    if day > times[3]:
        times[3:] = [day, 0, times[5] + 1]
    times[4] += 1
    if times[4] == WORK_MIN:
        times[2] += 1


def _add(values: list[Any], more: Iterable[Any]) -> None:
    """Add what is not there, as long as there is room."""
    for each in more:
        if len(values) >= VALUES_MAX:
            return
        if each not in values:
            values.append(each)


def _moment(at_s: float | None) -> datetime | None:
    return None if at_s is None else _EPOCH + timedelta(seconds=at_s)
