"""A folder whose files are made once: on another host's mount, or on write-once media.

A file is made new or not at all, synced, and never opened for writing again. A crash in
the middle leaves a beginning under its name; as it cannot be written again, the whole
is then made beside it, under the name with ``.2`` (and so on) behind.
"""

import os
from pathlib import Path
from typing import Final

from leadglass.errors import Damaged, Unavailable

# Crashes in the middle of one file, all of them in the first milliseconds of its life.
_TRIES_MAX: Final = 9
_MODE: Final = 0o444


class CopyFolder:
    """The folder; somebody else makes it, and says who may read it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, name: str, data: bytes) -> bool:
        """Keep something, durably; tell whether it was not there yet.

        Raises:
            Unavailable: The folder is not there, full or not to be written.
            Damaged: Something else stands there under its name.
        """
        try:
            for number in range(1, _TRIES_MAX + 1):
                path = self._folder / (name if number == 1 else f"{name}.{number}")
                try:
                    self._make(path, data)
                except FileExistsError:
                    with path.open("rb") as file:
                        found = file.read(len(data) + 1)
                    if found == data:
                        return False
                    if not data.startswith(found):
                        break
                else:
                    return True
        except OSError as error:
            raise Unavailable(
                f"the folder of copies cannot be written: {error.strerror}"
            ) from error
        raise Damaged(
            "the folder of copies has another file under the name of a checkpoint; "
            "keep both, and run: leadglass audit verify --witnessed"
        )

    def _make(self, path: Path, data: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        with os.fdopen(os.open(path, flags, _MODE), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
