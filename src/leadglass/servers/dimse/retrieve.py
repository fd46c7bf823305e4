"""Query/Retrieve GET and MOVE as SCP (PS3.4 §C.4.2, §C.4.3).

Both send the same instances in the same way; they differ in where to: back over the
same association, or over one of our own to an enrolled destination. Each instance is
sent as it is stored; only where a receiver takes nothing else it is made
uncompressed on the way.
"""

import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from typing import Final, Protocol

from leadglass.access.rights import Right
from leadglass.archive.doors import Doorkeeper
from leadglass.archive.fetch import Fetch, InstanceLocation, Retrieval, Selection
from leadglass.audit.builders import Actor, Service
from leadglass.dicom.aetitle import AETitle
from leadglass.dicom.attributes import BY_KEYWORD, Level
from leadglass.dicom.dataset import DataSet
from leadglass.dicom.transfer_syntaxes import EXPLICIT_VR_LE, IMPLICIT_VR_LE
from leadglass.dicom.uids import UID
from leadglass.errors import (
    BadData,
    Damaged,
    LeadglassError,
    NotFound,
    PeerError,
    Unavailable,
)
from leadglass.identity.device import Device
from leadglass.pixels.transcode import DECODABLE, Transcoder
from leadglass.servers.dimse.connection import Connection, Timeouts
from leadglass.servers.dimse.query import level_of
from leadglass.servers.dimse.requestor import Receiver, associate
from leadglass.servers.dimse.session import Failure, Gone, Session
from leadglass.wire.dimse import (
    CGetRQ,
    CMoveRQ,
    Command,
    CStoreRQ,
    CStoreRSP,
    Message,
    SubOperations,
)
from leadglass.wire.negotiation import Context
from leadglass.wire.pdus import CONTEXTS_MAX
from leadglass.wire.status import (
    CANCEL,
    MOVE_DESTINATION_UNKNOWN,
    PENDING,
    SUB_OPERATIONS_WITH_FAILURES,
    SUCCESS,
    UNABLE_TO_PERFORM_SUB_OPERATIONS,
    Category,
    category,
)

FAILED_SOP_INSTANCES: Final = 0x0008_0058
# Said while it works; a workstation's progress bar needs no more.
_PENDING_INTERVAL_S: Final = 1.0
# The largest instance that is read ahead, whole: each association that retrieves
# may hold one.
_AHEAD_BYTES_MAX: Final = 4 * 1024 * 1024
# Failed instances that are named in the last response; 64 KiB of UIDs.
_FAILED_NAMED_MAX: Final = 1000
# What every receiver understands, in the order that we prefer.
_UNCOMPRESSED: Final = (EXPLICIT_VR_LE, IMPLICIT_VR_LE)
# Contexts of one association to a destination: two for each SOP class and syntax.
_PAIRS_MAX: Final = CONTEXTS_MAX // 2


class Cancelled(Exception):  # it is no error
    """The peer cancelled its request."""


class Lost(PeerError):
    """The receiver is gone, or answers what makes no sense."""


class Channel(Protocol):
    """Where instances are sent to."""

    def contexts(self, sop_class: UID) -> Sequence[Context]:
        """Return the contexts over which an instance of this class may be sent."""
        ...

    def send(
        self,
        context: Context,
        location: InstanceLocation,
        chunks: Iterable[bytes | memoryview],
    ) -> int:
        """Send one instance; return the status of its C-STORE.

        Raises:
            Lost: The receiver is gone.
            Cancelled: The peer cancelled meanwhile; this instance was sent.
        """
        ...


