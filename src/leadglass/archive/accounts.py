"""Users and tokens: given, changed, taken; the change and its record, together or not.

Every method needs the right ``administer``. Nobody changes what he himself may do. A
change that an expectation of the rule file forbids is refused, by name, within the
transaction; taking away (disable, reset, revoke) never is: who must go goes.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from leadglass.access.networks import Network
from leadglass.access.policy import Rule
from leadglass.access.rights import Right
from leadglass.access.roles import (
    HOUSE_NETWORKS,
    check_person,
    check_program,
    rules_of_person,
    rules_of_program,
)
from leadglass.access.scopes import EVERYTHING, Scope
from leadglass.archive.caller import Caller
from leadglass.archive.emergency import Emergencies
from leadglass.archive.parts import Parts
from leadglass.audit.accounts import AccountAct, AccountChange, AccountEvents
from leadglass.audit.programs import ProgramEvents
from leadglass.database.engine import Transaction
from leadglass.errors import Misconfigured, Refused
from leadglass.identity.people.enrolment import draw_secret
from leadglass.identity.people.lockout import Lockout
from leadglass.identity.people.user import NewUser, User
from leadglass.identity.people.users import Users
from leadglass.identity.tokens.token import NewToken, Token
from leadglass.identity.tokens.tokens import PersonScopes, Tokens

# As a device's.
REASON_CHARACTERS_MAX = 512

# What the key of tokens is derived for; another name would make all of them unknown.
_KEY_PURPOSE = "tokens"


@dataclass(frozen=True, slots=True)
class Account:
    """A user as an administrator sees one.

    Attributes:
        user: Who.
        scope: How far the roles reach.
        locked_until: Until when failures keep the user out; ``None``: they do not.
    """

    user: User
    scope: Scope
    locked_until: datetime | None


@dataclass(frozen=True, slots=True)
class Accounts:
    """The use cases over users and tokens.

    Attributes:
        parts: The collaborators.
        users: The register of users.
        scopes: How far their roles reach.
        tokens: The register of tokens.
        lockout: Who is kept out for failures.
        networks: Where people come from.
    """

    parts: Parts
    users: Users
    scopes: PersonScopes
    tokens: Tokens
    lockout: Lockout
    networks: tuple[Network, ...] = HOUSE_NETWORKS

    @classmethod
    def of(
        cls, parts: Parts, networks: tuple[Network, ...] = HOUSE_NETWORKS
    ) -> "Accounts":
        """Put them together for a node."""
        tokens = Tokens(parts.keyring.derive(_KEY_PURPOSE))
        return cls(parts, Users(), PersonScopes(), tokens, Lockout(), networks)

    # ── users ────────────────────────────────────────────────────────────────

    def add_user(
        self, caller: Caller, new: NewUser, scope: Scope = EVERYTHING
    ) -> tuple[str, Account]:
        """Add a user; returns the one-time secret that enrols, shown here once.

        Raises:
            Refused: ``caller`` may not.
            Misconfigured: Roles, scope or name cannot be, or an expectation forbids.
        """
        self.parts.require(caller, Right.ADMINISTER, "add a user")
        check_person(new.roles, scope)
        secret, secret_hash = draw_secret()  # outside of the transaction: it is slow
        now = datetime.now(UTC)

        def work(tx: Transaction) -> Account:
            user = self.users.add(tx, new, secret_hash, now)
            self.parts.gate.keep(user.subject, (), self._rules(user, scope))
            self.scopes.set(tx, user, scope)
            self._tell(tx, caller, AccountAct.ADDED, user, facts=_facts(user, scope))
            return Account(user, scope, None)

        return secret, self.parts.database.write(work)

    def reset_user(
        self, caller: Caller, name: str, reason: str = ""
    ) -> tuple[str, Account]:
        """Take all proofs from a user, who enrols anew with the secret returned.

        Raises:
            Refused: ``caller`` may not.
            NotFound: No such user.
            Misconfigured: It is disabled, or somebody else proves it.
        """
        self.parts.require(caller, Right.ADMINISTER, "reset a user")
        reason = _checked(reason)
        secret, secret_hash = draw_secret()

        def work(tx: Transaction) -> Account:
            user = self.users.reset(tx, name, secret_hash, datetime.now(UTC))
            self._end_emergencies(tx, caller, user)
            self._tell(tx, caller, AccountAct.RESET, user, reason)
            return self._account(tx, user)

        return secret, self.parts.database.write(work)

    def change_user(
        self,
        caller: Caller,
        name: str,
        roles: Iterable[str] | None = None,
        scope: Scope | None = None,
        reason: str = "",
    ) -> Account:
        """Give a user other roles, another scope, or both; ``None`` leaves one.

        Sessions and broken glass of the user end: they were for what it was.

        Raises:
            Refused: ``caller`` may not, or it is himself.
            NotFound: No such user.
            Misconfigured: Roles or scope cannot be, an expectation forbids them, or
                somebody else says the roles.
        """
        self.parts.require(caller, Right.ADMINISTER, "change a user")
        reason = _checked(reason)
        wanted = None if roles is None else tuple(roles)

        def work(tx: Transaction) -> Account:
            old = self.users.get(tx.connection, name)
            self._refuse_self(caller, old)
            old_scope = self.scopes.of(tx.connection, old)
            new_scope = old_scope if scope is None else scope
            new_roles = old.roles if wanted is None else wanted
            check_person(new_roles, new_scope)
            if wanted is None:  # also for whom somebody else says the roles of
                user = self.users.change(tx, old, {})
            else:
                user = self.users.change_roles(tx, old.name, new_roles)
            self.parts.gate.keep(
                user.subject, self._rules(old, old_scope), self._rules(user, new_scope)
            )
            self.scopes.set(tx, user, new_scope)
            self._end_emergencies(tx, caller, user)
            facts = _facts(user, new_scope) | {
                "roles_before": " ".join(old.roles),
                "scope_before": str(old_scope),
            }
            self._tell(tx, caller, AccountAct.ROLES, user, reason, facts)
            return Account(user, new_scope, None)

        return self._write(caller, "change a user", work)

    def disable_user(self, caller: Caller, name: str, reason: str = "") -> Account:
        """Shut a user out at once, with sessions and broken glass.

        Raises:
            Refused: ``caller`` may not.
            NotFound: No such user.
            Misconfigured: It is disabled already.
        """
        self.parts.require(caller, Right.ADMINISTER, "disable a user")
        reason = _checked(reason)

        def work(tx: Transaction) -> Account:
            user = self.users.disable(tx, name, datetime.now(UTC))
            self._end_emergencies(tx, caller, user)
            self._tell(tx, caller, AccountAct.DISABLED, user, reason)
            return self._account(tx, user)

        return self.parts.database.write(work)

    def enable_user(self, caller: Caller, name: str, reason: str = "") -> Account:
        """Let a disabled user come again, with the proofs and roles it had.

        Raises:
            Refused: ``caller`` may not, or it is himself.
            NotFound: No such user.
            Misconfigured: It is not disabled, or an expectation forbids its roles.
        """
        self.parts.require(caller, Right.ADMINISTER, "enable a user")
        reason = _checked(reason)

        def work(tx: Transaction) -> Account:
            self._refuse_self(caller, self.users.get(tx.connection, name))
            user = self.users.enable(tx, name)
            scope = self.scopes.of(tx.connection, user)
            self.parts.gate.keep(user.subject, (), self._rules(user, scope))
            self._tell(tx, caller, AccountAct.ENABLED, user, reason)
            return self._account(tx, user)

        return self._write(caller, "enable a user", work)

    def unlock_user(self, caller: Caller, name: str) -> Account:
        """Forget the failures that keep a user out.

        Raises:
            Refused: ``caller`` may not.
            NotFound: No such user.
        """
        self.parts.require(caller, Right.ADMINISTER, "unlock a user")

        def work(tx: Transaction) -> Account:
            user = self.users.get(tx.connection, name)
            if self.lockout.unlock(tx, user.id):
                self._tell(tx, caller, AccountAct.UNLOCKED, user)
            return self._account(tx, user)

        return self.parts.database.write(work)

    def end_sessions(self, caller: Caller, name: str, reason: str = "") -> Account:
        """Log a user out everywhere; also logins that are half done.

        Broken glass stands: it is ended by its own use case, or by disabling.

        Raises:
            Refused: ``caller`` may not.
            NotFound: No such user.
        """
        self.parts.require(caller, Right.ADMINISTER, "end sessions")
        reason = _checked(reason)

        def work(tx: Transaction) -> Account:
            user = self.users.get(tx.connection, name)
            user = self.users.change(tx, user, {})
            self._tell(tx, caller, AccountAct.SESSIONS_ENDED, user, reason)
            return self._account(tx, user)

        return self.parts.database.write(work)

    def list_users(self, caller: Caller) -> tuple[Account, ...]:
        """Return all users, disabled ones too, by name.

        Raises:
            Refused: ``caller`` may not.
        """
        self.parts.require(caller, Right.ADMINISTER, "list users")
        now = datetime.now(UTC)
        with self.parts.database.read() as connection:
            scopes = self.scopes.all(connection)
            return tuple(
                Account(
                    user,
                    scopes.get(user.id, EVERYTHING),
                    self.lockout.locked_until(connection, user.id, now),
                )
                for user in self.users.list(connection)
            )

    # ── tokens ───────────────────────────────────────────────────────────────

    def add_token(self, caller: Caller, new: NewToken) -> tuple[str, Token]:
        """Make a token; returns it as it is shown here once, and its entry.

        Raises:
            Refused: ``caller`` may not.
            Misconfigured: The role is for people only, the name is taken, or an
                expectation forbids it.
        """
        self.parts.require(caller, Right.ADMINISTER, "add a token")
        check_program(new.role)
        actor, now = self.parts.actor(caller), datetime.now(UTC)

        def work(tx: Transaction) -> tuple[str, Token]:
            text, token = self.tokens.add(tx, new, now)
            self.parts.gate.keep(token.subject, (), _rules_of(token))
            facts = {
                "role": token.role,
                "scope": str(token.scope),
                "networks": " ".join(map(str, token.networks)),
                "until": token.ends_at.isoformat(timespec="seconds"),
            }
            event = self._program_events.token_added(actor, token.name, facts)
            self.parts.audit.append(tx, event)
            return text, token

        return self.parts.database.write(work)

    def revoke_token(self, caller: Caller, name: str, reason: str = "") -> Token:
        """Refuse a token from its next request on.

        Raises:
            Refused: ``caller`` may not.
            NotFound: No such token.
            Misconfigured: It is revoked already.
        """
        self.parts.require(caller, Right.ADMINISTER, "revoke a token")
        reason, actor = _checked(reason), self.parts.actor(caller)

        def work(tx: Transaction) -> Token:
            token = self.tokens.revoke(tx, name, datetime.now(UTC))
            event = self._program_events.token_revoked(actor, token.name, reason)
            self.parts.audit.append(tx, event)
            return token

        return self.parts.database.write(work)

    def list_tokens(self, caller: Caller) -> tuple[Token, ...]:
        """Return all tokens, revoked and expired ones too, by name.

        Raises:
            Refused: ``caller`` may not.
        """
        self.parts.require(caller, Right.ADMINISTER, "list tokens")
        with self.parts.database.read() as connection:
            return self.tokens.list(connection)

    # ── what they share ──────────────────────────────────────────────────────

    @property
    def _program_events(self) -> ProgramEvents:
        return ProgramEvents(self.parts.events.node)

    def _rules(self, user: User, scope: Scope) -> tuple[Rule, ...]:
        """Return what a user's roles allow, also before enrolment; none if disabled."""
        if user.disabled_at is not None:
            return ()
        return rules_of_person(user.subject, user.roles, scope, self.networks)

    def rules_of(self, tx: Transaction, user: User) -> tuple[Rule, ...]:
        """Return what a user's roles allow; none if it is disabled."""
        return self._rules(user, self.scopes.of(tx.connection, user))

    def _account(self, tx: Transaction, user: User) -> Account:
        now = datetime.now(UTC)
        return Account(
            user,
            self.scopes.of(tx.connection, user),
            self.lockout.locked_until(tx.connection, user.id, now),
        )

    def _end_emergencies(self, tx: Transaction, caller: Caller, user: User) -> None:
        actor = self.parts.actor(caller)
        Emergencies(self.parts).stop_all(tx, actor, user.subject)

    def _tell(  # noqa: PLR0913, PLR0917  # the facts of a change
        self,
        tx: Transaction,
        caller: Caller,
        act: AccountAct,
        user: User,
        reason: str = "",
        facts: dict[str, str] | None = None,
    ) -> None:
        event = AccountEvents(self.parts.events.node).account_changed(
            self.parts.actor(caller), AccountChange(act, user.name, reason, facts or {})
        )
        self.parts.audit.append(tx, event)

    def _refuse_self(self, caller: Caller, user: User) -> None:
        """Who administers from afar must not give himself anything.

        The node's own operator, who has its keys anyway, comes without an address.
        """
        if caller.address is not None and caller.subject == user.subject:
            raise Refused("nobody changes what he himself may do")

    def _write(
        self, caller: Caller, function: str, work: Callable[[Transaction], Account]
    ) -> Account:
        """Write; what is refused within goes on the record too."""
        try:
            return self.parts.database.write(work)
        except Refused as refusal:
            actor = self.parts.actor(caller)
            event = self.parts.events.access_refused(actor, function, str(refusal))
            self.parts.try_to_record(event)
            raise


def _rules_of(token: Token) -> tuple[Rule, ...]:
    return rules_of_program(
        token.subject, token.role, token.scope, token.networks, token.ends_at
    )


def _facts(user: User, scope: Scope) -> dict[str, str]:
    return {"roles": " ".join(user.roles), "scope": str(scope)}


def _checked(reason: str) -> str:
    reason = reason.strip()
    if len(reason) > REASON_CHARACTERS_MAX or not reason.isprintable():
        raise Misconfigured(
            f"reason: at most {REASON_CHARACTERS_MAX} printable characters"
        )
    return reason
