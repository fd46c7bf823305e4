"""Facts before they have a number, and the labels that say what they were part of."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from leadglass.assurance.trails.fact import Fact, Kind
from leadglass.errors import BadData

MINUTE_S: Final = 60.0
HOUR_S: Final = 3_600.0
DAY_S: Final = 86_400.0
# No attack.
BENIGN: Final = -1


class Draft(NamedTuple):
    """One fact to be; tuples, since millions are made.

    Attributes:
        at_s: When it is recorded, in seconds since the simulation begins.
        kind: What.
        base: Who, in fields of ``Fact`` that many drafts share.
        fields: The other fields of ``Fact``.
        attack: Number of the attack that it is part of; never in a fact.
        skew_s: What the clock of the recorder is off by.
    """

    at_s: float
    kind: Kind
    base: Mapping[str, Any]
    fields: Mapping[str, Any]
    attack: int = BENIGN
    skew_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """The truth about one attack, kept apart from the facts.

    Attributes:
        number: Of the attack in its simulation.
        script: Which attack.
        rules: Ids of the rules that ought to find it, the one it was written for first.
        who: Names that its facts bear; AE titles and addresses where they bear none.
        begins: Time of its first fact.
        ends: Time of its last.
        facts: Numbers of its facts.
        is_quiet: Whether who did it took care not to be seen.
    """

    number: int
    script: str
    rules: tuple[str, ...]
    who: tuple[str, ...]
    begins: datetime
    ends: datetime
    facts: tuple[int, ...]
    is_quiet: bool = False

    def __post_init__(self) -> None:
        if not self.rules or not self.facts:
            raise BadData("a label needs the rules that ought to find its facts")

    def members(self) -> dict[str, Any]:
        """Return what stands in the file."""
        return {
            "number": self.number,
            "script": self.script,
            "rules": list(self.rules),
            "who": list(self.who),
            "begins": self.begins.isoformat(),
            "ends": self.ends.isoformat(),
            "facts": list(self.facts),
            "is_quiet": self.is_quiet,
        }

    @classmethod
    def of(cls, members: Mapping[str, Any]) -> "Label":
        """Return the label that ``members`` came from.

        Raises:
            BadData: They are not those of a label.
        """
        try:
            return cls(
                number=int(members["number"]),
                script=str(members["script"]),
                rules=tuple(map(str, members["rules"])),
                who=tuple(map(str, members["who"])),
                begins=datetime.fromisoformat(members["begins"]),
                ends=datetime.fromisoformat(members["ends"]),
                facts=tuple(map(int, members["facts"])),
                is_quiet=bool(members["is_quiet"]),
            )
        except (LookupError, ValueError, TypeError) as error:
            raise BadData("not a label") from error


def subjects(fact: Fact) -> tuple[str, ...]:
    """Return by which names a fact says who it was."""
    return tuple(
        dict.fromkeys(each for each in (fact.who, fact.ae_title, fact.address) if each)
    )
