"""The rows of the table: how each figure is taken.

Ours and the peers alternate, round by round, so that a slow minute of the machine
hits all of them. Rounds during which something else used the machine are taken
again, once as many times as asked for; then the calmest count.
"""

import hashlib
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench import (
    approws,
    auditrows,
    data,
    dcmtk,
    nodes,
    reviewrows,
    scanrows,
    webrows,
)
from bench.find import questioners
from bench.measuring import Bench, Sample, Samples, alternate, result, say
from bench.nodes import Node, Start
from bench.process import (
    BenchError,
    Cost,
    Stopwatch,
    environment,
    forget_peak,
    free_port,
    peak_mb,
    resident_mb,
    run,
    run_together,
    server,
)
from bench.results import ORTHANC, OURS, Goal, Result

WARM_INSTANCES = 20
WARM_QUERIES = 10
ASSOCIATIONS = 4
# Time that may be added by ten times the archive before the growth is the archive's.
GROWTH_MAX = 1.5
# Audit records whose processor time is measured at once: a second of it.
_RECORDS_COSTED = 10_000


# --- C-STORE ------------------------------------------------------------------


def store_once(
    bench: Bench,
    start: Start,
    shares: Sequence[Sequence[Path]],
    *,
    nodelay: bool,
    value: Callable[[Cost, int], float],
) -> Sample:
    """Send files to an empty archive, each share in an association of its own."""
    warm = bench.sets.ct(WARM_INSTANCES, "warm")
    env = environment(nodelay=nodelay)
    with start() as node:
        send = partial(dcmtk.storescu, node.ae_title, node.port, node.identity)
        run(send(warm), env)
        watch = Stopwatch(node.pid)
        run_together([send(share) for share in shares], env)
        cost = watch.stop()
    return Sample(value(cost, sum(map(len, shares))), cost.foreign_cores)


def instances_per_s(cost: Cost, instances: int) -> float:
    return instances / cost.wall_s


def cpu_ms_per_instance(cost: Cost, instances: int) -> float:
    return 1_000 * cost.cpu_s / instances


def store(
    bench: Bench,
    starts: Mapping[str, Start],
    shares: Sequence[Sequence[Path]],
    unit: str,
    *,
    nodelay: bool,
    value: Callable[[Cost, int], float],
) -> Samples:
    return alternate(
        unit,
        bench.sizes.repeats,
        {
            name: partial(
                store_once, bench, start, shares, nodelay=nodelay, value=value
            )
            for name, start in starts.items()
        },
    )


def store_stock(bench: Bench) -> list[Result]:
    files = bench.sets.ct(bench.sizes.ct_studies * data.SLICES_OF_STUDY)
    samples = store(
        bench,
        bench.started(nodelay=False, is_secure=False, with_storescp=True),
        [files[: bench.sizes.stock_instances]],
        "instances/s",
        nodelay=False,
        value=instances_per_s,
    )
    goal = Goal("≥ 10 × Orthanc", is_minimum=True, bound=10, reference=ORTHANC)
    title = "C-STORE, storescu as it comes, 1 association; peers in plaintext"
    return [result("store-stock", title, "instances/s", goal, samples)]


def store_tls4(bench: Bench) -> list[Result]:
    files = bench.sets.ct(bench.sizes.ct_studies * data.SLICES_OF_STUDY)
    samples = store(
        bench,
        bench.started(nodelay=True, is_secure=True, with_storescp=True),
        [files[k::ASSOCIATIONS] for k in range(ASSOCIATIONS)],
        "instances/s",
        nodelay=True,
        value=instances_per_s,
    )
    goal = Goal("≥ 1.5 × Orthanc", is_minimum=True, bound=1.5, reference=ORTHANC)
    title = "C-STORE, TCP_NODELAY=1, 4 associations, all over TLS"
    return [result("store-tls4", title, "instances/s", goal, samples)]


