"""STOW-RS: storing over HTTP (PS3.18 §10.5), as plain values in and out.

A body goes through once, in constant memory: a part that is a file streams into the
archive as it comes. Metadata with bulk data cannot, since the metadata comes first
and says how the bulk data behind it is to be arranged: it is gathered, and how much
of it may be is a limit of this door.

What is stored stays stored, whatever becomes of the rest: the answer says for each
instance what happened, and sending all again is harmless.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from threading import Lock
from types import MappingProxyType
from typing import Final, Protocol

from leadglass.access.rights import Right
from leadglass.archive.caller import Caller
from leadglass.archive.ingest import Announced, Arrival, Ingest, Mismatch, TooLarge
from leadglass.audit.builders import Service
from leadglass.dicom.header import HeaderReader
from leadglass.dicom.model.encode import (
    Bulk,
    data_set_pieces,
    entries_of_json,
)
from leadglass.dicom.model.values import Json
from leadglass.dicom.model.xml import entries_of_xml
from leadglass.dicom.part10 import PREAMBLE_BYTES, PREFIX, Part10Reader
from leadglass.dicom.sop_classes import is_storage
from leadglass.dicom.transfer_syntaxes import (
    EXPLICIT_VR_LE,
    RLE_LOSSLESS,
    TRANSFER_SYNTAXES,
    TransferSyntax,
)
from leadglass.dicom.uids import UID
from leadglass.errors import BadData, LeadglassError, PeerError, Unavailable
from leadglass.servers.dicomweb.multipart import (
    Begin,
    Data,
    Limits,
    MediaType,
    MultipartReader,
)

DICOM: Final = "application/dicom"
DICOM_JSON: Final = "application/dicom+json"
DICOM_XML: Final = "application/dicom+xml"
MULTIPART: Final = "multipart/related"

# A functional group's metadata of 10,000 frames is some 10 MB of JSON.
METADATA_BYTES_MAX: Final = 16 * 1024 * 1024
# What one request may hold in memory beside it. Larger instances come as files,
# which stream; times the requests at once it is this door's share of memory.
BULK_BYTES_MAX: Final = 64 * 1024 * 1024
BULK_PARTS_MAX: Final = 10_000  # frames come one in a part
INSTANCES_MAX: Final = 10_000  # of one request; more come as files, or in several
# What all requests together may hold of both, as it is weighed.
GATHERED_BYTES_MAX: Final = 1024 * 1024 * 1024
# Metadata becomes objects, each many times as long as its text.
_METADATA_WEIGHT: Final = 8
# The beginning of a file, kept until it says what it is.
_PROBE_BYTES_MAX: Final = 1024 * 1024
_PROBE_STEP_BYTES: Final = 4096  # so that one step does not look at all pixels

_SOP_CLASS: Final = 0x0008_0016
_SOP_INSTANCE: Final = 0x0008_0018
_STUDY: Final = 0x0020_000D
_SERIES: Final = 0x0020_000E
_PROBED: Final = frozenset({_SOP_CLASS, _SOP_INSTANCE, _STUDY, _SERIES})
_META_GROUP_LENGTH: Final = 0x0002_0000
_META_SOP_CLASS: Final = 0x0002_0002
_META_SOP_INSTANCE: Final = 0x0002_0003
_META_TRANSFER_SYNTAX: Final = 0x0002_0010
# Preamble, prefix and the group length, which does not count itself.
_BEFORE_META_BYTES: Final = PREAMBLE_BYTES + len(PREFIX) + 12

CANNOT_UNDERSTAND: Final = BadData.dimse_status
OUT_OF_RESOURCES: Final = Unavailable.dimse_status
NOT_AUTHORIZED: Final = 0x0124  # PS3.7 Annex C

# Media types of compressed frames, with their transfer syntax unless a parameter
# names another (PS3.18 Tables 8.7.3-4 and 8.7.3-5).
_COMPRESSED: Final = MappingProxyType(
    {
        "image/jpeg": UID("1.2.840.10008.1.2.4.50"),
        "image/dicom-rle": RLE_LOSSLESS,
        "image/x-dicom-rle": RLE_LOSSLESS,
        "image/jls": UID("1.2.840.10008.1.2.4.80"),
        "image/x-jls": UID("1.2.840.10008.1.2.4.80"),
        "image/jp2": UID("1.2.840.10008.1.2.4.90"),
        "image/jpx": UID("1.2.840.10008.1.2.4.92"),
        "image/jphc": UID("1.2.840.10008.1.2.4.201"),
        "image/jxl": UID("1.2.840.10008.1.2.4.112"),
        "video/mpeg": UID("1.2.840.10008.1.2.4.100"),
        "video/mpeg2": UID("1.2.840.10008.1.2.4.100"),
        "video/mp4": UID("1.2.840.10008.1.2.4.102"),
    }
)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one request may make this node hold.

    Attributes:
        metadata_bytes_max: Of all metadata.
        bulk_bytes_max: Of all bulk data that is gathered for it.
        parts: Of the body as it comes.
    """

    metadata_bytes_max: int = METADATA_BYTES_MAX
    bulk_bytes_max: int = BULK_BYTES_MAX
    parts: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if min(self.metadata_bytes_max, self.bulk_bytes_max) < 1:
            raise ValueError("bounds are positive")


