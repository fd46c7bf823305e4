"""Disks that record, fail, or stop half-way, in the place of the real one."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from leadglass.vault.blobs import Bytes
from leadglass.vault.disk import Disk


class Crash(BaseException):
    """The machine stopped here: not an Exception, so nothing tidies up."""


class HookedDisk(Disk):
    """Calls ``hook(operation, path)`` before each operation that changes a disk."""

    def __init__(self, hook: Callable[[str, str], None]) -> None:
        self.hook = hook
        self.paths: dict[int, str] = {}

    def create(self, path: str) -> int:
        self.hook("create", path)
        file = super().create(path)
        self.paths[file] = path
        return file

    def open_to_overwrite(self, path: str) -> int:
        file = super().open_to_overwrite(path)
        self.paths[file] = path
        return file

    def write(self, file: int, data: Bytes) -> None:
        self.hook("write", self.paths[file])
        super().write(file, data)

    def cut(self, file: int, length: int) -> None:
        self.hook("cut", self.paths[file])
        super().cut(file, length)

    def sync_file(self, file: int) -> None:
        self.hook("sync_file", self.paths[file])
        super().sync_file(file)

    def close(self, file: int) -> None:
        super().close(file)
        self.paths.pop(file, None)

    def rename(self, source: str, target: str) -> None:
        self.hook("rename", target)
        super().rename(source, target)

    def remove(self, path: str) -> None:
        self.hook("remove", path)
        super().remove(path)

    def make_folder(self, path: str) -> None:
        self.hook("make_folder", path)
        super().make_folder(path)

    def remove_folder(self, path: str) -> None:
        self.hook("remove_folder", path)
        super().remove_folder(path)

    def sync_folder(self, path: str) -> None:
        self.hook("sync_folder", path)
        super().sync_folder(path)

    def touch(self, path: str) -> None:
        self.hook("touch", path)
        super().touch(path)

    def lock(self, path: str, *, shared: bool = False, wait: bool = True) -> int | None:
        file = super().lock(path, shared=shared, wait=wait)
        if file is not None:
            self.paths[file] = path
        return file


class RecordingDisk(HookedDisk):
    """Remembers what was done, in order, with names relative to a folder."""

    def __init__(self, folder: Path) -> None:
        self.done: list[tuple[str, str]] = []
        super().__init__(
            lambda operation, path: self.done.append(
                (operation, os.path.relpath(path, folder))
            )
        )


class CrashingDisk(HookedDisk):
    """Stops the machine before its n-th change of the disk, and for good."""

    def __init__(self, changes_before: int) -> None:
        self.left = changes_before
        super().__init__(self._count)

    def close(self, file: int) -> None:
        if self.left >= 0:  # a dead process closes nothing; ``die`` does
            super().close(file)

    def die(self) -> None:
        """Do what the kernel does for a dead process: close its files."""
        for file in list(self.paths):
            with suppress(OSError):
                os.close(file)

    def _count(self, _operation: str, _path: str) -> None:
        self.left -= 1
        if self.left < 0:
            raise Crash


class FailingDisk(HookedDisk):
    """Fails its n-th change with an errno; ``full`` lets only removals through."""

    def __init__(self, changes_before: int, error: int, *, full: bool = False) -> None:
        self.left = changes_before
        self.error = error
        self.full = full
        self.failed = 0
        super().__init__(self._count)

    def _count(self, operation: str, path: str) -> None:
        self.left -= 1
        takes_space = operation not in {"remove", "remove_folder"}
        if self.left == -1 or (self.full and self.left < 0 and takes_space):
            self.failed += 1
            raise OSError(self.error, os.strerror(self.error), path)
