"""DCMTK's programs, and a relay that gives TLS to those that have none."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.peers.client import NODE_TITLE
from tests.support.node import ROOT, Credentials, RunningNode

# Where Debian has them: pynetdicom installs programs of the same names.
FOLDER = Path("/usr/bin")
TIMEOUT_S = 60


def run(
    program: str,
    *arguments: str | Path,
    ok: bool = True,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run a program; return all that it says.

    ``ok`` is whether it must end well, or must not.
    """
    done = subprocess.run(
        [FOLDER / program, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=TIMEOUT_S,
        env=os.environ | dict(environment or {}),
        check=False,
    )
    text = done.stdout.decode("utf-8", "replace")
    assert (done.returncode == 0) is ok, f"{program}: {done.returncode}: {text}"
    return text


def to_node(
    program: str,
    node: RunningNode,
    device: Credentials,
    *arguments: str | Path,
    ok: bool = True,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run a program against the node, with TLS."""
    return run(
        program,
        "-v",
        *device.dcmtk,
        *titles(device),
        "localhost",
        str(node.port),
        *arguments,
        ok=ok,
        environment=environment,
    )


def titles(device: Credentials) -> list[str]:
    return ["-aet", device.device.ae_titles[0].text, "-aec", NODE_TITLE]


@contextmanager
def spawned(arguments: Sequence[str | Path], port: int) -> Iterator[None]:
    """Run something that listens; end it, by its id, at the end."""
    process = subprocess.Popen(
        list(arguments),
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(port, process)
        yield
    finally:
        process.terminate()
        process.wait(TIMEOUT_S)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until somebody listens; without connecting, which would be an event."""
    wanted = f":{port:04X}"
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        assert process.poll() is None, "it ended before it listened"
        for line in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]:
            _, local, _, state, *_ = line.split()
            if local.endswith(wanted) and state == "0A":  # LISTEN
                return
        time.sleep(0.02)
    message = "nobody listens"
    raise TimeoutError(message)


@contextmanager
def relayed(node: RunningNode, device: Credentials, port: int) -> Iterator[None]:
    """Carry plaintext from a port of this machine to the node's TLS."""
    with spawned(
        [
            sys.executable,
            "-m",
            "bench.relay",
            str(port),
            str(node.port),
            str(device.folder),
        ],
        port,
    ):
        yield
