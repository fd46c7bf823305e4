"""Importing: what comes in, what does not and why, and going on after a stop."""

import threading
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pydicom.data
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian

from leadglass.access.rights import Right
from leadglass.archive.caller import Caller
from leadglass.archive.importing import (
    NAMED_MAX,
    Importer,
    ImportReport,
    Outcome,
    SourceKind,
    Stopped,
)
from leadglass.archive.ingest import Ingest
from leadglass.archive.parts import Parts, Room
from leadglass.audit.codes import EventID
from leadglass.audit.codes import Outcome as Ending
from leadglass.config import Limits, Media
from leadglass.dicom.part10 import PREAMBLE_BYTES, PREFIX
from leadglass.errors import BadData, Refused, Unavailable
from leadglass.index.records import InstanceLocation
from leadglass.vault.blobs import BlobName
from tests.unit.archive.conftest import Home, Rules, data_set_of, make_instance

SECRET = bytes(range(32))
PYDICOM = Path(pydicom.data.__file__).parent / "test_files"
TIFF = b"II*\0" + bytes(124)
PROGRAM = b"MZ" + b"\x90" * 126


@pytest.fixture
def medium(tmp_path: Path) -> Path:
    folder = tmp_path / "medium"
    folder.mkdir()
    return folder


def importer_of(parts: Parts, folder: Path, *, media: Media | None = None) -> Importer:
    return Importer(Ingest(parts), media or Media(), folder / "imports", SECRET)


@pytest.fixture
def importer(parts: Parts, tmp_path: Path) -> Importer:
    return importer_of(parts, tmp_path)


def counts(report: ImportReport) -> dict[Outcome, int]:
    return {outcome: number for outcome, number in report.counts.items() if number}


def stored(parts: Parts) -> dict[str, InstanceLocation]:
    with parts.database.read() as connection:
        return {
            each.instance_uid: each for each in parts.index.all_instances(connection)
        }


def file_in(parts: Parts, location: InstanceLocation) -> bytes:
    return b"".join(map(bytes, parts.blobs.get(BlobName(location.blob))))


def data_set_in(parts: Parts, location: InstanceLocation) -> bytes:
    return file_in(parts, location)[location.data_set_offset :]


