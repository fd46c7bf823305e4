"""A power cut at any moment: what was acknowledged is there, whole, and on record.

A real node takes instances in while ``strace`` records what it does to its files;
then the disk is made as a power cut leaves it, at many moments, most of them right
after a sender was told that its instance is stored. What the model assumes of a file
system, and what it does not, stands in ``power``.
"""

import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from leadglass.access.scopes import EVERYTHING
from leadglass.app import Node
from leadglass.audit.codes import EventID
from leadglass.audit.search import Search
from leadglass.dicom.attributes import Level
from leadglass.dicom.uids import UID, new_uid
from leadglass.errors import NotFound
from leadglass.index.query import Selection
from leadglass.vault.blobs import BlobName
from leadglass.vault.keys import KeyId
from tests.durability.acts import store
from tests.durability.clients import associated
from tests.durability.instances import Instance, make_instance
from tests.durability.power import (
    ATTEMPTS_MAX,
    Cut,
    Recording,
    recorded,
    wait_for_end,
)
from tests.support.node import ROOT, Credentials, RunningNode

SEED = 11
SENDERS = 3
INSTANCES_PER_SENDER = 8
PIXEL_BYTES = (64, 4_096, 150_000)
CUTS_AFTER_ANSWERS = 10
CUTS_ELSEWHERE = 10
ACT_TIMEOUT_S = 120
JOIN_TIMEOUT_S = 120


@dataclass
class Answered:
    """An instance whose sender was told that it is stored, and when it heard."""

    instance: Instance
    at_ns: int


@dataclass
class Scene:
    """What was recorded, and what was promised meanwhile."""

    recording: Recording
    answered: list[Answered] = field(default_factory=list)


def send(
    node: RunningNode, device: Credentials, studies: list[UID], to: list[Answered]
) -> None:
    with associated(node, device) as client:
        for number in range(INSTANCES_PER_SENDER):
            instance = make_instance(
                number,
                study=studies[number % len(studies)],
                pixel_bytes=PIXEL_BYTES[number % len(PIXEL_BYTES)],
            )
            assert client.store(instance).status == 0
            to.append(Answered(instance, time.time_ns()))
        # Once more, and with other bytes: neither changes what is there.
        assert client.store(instance).status == 0
        other = make_instance(99, study=instance.study, SOPInstanceUID=instance.uid)
        assert client.store(other).status == 0x0111


