"""The DICOMDIR that we write, judged by pydicom and DCMTK; those of others, read."""

import subprocess
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import pydicom
import pydicom.data
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import fileset
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from leadglass.archive.dicomdir import (
    WANTED,
    Directory,
    Referenced,
    record_type,
    referenced_files,
)
from leadglass.dicom.header import HeaderReader
from leadglass.dicom.part10 import Part10Reader
from leadglass.dicom.transfer_syntaxes import TRANSFER_SYNTAXES, UNCOMPRESSED
from leadglass.errors import BadData
from tests.unit.archive.conftest import file_set, make_instance

MEDIA = Path(pydicom.data.__file__).parent / "test_files" / "dicomdirtests"
ROOT = "1.2.840.10008.5.1.4.1.1."
SR = ROOT + "88.33"
DUMP = "/usr/bin/dcmdump"


def put(directory: Directory, file_id: tuple[str, ...], file: bytes) -> None:
    reader = Part10Reader()
    data_set = reader.feed(file)
    assert data_set is not None
    assert reader.transfer_syntax
    assert reader.sop_class
    header_reader = HeaderReader(TRANSFER_SYNTAXES[reader.transfer_syntax], WANTED)
    header_reader.feed(data_set)
    instance = reader.uid(0x0002_0003)
    assert instance
    reference = Referenced(file_id, reader.sop_class, instance, reader.transfer_syntax)
    directory.add(reference, header_reader.finish())


def encoded(*files: bytes) -> bytes:
    directory = Directory()
    for number, file in enumerate(files):
        put(directory, ("DICOM", f"I{number:07}"), file)
    return b"".join(directory.encode())


def records(data: bytes) -> list[Dataset]:
    return list(pydicom.dcmread(BytesIO(data)).DirectoryRecordSequence)


TWO = encoded(make_instance(1), make_instance(2))


class TestRecordType:
    def test_pydicom_says_the_same(self) -> None:
        for uid, expected in fileset._FOUR_LEVEL_SOP_CLASSES.items():
            assert record_type(uid, has_pixels=False) == expected, uid

    @pytest.mark.parametrize(
        ("sop_class", "expected"),
        [
            (ROOT + "2", "IMAGE"),
            (ROOT + "66.4", "IMAGE"),
            (ROOT + "104.1", "ENCAP DOC"),
            (ROOT + "481.5", "RT PLAN"),
            (ROOT + "481.21", "RADIOTHERAPY"),
            ("1.2.840.10008.5.1.4.34.7", "PLAN"),
            ("2.25.1", "IMAGE"),
        ],
    )
    def test_types(self, sop_class: str, expected: str) -> None:
        assert record_type(sop_class, has_pixels=True) == expected

    def test_an_unknown_object_without_pixels_is_raw_data(self) -> None:
        assert record_type("2.25.1", has_pixels=False) == "RAW DATA"


