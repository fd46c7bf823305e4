"""The rules over real parts: drafts, questions, and who must not be locked out."""

from collections.abc import Callable
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from leadglass.access.policy import Kind, Subject
from leadglass.access.rights import Right
from leadglass.access.roles import rules_of_person
from leadglass.access.scopes import EVERYTHING, Scope
from leadglass.archive.accounts import Accounts
from leadglass.archive.caller import Caller
from leadglass.archive.parts import Parts
from leadglass.archive.people import PeopleRules
from leadglass.archive.previewing import Previews
from leadglass.archive.rulebook import RuleBook, digest_of
from leadglass.archive.ruledesk import Asked, RuleDesk
from leadglass.audit.codes import EventType
from leadglass.audit.search import Search
from leadglass.errors import Misconfigured, NotFound, Refused
from leadglass.identity.devices import Devices
from leadglass.identity.people.user import NewUser
from leadglass.identity.rows import to_us
from tests.unit.archive.conftest import OPERATOR, Home

HERE = ip_address("10.4.0.7")
ADA = Caller(Subject(Kind.OPERATOR, "ada"), HERE, channel="TLSv1.3")
EVE = Subject(Kind.OPERATOR, "eve")
RUNS = """\
[[rule]]
name = "ada runs the node"
operators = ["ada"]
rights = ["administer"]
from = ["10.4.0.0/24"]
reason = "the only one"
"""
ERASES = """\
[[rule]]
name = "eve erases"
operators = ["eve"]
rights = ["erase"]
from = ["10.4.0.0/24"]
reason = "retention"
"""


def add(accounts: Accounts, name: str, role: str, scope: Scope = EVERYTHING) -> None:
    """Add a user who has enrolled."""
    accounts.add_user(OPERATOR, NewUser(name, (role,)), scope)

    def enrol(tx: Any) -> None:
        user = accounts.users.get(tx.connection, name)
        accounts.users.change(tx, user, {"enrolled_us": to_us(datetime.now(UTC))})

    accounts.parts.database.write(enrol)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rules.toml"


@pytest.fixture
def accounts(parts: Parts) -> Accounts:
    return Accounts.of(parts)


@pytest.fixture
def open_desk(home: Home, accounts: Accounts, path: Path) -> Callable[[], RuleDesk]:
    parts = home.parts
    home.rules.rules += rules_of_person(ADA.subject, ["administrator"], EVERYTHING)

    def opened() -> RuleDesk:
        people = PeopleRules(
            parts.database, accounts.users, accounts.scopes, accounts.tokens
        )
        book = RuleBook(path, Devices(parts.database), OPERATOR.subject, people)
        return RuleDesk(accounts, book)

    return opened


def test_what_somebody_gets_besides_is_told_and_what_roles_give_is_not(
    open_desk: Callable[[], RuleDesk], accounts: Accounts
) -> None:
    add(accounts, "ada", "administrator")
    add(accounts, "eve", "radiologist")
    desk = open_desk()
    both = ERASES.replace('"erase"', '"erase", "find"')
    [effect] = desk.draft(ADA, both).effects
    assert effect.subject == EVE
    # What her role gives her everywhere in the house is nothing new.
    assert [each.rights for each in effect.gained] == [(Right.ERASE,)]
    assert effect.lost == ()


def test_the_last_who_administers_cannot_be_taken_away_by_a_page(
    open_desk: Callable[[], RuleDesk], accounts: Accounts, path: Path
) -> None:
    path.write_text(RUNS, "utf-8")
    add(accounts, "ada", "radiologist")
    desk = open_desk()
    for caller in (ADA, OPERATOR):
        draft = desk.draft(caller, "")
        assert any("nobody could administer" in each for each in draft.problems)
        with pytest.raises(Misconfigured, match="nobody could administer"):
            desk.save(caller, "", digest_of(RUNS))
    assert path.read_text("utf-8") == RUNS
    # Once somebody else can, the rule can go.
    add(accounts, "root", "administrator")
    desk.save(OPERATOR, "", digest_of(RUNS))
    assert path.read_text("utf-8") == ""


