"""Which passwords are taken, how they are kept, what a guess costs."""

from threading import Barrier, Thread

import pytest
from argon2 import extract_parameters
from hypothesis import given, settings
from hypothesis import strategies as st

from leadglass.errors import Damaged, PeerError, Unavailable
from leadglass.identity.people.passwords import (
    CHARACTERS_MAX,
    CHARACTERS_MIN,
    Parameters,
    Passwords,
    normalise,
)
from tests.unit.identity.people.surroundings import CHEAP, PASSWORD


class Knows:
    """A list of one password."""

    def __init__(self, password: str) -> None:
        self._password = password

    def knows(self, password: str) -> bool:
        return password == self._password


def test_the_default_costs_what_owasp_asks_for() -> None:
    parameters = extract_parameters(Passwords().prepare(PASSWORD))
    assert parameters.type.name == "ID"
    assert parameters.memory_cost == 19_456
    assert parameters.time_cost == 2


def test_a_password_is_verified_and_no_other() -> None:
    passwords = Passwords(parameters=CHEAP)
    stored = passwords.prepare(PASSWORD)
    assert PASSWORD not in stored
    assert passwords.verify(PASSWORD, stored).is_right
    for wrong in ("", PASSWORD + " ", PASSWORD[:-1], "\x00", "\ud800", "x" * 10_000):
        assert not passwords.verify(wrong, stored).is_right
        assert not passwords.verify(wrong, None).is_right
    assert not passwords.verify(PASSWORD, None).is_right


def test_the_same_text_from_another_keyboard_is_the_same_password() -> None:
    passwords = Passwords(parameters=CHEAP)
    stored = passwords.prepare("gru\u0308n wie der Wald im Mai")
    assert passwords.verify("gr\u00fcn wie der Wald im Mai", stored).is_right


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("x1y2z3a4b5c", "at least"),
        ("x1y2z3" * 60, "longer"),
        ("\ufdfa" * 30, "longer"),  # one character becomes eighteen
        ("line\nbreak in the midst", "cannot be"),
        ("half a \ud800 surrogate", "cannot be"),
        ("aaaaaaaaaaaaaaaa", "guessed"),
        ("abababababababab", "guessed"),
        ("123456789012", "guessed"),
        ("098765432109", "guessed"),
        ("qwertyuiopasdf", "guessed"),
        ("abcdefghijklmnop", "guessed"),
        ("alice.smith2026", "guessed"),
        ("SMITH_alice!!!1", "guessed"),
        ("htims.ecila.1234", "guessed"),
        ("Leadglass2026!", "guessed"),
        ("passwordpassword", "guessed"),
        ("known to everybody", "list"),
    ],
)
def test_what_others_know_or_guess_is_not_taken(password: str, why: str) -> None:
    passwords = Passwords(Knows("known to everybody"), CHEAP)
    with pytest.raises(PeerError, match=why) as refused:
        passwords.prepare(password, ["alice.smith", "Alice Smith"])
    assert password not in str(refused.value)


@pytest.mark.parametrize(
    "password",
    [
        "alice met a tired walrus",
        "nur kleine worte ohne ziffern",
        "日本語の長い合い言葉です本当",
    ],
)
def test_long_is_enough(password: str) -> None:
    assert Passwords(parameters=CHEAP).prepare(password, ["alice"])


def test_a_cheap_hash_is_replaced_when_the_price_rises() -> None:
    stored = Passwords(parameters=CHEAP).prepare(PASSWORD)
    dearer = Passwords(parameters=Parameters(memory_kib=16, passes=2))
    verdict = dearer.verify(PASSWORD, stored)
    assert verdict.new_hash is not None
    assert dearer.verify(PASSWORD, verdict.new_hash) == type(verdict)(is_right=True)
    assert dearer.verify("something else", stored).new_hash is None


@given(st.text(max_size=60))
@settings(max_examples=30)
def test_what_is_no_hash_is_damage(text: str) -> None:
    for stored in (text, f"$argon2id$v=19$m=8,t=1,p=1${text}"):
        with pytest.raises(Damaged):
            Passwords(parameters=CHEAP).verify(PASSWORD, stored)


@given(st.text(min_size=CHARACTERS_MIN, max_size=CHARACTERS_MAX + 10))
@settings(max_examples=50)
def test_normalising_is_bounded_and_stable(text: str) -> None:
    try:
        normal = normalise(text)
    except PeerError:
        return
    assert len(normal) <= CHARACTERS_MAX
    assert normalise(normal) == normal


def test_no_more_at_once_than_there_is_memory_for() -> None:
    passwords = Passwords(parameters=CHEAP, at_once_max=1, turn_wait_s=0.01)
    inside, leave = Barrier(2), Barrier(2)

    def hold() -> None:
        with passwords.turn():
            inside.wait(10)
            leave.wait(10)

    holder = Thread(target=hold)
    holder.start()
    inside.wait(10)
    with pytest.raises(Unavailable):
        passwords.verify(PASSWORD, None)
    leave.wait(10)
    holder.join(10)
    assert not passwords.verify(PASSWORD, None).is_right
