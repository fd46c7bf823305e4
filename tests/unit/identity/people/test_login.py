"""Logging in: two steps, one answer, and what a guesser meets."""

from datetime import timedelta
from ipaddress import ip_address

import pytest

from leadglass.identity.people.login import (
    ONE_ANSWER,
    UNKNOWN,
    Failure,
    LoggedIn,
    Login,
    Pending,
    Reason,
    Weighed,
)
from leadglass.identity.people.passwords import Parameters, Passwords, Verdict
from leadglass.identity.people.secondfactor import Factor
from leadglass.identity.people.tickets import TERMS, Purpose
from tests.unit.identity.people.surroundings import HOME, PASSWORD, SECRET_HASH, People

WRONG = "something else entirely"


def test_password_and_code_log_in(people: People) -> None:
    people.member()
    done = people.finish(people.begin("ALICE").ticket, people.code())
    assert isinstance(done, LoggedIn)
    assert done.session.user.name == "alice"
    assert done.session.factor is Factor.TOTP
    assert done.session.address == str(HOME)
    assert people.stands(done.token)


def test_a_recovery_code_takes_the_place_of_the_app_once(people: People) -> None:
    code = people.member().recovery_codes[3]
    done = people.finish(people.begin().ticket, code)
    assert isinstance(done, LoggedIn)
    assert done.session.factor is Factor.RECOVERY
    assert isinstance(people.finish(people.begin().ticket, code), Failure)


def test_a_ticket_logs_in_once_and_a_code_too(people: People) -> None:
    people.member()
    ticket, code = people.begin().ticket, people.code()
    assert isinstance(people.finish(ticket, code), LoggedIn)
    assert people.finish(ticket, people.code()) == Failure(Reason.NO_TICKET)
    code = people.code()
    assert isinstance(people.finish(people.begin().ticket, code), LoggedIn)
    assert people.finish(people.begin().ticket, code) == Failure(
        Reason.WRONG_FACTOR, "alice"
    )


def failing(people: People, what: str) -> tuple[str, str, Reason]:
    """Bring about a failure; returns name, password, and why it must fail."""
    users = people.stores.users
    if what == "unknown":
        return "mallory", PASSWORD, Reason.UNKNOWN_USER
    if what == "wrong":
        return "alice", WRONG, Reason.WRONG_PASSWORD
    if what == "disabled":
        people.database.write(lambda tx: users.disable(tx, "alice", people.now))
        return "alice", PASSWORD, Reason.DISABLED
    if what == "locked":
        for _ in range(5):
            people.begin(password=WRONG)
        return "alice", PASSWORD, Reason.BLOCKED
    people.add("newcomer")
    return "newcomer", PASSWORD, Reason.WRONG_PASSWORD


FAILURES = ["unknown", "wrong", "disabled", "locked", "not enrolled"]


@pytest.mark.parametrize("what", FAILURES)
def test_the_first_step_looks_the_same_whatever_is_wrong(
    people: People, what: str
) -> None:
    people.member()
    good = people.begin()
    code = people.code()
    name, password, reason = failing(people, what)
    bad = people.begin(name, password)
    assert len(bad.ticket) == len(good.ticket)
    assert len(bad.passkey_options) == len(good.passkey_options)
    assert bad.ends_at - people.now == TERMS[Purpose.LOGIN].validity
    assert bad.failure is not None
    assert bad.failure.reason is reason
    done = people.finish(bad.ticket, code)
    assert isinstance(done, Failure)
    assert str(done.refusal()) == ONE_ANSWER


class Counting(Passwords):
    """Counts what is verified."""

    verified = 0

    def _matches(self, normal: str, stored: str) -> bool:
        self.verified += 1
        return super()._matches(normal, stored)


@pytest.mark.parametrize("what", FAILURES)
def test_argon2_runs_once_whatever_is_wrong(people: People, what: str) -> None:
    people.member()
    name, password, _ = failing(people, what)
    passwords = Counting(parameters=Parameters(8, 1, 1))
    with people.database.read() as connection:
        looked = people.login.look(connection, name, HOME)
    known = looked.credentials
    stored = None if known is None else known.password_hash
    passwords.verify(password, stored)
    assert passwords.verified == 1


def test_a_name_that_nobody_has_is_not_kept(people: People) -> None:
    typed_into_the_wrong_field = PASSWORD
    failure = people.begin(typed_into_the_wrong_field, "x").failure
    assert failure == Failure(Reason.UNKNOWN_USER, UNKNOWN)
    with people.database.read() as connection:
        for table in ("person_throttle", "person_ticket"):
            kept = connection.exec_driver_sql(f"SELECT * FROM {table}").all()
            assert PASSWORD not in str(kept)


