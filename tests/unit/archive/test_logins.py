"""Logging in as a use case: what is on the record, what is not done without it."""

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

import pytest

from leadglass.access.policy import Kind, Subject
from leadglass.archive.accounts import Accounts
from leadglass.archive.caller import Caller
from leadglass.archive.doors import Knocks
from leadglass.archive.logins import Logins, Peer, Proof
from leadglass.archive.parts import Parts
from leadglass.archive.visit import Visit, Visits
from leadglass.audit.codes import EventID, EventType, Outcome
from leadglass.audit.events import Event
from leadglass.audit.log import AuditLog
from leadglass.errors import NotFound, PeerError, Refused, Unavailable
from leadglass.identity.people.enrolment import Enrolled
from leadglass.identity.people.login import Failure, LoggedIn, Reason, Stores
from leadglass.identity.people.passkeys import Passkeys
from leadglass.identity.people.passwords import Passwords
from leadglass.identity.people.secondfactor import (
    SecondFactors,
    totp_code,
    totp_step,
)
from leadglass.identity.people.sessions import Sessions
from leadglass.identity.people.tickets import Tickets
from leadglass.identity.people.user import NewUser
from tests.unit.archive.conftest import OPERATOR, Home
from tests.unit.archive.rig import events
from tests.unit.identity.people.surroundings import CHEAP, PARTY, PASSWORD

TLS = "TLSv1.3"
DESK = Peer(ip_address("10.4.0.7"), TLS)
THIEF = Peer(ip_address("203.0.113.9"), TLS)
OTHER = "seven wild geese went south"
# Enough to see that a flood is counted and not written line by line.
FLOOD = 40


@dataclass
class People:
    """The use cases, and what their people have in their pockets."""

    accounts: Accounts
    logins: Logins
    visits: Visits
    recovery: dict[str, list[str]] = field(default_factory=dict)

    def secret(self, name: str) -> str:
        return self.accounts.add_user(OPERATOR, NewUser(name, ("radiologist",)))[0]

    def enrol(self, name: str, secret: str) -> Enrolled:
        offer = self.logins.begin_enrolment(name, secret, DESK)
        code = first_code(offer.totp_text)
        return self.logins.finish_enrolment(offer.ticket, PASSWORD, code, DESK)

    def member(self, name: str) -> None:
        self.recovery[name] = list(self.enrol(name, self.secret(name)).recovery_codes)

    def ticket(self, name: str, password: str = PASSWORD) -> str:
        return self.logins.begin(name, password, DESK).ticket

    def log_in(self, name: str) -> LoggedIn:
        code = self.recovery[name].pop()
        return self.logins.finish(self.ticket(name), code, DESK)

    def visit(self, name: str) -> Visit:
        token = self.log_in(name).token.encode()
        return self.visits.visit(token, DESK.address, TLS)


def first_code(text: str) -> str:
    secret = base64.b32decode(text + "=" * (-len(text) % 8))
    return totp_code(secret, totp_step(datetime.now(UTC)))


@pytest.fixture
def people(parts: Parts) -> People:
    accounts, sessions, knocks = Accounts.of(parts), Sessions(), Knocks(parts)
    stores = Stores(
        users=accounts.users,
        passwords=Passwords(parameters=CHEAP),
        factors=SecondFactors(),
        passkeys=Passkeys(PARTY),
        lockout=accounts.lockout,
        tickets=Tickets(),
        sessions=sessions,
    )
    logins = Logins(parts, stores, knocks)
    people = People(accounts, logins, Visits(parts, sessions, knocks))
    people.member("alice")
    return people


def authentications(home: Home) -> list[Event]:
    return events(home, EventID.USER_AUTHENTICATION)


def stands(people: People, token: str) -> bool:
    try:
        people.visits(token.encode(), DESK.address, TLS)
    except Refused:
        return False
    return True


# ── on the record ────────────────────────────────────────────────────────────


def test_each_outcome_is_on_the_record(home: Home, people: People) -> None:
    with pytest.raises(Refused):
        people.logins.finish(people.ticket("alice"), "000000", DESK)
    people.logins.log_out(people.visit("alice"))
    wrong, right, out = authentications(home)
    assert wrong.outcome is Outcome.MINOR_FAILURE
    assert wrong.outcome_description == "wrong second factor"
    assert (right.types, right.outcome) == ((EventType.LOGIN,), Outcome.SUCCESS)
    assert dict(right.details)["factor"] == "recovery code"
    assert out.types == (EventType.LOGOUT,)
    for each in (wrong, right, out):
        assert each.participants[0].user_id == "alice"
        assert each.participants[0].access_point == str(DESK.address)


