"""From the one-time secret to a login: once, in time, with two proofs."""

from datetime import timedelta

import pytest

from leadglass.errors import NotFound, PeerError, Refused
from leadglass.identity.people.enrolment import Enrolled, Offer, draw_secret
from leadglass.identity.people.login import ONE_ANSWER, Failure, LoggedIn, Reason
from leadglass.identity.people.secondfactor import Factor, totp_code, totp_step
from tests.unit.identity.people.surroundings import (
    HOME,
    PASSWORD,
    SECRET,
    Authenticator,
    People,
)


def finish(people: People, offer: Offer, code: str) -> Enrolled:
    password_hash = people.stores.passwords.prepare(PASSWORD)
    return people.database.write(
        lambda tx: people.enrolment.finish(
            tx, offer.ticket, password_hash, code, people.now
        )
    )


def app_code(people: People, offer: Offer) -> str:
    return totp_code(people.secret_in(offer), totp_step(people.now))


def test_a_secret_enrols_once(people: People) -> None:
    people.add()
    enrolled = people.enrol()
    assert enrolled.user.is_active
    assert len(enrolled.recovery_codes) == 10
    assert people.log_in().session.user == enrolled.user
    assert people.open_enrolment() == Failure(Reason.WRONG_SECRET, "alice")


def test_the_secret_may_be_typed_as_people_type(people: People) -> None:
    people.add()
    assert people.offer(secret=SECRET.lower().replace("-", " ")).user.name == "alice"


def test_all_failures_sound_alike(people: People) -> None:
    people.add()
    failures = [
        people.open_enrolment("alice", "ABCDE"),
        people.open_enrolment("nobody", SECRET),
        people.open_enrolment("alice", "ß" * 1000),
        people.open_enrolment("alice", ""),
    ]
    people.wait(timedelta(days=8))
    failures.append(people.open_enrolment())
    for each in failures:
        assert isinstance(each, Failure)
        assert str(each.refusal()) == ONE_ANSWER


def test_guesses_are_slowed_by_address_and_a_stranger_locks_nobody_out(
    people: People,
) -> None:
    people.add()
    with people.database.read() as connection:
        attempt = people.enrolment.look(connection, "alice", HOME)
    wrong = people.enrolment.weigh(attempt, "ABCDE")
    for _ in range(25):
        last = people.database.write(
            lambda tx: people.enrolment.begin(tx, wrong, people.now)
        )
    assert isinstance(last, Failure)
    assert last.reason is Reason.BLOCKED
    assert isinstance(people.open_enrolment(), Failure)
    elsewhere = people.open_enrolment("alice", SECRET, HOME + 1)
    assert isinstance(elsewhere, Offer)


def test_a_wrong_code_may_be_tried_again_and_enrols_nobody(people: People) -> None:
    people.add()
    offer = people.offer()
    with pytest.raises(PeerError, match="code"):
        finish(people, offer, "000000" if app_code(people, offer) != "000000" else "1")
    assert not people.user().is_active
    assert finish(people, offer, app_code(people, offer)).user.is_active


def test_who_finishes_first_is_the_user(people: People) -> None:
    people.add()
    one, two = people.offer(), people.offer()
    finish(people, one, app_code(people, one))
    with pytest.raises(Refused):
        finish(people, two, app_code(people, two))


@pytest.mark.parametrize("what", ["late", "disabled", "made up", "of a login"])
def test_a_ticket_that_does_not_stand_enrols_nobody(people: People, what: str) -> None:
    people.add()
    offer = people.offer()
    code = app_code(people, offer)
    ticket = offer.ticket
    if what == "late":
        people.wait(timedelta(minutes=31))
        code = app_code(people, offer)
    elif what == "disabled":
        users = people.stores.users
        people.database.write(lambda tx: users.disable(tx, "alice", people.now))
    elif what == "made up":
        ticket = "A" * 43
    else:
        ticket = people.begin().ticket
    password_hash = people.stores.passwords.prepare(PASSWORD)
    with pytest.raises(Refused):
        people.database.write(
            lambda tx: people.enrolment.finish(
                tx, ticket, password_hash, code, people.now
            )
        )
    assert not people.user().is_active


