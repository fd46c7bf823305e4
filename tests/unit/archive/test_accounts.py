"""Users and tokens: what is given, taken, and seen by the next decision."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from leadglass.access.networks import Address
from leadglass.access.policy import Kind, Request, Subject, decide
from leadglass.access.rights import Right
from leadglass.access.roles import rules_of_person
from leadglass.access.scopes import EVERYTHING, Scope
from leadglass.archive.accounts import Accounts
from leadglass.archive.bearer import Bearer
from leadglass.archive.caller import Caller
from leadglass.archive.doors import Knocks
from leadglass.archive.emergency import Emergencies
from leadglass.archive.parts import Parts
from leadglass.archive.people import PeopleRules
from leadglass.audit.codes import EventID
from leadglass.errors import Misconfigured, NotFound, Refused, Unavailable
from leadglass.identity.administrators import matches
from leadglass.identity.people.user import NewUser
from leadglass.identity.rows import to_us
from leadglass.identity.tokens.token import NewToken
from tests.unit.archive.conftest import OPERATOR, Home
from tests.unit.archive.rig import alerts, events, on, quiet_disk

CT = Scope.parse("modality=CT")
HERE = ip_address("10.4.0.7")
AWAY = ip_address("203.0.113.9")
ADA = Caller(Subject(Kind.OPERATOR, "ada"), HERE, channel="TLSv1.3")
TLS = "TLSv1.3"


@pytest.fixture
def accounts(parts: Parts) -> Accounts:
    return Accounts.of(parts)


@pytest.fixture
def people(parts: Parts, accounts: Accounts) -> PeopleRules:
    return PeopleRules(parts.database, accounts.users, accounts.scopes, accounts.tokens)


@pytest.fixture
def bearer(parts: Parts, accounts: Accounts) -> Bearer:
    return Bearer(parts, accounts.tokens, Knocks(parts))


def add(accounts: Accounts, name: str, role: str, scope: Scope = EVERYTHING) -> None:
    """Add a user who has enrolled."""
    accounts.add_user(OPERATOR, NewUser(name, (role,)), scope)

    def enrol(tx: Any) -> None:
        user = accounts.users.get(tx.connection, name)
        values = {"enrolled_us": to_us(datetime.now(UTC))}
        accounts.users.change(tx, user, values)

    accounts.parts.database.write(enrol)


def reached(
    people: PeopleRules,
    subject: Subject,
    right: Right = Right.FIND,
    address: Address | None = HERE,
) -> list[str]:
    request = Request(subject, right, address, datetime.now(UTC))
    return [str(each) for each in decide(people(subject), request).scopes]


def alice(kind: Kind = Kind.OPERATOR) -> Subject:
    return Subject(kind, "alice")


# ── users ────────────────────────────────────────────────────────────────────


def test_a_user_is_added_with_a_secret_and_a_record(
    home: Home, accounts: Accounts
) -> None:
    secret, account = accounts.add_user(
        OPERATOR, NewUser("Alice", ("radiologist",), "Alice A."), CT
    )
    with accounts.parts.database.read() as connection:
        found = accounts.users.enrolment_secret(connection, "alice")
    assert found is not None
    assert matches(secret, found[0])
    assert accounts.list_users(OPERATOR) == (account,)
    (event,) = events(home)
    assert set(event.types) == {"110137", "110136"}
    facts = dict(event.objects[0].details)
    assert (facts["roles"], facts["scope"]) == ("radiologist", "modality=CT")
    assert secret not in repr(event)


def test_who_has_not_enrolled_reaches_nothing(
    accounts: Accounts, people: PeopleRules
) -> None:
    accounts.add_user(OPERATOR, NewUser("alice", ("radiologist",)))
    assert people(alice()) == ()


@pytest.mark.parametrize(
    ("roles", "scope", "problem"),
    [
        (("surgeon",), EVERYTHING, "there is none"),
        (("researcher",), EVERYTHING, "does not remove identities"),
        (("service",), EVERYTHING, "for programs"),
        (("administrator", "radiologist"), EVERYTHING, "stands alone"),
        (("privacy",), CT, "reach no studies"),
    ],
)
def test_a_user_that_cannot_be_is_not_added(
    home: Home, accounts: Accounts, roles: Any, scope: Scope, problem: str
) -> None:
    with pytest.raises(Misconfigured, match=problem):
        accounts.add_user(OPERATOR, NewUser("alice", roles), scope)
    assert accounts.list_users(OPERATOR) == ()
    assert events(home) == []


def test_roles_and_scope_are_seen_by_the_next_decision(
    home: Home, accounts: Accounts, people: PeopleRules
) -> None:
    add(accounts, "alice", "radiologist", CT)
    assert reached(people, alice()) == ["modality=CT"]
    assert reached(people, alice(), address=AWAY) == []
    assert reached(people, alice(), address=None) == []
    assert reached(people, alice(Kind.SERVICE)) == []
    assert reached(people, alice(Kind.DEVICE)) == []
    accounts.change_user(OPERATOR, "alice", scope=EVERYTHING)
    assert reached(people, alice()) == ["everything"]
    accounts.change_user(OPERATOR, "Alice", ["privacy"], reason="moved")
    assert reached(people, alice()) == []
    assert reached(people, alice(), Right.AUDIT) == ["everything"]
    facts = dict(events(home)[-1].objects[0].details)
    assert facts["roles_before"] == "radiologist"
    assert (facts["roles"], facts["reason"]) == ("privacy", "moved")


def test_a_disabled_user_has_nothing_until_enabled(
    accounts: Accounts, people: PeopleRules
) -> None:
    add(accounts, "alice", "radiologist")
    accounts.disable_user(OPERATOR, "alice", "has left")
    assert people(alice()) == ()
    assert people.all() == ()
    accounts.enable_user(OPERATOR, "alice")
    assert reached(people, alice()) == ["everything"]


@pytest.mark.parametrize(
    "act",
    [
        lambda accounts: accounts.disable_user(OPERATOR, "alice"),
        lambda accounts: accounts.change_user(OPERATOR, "alice", scope=EVERYTHING),
        lambda accounts: accounts.reset_user(OPERATOR, "alice"),
    ],
)
def test_broken_glass_ends_with_what_it_was_given_for(
    home: Home,
    accounts: Accounts,
    people: PeopleRules,
    act: Callable[[Accounts], object],
) -> None:
    add(accounts, "alice", "radiologist", CT)
    home.rules.rules += people(alice())
    glass = Emergencies(home.parts)
    glass.start(Caller(alice(), HERE), "P1", "needs the earlier CT")
    assert reached(people, alice()) == ["modality=CT", "patient_id=P1"]
    act(accounts)
    assert glass.mine(Caller(alice(), HERE)) == ()
    assert ("110138", "break-glass access stopped") in alerts(home)
    assert glass.count_open() == 1


def test_a_reset_user_enrols_anew(accounts: Accounts, people: PeopleRules) -> None:
    add(accounts, "alice", "radiologist")
    secret, _ = accounts.reset_user(OPERATOR, "alice", "lost phone")
    assert people(alice()) == ()
    with accounts.parts.database.read() as connection:
        found = accounts.users.enrolment_secret(connection, "alice")
    assert found is not None
    assert matches(secret, found[0])


def test_a_locked_user_is_unlocked(home: Home, accounts: Accounts) -> None:
    add(accounts, "alice", "radiologist")
    now = datetime.now(UTC)

    def fail(tx: Any) -> None:
        user = accounts.users.get(tx.connection, "alice")
        for _ in range(30):
            accounts.lockout.failed(tx, user.id, None, now)

    accounts.parts.database.write(fail)
    (account,) = accounts.list_users(OPERATOR)
    assert account.locked_until is not None
    assert accounts.unlock_user(OPERATOR, "alice").locked_until is None
    assert alerts(home)[-1][1] == "user unlocked"
    told = len(alerts(home))
    accounts.unlock_user(OPERATOR, "alice")  # nothing changed: nothing to tell
    assert len(alerts(home)) == told


def test_nobody_gives_himself_anything(home: Home, accounts: Accounts) -> None:
    home.rules.rules += rules_of_person(ADA.subject, ["administrator"], EVERYTHING)
    add(accounts, "ada", "administrator")
    with pytest.raises(Refused, match="himself"):
        accounts.change_user(ADA, "Ada", ["radiologist"])
    assert "himself" in events(home)[-1].outcome_description
    (account,) = accounts.list_users(ADA)
    assert account.user.roles == ("administrator",)


ACTS: list[Callable[[Accounts, Caller], object]] = [
    lambda accounts, who: accounts.add_user(who, NewUser("eve", ("radiologist",))),
    lambda accounts, who: accounts.change_user(who, "alice", ["privacy"]),
    lambda accounts, who: accounts.disable_user(who, "alice"),
    lambda accounts, who: accounts.enable_user(who, "alice"),
    lambda accounts, who: accounts.reset_user(who, "alice"),
    lambda accounts, who: accounts.unlock_user(who, "alice"),
    lambda accounts, who: accounts.end_sessions(who, "alice"),
    lambda accounts, who: accounts.list_users(who),
    lambda accounts, who: accounts.add_token(who, NewToken(name="eve", role="service")),
    lambda accounts, who: accounts.revoke_token(who, "viewer"),
    lambda accounts, who: accounts.list_tokens(who),
]


@pytest.mark.parametrize("act", ACTS)
def test_who_may_not_administer_does_nothing(
    home: Home, accounts: Accounts, stranger: Caller, act: Callable[..., object]
) -> None:
    add(accounts, "alice", "radiologist")
    accounts.add_token(OPERATOR, NewToken(name="viewer", role="service"))
    before = accounts.list_users(OPERATOR), accounts.list_tokens(OPERATOR)
    with pytest.raises(Refused, match=r"^not authorized$"):
        act(accounts, stranger)
    assert (accounts.list_users(OPERATOR), accounts.list_tokens(OPERATOR)) == before
    assert events(home)[-1].participants[0].user_id == "stranger"


def test_a_change_that_cannot_be_recorded_is_none(
    home: Home, accounts: Accounts
) -> None:
    with on(home, quiet_disk()) as rig:
        rig.database.fail_before = 1
        with pytest.raises(Unavailable):
            Accounts.of(rig.parts).add_user(OPERATOR, NewUser("alice", ("privacy",)))
    assert accounts.list_users(OPERATOR) == ()


@pytest.mark.parametrize("reason", ["x" * 513, "a\x1bb"])
def test_a_reason_is_printable_and_short(accounts: Accounts, reason: str) -> None:
    add(accounts, "alice", "radiologist")
    with pytest.raises(Misconfigured, match="reason"):
        accounts.disable_user(OPERATOR, "alice", reason)


# ── tokens ───────────────────────────────────────────────────────────────────


def token(accounts: Accounts, **changes: Any) -> bytes:
    asked = NewToken(**{"name": "Viewer", "role": "service", **changes})
    return accounts.add_token(OPERATOR, asked)[0].encode()


def test_a_token_proves_its_program_and_is_given_its_rules(
    home: Home, accounts: Accounts, people: PeopleRules, bearer: Bearer
) -> None:
    text = token(accounts, scope=CT, networks=(ip_network("10.4.0.0/24"),))
    caller = bearer(text, HERE, TLS)
    assert caller.subject == Subject(Kind.SERVICE, "viewer")
    assert (caller.address, caller.channel) == (HERE, TLS)
    assert reached(people, caller.subject) == ["modality=CT"]
    assert reached(people, caller.subject, address=ip_address("10.5.0.1")) == []
    assert reached(people, caller.subject, Right.ADMINISTER) == []
    added, login = events(home)
    assert dict(added.objects[0].details)["scope"] == "modality=CT"
    assert login.id is EventID.USER_AUTHENTICATION
    assert text.decode() not in repr((added, login))


def test_a_use_is_recorded_once_in_an_hour(
    home: Home, accounts: Accounts, bearer: Bearer
) -> None:
    text = token(accounts)
    for _ in range(3):
        bearer(text, HERE, TLS)
    assert len(events(home, EventID.USER_AUTHENTICATION)) == 1


def test_a_revoked_token_is_refused_at_once_by_door_and_rules(
    home: Home, accounts: Accounts, people: PeopleRules, bearer: Bearer
) -> None:
    text = token(accounts)
    caller = bearer(text, HERE, TLS)
    accounts.revoke_token(OPERATOR, "viewer", "leaked")
    with pytest.raises(Refused, match=r"^not proven$"):
        bearer(text, HERE, TLS)
    assert people(caller.subject) == ()
    assert events(home)[-1].outcome_description == "token was revoked"
    with pytest.raises(Misconfigured):
        accounts.revoke_token(OPERATOR, "viewer")
    with pytest.raises(NotFound):
        accounts.revoke_token(OPERATOR, "other")


def test_a_stolen_token_is_refused_elsewhere_with_the_same_words(
    home: Home, accounts: Accounts, bearer: Bearer
) -> None:
    text = token(accounts)
    wrong = [(text, AWAY), (text[:-1] + b"\xff", HERE), (b"", HERE), (b"\0", HERE)]
    for secret, address in wrong:
        with pytest.raises(Refused, match=r"^not proven$"):
            bearer(secret, address, TLS)
    failed = events(home, EventID.USER_AUTHENTICATION)
    assert [each.participants[0].access_point for each in failed] == [str(AWAY)]


def test_a_flood_of_refusals_is_counted_and_not_written(
    home: Home, accounts: Accounts, bearer: Bearer
) -> None:
    text = token(accounts)
    for _ in range(50):
        for secret in (text, b"lgt_guess"):
            with pytest.raises(Refused):
                bearer(secret, AWAY, TLS)
    assert len(events(home, EventID.USER_AUTHENTICATION)) == 20
    bearer.knocks.tell(everything=True)
    counts = {
        dict(each.objects[0].details)["Alert Description"]: dict(
            each.objects[0].details
        ).get("count")
        for each in events(home, EventID.SECURITY_ALERT)
    }
    assert counts["no such token"] == "50"


def test_a_token_with_a_role_for_people_is_not_made(accounts: Accounts) -> None:
    with pytest.raises(Misconfigured, match="for people only"):
        token(accounts, role="administrator")
    assert accounts.list_tokens(OPERATOR) == ()


def test_a_token_whose_time_is_over_has_no_rules(
    accounts: Accounts, people: PeopleRules
) -> None:
    token(accounts, validity=timedelta(microseconds=1))
    assert people(Subject(Kind.SERVICE, "viewer")) == ()


def test_expectations_see_users_and_tokens(
    accounts: Accounts, people: PeopleRules
) -> None:
    token(accounts)
    accounts.add_user(OPERATOR, NewUser("alice", ("radiologist",)), CT)
    subjects = {subject for rule in people.all() for subject in rule.subjects}
    assert subjects == {alice(), Subject(Kind.SERVICE, "viewer")}


def test_tokens_of_another_node_are_unknown(
    home: Home, accounts: Accounts, bearer: Bearer
) -> None:
    text = token(accounts)
    other = replace(bearer, tokens=type(accounts.tokens)(bytes(32)))
    with pytest.raises(Refused):
        other(text, HERE, TLS)
