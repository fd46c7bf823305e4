"""Storing an instance: the one way into the archive, for every door.

The crash story. The fragments go once through limit, hash, header parse and seal
into the vault. Then, in this order:

1. the blob is durable, with its receipt, and unsettled: no index row names it yet
2. the caller is told
3. one transaction adds the index rows and the audit event of this one and of those
   that came with it, and is durable (``intake``)
4. the blob is settled (a rename that needs no sync)

A crash before 1 leaves nothing. Between 1 and 3 it leaves an unsettled blob that the
next start enters from its receipt (``recovery``), as it would have been; also when
the sender was not told, who then sends again and hears that it is here. After 3 it
leaves at most a blob to settle. There is never a row without its blob, nor a success
that does not lead to both rows and event.

When the UID is known already, 3 comes before 2: the answer depends on it.
"""

import logging
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from types import MappingProxyType
from typing import Final

from leadglass.access.rights import Right
from leadglass.access.scopes import Scope
from leadglass.archive.caller import Caller
from leadglass.archive.condemned import KeyGone
from leadglass.archive.intake import Entry
from leadglass.archive.meters import INSTANCES, RECEIVED
from leadglass.archive.parts import Parts
from leadglass.archive.reading import (
    SERIES_INSTANCE_UID,
    SOP_CLASS_UID,
    SOP_INSTANCE_UID,
    STUDY_INSTANCE_UID,
    study_of,
)
from leadglass.archive.receipts import Receipt
from leadglass.audit.builders import Result, Service, Study
from leadglass.audit.codes import Outcome
from leadglass.audit.events import SOPClass
from leadglass.dicom.header import Header, HeaderReader
from leadglass.dicom.part10 import FileMeta, encode_part10_header
from leadglass.dicom.personname import PersonName
from leadglass.dicom.transfer_syntaxes import TransferSyntax
from leadglass.dicom.uids import UID
from leadglass.errors import (
    BadData,
    Conflict,
    LeadglassError,
    NotFound,
    Refused,
    Unavailable,
)
from leadglass.index.records import Added, InstanceRecord, Kind
from leadglass.vault.blobs import BlobName, BlobWriter
from leadglass.vault.keys import KeyId

_LOG = logging.getLogger(__name__)

# Studies that are arriving at the same time, whose key need not be looked up again.
_STUDY_KEYS_REMEMBERED_MAX: Final = 4096

# The one that is remembered, and the one that stands after an erasure; who erases
# the same study again in between makes the sender wait.
_KEYS_TRIED_MAX: Final = 2
# What is counted of an instance that was added.
OUTCOMES: Final[Mapping[Kind, str]] = MappingProxyType(
    {Kind.NEW: "stored", Kind.SAME: "known", Kind.OTHER: "kept aside"}
)


class Mismatch(BadData):
    """The data set is not the one that was announced."""

    dimse_status = 0xA900  # Error: data set does not match SOP class, PS3.4 B.2.3


class TooLarge(BadData):
    """The data set passes a limit of this node."""

    dimse_status = 0xA700  # Refused: out of resources, PS3.4 Table B.2-1
    http_status = 413


@dataclass(frozen=True, slots=True)
class Announced:
    """What the sender says is coming, before its first byte.

    Attributes:
        sop_class: Affected SOP Class UID.
        sop_instance: Affected SOP Instance UID.
        transfer_syntax: How the data set is encoded; it is stored as it comes.
        abstract_syntax: The SOP class that was negotiated, if one was.
        service: By which service it comes, for the record.
        file_head: Preamble and file meta information, if it comes from a file;
            the preamble is zero by then (PS3.10 §7.1; CVE-2019-11687).
    """

    sop_class: UID
    sop_instance: UID
    transfer_syntax: TransferSyntax
    abstract_syntax: UID | None = None
    service: Service = Service.C_STORE
    file_head: bytes | None = None


@dataclass(slots=True, eq=False)
class StudyKey:
    """The key of one study that is arriving.

    Attributes:
        study_uid: Of which study.
        users: Arrivals that use it now.
        is_drawn: It was drawn here, and no row has named it yet.
    """

    study_uid: UID
    lock: threading.Lock = field(default_factory=threading.Lock)
    found: KeyId | None = None
    users: int = 0
    is_drawn: bool = False

    @property
    def key_id(self) -> KeyId:
        """The vault's name of it."""
        assert self.found is not None  # ``StudyKeys.take`` gives none without
        return self.found


