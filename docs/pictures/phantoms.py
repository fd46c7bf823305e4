"""Images of nobody, for pictures of the pages: ellipses in place of organs.

Made from formulas, so that they show what a study looks like and belong to no patient
and no publisher.
"""  # noqa: INP001  # for a script, in no package

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    MRImageStorage,
)

SIDE = 256
# Centre and half axes as parts of half the side; density in Hounsfield units.
CHEST = (
    (0.0, 0.05, 0.86, 0.68, 40),
    (-0.42, 0.0, 0.28, 0.42, -860),
    (0.42, 0.0, 0.28, 0.42, -860),
    (0.08, 0.02, 0.17, 0.26, 55),
    (0.0, 0.5, 0.12, 0.13, 420),
)
HEAD = (
    (0.0, 0.0, 0.66, 0.84, 700),
    (0.0, 0.0, 0.6, 0.78, 330),
    (-0.14, 0.05, 0.1, 0.28, 80),
    (0.14, 0.05, 0.1, 0.28, 80),
    (0.25, -0.35, 0.12, 0.12, 520),
)
AIR = -1000
ROOT = "2.25.21062026"


@dataclass(frozen=True)
class Phantom:
    """A study, and what it says of itself."""

    number: int
    patient: str
    modality: str
    sop_class: UID
    description: str
    date: str
    slices: int
    shape: tuple[tuple[float, float, float, float, int], ...]


PHANTOMS = (
    Phantom(1, "Phantom^Amber", "CT", CTImageStorage, "Chest", "20260914", 24, CHEST),
    Phantom(2, "Phantom^Birch", "MR", MRImageStorage, "Head, T1", "20260921", 20, HEAD),
    Phantom(3, "Phantom^Cedar", "CT", CTImageStorage, "Head", "20261002", 16, HEAD),
    Phantom(
        4,
        "Phantom^Dahlia",
        "DX",
        DigitalXRayImageStorageForPresentation,
        "Chest, upright",
        "20261016",
        1,
        CHEST,
    ),
    Phantom(5, "Phantom^Elder", "MR", MRImageStorage, "Head, T2", "20261103", 20, HEAD),
    Phantom(6, "Phantom^Fern", "CT", CTImageStorage, "Chest", "20261120", 24, CHEST),
)


def picture(phantom: Phantom, number: int) -> npt.NDArray[np.int16]:
    """Return one slice: larger in the middle of the stack, with some noise."""
    rows, columns = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    place = (number + 0.5) / phantom.slices
    scale = 0.6 + 0.4 * np.sin(np.pi * place)
    found = np.full((SIDE, SIDE), AIR, dtype=np.float64)
    for x, y, wide, tall, density in phantom.shape:
        across = (columns - x * scale) / (wide * scale)
        down = (rows - y * scale) / (tall * scale)
        found[across**2 + down**2 < 1] = density
    noise = np.random.default_rng(phantom.number * 100 + number).normal(
        0, 12, found.shape
    )
    return (found + noise).astype(np.int16)


def instance(phantom: Phantom, number: int) -> Dataset:
    """Return one image of a phantom."""
    study = f"{ROOT}{phantom.number}"
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID = phantom.sop_class
    made.SOPInstanceUID = f"{study}.1.{number + 1}"
    made.StudyInstanceUID = study
    made.SeriesInstanceUID = f"{study}.1"
    made.PatientName = phantom.patient
    made.PatientID = f"PH-{phantom.number:04d}"
    made.PatientBirthDate = f"19{50 + phantom.number * 7}0101"
    made.PatientSex = "O"
    made.StudyDate = made.SeriesDate = phantom.date
    made.StudyTime = f"{8 + phantom.number:02d}1500"
    made.StudyID = str(phantom.number)
    made.AccessionNumber = f"A{phantom.number:05d}"
    made.ReferringPhysicianName = "Referrer^Test"
    made.Modality = phantom.modality
    made.StudyDescription = made.SeriesDescription = phantom.description
    made.InstitutionName = "Example Imaging"
    made.SeriesNumber = 1
    made.InstanceNumber = number + 1
    made.ImagePositionPatient = [-128, -128, number * 5]
    made.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    made.PixelSpacing = [1, 1]
    made.SliceThickness = 5
    made.FrameOfReferenceUID = f"{study}.9"
    made.Rows = made.Columns = SIDE
    made.SamplesPerPixel = 1
    made.PhotometricInterpretation = "MONOCHROME2"
    made.BitsAllocated = made.BitsStored = 16
    made.HighBit = 15
    made.PixelRepresentation = 1
    made.RescaleIntercept, made.RescaleSlope = 0, 1
    made.WindowCenter, made.WindowWidth = -200, 1400
    made.PixelData = picture(phantom, number).tobytes()
    return made


def write(folder: Path) -> int:
    """Write all images as files of DICOM; return how many there are."""
    count = 0
    for phantom in PHANTOMS:
        for number in range(phantom.slices):
            made = instance(phantom, number)
            made.save_as(
                folder / f"{made.SOPInstanceUID}.dcm", enforce_file_format=True
            )
            count += 1
    return count
