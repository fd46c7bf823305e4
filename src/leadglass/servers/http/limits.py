"""What one client may cost, in bytes, seconds, connections and requests."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from threading import Lock
from typing import Final

# Addresses whose rate is remembered. The one that was silent longest is forgotten
# first, which gives it a full bucket again: as it would have after that silence.
ADDRESSES_MAX: Final = 10_000


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """All limits of the listener; none can be switched off.

    Attributes:
        head_bytes_max: Request line and headers together. Browsers send 1 to 2 KB,
            a bearer token is 50 bytes.
        headers_max: Number of headers; browsers send about 20.
        url_bytes_max: Path and query; QIDO-RS with a list of 100 UIDs fits.
        parameters_max: Parameters of a query; there are less than 100 attributes.
        head_s: From the first byte of a request, or the handshake, to its last header.
        idle_s: How long a connection may rest between two requests.
        receive_s: Longest pause within a body.
        body_bytes_per_s_min: A body that comes slower, seen over ``receive_s``,
            is a slow attack; a modem brings 5 KB/s.
        send_s: Longest wait for a client to take what is written to it.
        connections_max: Open connections. Each costs a thread and about 0.4 MB.
        connections_per_address_max: Of these from one address.
        pipelined_max: Requests that wait behind another on one connection. Browsers
            send none, and each takes some KB, and as much as its head.
        requests_max: Requests at work; each may hold a thread and a database read.
        streams_max: Bodies on their way in or out, at the client's pace; each holds
            some MB.
        wait_s: How long a request waits for its turn before it is sent away.
        requests_per_s_max: Requests from one address. A viewer that scrolls asks
            for some hundred frames a second.
        burst: Requests that may come at once.
        failures_per_s_max: Failed proofs of identity from one address.
        failures_burst: Failed proofs that may come at once.
    """

    head_bytes_max: int = 32 * 1024
    headers_max: int = 64
    url_bytes_max: int = 8 * 1024
    parameters_max: int = 256
    head_s: float = 10.0
    idle_s: float = 30.0
    receive_s: float = 30.0
    body_bytes_per_s_min: int = 1024
    send_s: float = 60.0
    connections_max: int = 512
    connections_per_address_max: int = 64
    pipelined_max: int = 16
    requests_max: int = 32
    streams_max: int = 64
    wait_s: float = 10.0
    requests_per_s_max: float = 3_000.0
    burst: float = 6_000.0
    failures_per_s_max: float = 0.5
    failures_burst: float = 20.0

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}: a limit is more than nothing")
        if self.url_bytes_max > self.head_bytes_max:
            raise ValueError("url_bytes_max: the request line is part of the head")


class Buckets:
    """Token buckets, one for each key, in bounded memory.

    Args:
        per_s: Tokens that come back each second.
        burst: Tokens of a full bucket.
        clock: Seconds that only go forward.
    """

    def __init__(self, per_s: float, burst: float, clock: Callable[[], float]) -> None:
        self._per_s = per_s
        self._burst = burst
        self._clock = clock
        self._lock = Lock()
        self._levels: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def has(self, key: Hashable) -> bool:
        """Tell whether a token is there, and leave it."""
        with self._lock:
            return self._level(key) >= 1

    def take(self, key: Hashable) -> bool:
        """Take a token; ``False`` if there is none."""
        with self._lock:
            level = self._level(key)
            is_there = level >= 1
            self._levels[key] = (level - 1 if is_there else level, self._clock())
            self._levels.move_to_end(key)
            if len(self._levels) > ADDRESSES_MAX:
                self._levels.popitem(last=False)
            return is_there

    def _level(self, key: Hashable) -> float:
        level, seen_s = self._levels.get(key, (self._burst, self._clock()))
        return min(self._burst, level + (self._clock() - seen_s) * self._per_s)
