"""What can be imported: files one by one, whatever holds them.

A source is hostile: it comes on media from elsewhere. No name in it becomes a path
that leaves it, no symbolic link is followed, nothing is extracted to disk, and what
it says of its own size is a limit, not a promise.
"""

import os
import stat
import struct
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from io import BufferedReader, FileIO, RawIOBase
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Protocol, Self

from leadglass.archive.dicomdir import DICOMDIR_BYTES_MAX, referenced_files
from leadglass.config import Media
from leadglass.dicom.part10 import PREAMBLE_BYTES, PREFIX, Part10Reader
from leadglass.dicom.sop_classes import MEDIA_STORAGE_DIRECTORY
from leadglass.errors import BadData, NotFound

# The list of a ZIP's entries is read at once, and each takes some 500 bytes then:
# 300,000 entries with long names.
ZIP_LIST_BYTES_MAX: Final = 32 * 1024 * 1024
# Below this the ratio of an entry is not judged: blank images pack very well.
ZIP_ENTRY_BYTES_FREE: Final = 16 * 1024 * 1024
# To tell a DICOMDIR by its meta information, which is some 400 bytes.
_BEGINNING_BYTES: Final = 4096
# Folders whose entries are remembered while the files of a DICOMDIR are looked for.
_FOLDERS_REMEMBERED_MAX: Final = 256

_ZIP_SIGNATURES: Final = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_ZIP_ENCRYPTED: Final = 0x1 | 0x40  # bit 0, and bit 6: strong encryption
# Others may take memory without bound while they unpack.
_ZIP_METHODS: Final = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
# What the ZIP reader lets out when an archive is malformed.
_ZIP_ERRORS: Final = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OverflowError,
    RuntimeError,
    ValueError,
)


class SourceKind(StrEnum):
    """What a source is, for the record: its name may tell of a patient."""

    FILE = "file"
    FOLDER = "folder"
    ZIP = "ZIP file"
    DICOMDIR = "DICOMDIR"


@dataclass(frozen=True, slots=True)
class File:
    """One file of a source.

    Attributes:
        name: Its path within the source.
        stamp: Changes when the file changes: size, time of change.
        open: Gives its bytes; raises ``BadData`` or ``OSError``, as does reading.
    """

    name: str
    stamp: str
    open: Callable[[], RawIOBase]


@dataclass(frozen=True, slots=True)
class Fault:
    """Something in a source that cannot be taken.

    Attributes:
        name: Its path within the source.
        reason: Why, without patient data.
        is_missing: It is named by a DICOMDIR, but is not there.
    """

    name: str
    reason: str
    is_missing: bool = False


