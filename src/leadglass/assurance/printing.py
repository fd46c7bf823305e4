"""Reports as PDF: a title, paragraphs and tables on numbered A4 pages.

Every text is data: reportlab reads markup in paragraphs (it would even fetch
pictures), so nothing reaches it unescaped. The same blocks give the same bytes, which
is what a signature under a report needs.
"""

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import reportlab
from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase.pdfmetrics import getFont, registerFont
from reportlab.pdfbase.ttfonts import TTFError, TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Flowable, LongTable, SimpleDocTemplate, Spacer
from reportlab.platypus import Paragraph as _Flowing

from leadglass.errors import BadData

# A cell is a paragraph; what is longer belongs in the JSON beside the report.
TEXT_CHARACTERS_MAX: Final = 4_000
# 20,000 rows are some 500 pages: nobody prints more, and memory stays below 1 GiB.
ROWS_MAX: Final = 20_000
COLUMNS_MAX: Final = 12
# Headings are repeated on each page and cannot be split: they must leave it room.
HEAD_CHARACTERS_MAX: Final = 80

_MARGIN: Final = 18 * mm
_WIDTH: Final = A4[0] - 2 * _MARGIN
_INK: Final = HexColor("#1a1a1a")
_PALE: Final = HexColor("#eef1f4")
_LINE: Final = HexColor("#b8c0c8")
_CUT: Final = "\N{HORIZONTAL ELLIPSIS}"
# Debian's font has Greek, Cyrillic and more; the library's own is Latin alone.
_FONTS: Final = (
    (Path("/usr/share/fonts/truetype/dejavu"), "DejaVuSans", "DejaVuSans-Bold"),
    (Path(reportlab.__file__).parent / "fonts", "Vera", "VeraBd"),
)


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading inside the report."""

    text: str


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Text that flows."""

    text: str
    is_small: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under headings that are repeated on each page.

    Attributes:
        columns: Headings.
        rows: As many cells each.
        widths: Shares of the width, such as ``(1, 3, 2)``; empty: all alike.
    """

    columns: tuple[str, ...]
    rows: Sequence[Sequence[str]]
    widths: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= len(self.columns) <= COLUMNS_MAX or len(self.rows) > ROWS_MAX:
            raise BadData("a table that no page could hold")
        if any(len(row) != len(self.columns) for row in self.rows):
            raise BadData("a row has other cells than its table has columns")
        if self.widths and (
            len(self.widths) != len(self.columns) or min(self.widths) <= 0
        ):
            raise BadData("a width for each column, or none")


Block = Heading | Paragraph | Table


def pdf(title: str, blocks: Iterable[Block], *, footer: str = "") -> bytes:
    """Return a report as PDF.

    Args:
        title: Of the document; also in its properties.
        blocks: What it says, in this order.
        footer: Left of the page number on each page: of what, from when.

    Raises:
        BadData: A table is larger than a report may be.
    """
    styles = _styles()
    story: list[Flowable] = [_flowing(title, styles["title"])]
    for block in blocks:
        story += _flowables(block, styles)
    out = BytesIO()
    document = SimpleDocTemplate(
        out, pagesize=A4, title=_plain(title), author="Leadglass",
        leftMargin=_MARGIN, rightMargin=_MARGIN, topMargin=_MARGIN,
        bottomMargin=_MARGIN,
        # No date and no random identifier: the same report is the same bytes.
        invariant=1,
    )  # fmt: skip

    def number(canvas: Canvas, page: Any) -> None:
        canvas.setFont(_fonts()[0], 7)
        canvas.setFillColor(_INK)
        left = _drawable(_plain(footer))[:120]
        canvas.drawString(_MARGIN, 10 * mm, left)
        canvas.drawRightString(A4[0] - _MARGIN, 10 * mm, str(page.page))

    document.build(story, onFirstPage=number, onLaterPages=number)
    return out.getvalue()


def _flowables(block: Block, styles: dict[str, ParagraphStyle]) -> list[Flowable]:
    if isinstance(block, Heading):
        return [_flowing(block.text, styles["heading"])]
    if isinstance(block, Paragraph):
        return [_flowing(block.text, styles["small" if block.is_small else "text"])]
    shares = block.widths or (1.0,) * len(block.columns)
    table = LongTable(
        [
            [
                _flowing(each[:HEAD_CHARACTERS_MAX], styles["head"])
                for each in block.columns
            ],
            *([_flowing(cell, styles["cell"]) for cell in row] for row in block.rows),
        ],
        colWidths=[_WIDTH * each / sum(shares) for each in shares],
        repeatRows=1,
        # A row that is taller than a page goes on overleaf instead of failing.
        splitInRow=1,
        style=[
            ("VALIGN", (0, 0), (-1, -1), "TOP"),
            ("BACKGROUND", (0, 0), (-1, 0), _PALE),
            ("LINEBELOW", (0, 0), (-1, -1), 0.4, _LINE),
            ("LEFTPADDING", (0, 0), (-1, -1), 3),
            ("RIGHTPADDING", (0, 0), (-1, -1), 3),
        ],
    )
    return [table, Spacer(0, 4 * mm)]


def _flowing(text: str, style: ParagraphStyle) -> Flowable:
    lines = html.escape(_drawable(_plain(text))).split("\n")
    return _Flowing("<br/>".join(lines), style)


def _plain(text: str) -> str:
    """Return text without controls, cut where it would be a dump."""
    if len(text) > TEXT_CHARACTERS_MAX:
        text = text[: TEXT_CHARACTERS_MAX - 1] + _CUT
    return "".join(
        each if each.isprintable() or each == "\n" else "\N{REPLACEMENT CHARACTER}"
        for each in text
    )


def _drawable(text: str) -> str:
    """Write a character that no font here has by its number, not as an empty box."""
    if text.isascii():
        return text
    known = getFont(_fonts()[0]).face.charToGlyph
    return "".join(
        each if each == "\n" or ord(each) in known else f"<U+{ord(each):04X}>"
        for each in text
    )


@cache
def _fonts() -> tuple[str, str]:
    """Register and return the names of the upright and the bold font.

    Raises:
        BadData: Not even the library's own can be read.
    """
    for folder, *names in _FONTS:
        try:
            for name in names:
                registerFont(TTFont(name, folder / f"{name}.ttf"))
        except (TTFError, OSError):
            continue
        return names[0], names[1]
    raise BadData("no font to print with")


def _styles() -> dict[str, ParagraphStyle]:
    upright, bold = _fonts()

    def style(name: str, font: str, size: float, before: float) -> ParagraphStyle:
        return ParagraphStyle(
            name, fontName=font, fontSize=size, leading=size * 1.3, textColor=_INK,
            spaceBefore=before * mm, spaceAfter=1.5 * mm, splitLongWords=1,
        )  # fmt: skip

    cell = style("cell", upright, 7.5, 0)
    head = style("head", bold, 7.5, 0)
    cell.spaceAfter = head.spaceAfter = 0
    return {
        "title": style("title", bold, 17, 0),
        "heading": style("heading", bold, 11.5, 4),
        "text": style("text", upright, 9, 0),
        "small": style("small", upright, 7.5, 0),
        "cell": cell,
        "head": head,
    }
