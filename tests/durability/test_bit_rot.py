"""Any byte that changes on the disk is found, told, and never given out.

Each test flips bytes, at seeded places, in files of one kind of a data folder that is
whole, and asks of the node what an operator and a device ask of it: does it start,
does ``verify`` name what is damaged, is it on the record, is it served?
"""

import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from leadglass.access.scopes import EVERYTHING
from leadglass.app import Node
from leadglass.audit.codes import EventID, EventType, Outcome
from leadglass.audit.search import Search
from leadglass.dicom.attributes import Level
from leadglass.dicom.uids import new_uid
from leadglass.errors import Damaged, LeadglassError, Misconfigured
from leadglass.index.query import Selection
from leadglass.vault.keys import KeyId
from leadglass.vault.sealed import HEAD_BYTES
from tests.durability.acts import store
from tests.durability.clients import Gone, associated
from tests.durability.instances import Instance, make_instance
from tests.support.node import Credentials, RunningNode

SEED = 5
SEGMENT_BYTES = 128 * 1024
# Three segments, the last one short, and one segment alone.
LARGE, SMALL = 300_000, 4_096
FLIPS = 6
PAGE_BYTES = 4096
STUDY_WITH_FAILURES = 0xB000
UNABLE = 0xA702


@dataclass(frozen=True)
class Archive:
    """A data folder that is whole."""

    folder: Path
    large: Instance
    small: tuple[Instance, ...]
    device: Credentials

    @property
    def node(self) -> RunningNode:
        return RunningNode(self.folder / "home")

    @property
    def instances(self) -> tuple[Instance, ...]:
        return (self.large, *self.small)

    def path(self, name: str) -> Path:
        return self.folder / "home" / name

    def blob(self, instance: Instance) -> Path:
        """Return the file of an instance."""
        selection = Selection(level=Level.IMAGE, instance_uids=(instance.uid,))
        with self.node.open() as opened, opened.database.read() as connection:
            (found,) = opened.parts.index.instances(
                connection, selection, (EVERYTHING,)
            )
        return self.path(f"vault/{found.blob[:2]}/{found.blob}")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    folder = tmp_path_factory.mktemp("whole")
    node = RunningNode(folder / "home")
    node.init()
    device = node.enrol("CT1")
    study = new_uid()
    large = make_instance(1, study=study, pixel_bytes=LARGE)
    # Random UIDs differ in length; the first two must not, for what is done to them.
    small = tuple(
        make_instance(
            number,
            study=each,
            pixel_bytes=SMALL,
            SOPInstanceUID=f"{study[:50]}.{number}",
        )
        for number, each in enumerate((study, study, new_uid()), start=2)
    )
    with node.open() as opened:
        for instance in (large, *small):
            store(opened, instance)
    return Archive(folder, large, small, device)


@pytest.fixture
def archive(whole: Archive, tmp_path: Path) -> Archive:
    shutil.copytree(whole.folder, tmp_path / "copy")
    return replace(whole, folder=tmp_path / "copy")


def flip(path: Path, at: int, chance: random.Random) -> None:
    """Change one byte; its place may be counted from the end."""
    content = bytearray(path.read_bytes())
    content[at] ^= chance.randrange(1, 256)
    path.write_bytes(content)


def flipped(path: Path, places: list[int]) -> Iterator[int]:
    """Yield with each byte flipped in turn, and put it back after."""
    before = path.read_bytes()
    chance = random.Random(SEED)
    for at in places:
        flip(path, at, chance)
        yield at
        path.write_bytes(before)


def sample(size: int, count: int = FLIPS) -> list[int]:
    """Return places all over a file: its first, its last, and some between."""
    between = random.Random(SEED).sample(range(1, size - 1), count - 2)
    return [0, *sorted(between), size - 1]


def alerts(opened: Node) -> list[str]:
    """Return the blobs of which the record says that they are damaged."""
    return [
        dict(record.event.objects[0].details).get("blob", "")
        for record in opened.audit.list(Search(event=EventID.SECURITY_ALERT))
        if EventType.OBJECT_SECURITY_ATTRIBUTES_CHANGED in record.event.types
        and record.event.outcome is Outcome.SERIOUS_FAILURE
    ]


def check_found(opened: Node, *blobs: str) -> None:
    """These are what ``verify`` finds, names and records; the rest is sound."""
    before = len(alerts(opened))
    found = opened.verify(opened.operator)
    assert sorted(each.blob for each in found.damages) == sorted(blobs)
    assert found.damaged == len(blobs)
    assert sorted(alerts(opened)[before:]) == sorted(blobs)
    assert opened.audit.verify().findings == ()


