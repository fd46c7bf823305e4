"""A whole simulation as one stream: what is known, what was done, what was an attack.

Days are made one after the other and forgotten, so that memory does not grow with
them. What is known comes before the facts that need it; a label comes after its last
fact. Facts come in the order in which they were recorded, and are numbered in it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from math import inf
from typing import Final

from leadglass.assurance.simulation import house, light, noise
from leadglass.assurance.simulation.attacks.scene import Scene
from leadglass.assurance.simulation.attacks.scripts import SCRIPTS, Script
from leadglass.assurance.simulation.chance import stream
from leadglass.assurance.simulation.days import Days
from leadglass.assurance.simulation.draft import BENIGN, DAY_S, Draft, Label, subjects
from leadglass.assurance.simulation.hospital import Hospital, Known
from leadglass.assurance.simulation.scale import Scale
from leadglass.assurance.trails.fact import Fact

# Every script happens once in so many days.
AGAIN_DAYS: Final = 14
# Longest that an attack lasts; none begins later than this before the end.
ATTACK_DAYS: Final = 6

Line = Known | Fact | Label


@dataclass(slots=True)
class _Running:
    """An attack that is going on."""

    script: Script
    left: int
    facts: list[Fact] = field(default_factory=list)


class Simulation:
    """One hospital, from the first day to the last."""

    def __init__(self, scale: Scale) -> None:
        self.scale = scale
        self.hospital = Hospital(scale)
        self.day = 0
        self._days = Days(self.hospital)
        self._numbers = count()
        self._running: dict[int, _Running] = {}
        self._carried: list[Draft] = []

    def lines(self) -> Iterator[Line]:
        """Yield everything, once."""
        yield from self.hospital.founding()
        if self.scale.is_light:
            yield from self._light()
            return
        for draft in house.past(self.hospital):
            yield self._fact(draft)
        planned = plan(self.scale)
        for day in range(self.scale.days):
            self.day = day
            yield from self._one_day(planned.get(day, ()))
        yield from self._until(inf)

    def _light(self) -> Iterator[Line]:
        for day in range(self.scale.days):
            self.day = day
            for draft in light.day_of(self.hospital, day):
                yield self._fact(draft)

    def _one_day(self, attacks: tuple[tuple[int, Script], ...]) -> Iterator[Line]:
        days = self._days
        days.make(self.day)
        noise.make(days)
        house.make(days, self.day)
        self._take(days.out)
        for number, script in attacks:
            self._begin(number, script)
        yield from days.news
        yield from self._until((self.day + 1) * DAY_S)

    def _begin(self, number: int, script: Script) -> None:
        chance = stream(self.scale.seed, "attack", number)
        drafts = list(script.act(Scene(self._days, chance, number)))
        if not drafts:
            return  # nobody is left whom it could happen to
        self._running[number] = _Running(script, len(drafts))
        self._take([each._replace(attack=number) for each in drafts])

    def _take(self, drafts: list[Draft]) -> None:
        """Keep drafts until they are recorded; what is before today, is today."""
        start_s = self.day * DAY_S
        self._carried += [
            each if each.at_s >= start_s else each._replace(at_s=start_s)
            for each in drafts
        ]

    def _until(self, end_s: float) -> Iterator[Line]:
        """Yield what is recorded before ``end_s``; keep the rest for the next day."""
        ready = [each for each in self._carried if each.at_s < end_s]
        self._carried = [each for each in self._carried if each.at_s >= end_s]
        ready.sort(key=_at)
        for draft in ready:
            fact = self._fact(draft)
            yield fact
            if draft.attack != BENIGN:
                yield from self._label(draft.attack, fact)

    def _fact(self, draft: Draft) -> Fact:
        return Fact(
            number=next(self._numbers),
            time=self.scale.moment(draft.at_s + draft.skew_s),
            kind=draft.kind,
            **draft.base,
            **draft.fields,
        )

    def _label(self, number: int, fact: Fact) -> Iterator[Label]:
        running = self._running[number]
        running.facts.append(fact)
        running.left -= 1
        if running.left:
            return
        del self._running[number]
        facts = running.facts
        yield Label(
            number=number,
            script=running.script.name,
            rules=running.script.rules,
            who=tuple(dict.fromkeys(name for each in facts for name in subjects(each))),
            begins=min(each.time for each in facts),
            ends=max(each.time for each in facts),
            facts=tuple(each.number for each in facts),
            is_quiet=running.script.is_quiet,
        )


def _at(draft: Draft) -> float:
    return draft.at_s


def plan(scale: Scale) -> dict[int, tuple[tuple[int, Script], ...]]:
    """Return on which day which attacks begin, by day."""
    chance = stream(scale.seed, "plan")
    first = int(scale.attacks_begin_s / DAY_S)
    last = max(first, scale.days - 1 - ATTACK_DAYS)
    times = max(1, (last - first + 1) // AGAIN_DAYS)
    planned: dict[int, list[tuple[int, Script]]] = {}
    numbers = count()
    for _ in range(times):
        for script in SCRIPTS:
            day = chance.randint(first, last)
            planned.setdefault(day, []).append((next(numbers), script))
    return {day: tuple(each) for day, each in planned.items()}
