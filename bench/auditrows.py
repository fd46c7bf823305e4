"""The rows of the audit record: how long it takes to recompute all of it.

The command is measured as it is typed: a process of its own that opens the node,
reads every record, and records that it did. There is no peer that could be asked.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench import data
from bench.measuring import Bench, Sample, alternate, result
from bench.process import BenchError, Stopwatch
from bench.results import OURS, Goal, Result
from leadglass.audit.builders import Actor, Study
from leadglass.audit.events import Event, SOPClass
from leadglass.database.engine import Transaction
from tests.peers.nodes import made
from tests.support.node import RunningNode

# Records of one transaction while the log is filled.
TOGETHER = 5_000
INSTANCES_OF_STUDY = 100
SCANNER = Actor("ct-1", "192.0.2.5", "CT_1", "ab" * 32, "TLSv1.3", "device")


# Records of one transaction while instances come in, each for one of them: those of a
# tenth of a second (``archive.intake``), at a speed that nobody sends with for long.
ARRIVING = 25


def cpu_ms_per_record(bench: Bench, records: int) -> float:
    """Return the processor time of one record, transaction and signature included."""
    bench.scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=bench.scratch) as folder:
        node = made(Path(folder) / "home")
        fill(node, records // 10, ARRIVING)  # so that everything is warm
        began = time.process_time()
        fill(node, records, ARRIVING)
        return 1_000 * (time.process_time() - began) / records


def fill(node: RunningNode, records: int, together: int = TOGETHER) -> None:
    """Write the records of instances that came in."""
    with node.open() as opened:
        parts = opened.parts

        def arrival(number: int) -> Event:
            study = number // INSTANCES_OF_STUDY
            came = SOPClass(data.CT_IMAGE, 1, (data.uid("instance", number),))
            arrived = Study(
                data.uid("study", study),
                f"P{data.patient_of_study(study):07d}",
                "DOE^JANE",
                (came,),
                accession=f"A{study:07d}",
            )
            return parts.events.stored(SCANNER, (arrived,))[0]

        def write(begin: int, tx: Transaction) -> None:
            for number in range(begin, min(begin + together, records)):
                parts.audit.append(tx, arrival(number))

        for begin in range(0, records, together):
            parts.database.write(partial(write, begin))


def run(node: RunningNode, *words: object, found: int = 0) -> Sample:
    """Run a command to its end; return how long it took, in seconds.

    ``found`` is an exit code that is as good as 0: it says that something was found.
    """
    watch = Stopwatch(os.getpid())
    done = subprocess.run(
        [
            *(sys.executable, "-c", "from leadglass.cli import main; exit(main())"),
            *map(str, words),
            "--json",
        ],
        env=os.environ | {"LEADGLASS_HOME": str(node.home)},
        check=False,
        capture_output=True,
        text=True,
    )
    cost = watch.stop()
    if done.returncode not in {0, found}:
        message = f"{words[:2]} ended with {done.returncode}: {done.stdout[:200]}"
        raise BenchError(message)
    said = json.loads(done.stdout)
    if not said.get("intact", True):
        message = "the log is not intact"
        raise BenchError(message)
    return Sample(cost.wall_s, cost.foreign_cores)


def audit(bench: Bench) -> list[Result]:
    """Verify the whole log, and give evidence of a patient in it."""
    records = bench.sizes.records_verified
    repeats = max(3, bench.sizes.repeats)
    bench.scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=bench.scratch) as folder:
        node = made(Path(folder) / "home")
        fill(node, records)
        patient = f"P{data.patient_of_study(records // INSTANCES_OF_STUDY // 2):07d}"
        number = iter(range(1_000))

        def evidence() -> Sample:
            out = Path(folder) / f"evidence-{next(number)}"
            return run(node, "audit", "evidence", "--patient", patient, "--out", out)

        rows: dict[str, tuple[Callable[[], Sample], int]] = {
            f"`leadglass audit verify` of {records:,} records": (
                partial(run, node, "audit", "verify"),
                10,
            ),
            "Evidence of one patient in it, written and checked": (evidence, 10),
        }
        return [
            result(
                "audit",
                title,
                "s",
                Goal(f"≤ {bound} s", is_minimum=False, bound=bound, reference=None),
                alternate("s", repeats, {OURS: take}),
            )
            for title, (take, bound) in rows.items()
        ]


def controls(bench: Bench) -> list[Result]:
    """Go through all controls of a node with a record, experiments included."""
    records = bench.sizes.records_of_controls
    bench.scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=bench.scratch) as folder:
        node = made(Path(folder) / "home")
        fill(node, records)
        # Nobody has reviewed this record, which is a finding.
        take = partial(run, node, "comply", "run", found=2)
        return [
            result(
                "comply",
                f"`leadglass comply run` beside {records:,} records",
                "s",
                Goal("≤ 60 s", is_minimum=False, bound=60, reference=None),
                alternate("s", max(3, bench.sizes.repeats), {OURS: take}),
            )
        ]