class StudyKeys:
    """Which key seals the blobs of a study; remembers those at work.

    Two processes may draw one each for the same study; each blob says which key
    seals it, and erasing destroys them all.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._known: OrderedDict[UID, StudyKey] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, study_uid: UID) -> StudyKey:
        """Return the study's key, drawing one for a study that is new.

        ``give_back`` must follow.

        Raises:
            Unavailable: Database or disk cannot answer now.
        """
        # What another process erased a moment ago is gone for us too, at once.
        self._parts.keyring.reload_if_changed()
        with self._lock:
            entry = self._known.get(study_uid)
            if entry is None:
                entry = self._known[study_uid] = StudyKey(study_uid)
            self._known.move_to_end(study_uid)
            entry.users += 1
            self._forget_unused()
        try:
            with entry.lock:  # of this study alone: drawing waits for the disk
                if entry.found is None:
                    entry.found, entry.is_drawn = self._find(study_uid)
                return entry
        except BaseException:
            self.give_back(entry, False)
            raise

    def _find(self, study_uid: UID) -> tuple[KeyId, bool]:
        stored = self._parts.index.study_key(self._parts.database, study_uid)
        if stored is not None:
            return KeyId(stored), False
        return self._parts.keyring.new_study_key(), True

    def give_back(self, entry: StudyKey, is_named: bool) -> None:
        """Say that an arrival is over, and whether a row names the key now.

        A key that was drawn for what was then refused is destroyed, or a sender of
        nonsense could fill the disk with keys.
        """
        with self._lock:
            entry.users -= 1
            if is_named:
                entry.is_drawn = False
            if entry.users or not entry.is_drawn:
                return
            self._drop(entry)
        try:
            self._parts.keyring.destroy(entry.key_id)
        except Unavailable:
            _LOG.warning("a study key that nothing uses could not be destroyed")

    def forget(self, entry: StudyKey) -> None:
        """Look the key up again next time: the study was erased.

        Others that arrive with this key give back this one, not its successor.
        """
        with self._lock:
            entry.is_drawn = False  # it is gone already
            self._drop(entry)

    def _drop(self, entry: StudyKey) -> None:
        """Forget this one, unless another is in its place by now."""
        if self._known.get(entry.study_uid) is entry:
            del self._known[entry.study_uid]

    def _forget_unused(self) -> None:
        for study_uid in list(self._known):
            if len(self._known) <= _STUDY_KEYS_REMEMBERED_MAX:
                return
            if not self._known[study_uid].users:
                del self._known[study_uid]


class Ingest:
    """The use case."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self._keys = StudyKeys(parts)

    def begin(
        self, caller: Caller, announced: Announced, right: Right = Right.STORE
    ) -> "Arrival":
        """Return what takes the instance's bytes.

        Args:
            caller: Who brings it.
            announced: What it says is coming.
            right: By which right: ``import`` when it is read from media.

        Raises:
            Refused: ``caller`` may not store.
            Unavailable: The node has no room, or cannot record.
        """
        scopes = self.parts.require(caller, right, announced.service)
        self.parts.room.check()
        self.parts.intake.check()
        return Arrival(self.parts, self._keys, caller, announced, scopes)

    def refuse_unread(
        self, caller: Caller, count: int, reason: str, service: Service
    ) -> None:
        """Record, once, that things came in which no instance could be found.

        Args:
            caller: Who brought them.
            count: How many; one event for all, or a sender of nonsense could fill the
                disk with records.
            reason: Why the first was none: a text of ours.
            service: By which door.
        """
        told = reason if count == 1 else f"{reason} (and {count - 1} more)"
        self.parts.try_to_record(
            *self.parts.events.stored(
                self.parts.actor(caller),
                (Study(uid="", sop_classes=()),),
                Result(Outcome.SERIOUS_FAILURE, told),
                service=service,
            )
        )


