"""A full or failing disk: refused, nothing acknowledged is lost, then it goes on."""

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from leadglass.app import Node, master_key_of
from leadglass.dicom.uids import new_uid
from leadglass.errors import Unavailable
from leadglass.vault.folder import FolderBlobs
from leadglass.vault.keys import Keyring
from leadglass.vault.sealed import SealedBlobs
from tests.durability.acts import store
from tests.durability.instances import make_instance
from tests.support.node import ROOT, RunningNode
from tests.unit.vault.faults import FailingDisk

SCENE_TIMEOUT_S = 240
NEVER = 10**9
# More changes of the disk than storing one instance takes.
CHANGES_MAX = 60


def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    """See ``full_disk``; in a mount namespace of its own, which ends with it."""
    # Who is not root may mount in a user namespace of his own.
    alone = ["unshare", "--mount"] + ["--map-root-user"] * (os.geteuid() != 0)
    done = subprocess.run(
        [*alone, sys.executable, "-m", "tests.durability.full_disk", str(tmp_path)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
        capture_output=True,
        text=True,
        timeout=SCENE_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def node(tmp_path: Path) -> RunningNode:
    made = RunningNode(tmp_path / "home")
    made.init()
    return made


@pytest.fixture
def opened(node: RunningNode) -> Iterator[Node]:
    with node.open() as made:
        yield made


def put_on(opened: Node, disk: FailingDisk) -> FolderBlobs:
    """Have a node keep its blobs and its study keys on another disk."""
    keyring = Keyring.open(opened.layout.keys, master_key_of(opened.config), disk)
    folder = FolderBlobs.open(opened.layout.vault, disk)
    opened.parts = replace(
        opened.parts, blobs=SealedBlobs(folder, keyring), keyring=keyring
    )
    opened._use_cases()
    return folder


@pytest.mark.parametrize("lasts", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO], ids=["full", "broken"])
def test_whichever_write_fails_it_is_refused_and_can_be_sent_again(
    node: RunningNode, opened: Node, error: int, lasts: bool
) -> None:
    disk = FailingDisk(NEVER, error, full=lasts)
    folder = put_on(opened, disk)
    stored, refused = 0, 0
    for changes in range(CHANGES_MAX):
        instance = make_instance(changes, study=new_uid(), pixel_bytes=300_000)
        # What is still done behind the last answer must not take this failure.
        opened.parts.intake.catch_up()
        disk.left, disk.failed = changes, 0
        try:
            store(opened, instance)
        except Unavailable:  # which is A700 to a device
            refused += 1
        has_failed, disk.left = disk.failed, NEVER
        # The same again, now that the disk is well: it is taken, be it new or not.
        store(opened, instance)
        stored += 1
        if not has_failed:
            break
    else:
        raise AssertionError("storing does not end")
    # File and key: created, written, synced, renamed, the key's folder synced.
    assert refused >= 9
    folder.close()
    opened.close()
    with node.open() as again:
        again.recover()
        found = again.verify(again.operator)
        assert found.damages == []
        assert (found.instances, found.orphans) == (stored, 0)
        assert again.audit.verify().findings == ()
        blobs = [
            each
            for each in again.layout.vault.rglob("*")
            if each.is_file() and each.stat().st_size
        ]
        assert len(blobs) == stored
        # A key that was drawn for nothing is harmless, but it must not be many.
        keys = list(again.keyring.key_ids())
        assert stored <= len(keys) <= stored + refused