class Gathering:
    """The memory that requests share for what cannot stream.

    Else as many as may come at once could each take all that one may.
    """

    def __init__(self, bytes_max: int = GATHERED_BYTES_MAX) -> None:
        self._left_bytes = bytes_max
        self._lock = Lock()

    def take(self, count: int) -> None:
        """Take some of it, to be given back.

        Raises:
            Unavailable: Others have it now.
        """
        with self._lock:
            if count > self._left_bytes:
                raise Unavailable("too much is being gathered at once")
            self._left_bytes -= count

    def give(self, count: int) -> None:
        """Give it back."""
        with self._lock:
            self._left_bytes += count


class UnsupportedMediaType(PeerError):
    """The payload is of a kind that this service does not take (PS3.18 §10.5.3)."""

    http_status = 415


class OtherStudy(Mismatch):
    """The instance does not belong to the study of the resource."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked.

    Attributes:
        caller: Who, proven.
        content_type: The header of the whole.
        study_uid: Of the resource; ``None``: ``/studies``, any study.
        service: For the record.
    """

    caller: Caller
    content_type: str
    study_uid: UID | None = None
    service: Service = Service.STOW_RS


@dataclass(frozen=True, slots=True)
class Stored:
    """An instance that is here now; for the answer, never for a log."""

    sop_class: UID
    sop_instance: UID
    study_uid: UID | None
    series_uid: UID | None


