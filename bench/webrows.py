"""The rows of DICOMweb: ours over TLS with a token, Orthanc's plaintext and open."""

import statistics
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial

from bench import data, nodes
from bench.measuring import Bench, Sample, Samples, alternate, result, say
from bench.nodes import Node, Web
from bench.process import BenchError, Stopwatch, forget_peak, peak_mb, resident_mb
from bench.results import ORTHANC, OURS, Goal, Result
from bench.web import FRAMES, WHOLE, Client, client, timed_ms, together

CONNECTIONS = 4
WARM = 5
PAGE = 100
RETRIEVES_TOGETHER = 10


def at_most(bound: float) -> Goal:
    return Goal(
        f"≤ {bound} × Orthanc", is_minimum=False, bound=bound, reference=ORTHANC
    )


def at_least(bound: float) -> Goal:
    return Goal(f"≥ {bound} × Orthanc", is_minimum=True, bound=bound, reference=ORTHANC)


def started(bench: Bench, stack: ExitStack) -> dict[str, Node]:
    """Start both with DICOMweb, ours first."""
    running: dict[str, Node] = {}
    if bench.is_ours_measured:
        running[OURS] = stack.enter_context(nodes.leadglass(bench.scratch))
    start = nodes.orthanc(bench.scratch, nodelay=True, is_secure=False, with_web=True)
    running[ORTHANC] = stack.enter_context(start)
    return running


def web_of(node: Node) -> Web:
    assert node.web is not None  # ``started`` starts none without
    return node.web


def in_turn(
    running: Mapping[str, Node],
    queries: int,
    ask: Callable[[Client, int], int],
) -> Samples:
    """Ask each server the same in turn; return milliseconds.

    Raises:
        BenchError: they disagree on the answer.
    """
    times: Samples = {name: [] for name in running}
    with ExitStack() as stack:
        clients = {
            name: stack.enter_context(client(web_of(node)))
            for name, node in running.items()
        }
        for number in range(-WARM, queries):
            counts = set()
            for name, asked in clients.items():
                told: list[int] = []
                elapsed_ms = timed_ms(lambda: told.append(ask(asked, number)))  # noqa: B023
                counts.add(told[0])
                if number >= 0:
                    times[name].append(Sample(elapsed_ms, 0.0))
            if len(counts) != 1 or 0 in counts:
                message = f"the answers differ, or are none: {sorted(counts)}"
                raise BenchError(message)
    for name, samples in times.items():
        middle = statistics.median(each.value for each in samples)
        say(f"{name:10} {middle:10.2f} ms")
    return times


# --- QIDO-RS ------------------------------------------------------------------


