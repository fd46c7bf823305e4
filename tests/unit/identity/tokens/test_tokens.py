"""Tokens: shown once, kept keyed, bound to networks and an end."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from leadglass.access.policy import Kind, Subject
from leadglass.access.roles import HOUSE_NETWORKS
from leadglass.access.scopes import EVERYTHING, Scope
from leadglass.database.engine import Database
from leadglass.database.migrations import upgrade
from leadglass.errors import Damaged, Misconfigured, NotFound
from leadglass.identity.people.user import NewUser, User
from leadglass.identity.people.users import Users
from leadglass.identity.tokens import tables, tokens
from leadglass.identity.tokens.token import VALIDITY_MAX, NewToken, Token
from leadglass.identity.tokens.tokens import PREFIX, PersonScopes, Tokens, is_due

KEY = bytes(range(32))
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CT = Scope.parse("modality=CT")
HERE = ip_address("10.4.0.7")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database.open(tmp_path / "leadglass.db", bytes(32), create=True)
    upgrade(database)
    yield database
    database.close()


def new(name: str = "viewer", **changes: Any) -> NewToken:
    return NewToken(name=name, role="service", **changes)


def add(database: Database, asked: NewToken | None = None) -> tuple[str, Token]:
    return database.write(lambda tx: Tokens(KEY).add(tx, asked or new(), NOW))


def find(database: Database, text: str, key: bytes = KEY) -> Token | None:
    with database.read() as connection:
        return Tokens(key).find(connection, text)


def test_a_token_is_found_as_it_was_made(database: Database) -> None:
    networks = (ip_network("10.4.0.0/24"), ip_network("fd00:5::/64"))
    asked = new("Viewer", scope=CT, networks=networks, validity=timedelta(days=3))
    text, token = add(database, asked)
    assert find(database, text) == token
    assert (token.name, token.role, token.scope) == ("Viewer", "service", CT)
    assert token.networks == networks
    assert token.ends_at == NOW + timedelta(days=3)
    assert token.subject == Subject(Kind.SERVICE, "viewer")
    assert text.startswith(PREFIX)
    assert len(text) == len(PREFIX) + 43


def test_the_database_alone_makes_no_token(database: Database) -> None:
    text, _ = add(database)
    with database.read() as connection:
        (row,) = connection.execute(select(tables.token)).mappings()
    assert text.removeprefix(PREFIX) not in repr(dict(row))
    assert find(database, text, key=bytes(32)) is None


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: "",
        lambda text: text[:-1],
        lambda text: text + "A",
        lambda text: text.upper(),
        lambda text: text.replace(PREFIX, "lgs_"),
        lambda text: text.removeprefix(PREFIX),
        lambda text: f" {text}",
        lambda text: text[:10] + "é" + text[11:],
        lambda text: "\ud800" * len(text),
        lambda text: PREFIX + "A" * 43,
        lambda text: "lgt_" * 100_000,
    ],
)
def test_what_is_no_token_is_nobody(database: Database, spoil: Any) -> None:
    text, _ = add(database)
    assert find(database, spoil(text)) is None


def test_a_name_is_never_given_again(database: Database) -> None:
    add(database)
    database.write(lambda tx: Tokens(KEY).revoke(tx, "viewer", NOW))
    with pytest.raises(Misconfigured, match="there is or was one"):
        add(database, new("VIEWER"))


def test_a_revoked_token_proves_nobody(database: Database) -> None:
    text, token = add(database)
    assert token.refusal(HERE, NOW) is None
    database.write(lambda tx: Tokens(KEY).revoke(tx, "Viewer", NOW))
    found = find(database, text)
    assert found is not None
    assert found.refusal(HERE, NOW) == "token was revoked"
    assert not found.is_standing(NOW)
    with pytest.raises(Misconfigured, match="revoked already"):
        database.write(lambda tx: Tokens(KEY).revoke(tx, "viewer", NOW))


@pytest.mark.parametrize(
    ("address", "later", "reason"),
    [
        ("10.4.0.7", timedelta(0), None),
        ("::ffff:10.4.0.7", timedelta(days=90), None),
        ("10.4.0.7", timedelta(days=90, microseconds=1), "expired"),
        ("10.4.1.7", timedelta(0), "not for use from this address"),
        ("::1", timedelta(0), "not for use from this address"),
        (None, timedelta(0), "not for use from this address"),
    ],
)
def test_a_token_is_good_from_its_networks_until_its_end(
    database: Database, address: str | None, later: timedelta, reason: str | None
) -> None:
    _, token = add(database, new(networks=(ip_network("10.4.0.0/24"),)))
    literal = None if address is None else ip_address(address)
    found = token.refusal(literal, NOW + later)
    assert (found is None) is (reason is None)
    assert reason is None or reason in (found or "")


def test_a_use_is_written_down_coarsely(database: Database) -> None:
    text, token = add(database)
    assert is_due(token, NOW)
    database.write(lambda tx: Tokens(KEY).touch(tx, token, NOW))
    used = find(database, text)
    assert used is not None
    assert used.used_at == NOW
    assert not is_due(used, NOW + timedelta(minutes=59))
    assert is_due(used, NOW + timedelta(hours=1))
    # A clock that was set back does not rewrite what was written.
    database.write(lambda tx: Tokens(KEY).touch(tx, used, NOW - timedelta(days=1)))
    assert find(database, text) == used


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"name": ""}, "a name is"),
        ({"name": "a b"}, "a name is"),
        ({"name": "v" * 65}, "a name is"),
        ({"name": "v\u0131ewer"}, "a name is"),
        ({"validity": timedelta(0)}, "good for 1 to 366 days"),
        ({"validity": VALIDITY_MAX + timedelta(seconds=1)}, "good for 1 to 366"),
        ({"networks": ()}, "name 1 to 64 networks"),
        ({"networks": (ip_network("10.0.0.1"),) * 65}, "name 1 to 64 networks"),
        ({"networks": (ip_network("0.0.0.0/0"),)}, "wider than anybody's own"),
    ],
)
def test_what_cannot_be_a_token_is_told(changes: Any, problem: str) -> None:
    with pytest.raises(Misconfigured, match=problem):
        NewToken(**{"name": "viewer", "role": "service", **changes})


def test_without_networks_a_token_is_for_the_house(database: Database) -> None:
    _, token = add(database)
    assert token.networks == HOUSE_NETWORKS
    assert token.refusal(ip_address("203.0.113.9"), NOW) is not None


def test_there_is_an_end_to_tokens(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "TOKENS_MAX", 1)
    add(database)
    with pytest.raises(Misconfigured, match="is all that a node keeps"):
        add(database, new("other"))


def test_tokens_are_listed_and_found_by_name(database: Database) -> None:
    for name in ("b", "A"):
        add(database, new(name))
    with database.read() as connection:
        assert [each.name for each in Tokens(KEY).list(connection)] == ["A", "b"]
        assert Tokens(KEY).get(connection, "B").name == "b"
        for absent in ("c", "\ud800"):
            with pytest.raises(NotFound):
                Tokens(KEY).get(connection, absent)


@pytest.mark.parametrize(
    "wrong", [{"scope": ""}, {"scope": "ward=3"}, {"networks": "{"}, {"networks": "0"}]
)
def test_an_entry_that_we_did_not_write_is_damage(
    database: Database, wrong: dict[str, str]
) -> None:
    text, _ = add(database)
    statement = update(tables.token).values(**wrong)
    database.write(lambda tx: tx.connection.execute(statement) and None)
    with pytest.raises(Damaged):
        find(database, text)


def test_a_short_key_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Tokens(b"short")


# ── how far users' roles reach ───────────────────────────────────────────────


@pytest.fixture
def alice(database: Database) -> User:
    asked = NewUser("alice", ("radiologist",))
    return database.write(lambda tx: Users().add(tx, asked, "hash", NOW))


def test_a_user_reaches_everything_until_narrowed(
    database: Database, alice: User
) -> None:
    scopes = PersonScopes()

    def of() -> Scope:
        with database.read() as connection:
            return scopes.of(connection, alice)

    assert of() == EVERYTHING
    database.write(lambda tx: scopes.set(tx, alice, CT))
    assert of() == CT
    with database.read() as connection:
        assert scopes.all(connection) == {alice.id: CT}
    database.write(lambda tx: scopes.set(tx, alice, EVERYTHING))
    assert of() == EVERYTHING


def test_a_scope_that_we_did_not_write_does_not_widen(
    database: Database, alice: User
) -> None:
    database.write(lambda tx: PersonScopes().set(tx, alice, CT))
    wrong = update(tables.person_scope).values(scope="")
    database.write(lambda tx: tx.connection.execute(wrong) and None)
    with database.read() as connection, pytest.raises(Damaged):
        PersonScopes().of(connection, alice)