def test_a_passkey_enrols_without_a_password(people: People) -> None:
    people.add()
    offer = people.offer()
    authenticator = Authenticator()
    response = authenticator.create(offer.passkey_options)
    people.database.write(
        lambda tx: people.enrolment.finish_with_passkey(
            tx, offer.ticket, response, "phone", people.now
        )
    )
    begun = people.database.write(lambda tx: people.login.begin_passkey(tx, people.now))
    done = people.finish_with_passkey(
        begun.ticket, authenticator.get(begun.passkey_options)
    )
    assert isinstance(done, LoggedIn)
    assert done.session.factor is Factor.PASSKEY
    # No password is none, not an empty one.
    assert people.begin(password="").failure == Failure(Reason.WRONG_PASSWORD, "alice")


def test_another_app_takes_the_place_of_the_old_one(people: People) -> None:
    people.member()
    token = people.log_in().token
    offer = people.database.write(
        lambda tx: people.enrolment.offer(tx, people.user(), people.now)
    )
    code = app_code(people, offer)
    people.database.write(
        lambda tx: people.enrolment.replace_app(
            tx, people.user(), offer.ticket, code, people.now
        )
    )
    assert not people.stands(token)
    old = people.finish(people.begin().ticket, people.code())
    assert isinstance(old, Failure)
    people.secrets["alice"] = people.secret_in(offer)
    assert people.log_in()


def test_a_registration_is_good_for_nobody_else(people: People) -> None:
    people.member()
    people.member("bob")
    offer = people.database.write(
        lambda tx: people.enrolment.offer(tx, people.user("bob"), people.now)
    )
    code = app_code(people, offer)
    response = Authenticator().create(offer.passkey_options)
    with pytest.raises(Refused):
        people.database.write(
            lambda tx: people.enrolment.replace_app(
                tx, people.user(), offer.ticket, code, people.now
            )
        )
    with pytest.raises(Refused):
        people.database.write(
            lambda tx: people.enrolment.add_passkey(
                tx, people.user(), offer.ticket, response, "x", people.now
            )
        )
    # Nor does it enrol: the purposes of tickets are kept apart.
    with pytest.raises(Refused):
        finish(people, offer, code)


def test_the_last_proof_stays(people: People) -> None:
    people.member()
    people.add_passkey()
    enrolment, stores = people.enrolment, people.stores
    with people.database.read() as connection:
        (passkey,) = stores.passkeys.list(connection, people.user())
    with pytest.raises(NotFound):
        people.database.write(
            lambda tx: enrolment.remove_passkey(tx, people.user(), passkey.id + 1)
        )
    token = people.log_in().token
    people.database.write(
        lambda tx: enrolment.remove_passkey(tx, people.user(), passkey.id)
    )
    assert not people.stands(token)

    people.add("carol")
    offer = people.offer("carol")
    response = Authenticator(credential_id=b"carol").create(offer.passkey_options)
    people.database.write(
        lambda tx: enrolment.finish_with_passkey(
            tx, offer.ticket, response, "key", people.now
        )
    )
    with people.database.read() as connection:
        (passkey,) = stores.passkeys.list(connection, people.user("carol"))
    with pytest.raises(PeerError, match="last proof"):
        people.database.write(
            lambda tx: enrolment.remove_passkey(tx, people.user("carol"), passkey.id)
        )


def test_a_drawn_secret_enrols(people: People) -> None:
    secret, secret_hash = draw_secret()
    people.add()
    people.database.write(
        lambda tx: people.stores.users.reset(tx, "alice", secret_hash, people.now)
    )
    assert people.enrol(secret=secret).user.is_active
