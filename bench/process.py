"""Processes and what they cost: CPU seconds and peak memory from /proc.

A server is the process that was started and all that descend from it, the
children that have ended included.
"""

import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")
LOOPBACK = "127.0.0.1"

STARTED_WITHIN_S = 60
STOPPED_WITHIN_S = 60
# What a server does after its last answer is its cost, too.
SETTLE_S = 1.0
# The longest single client run: a stalling peer is slow, not endless.
CLIENT_WITHIN_S = 900


class BenchError(Exception):
    """A measurement could not be taken; the text says which and why."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the third on (proc(5))."""
    return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()


def tree(root: int) -> list[int]:
    """Return a process and all its living descendants."""
    parents: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            try:
                parent = int(_stat(int(entry.name))[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
            parents.setdefault(parent, []).append(int(entry.name))
    found, queue = [], [root]
    while queue:
        pid = queue.pop()
        found.append(pid)
        queue.extend(parents.get(pid, []))
    return found


def cpu_s(root: int) -> float:
    """Return the CPU seconds of a process tree: user and system, ended and alive."""
    ticks = 0
    for pid in tree(root):
        try:
            ticks += sum(int(each) for each in _stat(pid)[11:15])
        except (FileNotFoundError, ProcessLookupError):
            continue
    return ticks / TICKS_PER_S


def _memory_kib(root: int, field: str) -> int:
    total = 0
    for pid in tree(root):
        try:
            status = (PROC / str(pid) / "status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        for line in status.splitlines():
            if line.startswith(f"{field}:"):
                total += int(line.split()[1])
    return total


def resident_mb(root: int) -> float:
    """Return the memory in use now, in MB (10^6 bytes)."""
    return _memory_kib(root, "VmRSS") * 1024 / 1e6


def peak_mb(root: int) -> float:
    """Return the highest memory in use since ``forget_peak``, in MB."""
    return _memory_kib(root, "VmHWM") * 1024 / 1e6


def forget_peak(root: int) -> None:
    """Begin a new peak at what is in use now (proc(5): clear_refs 5)."""
    for pid in tree(root):
        (PROC / str(pid) / "clear_refs").write_text("5")


@dataclass(frozen=True, slots=True)
class Cost:
    """What happened while something was measured.

    ``foreign_cores`` is the CPU that neither the server nor its clients used, in
    cores: above DISTURBED the figure says more about the neighbours than about us.
    """

    wall_s: float
    cpu_s: float
    foreign_cores: float


DISTURBED_CORES = 0.25


def _busy_s() -> float:
    """Return the CPU seconds of the whole machine, idle and waiting left out."""
    user, nice, system, _idle, _wait, irq, softirq, steal, *_ = (
        int(each) for each in (PROC / "stat").read_text().split("\n", 1)[0].split()[1:]
    )
    return (user + nice + system + irq + softirq + steal) / TICKS_PER_S


def _clients_s() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime + time.process_time()


class Stopwatch:
    """Measure a server while clients, which are our children, use it.

    ``beside`` are processes that go on running and serve the clients: a relay, a
    receiver. What they use is not foreign, and not the server's either.
    """

    def __init__(self, server: int, beside: Sequence[int] = ()) -> None:
        self._server, self._beside = server, beside
        self._cpu, self._busy, self._clients = cpu_s(server), _busy_s(), self._ours()
        self._start = time.perf_counter()

    def _ours(self) -> float:
        return _clients_s() + sum(cpu_s(each) for each in self._beside)

    def stop(self) -> Cost:
        wall = time.perf_counter() - self._start
        busy, clients = _busy_s() - self._busy, self._ours() - self._clients
        known = cpu_s(self._server) - self._cpu + clients
        time.sleep(SETTLE_S)
        return Cost(
            wall_s=wall,
            cpu_s=cpu_s(self._server) - self._cpu,
            foreign_cores=max(0.0, busy - known) / wall,
        )


def environment(*, nodelay: bool = False, **more: str) -> dict[str, str]:
    """Return the environment of a peer; DCMTK obeys TCP_NODELAY in its own."""
    kept = {k: v for k, v in os.environ.items() if k != "TCP_NODELAY"}
    return kept | ({"TCP_NODELAY": "1"} if nodelay else {}) | more


def run_together(commands: Sequence[Sequence[str]], env: Mapping[str, str]) -> None:
    """Run clients at the same time; all must succeed, each in CLIENT_WITHIN_S."""
    running = [
        subprocess.Popen(
            command,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for command in commands
    ]
    try:
        for client, command in zip(running, commands, strict=True):
            out, _ = client.communicate(timeout=CLIENT_WITHIN_S)
            if client.returncode:
                tail = out.decode(errors="replace")[-800:]
                message = (
                    f"{Path(command[0]).name} ended with {client.returncode}: {tail}"
                )
                raise BenchError(message)
    except subprocess.TimeoutExpired as slow:
        message = f"{Path(slow.cmd[0]).name} did not end in {CLIENT_WITHIN_S} s"
        raise BenchError(message) from slow
    finally:
        for client in running:
            if client.poll() is None:
                client.kill()
                client.wait()


def run(command: Sequence[str], env: Mapping[str, str]) -> None:
    run_together([command], env)


def wait_for_port(process: subprocess.Popen[bytes], port: int, name: str) -> None:
    """Return once something listens there.

    Raises:
        BenchError: the server ended, or did not listen in STARTED_WITHIN_S.
    """
    until = time.monotonic() + STARTED_WITHIN_S
    while time.monotonic() < until:
        if process.poll() is not None:
            message = f"{name} ended with {process.returncode} before it listened"
            raise BenchError(message)
        try:
            socket.create_connection((LOOPBACK, port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    message = f"{name} did not listen within {STARTED_WITHIN_S} s"
    raise BenchError(message)


def stop(process: subprocess.Popen[bytes]) -> int:
    """Ask a process to end and return its exit code; kill it when it does not."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOPPED_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    return process.returncode


@contextmanager
def server(
    command: Sequence[str], env: Mapping[str, str], port: int, log: Path
) -> Iterator[int]:
    """Run a peer that listens on a port; give its process id."""
    with log.open("ab") as out:
        process = subprocess.Popen(
            command,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_for_port(process, port, Path(command[0]).name)
        yield process.pid
    finally:
        stop(process)
