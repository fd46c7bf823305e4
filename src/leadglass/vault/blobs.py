"""Where instances lie: a port for write-once blobs.

A blob is kept in two steps, so that start-up costs what was left unfinished and
not what the archive holds::

    writer(name) … commit()   durable, readable, but *unsettled*
    (the index row is committed)
    settle(name)              the blob has found its row

A process that dies in between leaves an unsettled blob. The next start asks
``unsettled()`` for those alone, and settles or deletes each.

Every adapter passes ``tests/contract/test_blob_store.py``; that file, not this
text, is the definition.
"""

import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Protocol, Self

from leadglass.errors import BadData

Bytes = bytes | bytearray | memoryview

# How much of a blob is in memory at once where the store has no unit of its own.
CHUNK_BYTES = 128 * 1024

_NAME = re.compile(r"[0-9a-f]{32}", re.ASCII)
_NAME_RANDOM_BYTES = 16  # 128 bits: no two blobs will ever draw the same name


class BlobName(str):
    """32 lowercase hex digits, random: tells nothing of the patient.

    Checked at construction, so a name can be part of a path as it is.

    Raises:
        BadData: The text is anything else.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """Check the text."""
        if not _NAME.fullmatch(text):
            raise BadData("not a blob name")
        return super().__new__(cls, text)

    @classmethod
    def new(cls) -> Self:
        """Draw a name that no blob has."""
        return super().__new__(cls, secrets.token_hex(_NAME_RANDOM_BYTES))


class BlobWriter(Protocol):
    """One blob on its way in; belongs to one thread.

    As a context manager it abandons what was not committed.
    """

    def write(self, data: Bytes) -> None:
        """Append; ``data`` may be reused by the caller on return.

        Raises:
            Unavailable: The store cannot take it; nothing was kept.
        """

    def room(self, length: int) -> memoryview | None:
        """Return where the next bytes may be laid instead of written, if anywhere.

        What is laid there counts when ``laid`` says so; nothing else may come
        between the two.

        Raises:
            Unavailable: The store cannot take it; nothing was kept.
        """
        del length
        return None

    def laid(self, length: int) -> None:
        """Take the first bytes of the last ``room`` as written."""
        del length  # who gives no room has nothing to take

    def commit(self) -> None:
        """Make the blob durable and readable; unsettled until ``settle``.

        Raises:
            Unavailable: The store cannot take it; nothing was kept.
        """

    def abandon(self) -> None:
        """Forget the blob and free its space; never raises, may be repeated."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.abandon()


class BlobReader(Protocol):
    """One open blob, for one thread; deleted meanwhile, it stays readable here."""

    @property
    def size(self) -> int:
        """Length of the blob in bytes."""
        ...

    def read(self, offset: int, length: int) -> bytes:
        """Return exactly that range.

        Raises:
            Damaged: The bytes do not verify, or the blob ends before the range
                does: whoever asks has the length from the index.
            Unavailable: The store cannot be read now.
        """
        ...

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill ``buffer`` from ``offset`` on; raises like ``read``."""

    def chunks(
        self, offset: int = 0, length: int | None = None
    ) -> Iterator[bytes | memoryview]:
        """Yield a range, or all from ``offset`` on, a bounded piece at a time.

        Pieces stay good when the next is asked for. For anything long this is
        quicker than ``read``: large fresh memory is dearer than the decryption.

        Raises:
            Damaged, Unavailable: Like ``read``.
        """
        ...

    def close(self) -> None:
        """Let go of the blob; may be repeated."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


# Tells whether a reader has the whole blob of that name.
Judge = Callable[[BlobName, BlobReader], bool]


def nothing_is_whole(_name: BlobName, _reader: BlobReader) -> bool:
    """Judge where bytes do not tell whether they are all."""
    return False


class BlobStore(Protocol):
    """Holds named bytes that never change; safe for use from many threads."""

    def new_name(self) -> BlobName:
        """Return a name for a blob that is about to be written.

        Any name will do; under this one the store may have prepared something.

        Raises:
            Unavailable: The store cannot take anything now.
        """
        ...

    def writer(self, name: BlobName) -> BlobWriter:
        """Begin a new blob; a name is used once.

        Raises:
            Conflict: There is such a blob already.
            Unavailable: The store cannot take it now.
        """
        ...

    def reader(self, name: BlobName) -> BlobReader:
        """Open a blob, settled or not.

        Raises:
            NotFound: There is no such blob.
            Damaged: Its head does not verify.
            Unavailable: The store cannot be read now.
        """
        ...

    def settle(self, name: BlobName) -> None:
        """Note that the blob's index row is committed; may be repeated.

        Need not be durable: what a power cut takes back is unsettled again.

        Raises:
            NotFound: There is no such blob.
            Unavailable: Not now; the blob is kept and stays unsettled.
        """

    def unsettled(self, judge: Judge = nothing_is_whole) -> Iterator[BlobName]:
        """Yield the committed blobs that dead processes did not settle.

        For the start of a process: those of living ones, this one included, are
        in good hands and not listed. What was never committed is removed.

        Args:
            judge: Asked where a power cut has left the bytes of a blob but not that
                it was committed: are they all of it?
        """
        ...

    def delete(self, name: BlobName) -> None:
        """Remove the blob; removing what is not there is no error."""

    def names(self) -> Iterator[BlobName]:
        """Yield the name of every committed blob, once, in no order."""
        ...

    def put(self, name: BlobName, chunks: Iterable[Bytes]) -> None:
        """Write and commit a blob, whole or not at all."""
        with self.writer(name) as writer:
            for chunk in chunks:
                writer.write(chunk)
            writer.commit()

    def get(
        self, name: BlobName, offset: int = 0, length: int | None = None
    ) -> Iterator[bytes | memoryview]:
        """Yield the blob or a range of it; see ``BlobReader.chunks``."""
        with self.reader(name) as reader:
            yield from reader.chunks(offset, length)

    def read(self, name: BlobName, offset: int, length: int) -> bytes:
        """Return a range of the blob; see ``BlobReader.read``."""
        with self.reader(name) as reader:
            return reader.read(offset, length)

    def size(self, name: BlobName) -> int:
        """Return the blob's length in bytes."""
        with self.reader(name) as reader:
            return reader.size
