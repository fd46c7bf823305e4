"""From a proof to an answer: roles, scopes and broken glass in the SQL."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

import pytest
from sqlalchemy import event

from leadglass.access.policy import Kind, Subject
from leadglass.access.rights import Right
from leadglass.access.scopes import EVERYTHING, Scope
from leadglass.archive.accounts import Accounts
from leadglass.archive.bearer import Bearer
from leadglass.archive.caller import Caller, Gate
from leadglass.archive.doors import Knocks
from leadglass.archive.emergency import Emergencies
from leadglass.archive.find import Find
from leadglass.archive.listing import Listing
from leadglass.archive.parts import Parts
from leadglass.archive.people import PeopleRules
from leadglass.archive.rulebook import RuleBook
from leadglass.audit.builders import Question
from leadglass.dicom.attributes import Level
from leadglass.errors import Refused
from leadglass.identity.devices import Devices
from leadglass.identity.people.user import NewUser
from leadglass.identity.rows import to_us
from leadglass.identity.tokens.token import NewToken
from leadglass.index.query import Query
from tests.unit.archive.conftest import OPERATOR, STUDY, Home, make_instance

HERE = ip_address("10.4.0.7")
ALICE = Caller(Subject(Kind.OPERATOR, "alice"), HERE, channel="TLSv1.3")
QUESTION = Question(sop_class="1.2", data_set=b"", transfer_syntax="1.2")
OTHER = "1.2.3.2"


@pytest.fixture
def archive(store: Callable[..., Any], parts: Parts) -> None:
    """Two studies of two patients."""
    store(make_instance(patient="P1"))
    store(make_instance(study=OTHER, patient="P2", Modality="MR"))
    parts.intake.catch_up()


@pytest.fixture
def accounts(parts: Parts) -> Accounts:
    return Accounts.of(parts)


@pytest.fixture
def people(parts: Parts, accounts: Accounts) -> PeopleRules:
    return PeopleRules(parts.database, accounts.users, accounts.scopes, accounts.tokens)


@pytest.fixture
def book(home: Home, people: PeopleRules) -> RuleBook:
    devices = Devices(home.parts.database)
    path = home.folder / "rules.toml"
    return RuleBook(path, devices, OPERATOR.subject, people)


@pytest.fixture
def node(home: Home, book: RuleBook, archive: None) -> Parts:
    """The collaborators, with the rules as a node has them."""
    shared = replace(home.parts, gate=Gate(book.rules))
    object.__setattr__(shared, "intake", home.parts.intake)
    return shared


def user(accounts: Accounts, role: str, scope: Scope = EVERYTHING) -> None:
    accounts.add_user(OPERATOR, NewUser("alice", (role,)), scope)

    def enrol(tx: Any) -> None:
        found = accounts.users.get(tx.connection, "alice")
        values = {"enrolled_us": to_us(datetime.now(UTC))}
        accounts.users.change(tx, found, values)

    accounts.parts.database.write(enrol)


def found(node: Parts, caller: Caller = ALICE) -> set[str]:
    query = Query(level=Level.STUDY, keys={}, scopes=(), relational=True)
    rows = Find(node, 100)(caller, query, QUESTION)
    return {row.uids.study_uid or "" for row in rows}


def test_a_radiologist_finds_what_the_scope_says(
    node: Parts, accounts: Accounts
) -> None:
    user(accounts, "radiologist")
    assert found(node) == {STUDY, OTHER}
    accounts.change_user(OPERATOR, "alice", scope=Scope.parse("modality=MR"))
    assert found(node) == {OTHER}
    accounts.disable_user(OPERATOR, "alice")
    with pytest.raises(Refused):
        found(node)


def test_a_referring_physician_finds_what_is_assigned_and_breaks_glass_for_more(
    node: Parts, accounts: Accounts
) -> None:
    user(accounts, "referring")
    assert found(node) == set()
    Listing(accounts).assign(OPERATOR, ALICE.subject, [STUDY])
    assert found(node) == {STUDY}
    glass = Emergencies(node)
    given = glass.start(ALICE, "P2", "unconscious in the ER")
    assert found(node) == {STUDY, OTHER}
    glass.stop(ALICE, given.id)
    assert found(node) == {STUDY}


def test_broken_glass_does_not_open_from_elsewhere(
    node: Parts, accounts: Accounts
) -> None:
    user(accounts, "referring")
    Emergencies(node).start(ALICE, "P2", "unconscious in the ER")
    assert found(node) == {OTHER}
    for address in (ip_address("203.0.113.9"), None):
        with pytest.raises(Refused):
            found(node, replace(ALICE, address=address))


@pytest.mark.parametrize("role", ["administrator", "privacy"])
def test_who_appoints_or_judges_finds_nothing(
    node: Parts, accounts: Accounts, role: str
) -> None:
    user(accounts, role)
    with pytest.raises(Refused):
        found(node)


def test_a_token_finds_within_its_scope_until_it_is_revoked(
    node: Parts, accounts: Accounts
) -> None:
    scope = Scope.parse("modality=CT")
    text, _ = accounts.add_token(
        OPERATOR, NewToken(name="viewer", role="service", scope=scope)
    )
    bearer = Bearer(node, accounts.tokens, Knocks(node))
    caller = bearer(text.encode(), HERE, "TLSv1.3")
    assert found(node, caller) == {STUDY}
    accounts.revoke_token(OPERATOR, "viewer")
    with pytest.raises(Refused):
        found(node, caller)  # a connection that was open


def test_a_user_named_as_the_operator_is_not_the_operator(
    node: Parts, accounts: Accounts, book: RuleBook
) -> None:
    accounts.add_user(OPERATOR, NewUser("operator", ("privacy",)))
    afar = replace(OPERATOR, address=HERE)
    for right in set(Right) - {Right.AUDIT, Right.REVIEW}:
        with pytest.raises(Refused):
            Gate(book.rules).scopes(afar, right)


def test_a_device_of_a_users_or_programs_name_has_nothing_of_it(
    accounts: Accounts, book: RuleBook
) -> None:
    user(accounts, "radiologist")
    for kind in (Kind.DEVICE, Kind.EXCEPTION, Kind.SERVICE):
        stranger = replace(ALICE, subject=Subject(kind, "alice"))
        assert Gate(book.rules).rights(stranger, Right) == frozenset()


def test_a_decision_about_a_person_is_few_reads(
    home: Home, people: PeopleRules, accounts: Accounts
) -> None:
    user(accounts, "radiologist")
    statements: list[str] = []
    with home.parts.database.read() as connection:
        engine = connection.engine

    def seen(*arguments: Any) -> None:
        statements.append(arguments[2])

    event.listen(engine, "before_cursor_execute", seen)
    try:
        people(ALICE.subject)
    finally:
        event.remove(engine, "before_cursor_execute", seen)
    assert 1 <= len([each for each in statements if each.startswith("SELECT")]) <= 3
