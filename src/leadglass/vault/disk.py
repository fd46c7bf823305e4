"""The file operations of this folder, as one small object.

Whatever the vault does to a disk goes through a ``Disk``, with paths, so that a
test can put in its place one that records the order of syncs (and forgets what
was not synced, as a power cut does), fails with ENOSPC or EIO, or stops half-way.

The order that makes a file whole or absent is always the same::

    create temporary → write → sync_file → rename → sync_folder

Every method raises ``OSError``; ``disk_errors`` turns those into ours at the port.
No operation follows a symbolic link in its last component, folders are checked
by ``check_folder`` when a store is opened: who can plant a link later is already
this user. Files are 0600 and folders 0700, whatever the umask.
"""

# A Path costs as much as the system call, and this is hot.
# ruff: noqa: PTH102, PTH104, PTH106, PTH108

import errno
import fcntl
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from leadglass.errors import Misconfigured, Unavailable
from leadglass.vault.blobs import Bytes

_FILE_MODE = 0o600
_FOLDER_MODE = 0o700
_OTHERS = 0o077
_SAFE = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NOCTTY
_READ = os.O_RDONLY | os.O_NONBLOCK | _SAFE  # a FIFO must not hang the reader

Stamp = tuple[int, int, int]

# What file systems and disks of today want a write past the page cache to be a
# multiple of, in memory and in the file.
BLOCK_BYTES = 4096