def cpu(bench: Bench) -> list[Result]:
    files = bench.sets.ct(bench.sizes.ct_studies * data.SLICES_OF_STUDY)
    samples = store(
        bench,
        bench.started(nodelay=True, is_secure=False, with_storescp=True),
        [files[: bench.sizes.cpu_instances]],
        "ms CPU",
        nodelay=True,
        value=cpu_ms_per_instance,
    )
    goal = Goal("≤ 0.5 × Orthanc", is_minimum=False, bound=0.5, reference=ORTHANC)
    title = "Server CPU per stored CT, 1 association; peers in plaintext"
    return [result("cpu", title, "ms", goal, samples)]


# --- C-FIND -------------------------------------------------------------------


def ask_all(
    running: Mapping[str, Node], studies: int, queries: int
) -> dict[str, list[float]]:
    """Ask every server for the same patients in turn; return milliseconds.

    Raises:
        BenchError: two servers disagree on how many studies a patient has.
    """
    times: dict[str, list[float]] = {name: [] for name in running}
    with questioners(list(running.values())) as asked:
        for number in range(-WARM_QUERIES, queries):
            study = number % queries * studies // queries
            patient = f"P{data.patient_of_study(study):07d}"
            counts = set()
            for name, questioner in zip(running, asked, strict=True):
                elapsed_ms, matches = questioner.ask(patient)
                counts.add(matches)
                if number >= 0:
                    times[name].append(elapsed_ms)
            if len(counts) != 1 or 0 in counts:
                message = f"the answers differ: {sorted(counts)} studies of one patient"
                raise BenchError(message)
    for name, values in times.items():
        say(f"{name:10} {statistics.median(values):10.2f} ms at {studies:,} studies")
    return times


def audit_cost(bench: Bench) -> list[Result]:
    """How much of the processor time of storing a CT is that of its audit record."""
    files = bench.sets.ct(bench.sizes.ct_studies * data.SLICES_OF_STUDY)
    files = files[: bench.sizes.cpu_instances]
    start = partial(nodes.leadglass, bench.scratch)

    def share() -> Sample:
        stored = store_once(
            bench, start, [files], nodelay=True, value=cpu_ms_per_instance
        )
        record_ms = auditrows.cpu_ms_per_record(bench, _RECORDS_COSTED)
        return Sample(100 * record_ms / stored.value, stored.foreign_cores)

    goal = Goal("≤ 5 %", is_minimum=False, bound=5, reference=None)
    title = "Audit record of a stored CT, of all server CPU for it"
    samples = alternate("%", bench.sizes.repeats, {OURS: share})
    return [result("audit-cost", title, "%", goal, samples)]


def find(bench: Bench) -> list[Result]:
    few, many = bench.sizes.studies_few, bench.sizes.studies_many
    starts = bench.started(nodelay=True, is_secure=False)
    at: dict[int, dict[str, list[float]]] = {}
    with ExitStack() as stack:
        running = {name: stack.enter_context(each()) for name, each in starts.items()}
        for first, count in ((0, few), (few, many - few)):
            folder = bench.sets.studies(first, count)
            for name, node in running.items():
                say(f"{name:10} takes {count:,} studies")
                node.fill(folder)
            total = first + count
            at[total] = ask_all(running, total, bench.sizes.queries)
    before = f"at {few:,}"
    growth = {OURS: at[many].get(OURS, []), before: at[few].get(OURS, [])}
    as_samples = {
        many: {k: [Sample(ms, 0.0) for ms in v] for k, v in at[many].items()},
        few: {k: [Sample(ms, 0.0) for ms in v] for k, v in growth.items()},
    }
    return [
        result(
            "find",
            f"C-FIND, studies of one exact patient, {many:,} studies",
            "ms",
            Goal("≤ 0.3 × Orthanc", is_minimum=False, bound=0.3, reference=ORTHANC),
            as_samples[many],
        ),
        result(
            "find",
            f"the same: {many:,} studies against {few:,}",
            "ms",
            Goal(
                f"≤ {GROWTH_MAX} × {before}",
                is_minimum=False,
                bound=GROWTH_MAX,
                reference=before,
            ),
            as_samples[few],
        ),
    ]


