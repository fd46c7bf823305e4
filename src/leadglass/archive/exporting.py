"""Exporting to media: Part 10 files as they are stored, and a DICOMDIR.

Whole or not at all: everything is written beside the target under a name of its own,
made durable, and renamed. What an interrupted export leaves is removed by it, or,
after a power cut, by the next one to the same target. Plaintext is nowhere else.

The order: what is about to leave is recorded (``Fetch.begin``); the files are
written; what really left is recorded; the rename. So the record may say too much
after a crash, never too little.
"""

import fcntl
import hmac
import os
import shutil
import stat
import sys
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

from leadglass.access.rights import Right
from leadglass.archive.caller import Caller
from leadglass.archive.dicomdir import FILE_NAME, WANTED, Directory, Referenced
from leadglass.archive.fetch import Fetch, InstanceLocation, Retrieval, Selection
from leadglass.audit.builders import Medium, Service
from leadglass.config import Media
from leadglass.dicom.header import Header, HeaderReader
from leadglass.dicom.transfer_syntaxes import TRANSFER_SYNTAXES
from leadglass.dicom.uids import UID
from leadglass.errors import (
    BadData,
    Damaged,
    LeadglassError,
    Misconfigured,
    NotFound,
    Unavailable,
)

# What a command says and hears of exports.
__all__ = [
    "ExportReport",
    "Exporter",
    "LeftOut",
    "Selection",
    "file_ids",
    "header_reader",
    "read_by",
]

# Instances that a report names; all are counted, and the damaged ones recorded.
NAMED_MAX: Final = 1000
_MEDIUM_PURPOSE: Final = "export medium 1"
_ROOT: Final = "DICOM"
# Sequences and items, twice the most that ``limits.sequence_depth_max`` may be.
DEPTH_MAX: Final = 2 * 64

Bytes = bytes | memoryview


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An instance that could not be exported.

    Attributes:
        instance_uid: Its SOP Instance UID.
        reason: Why, without patient data.
    """

    instance_uid: str
    reason: str


@dataclass(slots=True)
class ExportReport:
    """What was written; also while it is.

    Attributes:
        total: Instances that were asked for; for a progress bar.
        instances: Those that were written.
        bytes: Of their files.
        left_out: How many were not: damaged, or erased meanwhile.
        named: Of those the first ``NAMED_MAX``.
    """

    total: int
    instances: int = 0
    bytes: int = 0
    left_out: int = 0
    named: list[LeftOut] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Whether everything that was asked for was written."""
        return self.instances == self.total


class Exporter:
    """The use case."""

    def __init__(self, fetch: Fetch, media: Media) -> None:
        self._fetch = fetch
        self._media = media

    def run(  # noqa: PLR0913  # what to export, where to, and how
        self,
        caller: Caller,
        selection: Selection,
        target: Path,
        *,
        as_zip: bool = False,
        with_dicomdir: bool = True,
        progress: Callable[[ExportReport], None] = lambda _: None,
    ) -> ExportReport:
        """Write the selected instances to a folder or ZIP file that is new.

        Args:
            caller: Who does so.
            selection: What to export.
            target: The folder or file to make; the folder it is in must exist.
            as_zip: Make a ZIP file, its entries stored as they are.
            with_dicomdir: Make a DICOMDIR as well.
            progress: Called whenever an instance is done.

        Raises:
            Refused: ``caller`` may not.
            NotFound: Nothing of the selection is there, or not for this caller.
            Misconfigured: The target exists, cannot be made there, or the selection
                has more instances than one export may write.
            Unavailable: The node cannot record, or the disk cannot take it; nothing
                was left behind.
        """
        parts = self._fetch.parts
        parts.require(caller, Right.EXPORT, Service.EXPORT)
        target = target.absolute()
        _check_free(target)
        if target.resolve().is_relative_to(parts.room.folder.resolve()):
            raise Misconfigured("the target lies in the data folder: name another")
        kind = "ZIP file" if as_zip else "folder"
        retrieval = self._fetch.begin(
            caller,
            Right.EXPORT,
            selection,
            Service.EXPORT,
            medium=Medium(f"{kind} {self._hash(target)}", is_encrypted=False),
        )
        try:
            self._check(retrieval)
            with _ZipFile(target) if as_zip else _Folder(target) as made:
                export = _Export(retrieval, made, progress)
                export.all(with_dicomdir=with_dicomdir)
                made.make_durable()
                export.record()
                _check_free(target)
                made.put_in_place()
        except OSError as error:
            with suppress(LeadglassError):  # that it was about to leave is recorded
                retrieval.finish(was_cancelled=True)
            text = os.strerror(error.errno or 0)
            raise Unavailable(f"the export could not be written: {text}") from None
        except BaseException:
            with suppress(LeadglassError):
                retrieval.finish(was_cancelled=True)
            raise
        return export.report

    def _check(self, retrieval: Retrieval) -> None:
        count = len(retrieval.locations)
        if not count:
            raise NotFound("nothing to export")
        if count > self._media.export_file_count_max:
            raise Misconfigured(
                f"more than {self._media.export_file_count_max} instances: export "
                "less at once, or raise media.export_file_count_max"
            )

    def _hash(self, target: Path) -> str:
        """Return what the record calls the target, whose name may tell of a patient."""
        secret = self._fetch.parts.keyring.derive(_MEDIUM_PURPOSE)
        path = str(target).encode("utf-8", "surrogatepass")
        return hmac.digest(secret, path, "sha256").hex()[:16]