def test_who_is_shut_out_or_expired_does_not_count(
    open_desk: Callable[[], RuleDesk], accounts: Accounts, path: Path
) -> None:
    path.write_text(RUNS, "utf-8")
    add(accounts, "ada", "radiologist")
    add(accounts, "root", "administrator")
    accounts.disable_user(OPERATOR, "root")
    desk = open_desk()
    for text in ("", RUNS + "until = 2020-01-01\n", RUNS.replace("from", "# from")):
        problems = desk.draft(ADA, text).problems
        assert any("nobody could administer" in each for each in problems), text


def test_nobody_gives_himself_anything_from_afar(
    open_desk: Callable[[], RuleDesk], accounts: Accounts, home: Home, path: Path
) -> None:
    add(accounts, "ada", "administrator")
    desk = open_desk()
    own = ERASES.replace('"eve"', '"ada"')
    with pytest.raises(Refused, match="nobody changes"):
        desk.save(ADA, own, digest_of(""))
    assert not path.exists()
    [*_, refused] = home.parts.audit.list(Search())
    assert refused.event.types == (EventType.USE_OF_RESTRICTED_FUNCTION,)
    # Who has the node has its keys, too.
    desk.save(OPERATOR, own, digest_of(""))
    # And losing is everybody's right.
    desk.save(ADA, "", digest_of(own))


def test_only_who_administers_looks_asks_or_writes(
    open_desk: Callable[[], RuleDesk], accounts: Accounts
) -> None:
    add(accounts, "ada", "administrator")
    desk, eve = open_desk(), Caller(EVE, HERE)
    asked = Asked(EVE, Right.FIND, HERE)
    previews = Previews(accounts, desk.rulebook)
    for use in (
        lambda: desk.look(eve),
        lambda: desk.draft(eve, ""),
        lambda: desk.save(eve, ERASES, digest_of("")),
        lambda: desk.ask(eve, asked),
        lambda: previews.of_change(eve, "ada", ["radiologist"]),
        lambda: previews.of_new(eve, "new", ["radiologist"], EVERYTHING),
        lambda: previews.proofs(eve),
    ):
        with pytest.raises(Refused):
            use()


def test_what_the_rules_answer_is_what_decides(
    open_desk: Callable[[], RuleDesk], accounts: Accounts
) -> None:
    add(accounts, "ada", "administrator")
    add(accounts, "eve", "radiologist", Scope.parse("modality=CT"))
    desk = open_desk()
    found = desk.ask(ADA, Asked(EVE, Right.FIND, HERE))
    assert found.decision.allowed
    assert [(each.rule, str(each.scope)) for each in found.by] == [
        ("role radiologist", "modality=CT")
    ]
    here = desk.ask(ADA, Asked(EVE, Right.FIND, None))
    assert not here.decision.allowed
    assert here.by == ()


def test_a_preview_of_a_change_is_what_the_change_does(
    open_desk: Callable[[], RuleDesk], accounts: Accounts
) -> None:
    add(accounts, "ada", "administrator")
    add(accounts, "eve", "radiologist")
    previews = Previews(accounts, open_desk().rulebook)
    [effect] = previews.of_change(ADA, "Eve", ["technologist"]).effects
    lost = {right for each in effect.lost for right in each.rights}
    gained = {right for each in effect.gained for right in each.rights}
    assert lost == {Right.GET, Right.BREAK_GLASS}
    assert gained == {Right.ECHO, Right.STORE, Right.IMPORT}
    assert previews.of_change(ADA, "ada", ["radiologist"]).problems
    assert previews.of_change(ADA, "eve", []).problems
    with pytest.raises(NotFound):
        previews.of_change(ADA, "nobody", ["radiologist"])
    accounts.disable_user(OPERATOR, "eve")
    assert previews.of_change(ADA, "eve", ["technologist"]).effects == ()