@pytest.mark.parametrize("typed", ["\ud800", "\x00", "", "x" * 100_000, "' OR 1=1 --"])
def test_whatever_is_typed_gets_the_one_answer(people: People, typed: str) -> None:
    people.member()
    assert people.begin(typed).failure == Failure(Reason.UNKNOWN_USER, UNKNOWN)
    assert people.begin("alice", typed).failure == Failure(
        Reason.WRONG_PASSWORD, "alice"
    )
    for ticket in (typed, people.begin().ticket):
        assert isinstance(people.finish(ticket, typed), Failure)
        assert isinstance(people.finish_with_passkey(ticket, typed), Failure)
    assert isinstance(people.open_enrolment(typed, typed), Failure)
    assert not people.stands(typed)


def test_a_wrong_password_and_a_right_code_spend_nothing(people: People) -> None:
    codes = people.member().recovery_codes
    assert people.finish(people.begin(password=WRONG).ticket, codes[0]) == Failure(
        Reason.WRONG_PASSWORD, "alice"
    )
    assert isinstance(people.finish(people.begin().ticket, codes[0]), LoggedIn)


def test_a_ticket_is_good_for_three_codes(people: People) -> None:
    people.member()
    ticket = people.begin().ticket
    for _ in range(3):
        assert people.finish(ticket, "000") == Failure(Reason.WRONG_FACTOR, "alice")
    assert people.finish(ticket, people.code()) == Failure(Reason.NO_TICKET)


def test_a_ticket_ends_with_time_and_with_any_change(people: People) -> None:
    people.member()
    ticket = people.begin().ticket
    people.wait(timedelta(minutes=6))
    assert people.finish(ticket, people.code()) == Failure(Reason.NO_TICKET)
    ticket = people.begin().ticket
    people.database.write(
        lambda tx: people.stores.users.change_roles(tx, "alice", ["technologist"])
    )
    assert people.finish(ticket, people.code()) == Failure(Reason.NO_TICKET)


def test_a_password_changed_between_the_calls_does_not_log_in(people: People) -> None:
    people.member()
    with people.database.read() as connection:
        attempt = people.login.look(connection, "alice", HOME)
    weighed = people.login.weigh(attempt, PASSWORD)
    people.database.write(
        lambda tx: people.stores.users.set_password(
            tx, people.user(), people.stores.passwords.prepare(WRONG)
        )
    )
    begun = people.database.write(
        lambda tx: people.login.begin(tx, weighed, people.now)
    )
    assert begun.failure is not None
    assert isinstance(people.finish(begun.ticket, people.code()), Failure)


# ── guessing ─────────────────────────────────────────────────────────────────


def test_guesses_sent_all_at_once_are_counted_one_by_one(people: People) -> None:
    people.member()
    weighed = []
    for password in [WRONG] * 9 + [PASSWORD]:
        with people.database.read() as connection:
            attempt = people.login.look(connection, "alice", HOME)
        weighed.append(people.login.weigh(attempt, password))

    def send(each: Weighed) -> Pending:
        return people.database.write(
            lambda tx: people.login.begin(tx, each, people.now)
        )

    begun = [send(each) for each in weighed]
    assert begun[-1].failure == Failure(Reason.BLOCKED, "alice")


def guess_until_locked(people: People) -> Failure:
    for guess in range(20):
        people.wait(timedelta(seconds=2 ** max(0, guess - 4)))
        failure = people.begin(password=WRONG, address=ip_address(guess + 1)).failure
        assert failure is not None
        if failure.locked_until is not None:
            return failure
    raise AssertionError("never locked")


def test_a_user_is_locked_after_ten_failures_wherever_they_come_from(
    people: People,
) -> None:
    people.member()
    failure = guess_until_locked(people)
    assert failure.locked_until == people.now + timedelta(minutes=15)
    assert people.begin().failure == Failure(Reason.BLOCKED, "alice")
    with people.database.read() as connection:
        locked = people.stores.lockout.locked_until(
            connection, people.user().id, people.now
        )
    assert locked == failure.locked_until
    people.wait(timedelta(minutes=15, seconds=1))
    assert people.log_in()


