"""For how long a login is believed, and what ends it."""

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leadglass.errors import NotFound
from leadglass.identity.people.secondfactor import Factor
from leadglass.identity.people.sessions import (
    PREFIX,
    SESSIONS_PER_USER_MAX,
    TOUCH,
    Limits,
    NoSession,
    Session,
    Sessions,
)
from tests.unit.identity.people.surroundings import HOME, SECRET_HASH, People


def create(people: People, name: str = "alice") -> tuple[str, Session]:
    return people.database.write(
        lambda tx: people.stores.sessions.create(
            tx, people.user(name), Factor.TOTP, HOME, people.now
        )
    )


def find(people: People, token: str) -> Session:
    with people.database.read() as connection:
        return people.stores.sessions.find(connection, token, people.now)


def use(people: People, token: str) -> None:
    session = find(people, token)
    if session.is_due(people.now):
        people.database.write(
            lambda tx: people.stores.sessions.touch(tx, session, people.now)
        )


def test_a_session_is_found_by_its_token_alone(people: People) -> None:
    people.member()
    token, session = create(people)
    assert token.startswith(PREFIX)
    assert find(people, token) == session
    with people.database.read() as connection:
        kept = connection.exec_driver_sql("SELECT * FROM person_session").all()
    assert token not in str(kept)


@given(st.one_of(st.text(max_size=60), st.text("abcAB-_=", min_size=43, max_size=43)))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_no_token_finds_nothing(people: People, text: str) -> None:
    for token in (text, PREFIX + text):
        assert not people.stands(token)


def test_any_other_character_is_another_session(people: People) -> None:
    people.member()
    token, _ = create(people)
    for at in range(len(token)):
        other = "A" if token[at] != "A" else "B"
        changed = token[:at] + other + token[at + 1 :]
        # The last character holds four bits more than there are; all the same.
        assert at == len(token) - 1 or not people.stands(changed)


def test_a_session_ends_when_it_is_not_used(people: People) -> None:
    people.member()
    token, _ = create(people)
    for _ in range(20):
        people.wait(timedelta(minutes=10))
        use(people, token)
    people.wait(timedelta(minutes=15))
    assert not people.stands(token)


def test_a_session_ends_however_much_it_is_used(people: People) -> None:
    people.member()
    token, session = create(people)
    while people.now + timedelta(minutes=10) < session.ends_at:
        people.wait(timedelta(minutes=10))
        use(people, token)
    people.wait(session.ends_at - people.now)
    assert not people.stands(token)


def test_a_use_is_not_written_each_time(people: People) -> None:
    people.member()
    _, session = create(people)
    people.wait(TOUCH - timedelta(seconds=1))
    assert not session.is_due(people.now)
    people.wait(timedelta(seconds=1))
    assert session.is_due(people.now)


@pytest.mark.parametrize(
    "what", ["disable", "roles", "password", "reset", "disable and enable"]
)
def test_any_change_of_the_user_ends_its_sessions_at_once(
    people: People, what: str
) -> None:
    people.member()
    people.member("bob")
    token, _ = create(people)
    other, _ = create(people, "bob")
    users = people.stores.users
    acts = {
        "disable": [lambda tx: users.disable(tx, "alice", people.now)],
        "roles": [lambda tx: users.change_roles(tx, "alice", ["referring"])],
        "password": [lambda tx: users.set_password(tx, people.user(), SECRET_HASH)],
        "reset": [lambda tx: users.reset(tx, "alice", SECRET_HASH, people.now)],
        "disable and enable": [
            lambda tx: users.disable(tx, "alice", people.now),
            lambda tx: users.enable(tx, "alice"),
        ],
    }
    for act in acts[what]:
        people.database.write(act)
    assert not people.stands(token)
    assert people.stands(other)


def test_the_revision_alone_ends_a_session(people: People) -> None:
    """Even if its row were left, as by a change that forgot to delete it."""
    people.member()
    token, _ = create(people)
    people.database.write(
        lambda tx: (
            tx.connection.exec_driver_sql("UPDATE person SET revision = revision + 1")
            and None
        )
    )
    assert not people.stands(token)


def test_a_session_created_for_what_a_user_was_does_not_stand(people: People) -> None:
    people.member()
    before = people.user()
    people.database.write(
        lambda tx: people.stores.users.change_roles(tx, "alice", ["referring"])
    )
    with pytest.raises(NoSession):
        people.database.write(
            lambda tx: people.stores.sessions.create(
                tx, before, Factor.TOTP, HOME, people.now
            )
        )


def test_sessions_are_listed_and_ended_one_by_one_or_all(people: People) -> None:
    people.member()
    people.member("bob")
    sessions = people.stores.sessions
    (one, first), (two, second), (three, _) = (create(people) for _ in range(3))
    bobs, session_of_bob = create(people, "bob")
    with people.database.read() as connection:
        listed = sessions.list(connection, people.user(), people.now)
    assert [each.id for each in listed][-2:] == [second.id, first.id]
    with pytest.raises(NotFound):
        people.database.write(
            lambda tx: sessions.end(tx, people.user(), session_of_bob.id)
        )
    people.database.write(lambda tx: sessions.end(tx, people.user(), first.id))
    assert [people.stands(each) for each in (one, two, bobs)] == [False, True, True]
    ended = people.database.write(
        lambda tx: sessions.end_all(tx, people.user(), but=second)
    )
    assert (ended, people.stands(two), people.stands(three)) == (1, True, False)
    assert people.database.write(lambda tx: sessions.end_all(tx, people.user())) == 1
    assert people.stands(bobs)


def test_the_session_unused_for_longest_makes_room(people: People) -> None:
    people.member()
    tokens = []
    for _ in range(SESSIONS_PER_USER_MAX + 1):
        people.wait(timedelta(seconds=1))
        tokens.append(create(people)[0])
    assert [people.stands(each) for each in tokens].count(False) == 1
    assert not people.stands(tokens[0])


def test_limits_must_make_sense() -> None:
    with pytest.raises(ValueError, match="session limits"):
        Limits(idle=timedelta(hours=13))
    with pytest.raises(ValueError, match="session limits"):
        Limits(idle=timedelta(seconds=30))
    assert Sessions(Limits(idle=timedelta(minutes=5)))


def test_a_look_is_one_indexed_read(people: People) -> None:
    with people.database.read() as connection:
        plan = connection.exec_driver_sql(
            "EXPLAIN QUERY PLAN SELECT 1 FROM person JOIN person_session AS s"
            " ON s.person_id = person.id WHERE s.token_hash = x'00'"
        ).all()
    assert not any("SCAN" in str(line) for line in plan)