@dataclass(frozen=True, slots=True)
class Failed:
    """One that is not, and why (PS3.18 Table I.2-2); without UIDs if it has none."""

    reason: int
    sop_class: UID | None = None
    sop_instance: UID | None = None
    is_too_large: bool = False  # so that sending it again does not help


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a request."""

    stored: tuple[Stored, ...]
    failed: tuple[Failed, ...]

    @property
    def status(self) -> int:
        """The status of the response (PS3.18 Table 10.5.3-1)."""
        if not self.failed:
            return 200
        if self.stored:
            return 202
        reasons = {each.reason for each in self.failed}
        if reasons == {NOT_AUTHORIZED}:
            return 403
        if all(each.is_too_large for each in self.failed):
            return 413
        return 503 if reasons == {OUT_OF_RESOURCES} else 409

    def entries(self, base_url: str) -> Json:
        """Return the response's data set in the JSON model (PS3.18 §I.2).

        Args:
            base_url: Of this service, without a slash at the end.
        """
        found: Json = {}
        studies = {each.study_uid for each in self.stored}
        if len(studies) == 1 and None not in studies:
            url = f"{base_url}/studies/{next(iter(studies))}"
            found["00081190"] = {"vr": "UR", "Value": [url]}
        failed = [_failed_item(each) for each in self.failed if each.sop_instance]
        if failed:
            found["00081198"] = {"vr": "SQ", "Value": failed}
        if self.stored:
            items = [_stored_item(each, base_url) for each in self.stored]
            found["00081199"] = {"vr": "SQ", "Value": items}
        # One object for each reason: a body of nonsense may have 100,000 such parts.
        unnamed = [each.reason for each in self.failed if not each.sop_instance]
        item_of = {reason: _reason(reason) for reason in unnamed}
        others = [item_of[reason] for reason in unnamed]
        if others:
            found["0008119A"] = {"vr": "SQ", "Value": others}
        return found


def _reason(reason: int) -> Json:
    return {"00081197": {"vr": "US", "Value": [reason]}}


def _unnamed(error: LeadglassError) -> Failed:
    return Failed(error.dimse_status, is_too_large=isinstance(error, TooLarge))


def _failed_item(failed: Failed) -> Json:
    return {
        "00081150": {
            "vr": "UI",
            "Value": [str(failed.sop_class)] if failed.sop_class else [],
        },
        "00081155": {"vr": "UI", "Value": [str(failed.sop_instance)]},
        **_reason(failed.reason),
    }


def _stored_item(stored: Stored, base_url: str) -> Json:
    item: Json = {
        "00081150": {"vr": "UI", "Value": [str(stored.sop_class)]},
        "00081155": {"vr": "UI", "Value": [str(stored.sop_instance)]},
    }
    if stored.study_uid and stored.series_uid:
        url = (
            f"{base_url}/studies/{stored.study_uid}/series/{stored.series_uid}"
            f"/instances/{stored.sop_instance}"
        )
        item["00081190"] = {"vr": "UR", "Value": [url]}
    return item


# --- one instance ---------------------------------------------------------------------


class _Incoming:
    """One instance's data set on its way: told apart, announced, stored."""

    def __init__(
        self, ingest: Ingest, request: Request, syntax: TransferSyntax
    ) -> None:
        self._ingest = ingest
        self._request = request
        self._syntax = syntax
        self._probe: HeaderReader | None = HeaderReader(syntax, _PROBED)
        self._uids: dict[int, UID | None] = dict.fromkeys(_PROBED)
        self._held = bytearray()
        self._arrival: Arrival | None = None
        self.head: Callable[[UID, UID], bytes | None] = lambda _class, _instance: None

    def write(self, data: bytes) -> None:
        """Take the next bytes.

        Raises:
            LeadglassError: It cannot be stored.
        """
        if self._probe is not None:
            self._look(self._probe, data)
        if self._arrival is not None:
            self._arrival.write(memoryview(data))
            return
        self._held += data
        if self._uids[_SOP_CLASS] and self._uids[_SOP_INSTANCE]:
            self._begin()
        elif len(self._held) > _PROBE_BYTES_MAX or self._probe is None:
            raise BadData("no SOP class or SOP Instance UID in the data set")

    def _look(self, probe: HeaderReader, data: bytes) -> None:
        """Read on until the UIDs are known, or can be no more."""
        for at in range(0, len(data), _PROBE_STEP_BYTES):
            probe.feed(data[at : at + _PROBE_STEP_BYTES])
            self._uids = {tag: probe.uid(tag) for tag in _PROBED}
            if all(self._uids.values()) or probe.is_done:
                self._probe = None
                return

    def _begin(self) -> None:
        sop_class, sop_instance = self._uids[_SOP_CLASS], self._uids[_SOP_INSTANCE]
        assert sop_class is not None  # the caller looked
        assert sop_instance is not None
        if not is_storage(sop_class):
            raise BadData("a SOP class that is not stored here")
        self._arrival = self._ingest.begin(
            self._request.caller,
            Announced(
                sop_class,
                sop_instance,
                self._syntax,
                service=self._request.service,
                file_head=self.head(sop_class, sop_instance),
            ),
        )
        held, self._held = self._held, bytearray()
        self._arrival.write(memoryview(held))

    def finish(self) -> Stored:
        """Make it durable.

        Raises:
            LeadglassError: It is not.
        """
        if self._arrival is None:
            raise BadData("no SOP class or SOP Instance UID in the data set")
        wanted = self._request.study_uid
        if wanted is not None and self._arrival.study_uid != wanted:
            raise OtherStudy("the instance belongs to another study")
        self._arrival.finish()
        sop_class, sop_instance = self._uids[_SOP_CLASS], self._uids[_SOP_INSTANCE]
        assert sop_class is not None  # by _begin
        assert sop_instance is not None
        return Stored(
            sop_class, sop_instance, self._arrival.study_uid, self._uids[_SERIES]
        )

    def failed(self, error: LeadglassError, tally: "_Tally") -> Failed:
        """Record that it was refused; return the answer's item."""
        if self._arrival is not None:
            self._arrival.refuse(error)
        else:
            tally.unread(error)
        return replace(
            _unnamed(error),
            sop_class=self._uids[_SOP_CLASS],
            sop_instance=self._uids[_SOP_INSTANCE],
        )

    def abandon(self) -> None:
        """Forget it; harmless after ``finish``."""
        if self._arrival is not None:
            self._arrival.abandon()


def _syntax(uid: UID | None) -> TransferSyntax:
    found = None if uid is None else TRANSFER_SYNTAXES.get(uid)
    if found is None:
        raise BadTransferSyntax("a transfer syntax that is not stored here")
    return found


