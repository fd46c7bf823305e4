"""What it means to be a BlobStore; every adapter runs it."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leadglass.errors import BadData, Conflict, Damaged, NotFound, Unavailable
from leadglass.vault.blobs import BlobName, BlobStore
from leadglass.vault.folder import FolderBlobs
from leadglass.vault.keys import KeyFile, Keyring
from leadglass.vault.memory import MemoryBlobs
from leadglass.vault.sealed import SealedBlobs

A, B = BlobName("a" * 32), BlobName("b" * 32)


@dataclass(slots=True)
class World:
    """A store, and the way to the same store in the next process."""

    store: BlobStore
    restarted: Callable[[], BlobStore]


def memory(_: Path) -> World:
    store = MemoryBlobs()
    return World(store, store.restarted)


def folder(path: Path) -> World:
    store = FolderBlobs.create(path / "blobs")

    def restarted() -> BlobStore:
        store.close()
        return FolderBlobs.open(path / "blobs")

    return World(store, restarted)


def sealed(inner: Callable[[Path], World]) -> Callable[[Path], World]:
    def make(path: Path) -> World:
        master = KeyFile(path / "master.key", outside=path / "keys")
        master.create()
        keyring = Keyring.create(path / "keys", master)
        key_id = keyring.new_study_key()
        world = inner(path)

        def under(store: BlobStore) -> BlobStore:
            return SealedBlobs(store, keyring, segment_bytes_log2=12).under(key_id)

        return World(under(world.store), lambda: under(world.restarted()))

    return make


ADAPTERS: dict[str, Callable[[Path], World]] = {
    "memory": memory,
    "folder": folder,
    "sealed memory": sealed(memory),
    "sealed folder": sealed(folder),
}


@pytest.fixture(params=list(ADAPTERS))
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    return ADAPTERS[request.param](tmp_path)


@pytest.fixture
def store(world: World) -> BlobStore:
    return world.store


many_examples = settings(
    max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
chunk_lists = st.lists(st.binary(max_size=9_000), max_size=5)


class TestWhatWasPutIsGot:
    @many_examples
    @given(chunks=chunk_lists)
    def test_whole(self, store: BlobStore, chunks: list[bytes]) -> None:
        name = BlobName.new()
        store.put(name, chunks)
        assert b"".join(store.get(name)) == b"".join(chunks)
        assert store.size(name) == sum(map(len, chunks))

    @many_examples
    @given(chunks=chunk_lists, data=st.data())
    def test_any_range(
        self, store: BlobStore, chunks: list[bytes], data: st.DataObject
    ) -> None:
        name, whole = BlobName.new(), b"".join(chunks)
        store.put(name, chunks)
        offset = data.draw(st.integers(0, len(whole)))
        length = data.draw(st.integers(0, len(whole) - offset))
        assert store.read(name, offset, length) == whole[offset : offset + length]
        buffer = bytearray(length)
        with store.reader(name) as reader:
            reader.read_into(offset, memoryview(buffer))
        assert buffer == whole[offset : offset + length]
        pieces = store.get(name, offset, length)
        assert b"".join(pieces) == whole[offset : offset + length]
        assert b"".join(store.get(name, offset)) == whole[offset:]

    def test_the_writers_buffer_may_be_reused(self, store: BlobStore) -> None:
        buffer = bytearray(b"first ")
        with store.writer(A) as writer:
            writer.write(buffer)
            buffer[:] = b"second"
            writer.write(memoryview(buffer))
            writer.commit()
        assert b"".join(store.get(A)) == b"first second"

    def test_pieces_may_be_kept_while_the_next_are_read(self, store: BlobStore) -> None:
        whole = bytes(range(256)) * 1200
        store.put(A, [whole])
        assert b"".join(list(store.get(A))) == whole

    def test_reading_past_the_end_is_damage(self, store: BlobStore) -> None:
        store.put(A, [b"12345"])
        for offset, length in ((0, 6), (5, 1), (6, 0), (-1, 2)):
            with pytest.raises(Damaged):
                store.read(A, offset, length)
            with pytest.raises(Damaged):
                list(store.get(A, offset, length))
            with store.reader(A) as reader, pytest.raises(Damaged):
                reader.read_into(offset, memoryview(bytearray(length)))
        assert store.read(A, 5, 0) == b""


class TestNames:
    @pytest.mark.parametrize("text", ["", "a", "A" * 32, "../" * 11, "a" * 31 + "\n"])
    def test_nothing_else_is_a_name(self, text: str) -> None:
        with pytest.raises(BadData):
            BlobName(text)

    def test_absent_is_not_found(self, store: BlobStore) -> None:
        for attempt in (
            lambda: list(store.get(A)),
            lambda: store.read(A, 0, 0),
            lambda: store.size(A),
            lambda: store.settle(A),
        ):
            with pytest.raises(NotFound):
                attempt()

    def test_a_name_is_used_once(self, store: BlobStore) -> None:
        store.put(A, [b"first"])
        with pytest.raises(Conflict):
            store.put(A, [b"second"])
        store.settle(A)
        with pytest.raises(Conflict):
            store.writer(A)
        assert b"".join(store.get(A)) == b"first"

    def test_names_lists_what_was_committed_once(self, store: BlobStore) -> None:
        names = {BlobName.new() for _ in range(20)}
        for name in names:
            store.put(name, [b"x"])
        for name in sorted(names)[::2]:
            store.settle(name)
        store.writer(BlobName.new()).write(b"unfinished")
        assert sorted(store.names()) == sorted(names)

    def test_delete_is_idempotent(self, store: BlobStore) -> None:
        for settle in (True, False):
            store.put(A, [b"x"])
            if settle:
                store.settle(A)
            store.delete(A)
            store.delete(A)
            with pytest.raises(NotFound):
                list(store.get(A))
        assert list(store.names()) == []

    def test_an_open_blob_outlives_its_deletion(self, store: BlobStore) -> None:
        store.put(A, [b"still here"])
        with store.reader(A) as reader:
            store.delete(A)
            assert reader.read(0, reader.size) == b"still here"


class TestTwoSteps:
    def test_uncommitted_is_not_there(self, world: World) -> None:
        writer = world.store.writer(A)
        writer.write(bytes(10_000))
        with pytest.raises(NotFound):
            list(world.store.get(A))
        later = world.restarted()
        assert list(later.unsettled()) == []
        assert list(later.names()) == []

    def test_abandoned_is_forgotten_and_its_name_is_free(
        self, store: BlobStore
    ) -> None:
        with store.writer(A) as writer:
            writer.write(b"x")
        writer.abandon()
        with pytest.raises(Unavailable):
            writer.write(b"y")
        with pytest.raises(Unavailable):
            writer.commit()
        store.put(A, [b"z"])
        assert b"".join(store.get(A)) == b"z"

    def test_a_writer_commits_once(self, store: BlobStore) -> None:
        with store.writer(A) as writer:
            writer.write(b"x")
            writer.commit()
            with pytest.raises(Unavailable):
                writer.write(b"y")
            with pytest.raises(Unavailable):
                writer.commit()
        assert b"".join(store.get(A)) == b"x"

    def test_only_dead_processes_leave_unsettled_blobs(self, world: World) -> None:
        world.store.put(A, [b"has no row"])
        world.store.put(B, [b"has a row"])
        world.store.settle(B)
        world.store.settle(B)
        assert list(world.store.unsettled()) == []
        later = world.restarted()
        assert list(later.unsettled()) == [A]
        assert b"".join(later.get(A)) == b"has no row"
        later.settle(A)
        assert list(later.unsettled()) == []
        assert b"".join(later.get(A)) == b"has no row"

    def test_the_next_start_may_delete_what_is_unsettled(self, world: World) -> None:
        world.store.put(A, [b"x"])
        later = world.restarted()
        for name in later.unsettled():
            later.delete(name)
        assert list(later.unsettled()) == list(later.names()) == []


class TestThreads:
    def test_many_writers_and_readers(self, store: BlobStore) -> None:
        names = [BlobName.new() for _ in range(64)]
        wrong: list[BlobName] = []

        def work(mine: list[BlobName]) -> None:
            for name in mine:
                store.put(name, [name.encode()] * 300)
                store.settle(name)
                if b"".join(store.get(name)) != name.encode() * 300:
                    wrong.append(name)

        threads = [threading.Thread(target=work, args=(names[n::8],)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong
        assert sorted(store.names()) == sorted(names)
