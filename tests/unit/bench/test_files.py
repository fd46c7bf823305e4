"""The small writer makes files that a foreign reader reads back as they were meant."""

from pathlib import Path

import pydicom

from bench import data, files


def test_a_ct_slice_is_read_back(tmp_path: Path) -> None:
    data.write_ct(tmp_path, "ct", 2)
    paths = sorted(tmp_path.rglob("*.dcm"))
    slices = [pydicom.dcmread(path) for path in paths]
    assert [each.InstanceNumber for each in slices] == [1, 2]
    assert len({each.SOPInstanceUID for each in slices}) == 2
    first = slices[0]
    assert first.file_meta.MediaStorageSOPInstanceUID == first.SOPInstanceUID
    assert len(first) >= 100
    assert first.RequestAttributesSequence[0].RequestedProcedureID == "RP0"
    assert first.private_block(0x0029, "BENCH HEADER")[0x10].value[:2] == b"\0\1"
    assert first.pixel_array.shape == (512, 512)
    assert first.pixel_array.std() > 100
    assert paths[0].stat().st_size < 530_000


def test_the_same_bytes_come_out_twice(tmp_path: Path) -> None:
    for name in ("one", "two"):
        data.write_ct(tmp_path / name, "ct", 1)
        data.write_studies(tmp_path / name / "studies", 0, 3)
    one, two = (
        [path.read_bytes() for path in sorted((tmp_path / name).rglob("*.dcm"))]
        for name in ("one", "two")
    )
    assert one == two
    assert len(one) == 4


def test_ten_studies_belong_to_eight_patients() -> None:
    patients = [data.patient_of_study(number) for number in range(1_000)]
    assert len(set(patients)) == 800
    assert max(patients.count(each) for each in set(patients)) == 2


def test_the_small_study_is_read_back(tmp_path: Path) -> None:
    data.write_studies(tmp_path, 7, 1)
    (path,) = tmp_path.rglob("*.dcm")
    study = pydicom.dcmread(path)
    assert study.PatientID == f"P{data.patient_of_study(7):07d}"
    assert study.StudyInstanceUID == data.uid("study", 7)
    assert len(study.PixelData) == 64
    assert path.stat().st_size < 1_500


def test_many_frames_are_one_instance(tmp_path: Path) -> None:
    data.write_multiframe(tmp_path, 2)
    instance = pydicom.dcmread(tmp_path / "0.dcm")
    assert instance.pixel_array.shape == (2, 512, 512)


def test_odd_lengths_are_padded_by_their_vr() -> None:
    assert files.encode_value("UI", "1.2") == b"1.2\0"
    assert files.encode_value("LO", "abc") == b"abc "
    assert files.encode_value("OB", b"\1") == b"\1\0"
    assert files.encode_value("US", [1, 2]) == b"\1\0\2\0"
