"""Importing from media: the same way in as for a device, many files at a time.

Each file goes once through ``Ingest``, in pieces; what is not DICOM costs its first
kilobytes. Files are stored by a few threads, since each waits for the disk; what
becomes of them is counted, remembered and recorded by the one that walks.

An import that stops, however, can be run again: what was imported is remembered
(``seen``), and what was stored but not remembered is found to be there already.
"""

import hmac
from collections import Counter, deque
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from io import RawIOBase
from pathlib import Path
from typing import Final

from leadglass.access.rights import Right
from leadglass.access.scopes import EVERYTHING
from leadglass.archive.caller import Caller
from leadglass.archive.ingest import Announced, Arrival, Ingest
from leadglass.archive.jobs import Jobs, Work
from leadglass.archive.reading import SOP_CLASS_UID, SOP_INSTANCE_UID
from leadglass.archive.seen import Seen
from leadglass.archive.sources import Fault, File, Source, SourceKind, open_source
from leadglass.archive.studies import studies_of
from leadglass.audit.builders import Medium, Result, Service, Study
from leadglass.audit.codes import Outcome as Ending
from leadglass.config import Media
from leadglass.dicom.header import HeaderReader
from leadglass.dicom.part10 import PREAMBLE_BYTES, PREFIX, Part10Reader
from leadglass.dicom.sop_classes import MEDIA_STORAGE_DIRECTORY, is_storage
from leadglass.dicom.transfer_syntaxes import TRANSFER_SYNTAXES, TransferSyntax
from leadglass.dicom.uids import UID
from leadglass.errors import BadData, Conflict, LeadglassError, Unavailable
from leadglass.index.records import Kind

# What a door or command says and hears of sources.
__all__ = ["ImportReport", "Importer", "Named", "Outcome", "SourceKind", "Stopped"]

# Each waits for the disk most of its time; more would wait for the interpreter.
THREADS: Final = 4
# Files that are handed out and not yet counted: enough that no thread waits.
_WAITING_MAX: Final = 4 * THREADS
# Files that a report names; all are counted.
NAMED_MAX: Final = 1000
# Studies named together in the record; how many are remembered while it runs.
_STUDIES_PER_RECORD: Final = 1000

_FIRST_BYTES: Final = 16 * 1024  # holds the meta information and most headers
_PIECE_BYTES: Final = 256 * 1024
# How much of a header is looked through at once for the UIDs at its beginning.
_PROBE_BYTES: Final = 2048

_META_GROUP_LENGTH: Final = 0x0002_0000
_META_SOP_CLASS: Final = 0x0002_0002
_META_SOP_INSTANCE: Final = 0x0002_0003
_META_TRANSFER_SYNTAX: Final = 0x0002_0010
# Preamble, prefix and the element of the group length come before what it counts.
_BEFORE_META_BYTES: Final = PREAMBLE_BYTES + len(PREFIX) + 12
_PROBED: Final = frozenset({SOP_CLASS_UID, SOP_INSTANCE_UID})


class Outcome(StrEnum):
    """What became of one file."""

    STORED = "stored"
    SAME = "already there"  # these bytes are in the archive
    CONFLICT = "conflict"  # other bytes are, under its UID: it is in quarantine
    REFUSED = "refused"
    MISSING = "missing"  # named by a DICOMDIR
    NOT_DICOM = "not DICOM"  # or a DICOMDIR, which is no instance
    SEEN = "unchanged"  # since it was imported before


# Looked at again only when the file has changed. The others are told every time:
# they are not in the archive.
_FINAL: Final = frozenset({Outcome.STORED, Outcome.SAME, Outcome.NOT_DICOM})
# Those an operator wants to know the names of.
_NAMED: Final = frozenset({Outcome.CONFLICT, Outcome.REFUSED, Outcome.MISSING})


class Stopped(Unavailable):
    """The node cannot go on now; running the import again does."""

    def __init__(self, text: str, report: "ImportReport") -> None:
        super().__init__(text)
        self.report = report


@dataclass(frozen=True, slots=True)
class Named:
    """One file that is not in the archive as it is.

    Attributes:
        name: Its path in the source; may tell of a patient.
        outcome: What became of it.
        reason: Why, without patient data.
    """

    name: str
    outcome: Outcome
    reason: str