class Arrival:
    """One instance on its way in; belongs to one thread.

    HOT: ``write`` is called for every PDU of a C-STORE.
    """

    def __init__(
        self,
        parts: Parts,
        keys: StudyKeys,
        caller: Caller,
        announced: Announced,
        scopes: tuple[Scope, ...],
    ) -> None:
        self._parts = parts
        self._keys = keys
        self._scopes = scopes
        self._caller = caller
        self._announced = announced
        self._reader = HeaderReader(
            announced.transfer_syntax,
            depth_max=2 * parts.limits.sequence_depth_max,  # an item in each
            inflated_bytes_max=parts.limits.inflated_bytes_max,
        )
        self._digest = sha256()
        self._length = 0
        self._length_max = parts.limits.object_bytes_max
        self._held: bytearray | None = bytearray()  # what comes before the study UID
        self._name = BlobName.new()  # until one is wanted
        self._receipt = Receipt(
            parts.actor(caller), announced.service, datetime.now(UTC)
        )
        self._head = announced.file_head or encode_part10_header(
            FileMeta(
                sop_class=announced.sop_class,
                sop_instance=announced.sop_instance,
                transfer_syntax=announced.transfer_syntax.uid,
                source_ae=caller.ae_title,
            )
        )
        self._writer: BlobWriter | None = None
        self._key_id: KeyId | None = None
        self._taken: StudyKey | None = None  # to be given back
        self._is_refused = False
        self._is_committed = False  # durable, and no transaction has named it yet

    @property
    def study_uid(self) -> UID | None:
        """The study it belongs to, as soon as that has come by."""
        return self._reader.study_uid

    def write(self, data: memoryview) -> None:
        """Take the next bytes of the data set.

        Raises:
            BadData: They cannot be part of such an instance.
            Unavailable: The vault cannot take them.
        """
        self._length += len(data)
        if self._length > self._length_max:
            raise TooLarge(f"object of more than {self._length_max} bytes")
        self._digest.update(data)
        self._reader.feed(data)
        if self._writer is not None:
            self._writer.write(data)
        else:
            self._hold(data)

    def _hold(self, data: memoryview) -> None:
        """Keep the beginning until it says which study, and so which key, it is."""
        assert self._held is not None  # it is given up when the writer is made
        study_uid = self._reader.study_uid
        if study_uid is None:
            if len(self._held) + len(data) > self._parts.limits.header_bytes_max:
                raise TooLarge("no Study Instance UID within the header's limit")
            self._held += data
            return
        writer = self._writer = self._open(study_uid)
        writer.write(self._head)
        if self._held:
            writer.write(self._held)
        self._held = None
        writer.write(data)

    def _open(self, study_uid: UID) -> BlobWriter:
        """Begin the blob, under the study's key as it is now."""
        for _ in range(_KEYS_TRIED_MAX):
            self._taken = self._keys.take(study_uid)
            self._key_id = self._taken.key_id
            self._name = self._parts.blobs.new_name()
            try:
                return self._parts.blobs.writer(
                    self._name, self._key_id, self._receipt.encode()
                )
            except NotFound:  # it was destroyed: the study was erased since
                self._keys.forget(self._taken)
                self._give_key_back(is_named=False)
        raise Unavailable("the study is being erased; send again")

    def finish(self) -> Added:
        """Make the instance durable, indexed and recorded; then success may be said.

        Raises:
            BadData: It is cut short, or not what was announced.
            Refused: The caller may store, but not this.
            Conflict: Other bytes stand under its UID; these were kept aside.
            Unavailable: Nothing was kept; sending again may help.
        """
        header = self._reader.finish()
        self._check(header)
        if self._writer is None or self._key_id is None or self._taken is None:
            raise BadData("no Study Instance UID")
        taken = self._taken
        record = self._record(header, self._key_id)
        entry = Entry(
            record,
            study_of(header, record),
            self._receipt,
            partial(self._keys.give_back, taken),
        )
        try:
            added = self._enter(entry)
        except KeyGone:
            self._keys.forget(taken)
            raise
        meters = self._parts.meters
        meters.count(INSTANCES, OUTCOMES[added.kind])
        if added.kind is Kind.OTHER:
            raise Conflict("other bytes are stored under this SOP Instance UID")
        meters.count(RECEIVED, by=self._length)
        return added

    def _enter(self, entry: Entry) -> Added:
        """Have it entered soon; or at once, if what becomes of it is not clear yet."""
        assert self._writer is not None  # ``finish`` has looked
        parts = self._parts
        if parts.intake.accept(entry, self._writer.commit):
            self._taken = None  # given back when it is entered
            return Added(Kind.NEW)
        parts.intake.catch_up_on(entry.record.instance_uid)
        self._writer.commit()
        self._is_committed = True
        (entered,) = parts.database.write(
            lambda tx: parts.intake.enter(tx, (entry,), are_told=False)
        )
        self._is_committed = False  # its fate is decided, whatever comes now
        self._give_key_back(is_named=entered.is_kept)
        parts.intake.tidy(self._name, is_kept=entered.is_kept)
        return entered.added

    def _check(self, header: Header) -> None:
        announced = self._announced
        if header.uid(SOP_INSTANCE_UID) != announced.sop_instance:
            raise Mismatch("SOP Instance UID is not the one announced")
        if header.uid(SOP_CLASS_UID) != announced.sop_class:
            raise Mismatch("SOP Class UID is not the one announced")
        if announced.abstract_syntax not in {None, announced.sop_class}:
            raise Mismatch("SOP Class UID is not the one negotiated")
        name = self._caller.subject.name
        if not any(reaches(scope, header, name) for scope in self._scopes):
            raise Refused("not authorized to store this")

    def _record(self, header: Header, key_id: KeyId) -> InstanceRecord:
        return InstanceRecord(
            study_uid=header.uid(STUDY_INSTANCE_UID),
            series_uid=header.uid(SERIES_INSTANCE_UID),
            instance_uid=self._announced.sop_instance,
            sop_class_uid=self._announced.sop_class,
            transfer_syntax_uid=self._announced.transfer_syntax.uid,
            attributes=header,
            blob=self._name,
            key_id=key_id,
            digest=self._digest.digest(),
            blob_bytes=len(self._head) + self._length,
            data_set_offset=len(self._head),
            data_set_bytes=self._length,
            source=self._caller.subject.name,
            received_at=self._receipt.received_at,
        )

    def refuse(self, error: BaseException) -> None:
        """Record, once, that the instance was not taken, and why.

        What cannot be recorded was not stored either, and the sender is told so.
        """
        self.abandon()
        if self._is_refused or isinstance(error, Conflict):
            return  # a conflict has its event, in the transaction that kept it aside
        self._is_refused = True
        self._parts.meters.count(INSTANCES, "refused")
        reason = str(error) if isinstance(error, LeadglassError) else "internal error"
        study = Study(
            uid=self._reader.study_uid or "",
            sop_classes=(
                SOPClass(self._announced.sop_class, 1, (self._announced.sop_instance,)),
            ),
        )
        is_recorded = self._parts.try_to_record(
            *self._parts.events.stored(
                self._parts.actor(self._caller),
                (study,),
                Result(Outcome.SERIOUS_FAILURE, reason),
                service=self._announced.service,
            )
        )
        if self._is_committed and is_recorded:
            self._decide()

    def _decide(self) -> None:
        """Free a durable blob whose transaction failed, once that is sure.

        A commit that failed may still be found in the log after a crash; a later
        one that succeeded (the record of the refusal) has taken its place. When
        nothing can be said or done now, the next start decides (``recovery``).
        """
        try:
            with self._parts.database.read() as connection:
                known = self._parts.index.known_blobs(connection, (self._name,))
        except LeadglassError as error:
            _LOG.warning("a blob is left for the next start: %s", error)
            return
        self._is_committed = False
        is_named = self._name in known  # then its key must stay, by all means
        self._give_key_back(is_named=is_named)
        self._parts.intake.tidy(self._name, is_kept=is_named)

    def abandon(self) -> None:
        """Forget what came so far; harmless after ``finish``."""
        if self._writer is not None:
            self._writer.abandon()
        if not self._is_committed:
            self._give_key_back(is_named=False)

    def _give_key_back(self, *, is_named: bool) -> None:
        taken, self._taken = self._taken, None
        if taken is not None:
            self._keys.give_back(taken, is_named)


def reaches(scope: Scope, header: Header, source: str) -> bool:
    """Tell whether an instance that ``source`` brings is one of a scope's studies.

    Judged by what the instance itself says: its study may not be known yet.
    """
    if scope.is_everything:
        return True
    physician = PersonName.parse(header.text("ReferringPhysicianName")).folded
    wanted = (PersonName.parse(each).folded for each in scope.referring_physicians)
    return (
        (not scope.sources or source in scope.sources)
        and (not scope.referring_physicians or physician in wanted)
        and all(
            not allowed or header.text(keyword) in allowed
            for keyword, allowed in (
                ("InstitutionName", scope.institutions),
                ("InstitutionalDepartmentName", scope.departments),
                ("Modality", scope.modalities),
                ("PatientID", scope.patient_ids),
                ("StudyInstanceUID", scope.study_uids),
            )
        )
    )
