"""Patterns from an enemy: what a key costs is bounded by its length and the value's."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadglass.dicom.matching import matches, parse_key, wildcard_expression

# Short values, so that the plain reading with its backtracking is quick enough.
PATTERNS = st.text("ab*?.\n", max_size=8)
TEXTS = st.text("ab.\n", max_size=10)


@given(PATTERNS, TEXTS)
def test_the_quick_reading_is_the_plain_one(pattern: str, text: str) -> None:
    plain = "".join(
        ".*" if c == "*" else "." if c == "?" else re.escape(c) for c in pattern
    )
    is_match = re.fullmatch(plain, text, re.DOTALL) is not None
    assert (wildcard_expression(pattern).fullmatch(text) is not None) == is_match


@pytest.mark.parametrize("vr", ["LO", "PN"])
@pytest.mark.parametrize(
    "pattern", ["*a" * 32 + "b", "*?" * 32 + "b", "a*" * 32 + "?b"]
)
def test_no_pattern_takes_long(vr: str, pattern: str) -> None:
    begin = time.process_time()
    assert not matches(parse_key(vr, [pattern]), vr, ["a" * 1_000])
    assert time.process_time() - begin < 1.0
