"""Images in the uncompressed form that a receiver takes, made in worker processes.

For C-MOVE and C-GET sub-operations to receivers that accept nothing else. Codecs
are C code fed with what strangers sent: a crash, a bomb or a hang ends a worker,
never the node. Plaintext passes through sockets only, no disk.
"""

import contextlib
import json
import select
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self

from leadglass.config import Limits, Pixels
from leadglass.dicom.uids import UID
from leadglass.errors import BadData, LeadglassError, Unavailable
from leadglass.pixels.faults import Fault, error_of
from leadglass.pixels.rewrite import (
    DEFLATED_EXPLICIT_VR_LE,
    ENCAPSULATED,
    NATIVE,
    TARGETS,
)
from leadglass.pixels.worker import (
    DATA,
    END,
    FAULT,
    HEADER,
    JOB,
    MESSAGE_BYTES_MAX,
    READY,
    REWRITE,
)

# What `Transcoder` can read, compressed and not.
DECODABLE: frozenset[UID] = frozenset(UID(uid) for uid in (*ENCAPSULATED, *NATIVE))

# A result up to this size is complete before its first byte is given, so that an
# image that cannot be decoded costs one sub-operation and not the association.
COMPLETE_BYTES_MAX = 16 << 20
QUEUE_TIMEOUT_S = 60.0  # how long a caller waits for a free worker
START_TIMEOUT_S = 30.0  # a worker imports its libraries, on a busy machine
STOP_TIMEOUT_S = 5.0
RECEIVE_BYTES = 256 * 1024
# All frames of one image together: 50,000 tiles of a slide take about 250 s.
IMAGE_CPU_S_MAX = 600
# Elements grow when they get a VR or a delimiter, at most to twice their size.
GROWTH_MAX = 2
RESULT_SLACK_BYTES = 1 << 20

# Signals by which hostile data ends a codec; others come from outside.
_CRASHES = {
    signal.SIGSEGV: Fault.CRASH,
    signal.SIGABRT: Fault.CRASH,
    signal.SIGBUS: Fault.CRASH,
    signal.SIGFPE: Fault.CRASH,
    signal.SIGILL: Fault.CRASH,
    signal.SIGXCPU: Fault.TIME,
    signal.SIGXFSZ: Fault.CRASH,
}

