"""Reports as PDF."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leadglass.assurance.printing import (
    ROWS_MAX,
    TEXT_CHARACTERS_MAX,
    Block,
    Heading,
    Paragraph,
    Table,
    _drawable,
    pdf,
)
from leadglass.errors import BadData


def pages(content: bytes) -> int:
    return len(re.findall(rb"/Type /Page\b", content))


def test_a_report_has_its_pages_and_its_title() -> None:
    rows = [(str(n), "Prüfung · Ωμέγα · Жук") for n in range(200)]
    blocks: list[Block] = [Heading("Part"), Paragraph("Text")]
    content = pdf("A report", [*blocks, Table(("a", "b"), rows)])
    assert content.startswith(b"%PDF-1.")
    assert b"(A report)" in content
    assert pages(content) > 3


def test_the_same_report_is_the_same_bytes() -> None:
    blocks: list[Block] = [Paragraph("one"), Table(("a",), [("b",)], (1,))]
    assert pdf("T", blocks, footer="f") == pdf("T", blocks, footer="f")


@pytest.mark.parametrize(
    "text",
    [
        "<img src='file:///nowhere/picture.png'/>",
        "<b>never closed",
        "</para><a href='javascript:1'>x</a>",
        "&nosuchentity; & < >",
        "\x1b]0;title\x07 \x00 \r\n \u202e",
        "W" * (2 * TEXT_CHARACTERS_MAX),
    ],
)
def test_text_of_strangers_is_text(text: str) -> None:
    table = Table((text, "b"), [(text, text)])
    blocks: list[Block] = [Heading(text), Paragraph(text), table]
    content = pdf(text, blocks, footer=text)
    assert pages(content) >= 1
    assert b"/URI" not in content
    assert b"/JavaScript" not in content


@given(st.text(max_size=60))
@settings(max_examples=40, deadline=None)
def test_any_text_can_be_printed(text: str) -> None:
    assert pdf("T", [Paragraph(text), Table(("a",), [(text,)])]).endswith(b"%%EOF\n")


def test_what_no_font_has_is_told_by_number() -> None:
    assert _drawable("a中b") == "a<U+4E2D>b"


@pytest.mark.parametrize(
    ("columns", "rows", "widths"),
    [
        ((), [], ()),
        (("a",), [("b", "c")], ()),
        (("a",), [("b",)], (1, 2)),
        (("a",), [("b",)], (0,)),
        (("a",), [("b",)] * (ROWS_MAX + 1), ()),
    ],
)
def test_a_table_that_cannot_be_is_none(
    columns: tuple[str, ...], rows: list[tuple[str, ...]], widths: tuple[float, ...]
) -> None:
    with pytest.raises(BadData):
        Table(columns, rows, widths)
