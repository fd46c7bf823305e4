"""A node on a small disk of its own, which fills up: for ``test_disk_full``.

``unshare -m python -m tests.durability.full_disk FOLDER``: mounts a ``tmpfs`` that
nobody else sees and that ends with the process, and plays the scene on it. What is
not as it must be fails an assertion.
"""

import errno
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from leadglass.dicom.uids import new_uid
from tests.durability.clients import Client, Gone, associated
from tests.durability.instances import Instance, make_instance
from tests.support.node import Credentials, RunningNode

MiB = 1024 * 1024
DISK_BYTES = 192 * MiB
FREE_BYTES_MIN = 64 * MiB
OUT_OF_RESOURCES = 0xA700
# Records that a log file takes in its present length, at most.
ECHOES_MAX = 20_000
READINGS_MAX = 100
PIECE = bytes(MiB)


class Ballast:
    """A file that takes space away."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def take(self, size: int) -> None:
        with self._path.open("ab") as file:
            file.write(bytes(size))

    def take_all(self) -> None:
        """Leave not a byte."""
        for size in (MiB, 4096, 1):
            with self._path.open("ab", buffering=0) as file:
                try:
                    while file.write(PIECE[:size]) == size:
                        pass
                except OSError as error:
                    assert error.errno == errno.ENOSPC  # noqa: PT017  # no test here

    def give_back(self) -> None:
        self._path.unlink()


def vault(node: RunningNode) -> set[str]:
    """Return every file of the vault that takes space.

    A blob that is moved to its folder meanwhile can be missed: so it is read until
    two readings are alike.
    """
    readings = [_reading(node), _reading(node)]
    while readings[-1] != readings[-2]:
        assert len(readings) < READINGS_MAX
        readings.append(_reading(node))
    return readings[-1]


def _reading(node: RunningNode) -> set[str]:
    return {
        each.name
        for each in (node.home / "vault").rglob("*")
        if each.is_file() and each.stat().st_size
    }


class Scene:
    def __init__(self, disk: Path, node: RunningNode, device: Credentials) -> None:
        self.node = node
        self.device = device
        self.ballast = Ballast(disk / "ballast")
        self.acknowledged: list[Instance] = []
        self.study = new_uid()

    def store(self, to: Client) -> None:
        """Store something; that must work."""
        number = len(self.acknowledged)
        instance = make_instance(number, study=self.study, pixel_bytes=300_000)
        assert to.store(instance).status == 0
        self.acknowledged.append(instance)

    def check_refused(self, to: Client, instance: Instance, **how: object) -> None:
        """Try to store something; it must be refused and leave nothing."""
        before = vault(self.node)
        response = to.store(instance, **how)  # type: ignore[arg-type]
        assert response.status == OUT_OF_RESOURCES, hex(response.status)
        assert response.error_comment
        assert vault(self.node) == before

    def too_little_room(self, to: Client) -> None:
        self.ballast.take(DISK_BYTES - FREE_BYTES_MIN)
        self.check_refused(to, make_instance(1, study=self.study))
        # There is room for records, so everything else goes on.
        assert to.echo() == 0
        assert len(to.find(t0020000D=self.study)) == 1
        first = self.acknowledged[0]
        response, found = to.get(first.study, first.uid)
        assert response.status == 0
        assert found[first.uid][1] == first.data_set
        self.ballast.give_back()
        self.store(to)

    def full_in_the_middle(self, to: Client) -> None:
        for sent in (0.0, 0.5, 0.99):
            instance = make_instance(1, study=self.study, pixel_bytes=8 * MiB)
            before = vault(self.node)
            self.check_refused(to, instance, data_set=self.cut(instance, sent))
            self.ballast.give_back()
            assert vault(self.node) == before
            self.store(to)

    def cut(self, instance: Instance, share: float) -> Iterator[bytes]:
        """Yield a data set, and fill the disk when a part of it is sent."""
        whole = instance.data_set
        middle = int(len(whole) * share)
        for at in range(0, middle, 65_536):
            yield whole[at : min(at + 65_536, middle)]
        self.ballast.take_all()
        for at in range(middle, len(whole), 65_536):
            yield whole[at : at + 65_536]

    def no_room_for_records(self, to: Client) -> None:
        self.ballast.take_all()
        echoes = iter(range(ECHOES_MAX))
        while to.echo() == 0:  # as long as the log has room of its own
            next(echoes)
        # What cannot be recorded does not happen.
        assert to.echo() == OUT_OF_RESOURCES
        self.check_refused(to, make_instance(1, study=self.study))
        assert to.find_status(t0020000D=self.study) == OUT_OF_RESOURCES
        first = self.acknowledged[0]
        response, found = to.get(first.study, first.uid)
        assert response.status == OUT_OF_RESOURCES
        assert found == {}
        try:
            with associated(self.node, self.device):
                raise AssertionError("an association that is not on record")
        except Gone:
            pass
        self.ballast.give_back()
        assert to.echo() == 0
        self.store(to)

    def check_whole(self) -> None:
        with self.node.open() as opened:
            opened.recover()
            found = opened.verify(opened.operator)
            assert found.damages == []
            assert found.orphans == 0
            assert found.instances == len(self.acknowledged)
            assert opened.audit.verify().findings == ()
            names = set(opened.parts.blobs.names())
        assert vault(self.node) == names
        assert len(names) == len(self.acknowledged)


def main() -> None:
    disk = Path(sys.argv[1])
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(disk)],
        check=True,
    )
    node = RunningNode(disk / "home", {"storage.free_bytes_min": str(FREE_BYTES_MIN)})
    node.init()
    device = node.enrol("CT1")
    node.start()
    try:
        scene = Scene(disk, node, device)
        with associated(node, device) as to:
            scene.store(to)
            scene.too_little_room(to)
            scene.full_in_the_middle(to)
            scene.no_room_for_records(to)
        with associated(node, device) as to:
            scene.store(to)
            for instance in scene.acknowledged:
                response, found = to.get(instance.study, instance.uid)
                assert response.status == 0
                assert found[instance.uid][1] == instance.data_set
        assert node.stop() == 0
        scene.check_whole()
    finally:
        if node.process is not None:
            node.kill()


if __name__ == "__main__":
    main()
