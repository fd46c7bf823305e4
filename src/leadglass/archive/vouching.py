"""Letting in whom somebody else has proven: an OpenID provider, a directory.

Roles are those of the groups at this login, and of nothing else. Who is in no group
of the table is not let in, and loses what an earlier login gave: roles, sessions,
broken glass. The person, its roles, its session and their events are one transaction.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, TypeVar

from leadglass.access.policy import Kind
from leadglass.access.roles import check_person
from leadglass.archive.accounts import Accounts
from leadglass.archive.emergency import Emergencies
from leadglass.archive.logins import Logins, Peer, Proof
from leadglass.archive.parts import Parts
from leadglass.audit.accounts import AccountAct, AccountChange, AccountEvents
from leadglass.audit.builders import Actor
from leadglass.database.engine import Transaction
from leadglass.errors import Misconfigured, Refused
from leadglass.identity.people.externals import External, Externals
from leadglass.identity.people.login import Failure, LoggedIn, Reason
from leadglass.identity.people.user import User

Made = TypeVar("Made")

NO_ACCESS: Final = "you are known, but have no access here; ask who administers it"


class NoAccess(Refused):
    """Somebody is proven, and may do nothing here."""

    def __init__(self) -> None:
        super().__init__(NO_ACCESS)


@dataclass(frozen=True, slots=True)
class Vouching:
    """Lets them in.

    Attributes:
        parts: The collaborators.
        accounts: The register of users.
        logins: Opens sessions.
    """

    parts: Parts
    accounts: Accounts
    logins: Logins

    def let_in(
        self, person: External, roles: tuple[str, ...], proof: Proof, peer: Peer
    ) -> LoggedIn:
        """Begin a session for somebody, with these roles from now on.

        Raises:
            NoAccess: No role, roles that cannot be given, or disabled here.
            Unavailable: It cannot be recorded.
        """
        now = datetime.now(UTC)

        def work(tx: Transaction) -> LoggedIn | Failure:
            user = self._admit(tx, person, roles, peer, now)
            if isinstance(user, Failure):
                return user
            return self.logins.open_session(tx, user, peer, proof, now)

        outcome = self._judged(work, person, roles, peer)
        if isinstance(outcome, Failure):
            self.logins.turn_away(replace(outcome, facts=proof.facts), peer, now)
            raise NoAccess
        return outcome

    def admit(
        self, person: External, roles: tuple[str, ...], peer: Peer
    ) -> User | Failure:
        """Return who that is here, with these roles from now on; no session yet.

        A failure is the caller's to record.

        Raises:
            Unavailable: It cannot be recorded.
        """
        now = datetime.now(UTC)
        return self._judged(
            lambda tx: self._admit(tx, person, roles, peer, now), person, roles, peer
        )

    def _judged(
        self,
        work: Callable[[Transaction], Made | Failure],
        person: External,
        roles: tuple[str, ...],
        peer: Peer,
    ) -> Made | Failure:
        """Do it if the roles can be given; else take what an earlier login gave."""
        try:
            check_person(roles)
            return self.parts.database.write(work)
        except Misconfigured as error:
            self._forget(person, peer)
            return Failure(Reason.ROLES, detail=str(error))

    def _admit(
        self,
        tx: Transaction,
        person: External,
        roles: tuple[str, ...],
        peer: Peer,
        now: datetime,
    ) -> User | Failure:
        user = self._externals.find(tx.connection, person)
        if user is not None and user.disabled_at is not None:
            return Failure(Reason.DISABLED, user.name)
        if user is None:
            if not roles:
                return Failure(Reason.NO_ROLE)
            return self._add(tx, person, roles, peer, now)
        known = self._update(tx, user, person, roles, peer)
        return known if roles else Failure(Reason.NO_ROLE, known.name)

    def _add(
        self,
        tx: Transaction,
        person: External,
        roles: tuple[str, ...],
        peer: Peer,
        now: datetime,
    ) -> User:
        user = self._externals.add(tx, person, roles, now)
        self.parts.gate.keep(user.subject, (), self.accounts.rules_of(tx, user))
        facts = {"issuer": person.issuer, "subject": person.subject}
        self._tell(tx, AccountAct.CAME, user, peer, facts)
        return user

    def _update(
        self,
        tx: Transaction,
        old: User,
        person: External,
        roles: tuple[str, ...],
        peer: Peer,
    ) -> User:
        user = self._externals.update(tx, old, person, roles)
        if user.roles == old.roles:
            return user
        if roles:  # to take away is never forbidden
            before = self.accounts.rules_of(tx, old)
            after = self.accounts.rules_of(tx, user)
            self.parts.gate.keep(user.subject, before, after)
        actor = _actor(user, peer)
        Emergencies(self.parts).stop_all(tx, actor, user.subject)
        facts = {"roles_before": " ".join(old.roles)}
        self._tell(tx, AccountAct.GROUPS, user, peer, facts)
        return user

    def _forget(self, person: External, peer: Peer) -> None:
        """Take the roles of an earlier login, if there was one."""

        def work(tx: Transaction) -> None:
            user = self._externals.find(tx.connection, person)
            if user is not None and user.disabled_at is None:
                self._update(tx, user, person, (), peer)

        self.parts.database.write(work)

    def _tell(
        self,
        tx: Transaction,
        act: AccountAct,
        user: User,
        peer: Peer,
        facts: dict[str, str],
    ) -> None:
        facts = {"roles": " ".join(user.roles), **facts}
        event = AccountEvents(self.parts.events.node).account_changed(
            _actor(user, peer), AccountChange(act, user.name, facts=facts)
        )
        self.parts.audit.append(tx, event)

    @property
    def _externals(self) -> Externals:
        return Externals(self.accounts.users)


def _actor(user: User, peer: Peer) -> Actor:
    return Actor(
        name=user.name,
        address=str(peer.address),
        channel=peer.channel,
        kind=Kind.OPERATOR,
    )