def test_a_password_typed_as_the_name_is_not_on_the_record(
    home: Home, people: People
) -> None:
    with pytest.raises(Refused):
        people.logins.finish(people.ticket(PASSWORD, "alice"), "000000", DESK)
    assert authentications(home)
    assert PASSWORD not in repr(home.records())


def test_a_flood_is_counted_and_does_not_fill_the_record(
    home: Home, people: People
) -> None:
    for _ in range(FLOOD):
        with pytest.raises(Refused):
            people.logins.finish("lgx_none", "000000", THIEF)
    failed = authentications(home)
    assert len(failed) == 20
    assert {each.participants[0].access_point for each in failed} == {
        str(THIEF.address)
    }
    assert people.visits.knocks.count(THIEF.address, "login refused") == FLOOD + 1


# ── what cannot be recorded has not happened ─────────────────────────────────


def no_room(*_: object) -> None:
    raise Unavailable("audit: disk full")


def test_a_login_that_cannot_be_recorded_begins_no_session(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticket, code = people.ticket("alice"), people.recovery["alice"].pop()
    with monkeypatch.context() as patch:
        patch.setattr(AuditLog, "append", no_room)
        with pytest.raises(Unavailable):
            people.logins.finish(ticket, code, DESK)
    # Neither the ticket nor the code is spent.
    visit = people.logins.finish(ticket, code, DESK).session
    assert visit.user.name == "alice"
    assert len(people.logins.sessions_of(OPERATOR, "alice")) == 1


def test_a_logout_and_a_change_that_cannot_be_recorded_are_none(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    visit = people.visit("alice")
    acts: tuple[Callable[[], object], ...] = (
        lambda: people.logins.log_out(visit),
        lambda: people.logins.change_password(visit, OTHER),
        lambda: people.logins.renew_recovery_codes(visit),
        lambda: people.logins.end_sessions_of(OPERATOR, "alice"),
    )
    with monkeypatch.context() as patch:
        patch.setattr(AuditLog, "append", no_room)
        for act in acts:
            with pytest.raises(Unavailable):
                act()
    assert people.visit("alice").session.user.name == "alice"  # by the old proofs
    assert len(people.logins.sessions_of(OPERATOR, "alice")) == 2


def test_an_enrolment_that_cannot_be_recorded_leaves_the_secret_good(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = people.secret("bob")
    offer = people.logins.begin_enrolment("bob", secret, DESK)
    code = first_code(offer.totp_text)
    with monkeypatch.context() as patch:
        patch.setattr(AuditLog, "append", no_room)
        with pytest.raises(Unavailable):
            people.logins.finish_enrolment(offer.ticket, PASSWORD, code, DESK)
    assert people.enrol("bob", secret).user.name == "bob"


def wrong_code(code: str) -> str:
    return f"{(int(code) + 1) % 1_000_000:06}"


def test_wrong_codes_of_an_enrolment_are_on_the_record_and_come_to_an_end(
    home: Home, people: People
) -> None:
    offer = people.logins.begin_enrolment("bob", people.secret("bob"), DESK)
    code = first_code(offer.totp_text)
    for _ in range(10):
        with pytest.raises(PeerError, match="not the one that the app shows"):
            people.logins.finish_enrolment(
                offer.ticket, PASSWORD, wrong_code(code), DESK
            )
    # Ten tries has a ticket; a right code is too late.
    with pytest.raises(Refused):
        people.logins.finish_enrolment(offer.ticket, PASSWORD, code, DESK)
    *wrong, late = authentications(home)
    assert {each.outcome_description for each in wrong} == {"wrong second factor"}
    assert {each.participants[0].user_id for each in wrong} == {"bob"}
    assert len(wrong) == 10
    assert late.outcome_description == "no such ticket, or it has ended"


def test_tickets_of_enrolments_are_not_guessed_without_an_end(
    home: Home, people: People
) -> None:
    offer = people.logins.begin_enrolment("bob", people.secret("bob"), DESK)
    code = first_code(offer.totp_text)
    for number in range(30):
        guess = f"{number:043}"
        with pytest.raises(Refused):
            people.logins.finish_enrolment_with_passkey(guess, "{}", "x", THIEF)
    # From there nothing is tried any more, not even what is right: from here it is.
    with pytest.raises(Refused):
        people.logins.finish_enrolment(offer.ticket, PASSWORD, code, THIEF)
    told = [each.outcome_description for each in authentications(home)]
    # Told one by one up to a number, then counted: a flood does not fill the record.
    assert told == ["no such ticket, or it has ended"] * 20
    assert people.logins.finish_enrolment(offer.ticket, PASSWORD, code, DESK)


def test_a_wrong_code_that_cannot_be_recorded_is_answered_by_nothing(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer = people.logins.begin_enrolment("bob", people.secret("bob"), DESK)
    wrong = wrong_code(first_code(offer.totp_text))
    monkeypatch.setattr(AuditLog, "append", no_room)
    with pytest.raises(Unavailable):
        people.logins.finish_enrolment(offer.ticket, PASSWORD, wrong, DESK)


# ── those who would be somebody else ─────────────────────────────────────────


def test_a_stolen_ticket_is_no_proof_and_its_use_is_recorded_as_the_thiefs(
    home: Home, people: People
) -> None:
    ticket = people.ticket("alice")
    for _ in range(3):
        with pytest.raises(Refused):
            people.logins.finish(ticket, "000000", THIEF)
    # It is used up, even with a right code.
    with pytest.raises(Refused):
        people.logins.finish(ticket, people.recovery["alice"][0], THIEF)
    places = {each.participants[0].access_point for each in authentications(home)}
    assert places == {str(THIEF.address)}


def test_of_two_who_hold_a_secret_the_first_is_the_user(people: People) -> None:
    secret = people.secret("bob")
    late = people.logins.begin_enrolment("bob", secret, THIEF)
    people.enrol("bob", secret)
    code = first_code(late.totp_text)
    with pytest.raises(Refused):
        people.logins.finish_enrolment(late.ticket, OTHER, code, THIEF)


def test_nobody_uses_the_offer_or_ends_the_session_of_another(people: People) -> None:
    people.member("bob")
    alice, bob = people.visit("alice"), people.visit("bob")
    offer = people.logins.offer(alice)
    with pytest.raises(Refused):
        people.logins.replace_app(bob, offer.ticket, first_code(offer.totp_text))
    with pytest.raises(NotFound):
        people.logins.end_own_session(bob, alice.session.id)
    people.logins.end_own_other_sessions(bob)
    assert len(people.logins.sessions_of(OPERATOR, "alice")) == 1


def test_sessions_of_others_are_for_administrators(home: Home, people: People) -> None:
    token = people.log_in("alice").token
    nosy = Caller(Subject(Kind.OPERATOR, "nosy"), DESK.address, channel=TLS)
    for act in (people.logins.sessions_of, people.logins.end_sessions_of):
        with pytest.raises(Refused):
            act(nosy, "alice")
        assert events(home)[-1].participants[0].user_id == "nosy"
    assert stands(people, token)
    assert people.logins.end_sessions_of(OPERATOR, "alice") == 1
    assert not stands(people, token)


# ── proven by somebody else ──────────────────────────────────────────────────


PROOF = Proof({"issuer": "https://login.example", "subject": "s-1"}, True, None)


def opened(people: People) -> LoggedIn | Failure:
    def work(tx: Any) -> LoggedIn | Failure:
        user = people.accounts.users.get(tx.connection, "alice")
        now = datetime.now(UTC)
        return people.logins.open_session(tx, user, DESK, PROOF, now)

    return people.accounts.parts.database.write(work)


def test_a_session_after_a_proof_elsewhere_is_on_the_record(
    home: Home, people: People
) -> None:
    made = opened(people)
    assert isinstance(made, LoggedIn)
    assert stands(people, made.token)
    (event,) = authentications(home)
    details = dict(event.details)
    assert details["factor"] == "provider"
    assert PROOF.facts.items() <= details.items()
    # Nobody has said that the person proved itself just now.
    assert not made.session.is_fresh(datetime.now(UTC))


def test_who_is_disabled_here_is_not_let_in_by_a_proof_elsewhere(
    home: Home, people: People
) -> None:
    people.accounts.disable_user(OPERATOR, "alice")
    refused = opened(people)
    assert isinstance(refused, Failure)
    assert people.logins.sessions_of(OPERATOR, "alice") == ()
    (event,) = authentications(home)
    assert event.outcome is Outcome.MINOR_FAILURE
    assert event.outcome_description == Reason.DISABLED
    assert event.participants[0].user_id == "alice"
