"""What the readers of foreign logs share: bounded lines, options, times, shown text.

A log file is written by whoever can make the other program log something: every length
is bounded, nothing in it is executed, and what is shown of it has no control character.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from types import MappingProxyType
from typing import BinaryIO, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from leadglass.assurance.trails.fact import TEXT_CHARACTERS_MAX, Fact
from leadglass.errors import BadData, Misconfigured

# One line of a log; audit messages of honest programs have at most 64 KiB.
LINE_BYTES_MAX: Final = 1 << 20
# Shown of a line that could not be read, and how many of them are kept.
SHOWN_CHARACTERS_MAX: Final = 200
SHOWN_MAX: Final = 10
YEAR_MIN, YEAR_MAX = 1993, 2200  # the first year is that of DICOM

_NO_MAPPING: Final[Mapping[str, object]] = MappingProxyType({})


def shown(text: str) -> str:
    """Return a text of a stranger, cut, without what would steer a terminal."""
    cut = text[:SHOWN_CHARACTERS_MAX]
    return "".join(
        each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in cut
    )


def clipped(text: str) -> str:
    """Return a text as a fact holds it."""
    return text[:TEXT_CHARACTERS_MAX]


@dataclass(frozen=True, slots=True)
class Unparsed:
    """Something that could not be read.

    Attributes:
        line: Where it begins, from 1.
        text: Its beginning, shown.
    """

    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Options:
    """What a log does not say itself.

    Attributes:
        zone: Of times without one; None: such times cannot be read.
        year: Of the first line, for times without one.
        at: For logs without any time: everything happened from then on.
        mapping: For tables: which column is what.
    """

    zone: tzinfo | None = None
    year: int | None = None
    at: datetime | None = None
    mapping: Mapping[str, object] = field(default_factory=lambda: _NO_MAPPING)

    def aware(self, time: datetime) -> datetime:
        """Return a moment in UTC.

        Raises:
            Misconfigured: It has no zone, and none was named.
        """
        if time.tzinfo is None:
            if self.zone is None:
                raise Misconfigured(
                    "the times of this log have no zone; name it, as in "
                    "--zone Europe/Berlin"
                )
            time = time.replace(tzinfo=self.zone)
        return time.astimezone(UTC)


Read = Callable[[BinaryIO, Options], Iterator[Fact | Unparsed]]


def zone_of(text: str) -> tzinfo:
    """Return the zone of a name or an offset like ``+02:00``.

    Raises:
        Misconfigured: There is no such zone.
    """
    found = re.fullmatch(r"([+-])(\d\d):(\d\d)", text)
    if found:
        minutes = int(found[2]) * 60 + int(found[3])
        if minutes < 24 * 60:
            return timezone(timedelta(minutes=minutes if found[1] == "+" else -minutes))
    try:
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise Misconfigured(
            f"--zone {shown(text)}: no such zone; write Europe/Berlin or +02:00"
        ) from None


def lines(stream: BinaryIO) -> Iterator[tuple[int, str | Unparsed]]:
    """Yield (number from 1, line without its end), each of bounded length."""
    number = 0
    while line := stream.readline(LINE_BYTES_MAX + 1):
        number += 1
        is_too_long = len(line) > LINE_BYTES_MAX
        text = line.rstrip(b"\r\n").decode("utf-8", "replace")
        while len(line) > LINE_BYTES_MAX and not line.endswith(b"\n"):
            line = stream.readline(LINE_BYTES_MAX + 1)
        if is_too_long:
            yield number, Unparsed(number, shown(text))
        else:
            yield number, text.removeprefix("\ufeff") if number == 1 else text


class Years:
    """Puts years to times that come in order and have none."""

    # A time so far before the last one is of the next year, not a line out of order.
    _TURN: Final = timedelta(days=180)

    def __init__(self, options: Options) -> None:
        self._options = options
        self._last: datetime | None = None

    def dated(self, month: int, day: int, clock: str) -> datetime:
        """Return the moment of a time like ``12:34:56.789``.

        Raises:
            Misconfigured: No year was named.
            BadData: There is no such day or time.
        """
        year = self._options.year if self._last is None else self._last.year
        if year is None:
            raise Misconfigured(
                "the times of this log have no year; name that of its first line, as "
                "in --year 2026"
            )
        found = self._moment(year, month, day, clock)
        if self._last is not None and self._last - found > self._TURN:
            found = self._moment(year + 1, month, day, clock)
        self._last = found
        return self._options.aware(found)

    @staticmethod
    def _moment(year: int, month: int, day: int, clock: str) -> datetime:
        try:
            return datetime.fromisoformat(f"{year:04}-{month:02}-{day:02}T{clock}")
        except ValueError as error:
            raise BadData("no such day or time") from error
