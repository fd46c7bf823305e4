"""The table of controls as values; ``controls.toml`` holds it."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Final

from leadglass.errors import BadData

_FILE: Final = "controls.toml"


class Kind(StrEnum):
    """How a control is shown to hold."""

    AUTOMATIC = "automatic"
    HYBRID = "hybrid"
    ATTESTED = "attested"


class Profile(StrEnum):
    """Which text the report cites."""

    IN_FORCE = "in-force"  # 45 CFR 164 as it stands
    PROPOSED = "proposed-2025"  # 90 FR 898, which is not in force


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """One control.

    Attributes:
        id: ``CC-01`` and so on.
        title: What it asks for, in one line.
        kind: How it is shown.
        rule: Clauses in force, with R (required) or A (addressable) where they say so.
        proposed: Clauses of the rule that is proposed; ``(u)``: not verified.
        csf: NIST CSF 1.1.
        sp800_53: NIST SP 800-53 revision 5.
        probes: What answers it: names of experiments (``E1``) and of checks.
        document: What somebody has to vouch for; "" for none.
        answers: Questions that it answers.
    """

    id: str
    title: str
    kind: Kind
    rule: tuple[str, ...] = ()
    proposed: tuple[str, ...] = ()
    csf: tuple[str, ...] = ()
    sp800_53: tuple[str, ...] = ()
    probes: tuple[str, ...] = ()
    document: str = ""
    answers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if (self.kind is Kind.ATTESTED) == bool(self.probes):
            raise BadData(f"{self.id}: what is attested has no probe, the rest has one")
        if (self.kind is Kind.AUTOMATIC) == bool(self.document):
            raise BadData(f"{self.id}: what is automatic needs no document")

    def clauses(self, profile: Profile) -> tuple[str, ...]:
        """Return the clauses that a report of this profile cites."""
        clauses = self.rule if profile is Profile.IN_FORCE else self.proposed
        return tuple(f"45 CFR 164.{each}" for each in clauses)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All controls, and the questions that they answer.

    Attributes:
        controls: By id, in order.
        questions: By id.
    """

    controls: Mapping[str, Control]
    questions: Mapping[str, str]


@cache
def catalogue() -> Catalogue:
    """Return the table.

    Raises:
        BadData: The file of the package is not the one that was written.
    """
    data = tomllib.loads(
        (files("leadglass.assurance.compliance") / _FILE).read_text("utf-8")
    )
    controls = [_control(each) for each in data["control"]]
    questions: dict[str, str] = data["questions"]
    by_id = {each.id: each for each in controls}
    asked = {answer for each in controls for answer in each.answers}
    if len(by_id) != len(controls) or asked != set(questions):
        raise BadData("an id stands twice, or a question has no answer")
    return Catalogue(MappingProxyType(by_id), MappingProxyType(questions))


def _control(members: Mapping[str, Any]) -> Control:
    lists = ("rule", "proposed", "csf", "sp800_53", "probes", "answers")
    return Control(
        id=members["id"],
        title=members["title"],
        kind=Kind(members["kind"]),
        document=members.get("document", ""),
        **{name: tuple(members.get(name, ())) for name in lists},
    )
