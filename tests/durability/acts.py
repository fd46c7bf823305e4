"""One act on a node, in a process of its own: ``python -m tests.durability.acts``.

Arguments: data folder, name of the act, what it needs. Says ``begin`` when the node
is open and the act begins, so that a test can aim at it.
"""

import os
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from leadglass.app import Node, master_key_of
from leadglass.archive.ingest import Announced
from leadglass.config import Config
from leadglass.dicom.transfer_syntaxes import TRANSFER_SYNTAXES
from leadglass.dicom.uids import UID
from leadglass.identity.device import Device, parse_device
from leadglass.index.records import Added
from leadglass.vault.keys import KeyFile
from tests.durability.instances import Instance

BEGIN = b"begin\n"


def begin() -> None:
    os.write(1, BEGIN)


def store(node: Node, instance: Instance) -> Added:
    """Store an instance as its operator, past the wire."""
    arrival = node.ingest.begin(
        node.operator,
        Announced(
            instance.sop_class,
            instance.uid,
            TRANSFER_SYNTAXES[instance.transfer_syntax],
        ),
    )
    try:
        arrival.write(memoryview(instance.data_set))
        return arrival.finish()
    except BaseException as error:
        arrival.refuse(error)
        raise


def device(name: str) -> Device:
    return parse_device(
        name=name,
        ae_titles=(name,),
        networks=("127.0.0.0/8",),
        rights=("echo", "store"),
        now=datetime.now(UTC),
    )


def init(config: Config) -> None:
    begin()
    Node.init(config)


def erase(config: Config, study: str) -> None:
    with Node.open(config) as node:
        begin()
        node.erase(node.operator, UID(study), "a test")


def rotate(config: Config) -> None:
    with Node.open(config) as node:
        begin()
        rotate_keys(node)


def rotate_keys(node: Node) -> None:
    master = master_key_of(node.config)
    assert isinstance(master, KeyFile)
    node.keyring.rotate(master.stage(), install=master.install)


def rebuild(config: Config) -> None:
    with Node.open(config) as node:
        begin()
        node.rebuild(node.operator)


def enrol(config: Config, name: str, folder: str) -> None:
    with Node.open(config) as node:
        begin()
        node.registrar.enrol(node.operator, device(name), Path(folder))


def revoke(config: Config, name: str) -> None:
    with Node.open(config) as node:
        begin()
        node.registrar.revoke(node.operator, name, "a test")


ACTS: Mapping[str, Callable[..., None]] = {
    each.__name__: each for each in (init, erase, rotate, rebuild, enrol, revoke)
}


def main() -> None:
    home, act, *arguments = sys.argv[1:]
    ACTS[act](Config.load(Path(home), os.environ, {}), *arguments)


if __name__ == "__main__":
    main()
