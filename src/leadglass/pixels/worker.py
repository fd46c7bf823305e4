"""The worker process: one image after another, inside walls.

It reads and writes one socket and nothing else: a limit of zero on file sizes
forbids every write to a disk, no core dump is made (it would hold an image), and
it keeps no secret of the node. Started by `transcode`, which ends it when
it is late.

Messages in both directions: one byte of kind, four of length, content.
"""

import json
import resource
import signal
import socket
import struct
import sys
from collections.abc import Iterator
from ctypes import CDLL
from dataclasses import dataclass
from io import BufferedReader
from typing import Protocol

from leadglass.pixels.faults import Fault, Undecodable
from leadglass.pixels.pictures import picture
from leadglass.pixels.rewrite import Limits, rewrite
from leadglass.pixels.source import Source

READY = b"R"  # from the worker, once: its walls stand
JOB = b"J"  # to the worker: what to do, as JSON
DATA = b"D"  # both ways: a part of the data set
END = b"E"  # both ways: that was all
REWRITE = "rewrite"  # the kind of a job; the others are those of `pictures`
FAULT = b"X"  # from the worker: one byte, a number of `Fault`

HEADER = struct.Struct("!cI")
MESSAGE_BYTES_MAX = 1 << 20
WRITE_BUFFER_BYTES = 256 * 1024
READ_BUFFER_BYTES = 256 * 1024

# Codec libraries are opened on first use; nothing else is.
OPEN_FILES_MAX = 64
PR_SET_DUMPABLE = 4  # prctl(2)
PR_SET_NO_NEW_PRIVS = 38


@dataclass(frozen=True, kw_only=True, slots=True)
class Walls:
    """What a worker may take, as given by its parent."""

    memory_bytes_max: int
    image_cpu_s_max: int
    decoded_bytes_max: int
    inflated_bytes_max: int
    sequence_depth_max: int


def build_walls(memory_bytes_max: int) -> None:
    """Limit this process for good; called once everything is imported."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides, on Ctrl-C too
    for limit, value in (
        (resource.RLIMIT_AS, memory_bytes_max),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, OPEN_FILES_MAX),
    ):
        _, hard = resource.getrlimit(limit)
        if hard != resource.RLIM_INFINITY:
            value = min(value, hard)  # noqa: PLW2901
        resource.setrlimit(limit, (value, value))
    libc = CDLL(None, use_errno=True)
    # Not even where core dumps go to a pipe, which no limit holds for (core(5)).
    libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def limit_cpu(seconds: int) -> None:
    """End this process (SIGXCPU) when it uses so much more processor time.

    The parent ends a worker that is late, but may itself be gone.
    """
    usage = resource.getrusage(resource.RUSAGE_SELF)
    until = int(usage.ru_utime + usage.ru_stime) + seconds + 1
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (until, hard))


class Reader(Protocol):
    """What reads as many bytes as it is asked for, fewer only at the end."""

    def read(self, size: int, /) -> bytes:
        """Take bytes."""
        ...


class Sink:
    """Sends what is written as messages, small pieces gathered."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = bytearray()

    def write(self, data: bytes | memoryview) -> None:
        """Send a part of the result, now or with the next one."""
        if len(self._buffer) + len(data) <= WRITE_BUFFER_BYTES:
            self._buffer += data
            return
        self.flush()
        view = memoryview(data)
        for at in range(0, len(view), MESSAGE_BYTES_MAX):
            self._send(DATA, view[at : at + MESSAGE_BYTES_MAX])

    def flush(self) -> None:
        """Send what was gathered."""
        if self._buffer:
            self._send(DATA, self._buffer)
            self._buffer = bytearray()

    def end(self) -> None:
        """Say that the result is complete."""
        self.flush()
        self._send(END, b"")

    def fault(self, fault: Fault) -> None:
        """Say why there is no (further) result; what was gathered is void."""
        self._buffer = bytearray()
        self._send(FAULT, bytes([fault]))

    def _send(self, kind: bytes, content: bytes | bytearray | memoryview) -> None:
        self._connection.sendall(HEADER.pack(kind, len(content)))
        self._connection.sendall(content)


def receive(reader: Reader) -> tuple[bytes, bytes]:
    """Read one message.

    Raises:
        EOFError: The parent is gone, or never spoke our language.
    """
    head = reader.read(HEADER.size)
    if len(head) < HEADER.size:
        raise EOFError
    kind, length = HEADER.unpack(head)
    if length > MESSAGE_BYTES_MAX:
        raise EOFError
    content = reader.read(length)
    if len(content) < length:
        raise EOFError
    return kind, content


def _chunks(reader: Reader) -> Iterator[bytes]:
    """Yield the parts of the data set that the parent sends."""
    while True:
        kind, content = receive(reader)
        if kind == END:
            return
        if kind != DATA:
            raise EOFError
        yield content


def serve(connection: socket.socket, walls: Walls) -> None:
    """Do one job after another until the parent closes the socket.

    A worker that met a fault ends: whatever came in could have changed it.
    """
    limits = Limits(
        decoded_bytes_max=walls.decoded_bytes_max,
        inflated_bytes_max=walls.inflated_bytes_max,
        sequence_depth_max=walls.sequence_depth_max,
    )
    reader = BufferedReader(connection.makefile("rb", buffering=0), READ_BUFFER_BYTES)
    connection.sendall(HEADER.pack(READY, 0))
    sink = Sink(connection)
    while True:
        kind, content = receive(reader)
        if kind != JOB:
            return
        job = json.loads(content)
        limit_cpu(walls.image_cpu_s_max)
        try:
            if job["kind"] == REWRITE:
                chunks, target = _chunks(reader), job["target"]
                rewrite(chunks, job["syntax"], target, limits, sink.write)
            else:
                picture(job, Source(_chunks(reader)), sink)
            sink.end()
        except Undecodable as error:
            sink.fault(error.fault)
            return
        except MemoryError:
            sink.fault(Fault.MEMORY)
            return


def main(descriptor: int, settings: dict[str, int]) -> None:
    """Run as a process of its own."""
    walls = Walls(**settings)
    build_walls(walls.memory_bytes_max)
    with socket.socket(fileno=descriptor) as connection:
        try:
            serve(connection, walls)
        except (EOFError, BrokenPipeError, ConnectionResetError):
            pass  # the parent has closed, or is gone
        except Exception:  # noqa: BLE001 - a traceback would print image data
            sys.exit(1)