def places_of_a_blob(size: int) -> dict[str, list[int]]:
    """Return every part of a sealed blob, and places in it."""
    body = range(HEAD_BYTES, size)
    segments = [
        body[start : start + SEGMENT_BYTES]
        for start in range(0, len(body), SEGMENT_BYTES)
    ]
    chance = random.Random(SEED)
    return {
        "mark and version": [0, 3, 4, 5, 6, 7],
        "locator": [8, 20, 39],
        "stream header": [40, 50, HEAD_BYTES - 1],
        **{
            f"segment {number}": [each[0], each[-1], *chance.sample(each, 2)]
            for number, each in enumerate(segments)
        },
        "last tag": [size - 16, size - 1],
    }


def test_every_byte_of_a_blob_counts(archive: Archive) -> None:
    path = archive.blob(archive.large)
    places = places_of_a_blob(path.stat().st_size)
    assert "segment 2" in places
    with archive.node.open() as opened:
        for part in places.values():
            for _ in flipped(path, part):
                check_found(opened, path.name)
        check_found(opened)


CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "cut by a byte": lambda content: content[:-1],
    "cut at a segment": lambda content: content[:SEGMENT_BYTES],
    "cut within the head": lambda content: content[: HEAD_BYTES // 2],
    "empty": lambda _: b"",
    "longer": lambda content: content + b"\0",
    "of zeros": lambda content: bytes(len(content)),
    "one segment twice": lambda content: (
        content[: 2 * SEGMENT_BYTES] + content[SEGMENT_BYTES:]
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_a_blob_of_another_length_or_order_is_found(
    archive: Archive, change: Callable[[bytes], bytes]
) -> None:
    path = archive.blob(archive.large)
    path.write_bytes(change(path.read_bytes()))
    with archive.node.open() as opened:
        check_found(opened, path.name)


def test_blobs_that_changed_places_are_found(archive: Archive) -> None:
    # Two of the same study and of the same length, so of the same key.
    one, other = (archive.blob(each) for each in archive.small[:2])
    first, second = one.read_bytes(), other.read_bytes()
    assert len(first) == len(second)
    one.write_bytes(second)
    other.write_bytes(first)
    with archive.node.open() as opened:
        check_found(opened, one.name, other.name)


def test_a_blob_that_is_gone_is_found(archive: Archive) -> None:
    path = archive.blob(archive.large)
    path.unlink()
    with archive.node.open() as opened:
        check_found(opened, path.name)


def test_a_damaged_instance_is_never_served_and_the_others_are(
    archive: Archive,
) -> None:
    paths = {each.uid: archive.blob(each) for each in archive.instances}
    damaged = archive.small[0]
    others = [archive.large, archive.small[1]]
    chance = random.Random(SEED)
    node = archive.node
    node.start()
    try:
        path = paths[damaged.uid]
        content = path.read_bytes()
        for at in (0, 20, 45, len(content) // 2, -1):
            flip(path, at, chance)
            with associated(node, archive.device) as to:
                response, found = to.get(damaged.study)
                assert response.status == STUDY_WITH_FAILURES
                assert (response.completed, response.failed) == (2, 1)
                assert {uid: data for uid, (_, data) in found.items()} == {
                    each.uid: each.data_set for each in others
                }
                response, found = to.get(damaged.study, damaged.uid)
                assert response.status == UNABLE
                assert found == {}
            path.write_bytes(content)
        with node.open() as opened:
            assert set(alerts(opened)) == {path.name}
        # What begins well cannot be taken back: the association ends instead, and
        # the receiver has no whole instance.
        large = paths[archive.large.uid]
        flip(large, 2 * SEGMENT_BYTES, chance)
        with pytest.raises(Gone), associated(node, archive.device) as to:
            to.get(archive.large.study, archive.large.uid)
        with associated(node, archive.device) as to:
            response, found = to.get(archive.small[2].study)
            assert response.status == 0
            assert found[archive.small[2].uid][1] == archive.small[2].data_set
        with node.open() as opened:
            assert set(alerts(opened)) == {path.name, large.name}
    finally:
        node.kill()


def test_every_byte_of_a_study_key_counts(archive: Archive) -> None:
    study = archive.small[2]
    blob = archive.blob(study)
    with archive.node.open() as opened:
        key = KeyId(opened.parts.index.study_key(opened.database, study.study) or "")
    path = archive.path(f"keys/{key[:2]}/{key}")
    for _ in flipped(path, list(range(path.stat().st_size))):
        with archive.node.open() as opened, pytest.raises(Damaged):
            opened.keyring.study_key(key)
    for _ in flipped(path, sample(path.stat().st_size)):
        with archive.node.open() as opened:
            check_found(opened, blob.name)


# What must be found by opening the node, so that it does not start.
REFUSED_AT_START = [
    "keys/keyring",
    "../home.key",
    "authority/node.pem",
    "authority/issuing.key",
    "authority/issuing.pem",
    "authority/root.pem",
]


@pytest.mark.parametrize("name", REFUSED_AT_START)
def test_a_node_does_not_start_on_damaged_keys(archive: Archive, name: str) -> None:
    path = archive.path(name)
    text = path.read_bytes()
    # The line that is last in a text may end as it likes.
    size = len(text.rstrip())
    for at in flipped(path, sample(size, 12)):
        with pytest.raises((Damaged, Misconfigured)):
            archive.node.open().close()
        assert at < size


def test_the_key_of_the_root_is_looked_at_when_it_is_used(archive: Archive) -> None:
    path = archive.path("authority/root.key")
    for _ in flipped(path, sample(path.stat().st_size)):
        with archive.node.open() as opened, pytest.raises(Damaged):
            opened.authority.renew_issuing()
    with archive.node.open() as opened:
        opened.authority.renew_issuing()


def test_a_damaged_revocation_list_lets_nobody_in(archive: Archive) -> None:
    path = archive.path("authority/crl.pem")
    size = len(path.read_bytes().rstrip())
    for _ in flipped(path, sample(size)):
        node = archive.node
        try:
            node.start()
        except AssertionError:  # it does not start, and says why
            assert node.process is not None
            node.kill()
            continue
        try:
            with pytest.raises(Gone), associated(node, archive.device):
                pass
        finally:
            node.kill()


def test_what_peers_trust_is_made_again_from_the_certificates(
    archive: Archive,
) -> None:
    path = archive.path("authority/ca.pem")
    before = path.read_bytes()
    for _ in flipped(path, sample(len(before))):
        archive.node.open().close()
        assert path.read_bytes() == before


def complaint(archive: Archive) -> str | None:
    """Return what a start, or ``verify`` after it, has to say; ``None``: nothing."""
    try:
        with archive.node.open() as opened:
            opened.recover()
            found = opened.verify(opened.operator)
            report = opened.audit.verify()
    except LeadglassError as error:
        return str(error)
    if found.damaged:
        return f"verify: {found.damages[0].what}"
    if report.findings:
        return f"audit: {report.findings[0].text}"
    # Nothing may be missing unseen.
    assert found.instances == len(archive.instances)
    assert found.orphans == 0
    return None


def test_every_page_of_the_database_counts(archive: Archive) -> None:
    path = archive.path("database")
    pages = path.stat().st_size // PAGE_BYTES
    chance = random.Random(SEED)
    before = path.read_bytes()
    for page in [0, 1, pages - 1, *chance.sample(range(2, pages - 1), 12)]:
        flip(path, page * PAGE_BYTES + chance.randrange(PAGE_BYTES), chance)
        assert complaint(archive) is not None, page
        for each in archive.folder.glob("home/database*"):
            each.unlink()
        path.write_bytes(before)
        path.chmod(0o600)
    # The checkpoints were signed meanwhile, over records that are gone again.
    assert "rolled back" in (complaint(archive) or "")


def test_a_damaged_log_of_the_database_loses_nothing_unseen(
    archive: Archive, tmp_path: Path
) -> None:
    """A frame that does not verify ends SQLite's log: what came after it is gone."""
    late = [make_instance(10 + number) for number in range(4)]
    with archive.node.open() as opened:
        for instance in late:
            store(opened, instance)
        opened.audit.flush()
        shutil.copytree(archive.folder, tmp_path / "before")
    before = replace(archive, folder=tmp_path / "before", small=(*archive.small, *late))
    shutil.copytree(before.folder, tmp_path / "peek")
    peek = replace(before, folder=tmp_path / "peek")
    # As if it had died before it could settle them.
    dead = before.path("vault/incoming/0123456789abcdef")
    dead.mkdir()
    for instance in late:
        blob = peek.blob(instance).relative_to(peek.folder)
        (before.folder / blob).rename(dead / blob.name)
    size = before.path("database-wal").stat().st_size
    assert size > 10 * PAGE_BYTES
    said = []
    for at in [None, *sample(size, 16)]:
        damaged = replace(before, folder=tmp_path / "damaged")
        shutil.copytree(before.folder, damaged.folder)
        if at is not None:
            flip(damaged.path("database-wal"), at, random.Random(at))
        said.append(complaint(damaged))
        # Whatever it is, no blob was thrown away: they are there for a rebuild.
        names = [each.name for each in damaged.path("vault").rglob("*")]
        assert sum(len(name) == 32 for name in names) == len(damaged.instances)
        shutil.rmtree(damaged.folder)
    assert said[0] is None
    assert None not in said[1:]


def test_every_checkpoint_counts(archive: Archive) -> None:
    path = archive.path("checkpoints/checkpoints")
    content = path.read_bytes()
    with archive.node.open() as opened:
        for _ in flipped(path, sample(len(content), 40)):
            report = opened.audit.verify()
            # The last one may be torn by a power cut: that is worth a remark.
            assert report.findings or report.remarks
        path.unlink()
        assert opened.audit.verify().findings
        path.write_bytes(content)
        assert opened.audit.verify().is_intact