class BadTransferSyntax(BadData):
    """The data set is encoded in a way that is not stored here."""

    dimse_status = 0xC122  # Referenced Transfer Syntax not supported, PS3.18 §I.2


# --- what a body is made of -----------------------------------------------------------


class _Parts(Protocol):
    """Takes the parts of one kind of body."""

    def begin(self, media: MediaType, location: str, /) -> None: ...

    def data(self, data: bytes) -> None: ...

    def end(self) -> None: ...

    def finish(self) -> None: ...

    def broken(self, error: LeadglassError) -> None: ...

    def abandon(self) -> None: ...


@dataclass(slots=True)
class _Tally:
    """What became of the instances so far."""

    stored: list[Stored] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)
    # What was refused before it had said which instance it is, and why the first.
    unread_count: int = 0
    unread_reason: str = ""

    def unread(self, error: LeadglassError) -> None:
        """Count one more."""
        self.unread_count += 1
        self.unread_reason = self.unread_reason or str(error)


@dataclass(slots=True)
class _Files:
    """Parts that are files; each streams through."""

    ingest: Ingest
    request: Request
    tally: _Tally
    reader: Part10Reader | None = None
    incoming: _Incoming | None = None
    is_refused: bool = False

    def begin(self, media: MediaType, _location: str) -> None:
        self.incoming = None
        self.is_refused = False
        self.reader = Part10Reader()
        if media.name != DICOM:
            self._fail(UnsupportedMediaType("a part that is no file"))

    def data(self, data: bytes) -> None:
        if self.is_refused:
            return
        try:
            if self.incoming is not None:
                self.incoming.write(data)
                return
            assert self.reader is not None  # by begin()
            rest = self.reader.feed(data)
            if rest is not None:
                self._open(self.reader, rest)
        except LeadglassError as error:
            self._fail(error)

    def _open(self, reader: Part10Reader, rest: bytes) -> None:
        syntax = _syntax(reader.transfer_syntax)
        self.incoming = _Incoming(self.ingest, self.request, syntax)
        self.incoming.head = lambda sop_class, sop_instance: _kept_head(
            reader, sop_class, sop_instance, syntax
        )
        self.incoming.write(rest)

    def end(self) -> None:
        if self.is_refused:
            return
        try:
            if self.incoming is None:
                assert self.reader is not None  # by begin()
                self._open(self.reader, self.reader.finish())
            assert self.incoming is not None  # by _open
            self.tally.stored.append(self.incoming.finish())
        except LeadglassError as error:
            self._fail(error)
        self.incoming = self.reader = None

    def finish(self) -> None:
        """Nothing is left to do: each was stored at its end."""

    def broken(self, error: LeadglassError) -> None:
        """Say what the breaking off cost: the part that was coming, or an unknown."""
        if self.is_refused:
            self.incoming = None  # it has its place in the answer
        self._fail(error)

    def _fail(self, error: LeadglassError) -> None:
        self.is_refused = True
        if self.incoming is not None:
            failed = self.incoming.failed(error, self.tally)
        else:
            failed = _unnamed(error)
            self.tally.unread(error)
        self.tally.failed.append(failed)

    def abandon(self) -> None:
        if self.incoming is not None:
            self.incoming.abandon()


def _kept_head(
    reader: Part10Reader, sop_class: UID, sop_instance: UID, syntax: TransferSyntax
) -> bytes | None:
    """Return the file's own head, unless it does not fit the data set.

    Without it the archive makes one. Old UIDs are left in it by anonymisers, and some
    readers go by its group length to find the data set.
    """
    head, meta = reader.head(), reader.meta
    fits = (
        meta.text(_META_SOP_CLASS) == sop_class
        and meta.text(_META_SOP_INSTANCE) == sop_instance
        and meta.text(_META_TRANSFER_SYNTAX) == syntax.uid
        and meta.text(_META_GROUP_LENGTH) == str(len(head) - _BEFORE_META_BYTES)
    )
    return head if fits else None


@dataclass(slots=True)
class _Gathered:
    """A part that is kept until all have come."""

    media: MediaType
    location: str
    data: bytearray = field(default_factory=bytearray, repr=False)