def _check_free(target: Path) -> None:
    """Make sure that nothing is overwritten.

    Raises:
        Misconfigured: Something is there, or there is no folder to make it in.
    """
    if os.path.lexists(target):
        raise Misconfigured("the target exists already: name another")
    if not target.parent.is_dir():
        raise Misconfigured("the folder of the target does not exist: make it first")


class _Export:
    """One export, from the vault to what is being made."""

    def __init__(
        self,
        retrieval: Retrieval,
        made: "_Made",
        progress: Callable[[ExportReport], None],
    ) -> None:
        self.report = ExportReport(len(retrieval.locations))
        self._retrieval = retrieval
        self._made = made
        self._progress = progress
        self._directory = Directory()
        self._written: list[InstanceLocation] = []

    def all(self, *, with_dicomdir: bool) -> None:
        """Write everything that can be."""
        for file_id, location in file_ids(self._retrieval.locations):
            try:
                header = self._one("/".join(file_id), location, parse=with_dicomdir)
            except (Damaged, NotFound) as error:
                self._leave_out(location, error)
            else:
                self._written.append(location)
                self.report.instances += 1
                self.report.bytes += location.blob_bytes
                if header is not None:
                    reference = Referenced(
                        file_id,
                        location.sop_class_uid,
                        location.instance_uid,
                        location.transfer_syntax_uid,
                    )
                    self._directory.add(reference, header)
            self._progress(self.report)
        if with_dicomdir:
            self._made.write(FILE_NAME, None, self._directory.encode())

    def record(self) -> None:
        """Record what leaves when it is put in place; no failure can come between.

        Raises:
            Unavailable: It cannot be recorded, so it must not leave.
        """
        for location in self._written:
            self._retrieval.sent(location)
        for _ in range(self.report.left_out):
            self._retrieval.failed()
        self._retrieval.finish()

    def _one(
        self, name: str, location: InstanceLocation, *, parse: bool
    ) -> Header | None:
        chunks = self._retrieval.file(location)
        if not parse:
            self._made.write(name, location.blob_bytes, chunks)
            return None
        reader = header_reader(location)
        begin = location.data_set_offset
        try:
            self._made.write(name, location.blob_bytes, read_by(reader, begin, chunks))
            return reader.finish()
        except BadData:
            # It was whole when it was stored.
            raise Damaged("the stored data set cannot be read") from None

    def _leave_out(self, location: InstanceLocation, error: LeadglassError) -> None:
        self.report.left_out += 1
        if len(self.report.named) < NAMED_MAX:
            reason = "damaged" if isinstance(error, Damaged) else "erased meanwhile"
            self.report.named.append(LeftOut(location.instance_uid, reason))


def header_reader(location: InstanceLocation) -> HeaderReader:
    """Return what reads of an instance's data set what a DICOMDIR says of it.

    What was taken in is read again, whatever the limits are today.
    """
    syntax = TRANSFER_SYNTAXES[UID(location.transfer_syntax_uid)]
    return HeaderReader(
        syntax, WANTED, depth_max=DEPTH_MAX, inflated_bytes_max=sys.maxsize
    )


def read_by(
    reader: HeaderReader, begin: int, chunks: Iterable[Bytes]
) -> Iterator[Bytes]:
    """Pass a file on, and its data set, which begins at an offset, to a reader."""
    for chunk in chunks:
        if begin < len(chunk):
            reader.feed(memoryview(chunk)[begin:])
        begin = max(begin - len(chunk), 0)
        yield chunk


def file_ids(
    locations: Iterable[InstanceLocation],
) -> Iterator[tuple[tuple[str, ...], InstanceLocation]]:
    """Give each instance its file ID (PS3.10 §8.2): counted, telling nothing."""
    studies: dict[str, int] = {}
    series: dict[tuple[str, str], int] = {}
    in_study: dict[str, int] = {}
    in_series: dict[tuple[str, str], int] = {}
    for each in locations:
        study = studies.setdefault(each.study_uid, len(studies) + 1)
        key = each.study_uid, each.series_uid
        if key not in series:
            in_study[each.study_uid] = in_study.get(each.study_uid, 0) + 1
            series[key] = in_study[each.study_uid]
        in_series[key] = in_series.get(key, 0) + 1
        yield (
            (_ROOT, f"S{study:07}", f"SE{series[key]:06}", f"I{in_series[key]:07}"),
            each,
        )


# --- what is made ---------------------------------------------------------------------


class _Made(Protocol):
    """Something under a name of its own, until it is put in place."""

    def write(self, name: str, length: int | None, chunks: Iterable[Bytes]) -> None:
        """Write one file; if ``chunks`` raise, there is no trace of it."""

    def make_durable(self) -> None:
        """Wait until the disk has everything."""

    def put_in_place(self) -> None:
        """Give it its name; now it is there."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove it, unless it was put in place."""
        return


