"""Passwords of a directory beside those of the node: who hears of which."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_address

import pytest

from leadglass.archive.accounts import Accounts
from leadglass.archive.directories import DirectoryLogins
from leadglass.archive.doors import Knocks
from leadglass.archive.logins import Logins, Peer
from leadglass.archive.parts import Parts
from leadglass.archive.vouching import Vouching
from leadglass.audit.codes import EventID, Outcome
from leadglass.errors import Refused, Unavailable
from leadglass.identity.federation.entry import Entry
from leadglass.identity.federation.mapping import GroupRoles
from leadglass.identity.people.login import LoggedIn, Stores
from leadglass.identity.people.passkeys import Passkeys
from leadglass.identity.people.passwords import Passwords
from leadglass.identity.people.secondfactor import Factor, SecondFactors
from leadglass.identity.people.sessions import Sessions
from leadglass.identity.people.tickets import Tickets
from leadglass.identity.people.user import NewUser
from tests.unit.archive.conftest import OPERATOR, Home
from tests.unit.archive.rig import events
from tests.unit.identity.people.surroundings import CHEAP, PARTY

DESK = Peer(ip_address("10.4.0.7"), "TLSv1.3")
URL = "ldaps://dc.hospital.example"
PASSWORD = "a password of the directory"
RADIOLOGY, PACS = "cn=radiology,dc=example", "cn=pacs,dc=example"
TABLE = GroupRoles("groups", {RADIOLOGY: "radiologist", PACS: "administrator"})
# Failures that lock a person here (``lockout.PACES``); others come from elsewhere.
LOCK_AT = 10


@dataclass
class House:
    """A directory that remembers what it was asked."""

    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    is_silent: bool = False

    def prove(self, name: str, password: str) -> Entry:
        self.asked.append((name, password))
        if self.is_silent:
            raise Unavailable("ldap: the directory does not answer")
        if name not in self.groups or password != PASSWORD:
            raise Refused("the directory does not take the password")
        dn = f"uid={name},dc=example"
        return Entry(dn, f"id-of-{name}", name, name.title(), self.groups[name])


@dataclass
class Hospital:
    """The use case, its people, and the directory."""

    house: House
    directories: DirectoryLogins
    logins: Logins
    accounts: Accounts

    def log_in(
        self, name: str, password: str = PASSWORD, code: str = "", peer: Peer = DESK
    ) -> LoggedIn:
        ticket = self.directories.begin(name, password, peer).ticket
        return self.logins.finish(ticket, code, peer)


@pytest.fixture
def hospital(parts: Parts) -> Hospital:
    accounts, knocks = Accounts.of(parts), Knocks(parts)
    stores = Stores(
        users=accounts.users,
        passwords=Passwords(parameters=CHEAP),
        factors=SecondFactors(),
        passkeys=Passkeys(PARTY),
        lockout=accounts.lockout,
        tickets=Tickets(),
        sessions=Sessions(),
    )
    logins = Logins(parts, stores, knocks)
    house = House({"alice": (RADIOLOGY,), "nobody": ()})
    vouching = Vouching(parts, accounts, logins)
    directories = DirectoryLogins(parts, stores, logins, vouching, house, URL, TABLE)
    return Hospital(house, directories, logins, accounts)


def told(home: Home) -> tuple[Outcome, str]:
    event = events(home, EventID.USER_AUTHENTICATION)[-1]
    return event.outcome, event.outcome_description


@pytest.mark.parametrize("code", ["", "000000"])
def test_a_password_of_the_directory_lets_in(
    home: Home, hospital: Hospital, code: str
) -> None:
    session = hospital.log_in("alice", code=code).session
    assert (session.user.name, session.user.roles) == ("ldap:alice", ("radiologist",))
    # One proof: enough to come, never for what needs a proof of now.
    assert session.factor is Factor.NONE
    assert not session.is_fresh(datetime.now(UTC))
    event = events(home, EventID.USER_AUTHENTICATION)[-1]
    details = dict(event.details)
    assert (details["issuer"], details["subject"]) == (URL, "id-of-alice")


def test_no_password_of_the_node_is_told_to_the_directory(hospital: Hospital) -> None:
    accounts = hospital.accounts
    accounts.add_user(OPERATOR, NewUser("alice", ("administrator",)))
    accounts.add_user(OPERATOR, NewUser("gone", ("radiologist",)))
    accounts.disable_user(OPERATOR, "gone")
    for name in ("alice", "ALICE ", "gone", "administrator", "ldap:alice", "sso:x"):
        with pytest.raises(Refused):
            hospital.log_in(name)
    assert hospital.house.asked == []


def test_whatever_is_wrong_there_is_one_answer(home: Home, hospital: Hospital) -> None:
    wrong = {
        ("alice", "wrong"): "not proven by the directory",
        ("alice", ""): "not proven by the directory",
        ("stranger", PASSWORD): "not proven by the directory",
        ("nobody", PASSWORD): "no group of the provider gives a role",
    }
    answers = set()
    for (name, password), reason in wrong.items():
        pending = hospital.directories.begin(name, password, DESK)
        assert told(home) == (Outcome.MINOR_FAILURE, reason)
        with pytest.raises(Refused) as caught:
            hospital.logins.finish(pending.ticket, "", DESK)
        answers.add(str(caught.value))
    assert len(answers) == 1


def test_groups_are_roles_at_each_login(hospital: Hospital) -> None:
    hospital.log_in("alice")
    hospital.house.groups["alice"] = (PACS,)
    assert hospital.log_in("alice").session.user.roles == ("administrator",)
    hospital.house.groups["alice"] = ()
    with pytest.raises(Refused):
        hospital.log_in("alice")
    (account,) = hospital.accounts.list_users(OPERATOR)
    assert account.user.roles == ()


def test_a_person_is_locked_wherever_the_guesses_come_from(hospital: Hospital) -> None:
    hospital.log_in("alice")
    for number in range(LOCK_AT):
        # Each from an address of its own, as of many machines that were taken.
        peer = Peer(ip_address(f"10.9.{number}.1"), "TLSv1.3")
        with pytest.raises(Refused):
            hospital.log_in("alice", "wrong", peer=peer)
    hospital.house.asked.clear()
    with pytest.raises(Refused):
        hospital.log_in("alice")
    assert hospital.house.asked == []  # nothing is tried while it is locked
    hospital.accounts.unlock_user(OPERATOR, "ldap:alice")
    assert hospital.log_in("alice")


def test_who_is_disabled_here_stays_out(home: Home, hospital: Hospital) -> None:
    hospital.log_in("alice")
    hospital.accounts.disable_user(OPERATOR, "ldap:alice")
    with pytest.raises(Refused):
        hospital.log_in("alice")
    assert any(
        each.outcome_description == "disabled user"
        for each in events(home, EventID.USER_AUTHENTICATION)
    )


def test_a_directory_that_does_not_answer_locks_nobody_out(hospital: Hospital) -> None:
    hospital.log_in("alice")
    hospital.house.is_silent = True
    for _ in range(4 * LOCK_AT):
        hospital.directories.begin("alice", PASSWORD, DESK)
    hospital.house.is_silent = False
    assert hospital.log_in("alice")


def test_without_the_directory_people_of_here_log_in(
    home: Home, hospital: Hospital
) -> None:
    hospital.house.is_silent = True
    with pytest.raises(Refused):
        hospital.log_in("alice")
    hospital.accounts.add_user(OPERATOR, NewUser("rhea", ("radiologist",)))
    assert hospital.directories.begin("rhea", "anything", DESK).ticket
    assert any(
        each.outcome_description == "the directory does not answer"
        for each in events(home, EventID.USER_AUTHENTICATION)
    )
