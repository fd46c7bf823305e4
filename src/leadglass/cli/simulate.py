"""``leadglass simulate``: an invented hospital, and the review judged by it."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import (
    AbstractContextManager,
    ExitStack,
    contextmanager,
    nullcontext,
)
from math import isfinite, nan
from pathlib import Path
from typing import Final, TextIO

from leadglass.assurance.review.look import Settings
from leadglass.assurance.review.rules.table import BY_ID
from leadglass.assurance.simulation import lines
from leadglass.assurance.simulation.dialects import DIALECTS
from leadglass.assurance.simulation.draft import Label
from leadglass.assurance.simulation.feeds import feeds
from leadglass.assurance.simulation.hospital import Known
from leadglass.assurance.simulation.judging import Judgement, trial
from leadglass.assurance.simulation.scale import Scale
from leadglass.assurance.simulation.simulation import Line, Simulation
from leadglass.assurance.trails.fact import Fact
from leadglass.cli.answers import Answer, Table, counted
from leadglass.cli.failures import UsageError
from leadglass.cli.progress import progress
from leadglass.cli.session import Session
from leadglass.errors import NotFound, Unavailable

# The dialect that has the truth in it.
OWN: Final = "jsonl"
# A seed that nobody chose; small enough to be typed again.
_SEEDS: Final = 10**9
# So seldom is the bar drawn anew.
_DRAWN_EVERY: Final = 20_000


def hospital(session: Session) -> Answer:
    """Write what happened in a hospital that does not exist."""
    asked = session.arguments
    seed = secrets.randbelow(_SEEDS) if asked.seed is None else asked.seed
    scale = Scale(seed=seed, beds=asked.beds, days=asked.days, is_light=asked.light)
    simulation = Simulation(scale)
    counts = {"facts": 0, "attacks": 0, "lines": 0}
    with ExitStack() as stack:
        stream = stack.enter_context(_new(Path(asked.out)))
        update = stack.enter_context(progress("simulating days"))

        feed = stack.enter_context(_feeds(asked.feeds))

        def counted_lines() -> Iterator[Line]:
            for line in simulation.lines():
                if isinstance(line, Fact):
                    counts["facts"] += 1
                elif isinstance(line, Label):
                    counts["attacks"] += 1
                else:
                    feed(line)
                yield line

        for _ in _written(counted_lines(), scale, stream, asked.dialect):
            counts["lines"] += 1
            if counts["lines"] % _DRAWN_EVERY == 0:
                update(simulation.day, scale.days)
    data = {
        "seed": seed, "beds": scale.beds, "days": scale.days, **counts,
        "as": asked.dialect, "out": str(asked.out),
    }  # fmt: skip
    told = (
        f"{counted(counts['facts'], 'fact')} of {counted(scale.days, 'day')}",
        f"{counted(counts['attacks'], 'attack')} among them; seed {seed}",
        f"written: {asked.out}",
    )
    return Answer(data=data, text=told)


def _written(
    every: Iterator[Line], scale: Scale, stream: TextIO, dialect: str
) -> Iterator[object]:
    """Write everything, or the facts alone as another program would have."""
    if dialect == OWN:
        yield from lines.write(every, scale, stream)
        return
    facts = (line for line in every if isinstance(line, Fact))
    for text in DIALECTS[dialect](facts):
        stream.write(text + "\n")
        yield text


def _feeds(folder: str | None) -> AbstractContextManager[Callable[[Known], None]]:
    """Return what writes feeds; nothing if no folder is named."""
    return nullcontext(lambda _known: None) if folder is None else _made(Path(folder))


@contextmanager
def _made(folder: Path) -> Iterator[Callable[[Known], None]]:
    try:
        with feeds(folder) as write:
            yield write
    except FileExistsError as error:
        raise UsageError("the folder is there already", "name another") from error


def _new(path: Path) -> TextIO:
    """Open a file that is not there yet.

    Raises:
        UsageError: It is there.
        Unavailable: It cannot be written.
    """
    try:
        return path.open("x", encoding="utf-8", buffering=1 << 20)
    except FileExistsError as error:
        raise UsageError("the file is there already", "name another") from error
    except OSError as error:
        raise Unavailable("the file cannot be written") from error


def judge(session: Session) -> Answer:
    """Show a simulation to the rules, and tell how well they did."""
    path = Path(session.arguments.file)
    settings = Settings(
        thresholds=dict(map(_threshold, session.arguments.threshold)),
        off=frozenset(map(_rule, session.arguments.off)),
    )
    with ExitStack() as stack:
        stream = stack.enter_context(_known(path))
        update = stack.enter_context(progress("judging days"))
        scale, every = lines.read(stream)

        def shown() -> Iterator[Line]:
            for number, line in enumerate(every):
                if number % _DRAWN_EVERY == 0 and isinstance(line, Fact):
                    update(max(0, (line.time - scale.begins).days), scale.days)
                yield line

        judged = trial(shown(), settings)
    return Answer(data=judged.members(), text=(*_summary(judged), _of_rules(judged)))


def _rule(text: str) -> str:
    """Return the id of a rule.

    Raises:
        UsageError: There is none.
    """
    if text not in BY_ID:
        raise UsageError("there is no such rule", "`audit review rules` lists them")
    return text


def _threshold(text: str) -> tuple[str, float]:
    """Return a rule and its threshold.

    Raises:
        UsageError: It is no number, or there is no such rule.
    """
    rule, _, number = text.partition("=")
    try:
        threshold = float(number)
    except ValueError:
        threshold = nan
    if not isfinite(threshold):
        raise UsageError("a threshold is a number", "write it as R-01=3")
    return _rule(rule), threshold


def _summary(judged: Judgement) -> Iterator[str]:
    yield (
        f"{judged.found} of {counted(judged.scripts, 'attack')} found "
        f"(recall {judged.recall:.2f})"
    )
    yield (
        f"{judged.alerts_per_1000:.2f} alerts for each 1,000 of {judged.accesses:,} "
        f"accesses, {judged.false_per_1000:.2f} of them false"
    )
    yield (
        f"{100 * judged.explained_share:.1f} % of {judged.looks:,} ordinary looks "
        "are explained"
    )
    if judged.quiet:
        yield f"{judged.quiet_found} of {judged.quiet} quiet ones as well"
    if judged.missed:
        yield f"missed: {', '.join(sorted(judged.missed))}"


def _of_rules(judged: Judgement) -> Table:
    def share(value: float | None) -> str:
        return "–" if value is None else f"{value:.2f}"

    return Table(
        ("RULE", "ALERTS", "PRECISION", "ATTACKS", "RECALL"),
        tuple(
            (
                *(each.rule, str(each.alerts), share(each.precision)),
                *(str(each.scripts), share(each.recall)),
            )
            for each in judged.rules
        ),
    )


def _known(path: Path) -> TextIO:
    """Open a file of a simulation.

    Raises:
        NotFound: There is none.
    """
    try:
        return path.open(encoding="utf-8", errors="replace")
    except OSError as error:
        raise NotFound("there is no such file that can be read") from error
