"""A DICOMweb client that is the same for all servers: persistent connections, no cache.

It reads answers whole and keeps nothing of them. Over TLS it decrypts, too, in the
same process: that counts against the server that is asked so.
"""

import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import Any

from bench.nodes import Web
from bench.process import LOOPBACK, BenchError

ROOT = "/dicom-web"
ANSWERED_WITHIN_S = 600
JSON = "application/dicom+json"
WHOLE = 'multipart/related; type="application/dicom"; transfer-syntax=*'
FRAMES = 'multipart/related; type="application/octet-stream"'
BOUNDARY = "bench-boundary-2f9c"
READ_BYTES = 1024 * 1024


class Client:
    """One connection."""

    def __init__(self, web: Web) -> None:
        self._headers = {"Authorization": f"Bearer {web.token}"} if web.token else {}
        self._connection: HTTPConnection
        if web.authority is None:
            self._connection = HTTPConnection(
                LOOPBACK, web.port, timeout=ANSWERED_WITHIN_S
            )
        else:
            context = ssl.create_default_context(cafile=str(web.authority))
            self._connection = HTTPSConnection(
                LOOPBACK, web.port, timeout=ANSWERED_WITHIN_S, context=context
            )
        self._buffer = memoryview(bytearray(READ_BYTES))

    def get(self, path: str, accept: str = JSON) -> int:
        """Take an answer, and return its length in bytes."""
        return self._ask("GET", path, {"Accept": accept})

    def answers(self, path: str) -> list[Any]:
        """Return the data sets of an answer."""
        pieces: list[bytes] = []
        self._ask("GET", path, {"Accept": JSON}, keep=pieces)
        return list(json.loads(b"".join(pieces)))

    def store(self, paths: Sequence[Path]) -> int:
        """Send files in one request; return the length of the answer."""
        body = b"".join(
            b"".join(
                (
                    f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode(),
                    path.read_bytes(),
                    b"\r\n",
                )
            )
            for path in paths
        )
        body += f"--{BOUNDARY}--\r\n".encode()
        kind = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
        headers = {"Accept": JSON, "Content-Type": kind}
        return self._ask("POST", "/studies", headers, body)

    def _ask(
        self,
        method: str,
        path: str,
        headers: dict[str, str],
        body: bytes | None = None,
        keep: list[bytes] | None = None,
    ) -> int:
        self._connection.request(method, ROOT + path, body, self._headers | headers)
        answer = self._connection.getresponse()
        length = 0
        while count := answer.readinto(self._buffer):
            length += count
            if keep is not None:
                keep.append(bytes(self._buffer[:count]))
        if answer.status != 200:
            message = f"{method} {path.partition('?')[0]}: {answer.status}"
            raise BenchError(message)
        return length

    def close(self) -> None:
        self._connection.close()


@contextmanager
def client(web: Web) -> Iterator[Client]:
    opened = Client(web)
    try:
        yield opened
    finally:
        opened.close()


def timed_ms(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return 1_000 * (time.perf_counter() - start)


def together(web: Web, works: Sequence[Callable[[Client], object]]) -> float:
    """Do each work on a connection of its own, all at once; return the seconds.

    Raises:
        BenchError: One of them failed.
    """
    faults: list[Exception] = []
    ready = threading.Barrier(len(works) + 1)

    def run(work: Callable[[Client], object]) -> None:
        try:
            with client(web) as own:
                ready.wait()
                work(own)
        except Exception as error:  # noqa: BLE001  # told to whoever waits
            faults.append(error)
            ready.abort()

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    try:
        ready.wait()
    except threading.BrokenBarrierError:
        start = 0.0
    else:
        start = time.perf_counter()
    for thread in threads:
        thread.join()
    if faults:
        raise BenchError(str(faults[0]))
    return time.perf_counter() - start
