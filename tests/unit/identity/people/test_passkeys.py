"""Passkeys: what an authenticator proves, and every way that it does not."""

import json
from collections.abc import Callable
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leadglass.errors import Misconfigured, PeerError
from leadglass.identity.people.login import Failure, LoggedIn, Pending, Reason
from leadglass.identity.people.passkeys import (
    PASSKEYS_PER_USER_MAX,
    RESPONSE_CHARACTERS_MAX,
    BadPasskey,
    RelyingParty,
)
from leadglass.identity.people.secondfactor import Factor
from tests.unit.identity.people.surroundings import (
    HOST,
    ORIGIN,
    Authenticator,
    People,
    base64url,
)


def begin(people: People) -> Pending:
    return people.database.write(lambda tx: people.login.begin_passkey(tx, people.now))


def test_a_passkey_logs_in_alone(people: People) -> None:
    people.member()
    authenticator = people.add_passkey()
    for _ in range(2):
        begun = begin(people)
        done = people.finish_with_passkey(
            begun.ticket, authenticator.get(begun.passkey_options)
        )
        assert isinstance(done, LoggedIn)
        assert done.session.user.name == "alice"
        assert done.session.factor is Factor.PASSKEY


def test_a_passkey_is_a_second_factor(people: People) -> None:
    people.member()
    people.member("bob")
    authenticator = people.add_passkey()
    begun = people.begin()
    done = people.finish_with_passkey(
        begun.ticket, authenticator.get(begun.passkey_options)
    )
    assert isinstance(done, LoggedIn)
    # Neither beside a wrong password, nor for somebody else.
    begun = people.begin(password="something else entirely")
    assert people.finish_with_passkey(
        begun.ticket, authenticator.get(begun.passkey_options)
    ) == Failure(Reason.WRONG_PASSWORD, "alice")
    begun = people.begin("bob")
    assert people.finish_with_passkey(
        begun.ticket, authenticator.get(begun.passkey_options)
    ) == Failure(Reason.WRONG_PASSKEY, "alice")


def test_the_offer_tells_nothing_about_who_has_one(people: People) -> None:
    people.member()
    people.add_passkey()
    offered = [people.begin(name).passkey_options for name in ("alice", "nobody")]
    one, other = (json.loads(each) for each in offered)
    assert one.pop("challenge") != other.pop("challenge")
    assert one == other
    assert one["userVerification"] == "required"


def copied(authenticator: Authenticator) -> None:
    authenticator.count -= 5


def unverified(authenticator: Authenticator) -> None:
    authenticator.is_verified = False


def phished(authenticator: Authenticator) -> None:
    authenticator.origin = "https://pacs.example.evil.example"


def of_another_site(authenticator: Authenticator) -> None:
    authenticator.host = "evil.example"


def of_another_key(authenticator: Authenticator) -> None:
    authenticator.key = Authenticator().key


def of_another_user(authenticator: Authenticator) -> None:
    authenticator.handle = bytes(32)


def unknown(authenticator: Authenticator) -> None:
    authenticator.credential_id = b"unknown"


FORGED = [
    copied,
    unverified,
    phished,
    of_another_site,
    of_another_key,
    of_another_user,
    unknown,
]


@pytest.mark.parametrize("forge", FORGED)
def test_a_forged_answer_does_not_log_in(
    people: People, forge: Callable[[Authenticator], None]
) -> None:
    people.member()
    authenticator = people.add_passkey()
    authenticator.count = 10
    begun = begin(people)
    first = authenticator.get(begun.passkey_options)
    assert isinstance(people.finish_with_passkey(begun.ticket, first), LoggedIn)
    forge(authenticator)
    begun = begin(people)
    done = people.finish_with_passkey(
        begun.ticket, authenticator.get(begun.passkey_options)
    )
    assert isinstance(done, Failure)
    assert done.reason is Reason.WRONG_PASSKEY
    assert done.detail


def test_an_answer_is_judged_once(people: People) -> None:
    people.member()
    authenticator = people.add_passkey()
    begun = begin(people)
    answer = authenticator.get(begun.passkey_options)
    assert isinstance(people.finish_with_passkey(begun.ticket, answer), LoggedIn)
    again = people.finish_with_passkey(begun.ticket, answer)
    assert again == Failure(Reason.NO_TICKET)
    other = people.finish_with_passkey(begin(people).ticket, answer)
    assert isinstance(other, Failure)
    # A wrong answer uses the challenge up, too.
    begun = begin(people)
    assert isinstance(people.finish_with_passkey(begun.ticket, "{}"), Failure)
    answer = authenticator.get(begun.passkey_options)
    assert isinstance(people.finish_with_passkey(begun.ticket, answer), Failure)


def test_a_disabled_user_has_no_way_round(people: People) -> None:
    people.member()
    authenticator = people.add_passkey()
    begun = begin(people)
    people.database.write(
        lambda tx: people.stores.users.disable(tx, "alice", people.now)
    )
    answer = authenticator.get(begun.passkey_options)
    assert people.finish_with_passkey(begun.ticket, answer) == Failure(
        Reason.DISABLED, "alice"
    )


