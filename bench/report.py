"""The table, in Markdown, with the facts of the machine and none of its names."""

import os
import platform
import ssl
import statistics
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bench import dcmtk, nodes
from bench.results import ORTHANC, OURS, STORESCP, Result

HEAD = """\
# Benchmarks

Written by `make bench`, which measures Leadglass, Debian's Orthanc and DCMTK's
storescp side by side in one run. Leadglass runs as it comes, with all protection on:
TLS 1.3 with client certificates; every instance is hashed, sealed and synced to disk
with the receipt of its sender before it is acknowledged, and indexed and audited
within a tenth of a second (counted in its processor time).

| | goal | Leadglass | Orthanc | storescp | ratio | |
|---|---|---|---|---|---|---|
"""

METHOD = """
Medians, with the least and the greatest value in brackets. One CT is an image of
512 x 512 pixels of 16 bits with a hundred elements, about 525 KB.

- Client and servers share the machine, in a network namespace of their own that has
  only a loopback interface. A round of a row measures ours, then Orthanc, then
  storescp, and the rounds repeat; each is warmed up first, and each store round
  begins with an empty archive on the same disk.
- A round during which anything else used more than a quarter of a core is taken
  again; the last column of the second table says what was used by anything else
  in the rounds that count.
- CPU is user and system time of the server and all its children from `/proc`, until
  one second after the last answer. Memory is the peak (`VmHWM`) above what was
  resident before.
- "As it comes" is DCMTK without `TCP_NODELAY=1` in the environment: it then leaves
  Nagle's algorithm on, and a server that acknowledges late makes it wait 40 ms for
  every image. Where that is not what a row is about, Orthanc and its clients get
  `TCP_NODELAY=1`.
- getscu and movescu of this DCMTK have no TLS: for Leadglass they go through a relay
  that adds it, on the same two ends and the same processors. What a receiver got is
  compared with what was sent before anything is timed.
- storescp only writes what it receives: no index, no query, nothing synced.
"""


def number(value: float) -> str:
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:,.{digits}f}"


def spread(result: Result, name: str) -> str:
    values = result.values.get(name)
    if not values:
        return "–"
    middle = number(statistics.median(values))
    if len(values) == 1:
        return f"{middle} {result.unit}"
    return f"{middle} {result.unit} [{number(min(values))}–{number(max(values))}]"


def line(result: Result) -> str:
    verdict = {True: "met", False: "**missed**", None: "not measured"}[result.is_met]
    ratio = "–" if result.ratio is None else f"{number(result.ratio)} ×"
    reference = result.goal.reference
    peer = reference if reference not in {None, STORESCP} else ORTHANC
    assert peer is not None
    beside = spread(result, peer)
    if peer != ORTHANC and beside != "–":
        beside = f"(ours {peer}: {beside})"
    return (
        f"| {result.title} | {result.goal.text} | {spread(result, OURS)} "
        f"| {beside} | {spread(result, STORESCP)} | {ratio} | {verdict} |"
    )


def cpu_model() -> str:
    for each in Path("/proc/cpuinfo").read_text().splitlines():
        if each.startswith("model name"):
            return each.partition(":")[2].strip()
    return platform.machine()


def memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def product_version() -> str:
    try:
        return version("leadglass")
    except PackageNotFoundError:
        return "unknown"


def machine(load: tuple[float, float, float]) -> str:
    system = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    facts = {
        "measured": datetime.now(UTC).date().isoformat(),
        "processor": f"{os.cpu_count()} cores, {cpu_model()}",
        "memory": f"{memory_gib():.0f} GiB",
        "system": f"{system}, Linux {platform.release().partition('-')[0]}",
        "load average at the start": " ".join(f"{each:.2f}" for each in load),
        "Leadglass": product_version(),
        "Python": f"{platform.python_version()}, {ssl.OPENSSL_VERSION}",
        "Orthanc": nodes.orthanc_version(),
        "DCMTK": dcmtk.version(),
    }
    lines = "\n".join(f"| {name} | {fact} |" for name, fact in facts.items())
    return f"\n## The machine\n\n| | |\n|---|---|\n{lines}\n"


def disturbance(results: Sequence[Result]) -> str:
    lines = "\n".join(
        f"| {each.title} | {each.date} | {each.foreign_cores:.2f} |" for each in results
    )
    head = "| | measured | cores used by anything else, at most |\n|---|---|---|\n"
    return f"\n## How calm it was\n\n{head}{lines}\n"


def table(results: Sequence[Result]) -> str:
    return "\n".join(line(each) for each in results) + "\n"


def document(results: Sequence[Result], load: tuple[float, float, float]) -> str:
    return HEAD + table(results) + METHOD + machine(load) + disturbance(results)
