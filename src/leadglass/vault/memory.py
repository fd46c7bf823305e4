"""Blobs in memory, for tests and demonstrations."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from leadglass.errors import Conflict, Damaged, NotFound, Unavailable
from leadglass.vault.blobs import (
    CHUNK_BYTES,
    BlobName,
    BlobReader,
    BlobStore,
    BlobWriter,
    Bytes,
    Judge,
    nothing_is_whole,
)


@dataclass(slots=True)
class _Shelf:
    """What outlives a process: the bytes, and which of them are unsettled."""

    blobs: dict[BlobName, bytes] = field(default_factory=dict)
    unsettled: set[BlobName] = field(default_factory=set)


class MemoryBlobs(BlobStore):
    """A ``BlobStore`` without a disk.

    ``restarted()`` is what the next process finds when this one is dead.
    """

    def __init__(self, shelf: _Shelf | None = None) -> None:
        self._shelf = shelf or _Shelf()
        self._orphans = set(self._shelf.unsettled)

    def restarted(self) -> "MemoryBlobs":
        """Return the store as the next process opens it."""
        return MemoryBlobs(self._shelf)

    def new_name(self) -> BlobName:
        """Return a name that no blob has."""
        return BlobName.new()

    def writer(self, name: BlobName) -> BlobWriter:
        """Begin a new blob."""
        if name in self._shelf.blobs:
            raise Conflict("a blob has this name already")
        return _MemoryWriter(self._shelf, name)

    def reader(self, name: BlobName) -> BlobReader:
        """Open a blob."""
        if (blob := self._shelf.blobs.get(name)) is None:
            raise NotFound("no such blob")
        return _MemoryReader(blob)

    def settle(self, name: BlobName) -> None:
        """Note that the blob's index row is committed."""
        if name not in self._shelf.blobs:
            raise NotFound("no such blob")
        self._shelf.unsettled.discard(name)

    def unsettled(self, judge: Judge = nothing_is_whole) -> Iterator[BlobName]:
        """Yield what earlier processes committed and did not settle."""
        del judge  # the lights do not go out here
        yield from sorted(self._orphans & self._shelf.unsettled)

    def delete(self, name: BlobName) -> None:
        """Remove the blob."""
        self._shelf.blobs.pop(name, None)
        self._shelf.unsettled.discard(name)

    def names(self) -> Iterator[BlobName]:
        """Yield the name of every committed blob."""
        yield from list(self._shelf.blobs)


class _MemoryWriter(BlobWriter):
    def __init__(self, shelf: _Shelf, name: BlobName) -> None:
        self._shelf = shelf
        self._name = name
        self._bytes: bytearray | None = bytearray()

    def write(self, data: Bytes) -> None:
        if self._bytes is None:
            raise Unavailable("this blob was committed or abandoned")
        self._bytes += data

    def commit(self) -> None:
        if self._bytes is None:
            raise Unavailable("this blob was committed or abandoned")
        self._shelf.unsettled.add(self._name)
        self._shelf.blobs[self._name] = bytes(self._bytes)
        self._bytes = None

    def abandon(self) -> None:
        self._bytes = None


class _MemoryReader(BlobReader):
    def __init__(self, blob: bytes) -> None:
        self._blob = blob

    @property
    def size(self) -> int:
        return len(self._blob)

    def read(self, offset: int, length: int) -> bytes:
        if not 0 <= offset <= offset + length <= len(self._blob):
            raise Damaged("the blob ends before the range asked for")
        return self._blob[offset : offset + length]

    def read_into(self, offset: int, buffer: memoryview) -> None:
        buffer[:] = self.read(offset, len(buffer))

    def chunks(
        self, offset: int = 0, length: int | None = None
    ) -> Iterator[bytes | memoryview]:
        blob = self.read(offset, self.size - offset if length is None else length)
        for at in range(0, len(blob), CHUNK_BYTES):
            yield blob[at : at + CHUNK_BYTES]

    def close(self) -> None:
        pass
