"""Tickets: kept hashed, bounded in number, for one purpose each."""

from datetime import timedelta

import pytest

from leadglass.identity.people import tickets as module
from leadglass.identity.people.tickets import TERMS, Purpose, new_token
from tests.unit.identity.people.surroundings import People


def issue(people: People, purpose: Purpose = Purpose.LOGIN) -> str:
    return people.database.write(
        lambda tx: people.stores.tickets.issue(tx, purpose, None, people.now)
    )[0]


def stands(people: People, token: str, purpose: Purpose = Purpose.LOGIN) -> bool:
    with people.database.read() as connection:
        ticket = people.stores.tickets.get(connection, token, purpose, people.now)
    return ticket is not None


@pytest.mark.parametrize("purpose", Purpose)
def test_a_ticket_is_for_one_purpose_and_a_while(
    people: People, purpose: Purpose
) -> None:
    token = issue(people, purpose)
    assert [each for each in Purpose if stands(people, token, each)] == [purpose]
    people.wait(TERMS[purpose].validity)
    assert stands(people, token, purpose)
    people.wait(timedelta(seconds=1))
    assert not stands(people, token, purpose)


def test_no_ticket_is_kept_as_it_is(people: People) -> None:
    token = issue(people)
    with people.database.read() as connection:
        kept = connection.exec_driver_sql("SELECT * FROM person_ticket").all()
    assert token not in str(kept)
    assert new_token()[0] != token


def test_a_flood_of_tickets_is_bounded_and_the_oldest_make_room(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TICKETS_MAX", 10)
    tokens = []
    for _ in range(30):
        people.wait(timedelta(seconds=1))
        tokens.append(issue(people))
    assert [stands(people, each) for each in tokens] == [False] * 20 + [True] * 10


def test_what_has_ended_is_not_kept(people: People) -> None:
    for _ in range(5):
        issue(people)
    people.wait(timedelta(hours=1))
    issue(people)
    with people.database.read() as connection:
        count = connection.exec_driver_sql(
            "SELECT count(*) FROM person_ticket"
        ).scalar()
    assert count == 1
