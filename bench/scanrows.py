"""The rows of the exposure scan: one archive that is open, and a network of them.

DCMTK's receiver listens on every address of loopback, so that a network of 254 hosts
has 254 archives. Targets and scanner share the cores: what the targets use is part of
what is measured, and no disturbance.
"""

import tempfile
import time
from pathlib import Path

from bench.measuring import Bench, Sample, result
from bench.results import OURS, Goal, Result
from leadglass.assurance.exposure.scan import scan
from leadglass.assurance.exposure.targets import parse
from tests.peers import scantargets

NETWORK = "127.0.0.0/24"


def exposure(bench: Bench) -> list[Result]:
    """Take the time of a scan of one host, and of a network."""
    ones, networks = [], []
    for _ in range(max(3, bench.sizes.repeats)):
        with (
            tempfile.TemporaryDirectory() as folder,
            scantargets.dcmqrscp(Path(folder)) as port,
        ):
            ones.append(_seconds(f"127.0.0.1:{port}", 1))
        with (
            tempfile.TemporaryDirectory() as folder,
            scantargets.storescp(Path(folder), 11112),
        ):
            networks.append(_seconds(NETWORK, 254))
    return [
        result(
            "scan",
            "Exposure scan of one open archive, all checks of levels P and S",
            "s",
            Goal("≤ 5 s", is_minimum=False, bound=5, reference=None),
            {OURS: ones},
        ),
        result(
            "scan",
            f"The same of a network of 254 hosts with an archive each ({NETWORK})",
            "s",
            Goal("≤ 120 s", is_minimum=False, bound=120, reference=None),
            {OURS: networks},
        ),
    ]


def _seconds(target: str, hosts: int) -> Sample:
    started = time.monotonic()
    found = scan(parse([target]))
    took = time.monotonic() - started
    if found.answering != hosts:
        message = f"{found.answering} of {hosts} hosts answered"
        raise RuntimeError(message)
    return Sample(took, 0.0)
