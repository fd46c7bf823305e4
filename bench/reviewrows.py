"""The rows of the review: what its rules find in hospitals that nobody has seen before.

Each sample is another hospital, by a seed that nobody chose; the seeds are printed, so
that a bad one can be looked at again with ``leadglass simulate``.
"""

import io
import os
import secrets
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from bench.measuring import Bench, Sample, result, say
from bench.process import BenchError, Stopwatch
from bench.results import OURS, Goal, Result
from leadglass.assurance.simulation import dialects
from leadglass.assurance.simulation.judging import Judgement, trial
from leadglass.assurance.simulation.scale import Scale
from leadglass.assurance.simulation.simulation import Line, Simulation
from leadglass.assurance.trails.fact import Fact
from leadglass.assurance.trails.formats import FORMATS
from leadglass.assurance.trails.formats.source import Options

SEEDS = 10**9

# What is promised, how it is measured, and whether more is better.
PROMISES: Sequence[tuple[str, str, Callable[[Judgement], float], Goal]] = (
    (
        "Attacks found by a rule that ought to",
        "%",
        lambda each: 100 * each.recall,
        Goal("≥ 90 %", is_minimum=True, bound=90, reference=None),
    ),
    (
        "Alerts for 1,000 accesses, true and false",
        "",
        lambda each: each.alerts_per_1000,
        Goal("≤ 5", is_minimum=False, bound=5, reference=None),
    ),
    (
        "Ordinary looks at images that a relation explains",
        "%",
        lambda each: 100 * each.explained_share,
        Goal("≥ 90 %", is_minimum=True, bound=90, reference=None),
    ),
)


def review(bench: Bench) -> list[Result]:
    """Simulate hospitals and judge the rules by them."""
    judgements, others = [], []
    for _ in range(max(3, bench.sizes.repeats)):
        seed = secrets.randbelow(SEEDS)
        scale = Scale(
            seed=seed, beds=bench.sizes.review_beds, days=bench.sizes.review_days
        )
        watch = Stopwatch(os.getpid())
        judged = trial(Simulation(scale).lines())
        others.append(watch.stop().foreign_cores)
        judgements.append(judged)
        say(
            f"seed {seed:9}: {judged.found} of {judged.scripts} attacks, "
            f"{judged.quiet_found} of {judged.quiet} quiet ones, "
            f"{judged.alerts_per_1000:.2f} alerts for 1,000 of {judged.accesses:,} "
            f"accesses, {100 * judged.explained_share:.1f} % explained; "
            f"missed: {', '.join(judged.missed) or 'none'}"
        )
    tell_rules(judgements)
    watch = Stopwatch(os.getpid())
    carried = trial(through_messages(Simulation(scale).lines()))
    cores = watch.stop().foreign_cores
    say(f"as audit messages: missed: {', '.join(carried.missed) or 'none'}")
    size = f"{bench.sizes.review_beds} beds, {bench.sizes.review_days} days"
    return [
        result(
            "review",
            f"{title} ({size}, seeds by chance)",
            unit,
            goal,
            {
                OURS: [
                    Sample(value(each), cores)
                    for each, cores in zip(judgements, others, strict=True)
                ]
            },
        )
        for title, unit, value, goal in PROMISES
    ] + [
        result(
            "review",
            f"Attacks found in the audit messages of one of them ({size})",
            "%",
            PROMISES[0][-1],
            {OURS: [Sample(100 * carried.recall, cores)]},
        )
    ]


def through_messages(lines: Iterator[Line]) -> Iterator[Line]:
    """Send each fact as a message of another archive, and read it again."""
    for line in lines:
        if not isinstance(line, Fact):
            yield line
            continue
        text = "\n".join(dialects.atna(iter((line,)))).encode()
        (read,) = FORMATS["atna"].read(io.BytesIO(text), Options())
        if not isinstance(read, Fact):
            message = "a message of the simulation cannot be read"
            raise BenchError(message)
        yield replace(read, number=line.number)


def tell_rules(judgements: Sequence[Judgement]) -> None:
    """Print what each rule did in all hospitals together."""
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for judgement in judgements:
        for rule in judgement.rules:
            counts = (rule.alerts, rule.true, rule.scripts, rule.found)
            sums[rule.rule] = [
                a + b for a, b in zip(sums[rule.rule], counts, strict=True)
            ]
    say("rule    alerts  precision  attacks  recall")
    for name, (alerts, true, scripts, found) in sorted(sums.items()):
        precision = f"{true / alerts:9.2f}" if alerts else "        –"
        recall = f"{found / scripts:6.2f}" if scripts else "     –"
        say(f"{name:6} {alerts:7}  {precision}  {scripts:7}  {recall}")