@dataclass(slots=True)
class ImportReport:
    """What was looked at, and what became of it; also while it runs.

    Attributes:
        kind: What the source is.
        total: Files that there are, if that is known; for a progress bar.
        files: Files that were looked at.
        bytes: Of data sets that were taken in, or were there already.
        counts: Files by what became of them.
        named: Of the files that were not taken, the first ``NAMED_MAX``.
        preambles_cleared: Files whose preamble could have been a program's or
            another format's beginning (CVE-2019-11687); it was not kept.
    """

    kind: SourceKind
    total: int | None
    files: int = 0
    bytes: int = 0
    counts: Counter[Outcome] = field(default_factory=Counter)
    named: list[Named] = field(default_factory=list)
    preambles_cleared: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether every instance that was found is in the archive."""
        return not any(self.counts[each] for each in _NAMED)


@dataclass(frozen=True, slots=True)
class _Taken:
    """What became of one file, as its thread says it."""

    outcome: Outcome
    reason: str = ""
    study_uid: UID | None = None
    bytes: int = 0
    had_preamble: bool = False


class Importer:
    """The use case."""

    def __init__(
        self,
        ingest: Ingest,
        media: Media,
        seen_folder: Path,
        secret: bytes,
        takes: Callable[[UID], bool] = is_storage,
    ) -> None:
        """Put it together.

        Args:
            ingest: Stores the instances.
            media: Limits of what is read.
            seen_folder: Where it is remembered what was imported.
            secret: Keys the hashes that paths are remembered and recorded by.
            takes: Tells which SOP classes are stored.
        """
        self._ingest = ingest
        self._media = media
        self._seen_folder = seen_folder
        self._secret = secret
        self._takes = takes

    def run(
        self,
        caller: Caller,
        source: Path,
        progress: Callable[[ImportReport], None] = lambda _: None,
        *,
        fresh: bool = False,
    ) -> ImportReport:
        """Import a folder, a file, a ZIP file, or what a DICOMDIR names.

        Args:
            caller: Who does so.
            source: What to import.
            progress: Called in this thread whenever files are done.
            fresh: Look at every file again, also those imported before.

        Raises:
            Refused: ``caller`` may not.
            NotFound: There is nothing to read.
            BadData: The source is malformed, or passes a limit; files before the
                limit are imported.
            Stopped: The node has no room or cannot record; it has the report.
            Unavailable: It cannot begin.
        """
        parts = self._ingest.parts
        parts.require(caller, Right.IMPORT, Service.IMPORT)
        with ExitStack() as opened:
            found = opened.enter_context(open_source(source, self._media))
            path = str(source.resolve())
            seen = opened.enter_context(
                Seen(self._seen_folder, self._secret, path, fresh=fresh)
            )
            name = path.encode("utf-8", "surrogatepass")
            digest = hmac.digest(self._secret, b"medium " + name, "sha256").hex()[:16]
            medium = Medium(f"{found.kind} {digest}")
            taker = _Taker(self._ingest, caller, self._takes)
            doing = Jobs(parts).doing(Work.IMPORT, caller.subject.name)
            note = opened.enter_context(doing)

            def told(report: ImportReport) -> None:
                faults = sum(report.counts[each] for each in _NAMED)
                note(report.files, report.total or 0, faults)
                progress(report)

            return _Run(self, taker, seen, medium, found, told).all()

    @property
    def file_count_max(self) -> int:
        """Files that one import looks at."""
        return self._media.import_file_count_max


class _Taker:
    """Takes in one file; its method is called by many threads."""

    def __init__(
        self, ingest: Ingest, caller: Caller, takes: Callable[[UID], bool]
    ) -> None:
        self.parts = ingest.parts
        self.caller = caller
        self._ingest = ingest
        self._takes = takes
        self._buffers: deque[memoryview] = deque()  # fresh memory is dear

    def __call__(self, file: File) -> _Taken:
        """Take in one file.

        Raises:
            Refused, Unavailable: The run must end.
        """
        try:
            buffer = self._buffers.pop()
        except IndexError:
            buffer = memoryview(bytearray(_PIECE_BYTES))
        try:
            with _opened(file) as stream:
                return self._take(stream, buffer)
        except BadData as error:
            return _Taken(Outcome.REFUSED, str(error))
        finally:
            self._buffers.append(buffer)

    def _take(self, stream: RawIOBase, buffer: memoryview) -> _Taken:
        reader = Part10Reader()
        try:
            begun = _data_set_begin(stream, reader, buffer)
        except BadData as error:
            if reader.preamble_kind in {None, "missing"}:
                return _Taken(Outcome.NOT_DICOM)
            return _Taken(Outcome.REFUSED, str(error))
        if reader.sop_class == MEDIA_STORAGE_DIRECTORY:
            return _Taken(Outcome.NOT_DICOM)
        held = bytearray(begun)
        announced = self._announced(stream, reader, held, buffer)
        arrival = self._ingest.begin(self.caller, announced, Right.IMPORT)
        try:
            return self._store(arrival, stream, reader, held, buffer)
        except BadData as error:
            arrival.refuse(error)
            return _Taken(Outcome.REFUSED, str(error), arrival.study_uid)
        except LeadglassError as error:
            arrival.refuse(error)
            raise
        except BaseException:
            arrival.abandon()
            raise

    def _store(
        self,
        arrival: Arrival,
        stream: RawIOBase,
        reader: Part10Reader,
        held: bytearray,
        buffer: memoryview,
    ) -> _Taken:
        length = len(held)
        arrival.write(memoryview(held))
        while count := _read(stream, buffer):
            length += count
            arrival.write(buffer[:count])
        try:
            added = arrival.finish()
        except Conflict as error:
            return _Taken(Outcome.CONFLICT, str(error), arrival.study_uid)
        return _Taken(
            Outcome.STORED if added.kind is Kind.NEW else Outcome.SAME,
            study_uid=arrival.study_uid,
            bytes=length,
            had_preamble=reader.preamble_kind in {"tiff", "other"},
        )

    def _announced(
        self,
        stream: RawIOBase,
        reader: Part10Reader,
        held: bytearray,
        buffer: memoryview,
    ) -> Announced:
        """Read on, into ``held``, until the data set says what it is.

        The meta information is asked for nothing but the transfer syntax: anonymisers
        and hand-written converters leave old UIDs in it, or none.
        """
        uid = reader.transfer_syntax
        syntax = None if uid is None else TRANSFER_SYNTAXES.get(uid)
        if syntax is None:
            raise BadData("a transfer syntax that is not stored here")
        probe = HeaderReader(syntax, _PROBED)
        at = 0
        while not (probe.uid(SOP_CLASS_UID) and probe.uid(SOP_INSTANCE_UID)):
            if at == len(held):
                if at > self.parts.limits.header_bytes_max or probe.is_done:
                    break
                held += buffer[: _read(stream, buffer)]
                if at == len(held):
                    break
            piece = bytes(held[at : at + _PROBE_BYTES])
            at += len(piece)
            probe.feed(piece)
        sop_class, sop_instance = probe.uid(SOP_CLASS_UID), probe.uid(SOP_INSTANCE_UID)
        if sop_class is None or sop_instance is None:
            raise BadData("no SOP class or SOP Instance UID in the data set")
        if not self._takes(sop_class):
            raise BadData("a SOP class that is not stored here")
        return Announced(
            sop_class,
            sop_instance,
            syntax,
            service=Service.IMPORT,
            file_head=_kept_head(reader, sop_class, sop_instance, syntax),
        )


def _opened(file: File) -> RawIOBase:
    try:
        return file.open()
    except OSError:
        raise BadData("the file cannot be read") from None


def _read(stream: RawIOBase, buffer: memoryview) -> int:
    """Fill the buffer, or a part of it; return how much, 0 at the end."""
    try:
        return stream.readinto(buffer) or 0
    except OSError:  # a scratch on the medium
        raise BadData("the file cannot be read") from None


def _data_set_begin(
    stream: RawIOBase, reader: Part10Reader, buffer: memoryview
) -> bytes:
    """Read up to where the data set begins; return what was read of it."""
    while count := _read(stream, buffer[:_FIRST_BYTES]):
        begun = reader.feed(buffer[:count])
        if begun is not None:
            return begun
    return reader.finish()


def _kept_head(
    reader: Part10Reader, sop_class: UID, sop_instance: UID, syntax: TransferSyntax
) -> bytes | None:
    """Return the meta information as it came, unless it does not fit the data set."""
    head = reader.head()
    meta = reader.meta
    fits = (
        meta.text(_META_SOP_CLASS) == sop_class
        and meta.text(_META_SOP_INSTANCE) == sop_instance
        and meta.text(_META_TRANSFER_SYNTAX) == syntax.uid
        # Some readers go by it to find the data set.
        and meta.text(_META_GROUP_LENGTH) == str(len(head) - _BEFORE_META_BYTES)
    )
    return head if fits else None


class _Run:
    """One import; everything but the storing happens in one thread."""

    def __init__(  # noqa: PLR0913, PLR0917  # the parts of a run
        self,
        importer: Importer,
        taker: _Taker,
        seen: Seen,
        medium: Medium,
        source: Source,
        progress: Callable[[ImportReport], None],
    ) -> None:
        self._count_max = importer.file_count_max
        self._taker = taker
        self._seen = seen
        self._medium = medium
        self._source = source
        self._progress = progress
        self._report = ImportReport(source.kind, source.total)
        self._waiting: dict[Future[_Taken], tuple[str, bytes]] = {}
        self._studies: set[UID] = set()

    def all(self) -> ImportReport:
        """Import everything; whatever happens, record what was imported."""
        with ThreadPoolExecutor(THREADS, "import") as workers:
            try:
                for found in self._source:
                    self._look(found, workers)
                while self._waiting:
                    self._wait()
            except BaseException as error:
                workers.shutdown(cancel_futures=True)  # waits for what is in flight
                self._keep_finished()
                with suppress(LeadglassError):  # why it ended is told in any case
                    self._record(Ending.SERIOUS_FAILURE, is_last=True)
                if isinstance(error, Unavailable):
                    text = f"{error}; run the import again to go on"
                    raise Stopped(text, self._report) from error
                raise
        whole = self._report.is_whole
        self._record(Ending.SUCCESS if whole else Ending.MINOR_FAILURE, is_last=True)
        return self._report

    def _look(self, found: File | Fault, workers: ThreadPoolExecutor) -> None:
        if self._report.files + len(self._waiting) >= self._count_max:
            raise BadData(
                f"more than {self._count_max} files: import them in parts, "
                "or raise media.import_file_count_max"
            )
        if isinstance(found, Fault):
            outcome = Outcome.MISSING if found.is_missing else Outcome.REFUSED
            self._count(found.name, _Taken(outcome, found.reason))
            return
        key = self._seen.key(found.name, found.stamp)
        if key in self._seen:
            self._count(found.name, _Taken(Outcome.SEEN))
            return
        while len(self._waiting) >= _WAITING_MAX:
            self._wait()
        self._waiting[workers.submit(self._taker, found)] = found.name, key

    def _wait(self) -> None:
        done, _ = wait(self._waiting, return_when=FIRST_COMPLETED)
        self._settle(done)

    def _settle(self, done: Iterable[Future[_Taken]]) -> None:
        for future in done:
            name, key = self._waiting.pop(future)
            taken = future.result()
            # The instance is durable by now, so it may be remembered.
            if taken.outcome in _FINAL:
                self._seen.add(key)
            self._count(name, taken)

    def _keep_finished(self) -> None:
        """Count what was in flight when the run had to end."""
        for future in tuple(self._waiting):
            if future.cancelled() or future.exception() is not None:
                continue
            name, key = self._waiting.pop(future)
            taken = future.result()
            if taken.outcome in _FINAL:
                with suppress(Unavailable):  # perhaps just that is the reason
                    self._seen.add(key)
            self._count(name, taken)

    def _count(self, name: str, taken: _Taken) -> None:
        report = self._report
        report.files += 1
        report.bytes += taken.bytes
        report.counts[taken.outcome] += 1
        report.preambles_cleared += taken.had_preamble
        if taken.outcome in _NAMED and len(report.named) < NAMED_MAX:
            report.named.append(Named(_printable(name), taken.outcome, taken.reason))
        if taken.study_uid is not None and taken.outcome is not Outcome.REFUSED:
            self._studies.add(taken.study_uid)
            if len(self._studies) >= _STUDIES_PER_RECORD:
                self._record(Ending.SUCCESS, is_last=False)
        self._progress(report)

    def _record(self, ending: Ending, *, is_last: bool) -> None:
        """Record which studies were imported; each instance has its own event."""
        parts = self._taker.parts
        uids, self._studies = sorted(self._studies), set()
        with parts.database.read() as connection:
            known = studies_of(parts.index, connection, uids, (EVERYTHING,))
        counts = {each.value: self._report.counts[each] for each in Outcome}
        events = parts.events.imported(
            parts.actor(self._taker.caller),
            tuple(known.get(uid, Study(uid)) for uid in uids),
            self._medium,
            Result(ending, counts=counts if is_last else None),
        )
        parts.record(*events)


def _printable(name: str) -> str:
    """Return a name without what a terminal would take for a command."""
    return "".join(
        each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in name
    )