@dataclass(slots=True)
class _Wire:
    """Sends over one association; for both services."""

    connection: Connection
    originator: tuple[AETitle, int] | None = None
    on_other: Callable[[object], bool] | None = None  # judges what is no response
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def contexts(self, sop_class: UID) -> Sequence[Context]:
        """See ``Channel``."""
        return [
            each
            for each in self.connection.association.contexts.values()
            if each.is_scu and each.abstract_syntax == sop_class
        ]

    def send(
        self,
        context: Context,
        location: InstanceLocation,
        chunks: Iterable[bytes | memoryview],
    ) -> int:
        """See ``Channel``."""
        title, number = self.originator or (None, None)
        request = CStoreRQ(
            message_id=next(self._numbers) % 0x10000,
            affected_sop_class=UID(location.sop_class_uid),
            affected_sop_instance=UID(location.instance_uid),
            move_originator=title,
            move_originator_message_id=number,
        )
        self.connection.stream(context.id, request.encode(), chunks)
        return self._status(request.message_id)

    def _status(self, message_id: int) -> int:
        """Wait for the response; a cancel that comes first is kept for after it."""
        is_cancelled = False
        while True:
            part = self.connection.message()
            if isinstance(part, Command) and isinstance(part.message, CStoreRSP):
                if part.message.responds_to != message_id:
                    raise Lost("a response to something else")
                if is_cancelled:
                    raise Cancelled(part.message.status)
                return part.message.status
            if self.on_other is None or not isinstance(part, Command):
                raise Lost("the receiver ended the association")
            is_cancelled = self.on_other(part) or is_cancelled


class _Ahead:
    """Reads the next instance while the receiver works on the last one.

    One instance ahead, and only what fits: larger ones stream as ever.
    """

    def __init__(self, retrieval: Retrieval) -> None:
        self._retrieval = retrieval
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")
        self._begun: tuple[InstanceLocation, Future[list[bytes | memoryview]]] | None
        self._begun = None

    def begin(self, location: InstanceLocation | None) -> None:
        """Begin to read an instance, for the next call of ``data_set``."""
        self._begun = None
        if location is not None and location.data_set_bytes <= _AHEAD_BYTES_MAX:
            self._begun = location, self._reader.submit(self._read, location)

    def data_set(self, location: InstanceLocation) -> Iterator[bytes | memoryview]:
        """Yield an instance, as ``Retrieval.data_set`` does."""
        begun = self._begun
        if begun is None or begun[0] is not location:
            return self._retrieval.data_set(location)
        self._begun = None
        return iter(begun[1].result())

    def _read(self, location: InstanceLocation) -> list[bytes | memoryview]:
        return list(self._retrieval.data_set(location))

    def close(self) -> None:
        """Let go of the thread."""
        self._reader.shutdown(wait=False, cancel_futures=True)


def _with_following(
    locations: Iterable[InstanceLocation],
) -> Iterator[tuple[InstanceLocation, InstanceLocation | None]]:
    """Yield each with the one after it."""
    rest = iter(locations)
    current = next(rest, None)
    while current is not None:
        following = next(rest, None)
        yield current, following
        current = following