class TestWhatComesIn:
    def test_a_file_as_it_is(
        self, importer: Importer, parts: Parts, operator: Caller, medium: Path
    ) -> None:
        (medium / "I1").write_bytes(make_instance())
        report = importer.run(operator, medium / "I1")
        assert counts(report) == {Outcome.STORED: 1}
        assert report.kind is SourceKind.FILE
        assert report.is_whole
        (location,) = stored(parts).values()
        assert file_in(parts, location) == make_instance()
        assert report.bytes == len(data_set_of(make_instance()))

    @pytest.mark.parametrize("preamble", [TIFF, PROGRAM])
    def test_a_preamble_is_not_kept(
        self,
        importer: Importer,
        parts: Parts,
        operator: Caller,
        medium: Path,
        preamble: bytes,
    ) -> None:
        (medium / "I1").write_bytes(make_instance(preamble=preamble))
        report = importer.run(operator, medium)
        assert report.preambles_cleared == 1
        (location,) = stored(parts).values()
        assert file_in(parts, location) == make_instance(preamble=bytes(128))

    def test_files_without_meta_information_get_one(
        self, importer: Importer, parts: Parts, operator: Caller, medium: Path
    ) -> None:
        (medium / "I1").write_bytes(make_instance(with_meta=False))
        assert counts(importer.run(operator, medium)) == {Outcome.STORED: 1}
        (location,) = stored(parts).values()
        file = file_in(parts, location)
        assert file[:132] == bytes(PREAMBLE_BYTES) + PREFIX
        assert data_set_of(file) == make_instance(with_meta=False)

    @pytest.mark.parametrize(
        "element",
        [b"\x02\x00\x00\x00UL", b"\x02\x00\x02\x00UI", b"\x02\x00\x03\x00UI"],
        ids=["group length", "SOP class", "SOP instance"],
    )
    def test_meta_information_that_does_not_fit_is_made_anew(
        self,
        importer: Importer,
        parts: Parts,
        operator: Caller,
        medium: Path,
        element: bytes,
    ) -> None:
        file = make_instance()
        begin = file.index(element) + 8
        bad = file[:begin] + bytes([file[begin] ^ 1]) + file[begin + 1 :]
        (medium / "I1").write_bytes(bad)
        assert counts(importer.run(operator, medium)) == {Outcome.STORED: 1}
        (location,) = stored(parts).values()
        kept = file_in(parts, location)
        assert location.instance_uid == "1.2.3.1.1.1"
        assert data_set_of(kept) == data_set_of(file)
        assert b"LEADGLASS" in kept[: location.data_set_offset]

    @pytest.mark.parametrize(
        "syntax", [ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
    )
    def test_other_encodings(
        self,
        importer: Importer,
        parts: Parts,
        operator: Caller,
        medium: Path,
        syntax: str,
    ) -> None:
        file = make_instance(transfer_syntax=syntax)
        (medium / "I1").write_bytes(file)
        assert counts(importer.run(operator, medium)) == {Outcome.STORED: 1}
        (location,) = stored(parts).values()
        assert file_in(parts, location) == file

    def test_large_files_in_pieces(
        self, importer: Importer, parts: Parts, operator: Caller, medium: Path
    ) -> None:
        file = make_instance(
            pixels=bytes(range(256)) * 4096, PatientComments="x" * 9000
        )
        (medium / "I1").write_bytes(file)
        importer.run(operator, medium)
        (location,) = stored(parts).values()
        assert file_in(parts, location) == file

    def test_uids_behind_a_long_element_are_found(
        self, importer: Importer, operator: Caller, medium: Path
    ) -> None:
        private = b"\x07\x00\x01\x10UN\x00\x00" + (100_000).to_bytes(4, "little")
        file = make_instance()
        begin = len(file) - len(data_set_of(file))
        file = file[:begin] + private + bytes(100_000) + file[begin:]
        (medium / "I1").write_bytes(file)
        assert counts(importer.run(operator, medium)) == {Outcome.STORED: 1}

    def test_what_is_there_already(
        self,
        importer: Importer,
        operator: Caller,
        medium: Path,
        store: Callable[[bytes], object],
    ) -> None:
        store(make_instance(1))
        store(make_instance(2))
        (medium / "I1").write_bytes(make_instance(1))
        (medium / "I2").write_bytes(make_instance(2, StudyDescription="changed"))
        report = importer.run(operator, medium)
        assert counts(report) == {Outcome.SAME: 1, Outcome.CONFLICT: 1}
        assert not report.is_whole
        assert [each.name for each in report.named] == ["I2"]

    def test_what_is_not_dicom(
        self, importer: Importer, operator: Caller, medium: Path
    ) -> None:
        for number, data in enumerate((b"", b"text\n" * 99, bytes(9999), b"PK\3\4zip")):
            (medium / str(number)).write_bytes(data)
        report = importer.run(operator, medium)
        assert counts(report) == {Outcome.NOT_DICOM: 4}
        assert report.is_whole

    def test_zip_files_within_stay_shut(
        self, importer: Importer, operator: Caller, medium: Path
    ) -> None:
        inner = medium / "inner.zip"
        with zipfile.ZipFile(inner, "w") as archive:
            archive.writestr("I1", make_instance())
        assert counts(importer.run(operator, medium)) == {Outcome.NOT_DICOM: 1}

    def test_reasons(self, importer: Importer, operator: Caller, medium: Path) -> None:
        bad = {
            "cut": make_instance(1)[:-10],
            "class": make_instance(2, sop_class="1.2.840.10008.1.1"),
            "no uid": make_instance(3)[:132] + make_instance(3, with_meta=False)[200:],
            "study": make_instance(4, StudyInstanceUID=""),
            "\x1b[2Jterminal": make_instance(5)[:-1],
        }
        for name, data in bad.items():
            (medium / name).write_bytes(data)
        report = importer.run(operator, medium)
        assert counts(report) == {Outcome.REFUSED: 5}
        reasons = {each.name: each.reason for each in report.named}
        assert reasons["cut"] == "the data set is cut short"
        assert reasons["class"] == "a SOP class that is not stored here"
        assert "no Study Instance UID" in reasons["study"]
        assert "\N{REPLACEMENT CHARACTER}[2Jterminal" in reasons
        assert "PAT-1" not in str(reasons)

    def test_the_list_of_names_has_an_end(
        self, importer: Importer, operator: Caller, medium: Path
    ) -> None:
        for number in range(NAMED_MAX + 5):
            (medium / str(number)).symlink_to("nowhere")
        report = importer.run(operator, medium)
        assert report.counts[Outcome.REFUSED] == NAMED_MAX + 5
        assert len(report.named) == NAMED_MAX


class TestSources:
    def test_a_zip_file(
        self, importer: Importer, parts: Parts, operator: Caller, medium: Path
    ) -> None:
        path = medium / "x.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for number in range(1, 30):
                archive.writestr(f"../../{number}", make_instance(number))
            archive.writestr("readme", "no image")
        report = importer.run(operator, path)
        assert counts(report) == {Outcome.STORED: 29, Outcome.NOT_DICOM: 1}
        assert (report.kind, report.total) == (SourceKind.ZIP, 30)
        assert len(stored(parts)) == 29
        assert sorted(medium.iterdir()) == [path]
        again = importer.run(operator, path)
        assert counts(again) == {Outcome.SEEN: 30}

    def test_real_media(self, importer: Importer, operator: Caller) -> None:
        report = importer.run(operator, PYDICOM / "dicomdirtests" / "DICOMDIR")
        assert counts(report) == {Outcome.STORED: 31}
        assert report.kind is SourceKind.DICOMDIR

    def test_a_medium_that_is_not_whole(
        self, importer: Importer, operator: Caller, medium: Path
    ) -> None:
        original = PYDICOM / "dicomdirtests" / "DICOMDIR"
        (medium / "DICOMDIR").write_bytes(original.read_bytes())
        report = importer.run(operator, medium / "DICOMDIR")
        assert counts(report) == {Outcome.MISSING: 31}
        assert not report.is_whole

    def test_more_files_than_are_looked_at(
        self, parts: Parts, tmp_path: Path, operator: Caller, medium: Path
    ) -> None:
        for number in range(1, 6):
            (medium / str(number)).write_bytes(make_instance(number))
        importer = importer_of(parts, tmp_path, media=Media(import_file_count_max=3))
        with pytest.raises(BadData, match="import_file_count_max"):
            importer.run(operator, medium)
        assert len(stored(parts)) == 3

    def test_all_of_pydicoms_files(
        self, importer: Importer, parts: Parts, operator: Caller
    ) -> None:
        """Every data set that is stored is that of a file, byte for byte."""
        report = importer.run(operator, PYDICOM)
        assert report.counts[Outcome.STORED] > 100
        files = {
            data_set_of(path.read_bytes())
            for path in PYDICOM.rglob("*")
            if path.is_file() and is_dicom(path)
        }
        for location in stored(parts).values():
            assert data_set_in(parts, location) in files
            kept = file_in(parts, location)
            assert not any(kept[:PREAMBLE_BYTES])
        expected_refusals = {
            "the data set is cut short",
            "no Study Instance UID",
            "no SOP class or SOP Instance UID in the data set",
        }
        refusals = {
            each.reason for each in report.named if each.outcome is Outcome.REFUSED
        }
        assert refusals <= expected_refusals


def is_dicom(path: Path) -> bool:
    try:
        data_set_of(path.read_bytes())
    except BadData:
        return False
    return True


@dataclass(frozen=True)
class FillingDisk(Room):
    """A disk that is full after some files."""

    left: Iterator[int] = field(default_factory=lambda: iter(range(0)))

    def check(self) -> None:
        if next(self.left, None) is None:
            raise Unavailable("not enough free space on the disk")


class TestGoingOn:
    @pytest.fixture
    def many(self, medium: Path) -> Path:
        for number in range(1, 61):
            (medium / f"{number:03}").write_bytes(make_instance(number))
        return medium

    def test_what_was_imported_is_not_read_again(
        self, importer: Importer, operator: Caller, many: Path
    ) -> None:
        importer.run(operator, many)
        (many / "001").write_bytes(make_instance(1, StudyDescription="changed"))
        (many / "new").write_bytes(make_instance(99))
        for each in many.iterdir():
            each.chmod(0)  # not that it would keep root out
        report = importer.run(operator, many)
        assert report.counts[Outcome.SEEN] == 59
        assert report.files == 61

    def test_fresh_looks_at_all(
        self, importer: Importer, operator: Caller, many: Path
    ) -> None:
        importer.run(operator, many)
        report = importer.run(operator, many, fresh=True)
        assert counts(report) == {Outcome.SAME: 60}

    def test_what_is_not_in_the_archive_is_told_each_time(
        self, importer: Importer, operator: Caller, medium: Path
    ) -> None:
        (medium / "bad").write_bytes(make_instance()[:-1])
        for _ in range(2):
            assert counts(importer.run(operator, medium)) == {Outcome.REFUSED: 1}

    @pytest.mark.parametrize("after", [0, 1, 17, 45])
    def test_interrupted_it_keeps_what_was_done(
        self,
        importer: Importer,
        parts: Parts,
        operator: Caller,
        many: Path,
        after: int,
    ) -> None:
        seen: list[int] = []

        def interrupt(report: ImportReport) -> None:
            seen.append(report.files)
            if report.files == after + 1:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            importer.run(operator, many, interrupt)
        done = len(stored(parts))
        assert after < done < 60
        report = importer.run(operator, many)
        # Nothing is lost, nothing twice; what was stored is remembered.
        assert report.counts[Outcome.SEEN] == done
        assert report.counts[Outcome.STORED] == 60 - done
        assert len(stored(parts)) == 60
        assert not list(parts.blobs.unsettled())

    def test_a_full_disk_stops_it(
        self, home: Home, operator: Caller, tmp_path: Path, many: Path
    ) -> None:
        disk = FillingDisk(home.folder, 1, iter(range(20)))
        importer = importer_of(replace(home.parts, room=disk), tmp_path)
        with pytest.raises(Stopped, match="run the import again") as stopped:
            importer.run(operator, many)
        assert stopped.value.report.counts[Outcome.STORED] == 20
        assert stopped.value.exit_code == Unavailable.exit_code
        assert len(stored(home.parts)) == 20
        last = home.records()[-1].event
        assert (last.id, last.outcome) == (EventID.IMPORT, Ending.SERIOUS_FAILURE)
        report = importer_of(home.parts, tmp_path).run(operator, many)
        assert counts(report) == {Outcome.SEEN: 20, Outcome.STORED: 40}

    def test_progress_is_told_in_the_thread_that_asked(
        self, importer: Importer, operator: Caller, many: Path
    ) -> None:
        told: Counter[int] = Counter()

        def progress(report: ImportReport) -> None:
            assert threading.current_thread() is threading.main_thread()
            told[report.files] += 1

        importer.run(operator, many, progress)
        assert told == Counter(range(1, 61))

    def test_no_thread_is_left(
        self, importer: Importer, operator: Caller, many: Path
    ) -> None:
        importer.run(operator, many)
        names = [each.name for each in threading.enumerate()]
        assert not [name for name in names if name.startswith("import")]


class TestRights:
    def test_without_the_right(
        self,
        importer: Importer,
        parts: Parts,
        stranger: Caller,
        medium: Path,
        home: Home,
    ) -> None:
        (medium / "I1").write_bytes(make_instance())
        with pytest.raises(Refused):
            importer.run(stranger, medium)
        assert not stored(parts)
        assert home.records()[-1].event.outcome is not Ending.SUCCESS

    def test_the_right_to_import_is_enough(
        self, importer: Importer, rules: Rules, operator: Caller, medium: Path
    ) -> None:
        rules.allow(operator.subject, Right.IMPORT)
        (medium / "I1").write_bytes(make_instance())
        assert counts(importer.run(operator, medium)) == {Outcome.STORED: 1}

    def test_the_right_to_store_is_not(
        self, importer: Importer, rules: Rules, operator: Caller, medium: Path
    ) -> None:
        rules.allow(operator.subject, Right.STORE)
        with pytest.raises(Refused):
            importer.run(operator, medium)

    def test_a_right_that_is_taken_away_ends_it(
        self,
        importer: Importer,
        parts: Parts,
        rules: Rules,
        operator: Caller,
        medium: Path,
    ) -> None:
        for number in range(1, 41):
            (medium / f"{number:02}").write_bytes(make_instance(number))

        def revoke(report: ImportReport) -> None:
            rules.allow(operator.subject)

        with pytest.raises(Refused):
            importer.run(operator, medium, revoke)
        assert len(stored(parts)) < 40


class TestRecord:
    def test_who_imported_what_from_what_kind_of_medium(
        self, importer: Importer, operator: Caller, medium: Path, home: Home
    ) -> None:
        folder = medium / "DOE^JANE"
        folder.mkdir()
        for number, study in enumerate(("1.2.3.1", "1.2.3.1", "1.2.3.2")):
            (folder / str(number)).write_bytes(make_instance(number, study=study))
        importer.run(operator, folder)
        records = [each.event for each in home.records()]
        kinds = Counter(each.id for each in records)
        assert set(kinds) == {EventID.INSTANCES_TRANSFERRED, EventID.IMPORT}
        said = [
            uid
            for each in records
            if each.id is EventID.INSTANCES_TRANSFERRED
            for study in each.objects
            for sop_class in study.sop_classes
            for uid in sop_class.instances
        ]
        assert sorted(said) == ["1.2.3.1.1.0", "1.2.3.1.1.1", "1.2.3.2.1.2"]
        (last,) = (each for each in records if each.id is EventID.IMPORT)
        assert last.outcome is Ending.SUCCESS
        assert last.details["stored"] == "3"
        assert {each.id for each in last.objects} >= {"1.2.3.1", "1.2.3.2", "PAT-1"}
        media = [each.user_id for each in last.participants if each.media]
        assert len(media) == 1
        assert media[0].startswith("folder ")
        assert "DOE" not in str(last)

    def test_an_import_of_nothing_is_recorded(
        self, importer: Importer, operator: Caller, medium: Path, home: Home
    ) -> None:
        importer.run(operator, medium)
        assert [each.event.id for each in home.records()] == [EventID.IMPORT]


class TestLimits:
    @pytest.fixture
    def limits(self) -> Limits:
        return Limits(object_bytes_max=1 << 20)

    def test_an_object_that_is_too_large(
        self, importer: Importer, parts: Parts, operator: Caller, medium: Path
    ) -> None:
        (medium / "I1").write_bytes(make_instance(pixels=bytes(1 << 20)))
        report = importer.run(operator, medium)
        assert counts(report) == {Outcome.REFUSED: 1}
        assert not stored(parts)
