"""Small instances that tests can tell apart."""

from io import BytesIO
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, generate_uid

# All tests' own UIDs; each test makes its own, so that a node may be shared.
CT = str(CTImageStorage)


def new_uid() -> str:
    return str(generate_uid(None))


def instance(**more: Any) -> Any:
    """Return a tiny CT image; keywords replace or add attributes."""
    data_set = Dataset()
    data_set.SpecificCharacterSet = "ISO_IR 100"
    data_set.SOPClassUID = CT
    data_set.SOPInstanceUID = new_uid()
    data_set.StudyInstanceUID = new_uid()
    data_set.SeriesInstanceUID = new_uid()
    data_set.PatientID = "P1"
    data_set.PatientName = "Doe^Jane"
    data_set.StudyDate = "20240229"
    data_set.StudyTime = "101500"
    data_set.AccessionNumber = "A1"
    data_set.StudyID = "S1"
    data_set.Modality = "CT"
    data_set.SeriesNumber = 1
    data_set.InstanceNumber = 1
    data_set.Rows = data_set.Columns = 4
    data_set.SamplesPerPixel = 1
    data_set.PhotometricInterpretation = "MONOCHROME2"
    data_set.BitsAllocated = data_set.BitsStored = 16
    data_set.HighBit = 15
    data_set.PixelRepresentation = 0
    data_set.PixelData = bytes(range(32))
    for keyword, value in more.items():
        setattr(data_set, keyword, value)
    return data_set


def study(count: int, **more: Any) -> list[Any]:
    """Return the images of one series."""
    uids = {
        "StudyInstanceUID": new_uid(),
        "SeriesInstanceUID": new_uid(),
    }
    return [
        instance(**(uids | {"InstanceNumber": number + 1} | more))
        for number in range(count)
    ]


def packed(transfer_syntax: str, **more: Any) -> Any:
    """Return an image whose one frame nobody can decode, in any packed syntax."""
    data_set = instance(**more)
    data_set.PixelData = encapsulate([b"no film, but as long as one of two bytes"])
    data_set["PixelData"].VR = "OB"
    data_set["PixelData"].is_undefined_length = True
    data_set.BitsAllocated = data_set.BitsStored = 8
    data_set.HighBit = 7
    data_set.file_meta = explicit()
    data_set.file_meta.TransferSyntaxUID = UID(transfer_syntax)
    return data_set


def explicit() -> Any:
    """Return the file meta information of what is not packed."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return meta


def save(data_set: Any, path: Path) -> Path:
    """Write a Part 10 file."""
    if not getattr(data_set, "file_meta", None):
        data_set.file_meta = explicit()
    data_set.save_as(path, enforce_file_format=True)
    return path


def written(data_set: Any) -> bytes:
    """Return a Part 10 file."""
    file = BytesIO()
    data_set.save_as(file, enforce_file_format=True)
    return file.getvalue()


def fresh(data_set: Any) -> Any:
    """Return the same image as another instance, of another study."""
    data_set.SOPInstanceUID = new_uid()
    data_set.file_meta.MediaStorageSOPInstanceUID = data_set.SOPInstanceUID
    data_set.StudyInstanceUID = new_uid()
    return data_set