@dataclass(slots=True)
class _Work:
    """The sub-operations of one request."""

    retrieval: Retrieval
    transcoder: Transcoder
    ahead: "_Ahead"
    report: Callable[[SubOperations], None]
    failed: list[str] = field(default_factory=list)
    counts: SubOperations = field(default_factory=SubOperations)
    _told_at: float = field(default_factory=time.monotonic)

    def run(self, channel: Channel, locations: Iterable[InstanceLocation]) -> None:
        """Send the instances; what fails is counted and does not stop the others.

        Raises:
            Lost: The receiver is gone; the rest is not sent.
            Cancelled: The peer cancelled.
        """
        for location, following in _with_following(locations):
            try:
                data_set = self.ahead.data_set(location)
                # Begun now, it is read and unsealed while this one is sent.
                self.ahead.begin(following)
                status = self._send(channel, location, data_set)
            except Cancelled as cancelled:
                self._count(location, int(cancelled.args[0]))
                raise
            except (BadData, Damaged, NotFound, Unavailable):
                self.fail(location)
            else:
                self._count(location, status)
            now = time.monotonic()
            if now - self._told_at >= _PENDING_INTERVAL_S:
                self._told_at = now
                self.report(self.tally())

    def _send(
        self,
        channel: Channel,
        location: InstanceLocation,
        data_set: Iterator[bytes | memoryview],
    ) -> int:
        contexts = channel.contexts(UID(location.sop_class_uid))
        stored = UID(location.transfer_syntax_uid)
        for context in contexts:
            if context.transfer_syntax == stored:
                return self._streamed(channel, context, location, data_set)
        for syntax in _UNCOMPRESSED:
            for context in contexts:
                if context.transfer_syntax == syntax and stored in DECODABLE:
                    chunks = self.transcoder.transcode(
                        map(bytes, data_set), stored, syntax
                    )
                    return self._streamed(channel, context, location, chunks)
        raise BadData("the receiver takes no transfer syntax that we can send")

    def _streamed(
        self,
        channel: Channel,
        context: Context,
        location: InstanceLocation,
        chunks: Iterator[bytes | memoryview],
    ) -> int:
        """Send what begins well; an instance that fails later ends the association.

        A message that has begun cannot be taken back (PS3.7 §6.3.1).
        """
        with ExitStack() as cleanup:
            close = getattr(chunks, "close", None)
            if close is not None:
                cleanup.callback(close)
            first = next(chunks, b"")
            try:
                return channel.send(context, location, _after(first, chunks))
            except (BadData, Damaged, NotFound, Unavailable) as error:
                raise Lost("an instance broke off in the middle") from error

    def _count(self, location: InstanceLocation, status: int) -> None:
        kind = category(status)
        if kind in {Category.SUCCESS, Category.WARNING}:
            has_warning = kind is Category.WARNING
            self.retrieval.sent(location, with_warning=has_warning)
            done = self.counts
            self.counts = SubOperations(
                completed=done.completed + (not has_warning),
                warning=done.warning + has_warning,
                failed=done.failed,
            )
        else:
            self.fail(location)

    def fail(self, location: InstanceLocation) -> None:
        """Count an instance that the receiver did not get."""
        self.retrieval.failed()
        self.failed.append(location.instance_uid)
        done = self.counts
        self.counts = SubOperations(
            completed=done.completed, warning=done.warning, failed=done.failed + 1
        )

    def tally(self) -> SubOperations:
        """Return the counts as a response tells them."""
        done = self.counts
        total = len(self.retrieval.locations)
        return SubOperations(
            remaining=total - done.completed - done.failed - done.warning,
            completed=done.completed,
            failed=done.failed,
            warning=done.warning,
        )

    def status(self) -> int:
        """Return how it ended (PS3.4 Tables C.4-2 and C.4-3)."""
        if not self.counts.failed:
            return SUB_OPERATIONS_WITH_FAILURES if self.counts.warning else SUCCESS
        if not self.counts.completed and not self.counts.warning:
            return UNABLE_TO_PERFORM_SUB_OPERATIONS
        return SUB_OPERATIONS_WITH_FAILURES


def _after(
    first: bytes | memoryview, rest: Iterator[bytes | memoryview]
) -> Iterator[bytes | memoryview]:
    yield first
    yield from rest


def selection_of(identifier: DataSet) -> Selection:
    """Return what a retrieve identifier asks for.

    Raises:
        BadData: It names nothing at its level.
    """
    level = level_of(identifier)
    named = {
        level: tuple(filter(None, identifier.texts(BY_KEYWORD[keyword].tag)))
        for level, keyword in (
            (Level.PATIENT, "PatientID"),
            (Level.STUDY, "StudyInstanceUID"),
            (Level.SERIES, "SeriesInstanceUID"),
            (Level.IMAGE, "SOPInstanceUID"),
        )
    }
    return Selection(
        level=level,
        patient_ids=named[Level.PATIENT],
        study_uids=named[Level.STUDY],
        series_uids=named[Level.SERIES],
        instance_uids=named[Level.IMAGE],
    )


