"""A whole node in this process, made once; and what is stored in it."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from leadglass.app import Node
from leadglass.archive.caller import Caller
from leadglass.archive.ingest import Announced
from leadglass.config import Config
from leadglass.dicom.transfer_syntaxes import EXPLICIT_VR_LE, TRANSFER_SYNTAXES
from leadglass.dicom.uids import UID
from leadglass.identity.device import parse_device
from tests.unit.servers.instances import make_instance
from tests.unit.wire.rig import CT


def config_of(home: Path) -> Config:
    return Config.load(home, {}, {"dimse.listen": "127.0.0.1:0"})


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    Node.init(config_of(folder / "home"))
    return folder


@contextmanager
def opened(made_once: Path, folder: Path) -> Iterator[Node]:
    """Open a copy of the node that was made once."""
    shutil.copytree(made_once, folder)
    with Node.open(config_of(folder / "home")) as node:
        yield node


@pytest.fixture
def node(made_once: Path, tmp_path: Path) -> Iterator[Node]:
    with opened(made_once, tmp_path / "node") as node:
        yield node


Enrol = Callable[..., Caller]


def enroller(node: Node, folder: Path) -> Enrol:
    """Return a function that enrols a device and gives it as a caller."""

    def enrol(name: str, *rights: str, scope: str = "everything") -> Caller:
        device = parse_device(
            name=name,
            ae_titles=(name.upper(),),
            networks=("127.0.0.0/8",),
            rights=rights,
            now=datetime.now(UTC),
            scope=scope,
        )
        node.registrar.enrol(node.operator, device, folder / name)
        node.devices._looked_s = float("-inf")  # or it would be known a second later
        return Caller(
            device.subject, ip_address("127.0.0.1"), name.upper(), channel="TLSv1.3"
        )

    return enrol


@pytest.fixture
def enrol(node: Node, tmp_path: Path) -> Enrol:
    return enroller(node, tmp_path)


Store = Callable[..., None]


@pytest.fixture
def store(node: Node, enrol: Enrol) -> Store:
    """Return a function that stores an instance as a device does."""
    caller = enrol("modality", "store")

    def store(number: int = 1, **more: Any) -> None:
        instance = make_instance(number, **more)
        announced = Announced(CT, instance.uid, TRANSFER_SYNTAXES[UID(EXPLICIT_VR_LE)])
        arrival = node.ingest.begin(caller, announced)
        arrival.write(memoryview(instance.data))
        arrival.finish()

    return store
