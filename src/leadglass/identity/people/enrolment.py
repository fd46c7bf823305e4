"""Enrolling: from the one-time secret to a user who can log in.

    begin ──secret──> ENROLMENT ticket ──password and code, or passkey──> enrolled

The secret is used up when the user is enrolled, not before: a browser that crashes
on the way costs nobody a new secret. The first who finishes is the user; all other
tickets die with the change. The first administrator becomes a user here.

As at a login (see ``login``) the dear work is outside of transactions, failures are
counted and returned, and all of them sound alike.

Who is logged in adds or replaces proofs with ``REGISTRATION`` tickets; asking for a
fresh session first is the caller's duty.
"""

from base64 import b64encode
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection

from leadglass.access.networks import Address
from leadglass.database.engine import Transaction
from leadglass.errors import PeerError, Refused
from leadglass.identity.administrators import (
    HASH_BYTES,
    SALT_BYTES,
    SCRYPT_N,
    SCRYPT_P,
    SCRYPT_R,
    hash_secret,
    matches,
    new_secret,
)
from leadglass.identity.people.login import UNKNOWN, Failure, Reason, Stores
from leadglass.identity.people.passkeys import BadPasskey, Passkey
from leadglass.identity.people.secondfactor import (
    matching_step,
    new_recovery_codes,
    new_totp_secret,
    totp_text,
    totp_uri,
)
from leadglass.identity.people.tickets import Purpose, Ticket
from leadglass.identity.people.user import User
from leadglass.identity.rows import to_us

# Ours has 31 with its hyphens; longer is none, and is not hashed.
_SECRET_CHARACTERS_MAX = 64

# A hash that no secret has, of zero bytes: what is weighed for nobody.
_NOBODY = f"scrypt${SCRYPT_N}${SCRYPT_R}${SCRYPT_P}$" + "$".join(
    b64encode(bytes(size)).decode() for size in (SALT_BYTES, HASH_BYTES)
)


@dataclass(frozen=True, slots=True)
class SecretAttempt:
    """Who wants to enrol, looked up; nothing is judged yet."""

    name: str
    secret_hash: str | None
    ends_at: datetime | None
    address: Address | None


@dataclass(frozen=True, slots=True)
class SecretWeighed:
    """An attempt whose secret was judged; not told to anybody yet."""

    attempt: SecretAttempt
    is_right: bool = field(repr=False)


@dataclass(frozen=True, slots=True)
class Offer:
    """What is needed to choose proofs.

    Attributes:
        ticket: What the browser brings back with them.
        user: Who enrols.
        totp_uri: ``otpauth://…``, for a QR code.
        totp_text: The same secret, to be typed.
        passkey_options: JSON for ``navigator.credentials.create``.
        ends_at: The last moment for it.
    """

    ticket: str = field(repr=False)
    user: User
    totp_uri: str = field(repr=False)
    totp_text: str = field(repr=False)
    passkey_options: str = field(repr=False)
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class Enrolled:
    """Somebody is enrolled.

    Attributes:
        user: Who.
        recovery_codes: Shown here once: only their hashes are kept.
    """

    user: User
    recovery_codes: tuple[str, ...] = field(repr=False)


def draw_secret() -> tuple[str, str]:
    """Draw a one-time secret: as it is shown once, and its hash for ``Users.add``.

    Takes some 100 ms, so call it outside of a transaction.
    """
    secret = new_secret()
    return secret, hash_secret(secret)


class WrongCode(PeerError):
    """The code is not of the app that is being set up; another may be tried."""

    def __init__(self) -> None:
        super().__init__("code: not the one that the app shows now; try the next")


