"""The data that is sent: the same bytes on every machine and every run.

``ct``        CT slices of 512 x 512 x 16 bit (about 525 KB), 200 to a study, with the
              hundred elements that a scanner writes
``warm``      a few more of them, of a study that is not measured
``studies``   studies of one instance of about 1 KB; names, dates, modalities spread
``multiframe``  one instance of 1,000 frames, 500 MiB
``series``    one series of CT slices whose pixels are cut down to 64 x 64, for what is
              asked of headers
``stack``     one series of CT slices as they are, for what is looked at

Pixels look like CT (a body, lungs, noise), so that what would compress does so to
the same degree as real slices.
"""

import datetime as dt
import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench import files

# Raised when the bytes change, so that old data is not measured again.
VERSION = 1

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
MULTIFRAME_GRAYSCALE_WORD = "1.2.840.10008.5.1.4.1.1.7.3"

SIDE = 512
FRAME_BYTES = SIDE * SIDE * 2
SERIES_OF_STUDY = 2
SLICES_OF_SERIES = 100
SLICES_OF_STUDY = SERIES_OF_STUDY * SLICES_OF_SERIES
FILES_OF_FOLDER = 500
PATIENTS_PER_STUDY = 0.8

FAMILIES = [
    stem + end
    for stem in ("Al", "Ber", "Cor", "Dal", "El", "Fer", "Gra", "Hol", "Is", "Jan")
    for end in ("berg", "den", "gard", "ham", "ington", "lund", "man", "ova", "ski")
]
GIVEN = ("Ada", "Bo", "Cleo", "Dora", "Eli", "Finn", "Gia", "Hal", "Ina", "Joe", "Kim")
MODALITIES = ("CT", "MR", "US", "CR", "DX", "MG", "XA", "NM")
REGIONS = ("CHEST", "HEAD", "ABDOMEN", "KNEE", "SPINE", "PELVIS", "HAND", "SHOULDER")


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured; the quick sizes prove the harness, not the product."""

    ct_studies: int = 10
    stock_instances: int = 300
    cpu_instances: int = 1_000
    studies_few: int = 5_000
    studies_many: int = 50_000
    queries: int = 60
    frames: int = 1_000
    series_instances: int = 1_000
    stored_by_http: int = 400
    large_frames: int = 400
    studies_listed: int = 100_000
    slices_viewed: int = 500
    records_verified: int = 1_000_000
    records_of_controls: int = 100_000
    review_beds: int = 300
    review_days: int = 35
    repeats: int = 3


FULL = Sizes()
QUICK = Sizes(
    ct_studies=2,
    stock_instances=60,
    cpu_instances=200,
    studies_few=500,
    studies_many=2_000,
    queries=20,
    frames=200,
    series_instances=200,
    stored_by_http=80,
    large_frames=100,
    studies_listed=2_000,
    records_verified=20_000,
    records_of_controls=10_000,
    review_beds=120,
    review_days=28,
)


def uid(*what: object) -> str:
    """Return a UID that is a function of its arguments (PS3.5 §B.2)."""
    digest = hashlib.sha256(repr(what).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16])}"


class Slices:
    """CT-like pixels: body, lungs and spine, with Gaussian noise of sigma 12."""

    def __init__(self, seed: int) -> None:
        random = np.random.Generator(np.random.PCG64(seed))
        y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32) / SIDE - 0.5
        self._x, self._y = x, y
        self._noise = random.normal(0, 12, (SIDE, SIDE)).astype(np.int16)
        self._kept: dict[int, npt.NDArray[np.int16]] = {}

    def _anatomy(self, level: int) -> npt.NDArray[np.int16]:
        """Return one of 32 levels between the shoulders (0) and the hips (31)."""
        if level not in self._kept:
            x, y, z = self._x, self._y, level / 32
            image = np.zeros((SIDE, SIDE), np.int16)
            image[(x / 0.42) ** 2 + (y / (0.30 + 0.05 * z)) ** 2 < 1] = 1064
            for side in (-0.2, 0.2):
                lung = ((x - side) / (0.06 + 0.1 * z)) ** 2 + (y / 0.2) ** 2 < 1
                image[lung] = 180
            image[(x / 0.05) ** 2 + ((y - 0.2) / 0.05) ** 2 < 1] = 1900
            self._kept[level] = image
        return self._kept[level]

    def frame(self, number: int) -> bytes:
        anatomy = self._anatomy(number % 32)
        noise = np.roll(self._noise, number * 7919)
        image = np.where(anatomy > 0, anatomy + noise, 0)
        return np.clip(image, 0, 4095).astype("<u2").tobytes()


def code(value: str, scheme: str, meaning: str) -> dict[str, str]:
    return {
        "CodeValue": value,
        "CodingSchemeDesignator": scheme,
        "CodeMeaning": meaning,
    }


def patient(number: int) -> dict[str, files.Value]:
    family = FAMILIES[number * 37 % len(FAMILIES)]
    return {
        "PatientName": f"{family}^{GIVEN[number % len(GIVEN)]}",
        "PatientID": f"P{number:07d}",
        "PatientBirthDate": f"{1930 + number % 80}{1 + number % 12:02d}15",
        "PatientSex": "FM"[number % 2],
    }


def pixel_description(side: int, bits: int, stored: int) -> dict[str, files.Value]:
    return {
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": side,
        "Columns": side,
        "BitsAllocated": bits,
        "BitsStored": stored,
        "HighBit": stored - 1,
        "PixelRepresentation": 0,
    }


def ct_series(name: str, study: int, series: int) -> dict[str, files.Value]:
    """Return what all slices of a CT series share: about 90 elements."""
    day = dt.date(2024, 1, 1) + dt.timedelta(days=9 * study)
    date, time = day.strftime("%Y%m%d"), f"10{study % 60:02d}30.500000"
    values: dict[str, files.Value] = {
        "SpecificCharacterSet": "ISO_IR 192",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "InstanceCreationDate": date,
        "InstanceCreationTime": time,
        "SOPClassUID": CT_IMAGE,
        "AccessionNumber": f"A{study:07d}",
        "Modality": "CT",
        "Manufacturer": "Bench",
        "InstitutionName": "Loopback General Hospital",
        "InstitutionAddress": "1 Test Street, Nowhere",
        "ReferringPhysicianName": "Referrer^Rita^^Dr",
        "StationName": f"CT{study % 3:02d}",
        "StudyDescription": "CT CHEST W CONTRAST",
        "SeriesDescription": ("AX 1.0 SOFT", "AX 1.0 SHARP")[series % 2],
        "ProcedureCodeSequence": [code("24627-2", "LN", "Chest CT")],
        "InstitutionalDepartmentName": "Radiology",
        "PerformingPhysicianName": "Reader^Rolf",
        "OperatorsName": "Operator^Olga",
        "ManufacturerModelName": "Synth 64",
        "ReferencedStudySequence": [
            {
                "ReferencedSOPClassUID": "1.2.840.10008.3.1.2.3.1",
                "ReferencedSOPInstanceUID": uid(name, study, "reference"),
            }
        ],
        "IssuerOfPatientID": "LGH",
        "PatientAge": f"{30 + study % 50:03d}Y",
        "PatientSize": "1.75",
        "PatientWeight": "75",
        "BodyPartExamined": "CHEST",
        "ScanOptions": "HELICAL",
        "SliceThickness": "1.0",
        "KVP": "120",
        "DataCollectionDiameter": "500",
        "DeviceSerialNumber": "4711",
        "SoftwareVersions": "1.0",
        "ProtocolName": "Thorax routine",
        "ReconstructionDiameter": "350",
        "DistanceSourceToDetector": "1085.6",
        "DistanceSourceToPatient": "595",
        "GantryDetectorTilt": "0",
        "TableHeight": "150",
        "RotationDirection": "CW",
        "ExposureTime": "500",
        "XRayTubeCurrent": "180",
        "Exposure": "90",
        "FilterType": "FLAT",
        "GeneratorPower": "40",
        "FocalSpots": "1.2",
        "DateOfLastCalibration": "20240105",
        "TimeOfLastCalibration": "063000",
        "ConvolutionKernel": "B30f",
        "PatientPosition": "HFS",
        "SingleCollimationWidth": 0.6,
        "TotalCollimationWidth": 38.4,
        "SpiralPitchFactor": 1.2,
        "CTDIvol": 6.2,
        "StudyInstanceUID": uid(name, study),
        "SeriesInstanceUID": uid(name, study, series),
        "StudyID": f"S{study:04d}",
        "SeriesNumber": series + 1,
        "AcquisitionNumber": 1,
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "FrameOfReferenceUID": uid(name, study, "frame of reference"),
        "PositionReferenceIndicator": "",
        "PixelSpacing": ["0.683594", "0.683594"],
        "WindowCenter": ["40", "-600"],
        "WindowWidth": ["400", "1200"],
        "RescaleIntercept": "-1024",
        "RescaleSlope": "1",
        "RescaleType": "HU",
        "WindowCenterWidthExplanation": ["SOFT", "LUNG"],
        "RequestedProcedureDescription": "CT CHEST",
        "PerformedProcedureStepStartDate": date,
        "PerformedProcedureStepID": f"PPS{study}",
        "RequestAttributesSequence": [
            {
                "ScheduledProcedureStepDescription": "CT CHEST",
                "ScheduledProcedureStepID": f"SPS{study}",
                "RequestedProcedureID": f"RP{study}",
            }
        ],
    }
    for level in ("Study", "Series", "Acquisition", "Content"):
        values[f"{level}Date"] = date
        values[f"{level}Time"] = time
    private: dict[str, files.Value] = {
        "00290010 LO": "BENCH HEADER",
        "00291010 OB": bytes(range(256)) * 2,
        "00291011 LO": "private value",
    }
    return {
        **values,
        **patient(study),
        **pixel_description(SIDE, 16, 12),
        **private,
    }


def write_ct(folder: Path, name: str, instances: int) -> None:
    slices = Slices(seed=1)
    for number in range(instances):
        study, within = divmod(number, SLICES_OF_STUDY)
        series, k = divmod(within, SLICES_OF_SERIES)
        if k == 0:
            shared = ct_series(name, study, series)
        place = folder / f"{study:02d}"
        place.mkdir(parents=True, exist_ok=True)
        own: dict[str, files.Value] = {
            "SOPInstanceUID": uid(name, study, series, k),
            "InstanceNumber": k + 1,
            "ImagePositionPatient": [-175, -175, k - 100],
            "SliceLocation": k - 100,
            "SmallestImagePixelValue": 0,
            "LargestImagePixelValue": 1900 + k,
        }
        pixels = slices.frame(k + 31 * study + 13 * series)
        path = place / f"{series}{k:03d}.dcm"
        files.write(path, {**shared, **own}, [pixels], FRAME_BYTES, "OW")


def write_stack(folder: Path, instances: int) -> None:
    """Write one series of CT slices from the shoulders to the hips."""
    slices = Slices(seed=3)
    shared = ct_series("stack", 0, 0)
    for k in range(instances):
        own: dict[str, files.Value] = {
            "SOPInstanceUID": uid("stack", 0, 0, k),
            "InstanceNumber": k + 1,
            "ImagePositionPatient": [-175, -175, k],
            "SliceLocation": k,
        }
        pixels = slices.frame(32 * k // instances)
        files.write(
            folder / f"{k:05d}.dcm", {**shared, **own}, [pixels], FRAME_BYTES, "OW"
        )


def write_series(folder: Path, instances: int) -> None:
    """Write one series with headers as a scanner makes them, and few pixels."""
    shared = ct_series("series", 0, 0) | pixel_description(64, 16, 12)
    pixels = bytes(64 * 64 * 2)
    for k in range(instances):
        own: dict[str, files.Value] = {
            "SOPInstanceUID": uid("series", 0, 0, k),
            "InstanceNumber": k + 1,
            "ImagePositionPatient": [-175, -175, k],
            "SliceLocation": k,
        }
        path = folder / f"{k:05d}.dcm"
        files.write(path, {**shared, **own}, [pixels], len(pixels), "OW")


def write_studies(folder: Path, first: int, count: int) -> None:
    """Write studies of one tiny instance; patients come back after a while."""
    pixels = bytes(range(64))
    first_day = dt.date(2010, 1, 1)
    for number in range(first, first + count):
        place = folder / f"{number // FILES_OF_FOLDER:03d}"
        place.mkdir(parents=True, exist_ok=True)
        day = first_day + dt.timedelta(days=number * 7919 % 5400)
        modality = MODALITIES[number * 31 % len(MODALITIES)]
        region = REGIONS[number * 17 % len(REGIONS)]
        values: dict[str, files.Value] = {
            "SpecificCharacterSet": "ISO_IR 192",
            "SOPClassUID": SECONDARY_CAPTURE,
            "SOPInstanceUID": uid("study", number, 1, 1),
            "StudyDate": day.strftime("%Y%m%d"),
            "StudyTime": f"{number % 24:02d}{number % 60:02d}00",
            "AccessionNumber": f"X{number:07d}",
            "Modality": modality,
            "ConversionType": "WSD",
            "InstitutionName": "Loopback General",
            "ReferringPhysicianName": f"Ref{number % 200:03d}^Doc",
            "StudyDescription": f"{modality} {region}",
            **patient(patient_of_study(number)),
            "StudyInstanceUID": uid("study", number),
            "SeriesInstanceUID": uid("study", number, 1),
            "StudyID": str(number),
            "SeriesNumber": 1,
            "InstanceNumber": 1,
            **pixel_description(8, 8, 8),
        }
        files.write(place / f"{number:05d}.dcm", values, [pixels], len(pixels), "OB")


def patient_of_study(number: int) -> int:
    """Return whose study it is: a block of 10 studies belongs to 8 patients."""
    block, within = divmod(number, 10)
    return int(block * 10 * PATIENTS_PER_STUDY) + within % 8


def write_multiframe(folder: Path, frames: int) -> None:
    slices = Slices(seed=2)
    values: dict[str, files.Value] = {
        **ct_series("multiframe", 0, 0),
        "SOPClassUID": MULTIFRAME_GRAYSCALE_WORD,
        "SOPInstanceUID": uid("multiframe", 0, 0, 0),
        "Modality": "OT",
        "InstanceNumber": 1,
        "ConversionType": "WSD",
        "NumberOfFrames": frames,
    }

    def pixels() -> Iterator[bytes]:
        for number in range(frames):
            yield slices.frame(number)

    files.write(folder / "0.dcm", values, pixels(), frames * FRAME_BYTES, "OW")


class Sets:
    """The sets on disk, made when they are first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / f"data-v{VERSION}"

    def _made(self, name: str) -> tuple[Path, Path]:
        folder = self._folder / name
        done = self._folder / f"{name}.done"
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            print(f"  making data: {name}", flush=True)
        return folder, done

    def ct(self, instances: int, name: str = "ct") -> list[Path]:
        folder, done = self._made(f"{name}-{instances}")
        if not done.exists():
            write_ct(folder, name, instances)
            done.touch()
        return sorted(folder.rglob("*.dcm"))

    def studies(self, first: int, count: int) -> Path:
        folder, done = self._made(f"studies-{first}-{count}")
        if not done.exists():
            write_studies(folder, first, count)
            done.touch()
        return folder

    def series(self, instances: int) -> Path:
        folder, done = self._made(f"series-{instances}")
        if not done.exists():
            write_series(folder, instances)
            done.touch()
        return folder

    def stack(self, instances: int) -> Path:
        folder, done = self._made(f"stack-{instances}")
        if not done.exists():
            write_stack(folder, instances)
            done.touch()
        return folder

    def multiframe(self, frames: int) -> Path:
        folder, done = self._made(f"multiframe-{frames}")
        if not done.exists():
            write_multiframe(folder, frames)
            done.touch()
        return folder / "0.dcm"
