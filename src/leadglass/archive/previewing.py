"""What a change of somebody's roles or scope would mean, before anybody saves it.

Nothing is written. What is said is what saving would do: the same checks, the same
expectations, and who gains and loses by the same rules.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from leadglass.access.effects import Effect, effects
from leadglass.access.policy import Rule
from leadglass.access.rights import Right
from leadglass.access.roles import check_person, rules_of_person
from leadglass.access.scopes import Scope
from leadglass.archive.accounts import Accounts
from leadglass.archive.caller import Caller
from leadglass.archive.rulebook import RuleBook
from leadglass.errors import Misconfigured
from leadglass.identity.people.proofs import NO_PROOFS, Proofs, proofs
from leadglass.identity.people.user import NewUser, User, ordered

_FROM_ELSEWHERE: Final = (
    "the roles of this user come from a directory or a provider at each login; change "
    "the groups there"
)
_OWN: Final = "nobody changes what he himself may do"


@dataclass(frozen=True, slots=True)
class Preview:
    """What would come of it.

    Attributes:
        effects: Who gains and who loses what; nobody if nothing changes.
        problems: Why it cannot be saved; none if it can.
    """

    effects: tuple[Effect, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Previews:
    """The use cases over users that write nothing.

    Attributes:
        accounts: Those that do.
        rulebook: The rule file, whose rules people have besides their roles.
    """

    accounts: Accounts
    rulebook: RuleBook

    def of_new(
        self, caller: Caller, name: str, roles: Iterable[str], scope: Scope
    ) -> Preview:
        """Return what a new user would gain.

        Raises:
            Refused: ``caller`` may not.
        """
        self._require(caller)
        try:
            new = NewUser(name, tuple(roles))
        except Misconfigured as error:
            return Preview((), error.problems)
        now = datetime.now(UTC)
        user = User(
            id=0,
            name=new.name,
            roles=new.roles,
            display_name="",
            handle=b"",
            revision=0,
            created_at=now,
        )
        return self._preview(user, (), user.roles, scope, now)

    def of_change(
        self,
        caller: Caller,
        name: str,
        roles: Iterable[str] | None = None,
        scope: Scope | None = None,
    ) -> Preview:
        """Return what other roles or another scope would mean; ``None`` leaves one.

        Raises:
            Refused: ``caller`` may not.
            NotFound: No such user.
        """
        self._require(caller)
        accounts = self.accounts
        with accounts.parts.database.read() as connection:
            user = accounts.users.get(connection, name)
            old_scope = accounts.scopes.of(connection, user)
        new_roles = user.roles if roles is None else ordered(roles)
        if caller.address is not None and caller.subject == user.subject:
            return Preview((), (_OWN,))
        if user.is_external and new_roles != user.roles:
            return Preview((), (_FROM_ELSEWHERE,))
        if not user.is_external:
            try:
                NewUser(user.name, new_roles, user.display_name)
            except Misconfigured as error:
                return Preview((), error.problems)
        before = self._rules(user, user.roles, old_scope)
        new_scope = old_scope if scope is None else scope
        return self._preview(user, before, new_roles, new_scope, datetime.now(UTC))

    def proofs(self, caller: Caller) -> Mapping[str, Proofs]:
        """Return what everybody can log in with, by name; no secret is read.

        Raises:
            Refused: ``caller`` may not.
        """
        self._require(caller)
        accounts = self.accounts
        with accounts.parts.database.read() as connection:
            found = proofs(connection)
            users = accounts.users.list(connection)
        return {each.name: found.get(each.id, NO_PROOFS) for each in users}

    def _require(self, caller: Caller) -> None:
        self.accounts.parts.require(caller, Right.ADMINISTER, "look at users")

    def _rules(
        self, user: User, roles: tuple[str, ...], scope: Scope
    ) -> tuple[Rule, ...]:
        if user.disabled_at is not None:
            return ()
        networks = self.accounts.networks
        return rules_of_person(user.subject, roles, scope, networks)

    def _preview(
        self,
        user: User,
        before: tuple[Rule, ...],
        roles: tuple[str, ...],
        scope: Scope,
        now: datetime,
    ) -> Preview:
        try:
            check_person(roles, scope)
        except Misconfigured as error:
            return Preview((), error.problems)
        after = self._rules(user, roles, scope)
        own = self.rulebook.rules_of_file(user.subject)
        told = effects((*own, *before), (*own, *after), now)
        try:
            self.rulebook.keep(user.subject, before, after)
        except Misconfigured as error:
            return Preview(told, error.problems)
        return Preview(told, ())
