"""The checkpoints that witnesses cosigned, kept beside those that the log signed.

``cosigned`` holds signed notes, oldest first, each with the signature lines of the log
and of witnesses; ``witnesses`` their public keys, one in a line. Both are written anew
as a whole, under a lock, and renamed into place.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from leadglass.audit.checkpoint import parse, split_notes
from leadglass.audit.witness import WitnessKey, cosigned_at
from leadglass.errors import BadData, Damaged, Unavailable

FILE_NAME = "cosigned"
KEYS_NAME = "witnesses"
_LOCK_NAME = "cosigned-lock"

# At one an hour a month and a half keeps its grain; beyond this every second of the
# older half goes. Each vouches for everything before it.
NOTES_MAX = 1_000


class CosignedFile:
    """The two files in their folder; made with the first cosignature."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def notes(self) -> list[str]:
        """Return the cosigned notes, oldest first.

        Raises:
            Unavailable: The file cannot be read.
        """
        return list(split_notes(self._read(FILE_NAME)))

    def witnesses(self) -> list[WitnessKey]:
        """Return the keys of those who cosigned.

        Raises:
            Unavailable: The file cannot be read.
            Damaged: It was changed.
        """
        try:
            return [
                WitnessKey.parse(each) for each in self._read(KEYS_NAME).splitlines()
            ]
        except BadData as error:
            raise Damaged("the list of witnesses is damaged") from error

    def size_of(self, witness: WitnessKey) -> int:
        """Return how many records a witness has cosigned, as far as is known here."""
        notes = self.notes()
        return max(
            (_size(note) for note in notes if line_of(note, witness) is not None),
            default=0,
        )

    def add(self, note: str, line: str, witness: WitnessKey) -> None:
        """Keep a cosignature, once it is found to be one of ``note``.

        Raises:
            BadData: It is none of this witness.
            Damaged: It is not of this checkpoint.
            Unavailable: The disk is full or broken.
        """
        cosigned_at(line, note, witness)
        with self._locked():
            found = {_body(each): each for each in self.notes()}
            whole = found.get(_body(note), note)
            if line not in whole:
                whole += line
            found[_body(note)] = whole
            notes = sorted(found.values(), key=_size)
            if len(notes) > NOTES_MAX:
                half = NOTES_MAX // 2
                notes = notes[:half:2] + notes[half:]
            keys = [each.line() for each in self.witnesses()]
            if witness.line() not in keys:
                keys.append(witness.line())
                self._write(KEYS_NAME, [f"{each}\n" for each in keys])
            self._write(FILE_NAME, notes)

    def supersede(self) -> None:
        """Set the file aside, keeping it: the log goes on from an older state.

        Raises:
            Unavailable: The folder cannot be written.
        """
        path = self._folder / FILE_NAME
        try:
            number = 1
            while (
                aside := path.with_name(f"{FILE_NAME}-superseded-{number}")
            ).exists():
                number += 1
            if path.exists():
                path.rename(aside)
        except OSError as error:
            raise Unavailable(f"cosigned checkpoints: {error.strerror}") from error

    def _read(self, name: str) -> str:
        try:
            return (self._folder / name).read_text("utf-8", "surrogateescape")
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise Unavailable(f"cosigned checkpoints: {error.strerror}") from error

    def _write(self, name: str, parts: list[str]) -> None:
        fresh = self._folder / f"{name}.new"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        try:
            with os.fdopen(os.open(fresh, flags, 0o600), "wb") as file:
                file.write("".join(parts).encode("utf-8", "surrogateescape"))
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._folder / name)
            folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise Unavailable(f"cosigned checkpoints: {error.strerror}") from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            descriptor = os.open(
                self._folder / _LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
        except OSError as error:
            raise Unavailable(f"cosigned checkpoints: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _body(note: str) -> str:
    return note.partition("\n\n")[0]


def _size(note: str) -> int:
    try:
        return parse(note).size
    except BadData as error:
        raise Damaged("the file of cosigned checkpoints is damaged") from error


def line_of(note: str, witness: WitnessKey) -> str | None:
    """Return the signature line of a witness in a note, if it has one that holds."""
    for line in note.partition("\n\n")[2].splitlines(keepends=True):
        try:
            cosigned_at(line, note, witness)
        except BadData:
            continue
        return line
    return None