class Disk:
    """The real one."""

    def create(self, path: str) -> int:
        """Make a new file to write to and return its descriptor."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _SAFE
        return os.open(path, flags, _FILE_MODE)

    def open(self, path: str) -> int:
        """Open a regular file to read; anything else is ELOOP."""
        return _regular(os.open(path, _READ))

    def open_to_overwrite(self, path: str) -> int:
        """Open a file so that ``write`` replaces its first bytes in place."""
        return _regular(os.open(path, os.O_WRONLY | os.O_NONBLOCK | _SAFE))

    def write(self, file: int, data: Bytes) -> None:
        """Append all of ``data``."""
        done = os.write(file, data)
        if done < len(data):
            rest = memoryview(data)
            while done < len(rest):
                done += os.write(file, rest[done:])

    def write_blocks(self, file: int, data: Bytes) -> None:
        """Append whole blocks, past the page cache where the file system lets us.

        ``data`` begins at a page and is a multiple of ``BLOCK_BYTES`` long, and so is
        the file. Where the file system has no such way, the page cache takes it.
        """
        flags = fcntl.fcntl(file, fcntl.F_GETFL)
        try:
            fcntl.fcntl(file, fcntl.F_SETFL, flags | os.O_DIRECT)
            self.write(file, data)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            fcntl.fcntl(file, fcntl.F_SETFL, flags)
            self.write(file, data)

    def cut(self, file: int, length: int) -> None:
        """Shorten the file to ``length`` bytes."""
        os.ftruncate(file, length)

    def read_into(self, file: int, offset: int, buffer: memoryview) -> int:
        """Fill ``buffer`` from ``offset`` on; less only at the end of the file."""
        done = os.preadv(file, [buffer], offset)
        while 0 < done < len(buffer):
            more = os.preadv(file, [buffer[done:]], offset + done)
            if not more:
                break
            done += more
        return done

    def size(self, file: int) -> int:
        """Return the file's length in bytes."""
        return os.fstat(file).st_size

    def sync_file(self, file: int) -> None:
        """Make the file's bytes and length durable."""
        os.fdatasync(file)

    def close(self, file: int) -> None:
        """Close a descriptor."""
        os.close(file)

    def rename(self, source: str, target: str) -> None:
        """Move a file at once, over ``target`` if there is one."""
        os.rename(source, target)

    def remove(self, path: str) -> None:
        """Remove a file."""
        os.unlink(path)

    def exists(self, path: str) -> bool:
        """Tell whether anything has this name."""
        return os.path.lexists(path)

    def touch(self, path: str) -> None:
        """Set the file's time to now; the file need not exist before."""
        file = os.open(path, os.O_WRONLY | os.O_CREAT | _SAFE, _FILE_MODE)
        try:
            now = time.time_ns()  # the kernel's own "now" is 4 ms coarse
            os.utime(file, ns=(now, now))
        finally:
            os.close(file)

    def stamp(self, path: str) -> Stamp:
        """Return what changes when the file is replaced or touched."""
        at = os.lstat(path)
        return at.st_ino, at.st_mtime_ns, at.st_size

    def make_folder(self, path: str) -> None:
        """Make a folder; its parent must exist, it may."""
        with suppress(FileExistsError):
            os.mkdir(path, _FOLDER_MODE)

    def remove_folder(self, path: str) -> None:
        """Remove an empty folder."""
        os.rmdir(path)

    def sync_folder(self, path: str) -> None:
        """Make the folder's entries durable."""
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | _SAFE)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def entries(self, path: str) -> Iterator[str]:
        """Yield the names in a folder, in no order; links are left out."""
        with os.scandir(path) as found:
            for entry in found:
                if not entry.is_symlink():
                    yield entry.name

    def check_folder(self, path: str) -> None:
        """Refuse a folder that is a link, another's, or open to others.

        Raises:
            Misconfigured: With the remedy.
        """
        found = os.lstat(path)
        if not stat.S_ISDIR(found.st_mode):
            raise Misconfigured(f"{path} is not a folder: put a real one there")
        if found.st_uid != os.geteuid():
            raise Misconfigured(f"{path} belongs to another user: chown it")
        if found.st_mode & _OTHERS:
            raise Misconfigured(f"{path} is open to others: chmod 700 {path}")

    def lock(self, path: str, *, shared: bool = False, wait: bool = True) -> int | None:
        """Take an advisory lock, kept until ``close`` of what is returned.

        ``None`` when somebody has it and ``wait`` is false. The kernel frees it
        when the process dies, however it dies.
        """
        file = os.open(path, os.O_RDWR | os.O_CREAT | _SAFE, _FILE_MODE)
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        try:
            fcntl.flock(file, kind if wait else kind | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return None
        except BaseException:
            os.close(file)
            raise
        return file

    def is_current(self, file: int, path: str) -> bool:
        """Tell whether ``path`` is still the name of the open ``file``."""
        try:
            return os.path.samestat(os.fstat(file), os.lstat(path))
        except FileNotFoundError:
            return False


DISK = Disk()


def _regular(file: int) -> int:
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise OSError(errno.ELOOP, "not a regular file")
    return file


def unavailable(error: OSError) -> Unavailable:
    """Return our error for the disk's; without the path."""
    return Unavailable(f"disk: {os.strerror(error.errno or errno.EIO)}")


@contextmanager
def disk_errors() -> Iterator[None]:
    """Let no ``OSError`` through a port."""
    try:
        yield
    except OSError as error:
        raise unavailable(error) from error


def read_small(disk: Disk, path: str, bytes_max: int) -> bytes:
    """Return a whole small file, and one byte more than ``bytes_max`` at most."""
    file = disk.open(path)
    try:
        buffer = memoryview(bytearray(min(disk.size(file), bytes_max + 1)))
        return bytes(buffer[: disk.read_into(file, 0, buffer)])
    finally:
        disk.close(file)


def write_small(disk: Disk, path: str, data: bytes) -> None:
    """Create a file and make its bytes durable; its name is not yet.

    On an error nothing of it is left.
    """
    file = disk.create(path)
    try:
        try:
            disk.write(file, data)
            disk.sync_file(file)
        finally:
            disk.close(file)
    except BaseException:
        with suppress(OSError):
            disk.remove(path)
        raise


def make_folders(disk: Disk, parent: str, names: list[str]) -> None:
    """Make folders in a folder, durably."""
    for name in names:
        disk.make_folder(f"{parent}/{name}")
    disk.sync_folder(parent)


# Blobs and keys are spread over 256 folders by the first byte of their random
# names: 10 million blobs make 39,000 entries a folder, which ext4 and XFS find by
# hash or tree. All are made beforehand, so no file waits for a folder's sync.
SPREAD = [f"{first:02x}" for first in range(256)]


class SharedSync:
    """One sync for all the threads that wait for one.

    A caller is served by a sync that *begins* after its call, so whatever it did
    before is covered. While one sync runs, all who come gather for the next: with
    n threads busy, a folder sync costs each of them 1/n.
    """

    def __init__(self, sync: Callable[[], None]) -> None:
        self._sync = sync
        self._guard = threading.Lock()
        self._running = threading.Lock()
        self._gathering: _Batch | None = None

    def __call__(self) -> None:
        """Return when everything done before this call is durable.

        Raises:
            OSError: The sync that would have covered it failed.
        """
        with self._guard:
            batch = self._gathering
            leads = batch is None
            if batch is None:
                batch = self._gathering = _Batch()
            batch.members += 1
        if leads:
            self._lead(batch)
        else:
            batch.done.wait()
        if batch.error is not None:
            raise OSError(batch.error.errno, "shared sync failed") from batch.error

    def _lead(self, batch: "_Batch") -> None:
        batch.error = OSError(errno.EINTR, "sync was interrupted")
        try:
            with self._running:
                with self._guard:
                    self._gathering = None
                self._sync()
            batch.error = None
        except OSError as error:
            batch.error = error
        finally:
            with self._guard:
                if self._gathering is batch:
                    self._gathering = None
            batch.done.set()


class _Batch:
    """Those who wait for the same sync."""

    __slots__ = ("done", "error", "members")

    def __init__(self) -> None:
        self.done = threading.Event()
        self.error: OSError | None = None
        self.members = 0
