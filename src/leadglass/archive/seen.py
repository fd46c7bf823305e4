"""Which files of a source were imported before: an import that stopped goes on.

One file per source, named by a keyed hash; 32 bytes per imported file, in no order::

    HMAC-SHA-256(secret, name, stamp), 28 bytes | CRC-32 of them

So nobody without the keyring learns a path from it. A file that changed has another
stamp and is not found. It is a memory, not a proof: it is written after an instance
is durable and is not synchronised, so a crash forgets some, which are then found to
be in the archive already.
"""

import fcntl
import hmac
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from struct import Struct
from typing import Final, Self

from leadglass.errors import Unavailable

_KEY_BYTES: Final = 28
_RECORD = Struct(f"<{_KEY_BYTES}sI")
_READ_BYTES: Final = 4096 * _RECORD.size


class Seen:
    """The journal of one source; belongs to one import at a time."""

    def __init__(
        self, folder: Path, secret: bytes, source: str, *, fresh: bool = False
    ) -> None:
        """Open it, or begin it.

        Args:
            folder: Where the journals lie.
            secret: Keys the hashes.
            source: Names the source: its path.
            fresh: Forget what was seen.

        Raises:
            Unavailable: Another import of this source is running, or the disk
                refused.
        """
        self._secret = secret
        self._known: set[bytes] = set()
        name = self._hash("source", source).hex()[:32]
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
            self._file = os.open(folder / name, flags, 0o600)
        except OSError as error:
            raise _unavailable(error) from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if fresh:
                os.ftruncate(self._file, 0)
            self._known.update(self._read())
        except BlockingIOError:
            os.close(self._file)
            raise Unavailable("this is being imported by another process") from None
        except OSError as error:
            os.close(self._file)
            raise _unavailable(error) from None

    def _read(self) -> Iterator[bytes]:
        """Yield what was written whole; what a crash tore off is cut away."""
        size = os.fstat(self._file).st_size
        if size % _RECORD.size:
            size -= size % _RECORD.size
            os.ftruncate(self._file, size)
        for offset in range(0, size, _READ_BYTES):
            piece = os.pread(self._file, _READ_BYTES, offset)
            whole = len(piece) - len(piece) % _RECORD.size
            for key, check in _RECORD.iter_unpack(piece[:whole]):
                if zlib.crc32(key) == check:
                    yield key

    def key(self, name: str, stamp: str) -> bytes:
        """Return what stands for one state of one file."""
        return self._hash(name, stamp)

    def __contains__(self, key: bytes) -> bool:
        return key in self._known

    def add(self, key: bytes) -> None:
        """Remember a file.

        Raises:
            Unavailable: The disk refused.
        """
        if key in self._known:
            return
        record = _RECORD.pack(key, zlib.crc32(key))
        try:
            written = os.write(self._file, record)
            if written < len(record):  # the disk is full: the next must not be askew
                os.ftruncate(self._file, os.fstat(self._file).st_size - written)
                raise Unavailable("the journal of imports: no space left")
        except OSError as error:
            raise _unavailable(error) from None
        self._known.add(key)

    def close(self) -> None:
        """Let another import have it."""
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _hash(self, first: str, second: str) -> bytes:
        # Names may hold what is no Unicode; two different ones stay different.
        text = f"{len(first)} {first}{second}".encode("utf-8", "surrogatepass")
        return hmac.digest(self._secret, text, "sha256")[:_KEY_BYTES]


def _unavailable(error: OSError) -> Unavailable:
    return Unavailable(f"the journal of imports: {os.strerror(error.errno or 0)}")
