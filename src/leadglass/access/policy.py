"""Who may do what: a pure function from rules and facts to a decision.

Rules only allow; what no rule allows is denied. There is no deny rule, so the
order of rules never matters and a rule can be read alone.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from leadglass.access.networks import Address, Network, plain, too_wide
from leadglass.access.rights import Right
from leadglass.access.scopes import EVERYTHING, Scope
from leadglass.errors import Misconfigured

__all__ = [
    "SENDERS",
    "Address",
    "Decision",
    "Expectation",
    "Kind",
    "Miss",
    "Network",
    "Request",
    "Rule",
    "Subject",
    "broken",
    "decide",
]


class Kind(StrEnum):
    """How a subject was proven."""

    DEVICE = "device"  # by its certificate
    OPERATOR = "operator"  # by the operating system, or by a login
    EXCEPTION = "exception"  # by its address alone: a device without TLS
    SERVICE = "service"  # by a bearer token: a program


# Who sends instances under its own name, so that a scope can mean what it has sent.
SENDERS = frozenset({Kind.DEVICE, Kind.EXCEPTION})


@dataclass(frozen=True, slots=True)
class Subject:
    """Somebody whose identity is proven; ``name`` is unique within its kind."""

    kind: Kind
    name: str

    def __post_init__(self) -> None:
        if not self.name:
            raise Misconfigured("subject: nobody is not somebody; give a name")

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def _check_aware(time: datetime | None) -> None:
    """Refuse a time that means another moment on another machine.

    Raises:
        ValueError: The time has no zone, which is a mistake in our own code.
    """
    if time is not None and time.tzinfo is None:
        raise ValueError("a time without its zone")


@dataclass(frozen=True, slots=True)
class Request:
    """The facts of one request.

    Attributes:
        subject: Who asks, proven.
        right: What for.
        address: Where from; ``None`` for a command on the node itself.
        time: When, with its zone.
    """

    subject: Subject
    right: Right
    address: Address | None
    time: datetime

    def __post_init__(self) -> None:
        _check_aware(self.time)
        if self.address is not None:
            object.__setattr__(self, "address", plain(self.address))


class Miss(NamedTuple):
    """Why a rule does not permit a request; closer ones tell more."""

    closeness: int  # how many conditions held before this one
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Permits ``subjects``, from ``networks``, to use ``rights`` on ``scope``.

    Attributes:
        name: What the record calls it.
        subjects: Whom it permits; never everybody.
        rights: What it permits.
        networks: Where from. With none, it permits commands on the node itself,
            and those only.
        scope: Which studies it reaches.
        reason: Why it exists; an auditor asks.
        not_after: Its last moment, with its zone; ``None``: until it is removed.

    Raises:
        Misconfigured: It could never permit anything, or permits anybody.
    """

    name: str
    subjects: frozenset[Subject]
    rights: frozenset[Right]
    networks: tuple[Network, ...]
    scope: Scope = EVERYTHING
    reason: str = ""
    not_after: datetime | None = None

    def __post_init__(self) -> None:
        _check_aware(self.not_after)
        problems = []
        if not self.name:
            problems.append("rule: no name; the record needs one")
        if not self.subjects:
            problems.append(f"rule {self.name!r}: nobody in it; name its subjects")
        if not self.rights:
            problems.append(f"rule {self.name!r}: no rights; name some, as find")
        problems += [
            f"rule {self.name!r}: {problem}"
            for network in self.networks
            if (problem := too_wide(network)) is not None
        ]
        if problems:
            raise Misconfigured(*problems)

    def misses(self, request: Request) -> Miss | None:
        """Return the first condition that does not hold; none: it permits."""
        if request.subject not in self.subjects:
            return Miss(0, f"no rule names {request.subject}")
        if request.right not in self.rights:
            return Miss(1, f"no rule gives it the right {request.right}")
        if not self._reaches(request.address):
            return Miss(2, f"no rule allows it from {request.address or 'here'}")
        if self.not_after is not None and request.time > self.not_after:
            expiry = self.not_after.isoformat()
            return Miss(3, f"rule {self.name!r} expired at {expiry}")
        return None

    def _reaches(self, address: Address | None) -> bool:
        if address is None:
            return not self.networks
        return any(address in network for network in self.networks)

    def scope_for(self, subject: Subject) -> Scope:
        """Return the scope, the subject's own said by its name.

        A program of a device's name must not reach what that device has sent.
        """
        scope = self.scope.of_assignee(str(subject))
        return scope.of_device(subject.name) if subject.kind in SENDERS else scope


@dataclass(frozen=True, slots=True)
class Decision:
    """An answer and its reason, which goes to the audit record and nowhere else.

    Attributes:
        allowed: Whether the request may go on.
        reason: The rules that permit it, or the condition that came closest.
        scopes: Which studies it reaches, joined by OR; none when denied.
    """

    allowed: bool
    reason: str
    scopes: tuple[Scope, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """A test the rules carry with them: what must, or must not, be allowed.

    Attributes:
        name: What a report calls it.
        subject: Whoever would ask.
        right: What for.
        address: Where from; ``None`` for the node itself.
        allowed: What the answer must be.
        within: When allowed: a scope that the answer must not reach beyond.
    """

    name: str
    subject: Subject
    right: Right
    address: Address | None
    allowed: bool
    within: Scope = EVERYTHING

    def holds(self, rules: Iterable[Rule], time: datetime) -> bool:
        """Whether the rules answer as expected."""
        request = Request(self.subject, self.right, self.address, time)
        decision = decide(rules, request)
        return decision.allowed == self.allowed and all(
            scope.is_within(self.within) for scope in decision.scopes
        )

    def is_exceeded(self, rules: Iterable[Rule], time: datetime) -> bool:
        """Whether the rules allow more than expected; the dangerous half of failing."""
        request = Request(self.subject, self.right, self.address, time)
        decision = decide(rules, request)
        return decision.allowed and not (
            self.allowed
            and all(scope.is_within(self.within) for scope in decision.scopes)
        )

    def __str__(self) -> str:
        must = "must" if self.allowed else "must not"
        within = f" within {self.within}" if self.within != EVERYTHING else ""
        return (
            f"expectation {self.name!r}: {self.subject} {must} be allowed {self.right} "
            f"from {self.address or 'the node itself'}{within}"
        )


def decide(rules: Iterable[Rule], request: Request) -> Decision:
    """Decide one request; the order of the rules does not matter."""
    permitting: list[Rule] = []
    closest = Miss(0, f"no rule names {request.subject}")
    for rule in rules:
        miss = rule.misses(request)
        if miss is None:
            permitting.append(rule)
        else:
            closest = max(closest, miss)
    if not permitting:
        return Decision(allowed=False, reason=closest.reason)
    names = sorted({rule.name for rule in permitting})
    return Decision(
        allowed=True,
        reason=f"allowed by {', '.join(map(repr, names))}",
        scopes=_joined(rule.scope_for(request.subject) for rule in permitting),
    )


def _joined(scopes: Iterable[Scope]) -> tuple[Scope, ...]:
    """Join scopes by OR: each once, in one order, and none beside everything."""
    first, *others = scopes
    if not others:
        return (first,)
    found = {first, *others}
    if EVERYTHING in found:
        return (EVERYTHING,)
    return tuple(sorted(found, key=str))


def broken(
    rules: Iterable[Rule], expectations: Iterable[Expectation], time: datetime
) -> Iterator[Expectation]:
    """Yield the expectations that do not hold; a node with one does not start."""
    rules = tuple(rules)
    for expectation in expectations:
        if not expectation.holds(rules, time):
            yield expectation
