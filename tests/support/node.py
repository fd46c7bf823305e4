"""A real node for tests: real files, real TLS, a real process."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from leadglass.app import Initialised, Node
from leadglass.audit.search import Record, Search
from leadglass.config import Config
from leadglass.identity.device import Device, parse_device

ROOT = Path(__file__).parents[2]
LOOPBACK = ("127.0.0.0/8",)
EVERYTHING = ("echo", "store", "find", "move", "get")
START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 60


@dataclass
class RunningNode:
    """One node in a folder; ``start`` serves it in a child process.

    Attributes:
        home: The data folder.
        settings: Overrides, by dotted name, for this object and the process.
        host, port: Where DICOM over TLS is, once started.
        under: What the process runs under, such as ``strace`` with its options; it
            must let it be our child.
        environment: Variables of the process beside our own.
    """

    home: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    host: str = "127.0.0.1"
    port: int = 0
    plaintext_port: int | None = None
    https_port: int | None = None
    process: subprocess.Popen[str] | None = None
    under: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def config(self) -> Config:
        return Config.load(self.home, os.environ, dict(self.settings))

    def init(self) -> Initialised:
        return Node.init(self.config)

    def open(self) -> Node:
        """Open the node in this process, also beside a running one."""
        return Node.open(self.config)

    def enrol(
        self,
        name: str,
        *,
        ae: Iterable[str] = (),
        networks: Iterable[str] = LOOPBACK,
        may: Iterable[str] = EVERYTHING,
        **more: Any,
    ) -> "Credentials":
        """Enrol a device with TLS; return where its files are."""
        folder = self.home.parent / f"{self.home.name}-{name}"
        device = parse_device(
            name=name,
            ae_titles=tuple(ae) or (name,),
            networks=networks,
            rights=may,
            now=datetime.now(UTC),
            **more,
        )
        with self.open() as node:
            enrolled = node.registrar.enrol(node.operator, device, folder)
        return Credentials(folder, enrolled)

    def start(self) -> None:
        """Serve in a child process; return once it listens."""
        overrides = [f"{name}={value}" for name, value in self.settings.items()]
        self.process = subprocess.Popen(
            [
                *(*self.under, sys.executable, "-m", "tests.support.serve"),
                *(str(self.home), *overrides),
            ],
            cwd=ROOT,
            env=os.environ
            | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
            | dict(self.environment),
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline().split()
        assert line, f"the node did not start: exit {self.process.wait()}"
        self.host, _, port = line[0].rpartition(":")
        self.port = int(port)
        if line[1] != "-":
            self.plaintext_port = int(line[1].rpartition(":")[2])
        if line[2] != "-":
            self.https_port = int(line[2].rpartition(":")[2])

    def stop(self) -> int:
        """End it in good order; return its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(STOP_TIMEOUT_S)
        self._forget()
        return code

    def kill(self) -> None:
        """End it as a power switch does, as far as a process can tell."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(STOP_TIMEOUT_S)
        self._forget()

    def _forget(self) -> None:
        assert self.process is not None
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.process = None

    def records(self) -> list[Record]:
        """Return the whole audit log."""
        with self.open() as node:
            return list(node.audit.list(Search()))


@dataclass(frozen=True)
class Credentials:
    """The files of an enrolled device."""

    folder: Path
    device: Device

    @property
    def key(self) -> str:
        return str(self.folder / "key.pem")

    @property
    def cert(self) -> str:
        return str(self.folder / "cert.pem")

    @property
    def ca(self) -> str:
        return str(self.folder / "ca.pem")

    @property
    def dcmtk(self) -> list[str]:
        """Options of DCMTK's programs."""
        return ["+tls", self.key, self.cert, "+cf", self.ca]


@contextmanager
def running(home: Path, **settings: str) -> Iterator[RunningNode]:
    """Give a fresh node that serves; end it afterwards, whatever happened.

    Settings are dotted names with ``__`` for the dot.
    """
    node = RunningNode(
        home, {name.replace("__", "."): value for name, value in settings.items()}
    )
    node.init()
    node.start()
    try:
        yield node
    finally:
        if node.process is not None:
            node.kill()
