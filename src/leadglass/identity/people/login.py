"""Logging in: two steps, one answer.

    begin ──password──> LOGIN ticket ──code or passkey──> session
    begin_passkey ────> PASSKEY ticket ──passkey────────> session

Nobody hears more than that it did not work: an unknown user, a wrong password, a
wrong code, a lock and a disabled user look alike and cost alike. So the first step
gives a ticket to everybody, Argon2 runs for a decoy where there is no password, and
the second step judges a code for nobody, too. Only the record learns why.

Argon2 takes some 50 ms, and a write transaction is one at a time. So a first step
is three calls: ``look`` (a snapshot), ``weigh`` (neither), ``begin`` (a
transaction, in which the throttle is asked again: a thousand guesses sent at once
are counted one by one).

A failure is returned, not raised: raising would undo the count of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from sqlalchemy import Connection

from leadglass.access.networks import Address
from leadglass.database.engine import Transaction
from leadglass.errors import Refused
from leadglass.identity.people.lockout import Lockout
from leadglass.identity.people.passkeys import BadPasskey, Passkeys
from leadglass.identity.people.passwords import Passwords, Verdict
from leadglass.identity.people.secondfactor import Factor, SecondFactors
from leadglass.identity.people.sessions import NEVER, Session, Sessions
from leadglass.identity.people.tickets import Purpose, Ticket, Tickets
from leadglass.identity.people.user import User
from leadglass.identity.people.users import Credentials, Users

NO_FACTS: Mapping[str, str] = MappingProxyType({})

# What anybody hears of any failure.
ONE_ANSWER = "login failed; after several tries, wait a while"

# Who that is nobody is in the record. Not what was typed: people type passwords
# into the field for the name.
UNKNOWN = "unknown"


class Reason(StrEnum):
    """Why a login failed; for the record alone."""

    UNKNOWN_USER = "unknown user"
    WRONG_PASSWORD = "wrong password"  # noqa: S105 - a reason
    WRONG_FACTOR = "wrong second factor"
    WRONG_SECRET = "wrong one-time secret"  # noqa: S105 - a reason
    WRONG_PASSKEY = "wrong passkey"
    BLOCKED = "too many failures before"
    DISABLED = "disabled user"
    NOT_ENROLLED = "not enrolled yet"
    NO_TICKET = "no such ticket, or it has ended"
    PROVIDER = "not proven by the provider"
    NO_ROLE = "no group of the provider gives a role"
    ROLES = "roles that cannot be given"
    DIRECTORY = "not proven by the directory"
    SILENT = "the directory does not answer"
    ONE_FACTOR = "the provider asserts no second factor"


@dataclass(frozen=True, slots=True)
class Failure:
    """Something did not work. The caller commits, records it and says one thing.

    Attributes:
        reason: Why, for the record.
        name: Name of the user, if known; ``UNKNOWN`` otherwise.
        locked_until: Until when this failure has locked the user, if it has.
        detail: More for the record; no personal data.
        facts: Issuer and subject of somebody whom a provider has proven.
    """

    reason: Reason
    name: str = UNKNOWN
    locked_until: datetime | None = None
    detail: str = ""
    facts: Mapping[str, str] = field(default_factory=lambda: NO_FACTS)

    def refusal(self) -> Refused:
        """Return what to raise after the commit: one answer for all."""
        return Refused(ONE_ANSWER)


@dataclass(frozen=True, slots=True)
class Attempt:
    """Who somebody says to be, looked up; nothing is judged yet."""

    credentials: Credentials | None
    address: Address | None


@dataclass(frozen=True, slots=True)
class Weighed:
    """An attempt whose password was judged; not told to anybody yet."""

    attempt: Attempt
    verdict: Verdict = field(repr=False)


@dataclass(frozen=True, slots=True)
class Pending:
    """The first step is done, and tells nothing; the second is waited for.

    Attributes:
        ticket: What the browser brings back with the second factor.
        passkey_options: JSON for ``navigator.credentials.get``, to do so with a
            passkey; the same for everybody but for the challenge.
        ends_at: The last moment for it.
        failure: What the record must hear now; the browser hears none of it.
    """

    ticket: str = field(repr=False)
    passkey_options: str
    ends_at: datetime
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """A person has proven who it is.

    Attributes:
        session: What it has now.
        token: What the cookie holds; shown here once.
    """

    session: Session
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Stores:
    """The stores of people, together."""

    users: Users
    passwords: Passwords
    factors: SecondFactors
    passkeys: Passkeys
    lockout: Lockout
    tickets: Tickets
    sessions: Sessions


class Login:
    """The state machine of a login; all state is in the database."""

    def __init__(self, stores: Stores, *, unsafe_password_alone: bool = False) -> None:
        """Prepare.

        Args:
            stores: The stores of people.
            unsafe_password_alone: Let in with a password alone who has no second
                factor. Who has one always needs it.
        """
        self._stores = stores
        self._unsafe_password_alone = unsafe_password_alone

    # ── the first step ───────────────────────────────────────────────────────

    def look(
        self, connection: Connection, name: str, address: Address | None
    ) -> Attempt:
        """Look up who that would be."""
        return Attempt(self._stores.users.credentials(connection, name), address)

    def weigh(self, attempt: Attempt, password: str) -> Weighed:
        """Judge the password: 50 ms of Argon2 for anybody; outside a transaction.

        Raises:
            Unavailable: Too many at once.
        """
        known = attempt.credentials
        stored = None if known is None else known.password_hash
        return Weighed(attempt, self._stores.passwords.verify(password, stored))

    def begin(self, tx: Transaction, weighed: Weighed, now: datetime) -> Pending:
        """Give a ticket for the second step to anybody; count what was wrong."""
        attempt, stores = weighed.attempt, self._stores
        known = self._unchanged(tx.connection, attempt.credentials)
        failure = self._first_failure(tx, known, weighed, now)
        user = None if known is None else known.user
        new_hash = weighed.verdict.new_hash
        if failure is None and known and known.password_hash and new_hash:
            stores.users.rehash(tx, known.user, known.password_hash, new_hash)
        token, ticket = stores.tickets.issue(
            tx, Purpose.LOGIN, user, now, is_proven=failure is None
        )
        options = stores.passkeys.authentication_options(ticket.challenge)
        return Pending(token, options, ticket.ends_at, failure)

    def begin_vouched(
        self, tx: Transaction, user: User | None, now: datetime
    ) -> Pending:
        """Give a ticket for somebody whose password a directory has judged.

        ``None``: it was wrong, or nobody's; the ticket looks the same, and leads to
        nothing. The failure is the caller's to count and to record.
        """
        token, ticket = self._stores.tickets.issue(
            tx, Purpose.LOGIN, user, now, is_proven=user is not None
        )
        options = self._stores.passkeys.authentication_options(ticket.challenge)
        return Pending(token, options, ticket.ends_at)

    def _unchanged(
        self, connection: Connection, looked: Credentials | None
    ) -> Credentials | None:
        """Return the credentials as they are now; none if others were weighed."""
        if looked is None:
            return None
        now = self._stores.users.credentials_by_id(connection, looked.user.id)
        return now if now.password_hash == looked.password_hash else None

    def _first_failure(
        self,
        tx: Transaction,
        known: Credentials | None,
        weighed: Weighed,
        now: datetime,
    ) -> Failure | None:
        user_id = None if known is None else known.user.id
        name = UNKNOWN if known is None else known.user.name
        address = weighed.attempt.address
        lockout = self._stores.lockout
        # Right or wrong: while it is blocked, nothing is tried and nothing counted,
        # so that a lock ends even while somebody goes on knocking.
        if lockout.blocked_until(tx.connection, user_id, address, now) is not None:
            return Failure(Reason.BLOCKED, name)
        reason = None
        if known is None:
            reason = Reason.UNKNOWN_USER
        elif not weighed.verdict.is_right:
            reason = Reason.WRONG_PASSWORD
        elif known.user.disabled_at is not None:
            reason = Reason.DISABLED
        elif known.user.enrolled_at is None:
            reason = Reason.NOT_ENROLLED
        if reason is None:
            return None
        return Failure(reason, name, lockout.failed(tx, user_id, address, now))

    # ── the second step ──────────────────────────────────────────────────────

    def finish(
        self,
        tx: Transaction,
        token: str,
        code: str,
        address: Address | None,
        now: datetime,
    ) -> LoggedIn | Failure:
        """Judge a code of the app, or a recovery code; begin a session if it is right.

        Args:
            tx: The caller's transaction; it must commit whatever is returned.
            token: The ticket of the first step.
            code: As it was typed.
            address: Where it comes from.
            now: When.
        """
        stores = self._stores
        ticket = stores.tickets.use(tx, token, Purpose.LOGIN, now)
        known = self._of(tx.connection, ticket)
        user_id = None if known is None else known.user.id
        name = UNKNOWN if known is None else known.user.name
        is_blocked = stores.lockout.blocked_until(tx.connection, user_id, address, now)
        proven = known if ticket and ticket.is_proven and not is_blocked else None
        factor = stores.factors.prove(tx, proven, code, now)
        if factor is None and proven is not None and self._needs_no_factor(tx, proven):
            factor = Factor.NONE
        if ticket is None:
            return self._failed(tx, Reason.NO_TICKET, None, address, now)
        if is_blocked:
            return Failure(Reason.BLOCKED, name)
        if not ticket.is_proven:  # counted at the first step, and once is enough
            return Failure(Reason.WRONG_PASSWORD, name)
        if proven is None or factor is None:
            return self._failed(tx, Reason.WRONG_FACTOR, known, address, now)
        return self._logged_in(tx, ticket, proven, factor, address, now)

    def finish_with_passkey(
        self,
        tx: Transaction,
        token: str,
        response: str,
        address: Address | None,
        now: datetime,
    ) -> LoggedIn | Failure:
        """Judge a passkey's answer, for either kind of ticket; begin a session.

        Args:
            tx: The caller's transaction; it must commit whatever is returned.
            token: The ticket of the first step, or of ``begin_passkey``.
            response: The browser's JSON.
            address: Where it comes from.
            now: When.
        """
        stores = self._stores
        ticket = stores.tickets.use(tx, token, Purpose.LOGIN, now)
        ticket = ticket or stores.tickets.use(tx, token, Purpose.PASSKEY, now)
        if ticket is None:
            return self._failed(tx, Reason.NO_TICKET, None, address, now)
        # Signed or not: an answer is judged once against a challenge.
        stores.tickets.close(tx, ticket)
        try:
            passkey = stores.passkeys.prove(tx, ticket.challenge, response, now)
        except BadPasskey as error:
            claimed = self._of(tx.connection, ticket)
            return self._failed(
                tx, Reason.WRONG_PASSKEY, claimed, address, now, detail=error.reason
            )
        known = stores.users.credentials_by_id(tx.connection, passkey.user_id)
        if reason := _refused_passkey(ticket, known):
            return self._failed(tx, reason, known, address, now)
        return self._logged_in(tx, ticket, known, Factor.PASSKEY, address, now)

    def begin_passkey(self, tx: Transaction, now: datetime) -> Pending:
        """Begin a login without name and password; for anybody."""
        token, ticket = self._stores.tickets.issue(tx, Purpose.PASSKEY, None, now)
        options = self._stores.passkeys.authentication_options(ticket.challenge)
        return Pending(token, options, ticket.ends_at)

    # ── proving anew ─────────────────────────────────────────────────────────

    def step_up(
        self,
        tx: Transaction,
        session: Session,
        code: str,
        address: Address | None,
        now: datetime,
    ) -> Failure | None:
        """Make a session fresh again by a code; guesses are counted as at a login."""
        stores = self._stores
        user = session.user
        if stores.lockout.blocked_until(tx.connection, user.id, address, now):
            return Failure(Reason.BLOCKED, user.name)
        known = stores.users.credentials_by_id(tx.connection, user.id)
        if stores.factors.prove(tx, known, code, now) is None:
            return self._failed(tx, Reason.WRONG_FACTOR, known, address, now)
        stores.lockout.succeeded(tx, user.id)
        stores.sessions.refresh(tx, session, now)
        return None

    def step_up_with_passkey(
        self,
        tx: Transaction,
        session: Session,
        token: str,
        response: str,
        now: datetime,
    ) -> Failure | None:
        """Make a session fresh again by a passkey, for a ``begin_passkey`` ticket."""
        stores = self._stores
        name = session.user.name
        ticket = stores.tickets.use(tx, token, Purpose.PASSKEY, now)
        if ticket is None:
            return Failure(Reason.NO_TICKET, name)
        stores.tickets.close(tx, ticket)
        try:
            passkey = stores.passkeys.prove(tx, ticket.challenge, response, now)
        except BadPasskey as error:
            return Failure(Reason.WRONG_PASSKEY, name, detail=error.reason)
        if passkey.user_id != session.user.id:
            return Failure(Reason.WRONG_PASSKEY, name)
        stores.sessions.refresh(tx, session, now)
        return None

    # ── what both steps share ────────────────────────────────────────────────

    def _of(self, connection: Connection, ticket: Ticket | None) -> Credentials | None:
        if ticket is None or ticket.user_id is None:
            return None
        return self._stores.users.credentials_by_id(connection, ticket.user_id)

    def _needs_no_factor(self, tx: Transaction, known: Credentials) -> bool:
        has_factor = known.totp_secret is not None or bool(
            self._stores.passkeys.list(tx.connection, known.user)
        )
        # Whom a directory proves has no factor here; that it lets people in so is a
        # setting named unsafe.
        is_allowed = self._unsafe_password_alone or known.user.is_external
        return is_allowed and not has_factor

    def _failed(  # noqa: PLR0913 - what failed, whose it is, from where, when
        self,
        tx: Transaction,
        reason: Reason,
        known: Credentials | None,
        address: Address | None,
        now: datetime,
        *,
        detail: str = "",
    ) -> Failure:
        user_id = None if known is None else known.user.id
        name = UNKNOWN if known is None else known.user.name
        locked_until = self._stores.lockout.failed(tx, user_id, address, now)
        return Failure(reason, name, locked_until, detail)

    def _logged_in(  # noqa: PLR0913, PLR0917 - what a session is made of
        self,
        tx: Transaction,
        ticket: Ticket,
        known: Credentials,
        factor: Factor,
        address: Address | None,
        now: datetime,
    ) -> LoggedIn:
        stores = self._stores
        stores.tickets.close(tx, ticket)
        stores.lockout.succeeded(tx, known.user.id)
        # One proof, of another's judging: enough to come in, not for what is dangerous.
        proven_at = NEVER if known.user.is_external else now
        token, session = stores.sessions.create(
            tx, known.user, factor, address, now, proven_at
        )
        return LoggedIn(session, token)


def _refused_passkey(ticket: Ticket, known: Credentials) -> Reason | None:
    """Say why a passkey that is in order does not log in for this ticket."""
    if known.user.disabled_at is not None:
        return Reason.DISABLED
    if known.user.enrolled_at is None:
        return Reason.NOT_ENROLLED
    if ticket.purpose is Purpose.PASSKEY:
        return None
    if not ticket.is_proven:
        return Reason.WRONG_PASSWORD
    return None if ticket.user_id == known.user.id else Reason.WRONG_PASSKEY