class _Retrieve:
    """What C-GET and C-MOVE share."""

    def __init__(self, fetch: Fetch, transcoder: Transcoder) -> None:
        self._fetch = fetch
        self._transcoder = transcoder

    def _finish(
        self,
        session: Session,
        context: Context,
        request: CGetRQ | CMoveRQ,
        work: _Work,
        status: int,
    ) -> None:
        work.ahead.close()
        work.retrieval.finish(was_cancelled=status == CANCEL)
        failed = work.failed[:_FAILED_NAMED_MAX]
        response = request.response(status, work.tally(), has_data_set=bool(failed))
        data_set = None
        if failed:
            answer = DataSet()
            answer.set(FAILED_SOP_INSTANCES, "UI", "\\".join(failed).encode())
            data_set = answer.encode(context.transfer_syntax)
        session.connection.association.send(context.id, response.encode(), data_set)

    def _work(
        self,
        session: Session,
        context: Context,
        request: CGetRQ | CMoveRQ,
        retrieval: Retrieval,
    ) -> _Work:
        def report(counts: SubOperations) -> None:
            response = request.response(PENDING, counts)
            session.connection.association.send(context.id, response.encode())
            session.connection.flush()

        return _Work(retrieval, self._transcoder, _Ahead(retrieval), report)