# -I takes no code from the environment or the working folder; the path is ours.
_BOOT = """\
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from leadglass.pixels.worker import main
main(int(sys.argv[2]), json.loads(sys.argv[3]))
"""
# One thread a worker: more would only take memory from each other.
_ENVIRONMENT = {
    "LC_ALL": "C.UTF-8",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


def _start(descriptor: int, settings: dict[str, int]) -> subprocess.Popen[bytes]:
    """Start a worker on its end of a socket; OSError: that is not possible."""
    arguments = [json.dumps(sys.path), str(descriptor), json.dumps(settings)]
    return subprocess.Popen(  # noqa: S603 - our own interpreter and code
        [sys.executable, "-I", "-c", _BOOT, *arguments],
        pass_fds=(descriptor,),
        env=_ENVIRONMENT,
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,  # codecs print what they read
    )


class Worker:
    """The node's end of one worker process."""

    def __init__(self, settings: dict[str, int]) -> None:
        self.connection, theirs = socket.socketpair()
        with theirs:
            try:
                self.process = _start(theirs.fileno(), settings)
            except OSError:
                self.connection.close()
                raise
        self.connection.setblocking(False)
        self.is_ready = False
        self.task_count = 0

    def end(self) -> int:
        """End the process, however it is; return its exit status."""
        self.connection.close()
        if self.process.poll() is None:
            self.process.kill()
        return self.process.wait(STOP_TIMEOUT_S)

    def retire(self) -> None:
        """Let an idle process end by itself."""
        self.connection.close()
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.end()

    def diagnose(self) -> Fault:
        """Say why the process went away in the middle of a job."""
        try:
            status = self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return Fault.CRASH  # it closed its socket and stayed: no longer ours
        if status < 0:
            return _CRASHES.get(signal.Signals(-status), Fault.WORKER)
        return Fault.CRASH if status else Fault.WORKER


class Transcoder:
    """Gives stored instances in another transfer syntax.

    Safe to use from many threads; workers are started when first needed, and
    replaced after a number of images or any fault.
    """

    def __init__(
        self,
        pixels: Pixels = Pixels(),  # noqa: B008 - frozen
        limits: Limits = Limits(),  # noqa: B008
    ) -> None:
        self._pixels = pixels
        self._limits = limits
        self._places = threading.BoundedSemaphore(pixels.worker_count_max)
        self._lock = threading.Lock()
        self._idle: list[Worker] = []
        self._all: set[Worker] = set()
        self._is_closed = False

    def transcode(
        self, source: Iterable[bytes] | bytes, source_syntax: UID, target: UID
    ) -> Iterator[bytes]:
        """Yield a data set in the target transfer syntax.

        ``source`` is the data set alone, without preamble and file meta
        information; ``target`` is Explicit or Implicit VR Little Endian. An error
        may come after the first chunk only when the result is larger than
        ``COMPLETE_BYTES_MAX``. Close the iterator when it is not read to its end.

        Raises:
            BadData: The data set is broken, or its frames cannot be decoded.
            Unavailable: No worker is free or can be started, or one was lost.
        """
        if target not in TARGETS:
            raise ValueError("the target is Explicit or Implicit VR Little Endian")
        if source_syntax not in DECODABLE:
            raise BadData("there is no decoder for this transfer syntax")
        chunks = (source,) if isinstance(source, bytes) else source
        if source_syntax == target:
            return iter(chunks)
        job = {"kind": REWRITE, "syntax": source_syntax, "target": target}
        return self.work(job, chunks, self._result_bytes_max(source_syntax))

    def work(
        self, job: Mapping[str, Any], chunks: Iterable[bytes], result_bytes_max: int
    ) -> Iterator[bytes]:
        """Have any job done by a worker; yields like `transcode`.

        ``result_bytes_max`` is what the result may have beyond twice what is sent.

        Raises:
            BadData: The worker has found a fault, was too slow or crashed.
            Unavailable: No worker is free or can be started, or one was lost.
        """
        return self._complete(self._work(job, chunks, result_bytes_max))

    def close(self) -> None:
        """End all workers; what is being transcoded fails with Unavailable."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
            self._all.difference_update(idle)
            busy = list(self._all)
        for worker in idle:
            worker.end()
        for worker in busy:  # its caller notices, and clears up
            worker.process.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _complete(self, parts: Generator[bytes]) -> Iterator[bytes]:
        """Hold back the beginning of a result, so that small ones are whole."""
        held: deque[bytes] = deque()
        size = 0
        with contextlib.closing(parts):
            for part in parts:
                held.append(part)
                size += len(part)
                if size > COMPLETE_BYTES_MAX:
                    break
            while held:
                yield held.popleft()
            yield from parts

    def _work(
        self, job: Mapping[str, Any], chunks: Iterable[bytes], result_bytes_max: int
    ) -> Generator[bytes]:
        """Have one image done by a worker."""
        if not self._places.acquire(timeout=QUEUE_TIMEOUT_S):
            raise Unavailable("all pixel workers are busy (pixels.worker_count_max)")
        try:
            worker = self._take()
            is_done = False
            try:
                conversation = _Conversation(
                    worker, self._pixels.frame_timeout_s, result_bytes_max
                )
                yield from conversation.run(json.dumps(job).encode(), chunks)
                is_done = True
            finally:
                self._give_back(worker, is_reusable=is_done)
        finally:
            self._places.release()

    def _result_bytes_max(self, syntax: UID) -> int:
        """What a result may have beyond twice its source."""
        if syntax == DEFLATED_EXPLICIT_VR_LE:
            return GROWTH_MAX * self._limits.inflated_bytes_max
        if syntax in ENCAPSULATED:
            return self._pixels.decoded_bytes_max
        return 0

    def _take(self) -> Worker:
        with self._lock:
            if self._is_closed:
                raise Unavailable("the node is stopping")
            if self._idle:
                return self._idle.pop()
        try:
            worker = Worker(
                {
                    "memory_bytes_max": self._pixels.memory_bytes_max,
                    "image_cpu_s_max": IMAGE_CPU_S_MAX,
                    "decoded_bytes_max": self._pixels.decoded_bytes_max,
                    "inflated_bytes_max": self._limits.inflated_bytes_max,
                    "sequence_depth_max": self._limits.sequence_depth_max,
                }
            )
        except OSError as error:
            raise Unavailable("a pixel worker cannot be started") from error
        with self._lock:
            self._all.add(worker)
            is_closed = self._is_closed
        if is_closed:
            self._give_back(worker, is_reusable=False)
            raise Unavailable("the node is stopping")
        return worker

    def _give_back(self, worker: Worker, *, is_reusable: bool) -> None:
        worker.task_count += 1
        is_worn = worker.task_count >= self._pixels.tasks_per_worker_max
        with self._lock:
            if is_reusable and not is_worn and not self._is_closed:
                self._idle.append(worker)
                return
            self._all.discard(worker)
        if is_reusable:
            worker.retire()
        else:
            worker.end()


class _Conversation:
    """One job: feeds the worker and takes from it, whichever can go on.

    Neither side may wait for the other to read first, or both would wait for ever;
    and at most a message is held of either direction.
    """

    def __init__(self, worker: Worker, timeout_s: float, result_bytes_max: int) -> None:
        self._worker = worker
        self._socket = worker.connection
        self._timeout_s = timeout_s
        self._allowance = result_bytes_max + RESULT_SLACK_BYTES
        self._outgoing: list[memoryview] = []
        self._is_sent = False
        self._head = bytearray()
        self._kind = b""
        self._left = 0

    def run(self, job: bytes, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the parts of the result.

        Raises:
            BadData: The worker has found a fault, was too slow or crashed.
            Unavailable: The worker was lost.
        """
        messages = self._messages(job, chunks)
        poll = select.poll()
        poll.register(self._socket, select.POLLIN | select.POLLOUT)
        while True:
            if not self._outgoing and not self._is_sent:
                self._outgoing = next(messages, [])
                if not self._outgoing:
                    self._is_sent = True
                    poll.modify(self._socket, select.POLLIN)
            is_ready = self._worker.is_ready
            timeout_s = self._timeout_s if is_ready else START_TIMEOUT_S
            events = poll.poll(timeout_s * 1000)
            if not events:
                raise error_of(Fault.TIME if is_ready else Fault.WORKER)
            if events[0][1] & select.POLLIN:
                part = self._receive()
                if part is None:
                    return
                if part:
                    yield part
            elif events[0][1] & select.POLLOUT:
                self._send()
            else:
                raise self._loss()

    def _loss(self) -> LeadglassError:
        """Make the error for a worker that went away."""
        fault = self._worker.diagnose()
        return error_of(fault if self._worker.is_ready else Fault.WORKER)

    def _messages(
        self, job: bytes, chunks: Iterable[bytes]
    ) -> Iterator[list[memoryview]]:
        """Yield each message to the worker as the buffers it consists of."""
        yield [memoryview(HEADER.pack(JOB, len(job)) + job)]
        for chunk in chunks:
            view = memoryview(chunk)
            self._allowance += GROWTH_MAX * len(view)
            for at in range(0, len(view), MESSAGE_BYTES_MAX):
                piece = view[at : at + MESSAGE_BYTES_MAX]
                yield [memoryview(HEADER.pack(DATA, len(piece))), piece]
        yield [memoryview(HEADER.pack(END, 0))]

    def _send(self) -> None:
        try:
            sent = self._socket.sendmsg(self._outgoing)
        except BlockingIOError:
            return
        except OSError:
            # It has ended, perhaps with a word why, which is read first.
            self._is_sent, self._outgoing = True, []
            return
        while sent:
            first = self._outgoing[0]
            self._outgoing[:1] = [first[sent:]] if sent < len(first) else []
            sent -= min(sent, len(first))

    def _receive(self) -> bytes | None:
        """Take what is there; None at the end of the result."""
        want = self._left or HEADER.size - len(self._head)
        try:
            data = self._socket.recv(min(want, RECEIVE_BYTES))
        except BlockingIOError:
            return b""
        except OSError:
            data = b""
        if not data:
            raise self._loss()
        if self._left:
            self._left -= len(data)
            return self._content(data)
        self._head += data
        if len(self._head) < HEADER.size:
            return b""
        kind, length = HEADER.unpack(self._head)
        self._head.clear()
        if kind == END and length == 0 and self._is_sent:
            return None
        self._begin(kind, length)
        return b""

    def _begin(self, kind: bytes, length: int) -> None:
        """Judge a message by its header, before any of its content."""
        self._kind, self._left = kind, length
        if kind == READY and length == 0:
            self._worker.is_ready = True
            return
        if kind == DATA and length <= MESSAGE_BYTES_MAX:
            self._allowance -= length
            if self._allowance >= 0:
                return
        elif kind == FAULT and length == 1:
            return
        raise error_of(Fault.CRASH)  # no worker of ours speaks so

    def _content(self, data: bytes) -> bytes:
        if self._kind == DATA:
            return data
        known = data[0] in Fault.__members__.values()
        raise error_of(Fault(data[0]) if known else Fault.CRASH)
