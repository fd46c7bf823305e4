"""A stored instance, read again from its blob alone."""

from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

from leadglass.archive.receipts import Receipt
from leadglass.audit.builders import Study
from leadglass.audit.events import SOPClass
from leadglass.dicom.header import Header, HeaderReader
from leadglass.dicom.part10 import Part10Reader
from leadglass.dicom.transfer_syntaxes import TRANSFER_SYNTAXES
from leadglass.dicom.uids import UID
from leadglass.errors import Damaged
from leadglass.index.records import InstanceRecord
from leadglass.vault.blobs import BlobName
from leadglass.vault.sealed import SealedBlobs

SOP_CLASS_UID: Final = 0x0008_0016
SOP_INSTANCE_UID: Final = 0x0008_0018
STUDY_INSTANCE_UID: Final = 0x0020_000D
SERIES_INSTANCE_UID: Final = 0x0020_000E

# Whose name stands for the sender of a blob without a receipt.
_UNKNOWN_SOURCE: Final = "rebuilt"


@dataclass(frozen=True, slots=True)
class Stored:
    """What a blob says.

    Attributes:
        record: What the index must know of it.
        study: What the audit record says of it.
        receipt: From whom it came; ``None`` if that was not kept.
    """

    record: InstanceRecord
    study: Study
    receipt: Receipt | None


def read_stored(blobs: SealedBlobs, name: BlobName) -> Stored:
    """Read one blob whole.

    Raises:
        Damaged: It does not verify, or is no instance.
        BadData: Its bytes are none.
        NotFound: There is no such blob, or its key is gone.
        Unavailable: The vault cannot be read now.
    """
    file = Part10Reader()
    header: HeaderReader | None = None
    digest = sha256()
    length = 0
    with blobs.reader(name) as reader:
        receipt = Receipt.decode(reader.note) if reader.note else None
        key_id, size = reader.key_id, reader.size
        for chunk in reader.chunks():
            data: bytes | memoryview | None = chunk
            if header is None:
                data = file.feed(chunk)
                if data is None:
                    continue
                header = HeaderReader(TRANSFER_SYNTAXES[_syntax(file)])
            assert data is not None  # either it was a chunk, or it was found
            digest.update(data)
            header.feed(data)
            length += len(data)
    if header is None or file.data_set_offset is None:
        raise Damaged("a blob that is no instance")
    read = header.finish()
    record = InstanceRecord(
        study_uid=read.uid(STUDY_INSTANCE_UID),
        series_uid=read.uid(SERIES_INSTANCE_UID),
        instance_uid=read.uid(SOP_INSTANCE_UID),
        sop_class_uid=read.uid(SOP_CLASS_UID),
        transfer_syntax_uid=_syntax(file),
        attributes=read,
        blob=name,
        key_id=key_id,
        digest=digest.digest(),
        blob_bytes=size,
        data_set_offset=file.data_set_offset,
        data_set_bytes=length,
        source=_UNKNOWN_SOURCE if receipt is None else receipt.actor.name,
        received_at=datetime.now(UTC) if receipt is None else receipt.received_at,
    )
    return Stored(record, study_of(read, record), receipt)


def study_of(header: Header, record: InstanceRecord) -> Study:
    """Return what the audit record says of one instance."""
    return Study(
        uid=record.study_uid,
        patient_id=header.text("PatientID"),
        patient_name=header.text("PatientName"),
        accession=header.text("AccessionNumber"),
        sop_classes=(SOPClass(record.sop_class_uid, 1, (record.instance_uid,)),),
    )


def _syntax(file: Part10Reader) -> UID:
    syntax = file.transfer_syntax
    if syntax is None or syntax not in TRANSFER_SYNTAXES:
        raise Damaged("a blob of an unknown transfer syntax")
    return syntax
