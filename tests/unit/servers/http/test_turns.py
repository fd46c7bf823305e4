"""Turns: so many at once, and nobody waits for ever."""

import pytest

from leadglass.servers.http.turns import Turns


def test_one_too_many_is_told_and_the_next_has_the_turn_that_came_back() -> None:
    turns = Turns(2, wait_s=0.01)
    with turns.turn():
        with turns.turn(), pytest.raises(TimeoutError), turns.turn():
            raise AssertionError("three at once")
        with turns.turn():
            pass


def test_a_turn_comes_back_from_who_failed() -> None:
    turns = Turns(1, wait_s=0.01)
    for _ in range(3):
        with pytest.raises(KeyError), turns.turn():
            raise KeyError
