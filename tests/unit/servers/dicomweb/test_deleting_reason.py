"""The reason of a deletion, as strangers may send it."""

import pytest

from leadglass.errors import BadData
from leadglass.servers.dicomweb.deleting import _reason


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("asked%20for", "asked for"),
        ("gel%C3%B6scht", "gelöscht"),
        ("100%", "100%"),
    ],
)
def test_a_reason_is_read(header: str, reason: str) -> None:
    assert _reason(header) == reason


@pytest.mark.parametrize(
    "header",
    [
        "a%0Ab",  # another line in a log
        "a%00b",
        "a%E2%80%AEb",  # right to left from here
        "a%1B%5B2Jb",  # clears a terminal
        "%FF",
        "%C0%8A",  # a line feed, overlong
        "%ED%A0%80",  # half of a pair
        "a" * 3001,
    ],
)
def test_a_reason_that_would_harm_a_reader_is_refused(header: str) -> None:
    with pytest.raises(BadData):
        _reason(header)