class Enrolment:
    """Enrols users, and changes their proofs; all state is in the database."""

    def __init__(self, stores: Stores) -> None:
        """Prepare."""
        self._stores = stores

    # ── with the one-time secret ─────────────────────────────────────────────

    def look(
        self, connection: Connection, name: str, address: Address | None
    ) -> SecretAttempt:
        """Look up who that would be."""
        found = self._stores.users.enrolment_secret(connection, name)
        secret_hash, ends_at = found if found is not None else (None, None)
        return SecretAttempt(name, secret_hash, ends_at, address)

    def weigh(self, attempt: SecretAttempt, secret: str) -> SecretWeighed:
        """Judge the secret: 100 ms for anybody; outside a transaction.

        Raises:
            Unavailable: Too many at once.
        """
        stored = attempt.secret_hash
        with self._stores.passwords.turn():
            fits = matches(_shaped(secret), stored or _NOBODY)
        return SecretWeighed(attempt, fits and stored is not None)

    def begin(
        self, tx: Transaction, weighed: SecretWeighed, now: datetime
    ) -> Offer | Failure:
        """Offer proofs to whoever has the secret."""
        stores, attempt = self._stores, weighed.attempt
        found = stores.users.enrolment_secret(tx.connection, attempt.name)
        known = stores.users.credentials(tx.connection, attempt.name)
        name = UNKNOWN if known is None else known.user.name
        # By address alone: 130 bits are not guessed, so that a stranger's wrong
        # passwords must not keep a user from enrolling.
        address = attempt.address
        if stores.lockout.blocked_until(tx.connection, None, address, now):
            return Failure(Reason.BLOCKED, name)
        stands = found is not None and found[0] == attempt.secret_hash
        if not weighed.is_right or not stands or found is None or now > found[1]:
            stores.lockout.failed(tx, None, address, now)
            return Failure(Reason.WRONG_SECRET, name)
        user = known.user if known else stores.users.adopt_first(tx, now)
        if user is None or user.disabled_at is not None:
            stores.lockout.failed(tx, None, address, now)
            return Failure(Reason.DISABLED, name)
        return self._offer(tx, Purpose.ENROLMENT, user, now)

    def holder(self, connection: Connection, token: str, now: datetime) -> User:
        """Return who enrols with a ticket.

        Raises:
            Refused: No such ticket, or it has ended.
        """
        _, user = self._ticket(connection, token, Purpose.ENROLMENT, now)
        return user

    def finish(
        self, tx: Transaction, token: str, password_hash: str, code: str, now: datetime
    ) -> Enrolled:
        """Enrol with a password and an app that shows its first code.

        Args:
            tx: The caller's transaction.
            token: The ticket of the offer.
            password_hash: As ``Passwords.prepare`` returns it.
            code: What the app shows.
            now: When.

        Raises:
            Refused: No such ticket, or it has ended.
            WrongCode: It is not of this app; another may be tried.
        """
        ticket, user = self._ticket(tx.connection, token, Purpose.ENROLMENT, now)
        step = matching_step(ticket.totp_secret, code, None, now)
        if ticket.totp_secret is None or step is None:
            raise WrongCode
        self._stores.factors.set_totp(tx, user, ticket.totp_secret, step)
        return self._enrolled(tx, user, password_hash, now)

    def finish_with_passkey(  # noqa: PLR0913, PLR0917 - what is chosen, and when
        self,
        tx: Transaction,
        token: str,
        response: str,
        label: str,
        now: datetime,
        password_hash: str | None = None,
    ) -> Enrolled:
        """Enrol with a passkey, and a password beside it if one is wanted.

        Raises:
            Refused: No such ticket, it has ended, or the passkey proves nothing.
            PeerError: A name that cannot be shown.
        """
        ticket, user = self._ticket(tx.connection, token, Purpose.ENROLMENT, now)
        passkeys = self._stores.passkeys
        passkeys.register(tx, user, ticket.challenge, response, label, now)
        return self._enrolled(tx, user, password_hash, now)

    def blocked(
        self, connection: Connection, address: Address | None, now: datetime
    ) -> Failure | None:
        """Tell whether nothing is tried from there now."""
        until = self._stores.lockout.blocked_until(connection, None, address, now)
        return None if until is None else Failure(Reason.BLOCKED)

    def missed(
        self,
        tx: Transaction,
        token: str,
        error: Refused | WrongCode,
        address: Address | None,
        now: datetime,
    ) -> Failure:
        """Count that a ticket was tried in vain: by address, and as a try of it.

        By address alone, as in ``begin``. What failed has written nothing: all that
        is judged is judged first.
        """
        stores = self._stores
        ticket = stores.tickets.use(tx, token, Purpose.ENROLMENT, now)
        stores.lockout.failed(tx, None, address, now)
        if ticket is None or ticket.user_id is None:
            return Failure(Reason.NO_TICKET)
        name = stores.users.by_id(tx.connection, ticket.user_id).name
        if isinstance(error, BadPasskey):
            return Failure(Reason.WRONG_PASSKEY, name, detail=error.reason)
        return Failure(Reason.WRONG_FACTOR, name)

    def _enrolled(
        self, tx: Transaction, user: User, password_hash: str | None, now: datetime
    ) -> Enrolled:
        stores = self._stores
        codes = new_recovery_codes()
        stores.factors.set_recovery_codes(tx, user, codes)
        stores.lockout.succeeded(tx, user.id)
        changed = stores.users.change(
            tx,
            user,
            {
                "password_hash": password_hash,
                "secret_hash": None,
                "secret_ends_us": None,
                "enrolled_us": to_us(now),
            },
        )
        return Enrolled(changed, codes)

    # ── with a fresh session ─────────────────────────────────────────────────

    def offer(self, tx: Transaction, user: User, now: datetime) -> Offer:
        """Offer another app or passkey to a user with a fresh session."""
        return self._offer(tx, Purpose.REGISTRATION, user, now)

    def replace_app(
        self, tx: Transaction, user: User, token: str, code: str, now: datetime
    ) -> User:
        """Take another app in place of the old one; all sessions end.

        Raises:
            Refused: No such ticket of this user.
            WrongCode: It is not of this app; another may be tried.
        """
        ticket, _ = self._ticket(tx.connection, token, Purpose.REGISTRATION, now, user)
        step = matching_step(ticket.totp_secret, code, None, now)
        if ticket.totp_secret is None or step is None:
            raise WrongCode
        self._stores.factors.set_totp(tx, user, ticket.totp_secret, step)
        return self._stores.users.change(tx, user, {})

    def add_passkey(  # noqa: PLR0913, PLR0917 - whose, what came, its name, when
        self,
        tx: Transaction,
        user: User,
        token: str,
        response: str,
        label: str,
        now: datetime,
    ) -> Passkey:
        """Add a passkey to a user with a fresh session; sessions go on.

        Raises:
            Refused: No such ticket of this user, or the passkey proves nothing.
            PeerError: Too many, or a name that cannot be shown.
        """
        ticket, _ = self._ticket(tx.connection, token, Purpose.REGISTRATION, now, user)
        self._stores.tickets.close(tx, ticket)
        passkeys = self._stores.passkeys
        return passkeys.register(tx, user, ticket.challenge, response, label, now)

    def remove_passkey(self, tx: Transaction, user: User, passkey_id: int) -> User:
        """Remove a passkey; all sessions end, since one may be by it.

        Raises:
            NotFound: The user has no such passkey.
            PeerError: It is the only proof besides recovery codes.
        """
        stores = self._stores
        known = stores.users.credentials_by_id(tx.connection, user.id)
        stores.passkeys.remove(tx, user, passkey_id)
        has_app = known.password_hash is not None and known.totp_secret is not None
        if not has_app and not stores.passkeys.list(tx.connection, user):
            raise PeerError("passkey: it is the last proof; add another one first")
        return stores.users.change(tx, user, {})

    def renew_recovery_codes(self, tx: Transaction, user: User) -> tuple[str, ...]:
        """Give a user with a fresh session new recovery codes; the old ones end."""
        codes = new_recovery_codes()
        self._stores.factors.set_recovery_codes(tx, user, codes)
        return codes

    # ── tickets ──────────────────────────────────────────────────────────────

    def _offer(
        self, tx: Transaction, purpose: Purpose, user: User, now: datetime
    ) -> Offer:
        secret = new_totp_secret()
        token, ticket = self._stores.tickets.issue(
            tx, purpose, user, now, is_proven=True, totp_secret=secret
        )
        options = self._stores.passkeys.registration_options(
            tx.connection, user, ticket.challenge
        )
        return Offer(
            ticket=token,
            user=user,
            totp_uri=totp_uri(user.name, secret),
            totp_text=totp_text(secret),
            passkey_options=options,
            ends_at=ticket.ends_at,
        )

    def _ticket(
        self,
        connection: Connection,
        token: str,
        purpose: Purpose,
        now: datetime,
        user: User | None = None,
    ) -> tuple[Ticket, User]:
        """Return an open ticket and whose it is.

        No try of it is counted here: see ``missed``.
        """
        ticket = self._stores.tickets.get(connection, token, purpose, now)
        if ticket is None or ticket.user_id is None:
            raise Refused("no such ticket, or it has ended")
        if user is not None and ticket.user_id != user.id:
            raise Refused("no such ticket, or it has ended")
        return ticket, self._stores.users.by_id(connection, ticket.user_id)


def _shaped(secret: str) -> str:
    """Return what is worth hashing: ours are short, and of ASCII."""
    return secret if len(secret) <= _SECRET_CHARACTERS_MAX and secret.isascii() else ""
