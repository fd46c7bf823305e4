"""The time and the program in front of a line of a log, as loggers write them."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from leadglass.assurance.trails.formats.source import Options, Years
from leadglass.errors import BadData, Misconfigured

_ISO: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:[.,](\d{1,9}))?"
    r"(Z|[+-]\d\d:?\d\d)?[ \t]+"
)
_SYSLOG: Final = re.compile(r"([A-Z][a-z]{2}) {1,2}(\d{1,2}) (\d\d:\d\d:\d\d)[ \t]+")
# What journald and syslog write behind the time: host, program, process.
_PROGRAM: Final = re.compile(r"\S{1,255} [\w./-]{1,64}(?:\[\d{1,10}\])?: ")
_MONTHS: Final = (
    *("Jan", "Feb", "Mar", "Apr", "May", "Jun"),
    *("Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)


@dataclass(frozen=True, slots=True)
class Line:
    """A line without what stands in front of it.

    Attributes:
        time: When it was written; None: it does not say.
        text: The rest.
    """

    time: datetime | None
    text: str


class Stamps:
    """Takes times off lines that come in order."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._years = Years(options)

    def line(self, text: str) -> Line:
        """Return a line; one without a time is returned as it is.

        Raises:
            BadData: There is no such time.
            Misconfigured: It lacks a year or a zone, and none was named.
        """
        if found := _ISO.match(text):
            day, clock, fraction, zone = found.groups()
            try:
                part = f".{(fraction or '0')[:6]:0<6}"
                time = datetime.fromisoformat(f"{day}T{clock}{part}{zone or ''}")
            except ValueError as error:
                raise BadData("no such day or time") from error
            moment: datetime | None = self._options.aware(time)
        elif (found := _SYSLOG.match(text)) and found[1] in _MONTHS:
            month = _MONTHS.index(found[1]) + 1
            moment = self._years.dated(month, int(found[2]), found[3])
        else:
            return Line(None, text)
        rest = text[found.end() :]
        program = _PROGRAM.match(rest)
        return Line(moment, rest[program.end() :] if program else rest)

    def at(self, time: datetime | None, number: int) -> datetime:
        """Return when a line was written; a log without times began when was said.

        Raises:
            Misconfigured: It was not said.
        """
        if time is not None:
            return time
        if self._options.at is None:
            raise Misconfigured(
                "this log has no times; say when it began, as in "
                "--at 2026-01-31T08:00:00+01:00, or have the program write them"
            )
        return self._options.at + timedelta(microseconds=number)
