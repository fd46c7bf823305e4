"""Downloads: a study as a ZIP file with a DICOMDIR, made while it leaves.

Nothing is written to a disk of ours, and memory holds one piece of one file, besides a
line for each file. Whoever may retrieve a study whole (the right ``get``) gets the
same bytes by WADO-RS; as a file they are on the record as an export, since a copy that
nobody protects stays behind (PS3.15 §A.5.3.4).

The order is that of any transfer: what is about to leave is recorded before the first
byte, what really left at the end. An image that does not verify ends the download: a
ZIP file that breaks off is no ZIP file, so nobody takes a part for the whole.
"""

import stat
import time
import zipfile
from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Self

from leadglass.access.rights import Right
from leadglass.archive.caller import Caller
from leadglass.archive.dicomdir import FILE_NAME, Directory, Referenced
from leadglass.archive.exporting import file_ids, header_reader, read_by
from leadglass.archive.fetch import Fetch, Retrieval, Selection
from leadglass.audit.builders import Medium, Service
from leadglass.config import Media
from leadglass.dicom.attributes import Level
from leadglass.dicom.uids import UID
from leadglass.errors import BadData, Damaged, LeadglassError, NotFound

MEDIUM: Final = Medium("ZIP file, downloaded", is_encrypted=False)


@dataclass(frozen=True, slots=True)
class Download:
    """The use case.

    Attributes:
        fetch: Takes instances out.
        media: How many one file may hold.
    """

    fetch: Fetch
    media: Media

    def __call__(self, caller: Caller, study: UID) -> "Leaving":
        """Return a study as the pieces of a ZIP file; close it, however far it is read.

        Raises:
            Refused: ``caller`` may not.
            NotFound: There is no such study, or not for this caller.
            BadData: It has more instances than one file may hold.
            Unavailable: It cannot be recorded, so nothing leaves.
            Damaged: While it is read: something stored does not verify.
        """
        retrieval = self.fetch.begin(
            caller,
            Right.GET,
            Selection(level=Level.STUDY, study_uids=(study,)),
            Service.EXPORT,
            medium=MEDIUM,
        )
        leaving = Leaving(retrieval)
        try:
            self._check(retrieval)
        except BaseException:
            leaving.close()
            raise
        return leaving

    def _check(self, retrieval: Retrieval) -> None:
        if not retrieval.locations:
            raise NotFound("no such study")
        if len(retrieval.locations) > self.media.export_file_count_max:
            raise BadData("a study of more images than one file may hold")


class Leaving(Iterator[bytes]):
    """A ZIP file on its way out; what left is recorded once, however it ends."""

    def __init__(self, retrieval: Retrieval) -> None:
        self._retrieval = retrieval
        self._pieces = _pieces(retrieval)
        self._is_over = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        """Return the next piece.

        Raises:
            Damaged, NotFound, Unavailable: It breaks off.
        """
        try:
            return next(self._pieces)
        except StopIteration:
            # Before the receiver learns that it is whole.
            self._end(was_cancelled=False)
            raise
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End it; may be repeated."""
        self._pieces.close()
        # That it was about to leave is recorded.
        with suppress(LeadglassError):
            self._end(was_cancelled=True)

    def _end(self, *, was_cancelled: bool) -> None:
        if not self._is_over:
            self._is_over = True
            self._retrieval.finish(was_cancelled=was_cancelled)


class _Sink:
    """Where the ZIP file is written to, which cannot go back."""

    def __init__(self) -> None:
        self._written: list[bytes] = []

    def write(self, data: bytes | memoryview) -> int:
        # The vault may use its memory again.
        self._written.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Do nothing: what was written is taken."""

    def take(self) -> bytes:
        taken = b"".join(self._written)
        self._written.clear()
        return taken


def _pieces(retrieval: Retrieval) -> Generator[bytes, None, None]:
    sink, directory = _Sink(), Directory()
    now = time.localtime()[:6]
    with zipfile.ZipFile(sink, "w") as made:  # type: ignore[call-overload]
        for file_id, location in file_ids(retrieval.locations):
            reader = header_reader(location)
            file = retrieval.file(location)
            chunks = read_by(reader, location.data_set_offset, file)
            entry = _entry("/".join(file_id), now, location.blob_bytes)
            yield from _written(made, sink, entry, chunks)
            try:
                header = reader.finish()
            except BadData:
                # It was whole when it was stored.
                raise Damaged("the stored data set cannot be read") from None
            reference = Referenced(
                file_id,
                location.sop_class_uid,
                location.instance_uid,
                location.transfer_syntax_uid,
            )
            directory.add(reference, header)
            retrieval.sent(location)
        entry = _entry(FILE_NAME, now, 0)
        yield from _written(made, sink, entry, directory.encode())
    yield sink.take()


def _entry(name: str, now: tuple[int, ...], length_bytes: int) -> zipfile.ZipInfo:
    year, month, day, hour, minute, second = now
    entry = zipfile.ZipInfo(name, (year, month, day, hour, minute, second))
    entry.external_attr = (stat.S_IFREG | 0o600) << 16
    entry.file_size = length_bytes  # whether it needs ZIP64
    return entry


def _written(
    made: zipfile.ZipFile,
    sink: _Sink,
    entry: zipfile.ZipInfo,
    chunks: Iterable[bytes | memoryview],
) -> Iterator[bytes]:
    """Write one file, not packed: pixels are, or would not much be."""
    with made.open(entry, "w") as file:
        for chunk in chunks:
            file.write(chunk)
            yield sink.take()
    yield sink.take()
