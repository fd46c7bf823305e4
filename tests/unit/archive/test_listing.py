"""Assignments and lists: administered, recorded, and found by who is named."""

from collections.abc import Callable

import pytest

from leadglass.access.policy import Kind, Subject
from leadglass.archive.accounts import Accounts
from leadglass.archive.caller import Caller
from leadglass.archive.listing import Listing
from leadglass.audit import lists as lists_module
from leadglass.audit.search import Search
from leadglass.errors import BadData, NotFound, Refused
from leadglass.identity.people.user import NewUser
from leadglass.identity.tokens.token import NewToken
from leadglass.index.lists import PATIENT_LISTS
from tests.unit.archive.conftest import OPERATOR, Home
from tests.unit.archive.rig import alerts, events

ALICE = Subject(Kind.OPERATOR, "Alice")
VIEWER = Subject(Kind.SERVICE, "viewer")


@pytest.fixture
def listing(home: Home) -> Listing:
    accounts = Accounts.of(home.parts)
    accounts.add_user(OPERATOR, NewUser("alice", ("referring",)))
    accounts.add_token(OPERATOR, NewToken(name="viewer", role="service"))
    return Listing(accounts)


def test_studies_are_assigned_and_taken_back_on_the_record(
    home: Home, listing: Listing
) -> None:
    assert listing.assign(OPERATOR, ALICE, ["1.2", "1.3"]) == 2
    assert listing.assigned(OPERATOR, ALICE) == ("1.2", "1.3")
    assert listing.unassign(OPERATOR, ALICE, ["1.2"]) == 1
    assert listing.assigned(OPERATOR, ALICE) == ("1.3",)
    assert alerts(home)[-2:] == [
        ("110135", "studies assigned"),
        ("110135", "studies taken back"),
    ]
    assert len(list(home.parts.audit.list(Search(study="1.2")))) == 2
    assert dict(events(home)[-1].objects[0].details)["name"] == "operator alice"


def test_a_program_of_the_same_name_is_another(listing: Listing) -> None:
    listing.assign(OPERATOR, VIEWER, ["1.2"])
    assert listing.assigned(OPERATOR, VIEWER) == ("1.2",)
    assert listing.assigned(OPERATOR, ALICE) == ()


def test_patients_are_listed_on_the_record(home: Home, listing: Listing) -> None:
    assert listing.put_on(OPERATOR, " ward 3 ", ["P1", "P2"]) == 2
    assert listing.take_off(OPERATOR, "ward 3", ["P1"]) == 1
    with home.parts.database.read() as connection:
        assert PATIENT_LISTS.members(connection, "ward 3") == ("P2",)
    assert len(list(home.parts.audit.list(Search(patient="P1")))) == 2


def test_what_changes_nothing_is_not_told(home: Home, listing: Listing) -> None:
    listing.assign(OPERATOR, ALICE, ["1.2"])
    told = len(events(home))
    assert listing.assign(OPERATOR, ALICE, ["1.2"]) == 0
    assert listing.unassign(OPERATOR, ALICE, ["1.9"]) == 0
    assert len(events(home)) == told


def test_many_become_several_events(
    home: Home, listing: Listing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists_module, "MEMBERS_PER_EVENT_MAX", 2)
    before = len(events(home))
    listing.assign(OPERATOR, ALICE, ["1.2", "1.3", "1.4"])
    assert [len(each.objects) for each in events(home)[before:]] == [3, 2]


ACTS: list[Callable[[Listing, Caller], object]] = [
    lambda listing, who: listing.assign(who, ALICE, ["1.2"]),
    lambda listing, who: listing.unassign(who, ALICE, ["1.2"]),
    lambda listing, who: listing.assigned(who, ALICE),
    lambda listing, who: listing.put_on(who, "ward 3", ["P1"]),
    lambda listing, who: listing.take_off(who, "ward 3", ["P1"]),
]


@pytest.mark.parametrize("act", ACTS)
def test_who_may_not_administer_changes_nothing(
    listing: Listing, stranger: Caller, act: Callable[[Listing, Caller], object]
) -> None:
    with pytest.raises(Refused, match=r"^not authorized$"):
        act(listing, stranger)
    assert listing.assigned(OPERATOR, ALICE) == ()


@pytest.mark.parametrize("uid", ["", "1.2\n", "1.2;3", "x", "1" * 65])
def test_what_is_no_uid_is_refused(listing: Listing, uid: str) -> None:
    with pytest.raises(BadData):
        listing.assign(OPERATOR, ALICE, [uid])


@pytest.mark.parametrize("name", ["", " ", "own", "x" * 65, "a\x1bb"])
def test_what_is_no_list_is_refused(listing: Listing, name: str) -> None:
    with pytest.raises(BadData):
        listing.put_on(OPERATOR, name, ["P1"])


@pytest.mark.parametrize(
    "subject",
    [
        Subject(Kind.OPERATOR, "viewer"),
        Subject(Kind.SERVICE, "alice"),
        Subject(Kind.DEVICE, "alice"),
    ],
)
def test_nobody_is_assigned_nothing(listing: Listing, subject: Subject) -> None:
    with pytest.raises(NotFound):
        listing.assign(OPERATOR, subject, ["1.2"])
