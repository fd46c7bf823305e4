"""The checkpoints that were signed, kept in a file beside the database.

The file is what an older copy of the database is held against: whoever puts one
back does not have the newer checkpoints' sizes in it. It holds signed notes, one
after the other, oldest first, and no patient data; copy it to where the node's
administrator has no hand (a witness), and not even both together can be put back.

Several processes append to it, under a lock. A note is written whole and synced;
what a power cut leaves of one is cut off by the next writer.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from leadglass.audit.checkpoint import parse, split_notes
from leadglass.errors import BadData, Unavailable

FILE_NAME = "checkpoints"

# At one note a second for hours the file must not grow for ever: beyond this every
# second note of its older part goes, the newest and the oldest stay. Each checkpoint
# vouches for all before it, so only the grain of old history gets coarser. It holds
# about 2,000 notes, whose signatures are verified in a quarter of a second.
FILE_BYTES_MAX = 1 << 19
_KEPT_WHOLE = 0.25  # the newest part of the notes, which keeps its grain


class CheckpointFile:
    """The file in its folder; made with the first note."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / FILE_NAME

    @property
    def path(self) -> Path:
        """Where it is."""
        return self._path

    def written_at(self) -> datetime | None:
        """Return when it was written to; None: it is not there.

        Raises:
            Unavailable: The folder cannot be read.
        """
        try:
            return datetime.fromtimestamp(self._path.stat().st_mtime, UTC)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Unavailable(f"audit checkpoints: {error.strerror}") from error

    def exists(self) -> bool:
        """Tell whether the file is there."""
        return self._path.exists()

    def notes(self) -> list[str]:
        """Return all notes, oldest first; the last may be a torn one.

        Raises:
            Unavailable: The file cannot be read.
        """
        try:
            return _split(self._path.read_bytes())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise Unavailable(f"audit checkpoints: {error.strerror}") from error

    def last(self) -> str | None:
        """Return the newest whole note, if any."""
        return next((each for each in reversed(self.notes()) if _is_whole(each)), None)

    def append(self, note: str) -> None:
        """Add a note unless a newer one is there; it is durable on return.

        Raises:
            Unavailable: The disk is full or broken.
        """
        try:
            with self._locked() as descriptor:
                self._append(descriptor, note)
        except OSError as error:
            raise Unavailable(f"audit checkpoints: {error.strerror}") from error

    def supersede(self) -> None:
        """Set the file aside, keeping it, so that the log may begin a new one.

        Raises:
            Unavailable: The folder cannot be written.
        """
        try:
            number = 1
            while (aside := self._folder / f"{FILE_NAME}-superseded-{number}").exists():
                number += 1
            if self._path.exists():
                self._path.rename(aside)
                self._sync_folder()
        except OSError as error:
            raise Unavailable(f"audit checkpoints: {error.strerror}") from error

    def _append(self, descriptor: int, note: str) -> None:
        notes = _split(_read(descriptor))
        if notes and not _is_whole(notes[-1]):
            notes.pop()
            os.ftruncate(descriptor, len(_joined(notes)))
        if notes and _is_whole(notes[-1]) and _size(notes[-1]) >= _size(note):
            return
        if len(_joined(notes)) > FILE_BYTES_MAX:
            self._rewrite([*_thinned(notes), note])
            return
        os.lseek(descriptor, 0, os.SEEK_END)
        _write(descriptor, note.encode())
        os.fsync(descriptor)
        if not notes:
            self._sync_folder()

    def _rewrite(self, notes: list[str]) -> None:
        fresh = self._path.with_suffix(".new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            _write(descriptor, _joined(notes))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        fresh.replace(self._path)
        self._sync_folder()

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """Give the file's descriptor, with the lock of the file that is there now.

        While we waited for the lock another process may have replaced the file.
        """
        while True:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                if _is_same(descriptor, self._path):
                    yield descriptor
                    return
            finally:
                os.close(descriptor)

    def _sync_folder(self) -> None:
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _split(data: bytes) -> list[str]:
    # What is no UTF-8 must come back as it was: the length of the rest depends on it.
    return list(split_notes(data.decode("utf-8", "surrogateescape")))


def _joined(notes: list[str]) -> bytes:
    return "".join(notes).encode("utf-8", "surrogateescape")


def _thinned(notes: list[str]) -> list[str]:
    """Drop every second of the older notes, never the first."""
    split = int(len(notes) * (1 - _KEPT_WHOLE))
    return notes[:split:2] + notes[split:]


def _is_whole(note: str) -> bool:
    try:
        parse(note)
    except BadData:
        return False
    return True


def _size(note: str) -> int:
    return parse(note).size


def _is_same(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _read(descriptor: int) -> bytes:
    os.lseek(descriptor, 0, os.SEEK_SET)
    parts = []
    while part := os.read(descriptor, FILE_BYTES_MAX):
        parts.append(part)
    return b"".join(parts)


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