# --- C-GET and C-MOVE ---------------------------------------------------------


@contextmanager
def plain_port(node: Node, scratch: Path) -> Iterator[tuple[int, list[int]]]:
    """Give a port for clients without TLS, and what runs behind it beside the node."""
    if node.identity is None:
        yield node.port, []
        return
    port, folder = free_port(), node.identity.key.parent
    command = [sys.executable, "-m", "bench.relay", str(port), str(node.port)]
    with server(
        [*command, str(folder)], environment(), port, scratch / "relay.log"
    ) as pid:
        yield port, [pid]


@contextmanager
def received(scratch: Path) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="received-", dir=scratch))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def pixel_digests(paths: Sequence[Path]) -> list[str]:
    """Return the hashes of the slices' pixels, which stand last in the files."""
    return sorted(
        hashlib.sha256(path.read_bytes()[-data.FRAME_BYTES :]).hexdigest()
        for path in paths
    )


def check_received(node: Node, folder: Path, sent: Sequence[Path]) -> None:
    got = [path for path in folder.iterdir() if path.is_file()]
    if pixel_digests(got) != pixel_digests(sent):
        message = f"{node.name} gave {len(got)} of {len(sent)} instances, or other ones"
        raise BenchError(message)


@dataclass(frozen=True, slots=True)
class Retrieval:
    """One way to take a study out of a running node, to a folder or to nowhere."""

    node: Node
    port: int
    beside: Sequence[int]
    nodelay: bool
    study: str
    scratch: Path

    def get(self, into: Path | None) -> Cost:
        command = dcmtk.getscu(self.node.ae_title, self.port, self.study, into)
        watch = Stopwatch(self.node.pid, self.beside)
        run(command, environment(nodelay=self.nodelay))
        return watch.stop()

    def move(self, into: Path | None) -> Cost:
        node, env = self.node, environment(nodelay=self.nodelay)
        receiver = dcmtk.storescp(node.destination_port, node.destination, into)
        log = self.scratch / "receiver.log"
        with server(receiver, env, node.destination_port, log) as pid:
            command = dcmtk.movescu(node.ae_title, self.port, self.study)
            watch = Stopwatch(node.pid, [*self.beside, pid])
            run(command, env)
            return watch.stop()


def retrieve(bench: Bench, row: str, how: Callable[..., Cost]) -> Samples:
    """Store a study of 200 slices, take it out once to compare, then time it.

    The receivers of ours run as they come; Orthanc and its receivers get
    TCP_NODELAY=1, without which they would stall for 40 ms on every image.
    """
    files = bench.sets.ct(data.SLICES_OF_STUDY)
    megabytes = sum(path.stat().st_size for path in files) / 1e6
    study = data.uid("ct", 0)
    takes: dict[str, Callable[[], Sample]] = {}
    starts = bench.started(nodelay=True, is_secure=False)
    with ExitStack() as stack:
        for name, start in starts.items():
            node = stack.enter_context(start())
            command = dcmtk.storescu(node.ae_title, node.port, node.identity, files)
            run(command, environment(nodelay=True))
            port, beside = stack.enter_context(plain_port(node, bench.scratch))
            nodelay = name != OURS
            retrieval = Retrieval(node, port, beside, nodelay, study, bench.scratch)
            with received(bench.scratch) as folder:
                how(retrieval, folder)
                check_received(node, folder, files)

            def take(retrieval: Retrieval = retrieval) -> Sample:
                cost = how(retrieval, None)
                return Sample(megabytes / cost.wall_s, cost.foreign_cores)

            takes[name] = take
        say(f"{row}: {len(files)} images, {megabytes:.0f} MB, compared; now timed")
        return alternate("MB/s", bench.sizes.repeats, takes)


