"""Who asks, and the gate that every use case passes first."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from leadglass.access.policy import Address, Request, Rule, Subject, decide
from leadglass.access.rights import Right
from leadglass.access.scopes import Scope
from leadglass.errors import Refused


@dataclass(frozen=True, slots=True)
class Caller:
    """One proven caller on one connection.

    Attributes:
        subject: Who, proven by certificate, exception or operating system.
        address: Where from; ``None`` for a command on the node itself.
        ae_title: The title it calls itself; a name, never a proof.
        certificate: SHA-256 fingerprint of its certificate, hex, if it has one.
        channel: How it speaks to us, for the record: ``"TLSv1.3"``,
            ``"plaintext"``, ``"local"``.
    """

    subject: Subject
    address: Address | None
    ae_title: str | None = None
    certificate: str | None = None
    channel: str = "local"


# Gives the rules that stand for a subject now; changes are seen at the next call.
RuleSource = Callable[[Subject], tuple[Rule, ...]]


# Raises Misconfigured if somebody must not have the second rules instead of the first.
Keeper = Callable[[Subject, Iterable[Rule], Iterable[Rule]], None]


def _no_expectations(_: Subject, __: Iterable[Rule], ___: Iterable[Rule]) -> None:
    """Keep nothing: there is no rule file."""


@dataclass(frozen=True, slots=True)
class Gate:
    """Asks ``access`` on behalf of the use cases.

    Attributes:
        rules: Gives the rules that stand.
        keep: Refuses a change of somebody's rules that an expectation forbids.
    """

    rules: RuleSource
    keep: Keeper = _no_expectations

    def scopes(self, caller: Caller, right: Right) -> tuple[Scope, ...]:
        """Return what ``caller`` may reach by ``right``: a union of scopes.

        Raises:
            Refused: No rule permits it. ``reason`` is for the record alone.
        """
        request = Request(
            subject=caller.subject,
            right=right,
            address=caller.address,
            time=datetime.now(UTC),
        )
        decision = decide(self.rules(caller.subject), request)
        if not decision.allowed:
            raise Refused(decision.reason)
        return decision.scopes

    def rights(self, caller: Caller, asked: Iterable[Right]) -> frozenset[Right]:
        """Return which of these rights ``caller`` has at all, now."""
        return frozenset(right for right in asked if self._permits(caller, right))

    def _permits(self, caller: Caller, right: Right) -> bool:
        try:
            self.scopes(caller, right)
        except Refused:
            return False
        return True
