"""A check as a row of the table."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from leadglass.assurance.exposure.service import Service
from leadglass.assurance.finding import Severity
from leadglass.errors import BadData


class Level(StrEnum):
    """How far a check goes."""

    PASSIVE = "P"
    SAFE = "S"
    INTRUSIVE = "I"


NO_DETAILS: Final[Mapping[str, Any]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Sighting:
    """What a check saw.

    Attributes:
        evidence: Without data of patients.
        severity: If other than the check's; where anyone can come from.
        title: If other than the check's.
        details: Flat values for programs.
    """

    evidence: str
    severity: Severity | None = None
    title: str = ""
    details: Mapping[str, Any] = field(default_factory=lambda: NO_DETAILS)


Run = Callable[[Service], Iterator[Sighting]]


@dataclass(frozen=True, slots=True)
class Check:
    """One row.

    Attributes:
        id: As in reports, such as ``DM-02``.
        level: How far it goes.
        severity: On the Internet; milder where fewer can come.
        title: What is wrong, in one line.
        sends: What it sends.
        remedy: What to do about it, whatever the product.
        references: Clauses.
        run: Yields what it sees.
        needs: What the user must say for it to be made; "" for nothing.
    """

    id: str
    level: Level
    severity: Severity
    title: str
    sends: str
    remedy: str
    references: tuple[str, ...]
    run: Run
    needs: str = ""

    def __post_init__(self) -> None:
        if not (self.id and self.title and self.sends and self.remedy):
            raise BadData("a check says what it sends and what to do")