@dataclass(slots=True)
class _Metadata:
    """Metadata, and the bulk data that it refers to."""

    ingest: Ingest
    request: Request
    tally: _Tally
    root: str
    bounds: Bounds
    gathering: Gathering
    taken_bytes: int = 0
    documents: list[_Gathered] = field(default_factory=list)
    bulk: dict[str, list[_Gathered]] = field(default_factory=dict)
    current: _Gathered | None = None
    incoming: _Incoming | None = None
    metadata_bytes: int = 0
    bulk_bytes: int = 0
    bulk_parts: int = 0

    def begin(self, media: MediaType, location: str) -> None:
        self.current = _Gathered(media, location)
        if media.name == self.root:
            self.documents.append(self.current)
            return
        if not location:
            raise BadData("bulk data without a Content-Location")
        self.bulk_parts += 1
        if self.bulk_parts > BULK_PARTS_MAX:
            raise BadData("bulk data in too many parts")
        self.bulk.setdefault(location, []).append(self.current)

    def data(self, data: bytes) -> None:
        assert self.current is not None  # by begin()
        if self.current.media.name == self.root:
            self.metadata_bytes += len(data)
            if self.metadata_bytes > self.bounds.metadata_bytes_max:
                raise TooLarge("metadata is too long")
            self._take(_METADATA_WEIGHT * len(data))
        else:
            self.bulk_bytes += len(data)
            if self.bulk_bytes > self.bounds.bulk_bytes_max:
                raise TooLarge("bulk data is too long: send it as a file")
            self._take(len(data))
        self.current.data += data

    def _take(self, count: int) -> None:
        self.gathering.take(count)
        self.taken_bytes += count

    def end(self) -> None:
        self.current = None

    def finish(self) -> None:
        count = 0
        for document in self.documents:
            raw = bytes(document.data)
            document.data.clear()
            read = entries_of_json if self.root == DICOM_JSON else _one_of_xml
            found = read(raw)
            count += len(found)
            if count > INSTANCES_MAX:
                raise TooLarge("metadata of too many instances")
            for entries in found:
                self._store(entries)

    def _store(self, entries: Json) -> None:
        incoming = None
        try:
            resolver = _Resolver(self.bulk)
            # Before the first piece: the bulk data tells the transfer syntax.
            syntax = resolver.syntax_of(entries)
            incoming = self.incoming = _Incoming(self.ingest, self.request, syntax)
            for piece in data_set_pieces(entries, resolver):
                incoming.write(piece)
            self.tally.stored.append(incoming.finish())
        except LeadglassError as error:
            if incoming is not None:
                failed = incoming.failed(error, self.tally)
            else:
                failed = _unnamed(error)
                self.tally.unread(error)
            self.tally.failed.append(failed)
        self.incoming = None

    def broken(self, error: LeadglassError) -> None:
        """Store nothing of what was gathered: it is not whole."""
        self.tally.failed.append(_unnamed(error))
        self.tally.unread(error)

    def abandon(self) -> None:
        if self.incoming is not None:
            self.incoming.abandon()
        self.documents.clear()
        self.bulk.clear()
        self.gathering.give(self.taken_bytes)
        self.taken_bytes = 0


def _one_of_xml(data: bytes) -> list[Json]:
    """Return the one data set of a document, as JSON may have several."""
    return [entries_of_xml(data)]


@dataclass(frozen=True, slots=True)
class _Resolver:
    """Finds bulk data by its URI among what came along; never elsewhere.

    A URI is a stranger's: fetching it would make this node a client of anybody's
    choice (server-side request forgery).
    """

    bulk: dict[str, list[_Gathered]]

    def __call__(self, uri: str) -> Bulk:
        found = self.bulk.get(uri)
        if not found:
            raise BadData("bulk data that did not come along")
        pieces = tuple(bytes(each.data) for each in found)
        return Bulk(pieces, is_encapsulated=_syntax_of(found[0].media) is not None)

    def syntax_of(self, entries: Json) -> TransferSyntax:
        """Return the transfer syntax of the data set with its pixel data.

        Raises:
            BadData: Frames of several; one that is not stored here.
        """
        pixels = entries.get("7FE00010")
        uri = pixels.get("BulkDataURI") if isinstance(pixels, dict) else None
        found = self.bulk.get(uri, []) if isinstance(uri, str) else []
        syntaxes = {_syntax_of(each.media) for each in found}
        if len(syntaxes) > 1:
            raise BadData("frames of several transfer syntaxes")
        return _syntax(next(iter(syntaxes), None) or EXPLICIT_VR_LE)


