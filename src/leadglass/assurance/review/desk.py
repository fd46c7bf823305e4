"""The review as use cases: run over what is new, read alerts, judge them, sign weeks.

The record is read in portions. Alerts, what rules remember and how far they are, are
one transaction: killed at any moment, a review goes on behind the last portion, and an
alert is raised once. Two processes may review at once: who was slower keeps nothing.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from leadglass.access.rights import Right
from leadglass.archive.caller import Caller
from leadglass.archive.parts import Parts
from leadglass.assurance.finding import worst_of
from leadglass.assurance.review import alerts
from leadglass.assurance.review.alerts import (
    DecoyKind,
    Disposition,
    Judgement,
    Raised,
    Signature,
    checked_reason,
)
from leadglass.assurance.review.delivery import Channel, What, put
from leadglass.assurance.review.known import Known, blind, read_feeds
from leadglass.assurance.review.look import Rule, Settings
from leadglass.assurance.review.memory import Memory
from leadglass.assurance.review.reviewer import Reviewer
from leadglass.assurance.review.rules.record import REVIEW_USE
from leadglass.assurance.review.rules.table import RULES
from leadglass.assurance.trails.fact import OWN
from leadglass.assurance.trails.own import fact_of
from leadglass.audit.builders import Actor
from leadglass.audit.reviewing import ReviewEvents
from leadglass.database.engine import Transaction
from leadglass.errors import BadData, Refused

_LOG = logging.getLogger(__name__)

# Records in memory at once; some 20 MB.
RECORDS_READ: Final = 2_000
# Records between two savings: what is remembered has megabytes.
RECORDS_SAVED: Final = 50_000

Progress = Callable[[int, int], None]


def _now() -> datetime:
    return datetime.now(UTC)


def _silent(_done: int, _all: int) -> None:
    return


@dataclass(frozen=True, slots=True)
class Ran:
    """What a run did: records that it looked at, and ids of alerts that are new."""

    records: int
    new: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Told:
    """One rule as this node uses it.

    Attributes:
        rule: The rule.
        threshold: What it fires above here.
        is_off: Whether the house does not use it.
        lacks: Feeds without which it is silent here.
    """

    rule: Rule
    threshold: float
    is_off: bool
    lacks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReviewDesk:
    """The use cases.

    Attributes:
        parts: The collaborators.
        settings: What the house decided.
        feeds: Folder of CSV files; None for none.
        channels: By which ways people are told of alerts.
        clock: Gives the time, with its zone.
    """

    parts: Parts
    settings: Settings = field(default_factory=Settings)
    feeds: Path | None = None
    channels: frozenset[Channel] = frozenset()
    clock: Callable[[], datetime] = _now

    @property
    def _events(self) -> ReviewEvents:
        return ReviewEvents(self.parts.events.node)

    # ── running ──────────────────────────────────────────────────────────────

    def run(self, caller: Caller, progress: Progress = _silent) -> Ran:
        """Review what is new in the record; that it was read is recorded.

        Raises:
            Refused: ``caller`` may not.
            Misconfigured: A feed cannot be read.
            Unavailable: It cannot be recorded, or kept.
        """
        self.parts.require(caller, Right.AUDIT, f"{REVIEW_USE}run")
        actor = self.parts.actor(caller)
        ran = self._run(actor, progress)
        self._used(caller, "run", ran.records)
        return ran

    def run_alone(self, is_over: Callable[[], bool] = lambda: False) -> Ran:
        """Review what is new, as the node does by itself; tell what is overdue.

        Args:
            is_over: Says that the node ends; a portion that is begun is ended.

        Reading by the node is not recorded: it would be reviewed the next time, for
        ever. What it finds is.

        Raises:
            Misconfigured: A feed cannot be read.
            Unavailable: It cannot be kept.
        """
        ran = self._run(self._node, _silent, is_over)
        self.escalate()
        return ran

    @property
    def _node(self) -> Actor:
        return Actor(self.parts.events.node.name, "", kind="service")

    def _run(
        self,
        actor: Actor,
        progress: Progress,
        is_over: Callable[[], bool] = lambda: False,
    ) -> Ran:
        size = self.parts.audit.size()
        with self.parts.database.read() as connection:
            first, saved = alerts.position(connection, OWN)
        if first >= size:
            return Ran(0, ())
        known = Known(self.parts.database, read_feeds(self.feeds))
        settings = replace(
            self.settings,
            decoy_titles=self.settings.decoy_titles | known.decoy_titles,
        )
        reviewer = Reviewer(known, settings, _memory(saved))
        begun, then, new = first, first, list[int]()
        while then < size and not is_over():
            records = self.parts.audit.following(then, min(RECORDS_READ, size - then))
            if not records:
                break
            for record in records:
                for _ in reviewer.take(fact_of(record, self.parts.audit.origin)):
                    pass  # kept by ``changed``, with what it grew to
            then = records[-1].n + 1
            progress(then, size)
            if then - first >= RECORDS_SAVED or then >= size:
                kept = self._keep(actor, reviewer, first, then)
                if kept is None:
                    break  # another process was quicker
                new += kept
                first = then
        return Ran(then - begun, tuple(new))

    def _keep(
        self, actor: Actor, reviewer: Reviewer, first: int, then: int
    ) -> Sequence[int] | None:
        """Keep what was found and how far it is; None if another process was there."""
        changed, memory = reviewer.changed(), reviewer.memory.save()
        now = self.clock()

        def work(tx: Transaction) -> tuple[int, ...] | None:
            if not alerts.advance(tx, OWN, first, then, memory):
                return None
            new = alerts.raise_alerts(tx, changed, now)
            if new:
                worst = worst_of(each.finding() for each in changed)
                told = {each.rule for each in changed}
                event = self._events.raised(actor, new, sorted(told), str(worst))
                self.parts.audit.append(tx, event)
                put(tx, self.channels, What.RAISED, new, now)
            return new

        new = self.parts.database.write(work)
        if new:
            _LOG.warning("the review raised %d alerts", len(new))
        return new

    def escalate(self) -> tuple[int, ...]:
        """Tell of alerts that nobody judged in time, each once.

        Raises:
            Unavailable: It cannot be recorded now; call again.
        """
        now = self.clock()
        with self.parts.database.read() as connection:
            waiting = alerts.open_alerts(connection)
        if not any(e.is_overdue(now) and e.escalated_at is None for e in waiting):
            return ()  # nearly always: nothing is written

        def work(tx: Transaction) -> tuple[int, ...]:
            found = alerts.escalate(tx, now)
            if found:
                event = self._events.escalated(self._node, found)
                self.parts.audit.append(tx, event)
                put(tx, self.channels, What.OVERDUE, found, now)
            return found

        found = self.parts.database.write(work)
        if found:
            _LOG.warning("%d alerts of the review are overdue", len(found))
        return found

    # ── reading ──────────────────────────────────────────────────────────────

    def waiting(self, caller: Caller) -> tuple[Raised, ...]:
        """Return what nobody judged, what is due first first; reading is recorded.

        Raises:
            Refused: ``caller`` may not.
            Unavailable: It cannot be recorded, so it is not told.
        """
        self.parts.require(caller, Right.AUDIT, f"{REVIEW_USE}list")
        with self.parts.database.read() as connection:
            found = alerts.open_alerts(connection)
        self._used(caller, "list", len(found))
        return found

    def latest(self, caller: Caller) -> tuple[Raised, ...]:
        """Return the newest, judged or not; reading is recorded.

        Raises:
            Refused: ``caller`` may not.
            Unavailable: It cannot be recorded, so it is not told.
        """
        self.parts.require(caller, Right.AUDIT, f"{REVIEW_USE}list all")
        with self.parts.database.read() as connection:
            found = alerts.latest(connection)
        self._used(caller, "list all", len(found))
        return found

    def get(self, caller: Caller, number: int) -> Raised:
        """Return one alert; reading is recorded.

        Raises:
            Refused: ``caller`` may not.
            NotFound: There is none of that number.
            Unavailable: It cannot be recorded, so it is not told.
        """
        self.parts.require(caller, Right.AUDIT, f"{REVIEW_USE}show")
        with self.parts.database.read() as connection:
            found = alerts.get(connection, number)
        self._used(caller, "show", 1)
        return found

    def signatures(self, caller: Caller) -> tuple[Signature, ...]:
        """Return the weeks that were signed, the newest first.

        Raises:
            Refused: ``caller`` may not.
        """
        self.parts.require(caller, Right.AUDIT, f"{REVIEW_USE}weeks")
        with self.parts.database.read() as connection:
            return alerts.signatures(connection)

    def count_open(self) -> int:
        """Return how many alerts nobody judged, for a badge or a health page."""
        with self.parts.database.read() as connection:
            return alerts.count_open(connection)

    def rules(self, caller: Caller) -> tuple[Told, ...]:
        """Return all rules as this node uses them.

        Raises:
            Refused: ``caller`` may not.
            Misconfigured: A feed cannot be read.
        """
        self.parts.require(caller, Right.AUDIT, f"{REVIEW_USE}rules")
        known = Known(self.parts.database, read_feeds(self.feeds))
        lacking = blind(((each.id, each.needs) for each in RULES), known.feeds)
        return tuple(
            Told(
                rule=each,
                threshold=self.settings.thresholds.get(each.id, each.default),
                is_off=each.id in self.settings.off,
                lacks=lacking.get(each.id, ()),
            )
            for each in RULES
        )

    def _used(self, caller: Caller, use: str, many: int) -> None:
        event = self.parts.events.audit_log_used(
            self.parts.actor(caller), f"{REVIEW_USE}{use}", many
        )
        self.parts.record(event)

    # ── judging ──────────────────────────────────────────────────────────────

    def dispose(
        self, caller: Caller, number: int, disposition: Disposition, reason: str
    ) -> Raised:
        """Say what an alert was: of somebody else, once, for a reason.

        Raises:
            Refused: ``caller`` may not, or it is about the caller.
            NotFound: There is no such open alert.
            BadData: The reason cannot be.
            Unavailable: It cannot be recorded, so it is not said.
        """
        self.parts.require(caller, Right.REVIEW, "judge an alert of the review")
        judgement = Judgement(
            disposition=disposition,
            reviewer=caller.subject.name,
            reason=checked_reason(reason),
        )
        actor, now = self.parts.actor(caller), self.clock()

        def work(tx: Transaction) -> Raised:
            found = alerts.get(tx.connection, number)
            if found.alert.subject.casefold() == caller.subject.name.casefold():
                raise Refused("nobody judges what is about himself")
            judged = alerts.dispose(tx, number, judgement, now)
            event = self._events.disposed(
                actor, number, found.alert.rule, str(disposition), judgement.reason
            )
            self.parts.audit.append(tx, event)
            return judged

        try:
            return self.parts.database.write(work)
        except Refused as refusal:
            self.parts.try_to_record(
                self.parts.events.access_refused(
                    actor, "judge an alert of the review", str(refusal)
                )
            )
            raise

    def sign(self, caller: Caller, week: str, note: str) -> Signature:
        """Answer for a week that is over, of which no alert is open.

        Raises:
            Refused: ``caller`` may not.
            BadData: The week cannot be signed, and why; or the note cannot be.
            Unavailable: It cannot be recorded, so it is not signed.
        """
        self.parts.require(caller, Right.REVIEW, "sign the review of a week")
        note = checked_reason(note)
        actor, now = self.parts.actor(caller), self.clock()

        def work(tx: Transaction) -> Signature:
            if alerts.position(tx.connection, OWN)[0] == 0:
                raise BadData("the record was never reviewed; run the review first")
            signed = alerts.sign_week(tx, week, caller.subject.name, note, now)
            event = self._events.signed(actor, signed.week, signed.alerts, note)
            self.parts.audit.append(tx, event)
            return signed

        return self.parts.database.write(work)

    # ── decoys ───────────────────────────────────────────────────────────────

    def decoys(self, caller: Caller) -> Sequence[tuple[DecoyKind, str]]:
        """Return all decoys; whoever knows them walks around them.

        Raises:
            Refused: ``caller`` may not.
            Unavailable: It cannot be recorded, so it is not told.
        """
        self.parts.require(caller, Right.REVIEW, f"{REVIEW_USE}decoys")
        with self.parts.database.read() as connection:
            found = alerts.decoys(connection)
        self._used(caller, "decoys", len(found))
        return found

    def set_decoy(self, caller: Caller, kind: DecoyKind, value: str) -> None:
        """Name an invented patient, study or AE title.

        Raises:
            Refused: ``caller`` may not.
            BadData: It cannot be one, or there are too many.
        """
        self.parts.require(caller, Right.REVIEW, "set a decoy of the review")
        actor, now, name = self.parts.actor(caller), self.clock(), caller.subject.name

        def work(tx: Transaction) -> None:
            alerts.set_decoy(tx, kind, value.strip(), name, now)
            self.parts.audit.append(
                tx, self._events.decoy_changed(actor, str(kind), "set")
            )

        self.parts.database.write(work)

    def take_decoy(self, caller: Caller, kind: DecoyKind, value: str) -> None:
        """Take a decoy away.

        Raises:
            Refused: ``caller`` may not.
            NotFound: There is no such decoy.
        """
        self.parts.require(caller, Right.REVIEW, "take a decoy of the review")
        actor = self.parts.actor(caller)

        def work(tx: Transaction) -> None:
            alerts.take_decoy(tx, kind, value.strip())
            self.parts.audit.append(
                tx, self._events.decoy_changed(actor, str(kind), "taken away")
            )

        self.parts.database.write(work)


def _memory(saved: str) -> Memory:
    """Return what was remembered; what another version left is begun anew."""
    if not saved:
        return Memory()
    try:
        return Memory.load(saved)
    except BadData:
        _LOG.warning("what rules of the review remembered is of another version")
        return Memory()