def test_knocking_does_not_make_a_lock_longer(people: People) -> None:
    people.member()
    failure = guess_until_locked(people)
    for _ in range(14):
        people.wait(timedelta(minutes=1))
        assert people.begin(password=WRONG).failure == Failure(Reason.BLOCKED, "alice")
    people.wait(timedelta(minutes=1, seconds=1))
    assert failure.locked_until is not None
    assert people.now > failure.locked_until
    assert people.log_in()


def test_an_administrator_unlocks(people: People) -> None:
    people.member()
    guess_until_locked(people)
    lockout = people.stores.lockout
    assert people.database.write(lambda tx: lockout.unlock(tx, people.user().id))
    assert not people.database.write(lambda tx: lockout.unlock(tx, people.user().id))
    assert people.log_in()


def test_codes_are_guessed_as_slowly_as_passwords(people: People) -> None:
    people.member()
    reasons = []
    for _ in range(4):
        ticket = people.begin().ticket
        for guess in ("000", "001", "002"):
            done = people.finish(ticket, guess)
            assert isinstance(done, Failure)
            reasons.append(done.reason)
    assert Reason.BLOCKED in reasons
    assert isinstance(people.finish(people.begin().ticket, people.code()), Failure)


def test_a_passkey_is_let_through_a_lock(people: People) -> None:
    people.member()
    authenticator = people.add_passkey()
    guess_until_locked(people)
    begun = people.database.write(lambda tx: people.login.begin_passkey(tx, people.now))
    done = people.finish_with_passkey(
        begun.ticket, authenticator.get(begun.passkey_options)
    )
    assert isinstance(done, LoggedIn)


# ── other ways ───────────────────────────────────────────────────────────────


def test_a_password_alone_is_for_who_has_no_factor_and_by_a_setting(
    people: People,
) -> None:
    people.add()
    password_hash = people.stores.passwords.prepare(PASSWORD)
    values = {"password_hash": password_hash, "enrolled_us": 1, "secret_hash": None}
    people.database.write(
        lambda tx: people.stores.users.change(tx, people.user(), values)
    )
    assert isinstance(people.finish(people.begin().ticket, ""), Failure)
    people.login = Login(people.stores, unsafe_password_alone=True)
    done = people.finish(people.begin().ticket, "")
    assert isinstance(done, LoggedIn)
    assert done.session.factor is Factor.NONE
    assert isinstance(people.finish(people.begin(password=WRONG).ticket, ""), Failure)
    people.member("bob")
    assert isinstance(people.finish(people.begin("bob").ticket, ""), Failure)


def test_a_cheap_hash_is_replaced_at_a_login(people: People) -> None:
    people.member()
    stores = people.stores
    dearer = Passwords(parameters=Parameters(memory_kib=16, passes=1))
    with people.database.read() as connection:
        attempt = people.login.look(connection, "alice", HOME)
    assert attempt.credentials is not None
    old = attempt.credentials.password_hash
    weighed = type(people.login.weigh(attempt, PASSWORD))(
        attempt, dearer.verify(PASSWORD, old)
    )
    people.database.write(lambda tx: people.login.begin(tx, weighed, people.now))
    with people.database.read() as connection:
        now = stores.users.credentials(connection, "alice")
    assert now is not None
    assert now.password_hash != old
    assert dearer.verify(PASSWORD, now.password_hash) == Verdict(is_right=True)


def test_step_up_makes_a_session_fresh_and_counts_guesses(people: People) -> None:
    people.member()
    done = people.log_in()
    session = done.session
    people.wait(timedelta(minutes=6))
    assert not session.is_fresh(people.now)

    def step_up(code: str) -> Failure | None:
        return people.database.write(
            lambda tx: people.login.step_up(tx, session, code, HOME, people.now)
        )

    assert step_up("000") == Failure(Reason.WRONG_FACTOR, "alice")
    assert step_up(people.code()) is None
    with people.database.read() as connection:
        fresh = people.stores.sessions.find(connection, done.token, people.now)
    assert fresh.is_fresh(people.now)
    for _ in range(5):
        failure = step_up("000")
    assert failure == Failure(Reason.WRONG_FACTOR, "alice")
    assert step_up(people.code()) is None
    for _ in range(6):
        failure = step_up("000")
    assert failure == Failure(Reason.BLOCKED, "alice")


def test_a_reset_does_not_need_the_old_proofs(people: People) -> None:
    people.member()
    people.database.write(
        lambda tx: people.stores.users.reset(tx, "alice", SECRET_HASH, people.now)
    )
    assert people.begin().failure == Failure(Reason.WRONG_PASSWORD, "alice")
