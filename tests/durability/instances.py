"""Instances that the durability tests send: small, valid, and told apart."""

from dataclasses import dataclass
from io import BytesIO
from typing import Any

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite

from leadglass.dicom.part10 import Part10Reader
from leadglass.dicom.transfer_syntaxes import EXPLICIT_VR_LE
from leadglass.dicom.uids import UID, new_uid

CT = UID("1.2.840.10008.5.1.4.1.1.2")
MR = UID("1.2.840.10008.5.1.4.1.1.4")
# Rows of an image, and of one that is larger than 64 rows of 65,535 columns.
ROWS, ROWS_OF_LARGE, LARGE_BYTES = 64, 1024, 2 * 1024 * 1024


@dataclass(frozen=True)
class Instance:
    """One instance as it is sent.

    Attributes:
        study, series, uid: Its UIDs.
        file: As a Part 10 file.
        data_set: As a C-STORE carries it.
    """

    study: UID
    series: UID
    uid: UID
    file: bytes
    data_set: bytes
    sop_class: UID = CT
    transfer_syntax: UID = EXPLICIT_VR_LE


def make_instance(
    number: int = 1,
    *,
    study: UID | None = None,
    patient: str = "PAT-1",
    name: str = "Doe^Jane",
    pixel_bytes: int = 8 * 1024,
    **attributes: Any,
) -> Instance:
    """Return an instance with random UIDs; ``attributes`` are keywords.

    Its pixels differ with its number, so no two instances have the same bytes.
    """
    study = study or new_uid()
    series, uid = UID(f"{study[:50]}.1"), new_uid()
    rows = ROWS if pixel_bytes < LARGE_BYTES else ROWS_OF_LARGE
    columns = pixel_bytes // rows
    values: dict[str, Any] = {
        "SpecificCharacterSet": "ISO_IR 192",
        "SOPClassUID": CT,
        "SOPInstanceUID": uid,
        "StudyDate": "20240131",
        "StudyTime": "101530",
        "AccessionNumber": "ACC-1",
        "Modality": "CT",
        "PatientName": name,
        "PatientID": patient,
        "PatientSex": "O",
        "StudyInstanceUID": study,
        "SeriesInstanceUID": series,
        "SeriesNumber": 1,
        "InstanceNumber": number,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": rows,
        "Columns": columns,
        "BitsAllocated": 8,
        "BitsStored": 8,
        "HighBit": 7,
        "PixelRepresentation": 0,
        "PixelData": (number % 65_521).to_bytes(2, "big") * (rows * columns // 2),
    } | attributes
    data_set = Dataset()
    for keyword, value in values.items():
        setattr(data_set, keyword, value)
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = EXPLICIT_VR_LE
    data_set.preamble = bytes(128)
    buffer = BytesIO()
    dcmwrite(buffer, data_set, enforce_file_format=True)
    file = buffer.getvalue()
    return Instance(
        study=study,
        series=series,
        uid=UID(data_set.SOPInstanceUID),
        sop_class=UID(data_set.SOPClassUID),
        file=file,
        data_set=data_set_of(file),
    )


def data_set_of(file: bytes) -> bytes:
    """Return the data set's bytes of a Part 10 file."""
    reader = Part10Reader()
    found = reader.feed(file)
    return reader.finish() if found is None else bytes(found)