@given(
    st.one_of(
        st.text(max_size=200),
        st.recursive(
            st.none() | st.integers() | st.text(max_size=20),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(
                        [
                            "id",
                            "rawId",
                            "type",
                            "response",
                            "clientDataJSON",
                            "signature",
                        ]
                    ),
                    inner,
                    max_size=5,
                )
            ),
            max_leaves=12,
        ).map(json.dumps),
    )
)
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_comes_is_refused_in_order(people: People, response: str) -> None:
    with pytest.raises(BadPasskey):
        people.database.write(
            lambda tx: people.stores.passkeys.prove(tx, bytes(32), response, people.now)
        )
    if "alice" not in people.secrets:
        people.member()
    with pytest.raises(BadPasskey):
        people.database.write(
            lambda tx: people.stores.passkeys.register(
                tx, people.user(), bytes(32), response, "phone", people.now
            )
        )


@pytest.mark.parametrize(
    "hostile",
    [
        "[" * RESPONSE_CHARACTERS_MAX,
        "x" * (RESPONSE_CHARACTERS_MAX + 1),
        json.dumps(
            {
                "id": "AAAA",
                "rawId": "AAAA",
                "type": "public-key",
                "response": {
                    "clientDataJSON": "AAAA",
                    # arrays within arrays, and a text of 2^63 bytes
                    "attestationObject": base64url(
                        b"\x81" * 8_000 + b"\x7b" + b"\xff" * 8
                    ),
                },
            }
        ),
    ],
)
def test_bombs_are_refused(people: People, hostile: str) -> None:
    people.member()
    with pytest.raises(BadPasskey):
        people.database.write(
            lambda tx: people.stores.passkeys.register(
                tx, people.user(), bytes(32), hostile, "phone", people.now
            )
        )


@pytest.mark.parametrize(
    "forge", [unverified, phished, of_another_site], ids=lambda each: each.__name__
)
def test_a_forged_passkey_is_not_registered(
    people: People, forge: Callable[[Authenticator], None]
) -> None:
    people.member()
    user = people.user()
    offer = people.database.write(
        lambda tx: people.enrolment.offer(tx, user, people.now)
    )
    authenticator = Authenticator()
    forge(authenticator)
    with pytest.raises(BadPasskey):
        people.database.write(
            lambda tx: people.enrolment.add_passkey(
                tx,
                user,
                offer.ticket,
                authenticator.create(offer.passkey_options),
                "phone",
                people.now,
            )
        )


def test_statements_of_vendors_are_not_parsed(people: People) -> None:
    people.member()
    user = people.user()
    offer = people.database.write(
        lambda tx: people.enrolment.offer(tx, user, people.now)
    )
    response = Authenticator().create(
        offer.passkey_options, fmt="tpm", attStmt={"x5c": [b"\x30"]}
    )
    with pytest.raises(BadPasskey) as refused:
        people.database.write(
            lambda tx: people.enrolment.add_passkey(
                tx, user, offer.ticket, response, "phone", people.now
            )
        )
    assert "format" in refused.value.reason


def test_a_passkey_belongs_to_one_user_and_there_are_ten_at_most(
    people: People,
) -> None:
    people.member()
    people.member("bob")
    for number in range(PASSKEYS_PER_USER_MAX):
        authenticator = people.add_passkey("alice", number)
    with pytest.raises(PeerError, match="already"):
        people.add_passkey("alice", 99)
    user = people.user("bob")
    offer = people.database.write(
        lambda tx: people.enrolment.offer(tx, user, people.now)
    )
    response = authenticator.create(offer.passkey_options)
    with pytest.raises(BadPasskey):
        people.database.write(
            lambda tx: people.enrolment.add_passkey(
                tx, user, offer.ticket, response, "phone", people.now
            )
        )


@pytest.mark.parametrize("label", ["", "x" * 65, "a\nb", "\u202e"])
def test_a_label_can_be_shown(people: People, label: str) -> None:
    people.member()
    with pytest.raises(PeerError, match="name"):
        people.database.write(
            lambda tx: people.stores.passkeys.register(
                tx, people.user(), bytes(32), "{}", label, people.now
            )
        )


def test_step_up_takes_the_users_own_passkey(people: People) -> None:
    people.member()
    people.member("bob")
    own, other = people.add_passkey(), people.add_passkey("bob")
    session = people.log_in().session
    people.wait(timedelta(minutes=6))

    def step_up(authenticator: Authenticator) -> Failure | None:
        begun = begin(people)
        answer = authenticator.get(begun.passkey_options)
        return people.database.write(
            lambda tx: people.login.step_up_with_passkey(
                tx, session, begun.ticket, answer, people.now
            )
        )

    assert step_up(other) == Failure(Reason.WRONG_PASSKEY, "alice")
    assert step_up(own) is None


def test_a_party_is_reached_by_https() -> None:
    assert RelyingParty(HOST, (ORIGIN,))
    with pytest.raises(Misconfigured):
        RelyingParty(HOST, ("http://pacs.example",))
    with pytest.raises(Misconfigured):
        RelyingParty(HOST, ())
