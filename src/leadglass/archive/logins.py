"""Logging in, enrolling, and what a person does with its own proofs.

The stores of ``identity.people`` judge; here what they say is made to happen, on the
record, and told as one answer. The order is always: look and weigh (dear, outside of
any transaction), then one transaction for the outcome, what is counted of it, and its
event. What cannot be recorded has not happened, a failure included.

Failures of one address are recorded one by one up to a number in a minute, and then
counted: who guesses must not fill the record.

Crash story: a session, an enrolment or a change of proofs is whole with its event, or
not at all; a cookie or recovery codes that were not shown any more are useless, and
the person begins again (the one-time secret is spent with the enrolment, so an
administrator gives a new one: ``leadglass users reset``).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, TypeVar

from leadglass.access.networks import Address
from leadglass.access.policy import Kind
from leadglass.access.rights import Right
from leadglass.archive.caller import Caller
from leadglass.archive.doors import Knocks
from leadglass.archive.parts import Parts
from leadglass.archive.visit import Visit
from leadglass.audit.accounts import AccountAct, AccountChange, AccountEvents
from leadglass.audit.builders import Actor
from leadglass.audit.events import Event
from leadglass.database.engine import Transaction
from leadglass.errors import PeerError, Refused
from leadglass.identity.people.enrolment import Enrolled, Enrolment, Offer, WrongCode
from leadglass.identity.people.externals import Externals
from leadglass.identity.people.login import (
    NO_FACTS,
    Failure,
    LoggedIn,
    Login,
    Pending,
    Reason,
    Stores,
)
from leadglass.identity.people.passkeys import Passkey
from leadglass.identity.people.secondfactor import Factor
from leadglass.identity.people.sessions import NEVER, Session
from leadglass.identity.people.user import User

# Failures of one address that are recorded one by one in a minute; then counted.
_FAILURES_TOLD_MAX: Final = 20

Made = TypeVar("Made")


class NotFresh(Refused):
    """The person must prove itself anew before it does this."""

    def __init__(self) -> None:
        super().__init__("prove yourself anew: this was asked for too long ago")


@dataclass(frozen=True, slots=True)
class Peer:
    """Where somebody comes from who is nobody yet.

    Attributes:
        address: Where from.
        channel: ``TLSv1.3`` …, for the record.
    """

    address: Address
    channel: str


@dataclass(frozen=True, slots=True)
class Proof:
    """What somebody else says of a person that it has proven.

    Attributes:
        facts: Which one, and its name for the person; for the record.
        has_second_factor: Whether it asserts one. Without, a session is never fresh:
            what needs a person who has just proven itself is refused.
        proven_at: When the person proved itself; ``None``: it does not say.
    """

    facts: Mapping[str, str]
    has_second_factor: bool
    proven_at: datetime | None


@dataclass(frozen=True, slots=True)
class Own:
    """What a person sees of its own proofs and sessions.

    Attributes:
        sessions: Those that stand, newest first.
        passkeys: In the order in which they were added.
        has_app: Whether there is an authenticator app.
        has_password: Whether there is a password.
        recovery_codes_left: How many are unused.
    """

    sessions: tuple[Session, ...]
    passkeys: tuple[Passkey, ...]
    has_app: bool
    has_password: bool
    recovery_codes_left: int


class Logins:
    """The use cases."""

    def __init__(self, parts: Parts, stores: Stores, knocks: Knocks) -> None:
        """Put them together.

        Args:
            parts: The collaborators.
            stores: Of people.
            knocks: Counts floods; somebody must ``tell`` them now and then.
        """
        self._parts = parts
        self._stores = stores
        self._knocks = knocks
        self._login = Login(stores)
        self._enrolment = Enrolment(stores)
        self._events = AccountEvents(parts.events.node)

    # ── logging in ───────────────────────────────────────────────────────────

    def begin(self, name: str, password: str, peer: Peer) -> Pending:
        """Judge a password, and say nothing of it; the second step is next.

        Raises:
            Unavailable: Too many at once, or it cannot be recorded.
        """
        with self._parts.database.read() as connection:
            attempt = self._login.look(connection, name, peer.address)
        weighed = self._login.weigh(attempt, password)
        now = datetime.now(UTC)

        def work(tx: Transaction) -> Pending:
            pending = self._login.begin(tx, weighed, now)
            if pending.failure is not None:
                self._record_failure(tx, pending.failure, peer)
            return pending

        return self._write(work)

    def begin_vouched(
        self, user: User | None, known: User | None, failure: Failure | None, peer: Peer
    ) -> Pending:
        """Go on with what a directory has judged, as with a password of ours.

        Args:
            user: Whom it has proven; ``None``: nobody.
            known: Whose name was typed, if that is known; for the count of failures.
            failure: Why nobody, for the record.
            peer: Where from.
        """
        now = datetime.now(UTC)

        def work(tx: Transaction) -> Pending:
            if failure is not None:
                until = None
                # A directory that does not answer is no guess of who comes.
                if failure.reason is not Reason.SILENT:
                    known_id = None if known is None else known.id
                    until = self._stores.lockout.failed(tx, known_id, peer.address, now)
                self._record_failure(tx, replace(failure, locked_until=until), peer)
            return self._login.begin_vouched(tx, user, now)

        return self._write(work)

    def begin_passkey(self) -> Pending:
        """Begin a login by a passkey alone; for anybody."""
        now = datetime.now(UTC)
        return self._write(lambda tx: self._login.begin_passkey(tx, now))

    def finish(self, ticket: str, code: str, peer: Peer) -> LoggedIn:
        """Judge the code of an app or a recovery code.

        Raises:
            Refused: Something was wrong, now or at the first step.
        """
        now = datetime.now(UTC)
        return self._finish(
            lambda tx: self._login.finish(tx, ticket, code, peer.address, now), peer
        )

    def finish_with_passkey(self, ticket: str, response: str, peer: Peer) -> LoggedIn:
        """Judge a passkey's answer, as a second factor or alone.

        Raises:
            Refused: Something was wrong, now or at the first step.
        """
        now = datetime.now(UTC)
        return self._finish(
            lambda tx: self._login.finish_with_passkey(
                tx, ticket, response, peer.address, now
            ),
            peer,
        )

    def _finish(
        self, judge: Callable[[Transaction], LoggedIn | Failure], peer: Peer
    ) -> LoggedIn:
        def work(tx: Transaction) -> LoggedIn | Failure:
            outcome = judge(tx)
            if isinstance(outcome, Failure):
                self._record_failure(tx, outcome, peer)
            else:
                self._record_login(tx, outcome.session, peer)
            return outcome

        return self._told(self._write(work))

    def open_session(
        self, tx: Transaction, user: User, peer: Peer, proof: Proof, now: datetime
    ) -> LoggedIn | Failure:
        """Begin a session for a person whom somebody else has proven, on the record.

        Who is disabled here gets none. That is returned and not raised, since raising
        would undo its record: commit, then raise its ``refusal()``.

        Args:
            tx: The transaction in which it was found who that is.
            user: Who.
            peer: Where from.
            proof: What it was proven by.
            now: When.
        """
        current = self._stores.users.by_id(tx.connection, user.id)
        if current.disabled_at is not None:
            failure = Failure(Reason.DISABLED, current.name, facts=proof.facts)
            self._record_failure(tx, failure, peer)
            return failure
        proven_at = proof.proven_at if proof.has_second_factor else NEVER
        token, session = self._stores.sessions.create(
            tx,
            current,
            Factor.PROVIDER if proof.has_second_factor else Factor.NONE,
            peer.address,
            now,
            proven_at or NEVER,
        )
        self._record_login(tx, session, peer, proof)
        return LoggedIn(session, token)

    def turn_away(self, failure: Failure, peer: Peer, now: datetime) -> None:
        """Record that somebody was not let in, and count it as a failure from there."""

        def work(tx: Transaction) -> None:
            self._stores.lockout.failed(tx, None, peer.address, now)
            self._record_failure(tx, failure, peer)

        self._write(work)

    def check_peer(self, peer: Peer, now: datetime) -> None:
        """Make sure that somebody may try to log in from there now.

        Raises:
            Refused: Too many have failed; it is on the record.
        """
        with self._parts.database.read() as connection:
            until = self._stores.lockout.blocked_until(
                connection, None, peer.address, now
            )
        if until is None:
            return
        failure = Failure(Reason.BLOCKED)
        self._write(lambda tx: self._record_failure(tx, failure, peer))
        raise failure.refusal()

    def log_out(self, visit: Visit) -> None:
        """End the session."""
        session = visit.session

        def work(tx: Transaction) -> None:
            self._stores.sessions.end(tx, session.user, session.id)
            self._append(tx, self._events.logged_out(self._actor_of(visit)))

        self._write(work)

    # ── proving anew ─────────────────────────────────────────────────────────

    def prove(self, visit: Visit, code: str) -> None:
        """Make a session fresh again by a code.

        Raises:
            Refused: It is not right.
        """
        now, address = datetime.now(UTC), visit.caller.address
        self._prove(
            visit,
            lambda tx: self._login.step_up(tx, visit.session, code, address, now),
            "code",
        )

    def prove_with_passkey(self, visit: Visit, ticket: str, response: str) -> None:
        """Make a session fresh again by a passkey.

        Raises:
            Refused: It is not right.
        """
        now = datetime.now(UTC)
        self._prove(
            visit,
            lambda tx: self._login.step_up_with_passkey(
                tx, visit.session, ticket, response, now
            ),
            Factor.PASSKEY,
        )

    def _prove(
        self, visit: Visit, judge: Callable[[Transaction], Failure | None], factor: str
    ) -> None:
        peer = _peer_of(visit)

        def work(tx: Transaction) -> Failure | None:
            failure = judge(tx)
            if failure is not None:
                self._record_failure(tx, failure, peer)
            else:
                event = self._events.proven_anew(self._actor_of(visit), factor)
                self._append(tx, event)
            return failure

        failure = self._write(work)
        if failure is not None:
            raise failure.refusal()

    # ── enrolling ────────────────────────────────────────────────────────────

    def begin_enrolment(self, name: str, secret: str, peer: Peer) -> Offer:
        """Judge a one-time secret; offer proofs to whoever has it.

        Raises:
            Refused: It is not right, or spent.
        """
        with self._parts.database.read() as connection:
            attempt = self._enrolment.look(connection, name, peer.address)
        weighed = self._enrolment.weigh(attempt, secret)
        now = datetime.now(UTC)

        def work(tx: Transaction) -> Offer | Failure:
            outcome = self._enrolment.begin(tx, weighed, now)
            if isinstance(outcome, Failure):
                self._record_failure(tx, outcome, peer)
            return outcome

        return self._told(self._write(work))

    def finish_enrolment(
        self, ticket: str, password: str, code: str, peer: Peer
    ) -> Enrolled:
        """Enrol with a password and an app that shows its first code.

        Raises:
            Refused: No such ticket, or it has ended.
            PeerError: The password cannot be one, or the code is not of this app.
        """
        now = datetime.now(UTC)
        # Before what is dear: nobody without a ticket has us hash.
        user = self._tried(
            lambda tx: self._enrolment.holder(tx.connection, ticket, now), ticket, peer
        )
        password_hash = self._stores.passwords.prepare(
            password, (user.name, user.display_name)
        )
        return self._enrolled(
            lambda tx: self._enrolment.finish(tx, ticket, password_hash, code, now),
            ticket,
            peer,
            "password and app",
        )

    def finish_enrolment_with_passkey(
        self, ticket: str, response: str, label: str, peer: Peer
    ) -> Enrolled:
        """Enrol with a passkey alone.

        Raises:
            Refused: No such ticket, it has ended, or the passkey proves nothing.
            PeerError: A name that cannot be shown.
        """
        now = datetime.now(UTC)
        return self._enrolled(
            lambda tx: self._enrolment.finish_with_passkey(
                tx, ticket, response, label, now
            ),
            ticket,
            peer,
            "passkey",
        )

    def _enrolled(
        self,
        enrol: Callable[[Transaction], Enrolled],
        ticket: str,
        peer: Peer,
        by: str,
    ) -> Enrolled:
        def work(tx: Transaction) -> Enrolled:
            enrolled = enrol(tx)
            actor = _actor(enrolled.user.name, peer)
            self._tell(tx, actor, AccountAct.ENROLLED, enrolled.user, {"by": by})
            return enrolled

        return self._tried(work, ticket, peer)

    def _tried(
        self, attempt: Callable[[Transaction], Made], ticket: str, peer: Peer
    ) -> Made:
        """Try a ticket of an enrolment; in vain, that is counted and recorded.

        Raises:
            Refused: Nothing is tried from there now, or what ``attempt`` raises.
        """
        now = datetime.now(UTC)

        def work(tx: Transaction) -> Made | Refused | WrongCode:
            failure = self._enrolment.blocked(tx.connection, peer.address, now)
            if failure is not None:
                self._record_failure(tx, failure, peer)
                return failure.refusal()
            try:
                return attempt(tx)
            except (Refused, WrongCode) as error:
                # Raised within, it would undo its record.
                missed = self._enrolment.missed(tx, ticket, error, peer.address, now)
                self._record_failure(tx, missed, peer)
                return error

        outcome = self._write(work)
        if isinstance(outcome, Refused | WrongCode):
            raise outcome
        return outcome

    # ── one's own proofs ─────────────────────────────────────────────────────

    def own(self, visit: Visit) -> Own:
        """Return what a person has."""
        user, stores = visit.session.user, self._stores
        with self._parts.database.read() as connection:
            known = stores.users.credentials_by_id(connection, user.id)
            return Own(
                sessions=stores.sessions.list(connection, user, datetime.now(UTC)),
                passkeys=stores.passkeys.list(connection, user),
                has_app=known.totp_secret is not None,
                has_password=known.password_hash is not None,
                recovery_codes_left=stores.factors.recovery_codes_left(
                    connection, user
                ),
            )

    def offer(self, visit: Visit) -> Offer:
        """Offer another app or passkey.

        Raises:
            NotFresh: The person must prove itself anew before.
        """
        now = _fresh(visit)
        return self._write(
            lambda tx: self._enrolment.offer(tx, visit.session.user, now)
        )

    def change_password(self, visit: Visit, password: str) -> None:
        """Take another password; all sessions end.

        Raises:
            NotFresh: The person must prove itself anew before.
            PeerError: It cannot be one.
        """
        _fresh(visit)
        user = visit.session.user
        password_hash = self._stores.passwords.prepare(
            password, (user.name, user.display_name)
        )
        self._change(
            visit,
            AccountAct.PASSWORD,
            lambda tx: self._stores.users.set_password(tx, user, password_hash),
        )

    def replace_app(self, visit: Visit, ticket: str, code: str) -> None:
        """Take another authenticator app; all sessions end.

        Raises:
            NotFresh: The person must prove itself anew before.
            Refused: No such ticket of this person.
            PeerError: The code is not of this app.
        """
        now, user = _fresh(visit), visit.session.user
        self._change(
            visit,
            AccountAct.APP,
            lambda tx: self._enrolment.replace_app(tx, user, ticket, code, now),
        )

    def add_passkey(
        self, visit: Visit, ticket: str, response: str, label: str
    ) -> Passkey:
        """Add a passkey; sessions go on.

        Raises:
            NotFresh: The person must prove itself anew before.
            Refused: No such ticket of this person, or the passkey proves nothing.
            PeerError: Too many, or a name that cannot be shown.
        """
        now, user = _fresh(visit), visit.session.user
        return self._change(
            visit,
            AccountAct.PASSKEY_ADDED,
            lambda tx: self._enrolment.add_passkey(
                tx, user, ticket, response, label, now
            ),
        )

    def remove_passkey(self, visit: Visit, passkey_id: int) -> None:
        """Remove a passkey; all sessions end.

        Raises:
            NotFresh: The person must prove itself anew before.
            NotFound: There is none such.
            PeerError: It is the only proof.
        """
        _fresh(visit)
        user = visit.session.user
        self._change(
            visit,
            AccountAct.PASSKEY_REMOVED,
            lambda tx: self._enrolment.remove_passkey(tx, user, passkey_id),
        )

    def renew_recovery_codes(self, visit: Visit) -> tuple[str, ...]:
        """Give new recovery codes, shown here once.

        Raises:
            NotFresh: The person must prove itself anew before.
        """
        _fresh(visit)
        user = visit.session.user
        return self._change(
            visit,
            AccountAct.RECOVERY_CODES,
            lambda tx: self._enrolment.renew_recovery_codes(tx, user),
        )

    def end_own_session(self, visit: Visit, session_id: int) -> None:
        """End one session of one's own.

        Raises:
            NotFound: There is none such.
        """
        self._change(
            visit,
            AccountAct.SESSIONS_ENDED,
            lambda tx: self._stores.sessions.end(tx, visit.session.user, session_id),
            {"sessions": "1"},
        )

    def end_own_other_sessions(self, visit: Visit) -> int:
        """End all sessions but this one; return how many."""
        return self._end_all(self._actor_of(visit), visit.session.user, visit.session)

    # ── for administrators ───────────────────────────────────────────────────

    def sessions_of(self, caller: Caller, name: str) -> tuple[Session, ...]:
        """Return the sessions of a user.

        Raises:
            Refused: ``caller`` may not.
            NotFound: No such user.
        """
        self._parts.require(caller, Right.ADMINISTER, "list sessions")
        with self._parts.database.read() as connection:
            user = self._stores.users.get(connection, name)
            return self._stores.sessions.list(connection, user, datetime.now(UTC))

    def end_sessions_of(self, caller: Caller, name: str) -> int:
        """End all sessions of a user; return how many.

        Raises:
            Refused: ``caller`` may not.
            NotFound: No such user.
        """
        self._parts.require(caller, Right.ADMINISTER, "end sessions")
        with self._parts.database.read() as connection:
            user = self._stores.users.get(connection, name)
        return self._end_all(self._parts.actor(caller), user)

    def _end_all(self, actor: Actor, user: User, but: Session | None = None) -> int:
        def work(tx: Transaction) -> int:
            count = self._stores.sessions.end_all(tx, user, but)
            if count:
                facts = {"sessions": str(count)}
                self._tell(tx, actor, AccountAct.SESSIONS_ENDED, user, facts)
            return count

        return self._write(work)

    # ── what they share ──────────────────────────────────────────────────────

    def _write(self, work: Callable[[Transaction], Made]) -> Made:
        return self._parts.database.write(work)

    def _change(
        self,
        visit: Visit,
        act: AccountAct,
        change: Callable[[Transaction], Made],
        facts: dict[str, str] | None = None,
    ) -> Made:
        """Change one's own account, on the record."""

        def work(tx: Transaction) -> Made:
            made = change(tx)
            user = visit.session.user
            self._tell(tx, self._actor_of(visit), act, user, facts or {})
            return made

        return self._write(work)

    def _told(self, outcome: Made | Failure) -> Made:
        if isinstance(outcome, Failure):
            raise outcome.refusal()
        return outcome

    def _record_login(
        self,
        tx: Transaction,
        session: Session,
        peer: Peer,
        proof: Proof | None = None,
    ) -> None:
        actor = _actor(session.user.name, peer)
        facts = NO_FACTS if proof is None else proof.facts
        if proof is None and session.user.is_external:
            facts = Externals(self._stores.users).pair(tx.connection, session.user)
        self._append(tx, self._events.logged_in(actor, session.factor, facts))

    def _record_failure(self, tx: Transaction, failure: Failure, peer: Peer) -> None:
        """Record a failure, and a lock that it has set; a flood is counted."""
        actor = _actor(failure.name, peer)
        count = self._knocks.count(peer.address, "login refused")
        if count <= _FAILURES_TOLD_MAX:
            self._append(
                tx,
                self._events.login_failed(
                    actor, failure.reason, failure.detail, failure.facts
                ),
            )
        if failure.locked_until is not None:
            facts = {"until": failure.locked_until.isoformat(timespec="seconds")}
            change = AccountChange(AccountAct.LOCKED, failure.name, facts=facts)
            self._append(tx, self._events.account_changed(actor, change))

    def _tell(
        self,
        tx: Transaction,
        actor: Actor,
        act: AccountAct,
        user: User,
        facts: dict[str, str],
    ) -> None:
        change = AccountChange(act, user.name, facts=facts)
        self._append(tx, self._events.account_changed(actor, change))

    def _append(self, tx: Transaction, event: Event) -> None:
        self._parts.audit.append(tx, event)

    def _actor_of(self, visit: Visit) -> Actor:
        return self._parts.actor(visit.caller)


def _fresh(visit: Visit) -> datetime:
    """Return the time, if the person has proven itself a short while ago.

    Raises:
        NotFresh: It has not.
        PeerError: Somebody else proves the person: with a proof of ours it could come
            when that does not let it in any more.
    """
    if visit.session.user.is_external:
        raise PeerError("your proofs are kept where you log in, not here")
    now = datetime.now(UTC)
    if not visit.session.is_fresh(now):
        raise NotFresh
    return now


def _peer_of(visit: Visit) -> Peer:
    address = visit.caller.address
    if address is None:
        raise PeerError("a session comes from somewhere")
    return Peer(address, visit.caller.channel)


def _actor(name: str, peer: Peer) -> Actor:
    return Actor(
        name=name,
        address=str(peer.address),
        channel=peer.channel,
        kind=Kind.OPERATOR,
    )