class GetService(_Retrieve):
    """Answers C-GET: sends over the same association."""

    def __call__(self, session: Session, context: Context, request: Message) -> None:
        """Send what was asked for, then how it ended."""
        assert isinstance(request, CGetRQ)  # by the table of services
        try:
            identifier = DataSet.decode(session.identifier(), context.transfer_syntax)
            retrieval = self._fetch.begin(
                session.caller, Right.GET, selection_of(identifier), Service.C_GET
            )
        except Gone:
            raise
        except Exception as error:  # noqa: BLE001  # Failure.of logs what is ours
            _refuse(session, context, request, Failure.of(error))
            return
        work = self._work(session, context, request, retrieval)
        wire = _Wire(
            session.connection,
            on_other=lambda part: session.take_cancel(part, request.message_id),
        )
        try:
            work.run(wire, retrieval.locations)
            status = work.status()
        except Cancelled:
            status = CANCEL
        except PeerError:
            work.ahead.close()
            retrieval.finish()
            session.connection.association.abort()
            raise
        self._finish(session, context, request, work, status)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What an association of our own needs.

    Attributes:
        title: Our AE title.
        tls: Returns the context to send with; it changes when we are renewed.
        timeouts: For the receiver.
        connect_timeout_s: For it to accept the connection.
    """

    title: AETitle
    tls: Callable[[], ssl.SSLContext]
    timeouts: Timeouts
    connect_timeout_s: float


class MoveService(_Retrieve):
    """Answers C-MOVE: sends to an enrolled destination."""

    def __init__(
        self,
        fetch: Fetch,
        transcoder: Transcoder,
        doorkeeper: Doorkeeper,
        outgoing: Outgoing,
    ) -> None:
        super().__init__(fetch, transcoder)
        self._doorkeeper = doorkeeper
        self._outgoing = outgoing

    def __call__(self, session: Session, context: Context, request: Message) -> None:
        """Send what was asked for to where it was asked to, then how it ended."""
        assert isinstance(request, CMoveRQ)  # by the table of services
        try:
            identifier = DataSet.decode(session.identifier(), context.transfer_syntax)
            device = self._doorkeeper.receiver(request.move_destination)
            if device is None or device.destination is None:
                self._doorkeeper.refuse_receiver(
                    session.caller, request.move_destination
                )
                unknown = Failure(MOVE_DESTINATION_UNKNOWN, "destination unknown")
                _refuse(session, context, request, unknown)
                return
            retrieval = self._fetch.begin(
                session.caller,
                Right.MOVE,
                selection_of(identifier),
                Service.C_MOVE,
                destination=Actor(
                    name=device.name,
                    address=device.destination.host,
                    ae_title=request.move_destination.text,
                    kind=device.subject.kind,
                ),
            )
        except Gone:
            raise
        except Exception as error:  # noqa: BLE001  # Failure.of logs what is ours
            _refuse(session, context, request, Failure.of(error))
            return
        work = self._work(session, context, request, retrieval)
        try:
            status = self._send_all(session, request, work, device)
        except PeerError:
            work.ahead.close()
            retrieval.finish()
            raise
        self._finish(session, context, request, work, status)

    def _send_all(
        self, session: Session, request: CMoveRQ, work: _Work, device: Device
    ) -> int:
        """Send in as many associations as the contexts ask for; return the status."""
        assert device.destination is not None  # that is how it was chosen
        receiver = Receiver(
            device.destination.host,
            device.destination.port,
            request.move_destination,
            is_plaintext=device.is_sent_to_in_plaintext,
            check=lambda address, certificate: self._doorkeeper.check_receiver(
                device, address, certificate
            ),
        )
        originator = session.caller.ae_title
        for batch in batches(work.retrieval.locations):
            try:
                with associate(
                    receiver,
                    self._outgoing.title,
                    wishes_of(batch),
                    tls=self._outgoing.tls(),
                    timeouts=self._outgoing.timeouts,
                    connect_timeout_s=self._outgoing.connect_timeout_s,
                ) as connection:
                    wire = _Wire(
                        connection,
                        (AETitle(originator), request.message_id)
                        if originator
                        else None,
                    )
                    work.run(wire, _until_cancelled(session, request, batch))
            except Cancelled:
                return CANCEL
            except Gone:
                raise
            except LeadglassError:
                # What this association did not deliver has failed; the next batch
                # would meet the same receiver.
                break
        tally = work.tally()
        if tally.remaining:
            rest = work.retrieval.locations[-tally.remaining :]
            for location in rest:
                work.fail(location)
        return work.status()


def _until_cancelled(
    session: Session, request: CMoveRQ, batch: Iterable[InstanceLocation]
) -> Iterator[InstanceLocation]:
    for location in batch:
        if session.is_cancelled(request.message_id):
            raise Cancelled
        yield location


def batches(
    locations: Sequence[InstanceLocation],
) -> Iterator[Sequence[InstanceLocation]]:
    """Cut instances so that the contexts of each part fit one association."""
    start = 0
    pairs: set[tuple[str, str]] = set()
    for position, each in enumerate(locations):
        pair = (each.sop_class_uid, each.transfer_syntax_uid)
        if pair not in pairs and len(pairs) == _PAIRS_MAX:
            yield locations[start:position]
            start, pairs = position, set()
        pairs.add(pair)
    if start < len(locations):
        yield locations[start:]


def wishes_of(
    locations: Iterable[InstanceLocation],
) -> list[tuple[UID, tuple[UID, ...]]]:
    """Return the contexts to propose: each SOP class as stored, and uncompressed."""
    pairs = dict.fromkeys(
        (UID(each.sop_class_uid), UID(each.transfer_syntax_uid)) for each in locations
    )
    wishes: dict[tuple[UID, tuple[UID, ...]], None] = {}
    for sop_class, syntax in pairs:
        wishes[sop_class, (syntax,)] = None
        if syntax not in _UNCOMPRESSED:
            wishes[sop_class, _UNCOMPRESSED] = None
        elif syntax != IMPLICIT_VR_LE:
            wishes[sop_class, (IMPLICIT_VR_LE,)] = None
        else:
            wishes[sop_class, (EXPLICIT_VR_LE,)] = None
    return list(wishes)


def _refuse(
    session: Session, context: Context, request: CGetRQ | CMoveRQ, failure: Failure
) -> None:
    response = request.response(failure.status, error_comment=failure.comment)
    session.connection.association.send(context.id, response.encode())
