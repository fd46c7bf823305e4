"""The register of users: who is in it, who may come, what a change ends."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leadglass.access.policy import Kind, Subject
from leadglass.database.engine import Database
from leadglass.errors import Misconfigured, NotFound
from leadglass.identity.administrators import FIRST_NAME, Administrators
from leadglass.identity.people.login import Failure, Reason
from leadglass.identity.people.user import NewUser, fold_name
from leadglass.identity.people.users import FIRST_ROLE
from tests.unit.identity.people.surroundings import (
    PASSWORD,
    SECRET_HASH,
    START,
    People,
)


def test_a_user_is_added_and_found_whatever_the_case(people: People) -> None:
    added = people.add("Alice", "technologist", "radiologist", "radiologist")
    assert added == people.user("aLICE")
    assert added.roles == ("radiologist", "technologist")
    assert added.subject == Subject(Kind.OPERATOR, "alice")
    assert added.created_at == START
    assert not added.is_active
    with pytest.raises(Misconfigured, match="one of that name"):
        people.add("ALICE")
    with pytest.raises(NotFound):
        people.user("bob")
    people.add("bob")
    with people.database.read() as connection:
        listed = people.stores.users.list(connection)
    assert [each.name for each in listed] == ["Alice", "bob"]


@pytest.mark.parametrize(
    ("name", "roles", "display_name"),
    [
        ("", ("radiologist",), ""),
        ("-rf", ("radiologist",), ""),
        ("a b", ("radiologist",), ""),
        ("\u0430lice", ("radiologist",), ""),  # a Cyrillic letter
        ("x" * 65, ("radiologist",), ""),
        ("alice\n", ("radiologist",), ""),
        ("alice", (), ""),
        ("alice", ("Radiologist",), ""),
        ("alice", ("radiologist; drop",), ""),
        ("alice", tuple("abcdefghi"), ""),
        ("alice", ("radiologist",), "Al\u202eice"),
        ("alice", ("radiologist",), "x" * 129),
    ],
)
def test_what_cannot_be_a_user(
    name: str, roles: tuple[str, ...], display_name: str
) -> None:
    with pytest.raises(Misconfigured):
        NewUser(name, roles, display_name)


@given(st.text(max_size=40))
@settings(max_examples=50)
def test_folding_takes_whatever_is_typed(name: str) -> None:
    assert isinstance(fold_name(name), str)


def test_every_change_of_a_user_ends_what_was_granted_before(people: People) -> None:
    users = people.stores.users
    people.member()
    changes = (
        lambda tx: users.change_roles(tx, "alice", ["technologist"]),
        lambda tx: users.set_password(tx, people.user(), SECRET_HASH),
        lambda tx: users.disable(tx, "alice", people.now),
        lambda tx: users.enable(tx, "alice"),
        lambda tx: users.reset(tx, "alice", SECRET_HASH, people.now),
    )
    for change in changes:
        before = people.user().revision
        people.database.write(change)
        assert people.user().revision == before + 1
    assert people.user().roles == ("technologist",)


def test_nobody_is_disabled_or_enabled_twice(people: People) -> None:
    users = people.stores.users
    people.add()
    with pytest.raises(Misconfigured):
        people.database.write(lambda tx: users.enable(tx, "alice"))
    people.database.write(lambda tx: users.disable(tx, "alice", people.now))
    with pytest.raises(Misconfigured):
        people.database.write(lambda tx: users.disable(tx, "alice", people.now))
    with pytest.raises(Misconfigured):
        people.database.write(
            lambda tx: users.reset(tx, "alice", SECRET_HASH, people.now)
        )
    # A one-time secret that lay about while its user was disabled is of no use.
    people.database.write(lambda tx: users.enable(tx, "alice"))
    assert people.open_enrolment() == Failure(Reason.WRONG_SECRET, "alice")


def test_a_reset_takes_all_proofs(people: People) -> None:
    codes = people.member().recovery_codes
    people.add_passkey()
    people.database.write(
        lambda tx: people.stores.users.reset(tx, "alice", SECRET_HASH, people.now)
    )
    begun = people.begin()
    assert begun.failure is not None
    assert isinstance(people.finish(begun.ticket, codes[0]), Failure)
    with people.database.read() as connection:
        assert people.stores.passkeys.list(connection, people.user()) == ()
    assert people.enrol().user.is_active


def test_the_first_administrator_becomes_a_user_by_its_secret(
    database: Database, people: People
) -> None:
    secret = database.write(Administrators().create_first)
    assert secret is not None
    people.now = people.now.now(people.now.tzinfo)  # the secret has a real date
    with pytest.raises(Misconfigured, match="first administrator"):
        people.add("Administrator")
    assert people.open_enrolment(FIRST_NAME, secret[:-1] + "!") == Failure(
        Reason.WRONG_SECRET
    )
    enrolled = people.enrol(FIRST_NAME, secret).user
    assert enrolled.roles == (FIRST_ROLE,)
    assert people.log_in(FIRST_NAME).session.user == enrolled
    assert isinstance(people.open_enrolment(FIRST_NAME, secret), Failure)
    assert database.write(Administrators().create_first) is None


def test_the_first_secret_ends_too(database: Database, people: People) -> None:
    secret = database.write(Administrators().create_first)
    assert secret is not None
    people.now = people.now.now(people.now.tzinfo) + timedelta(days=31)
    assert people.open_enrolment(FIRST_NAME, secret) == Failure(Reason.WRONG_SECRET)


def test_nothing_that_proves_is_shown_by_chance(people: People) -> None:
    people.member()
    begun, done = people.begin(), people.log_in()
    shown = f"{begun!r} {done!r} {people.user()!r}"
    assert begun.ticket not in shown
    assert done.token not in shown
    assert PASSWORD not in shown