def qido(bench: Bench) -> list[Result]:
    many = bench.sizes.studies_many
    offset = many * 4 // 5
    with ExitStack() as stack:
        running = started(bench, stack)
        folder = bench.sets.studies(0, many)
        for name, node in running.items():
            say(f"{name:10} takes {many:,} studies")
            node.fill(folder)

        def exact(asked: Client, number: int) -> int:
            study = number % bench.sizes.queries * many // bench.sizes.queries
            patient = f"P{data.patient_of_study(study):07d}"
            return len(asked.answers(f"/studies?PatientID={patient}"))

        def paged(asked: Client, _number: int) -> int:
            return len(asked.answers(f"/studies?limit={PAGE}&offset={offset}"))

        by_key = in_turn(running, bench.sizes.queries, exact)
        by_page = in_turn(running, max(3, bench.sizes.queries // 10), paged)
    return [
        result(
            "qido",
            f"QIDO-RS, studies of one exact patient, {many:,} studies",
            "ms",
            at_most(0.15),
            by_key,
        ),
        result(
            "qido",
            f"QIDO-RS, {PAGE} studies from offset {offset:,} on",
            "ms",
            at_most(0.05),
            by_page,
        ),
    ]


# --- headers of a series ------------------------------------------------------


def series(bench: Bench) -> list[Result]:
    count = bench.sizes.series_instances
    path = f"/studies/{data.uid('series', 0)}/series/{data.uid('series', 0, 0)}"
    repeats = max(5, bench.sizes.queries // 6)
    with ExitStack() as stack:
        running = started(bench, stack)
        for node in running.values():
            node.fill(bench.sets.series(count))

        def instances(asked: Client, _number: int) -> int:
            return len(asked.answers(f"{path}/instances"))

        def metadata(asked: Client, _number: int) -> int:
            # To read the JSON is the client's work, and the same for all: that they
            # say the same of each instance is looked at once, before.
            return min(asked.get(f"{path}/metadata"), 1)

        for node in running.values():
            with client(web_of(node)) as asked:
                if len(asked.answers(f"{path}/metadata")) != count:
                    raise BenchError(f"{node.name} does not describe all instances")
        searched = in_turn(running, repeats, instances)
        described = in_turn(running, repeats, metadata)
    return [
        result(
            "series",
            f"QIDO-RS, instances of a series of {count:,}",
            "ms",
            at_most(0.1),
            searched,
        ),
        result(
            "series",
            f"WADO-RS, metadata of a series of {count:,}",
            "ms",
            at_most(0.2),
            described,
        ),
    ]


# --- images -------------------------------------------------------------------


def wado(bench: Bench) -> list[Result]:
    """Time a whole study over one connection, and single frames over four."""
    files = bench.sets.ct(data.SLICES_OF_STUDY)
    megabytes = sum(path.stat().st_size for path in files) / 1e6
    study = f"/studies/{data.uid('ct', 0)}"
    frames = [
        f"{study}/series/{data.uid('ct', 0, s)}/instances/{data.uid('ct', 0, s, k)}"
        "/frames/1"
        for s in range(data.SERIES_OF_STUDY)
        for k in range(data.SLICES_OF_SERIES)
    ]
    whole: dict[str, Callable[[], Sample]] = {}
    single: dict[str, Callable[[], Sample]] = {}
    with ExitStack() as stack:
        for name, node in started(bench, stack).items():
            node.fill(files[0].parent)
            whole[name] = partial(_whole, node, study, megabytes)
            single[name] = partial(_frames, node, frames)
            whole[name]()
            single[name]()
        of_study = alternate("MB/s", bench.sizes.repeats, whole)
        of_frames = alternate("frames/s", bench.sizes.repeats, single)
    return [
        result(
            "wado",
            f"WADO-RS, a study of {len(files)} CT, 1 connection",
            "MB/s",
            at_least(1),
            of_study,
        ),
        result(
            "wado",
            f"WADO-RS, single frames of CT, {CONNECTIONS} connections",
            "frames/s",
            at_least(1.5),
            of_frames,
        ),
    ]


def _whole(node: Node, path: str, megabytes: float) -> Sample:
    with client(web_of(node)) as asked:
        watch = Stopwatch(node.pid)
        length = asked.get(path, WHOLE)
        cost = watch.stop()
    if length < megabytes * 1e6:
        message = f"{node.name} gave {length} bytes of {megabytes:.0f} MB"
        raise BenchError(message)
    return Sample(megabytes / cost.wall_s, cost.foreign_cores)


def _frames(node: Node, paths: list[str]) -> Sample:
    def work(share: list[str], asked: Client) -> None:
        for path in share:
            if asked.get(path, FRAMES) < data.FRAME_BYTES:
                message = f"{node.name} gave less than a frame"
                raise BenchError(message)

    shares = [paths[k::CONNECTIONS] for k in range(CONNECTIONS)]
    watch = Stopwatch(node.pid)
    elapsed_s = together(web_of(node), [partial(work, share) for share in shares])
    cost = watch.stop()
    return Sample(len(paths) / elapsed_s, cost.foreign_cores)


def stow(bench: Bench) -> list[Result]:
    """Send CT slices one by one over four connections, each time to empty archives."""
    files = bench.sets.ct(bench.sizes.ct_studies * data.SLICES_OF_STUDY)
    files = files[: bench.sizes.stored_by_http]
    warm = bench.sets.ct(20, "warm")

    def once(name: str) -> Sample:
        with ExitStack() as stack:
            node = started(bench, stack)[name]
            with client(web_of(node)) as asked:
                asked.store(warm)

            def work(share: int, asked: Client) -> None:
                for path in files[share::CONNECTIONS]:
                    asked.store([path])

            watch = Stopwatch(node.pid)
            elapsed_s = together(
                web_of(node), [partial(work, share) for share in range(CONNECTIONS)]
            )
            cost = watch.stop()
        return Sample(len(files) / elapsed_s, cost.foreign_cores)

    names = [OURS, ORTHANC] if bench.is_ours_measured else [ORTHANC]
    takes = {name: partial(once, name) for name in names}
    samples = alternate("instances/s", bench.sizes.repeats, takes)
    title = f"STOW-RS, CT slices one by one, {CONNECTIONS} connections"
    return [result("stow", title, "instances/s", at_least(1.5), samples)]


def web_memory(bench: Bench) -> list[Result]:
    """Take one large instance many times at once; return the growth, in MB."""
    path = bench.sets.multiframe(bench.sizes.large_frames)
    size_mb = round(bench.sizes.large_frames * data.FRAME_BYTES / 1e6)
    study = f"/studies/{data.uid('multiframe', 0)}"
    samples: Samples = {}
    with ExitStack() as stack:
        for name, node in started(bench, stack).items():
            node.fill(path.parent)
            with client(web_of(node)) as asked:
                asked.get("/studies?limit=1")
            before = resident_mb(node.pid)
            forget_peak(node.pid)
            together(
                web_of(node),
                [lambda asked: asked.get(study, WHOLE)] * RETRIEVES_TOGETHER,
            )
            grown = max(0.0, peak_mb(node.pid) - before)
            say(f"{name:10} grew by {grown:.0f} MB")
            samples[name] = [Sample(grown, 0.0)]
    goal = Goal("≤ 128 MB", is_minimum=False, bound=128, reference=None)
    title = f"Memory growth, {RETRIEVES_TOGETHER} retrieves of {size_mb} MB at once"
    return [result("web-memory", title, "MB", goal, samples)]