RETRIEVE_GOAL = Goal("≥ 1 × Orthanc", is_minimum=True, bound=1, reference=ORTHANC)


def get(bench: Bench) -> list[Result]:
    samples = retrieve(bench, "get", Retrieval.get)
    title = "C-GET of 200 CT with getscu; ours as it comes and over TLS"
    return [result("get", title, "MB/s", RETRIEVE_GOAL, samples)]


def move(bench: Bench) -> list[Result]:
    samples = retrieve(bench, "move", Retrieval.move)
    title = "C-MOVE of 200 CT to storescp; ours as it comes and over TLS"
    return [result("move", title, "MB/s", RETRIEVE_GOAL, samples)]


# --- memory -------------------------------------------------------------------


def grown_mb(node: Node, work: Callable[[], object]) -> float:
    """Return by how much the memory of a node rose above what it had before."""
    before = resident_mb(node.pid)
    forget_peak(node.pid)
    work()
    return max(0.0, peak_mb(node.pid) - before)


def memory_once(bench: Bench, start: Start, *, is_ours: bool) -> tuple[float, float]:
    """Store and get one large instance; return the growth for each, in MB."""
    path = bench.sets.multiframe(bench.sizes.frames)
    warm = bench.sets.ct(WARM_INSTANCES, "warm")
    env = environment(nodelay=True)
    with start() as node, plain_port(node, bench.scratch) as (port, beside):
        send = partial(dcmtk.storescu, node.ae_title, node.port, node.identity)
        nodelay = not is_ours
        fetch = partial(Retrieval, node, port, beside, nodelay, scratch=bench.scratch)
        run(send(warm), env)
        fetch(study=data.uid("warm", 0)).get(None)
        stored = grown_mb(node, lambda: run(send([path]), env))
        large = fetch(study=data.uid("multiframe", 0))
        with received(bench.scratch) as folder:
            got = grown_mb(node, lambda: large.get(folder))
            sizes = [each.stat().st_size for each in folder.iterdir()]
        if len(sizes) != 1 or sizes[0] < bench.sizes.frames * data.FRAME_BYTES:
            message = f"{node.name} did not give the large instance back"
            raise BenchError(message)
    say(f"{node.name:10} grew by {stored:.0f} MB storing, {got:.0f} MB retrieving")
    return stored, got


def memory(bench: Bench) -> list[Result]:
    size_mb = round(bench.sizes.frames * data.FRAME_BYTES / 1e6)
    stored: Samples = {}
    got: Samples = {}
    starts = bench.started(nodelay=True, is_secure=False)
    for _ in range(bench.sizes.repeats):
        for name, start in starts.items():
            first, second = memory_once(bench, start, is_ours=name == OURS)
            stored.setdefault(name, []).append(Sample(first, 0.0))
            got.setdefault(name, []).append(Sample(second, 0.0))
    goal = Goal("≤ 64 MB", is_minimum=False, bound=64, reference=None)
    title = f"Memory growth while one instance of {size_mb} MB is"
    return [
        result("memory", f"{title} stored", "MB", goal, stored),
        result("memory", f"{title} retrieved", "MB", goal, got),
    ]


ROWS: Mapping[str, Callable[[Bench], list[Result]]] = {
    "store-stock": store_stock,
    "store-tls4": store_tls4,
    "cpu": cpu,
    "find": find,
    "get": get,
    "move": move,
    "memory": memory,
    "qido": webrows.qido,
    "series": webrows.series,
    "wado": webrows.wado,
    "stow": webrows.stow,
    "web-memory": webrows.web_memory,
    "app-studies": approws.studies,
    "app-viewer": approws.viewer,
    "audit": auditrows.audit,
    "audit-cost": audit_cost,
    "comply": auditrows.controls,
    "review": reviewrows.review,
    "scan": scanrows.exposure,
}
