"""Millions of ordinary facts, quickly: for measuring stores and questions, not rules.

Patients, people and addresses are those of the hospital; who looks at whom is drawn
without a reason, so nothing of it explains itself and no attack is among it.
"""

from collections.abc import Iterator
from typing import Final

from leadglass.assurance.simulation import acts
from leadglass.assurance.simulation.chance import stream
from leadglass.assurance.simulation.draft import DAY_S, Draft
from leadglass.assurance.simulation.hospital import Hospital

# Facts of a day for each bed: about what a hospital without this shortcut has.
FACTS_PER_BED: Final = 20
# Of all facts: questions, views, what was shown; the rest comes in.
_QUERIES: Final = 0.25
_VIEWS: Final = 0.6
_SHOWN: Final = 0.95


def day_of(hospital: Hospital, day: int) -> Iterator[Draft]:
    """Yield the facts of a day, in order."""
    chance = stream(hospital.scale.seed, "light", day)
    bases = [each.base for each in hospital.on_duty(day).sessions]
    cases = list(hospital.patients.remembered)
    devices = hospital.modalities
    many = hospital.scale.beds * FACTS_PER_BED
    draw, at_s = chance.random, day * DAY_S
    for _ in range(many):
        at_s += 2 * draw() * DAY_S / many
        case, kind = cases[int(draw() * len(cases))], draw()
        exam = case.exams[0]
        base = bases[int(draw() * len(bases))]
        if kind < _QUERIES:
            yield acts.query(at_s, base, (case,), acts.BY_ID)
        elif kind < _VIEWS:
            yield acts.view(at_s, base, exam)
        elif kind < _SHOWN:
            yield acts.shown(at_s, base, exam, exam.images)
        else:
            device = devices[int(draw() * len(devices))]
            yield acts.store(at_s, device.base, exam, exam.images)