def _part_of(target: Path) -> Path:
    """Return where a target is made: beside it, so that a rename is enough."""
    return target.parent / f".{target.name}.leadglass-part"


def _take_over(number: int, path: Path, *, is_new: bool) -> None:
    """Lock what was made, or what an export left behind that a power cut ended.

    In a folder that others can write to, somebody could put something of his own in
    the way, and read what we write.

    Raises:
        Misconfigured: It is not ours alone.
        Unavailable: Another export is making it.
    """
    found = os.fstat(number)
    is_shared = stat.S_IMODE(found.st_mode) & 0o077 or (
        stat.S_ISREG(found.st_mode) and found.st_nlink > 1
    )
    # What is new is ours; media without owners and modes say otherwise.
    if not is_new and (found.st_uid != os.geteuid() or is_shared):
        raise Misconfigured(
            "something is in the way: remove the .leadglass-part beside the target"
        )
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # If not, another export has just put it in place.
        is_same = os.path.samestat(found, path.lstat())
    except (BlockingIOError, FileNotFoundError):
        is_same = False
    if not is_same:
        raise Unavailable("another export to this target is running")


class _Folder(_Made):
    """A folder; 0700, its files 0600."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._part = _part_of(target)
        self._folders = {""}
        try:
            self._part.mkdir(mode=0o700)
            is_new = True
        except FileExistsError:
            is_new = False
        self._is_placed = False
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        with ExitStack() as opened:
            self._number = os.open(self._part, flags)
            opened.callback(os.close, self._number)
            _take_over(self._number, self._part, is_new=is_new)
            for left in self._part.iterdir():
                if left.is_dir() and not left.is_symlink():
                    shutil.rmtree(left)
                else:
                    left.unlink()
            opened.pop_all()

    def write(self, name: str, length: int | None, chunks: Iterable[Bytes]) -> None:
        del length
        folder = name.rpartition("/")[0]
        self._make(folder)
        path = self._part / name
        try:
            with _new_file(path) as file:
                for chunk in chunks:
                    _write_all(file, chunk)
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def _make(self, folder: str) -> None:
        if folder in self._folders:
            return
        self._make(folder.rpartition("/")[0])
        (self._part / folder).mkdir(mode=0o700)
        self._folders.add(folder)

    def make_durable(self) -> None:
        # After all are written: by now most are on the disk, and the first sync
        # takes the others' metadata along.
        for folder, _, names in os.walk(self._part, topdown=False):
            for name in names:
                _sync(f"{folder}/{name}")
            _sync(folder)

    def put_in_place(self) -> None:
        self._part.rename(self._target)
        self._is_placed = True
        _sync(str(self._target.parent))

    def __exit__(self, *_: object) -> None:
        if not self._is_placed:
            shutil.rmtree(self._part, ignore_errors=True)
        os.close(self._number)


class _ZipFile(_Made):
    """A ZIP file; 0600. Entries are not packed: pixels are, or would not much be."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._part = _part_of(target)
        self._time = time.localtime()[:6]
        self._is_placed = False
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            number = os.open(self._part, flags | os.O_CREAT | os.O_EXCL, 0o600)
            is_new = True
        except FileExistsError:
            number = os.open(self._part, flags)
            is_new = False
        # Buffered, since it writes all it is given, or raises.
        self._file = os.fdopen(number, "r+b")
        try:
            _take_over(number, self._part, is_new=is_new)
            self._file.truncate(0)
            self._zip = zipfile.ZipFile(self._file, "w")
        except BaseException:
            self._file.close()
            raise

    def write(self, name: str, length: int | None, chunks: Iterable[Bytes]) -> None:
        entry = zipfile.ZipInfo(name, self._time)
        entry.external_attr = (stat.S_IFREG | 0o600) << 16
        entry.file_size = length or 0  # whether it needs ZIP64
        begin = self._zip.start_dir
        try:
            with self._zip.open(entry, "w", force_zip64=length is None) as file:
                for chunk in chunks:
                    file.write(chunk)
        except BaseException:
            # The entry was closed and listed, as far as it came: take it back.
            if self._zip.filelist and self._zip.filelist[-1] is entry:
                self._zip.filelist.pop()
                del self._zip.NameToInfo[name]
            self._zip.start_dir = begin
            self._file.truncate(begin)
            raise

    def make_durable(self) -> None:
        self._zip.close()
        self._file.flush()
        os.fsync(self._file.fileno())

    def put_in_place(self) -> None:
        self._part.rename(self._target)
        self._is_placed = True
        _sync(str(self._target.parent))

    def __exit__(self, *_: object) -> None:
        with suppress(OSError, ValueError):
            self._zip.close()
        if not self._is_placed:
            self._part.unlink(missing_ok=True)
        with suppress(OSError):  # of a disk that is full
            self._file.close()


def _new_file(path: Path) -> FileIO:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return FileIO(os.open(path, flags, 0o600), "w")


def _write_all(file: FileIO, data: Bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def _sync(path: str) -> None:
    number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(number)
    finally:
        os.close(number)