def _syntax_of(media: MediaType) -> UID | None:
    """Return the transfer syntax of compressed bulk data; ``None``: it is plain."""
    said = media.parameter("transfer-syntax")
    if media.name not in _COMPRESSED:
        return None
    return UID(said) if said else _COMPRESSED[media.name]


# --- the whole ------------------------------------------------------------------------


class Storing:
    """One request: bytes in, a result out; for one thread."""

    def __init__(
        self,
        ingest: Ingest,
        request: Request,
        bounds: Bounds | None = None,
        gathering: Gathering | None = None,
    ) -> None:
        """Judge who asks, and what kind of body is coming, before its first byte.

        Raises:
            Refused: The caller may not store at all: recorded.
            UnsupportedMediaType: No such body is taken.
            BadData: The content type is malformed.
        """
        bounds = bounds or Bounds()
        self._ingest = ingest
        self._request = request
        ingest.parts.require(request.caller, Right.STORE, request.service)
        media = MediaType.parse(request.content_type)
        self._reader: MultipartReader | None = None
        self._tally = _Tally()
        root = media.name
        if media.name == MULTIPART:
            root = MediaType.parse(media.parameter("type") or DICOM).name
            self._reader = MultipartReader(media.parameter("boundary"), bounds.parts)
        if root not in {DICOM, DICOM_JSON, DICOM_XML}:
            raise UnsupportedMediaType("a payload that is not stored here")
        self._default = MediaType(root)
        self._parts: _Parts = (
            _Files(ingest, request, self._tally)
            if root == DICOM
            else _Metadata(
                ingest, request, self._tally, root, bounds, gathering or Gathering()
            )
        )
        self._is_broken = False
        if self._reader is None:
            self._parts.begin(self._default, "")

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the body.

        Raises:
            PeerError: It is no such body, and nothing of it was looked at.
        """
        if self._is_broken or not data:
            return  # the rest is read, or the client would not hear the answer
        try:
            if self._reader is None:
                self._parts.data(data)
            else:
                self._feed_parts(self._reader, data)
        except (PeerError, Unavailable) as error:
            self._break(error)

    def _feed_parts(self, reader: MultipartReader, data: bytes) -> None:
        for event in reader.feed(data):
            if isinstance(event, Data):
                self._parts.data(event.data)
            elif isinstance(event, Begin):
                said = event.headers.get("content-type")
                media = self._default if said is None else MediaType.parse(said)
                self._parts.begin(media, event.headers.get("content-location", ""))
            else:
                self._parts.end()

    def _break(self, error: LeadglassError) -> None:
        self._is_broken = True
        is_first = not (self._tally.stored or self._tally.failed)
        if is_first and (self._reader is None or not self._reader.parts):
            self._tally.unread(error)
            raise error
        self._parts.broken(error)

    def finish(self) -> Result:
        """Say that the body has ended; return what became of it.

        Raises:
            BadData: It had no part, or is no such body.
        """
        if not self._is_broken:
            try:
                if self._reader is None:
                    self._parts.end()
                else:
                    self._reader.finish()
                self._parts.finish()
            except PeerError as error:
                self._break(error)
        self._tell_unread()
        result = Result(tuple(self._tally.stored), tuple(self._tally.failed))
        if not result.stored and not result.failed:
            raise BadData("nothing to store")
        return result

    def abandon(self) -> None:
        """Forget what was coming; what is stored stays. Harmless after ``finish``."""
        self._parts.abandon()
        self._tell_unread()

    def _tell_unread(self) -> None:
        """Record what was refused before it had said which instance it is."""
        count, self._tally.unread_count = self._tally.unread_count, 0
        if count:
            reason, request = self._tally.unread_reason, self._request
            self._ingest.refuse_unread(request.caller, count, reason, request.service)


def store(
    ingest: Ingest,
    request: Request,
    body: Iterator[bytes],
    gathering: Gathering | None = None,
) -> Result:
    """Store a body as it comes.

    The next bytes are asked for when the last ones are stored, so a client that is
    quicker than the disk waits, and nothing is gathered.

    Raises:
        LeadglassError: As ``Storing`` does; and whatever ``body`` raises.
    """
    storing = Storing(ingest, request, gathering=gathering)
    try:
        for data in body:
            storing.feed(data)
        return storing.finish()
    finally:
        storing.abandon()


__all__ = [
    "Bounds",
    "Failed",
    "Gathering",
    "Request",
    "Result",
    "Stored",
    "Storing",
    "UnsupportedMediaType",
    "store",
]
