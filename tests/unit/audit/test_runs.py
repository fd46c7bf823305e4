"""Numbers as runs."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leadglass.audit.runs import Runs
from leadglass.errors import BadData

NUMBERS = st.sets(st.integers(0, 300))


@settings(max_examples=50)
@given(NUMBERS, NUMBERS)
def test_they_are_a_set(left: set[int], right: set[int]) -> None:
    one, other = Runs.of_numbers(left), Runs.of_numbers(right)
    assert list(one) == sorted(left)
    assert len(one) == len(left)
    assert bool(one) == bool(left)
    assert list(one | other) == sorted(left | right)
    assert [n for n in range(-1, 302) if n in one] == sorted(left)
    for first, end in ((0, 10), (5, 6), (100, 301)):
        within = set(range(first, end))
        assert one.meets(first, end) == bool(within & left)
        assert one.covers(first, end) == (within <= left)


@settings(max_examples=50)
@given(NUMBERS, st.integers(8, 60))
def test_they_are_written_and_read(numbers: set[int], width: int) -> None:
    runs = Runs.of_numbers(numbers)
    texts = list(runs.texts(width))
    assert all(len(each) <= width for each in texts)
    if runs:
        assert Runs.parse(texts) == runs
        assert Runs.parse([str(runs)]) == runs


def test_both_ends_are_told() -> None:
    assert str(Runs(((0, 1024), (2048, 2049)))) == "0-1023,2048"


@pytest.mark.parametrize(
    "text",
    ["", "a", "-1", "1-", "01", "5-4", "5-5-5", "3,2", "1-5,3", "1,2", " 1", "1" * 21],
)
def test_what_is_malformed_is_refused(text: str) -> None:
    with pytest.raises(BadData):
        Runs.parse([text])
