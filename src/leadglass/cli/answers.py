"""What a command answers, and how it is printed: for eyes, for pipes, for scripts.

One answer has two forms that say the same: ``data`` for ``--json`` and ``text`` for
people. Text of strangers (names in images, for instance) is printed without control
characters, which could otherwise steer a terminal.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, TextIO

_BINARY_STEP: Final = 1024.0
_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under headings: drawn on a terminal, tab-separated in a pipe."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The outcome of a command.

    Attributes:
        data: The object that ``--json`` prints; its keys are a contract.
        text: Lines and tables for people.
        exit_code: 0 unless what was found is a failure (damage, problems).
    """

    data: Mapping[str, Any]
    text: tuple[str | Table, ...] = field(default=())
    exit_code: int = 0


def show(answer: Answer, stream: TextIO, *, as_json: bool) -> None:
    """Print an answer."""
    if as_json:
        # ASCII only: no encoding of any terminal or pipe can spoil it.
        stream.write(json.dumps(answer.data) + "\n")
        stream.flush()
        return
    for part in answer.text:
        if isinstance(part, str):
            stream.write(printable(part) + "\n")
        elif stream.isatty():
            _draw(part, stream)
        else:
            stream.writelines(
                "\t".join(printable(cell) for cell in row) + "\n" for row in part.rows
            )
    stream.flush()


def _draw(table: Table, stream: TextIO) -> None:
    # A terminal is there, so a person waits: only then is it worth its 0.1 s.
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table as Drawn  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    drawn = Drawn(box=None, pad_edge=False, header_style="bold")
    for column in table.columns:
        drawn.add_column(column, overflow="fold")
    for row in table.rows:
        drawn.add_row(*(Text(printable(cell)) for cell in row))
    Console(file=stream).print(drawn)


def printable(text: str) -> str:
    """Return text without what would steer a terminal or break a row."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text
    )


def size_text(count: int) -> str:
    """Return a number of bytes for eyes."""
    size = float(count)
    for unit in _UNITS:
        if size < _BINARY_STEP or unit == _UNITS[-1]:
            break
        size /= _BINARY_STEP
    return f"{count} B" if unit == "B" else f"{size:.1f} {unit}"


def time_text(time: datetime | None) -> str:
    """Return a moment as ISO 8601 with its zone, to the second; ``""`` for none."""
    return "" if time is None else time.isoformat(timespec="seconds")


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return ``1 study``, ``2 studies``."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


def indented(lines: Iterable[str]) -> tuple[str, ...]:
    """Return lines that belong to the one before."""
    return tuple(f"  {line}" for line in lines)
