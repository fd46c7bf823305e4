"""What goes into the index, and what it says of what it holds."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Protocol

from leadglass.dicom.attributes import Level
from leadglass.dicom.uids import UID

DIGEST_BYTES = 32  # SHA-256


class Attributes(Protocol):
    """The attributes of one instance, as ``dicom.header.Header`` gives them."""

    def text(self, keyword: str, /) -> str | None:
        """Return one as text; ``None`` if it is absent or empty."""

    def json(self, level: Level, /) -> Mapping[str, Any]:
        """Return those of one level in the DICOM JSON model (PS3.18 Annex F)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceRecord:
    """An instance that has arrived: its identity, where it lies, what it carries.

    Attributes:
        study_uid: Study Instance UID (0020,000D).
        series_uid: Series Instance UID (0020,000E).
        instance_uid: SOP Instance UID (0008,0018).
        sop_class_uid: SOP Class UID (0008,0016).
        transfer_syntax_uid: How the data set is encoded.
        attributes: What can be searched and returned.
        blob: The vault's name of it.
        key_id: The vault's name of the study key that seals it.
        digest: SHA-256 of the data set's bytes.
        blob_bytes: Length of the blob before sealing.
        data_set_offset: Where in the blob the data set begins.
        data_set_bytes: Length of the data set.
        source: The device that sent it.
        received_at: When it was whole; with a time zone.
    """

    study_uid: UID
    series_uid: UID
    instance_uid: UID
    sop_class_uid: UID
    transfer_syntax_uid: UID
    attributes: Attributes
    blob: str
    key_id: str
    digest: bytes
    blob_bytes: int
    data_set_offset: int
    data_set_bytes: int
    source: str
    received_at: datetime

    def __post_init__(self) -> None:
        if len(self.digest) != DIGEST_BYTES:
            raise ValueError(f"a digest has {DIGEST_BYTES} bytes")
        if self.received_at.tzinfo is None:
            raise ValueError("a time without its zone")
        if self.data_set_offset + self.data_set_bytes > self.blob_bytes:
            raise ValueError("the data set does not lie within the blob")

    @property
    def received_at_text(self) -> str:
        """When it was whole, in UTC, comparable as text."""
        return self.received_at.astimezone(UTC).isoformat(timespec="milliseconds")


class Kind(StrEnum):
    """What became of an instance that was added."""

    NEW = "new"
    SAME = "same"  # these bytes are here already: a repeated send
    OTHER = "other"  # other bytes stand under this UID: nothing was changed


@dataclass(frozen=True, slots=True)
class InstanceLocation:
    """Where the bytes of an instance lie, and what they must be."""

    study_uid: str
    series_uid: str
    instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    blob: str
    digest: bytes
    blob_bytes: int
    data_set_offset: int
    data_set_bytes: int


@dataclass(frozen=True, slots=True)
class Added:
    """The answer to ``Index.add``; ``existing`` is what stands, unless it was new."""

    kind: Kind
    existing: InstanceLocation | None = None


@dataclass(frozen=True, slots=True)
class Removed:
    """What a removed study leaves to be destroyed: its blobs and its keys."""

    study_uid: str
    blobs: tuple[str, ...]
    key_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Quarantined:
    """An instance kept aside because other bytes stand under its UID."""

    number: int
    study_uid: str
    series_uid: str
    instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    blob: str
    key_id: str
    digest: bytes
    blob_bytes: int
    data_set_offset: int
    data_set_bytes: int
    source: str
    received_at: str
    existing_blob: str
    existing_digest: bytes


@dataclass(frozen=True, slots=True)
class Totals:
    """How much the archive holds; blobs of the quarantine count for themselves."""

    patients: int
    studies: int
    series: int
    instances: int
    blob_bytes: int
    quarantined: int
