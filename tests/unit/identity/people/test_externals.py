"""People of others: who they are here, and that they are nobody else."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadglass.database.engine import Database
from leadglass.database.migrations import upgrade
from leadglass.errors import Misconfigured
from leadglass.identity.people.externals import (
    SUBJECT_CHARACTERS_MAX,
    External,
    Externals,
    Origin,
)
from leadglass.identity.people.user import NewUser, User, is_local_name
from leadglass.identity.people.users import Users
from leadglass.identity.revision import revision_of_people

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ISSUER = "https://login.example"
USERS = Users()
EXTERNALS = Externals(USERS)
ALICE = External(Origin.SSO, ISSUER, "s-1", "alice", "Alice Doe")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database.open(tmp_path / "leadglass.db", bytes(32), create=True)
    upgrade(database)
    yield database
    database.close()


def added(database: Database, person: External = ALICE) -> User:
    return database.write(lambda tx: EXTERNALS.add(tx, person, ("radiologist",), NOW))


def found(database: Database, person: External) -> User | None:
    with database.read() as connection:
        return EXTERNALS.find(connection, person)


def test_the_pair_of_issuer_and_subject_is_the_person(database: Database) -> None:
    alice = added(database)
    assert (alice.name, alice.display_name) == ("sso:alice", "Alice Doe")
    assert alice.is_active
    assert alice.is_external
    assert found(database, External(Origin.SSO, ISSUER, "s-1", "renamed")) == alice
    for other in (
        External(Origin.SSO, ISSUER, "s-2", "alice", "Alice Doe"),
        External(Origin.SSO, f"{ISSUER}/", "s-1", "alice", "Alice Doe"),
    ):
        assert found(database, other) is None


def test_two_of_one_name_are_two(database: Database) -> None:
    first = added(database)
    second = added(database, External(Origin.SSO, ISSUER, "s-2", "Alice"))
    third = added(database, External(Origin.LDAP, ISSUER, "s-3", "alice"))
    assert second.name.startswith("sso:Alice-")
    assert third.name == "ldap:alice"
    assert len({first.id, second.id, third.id}) == 3


@given(
    name=st.text() | st.from_regex(r"[A-Za-z0-9._@:-]{1,70}", fullmatch=True),
    subject=st.text(min_size=1, max_size=80).filter(lambda text: text.isprintable()),
    origin=st.sampled_from(Origin),
)
def test_no_name_of_another_is_a_local_one(
    name: str, subject: str, origin: Origin
) -> None:
    names = list(External(origin, ISSUER, subject, name).names())
    assert names
    for each in names:
        assert not is_local_name(each)
        with pytest.raises(Misconfigured):
            NewUser(each, ("radiologist",))
        # What a row of it is read as.
        User(
            id=1,
            name=each,
            roles=(),
            display_name="",
            handle=b"",
            revision=1,
            created_at=NOW,
        )


@pytest.mark.parametrize("name", ["", ":alice", "sso:", "sso::x", "root:alice", "a:b"])
def test_a_name_of_nobody_is_damage(name: str) -> None:
    with pytest.raises(Misconfigured):
        User(
            id=1,
            name=name,
            roles=(),
            display_name="",
            handle=b"",
            revision=1,
            created_at=NOW,
        )


def test_a_local_user_has_a_role() -> None:
    with pytest.raises(Misconfigured):
        NewUser("alice", ())


def test_what_a_provider_says_is_taken_over(database: Database) -> None:
    alice = added(database)
    again = External(Origin.SSO, ISSUER, "s-1", "other", "Alice\u202e\n Smith ")

    def update(roles: tuple[str, ...]) -> User:
        return database.write(
            lambda tx: EXTERNALS.update(
                tx, USERS.get(tx.connection, "sso:alice"), again, roles
            )
        )

    same = update(("radiologist",))
    assert (same.name, same.display_name) == ("sso:alice", "Alice Smith")
    assert same.revision == alice.revision
    assert update(()).revision == alice.revision + 1
    assert update(()).roles == ()


def test_nobody_gets_a_proof_of_ours(database: Database) -> None:
    alice = added(database)
    acts: list[Any] = [
        lambda tx: USERS.reset(tx, "sso:alice", "hash", NOW),
        lambda tx: USERS.set_password(tx, alice, "hash"),
        lambda tx: USERS.change_roles(tx, "sso:alice", ("administrator",)),
    ]
    for act in acts:
        with pytest.raises(Misconfigured, match="provider"):
            database.write(act)


def test_who_comes_is_a_change_of_people(database: Database) -> None:
    before = revision_of_people(database)
    added(database)
    assert revision_of_people(database) >= before + 2  # the person, and whose it is


@pytest.mark.parametrize(
    ("issuer", "subject"),
    [("", "s"), ("i", ""), ("i", "s" * (SUBJECT_CHARACTERS_MAX + 1))],
)
def test_nobody_is_not_somebody(issuer: str, subject: str) -> None:
    with pytest.raises(Misconfigured):
        External(Origin.SSO, issuer, subject)
