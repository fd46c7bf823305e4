"""Answers: one for scripts, one for pipes, one for eyes."""

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadglass.cli.answers import (
    Answer,
    Table,
    counted,
    printable,
    show,
    size_text,
)

ANSWER = Answer(
    data={"studies": 1, "items": [{"name": "Müller\x1b[2J"}]},
    text=("one\x07 study", Table(("ID", "NAME"), (("1", "Müller\x1b[2J"),))),
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(stream: io.StringIO, *, as_json: bool) -> str:
    show(ANSWER, stream, as_json=as_json)
    return stream.getvalue()


def test_json_is_one_line_of_ascii() -> None:
    text = shown(io.StringIO(), as_json=True)
    assert text.isascii()
    assert text.count("\n") == 1
    assert json.loads(text) == ANSWER.data


def test_a_pipe_gets_tabs_and_no_headings() -> None:
    text = shown(io.StringIO(), as_json=False)
    assert text == "one� study\n1\tMüller�[2J\n"


def test_a_terminal_gets_a_table_and_no_control_characters() -> None:
    text = shown(Terminal(), as_json=False)
    assert "NAME" in text
    assert "Müller" in text
    assert "\x07" not in text
    assert "\x1b[2J" not in text


@given(st.text())
def test_nothing_printed_steers_a_terminal(text: str) -> None:
    found = printable(text)
    assert found.isprintable() or "\N{REPLACEMENT CHARACTER}" in found
    assert not any(each < " " or "\x7f" <= each < "\xa0" for each in found)


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (2**50, "1024.0 TiB")],
)
def test_sizes(count: int, text: str) -> None:
    assert size_text(count) == text


def test_counts() -> None:
    assert counted(1, "study", "studies") == "1 study"
    assert counted(2, "study", "studies") == "2 studies"
    assert counted(0, "file") == "0 files"
