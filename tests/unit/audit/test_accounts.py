"""What becomes of people and their accounts, in the codes of PS3.15."""

import pytest

from leadglass.audit.accounts import AccountAct, AccountChange, AccountEvents
from leadglass.audit.builders import Actor
from leadglass.audit.codes import EventType, Outcome
from leadglass.audit.events import AuditSource, Event, encode
from tests.unit.audit.surroundings import EVENTS, ORIGIN

ACCOUNTS = AccountEvents(EVENTS.node)
ALICE = Actor("alice", "192.0.2.7", channel="TLSv1.3", kind="operator")
ADMINISTRATOR = Actor("administrator", kind="operator")

CASES = [
    (ACCOUNTS.logged_in(ALICE, "totp"), "110114", ("110122",), Outcome.SUCCESS),
    (
        ACCOUNTS.login_failed(ALICE, "wrong password"),
        "110114",
        ("110122",),
        Outcome.MINOR_FAILURE,
    ),
    (ACCOUNTS.proven_anew(ALICE, "passkey"), "110114", ("110122",), Outcome.SUCCESS),
    (ACCOUNTS.logged_out(ALICE), "110114", ("110123",), Outcome.SUCCESS),
]


@pytest.mark.parametrize(("event", "id_", "types", "outcome"), CASES)
def test_a_login_is_user_authentication(
    event: Event, id_: str, types: tuple[str, ...], outcome: Outcome
) -> None:
    assert (event.id, event.types, event.outcome) == (id_, types, outcome)
    person, node = event.participants
    assert (person.user_id, person.is_requestor) == ("alice", True)
    assert person.access_point == "192.0.2.7"
    assert not node.is_requestor
    assert event.details["channel"] == "TLSv1.3"


@pytest.mark.parametrize("act", AccountAct)
def test_a_change_of_an_account_is_an_alert_about_its_user(act: AccountAct) -> None:
    change = AccountChange(act, "alice", "asked for", {"roles": "radiologist"})
    event = ACCOUNTS.account_changed(ADMINISTRATOR, change)
    assert event.id == "110113"
    assert event.types[0] == EventType.USER_SECURITY_ATTRIBUTES_CHANGED
    assert event.participants[0].user_id == "administrator"
    (subject,) = event.objects
    assert subject.id == "alice"
    assert subject.details == (
        ("Alert Description", act),
        ("reason", "asked for"),
        ("roles", "radiologist"),
    )


def test_who_may_do_what_is_a_change_of_roles() -> None:
    of_roles = {
        act for act in AccountAct if EventType.SECURITY_ROLES_CHANGED in act.types
    }
    assert of_roles == {
        AccountAct.ADDED,
        AccountAct.CAME,
        AccountAct.GROUPS,
        AccountAct.ROLES,
        AccountAct.DISABLED,
        AccountAct.ENABLED,
    }


@pytest.mark.parametrize("event", [case[0] for case in CASES])
def test_the_record_gives_back_the_event(event: Event) -> None:
    source = AuditSource(ORIGIN)
    record = encode(event.members(source.members(), 1))
    read, _ = Event.decode(record)
    assert (read.participants, read.details) == (event.participants, event.details)
    assert encode(read.members(source.members(), 1)) == record
