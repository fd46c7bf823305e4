"""What the rule file promises of people: kept by changes, and else by withholding."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from leadglass.access.policy import Kind, Subject
from leadglass.access.rights import Right
from leadglass.access.scopes import EVERYTHING, Scope
from leadglass.archive.accounts import Accounts
from leadglass.archive.caller import Caller, Gate
from leadglass.archive.people import PeopleRules
from leadglass.archive.rulebook import RuleBook
from leadglass.errors import Misconfigured
from leadglass.identity.devices import Devices
from leadglass.identity.people.user import NewUser
from leadglass.identity.rows import to_us
from leadglass.identity.tokens.token import NewToken
from tests.unit.archive.conftest import OPERATOR, Home
from tests.unit.archive.rig import events

HERE = ip_address("10.4.0.7")
ALICE = Caller(Subject(Kind.OPERATOR, "alice"), HERE, channel="TLSv1.3")
VIEWER = Caller(Subject(Kind.SERVICE, "viewer"), HERE, channel="TLSv1.3")
CT = Scope.parse("modality=CT")
BLIND = """
[[expect]]
name = "alice sees nothing"
operator = "alice"
right = "view"
from = "10.4.0.7"
allowed = false
"""
NARROW = """
[[expect]]
name = "alice sees CT"
operator = "alice"
right = "view"
from = "10.4.0.7"
allowed = true
within = "modality=CT"
"""
PROGRAM = """
[[expect]]
name = "the viewer stores nothing"
service = "viewer"
right = "store"
from = "10.4.0.7"
allowed = false
"""


@pytest.fixture
def path(home: Home) -> Path:
    return home.folder / "rules.toml"


@pytest.fixture
def open_book(home: Home, path: Path) -> Callable[[], RuleBook]:
    """Return a function that opens the rules as a node does."""
    plain = Accounts.of(home.parts)
    people = PeopleRules(home.parts.database, plain.users, plain.scopes, plain.tokens)
    devices = Devices(home.parts.database)
    return lambda: RuleBook(path, devices, OPERATOR.subject, people)


@pytest.fixture
def accounts(home: Home) -> Accounts:
    """Accounts whose changes nobody looks at: another program's, or an older one's."""
    return Accounts.of(home.parts)


def guarded(home: Home, book: RuleBook) -> Accounts:
    """Return accounts whose changes the rule book looks at."""
    gate = Gate(home.rules, book.keep)
    return Accounts.of(replace(home.parts, gate=gate))


def enrol(accounts: Accounts, name: str = "alice") -> None:
    values = {"enrolled_us": to_us(datetime.now(UTC))}

    def work(tx: Any) -> None:
        user = accounts.users.get(tx.connection, name)
        accounts.users.change(tx, user, values)

    accounts.parts.database.write(work)


def rights(book: RuleBook, caller: Caller = ALICE) -> set[Right]:
    return set(Gate(book.rules).rights(caller, Right))


# ── the change is refused ────────────────────────────────────────────────────


def test_a_user_that_an_expectation_forbids_is_not_added(
    home: Home, path: Path, open_book: Callable[[], RuleBook]
) -> None:
    path.write_text(BLIND)
    accounts = guarded(home, open_book())
    with pytest.raises(Misconfigured, match="'alice sees nothing'"):
        accounts.add_user(OPERATOR, NewUser("Alice", ("radiologist",)))
    assert accounts.list_users(OPERATOR) == ()
    assert events(home) == []
    accounts.add_user(OPERATOR, NewUser("alice", ("privacy",)))
    accounts.add_user(OPERATOR, NewUser("bob", ("radiologist",)))


def test_roles_and_scopes_that_an_expectation_forbids_are_not_given(
    home: Home, path: Path, open_book: Callable[[], RuleBook]
) -> None:
    path.write_text(NARROW)
    accounts = guarded(home, open_book())
    accounts.add_user(OPERATOR, NewUser("alice", ("radiologist",)), CT)
    for change in ({"scope": EVERYTHING}, {"roles": ["referring"]}):
        with pytest.raises(Misconfigured, match="'alice sees CT'"):
            accounts.change_user(OPERATOR, "alice", **change)
    (account,) = accounts.list_users(OPERATOR)
    assert (account.user.roles, account.scope) == (("radiologist",), CT)


def test_a_user_does_not_come_back_with_what_is_forbidden_now(
    home: Home, accounts: Accounts, path: Path, open_book: Callable[[], RuleBook]
) -> None:
    accounts.add_user(OPERATOR, NewUser("alice", ("radiologist",)))
    accounts.disable_user(OPERATOR, "alice")
    path.write_text(BLIND)
    kept = guarded(home, open_book())
    with pytest.raises(Misconfigured, match="'alice sees nothing'"):
        kept.enable_user(OPERATOR, "alice")
    kept.change_user(OPERATOR, "alice", ["privacy"])
    kept.enable_user(OPERATOR, "alice")


def test_a_token_that_an_expectation_forbids_is_not_made(
    home: Home, path: Path, open_book: Callable[[], RuleBook]
) -> None:
    path.write_text(PROGRAM)
    accounts = guarded(home, open_book())
    with pytest.raises(Misconfigured, match="'the viewer stores nothing'"):
        accounts.add_token(OPERATOR, NewToken(name="viewer", role="service"))
    assert accounts.list_tokens(OPERATOR) == ()
    accounts.add_token(OPERATOR, NewToken(name="viewer", role="radiologist"))


def test_who_must_go_goes_whatever_is_expected(
    home: Home, path: Path, open_book: Callable[[], RuleBook]
) -> None:
    path.write_text(NARROW)
    accounts = guarded(home, open_book())
    accounts.add_user(OPERATOR, NewUser("alice", ("radiologist",)), CT)
    accounts.disable_user(OPERATOR, "alice", "has left")
    book = open_book()  # and the node opens
    assert [each.name for each in book.broken()] == ["alice sees CT"]
    with pytest.raises(Misconfigured, match="'alice sees CT'"):
        book.check()


# ── it happened anyway ───────────────────────────────────────────────────────


def test_a_node_opens_and_withholds_what_must_not_be(
    accounts: Accounts, path: Path, open_book: Callable[[], RuleBook]
) -> None:
    accounts.add_user(OPERATOR, NewUser("alice", ("radiologist",)))
    enrol(accounts)
    assert Right.VIEW in rights(open_book())
    path.write_text(BLIND)
    book = open_book()
    assert rights(book) == {Right.FIND, Right.GET, Right.BREAK_GLASS}
    with pytest.raises(Misconfigured, match="'alice sees nothing'"):
        book.check()
    accounts.change_user(OPERATOR, "alice", ["privacy"])
    book.check()
    assert rights(book) == {Right.AUDIT, Right.REVIEW}


def test_what_reaches_too_far_is_withheld_until_it_does_not(
    accounts: Accounts, path: Path, open_book: Callable[[], RuleBook]
) -> None:
    accounts.add_user(OPERATOR, NewUser("alice", ("radiologist",)))
    enrol(accounts)
    path.write_text(NARROW)
    book = open_book()
    assert Right.VIEW not in rights(book)
    accounts.change_user(OPERATOR, "alice", scope=CT)
    assert Gate(book.rules).scopes(ALICE, Right.VIEW) == (CT,)


def test_a_program_is_withheld_the_same_and_others_go_on(
    accounts: Accounts, path: Path, open_book: Callable[[], RuleBook]
) -> None:
    accounts.add_token(OPERATOR, NewToken(name="viewer", role="service"))
    accounts.add_token(OPERATOR, NewToken(name="other", role="service"))
    path.write_text(PROGRAM)
    book = open_book()
    assert Right.STORE not in rights(book, VIEWER)
    assert Right.FIND in rights(book, VIEWER)
    other = replace(VIEWER, subject=Subject(Kind.SERVICE, "other"))
    assert Right.STORE in rights(book, other)


def test_what_the_file_itself_breaks_keeps_the_node_from_opening(
    path: Path, open_book: Callable[[], RuleBook]
) -> None:
    rule = (
        '[[rule]]\nname = "r"\noperators = ["alice"]\nrights = ["view"]\n'
        'from = ["10.4.0.0/16"]\nreason = "why"\n'
    )
    path.write_text(rule + BLIND)
    with pytest.raises(Misconfigured, match="'alice sees nothing'"):
        open_book()


def test_a_changed_file_that_people_break_is_not_taken_over(
    accounts: Accounts, path: Path, open_book: Callable[[], RuleBook]
) -> None:
    accounts.add_user(OPERATOR, NewUser("alice", ("radiologist",)))
    enrol(accounts)
    book = open_book()
    path.write_text(BLIND)
    with pytest.raises(Misconfigured, match="'alice sees nothing'"):
        book.reload_if_changed()
    assert Right.VIEW in rights(book)
