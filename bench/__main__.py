"""``python -m bench [ROW …] [--quick] [--peers-only]``; without rows, all of them."""

import argparse
import os
import shutil
import sys
import time
from pathlib import Path

from bench import data, isolation, report
from bench.measuring import Bench
from bench.process import BenchError
from bench.results import Result, load, merge, save
from bench.rows import ROWS

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "bench-data"
DOCUMENT = ROOT / "docs" / "benchmarks.md"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(ROWS))
    parser.add_argument(
        "--quick",
        action="store_true",
        help="less data: proves the harness, and writes no document",
    )
    parser.add_argument(
        "--peers-only",
        action="store_true",
        help="without Leadglass; writes no document",
    )
    asked = parser.parse_args()
    unknown = sorted(set(asked.rows) - set(ROWS))
    if unknown:
        parser.error(f"no such row: {', '.join(unknown)}; there are {', '.join(ROWS)}")
    return asked


def measure(bench: Bench, rows: list[str]) -> tuple[list[Result], list[str]]:
    """Take the rows; a row that cannot be taken does not stop the others."""
    results: list[Result] = []
    failures = []
    for number, name in enumerate(rows, start=1):
        print(f"[{number}/{len(rows)}] {name}", flush=True)
        start = time.monotonic()
        try:
            results += ROWS[name](bench)
        except BenchError as error:
            failures.append(f"{name}: {error}")
            print(f"  failed: {error}", flush=True)
        print(f"  took {time.monotonic() - start:.0f} s", flush=True)
    return results, failures


def main() -> int:
    asked = arguments()
    isolation.enter()
    load_average = os.getloadavg()
    scratch = FOLDER / "run"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    bench = Bench(
        sizes=data.QUICK if asked.quick else data.FULL,
        sets=data.Sets(FOLDER),
        scratch=scratch,
        is_ours_measured=not asked.peers_only,
    )
    results, failures = measure(bench, asked.rows or list(ROWS))
    shutil.rmtree(scratch, ignore_errors=True)
    print("\n" + report.table(results))
    if not asked.quick and not asked.peers_only:
        kept = FOLDER / "results.json"
        everything = sorted(
            merge(load(kept), results), key=lambda each: list(ROWS).index(each.row)
        )
        save(kept, everything)
        DOCUMENT.parent.mkdir(exist_ok=True)
        DOCUMENT.write_text(report.document(everything, load_average))
        print(f"written: {DOCUMENT.relative_to(ROOT)}")
    for each in failures:
        print(f"failed: {each}", file=sys.stderr)
    return 1 if failures or any(each.is_met is False for each in results) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchError as error:
        sys.exit(str(error))