class Source(Protocol):
    """Files to import, in the same order each time.

    Attributes:
        kind: What it is.
        total: How many files there are, if that is known beforehand.
    """

    kind: SourceKind
    total: int | None

    def __iter__(self) -> Iterator[File | Fault]:
        """Yield what there is."""
        ...

    def __enter__(self) -> Self:
        """Hold it open."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        return


def open_source(path: Path, media: Media) -> Source:
    """Return what lies at a path.

    Raises:
        NotFound: There is nothing that can be read.
        BadData: It is a ZIP file or DICOMDIR that is malformed or passes a limit.
    """
    try:
        if path.is_dir():
            return FolderSource(path.resolve())
        real = path.resolve(strict=True)
        with open_regular(str(real)) as file:
            beginning = file.read(_BEGINNING_BYTES) or b""
        if beginning[PREAMBLE_BYTES:].startswith(PREFIX):
            if _is_dicomdir(beginning):
                return DirectorySource(real)
        elif beginning.startswith(_ZIP_SIGNATURES):
            return ZipSource(real, media)
        return FileSource(real)
    except OSError:
        raise NotFound("there is nothing to import that can be read") from None


def open_regular(path: str) -> FileIO:
    """Open a regular file for reading, and nothing else; no symbolic link.

    Raises:
        OSError: It cannot be read, or is none.
    """
    # O_NONBLOCK: a pipe without writer must not hold us up.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    file = FileIO(os.open(path, flags))
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError("not a regular file")
    return file


def _is_dicomdir(beginning: bytes) -> bool:
    reader = Part10Reader()
    try:
        reader.feed(beginning)
        is_dicomdir = reader.sop_class == MEDIA_STORAGE_DIRECTORY
    except BadData:
        return False
    return is_dicomdir


def _file(name: str, path: str) -> File | Fault:
    """Return a file of the file system, as it is now."""
    try:
        found = os.lstat(path)
    except OSError:
        return Fault(name, "the file cannot be read")
    if stat.S_ISLNK(found.st_mode):
        return Fault(name, "a symbolic link")
    if not stat.S_ISREG(found.st_mode):
        return Fault(name, "not a regular file")
    stamp = f"{found.st_size} {found.st_mtime_ns}"
    return File(name, stamp, lambda: open_regular(path))


class FileSource(Source):
    """A single file."""

    def __init__(self, path: Path) -> None:
        self.kind = SourceKind.FILE
        self.total = 1
        self._path = path

    def __iter__(self) -> Iterator[File | Fault]:
        yield _file(self._path.name, str(self._path))


class FolderSource(Source):
    """All files in a folder and the folders below it, by name."""

    def __init__(self, folder: Path) -> None:
        self.kind = SourceKind.FOLDER
        self.total = None
        self._folder = folder

    def __iter__(self) -> Iterator[File | Fault]:
        waiting = [""]  # folders, the next one last
        while waiting:
            folder = waiting.pop()
            try:
                entries = _sorted_entries(os.path.join(self._folder, folder))  # noqa: PTH118  # text: thousands of them
            except OSError:
                yield Fault(folder, "the folder cannot be read")
                continue
            folders = []
            for name, is_folder in entries:
                relative = f"{folder}/{name}" if folder else name
                if is_folder:
                    folders.append(relative)
                else:
                    yield _file(relative, f"{self._folder}/{relative}")
            waiting += reversed(folders)


def _sorted_entries(folder: str) -> list[tuple[str, bool]]:
    """Return the names in a folder, and which are folders; links are none."""
    with os.scandir(folder) as entries:
        return sorted(
            (entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries
        )


class DirectorySource(Source):
    """The files that a DICOMDIR names, and no others."""

    def __init__(self, path: Path) -> None:
        self.kind = SourceKind.DICOMDIR
        self.total = None
        self._root = path.parent
        with open_regular(str(path)) as file:
            if os.fstat(file.fileno()).st_size > DICOMDIR_BYTES_MAX:
                raise BadData(f"a DICOMDIR of more than {DICOMDIR_BYTES_MAX} bytes")
            self._data = file.read(DICOMDIR_BYTES_MAX) or b""
        self._names: dict[str, dict[str, str]] = {}

    def __iter__(self) -> Iterator[File | Fault]:
        seen: set[tuple[str, ...]] = set()
        for file_id in referenced_files(self._data):
            if file_id not in seen:
                seen.add(file_id)
                yield self._find(file_id)

    def _find(self, file_id: tuple[str, ...]) -> File | Fault:
        """Return the file of a file ID, beneath the DICOMDIR's own folder only."""
        name = "/".join(file_id)
        path = str(self._root)
        for part in file_id:
            if part in {"", ".", ".."} or "/" in part or "\0" in part:
                return Fault(name, "a file ID that leaves the medium")
            found = self._names_in(path).get(part.casefold())
            if found is None:
                return Fault(name, "missing", is_missing=True)
            exact = f"{path}/{part}"
            path = exact if os.path.lexists(exact) else f"{path}/{found}"
            if os.path.islink(path):  # noqa: PTH114  # text, as above
                return Fault(name, "a symbolic link")
        return _file(name, path)

    def _names_in(self, folder: str) -> dict[str, str]:
        """Return the names in a folder by their folded form.

        Optical media are shown with names in lower case, and with versions, by some
        systems; file IDs are upper case (PS3.10 §8.5).
        """
        known = self._names.get(folder)
        if known is None:
            try:
                names = [name for name, _ in _sorted_entries(folder)]
            except OSError:
                names = []
            known = {name.split(";")[0].casefold(): name for name in names}
            while len(self._names) >= _FOLDERS_REMEMBERED_MAX:
                del self._names[next(iter(self._names))]
            self._names[folder] = known
        return known