@pytest.fixture(scope="module")
def ingest(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """Several senders at once, into the same studies; then a stop in good order."""
    for _ in range(ATTEMPTS_MAX):
        scene = record_ingest(tmp_path_factory.mktemp("ingest"))
        if scene.recording.is_in_order:
            return scene
    raise AssertionError("the clock of this machine is being set all the time")


def record_ingest(folder: Path) -> Scene:
    disk, traces = folder / "disk", folder / "traces"
    disk.mkdir()
    node = RunningNode(disk / "home", under=recorded(traces))
    node.init()
    devices = [node.enrol(f"CT{number}") for number in range(SENDERS)]
    shutil.copytree(disk, folder / "before")
    node.start()
    studies = [new_uid() for _ in range(3)]
    answered: list[Answered] = []
    senders = [
        threading.Thread(
            target=send, args=(node, device, studies, answered), daemon=True
        )
        for device in devices
    ]
    try:
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join(JOIN_TIMEOUT_S)
        assert node.stop() == 0
    finally:
        if node.process is not None:
            node.kill()
    wait_for_end(traces)
    assert len(answered) == SENDERS * INSTANCES_PER_SENDER
    return Scene(Recording(disk, folder / "before", traces), answered)


def moments(scene: Scene) -> list[int]:
    """Return when the power goes: after answers, and around changes of the disk."""
    chance = random.Random(SEED)
    times = [scene.recording.moment(each.at_ns) for each in scene.answered]
    if times:
        times = [min(times), max(times), *chance.sample(times, CUTS_AFTER_ANSWERS)]
    changes = scene.recording.moments
    elsewhere = chance.sample(changes, min(CUTS_ELSEWHERE, len(changes)))
    return sorted({*times, *elsewhere, changes[0] - 1, changes[-1]})


def look(opened: Node, instance: Instance) -> bytes:
    """Return an instance's data set as the index and the vault have it."""
    selection = Selection(level=Level.IMAGE, instance_uids=(instance.uid,))
    with opened.database.read() as connection:
        (found,) = opened.parts.index.instances(connection, selection, (EVERYTHING,))
    blob = BlobName(found.blob)
    begin, length = found.data_set_offset, found.data_set_bytes
    return b"".join(opened.parts.blobs.get(blob, begin, length))


def check_sound(opened: Node) -> int:
    """Nothing is damaged, nothing too much; return how many instances there are."""
    opened.database.verify()
    assert list(opened.parts.blobs.unsettled()) == []
    found = opened.verify(opened.operator)
    assert found.damages == []
    assert found.orphans == 0
    assert opened.audit.verify().findings == ()
    return found.instances


@pytest.mark.parametrize("cut", list(Cut), ids=lambda cut: cut.name.lower())
def test_what_was_acknowledged_survives(
    ingest: Scene, cut: Cut, tmp_path: Path
) -> None:
    for number, at in enumerate(moments(ingest)):
        folder = tmp_path / str(number)
        ingest.recording.after_cut(at, cut, folder, seed=number)
        with RunningNode(folder / "home").open() as opened:
            opened.recover()
            promised = [
                each.instance
                for each in ingest.answered
                if ingest.recording.moment(each.at_ns) <= at
            ]
            assert check_sound(opened) >= len(promised)
            for instance in promised:
                assert look(opened, instance) == instance.data_set
        shutil.rmtree(folder)


def test_something_is_lost_without_its_syncs(ingest: Scene, tmp_path: Path) -> None:
    """The model forgets what was not synced: it would find a node that does not."""
    ended = ingest.recording.moments[-1]
    ingest.recording.after_cut(ended, Cut.ALL_LOST, tmp_path / "whole")
    forgetful = ingest.recording
    kept = [(folder, list(folder.syncs)) for folder in forgetful.folders()]
    try:
        for folder, _ in kept:
            folder.syncs.clear()
        forgetful.after_cut(ended, Cut.ALL_LOST, tmp_path / "forgetful")
    finally:
        for folder, syncs in kept:
            folder.syncs.extend(syncs)
    whole, less = (
        sum(each.is_file() for each in (tmp_path / name / "home/vault").rglob("*"))
        for name in ("whole", "forgetful")
    )
    assert less + len(ingest.answered) <= whole


@dataclass(frozen=True)
class Before:
    """An archive on which an act is recorded."""

    disk: Path
    instances: tuple[Instance, ...]


@pytest.fixture
def archive(tmp_path: Path) -> Before:
    disk = tmp_path / "disk"
    disk.mkdir()
    node = RunningNode(disk / "home")
    node.init()
    studies = (new_uid(), new_uid())
    instances = tuple(
        make_instance(number, study=study, pixel_bytes=pixel_bytes)
        for number, (study, pixel_bytes) in enumerate(
            (study, pixel_bytes) for study in studies for pixel_bytes in PIXEL_BYTES
        )
    )
    with node.open() as opened:
        for instance in instances:
            store(opened, instance)
    return Before(disk, instances)


def act(archive: Before, *arguments: str) -> Scene:
    """Record an act (see ``acts``)."""
    folder = archive.disk.parent
    shutil.copytree(archive.disk, folder / "before")
    for _ in range(ATTEMPTS_MAX):
        scene = record_act(archive, *arguments)
        if scene.recording.is_in_order:
            return scene
        shutil.rmtree(archive.disk)
        shutil.rmtree(folder / "traces")
        shutil.copytree(folder / "before", archive.disk)
    raise AssertionError("the clock of this machine is being set all the time")


def record_act(archive: Before, *arguments: str) -> Scene:
    folder = archive.disk.parent
    subprocess.run(
        [
            *recorded(folder / "traces"),
            *(sys.executable, "-m", "tests.durability.acts"),
            *(str(archive.disk / "home"), *arguments),
        ],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
        stdout=subprocess.DEVNULL,
        timeout=ACT_TIMEOUT_S,
        check=True,
    )
    wait_for_end(folder / "traces")
    return Scene(Recording(archive.disk, folder / "before", folder / "traces"))


def cuts(scene: Scene, folder: Path) -> Sequence[tuple[int, Path]]:
    """Write the disk after many cuts of each kind; return when and where."""
    made = []
    for number, (cut, at) in enumerate(
        (cut, at) for cut in Cut for at in moments(scene)
    ):
        to = folder / f"cut-{number}"
        scene.recording.after_cut(at, cut, to, seed=number)
        made.append((at, to))
    return made


def test_an_erasure_is_whole_or_not_and_stays_when_it_was_told(
    archive: Before, tmp_path: Path
) -> None:
    doomed = archive.instances[0].study
    with RunningNode(archive.disk / "home").open() as opened:
        key = KeyId(opened.parts.index.study_key(opened.database, doomed) or "")
    scene = act(archive, "erase", doomed)
    outcomes = set()
    rest = tuple(each for each in archive.instances if each.study != doomed)
    for at, folder in cuts(scene, tmp_path):
        with RunningNode(folder / "home").open() as opened:
            opened.recover()
            said = list(opened.audit.list(Search(event=EventID.STUDY_DELETED)))
            outcomes.add(bool(said))
            assert said or at < scene.recording.moments[-1]
            expected = rest if said else archive.instances
            assert check_sound(opened) == len(expected)
            for instance in expected:
                assert look(opened, instance) == instance.data_set
            if said:
                assert key not in set(opened.keyring.key_ids())
                with pytest.raises(NotFound):
                    opened.keyring.study_key(key)
    assert outcomes == {False, True}


def test_a_rotation_leaves_every_key_readable(archive: Before, tmp_path: Path) -> None:
    scene = act(archive, "rotate")
    for at, folder in cuts(scene, tmp_path):
        with RunningNode(folder / "home").open() as opened:
            opened.recover()
            assert check_sound(opened) == len(archive.instances)
            if at == scene.recording.moments[-1]:
                assert not opened.keyring.rotation_is_unfinished


def test_an_enrolled_device_has_its_key(archive: Before, tmp_path: Path) -> None:
    out = archive.disk / "out"
    scene = act(archive, "enrol", "CT1", str(out))
    for at, folder in cuts(scene, tmp_path):
        with RunningNode(folder / "home").open() as opened:
            opened.recover()
            check_sound(opened)
            with opened.database.read() as connection, suppress(NotFound):
                opened.devices.get(connection, "CT1")
                files = {each.name for each in (folder / "out").iterdir()}
                assert {"key.pem", "cert.pem", "ca.pem"} <= files
                continue
        assert at < scene.recording.moments[-1], "the device was forgotten"
