"""The rules, for who administers them: read, asked, tried, and put in place.

What a text would mean is worked out by the same functions that decide, and nothing is
written for it. Who administers from afar gives himself nothing: not by this either.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from leadglass.access.effects import Effect, effects
from leadglass.access.policy import (
    SENDERS,
    Address,
    Decision,
    Expectation,
    Kind,
    Request,
    Rule,
    Subject,
    decide,
)
from leadglass.access.rights import Right
from leadglass.access.rulefile import RuleFile
from leadglass.archive.accounts import Accounts
from leadglass.archive.caller import Caller
from leadglass.archive.explaining import RULES_MAX, Reaching
from leadglass.archive.rulebook import RuleBook, digest_of
from leadglass.audit.codes import Outcome
from leadglass.dicom.attributes import BY_KEYWORD, Level
from leadglass.dicom.matching import UIDList
from leadglass.dicom.uids import UID
from leadglass.errors import LeadglassError, Misconfigured, Refused
from leadglass.index.query import Query

_NOBODY_LEFT: Final = (
    "nobody could administer the node any more from a page; leave somebody the right "
    f"{Right.ADMINISTER}"
)
_OWN: Final = (
    "you would gain by it, and nobody changes what he himself may do; another "
    "administrator can, or who has the node"
)


@dataclass(frozen=True, slots=True)
class Tried:
    """An expectation, and what the rules answered."""

    expectation: Expectation
    decision: Decision
    holds: bool


def try_all(
    rules: Iterable[Rule], expectations: Iterable[Expectation], now: datetime
) -> tuple[Tried, ...]:
    """Put expectations to rules."""
    rules = tuple(rules)
    return tuple(
        Tried(
            each,
            decide(rules, Request(each.subject, each.right, each.address, now)),
            each.holds(rules, now),
        )
        for each in expectations
    )


@dataclass(frozen=True, slots=True)
class Standing:
    """The rules as they stand.

    Attributes:
        file: What the rule file says that is in force.
        devices: The rules of the devices, by name.
        programs: Those of the tokens that stand.
        tried: The expectations, and what the rules answer to them.
        text: The rule file on the disk.
        digest: Of that.
        is_in_force: Whether what is on the disk is what decides.
        problems: Why it is not.
    """

    file: RuleFile
    devices: tuple[Rule, ...]
    programs: tuple[Rule, ...]
    tried: tuple[Tried, ...]
    text: str
    digest: str
    is_in_force: bool
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Draft:
    """What a text would mean as the rule file.

    Attributes:
        came: Rules that are not there now.
        went: Rules that are there now.
        effects: Who gains and who loses what.
        tried: The expectations of the text, and what its rules answer.
        problems: Why it cannot be saved, each with its remedy; none if it can.
    """

    came: tuple[Rule, ...] = ()
    went: tuple[Rule, ...] = ()
    effects: tuple[Effect, ...] = ()
    tried: tuple[Tried, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """A question about somebody else.

    Attributes:
        subject: Who would ask.
        right: What for.
        address: Where from; ``None``: the node itself.
        study: Which study; ``None``: in general.
    """

    subject: Subject
    right: Right
    address: Address | None
    study: UID | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """What the rules answer.

    Attributes:
        decision: In general.
        by: The rules that permit, or with a study those that reach it.
        is_reached: Whether a rule reaches the study, if one was asked for. One that
            is not here is reached by none.
    """

    decision: Decision
    by: tuple[Reaching, ...]
    is_reached: bool


@dataclass(frozen=True, slots=True)
class RuleDesk:
    """The use cases over the rules; all need the right ``administer``.

    Attributes:
        accounts: Who there is.
        rulebook: The rules.
    """

    accounts: Accounts
    rulebook: RuleBook

    def look(self, caller: Caller) -> Standing:
        """Return the rules as they stand.

        Raises:
            Refused: ``caller`` may not.
            Misconfigured: The rule file cannot be read.
        """
        self._require(caller, "look at the rules")
        book, now = self.rulebook, datetime.now(UTC)
        text, file, registered = book.on_disk(), book.file, book.registered()
        problems: tuple[str, ...] = ()
        if digest_of(text) != book.digest:
            problems = self.draft(caller, text).problems
        return Standing(
            file=file,
            devices=_of(registered, SENDERS),
            programs=_of(registered, frozenset({Kind.SERVICE})),
            tried=try_all((*file.rules, *registered), file.expectations, now),
            text=text,
            digest=digest_of(text),
            is_in_force=digest_of(text) == book.digest,
            problems=problems,
        )

    def draft(self, caller: Caller, text: str) -> Draft:
        """Return what a text would mean as the rule file.

        Raises:
            Refused: ``caller`` may not.
        """
        self._require(caller, "preview rules")
        try:
            new = self.rulebook.parsed(text)
        except Misconfigured as error:
            return Draft(problems=error.problems)
        old, now = self.rulebook.file, datetime.now(UTC)
        registered = self.rulebook.registered()
        after = (*new.rules, *registered)
        told = effects((*old.rules, *registered), after, now)
        tried = try_all(after, new.expectations, now)
        problems = [
            f"{each.expectation}; change the rules or the expectation"
            for each in tried
            if not each.holds
        ]
        if self._would_gain(caller, told):
            problems.append(_OWN)
        if not self._somebody_administers(after, now):
            problems.append(_NOBODY_LEFT)
        return Draft(
            came=tuple(each for each in new.rules if each not in old.rules),
            went=tuple(each for each in old.rules if each not in new.rules),
            effects=told,
            tried=tried,
            problems=tuple(problems),
        )

    def save(self, caller: Caller, text: str, digest: str) -> Draft:
        """Put a text in the place of the rule file that somebody has seen; in force.

        Args:
            caller: Who.
            text: The rule file.
            digest: Of the one that was seen.

        Returns:
            What it means.

        Raises:
            Refused: ``caller`` may not, or would gain by it.
            Misconfigured: It has problems; the old one stands.
            Outdated: It was changed meanwhile.
            Unavailable: It cannot be recorded or written.
        """
        self._require(caller, "change the rules")
        parts, draft = self.accounts.parts, self.draft(caller, text)
        actor = parts.actor(caller)
        if _OWN in draft.problems:
            parts.try_to_record(
                parts.events.access_refused(actor, "change the rules", _OWN)
            )
            raise Refused(_OWN)
        if draft.problems:
            raise Misconfigured(*draft.problems)
        recorded: list[Mapping[str, str]] = []

        def record(facts: Mapping[str, str]) -> None:
            parts.record(parts.events.rules_changed(actor, facts))
            recorded.append(facts)

        try:
            self.rulebook.put(text, digest, record)
        except LeadglassError as error:
            for facts in recorded:  # it did not come about, which is to be told too
                event = parts.events.rules_changed(actor, facts)
                event = replace(
                    event,
                    outcome=Outcome.SERIOUS_FAILURE,
                    outcome_description=str(error),
                )
                parts.try_to_record(event)
            raise
        return draft

    def ask(self, caller: Caller, asked: Asked) -> Answered:
        """Return what the rules that stand answer to somebody else.

        It is on the record, with the study. Whether that is here is not told of one
        that no rule reaches.

        Raises:
            Refused: ``caller`` may not.
            Unavailable: It cannot be recorded, so it is not told.
        """
        self._require(caller, "ask the rules")
        parts = self.accounts.parts
        request = Request(asked.subject, asked.right, asked.address, datetime.now(UTC))
        rules = self.rulebook.rules(asked.subject)
        permitting = [each for each in rules if each.misses(request) is None]
        by = tuple(
            Reaching(each.name, each.scope_for(asked.subject))
            for each in permitting[:RULES_MAX]
        )
        if asked.study is not None:
            by = tuple(each for each in by if self._reaches(asked.study, each))
        facts = {
            "subject": str(asked.subject),
            "right": asked.right.value,
            "from": str(asked.address or ""),
            "study": str(asked.study or ""),
        }
        told = {name: value for name, value in facts.items() if value}
        parts.record(parts.events.rules_asked(parts.actor(caller), told))
        return Answered(decide(rules, request), by, bool(by))

    def _reaches(self, study: UID, rule: Reaching) -> bool:
        parts = self.accounts.parts
        query = Query(
            level=Level.STUDY,
            keys={BY_KEYWORD["StudyInstanceUID"].tag: UIDList((study,))},
            scopes=(rule.scope,),
            limit=1,
        )
        with parts.database.read() as connection:
            return any(True for _ in parts.index.find(connection, query))

    def _require(self, caller: Caller, function: str) -> None:
        self.accounts.parts.require(caller, Right.ADMINISTER, function)

    def _would_gain(self, caller: Caller, told: Iterable[Effect]) -> bool:
        """Who has the node has its keys; who comes from afar must not help himself."""
        return caller.address is not None and any(
            each.subject == caller.subject and each.gained for each in told
        )

    def _somebody_administers(self, rules: Iterable[Rule], now: datetime) -> bool:
        with self.accounts.parts.database.read() as connection:
            users = self.accounts.users.list(connection)
        able = {each.subject for each in users if each.is_active}
        return any(
            Right.ADMINISTER in rule.rights
            and rule.networks
            and not rule.subjects.isdisjoint(able)
            and (rule.not_after is None or rule.not_after >= now)
            for rule in rules
        )


def _of(rules: Iterable[Rule], kinds: frozenset[Kind]) -> tuple[Rule, ...]:
    return tuple(
        each for each in rules if any(who.kind in kinds for who in each.subjects)
    )