class TestWriting:
    def test_offsets_lead_through_the_tree(self) -> None:
        data = encoded(
            make_instance(1),
            make_instance(2),
            make_instance(1, series=2),
            make_instance(1, study="1.2.3.2"),
            make_instance(1, study="1.2.3.3", patient="PAT-2"),
            make_instance(3),
        )
        directory = pydicom.dcmread(BytesIO(data))
        by_offset = {
            each.seq_item_tell: each for each in directory.DirectoryRecordSequence
        }

        def level(offset: int) -> list[Dataset]:
            found = []
            while offset:
                found.append(by_offset.pop(offset))
                offset = found[-1].OffsetOfTheNextDirectoryRecord
            return found

        def tree(offset: int) -> list[object]:
            return [
                (
                    each.DirectoryRecordType,
                    tree(each.OffsetOfReferencedLowerLevelDirectoryEntity),
                )
                for each in level(offset)
            ]

        first = directory.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity
        image: object = ("IMAGE", [])
        assert tree(first) == [
            (
                "PATIENT",
                [
                    ("STUDY", [("SERIES", [image] * 3), ("SERIES", [image])]),
                    ("STUDY", [("SERIES", [image])]),
                ],
            ),
            ("PATIENT", [("STUDY", [("SERIES", [image])])]),
        ]
        assert not by_offset
        last = directory.OffsetOfTheLastDirectoryRecordOfTheRootDirectoryEntity
        patients = [
            each.seq_item_tell
            for each in directory.DirectoryRecordSequence
            if each.DirectoryRecordType == "PATIENT"
        ]
        assert [first, last] == patients

    def test_pydicom_opens_it(self, tmp_path: Path) -> None:
        directory = Directory()
        for number in range(1, 4):
            file = make_instance(number)
            (tmp_path / f"I{number}").write_bytes(file)
            put(directory, (f"I{number}",), file)
        path = tmp_path / "DICOMDIR"
        path.write_bytes(b"".join(directory.encode()))
        with file_set(path) as found:
            assert found.find_values("PatientID") == ["PAT-1"]
            assert sorted(each.load().InstanceNumber for each in found) == [1, 2, 3]

    def test_dcmtk_reads_it(self, tmp_path: Path) -> None:
        path = tmp_path / "DICOMDIR"
        path.write_bytes(encoded(make_instance(1), make_instance(2, patient="P2")))
        done = subprocess.run(
            [DUMP, str(path)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0
        assert not done.stderr
        assert "DICOM\\I0000001" in done.stdout

    def test_dcmtk_follows_its_offsets_and_goes_on_from_there(
        self, tmp_path: Path
    ) -> None:
        directory = Directory()
        for number in (1, 2, 3):
            file = make_instance(number, Manufacturer="Leadglass")
            (tmp_path / f"I{number}").write_bytes(file)
            if number < 3:
                put(directory, (f"I{number}",), file)
        (tmp_path / "DICOMDIR").write_bytes(b"".join(directory.encode()))
        done = subprocess.run(
            ["/usr/bin/dcmmkdir", "+A", "-W", "I3"],
            cwd=tmp_path,
            capture_output=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, b"")
        found = list(referenced_files((tmp_path / "DICOMDIR").read_bytes()))
        assert found == [("I1",), ("I2",), ("I3",)]
        kinds = [
            each.DirectoryRecordType
            for each in records((tmp_path / "DICOMDIR").read_bytes())
        ]
        assert kinds == ["PATIENT", "STUDY", "SERIES", "IMAGE", "IMAGE", "IMAGE"]

    def test_an_empty_one_is_valid(self, tmp_path: Path) -> None:
        path = tmp_path / "DICOMDIR"
        path.write_bytes(encoded())
        with file_set(path) as found:
            assert not list(found)
        assert not list(referenced_files(path.read_bytes()))

    def test_text_is_in_the_character_set_of_the_instance(self) -> None:
        for charset in ("ISO_IR 100", "ISO_IR 192"):
            data = encoded(make_instance(SpecificCharacterSet=charset))
            assert records(data)[0].PatientName == "Müller^Zoë"

    def test_what_an_image_record_refers_to(self) -> None:
        image = records(encoded(make_instance(7)))[3]
        assert image.ReferencedFileID == ["DICOM", "I0000000"]
        assert image.ReferencedSOPClassUIDInFile == ROOT + "2"
        assert image.ReferencedSOPInstanceUIDInFile == "1.2.3.1.1.7"
        assert image.ReferencedTransferSyntaxUIDInFile == "1.2.840.10008.1.2.1"
        assert image.InstanceNumber == 7

    def test_keys_that_an_instance_lacks_are_empty(self) -> None:
        study = records(encoded(make_instance(StudyID=None, StudyDate=None)))[1]
        assert study.StudyID == ""
        assert study.StudyDate == ""
        assert study.StudyTime == "101530"

    def test_patients_without_id_are_not_one(self) -> None:
        files = (make_instance(study=f"1.2.3.{n}", patient="") for n in (1, 2))
        kinds = [each.DirectoryRecordType for each in records(encoded(*files))]
        assert kinds.count("PATIENT") == 2

    def test_a_document_with_its_title(self) -> None:
        title, modifier, content = Dataset(), Dataset(), Dataset()
        title.CodeValue, title.CodingSchemeDesignator = "18748-4", "LN"
        title.CodeMeaning = "Befund für Zoë"
        modifier.RelationshipType = "HAS CONCEPT MOD"
        content.RelationshipType = "CONTAINS"
        content.TextValue = "secret"
        file = make_instance(
            sop_class=SR,
            pixels=b"",
            ConceptNameCodeSequence=[title],
            CompletionFlag="COMPLETE",
            VerificationFlag="UNVERIFIED",
            ContentSequence=[modifier, content],
            Rows=None,
            Columns=None,
        )
        document = records(encoded(file))[3]
        assert document.DirectoryRecordType == "SR DOCUMENT"
        assert document.ConceptNameCodeSequence[0].CodeMeaning == "Befund für Zoë"
        assert document.CompletionFlag == "COMPLETE"
        assert [each.RelationshipType for each in document.ContentSequence] == [
            "HAS CONCEPT MOD"
        ]

    @pytest.mark.parametrize(
        "transfer_syntax", [ExplicitVRBigEndian, ImplicitVRLittleEndian]
    )
    def test_numbers_are_little_endian(self, transfer_syntax: str) -> None:
        file = make_instance(
            sop_class=ROOT + "4.2",
            transfer_syntax=transfer_syntax,
            pixels=b"",
            Rows=258,
            Columns=3,
            NumberOfFrames=1,
            DataPointRows=65_539,
            DataPointColumns=5,
        )
        spectra = records(encoded(file))[3]
        assert spectra.DirectoryRecordType == "SPECTROSCOPY"
        assert (spectra.Rows, spectra.DataPointRows) == (258, 65_539)


class TestReading:
    def test_what_we_write(self) -> None:
        assert list(referenced_files(TWO)) == [
            ("DICOM", "I0000000"),
            ("DICOM", "I0000001"),
        ]

    @pytest.mark.parametrize(
        "name",
        [
            "DICOMDIR",
            "DICOMDIR-bigEnd",
            "DICOMDIR-implicit",
            "DICOMDIR-nopatient",
            "DICOMDIR-reordered",
        ],
    )
    def test_media_of_others(self, name: str) -> None:
        found = list(referenced_files((MEDIA / name).read_bytes()))
        directory = pydicom.dcmread(MEDIA / name)
        assert len(found) == 31
        assert found == [
            tuple(each.ReferencedFileID)
            for each in directory.DirectoryRecordSequence
            if "ReferencedFileID" in each
        ]

    def test_records_out_of_use_are_passed_over(self) -> None:
        data = encoded(make_instance())
        in_use = b"\x04\x00\x10\x14US\x02\x00\xff\xff"
        assert data.count(in_use) == 4
        unused = data.replace(in_use, in_use[:-2] + b"\0\0")
        assert not list(referenced_files(unused))

    def test_an_image_is_none(self) -> None:
        with pytest.raises(BadData, match="not a DICOMDIR"):
            list(referenced_files(make_instance()))

    def test_a_file_id_without_end(self) -> None:
        directory = Directory()
        put(directory, ("A",) * 33, make_instance())
        with pytest.raises(BadData, match="too many components"):
            list(referenced_files(b"".join(directory.encode())))

    def test_cut_anywhere_it_is_refused_or_shorter(self) -> None:
        for end in range(0, len(TWO), 7):
            with suppress(BadData):
                assert len(list(referenced_files(TWO[:end]))) <= 2

    @given(st.integers(0, 2000), st.integers(1, 255))
    def test_flipped_bits_raise_nothing_else(self, at: int, flip: int) -> None:
        data = bytearray(TWO)
        data[at % len(data)] ^= flip
        with suppress(BadData):
            list(referenced_files(bytes(data)))

    def test_only_plain_encodings(self) -> None:
        assert len(UNCOMPRESSED) == 3
        data = encoded(make_instance())
        deflated = data.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0", 1)
        with pytest.raises(BadData, match="compressed"):
            list(referenced_files(deflated))
