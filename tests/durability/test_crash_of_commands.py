"""``kill -9`` before any change that a command makes to the disk.

``strace`` kills the process as it enters its n-th system call that changes a file or
makes it durable, in its main thread, for n spread over the whole command.
Whatever n is, the next start, or the same command again, finishes the work.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from sqlalchemy import select

from leadglass.access.scopes import EVERYTHING
from leadglass.app import Node
from leadglass.archive.tables import condemned_blob, condemned_key
from leadglass.audit.codes import EventID
from leadglass.audit.search import Search
from leadglass.dicom.attributes import Level
from leadglass.dicom.uids import UID, new_uid
from leadglass.errors import Misconfigured, Unavailable
from leadglass.index.query import Selection
from leadglass.vault.blobs import BlobName
from leadglass.vault.folder import FolderBlobs
from leadglass.vault.sealed import SealedBlobs
from tests.durability.acts import BEGIN, device, rotate_keys, store
from tests.durability.instances import Instance, make_instance
from tests.support.node import ROOT, RunningNode
from tests.unit.vault.faults import HookedDisk

STRACE = "/usr/bin/strace"
# Not every architecture has all of them; "?" says that this is no mistake.
CHANGING = ",".join(
    f"?{name}"
    for name in (
        *("write", "pwrite64", "writev", "pwritev", "ftruncate", "fsync", "fdatasync"),
        *("rename", "renameat", "renameat2", "unlink", "unlinkat", "rmdir"),
        *("mkdir", "mkdirat", "utimensat"),
    )
)
KILLS_PER_ACT = 7
SEED = 7
ACT_TIMEOUT_S = 120


@dataclass(frozen=True)
class Archive:
    """A data folder that is whole, and what is in it."""

    folder: Path
    instances: tuple[Instance, ...]
    doomed: UID

    @property
    def node(self) -> RunningNode:
        return RunningNode(self.folder / "home")

    def copy(self, to: Path) -> "Archive":
        shutil.copytree(self.folder, to)
        return replace(self, folder=to)


class Unsettling(Exception):
    """The machine went away before the blob could be settled."""


def refuse_to_settle(operation: str, path: str) -> None:
    if operation == "rename" and "incoming" not in path:
        raise Unsettling


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """Two studies, one of them to be erased; one blob whose settling was cut off."""
    folder = tmp_path_factory.mktemp("archive")
    node = RunningNode(folder / "home")
    node.init()
    node.enrol("MR1")
    doomed, other = new_uid(), new_uid()
    instances = tuple(
        make_instance(number, study=study, pixel_bytes=pixel_bytes)
        for number, (study, pixel_bytes) in enumerate(
            [(doomed, 64), (doomed, 300_000), (other, 64), (other, 64), (other, 64)]
        )
    )
    with node.open() as opened:
        for instance in instances[:-1]:
            store(opened, instance)
        unsettling = FolderBlobs.open(opened.layout.vault, HookedDisk(refuse_to_settle))
        opened.parts = replace(
            opened.parts, blobs=SealedBlobs(unsettling, opened.keyring)
        )
        opened._use_cases()
        store(opened, instances[-1])
        with pytest.raises(Unavailable):
            opened.parts.intake.catch_up()
        opened.parts.close()
        unsettling.close()
    return Archive(folder, instances, doomed)


def run(archive: Archive, *act: str, options: tuple[str, ...]) -> int:
    """Do an act under ``strace``; return how it ended."""
    command = [
        *(STRACE, "-f", "-qq", "-e", f"trace={CHANGING}", *options),
        *(sys.executable, "-m", "tests.durability.acts"),
        *(str(archive.folder / "home"), *act),
    ]
    return subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ
        | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.DEVNULL,
        timeout=ACT_TIMEOUT_S,
        check=False,
    ).returncode


def calls(archive: Archive, *act: str) -> list[tuple[str, int]]:
    """Return the calls of an act that is let live: a name, and the how many-th.

    ``strace`` counts each kind of call for itself.
    """
    trace = archive.folder / "trace"
    assert run(archive, *act, options=("-o", str(trace))) == 0
    lines = [line.split(maxsplit=1) for line in trace.read_text().splitlines()]
    main = lines[0][0]
    counts: Counter[str] = Counter()
    found: list[tuple[str, int]] = []
    has_begun = False
    for process, call in lines:
        name = call.partition("(")[0]
        if process != main or not name.isidentifier():
            continue
        counts[name] += 1
        if has_begun:
            found.append((name, counts[name]))
        has_begun = has_begun or f'"{BEGIN.decode().strip()}' in call
    return found


def killed(archive: Archive, folder: Path, *act: str) -> Iterator[Archive]:
    """Yield copies of an archive in each of which the act was killed elsewhere.

    ``FOLDER`` in an argument stands for the folder of the copy.
    """

    def said(copy: Archive) -> list[str]:
        return [each.replace("FOLDER", str(copy.folder)) for each in act]

    alive = archive.copy(folder / "alive")
    found = calls(alive, *said(alive))
    count = min(KILLS_PER_ACT, len(found))
    chosen = set(random.Random(SEED).sample(range(1, len(found) - 1), count - 2))
    for number in sorted(chosen | {0, len(found) - 1}):
        name, position = found[number]
        copy = archive.copy(folder / f"killed-{number}")
        kill = f"inject={name}:signal=KILL:when={position}"
        code = run(copy, *said(copy), options=("-o", "/dev/null", "-e", kill))
        assert code in {-signal.SIGKILL, 128 + signal.SIGKILL}, found[number]
        yield copy
        shutil.rmtree(copy.folder)


def check(opened: Node, instances: tuple[Instance, ...]) -> None:
    """Just these instances are there, whole; nothing else is, and it is on record."""
    found = opened.verify(opened.operator)
    assert (found.instances, found.damaged, found.orphans) == (len(instances), 0, 0)
    assert list(opened.parts.blobs.unsettled()) == []
    report = opened.audit.verify()
    assert report.findings == ()
    for instance in instances:
        selection = Selection(level=Level.IMAGE, instance_uids=(instance.uid,))
        with opened.database.read() as connection:
            (location,) = opened.parts.index.instances(
                connection, selection, (EVERYTHING,)
            )
        data = b"".join(
            opened.parts.blobs.get(
                BlobName(location.blob),
                location.data_set_offset,
                location.data_set_bytes,
            )
        )
        assert data == instance.data_set


def test_an_erasure_that_was_killed_is_finished_at_the_next_start(
    archive: Archive, tmp_path: Path
) -> None:
    outcomes = set()
    rest = tuple(each for each in archive.instances if each.study != archive.doomed)
    with archive.copy(tmp_path / "before").node.open() as opened:
        keys_before = set(opened.keyring.key_ids())
        doomed_key = opened.parts.index.study_key(opened.database, archive.doomed)
    for copy in killed(archive, tmp_path, "erase", archive.doomed):
        with copy.node.open() as opened:
            opened.recover()
            said = [
                record.event.objects[0].id
                for record in opened.audit.list(Search(event=EventID.STUDY_DELETED))
            ]
            keys = set(opened.keyring.key_ids())
            with opened.database.read() as connection:
                condemned = [
                    *connection.scalars(select(condemned_key.c.key_id)),
                    *connection.scalars(select(condemned_blob.c.blob)),
                ]
            assert condemned == []
            outcomes.add(bool(said))
            if said:
                assert said == [archive.doomed]
                assert keys == keys_before - {doomed_key}
                check(opened, rest)
                assert len(list(opened.parts.blobs.names())) == len(rest)
            else:
                assert keys == keys_before
                check(opened, archive.instances)
    assert outcomes == {False, True}  # killed before and after it was decided


def test_a_rotation_that_was_killed_leaves_every_key_and_can_be_done_again(
    archive: Archive, tmp_path: Path
) -> None:
    for copy in killed(archive, tmp_path, "rotate"):
        with copy.node.open() as opened:
            opened.recover()
            check(opened, archive.instances)
            rotate_keys(opened)
        with copy.node.open() as opened:
            assert not opened.keyring.rotation_is_unfinished
            check(opened, archive.instances)


def test_a_rebuild_that_was_killed_loses_nothing_and_can_be_done_again(
    archive: Archive, tmp_path: Path
) -> None:
    for copy in killed(archive, tmp_path, "rebuild"):
        with copy.node.open() as opened:
            opened.recover()  # as a start does, before anybody thinks of rebuilding
            opened.rebuild(opened.operator)
            check(opened, archive.instances)


def test_an_init_that_was_killed_is_completed_by_the_next(
    archive: Archive, tmp_path: Path
) -> None:
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    empty = replace(archive, folder=nothing, instances=())
    for copy in killed(empty, tmp_path, "init"):
        node = copy.node
        node.init()
        assert not node.init().created
        credentials = node.enrol("CT1")
        with node.open() as opened:
            store(opened, archive.instances[0])
            check(opened, archive.instances[:1])
        assert Path(credentials.key).exists()


def enrolled(opened: Node) -> set[str]:
    with opened.database.read() as connection:
        return {each.name for each in opened.devices.list(connection)}


def test_an_enrolment_that_was_killed_leaves_a_device_with_its_key_or_none(
    archive: Archive, tmp_path: Path
) -> None:
    outcomes = set()
    for copy in killed(archive, tmp_path, "enrol", "CT1", "FOLDER/home-CT1"):
        with copy.node.open() as opened:
            outcomes.add("CT1" in enrolled(opened))
            if "CT1" not in enrolled(opened):
                elsewhere = copy.folder / "elsewhere"
                opened.registrar.enrol(opened.operator, device("CT1"), elsewhere)
                assert (elsewhere / "key.pem").exists()
            else:
                with pytest.raises(Misconfigured, match="CT1"):
                    opened.registrar.enrol(
                        opened.operator, device("CT1"), copy.folder / "elsewhere"
                    )
            assert "CT1" in enrolled(opened)
            assert opened.audit.verify().findings == ()
    assert outcomes == {False, True}


def test_a_device_whose_revocation_was_killed_is_shut_out_or_as_before(
    archive: Archive, tmp_path: Path
) -> None:
    outcomes = set()
    for copy in killed(archive, tmp_path, "revoke", "MR1"):
        with copy.node.open() as opened:
            with opened.database.read() as connection:
                status = opened.devices.get(connection, "MR1").status
            outcomes.add(str(status))
            # The revocation list may be older than the register, which decides.
            opened.registrar.publish_revocations()
            assert opened.audit.verify().findings == ()
    assert len(outcomes) == 2