class ZipSource(Source):
    """The entries of a ZIP file, read where they lie; ZIP files in it stay shut."""

    def __init__(self, path: Path, media: Media) -> None:
        self.kind = SourceKind.ZIP
        self._ratio_max = media.zip_ratio_max
        # Entries share the archive: it counts them, and threads open and close them.
        self._lock = threading.Lock()
        with ExitStack() as opened:
            raw = opened.enter_context(open_regular(str(path)))
            file = opened.enter_context(_Bounded(raw))
            found = os.fstat(raw.fileno())
            self._stamp = f"{found.st_size} {found.st_mtime_ns}"
            try:
                self._zip = zipfile.ZipFile(file)
            except _ZIP_ERRORS:
                raise BadData("the ZIP file is malformed") from None
            self._entries = [each for each in self._zip.filelist if not each.is_dir()]
            self.total = len(self._entries)
            if self.total > media.import_file_count_max:
                raise BadData(
                    f"a ZIP file of more than {media.import_file_count_max} entries"
                )
            # No entry yields more than it declares, so this bounds what is read.
            if sum(each.file_size for each in self._entries) > (
                media.zip_inflated_bytes_max
            ):
                raise BadData(
                    f"a ZIP file of more than {media.zip_inflated_bytes_max} bytes "
                    "when unpacked"
                )
            self._opened = opened.pop_all()

    def __iter__(self) -> Iterator[File | Fault]:
        for number, entry in enumerate(self._entries):
            reason = self._fault(entry)
            if reason is not None:
                yield Fault(entry.filename, reason)
                continue
            stamp = f"{self._stamp} {number} {entry.file_size} {entry.CRC:08x}"
            yield File(entry.filename, stamp, self._opener(entry))

    def __exit__(self, *_: object) -> None:
        self._zip.close()
        self._opened.close()

    def _fault(self, entry: zipfile.ZipInfo) -> str | None:
        if entry.flag_bits & _ZIP_ENCRYPTED:
            return "the entry is encrypted"
        if entry.compress_type not in _ZIP_METHODS:
            return "the entry is compressed in an unusual way"
        if _is_bomb(entry.file_size, entry.compress_size, self._ratio_max):
            return "the entry unpacks to more than is allowed"
        return None

    def _opener(self, entry: zipfile.ZipInfo) -> Callable[[], RawIOBase]:
        return lambda: _Entry(self._zip, entry, self._ratio_max, self._lock)


def _is_bomb(inflated: int, packed: int, ratio_max: int) -> bool:
    return inflated > ZIP_ENTRY_BYTES_FREE and inflated > packed * ratio_max


class _Bounded(BufferedReader):
    """A file that is never asked for more than the list of entries may be long."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            size = ZIP_LIST_BYTES_MAX + 1
        elif size > ZIP_LIST_BYTES_MAX:
            raise BadData("a ZIP file of too many entries")
        data = super().read(size)
        if len(data) > ZIP_LIST_BYTES_MAX:
            raise BadData("a ZIP file of too many entries")
        return data


class _Entry(RawIOBase):
    """One entry being unpacked; judged while it is, not only by what it declares."""

    def __init__(
        self,
        archive: zipfile.ZipFile,
        entry: zipfile.ZipInfo,
        ratio_max: int,
        lock: threading.Lock,
    ) -> None:
        self._packed = entry.compress_size
        self._ratio_max = ratio_max
        self._inflated = 0
        self._lock = lock
        try:
            with lock:
                self._file: IO[bytes] = archive.open(entry)
        except _ZIP_ERRORS:
            raise BadData("the ZIP entry is malformed") from None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]  # ours are memoryviews
        try:
            data = self._file.read(len(buffer))
        except _ZIP_ERRORS:
            raise BadData("the ZIP entry is malformed") from None
        self._inflated += len(data)
        if _is_bomb(self._inflated, self._packed, self._ratio_max):
            raise BadData("the entry unpacks to more than is allowed")
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            with self._lock:
                self._file.close()
        super().close()
