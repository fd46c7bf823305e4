"""``kill -9`` at random moments of ingest: all that was acknowledged is there.

One data folder through fifty deaths. Several devices send at once and note what was
answered with 0x0000; the node is killed in the middle, sometimes already while it
starts, and started again. A process that dies loses nothing that it wrote, so this
is about order; what a power cut loses besides is in ``test_power_loss``.
"""

import random
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from leadglass.access.scopes import EVERYTHING
from leadglass.app import Node
from leadglass.dicom.attributes import Level
from leadglass.dicom.uids import UID, new_uid
from leadglass.errors import PeerError
from leadglass.index.query import Selection
from leadglass.vault.blobs import BlobName
from tests.durability.clients import Gone, associated
from tests.durability.instances import Instance, make_instance
from tests.support.node import Credentials, RunningNode

KILLS = 50
SEED = 20_240_131
SENDERS = 3
# Sizes of one and of several segments, and of one PDU and of many.
PIXEL_BYTES = (64, 4_096, 60_000, 400_000)
STUDIES = 6
# The whole archive is read this often; in between, what is new.
KILLS_PER_VERIFY = 10
SERVED_S = (0.0, 0.35)
STARTING_S = (0.3, 1.2)
SHARE_KILLED_WHILE_STARTING = 0.15
ASKED_BACK_MAX = 5
JOIN_TIMEOUT_S = 60


class Sender(threading.Thread):
    """A device that sends until nobody answers."""

    def __init__(
        self, node: RunningNode, credentials: Credentials, studies: list[UID], seed: int
    ) -> None:
        super().__init__(daemon=True)
        self._node = node
        self._credentials = credentials
        self._studies = studies
        self._random = random.Random(seed)
        self.acknowledged: list[Instance] = []
        self.refused: list[int] = []
        self.sent = 0

    def run(self) -> None:
        with suppress(Gone, PeerError), associated(self._node, self._credentials) as to:
            while True:
                if self.acknowledged and self._random.random() < 0.1:
                    instance = self._random.choice(self.acknowledged)  # once more
                else:
                    instance = make_instance(
                        self._random.randrange(60_000),
                        study=self._random.choice(self._studies),
                        pixel_bytes=self._random.choice(PIXEL_BYTES),
                    )
                self.sent += 1
                status = to.store(instance).status
                if status:
                    self.refused.append(status)
                else:
                    self.acknowledged.append(instance)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[RunningNode]:
    made = RunningNode(tmp_path / "home")
    made.init()
    yield made
    if made.process is not None:
        made.kill()


def kill_while_starting(node: RunningNode, after_s: float) -> None:
    """Start it and kill it at some moment, be it up by then or not."""
    with_node = threading.Thread(target=lambda: _start(node), daemon=True)
    with_node.start()
    time.sleep(after_s)
    assert node.process is not None
    node.process.kill()
    with_node.join(JOIN_TIMEOUT_S)
    node.kill()


def _start(node: RunningNode) -> None:
    with suppress(AssertionError):  # it says nothing when it is dead
        node.start()


def check_settled(opened: Node) -> None:
    """Nothing is left of what died: each blob has its row, each row its blob."""
    assert list(opened.parts.blobs.unsettled()) == []
    names = list(opened.parts.blobs.names())
    with opened.database.read() as connection:
        assert opened.parts.index.known_blobs(connection, names) == set(names)
        rows = {each.blob for each in opened.parts.index.all_instances(connection)}
    assert rows <= set(names)
    leftovers = [
        each.name
        for each in (opened.layout.vault / "incoming").rglob("*")
        if each.is_file() and each.suffix != ".lock"
    ]
    assert leftovers == []


def check_present(opened: Node, acknowledged: list[Instance]) -> None:
    """Each instance is in the index, and its bytes are those that were sent."""
    for instance in acknowledged:
        selection = Selection(
            level=Level.IMAGE,
            study_uids=(instance.study,),
            instance_uids=(instance.uid,),
        )
        with opened.database.read() as connection:
            found = list(
                opened.parts.index.instances(connection, selection, (EVERYTHING,))
            )
        assert len(found) == 1, "an acknowledged instance is missing"
        location = found[0]
        data = b"".join(
            opened.parts.blobs.get(
                BlobName(location.blob),
                location.data_set_offset,
                location.data_set_bytes,
            )
        )
        assert data == instance.data_set


@pytest.mark.timeout(600)
def test_nothing_acknowledged_is_lost_in_fifty_kills(node: RunningNode) -> None:
    chance = random.Random(SEED)
    devices = [node.enrol(f"CT{number}") for number in range(SENDERS)]
    studies = [new_uid() for _ in range(STUDIES)]
    everything: list[Instance] = []
    sent = 0
    for kill in range(1, KILLS + 1):
        if chance.random() < SHARE_KILLED_WHILE_STARTING:
            kill_while_starting(node, chance.uniform(*STARTING_S))
            continue
        node.start()
        with node.open() as opened:
            check_settled(opened)
            check_present(opened, everything[-SENDERS * 5 :])
            if kill % KILLS_PER_VERIFY == 0:
                check_whole(opened, everything)
        senders = [
            Sender(node, device, studies, chance.randrange(2**32)) for device in devices
        ]
        for sender in senders:
            sender.start()
        time.sleep(chance.uniform(*SERVED_S))
        node.kill()
        for sender in senders:
            sender.join(JOIN_TIMEOUT_S)
            assert not sender.is_alive()
            assert sender.refused == []
            everything += sender.acknowledged
            sent += sender.sent
    # Most deaths must have come in the middle of something, or nothing was shown.
    assert sent > len(everything) > KILLS
    node.start()
    with node.open() as opened:
        check_settled(opened)
        check_present(opened, everything)
        check_whole(opened, everything)
    with associated(node, devices[0]) as to:
        for instance in chance.sample(everything, ASKED_BACK_MAX):
            response, found = to.get(instance.study, instance.uid)
            assert response.status == 0
            assert found[instance.uid][1] == instance.data_set


def check_whole(opened: Node, acknowledged: list[Instance]) -> None:
    found = opened.verify(opened.operator)
    assert (found.damaged, found.orphans) == (0, 0)
    assert found.instances >= len({each.uid for each in acknowledged})
    report = opened.audit.verify()
    assert report.findings == ()
