"""What a running node counts, for who watches it.

Names and labels are tables: a label has few values, and none of them is chosen by a
stranger or says anything of a patient. Counting takes one short lock, about a
microsecond.
"""

import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Kind(StrEnum):
    """What a figure is, as Prometheus calls it."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Family:
    """Figures of one name.

    Attributes:
        name: As Prometheus wants it: a prefix, a unit, ``_total`` for a counter.
        kind: What it is.
        help: What it tells, in a sentence.
        labels: By what its figures differ.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sample:
    """One figure.

    Attributes:
        family: Whose.
        values: Of the family's labels.
        value: The figure.
        suffix: Of the name, for the parts of a histogram.
        bound: Of a bucket, its ``le``; empty for all else.
    """

    family: Family
    values: tuple[str, ...]
    value: float
    suffix: str = ""
    bound: str = ""


# Seconds: from an answer out of the index to a study that is taken away whole.
BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)

ASSOCIATIONS: Final = Family(
    "leadglass_associations_total",
    Kind.COUNTER,
    "Associations that were asked for, by what became of them.",
    ("outcome",),
)
OPERATIONS: Final = Family(
    "leadglass_dimse_operations_total",
    Kind.COUNTER,
    "DIMSE operations that were asked for.",
    ("operation",),
)
INSTANCES: Final = Family(
    "leadglass_instances_received_total",
    Kind.COUNTER,
    "Instances that came, by what became of them.",
    ("outcome",),
)
RECEIVED: Final = Family(
    "leadglass_received_bytes_total",
    Kind.COUNTER,
    "Bytes of the data sets that were stored.",
)
REQUESTS: Final = Family(
    "leadglass_http_requests_total",
    Kind.COUNTER,
    "HTTP requests, by the route's template and the first digit of the status.",
    ("method", "route", "status"),
)
SENT: Final = Family(
    "leadglass_http_sent_bytes_total", Kind.COUNTER, "Bytes of the bodies of answers."
)
SECONDS: Final = Family(
    "leadglass_http_request_seconds",
    Kind.HISTOGRAM,
    "How long requests took, from their head to the last byte of the answer.",
)
STRANGERS: Final = Family(
    "leadglass_strangers_total",
    Kind.COUNTER,
    "Who was turned away before it had proven who it is.",
)

COUNTED: Final[Mapping[str, Family]] = MappingProxyType(
    {
        each.name: each
        for each in (
            ASSOCIATIONS,
            OPERATIONS,
            INSTANCES,
            RECEIVED,
            REQUESTS,
            SENT,
            SECONDS,
            STRANGERS,
        )
    }
)


class Meters:
    """The counts of one process; for all of its threads."""

    def __init__(self) -> None:
        """Begin at nothing."""
        self._lock = threading.Lock()
        self._counts: defaultdict[tuple[Family, tuple[str, ...]], float]
        self._counts = defaultdict(float)
        self._buckets = [0] * (len(BOUNDS) + 1)
        self._seconds = 0.0

    def count(self, family: Family, *values: str, by: float = 1) -> None:
        """Count one more, or so many; ``values`` are those of the family's labels."""
        with self._lock:
            self._counts[family, values] += by

    def request(
        self, method: str, route: str, status: int, sent_bytes: int, took_s: float
    ) -> None:
        """Count an HTTP request and its answer, at once.

        Args:
            method: As it is in the table of routes, else ``-``.
            route: The template, else ``-``.
            status: Of the answer; 0: there was none.
            sent_bytes: Of its body.
            took_s: Seconds, with the sending.
        """
        key = REQUESTS, (method, route, f"{status // 100}xx" if status else "none")
        bucket = bisect_left(BOUNDS, took_s)
        with self._lock:
            self._counts[key] += 1
            self._counts[SENT, ()] += sent_bytes
            self._buckets[bucket] += 1
            self._seconds += took_s

    def samples(self) -> Iterator[Sample]:
        """Yield all of it, as of one moment, in the order of the table."""
        with self._lock:
            counts, buckets = dict(self._counts), list(self._buckets)
            seconds = self._seconds
        for family in COUNTED.values():
            if family.kind is Kind.HISTOGRAM:
                yield from _histogram(family, buckets, seconds)
                continue
            found = sorted(values for each, values in counts if each is family)
            for values in found or ([()] if not family.labels else []):
                yield Sample(family, values, counts.get((family, values), 0))


def _histogram(family: Family, buckets: list[int], total: float) -> Iterator[Sample]:
    so_far = 0
    for bound, count in zip((*map(str, BOUNDS), "+Inf"), buckets, strict=True):
        so_far += count
        yield Sample(family, (), so_far, "_bucket", bound)
    yield Sample(family, (), total, "_sum")
    yield Sample(family, (), so_far, "_count")
