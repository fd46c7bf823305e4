"""Exporting: bit-exact, whole or not at all, and readable by others."""

import fcntl
import os
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pydicom
import pydicom.data
import pytest

from leadglass.access.rights import Right
from leadglass.archive.caller import Caller
from leadglass.archive.erase import Erase
from leadglass.archive.exporting import Exporter, ExportReport, Selection
from leadglass.archive.fetch import Fetch
from leadglass.archive.importing import Importer, Outcome
from leadglass.archive.ingest import Ingest
from leadglass.archive.parts import Parts
from leadglass.audit.codes import EventID
from leadglass.audit.codes import Outcome as Ending
from leadglass.config import Media
from leadglass.dicom.attributes import Level
from leadglass.dicom.uids import UID
from leadglass.errors import Misconfigured, NotFound, Refused, Unavailable
from leadglass.index.records import InstanceLocation
from leadglass.vault.blobs import BlobName
from leadglass.vault.keys import KeyId
from tests.unit.archive.conftest import (
    OPERATOR,
    STUDY,
    Home,
    Rules,
    data_set_of,
    file_set,
    make_instance,
)

PYDICOM = Path(pydicom.data.__file__).parent / "test_files"
DUMP = "/usr/bin/dcmdump"
WHOLE_STUDY = Selection(level=Level.STUDY, study_uids=(STUDY,))
Store = Callable[[bytes], object]


@pytest.fixture
def exporter(parts: Parts) -> Exporter:
    return Exporter(Fetch(parts), Media())


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder / "disc"


@pytest.fixture
def three(store: Store) -> list[bytes]:
    """Two series of one study, and another study of the patient."""
    files = [make_instance(1), make_instance(2), make_instance(1, series=2)]
    for file in files:
        store(file)
    store(make_instance(1, study="1.2.3.2"))
    return files


def locations(parts: Parts) -> list[InstanceLocation]:
    with parts.database.read() as connection:
        return list(parts.index.all_instances(connection))


def damage(home: Home, instance_uid: str) -> None:
    """Flip a bit in the blob of an instance."""
    (location,) = (
        each for each in locations(home.parts) if each.instance_uid == instance_uid
    )
    (path,) = (each for each in home.blob_paths() if each.name == location.blob)
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)


def files_in(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def entries_of(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


class TestFolder:
    def test_files_as_they_are_stored(
        self, exporter: Exporter, operator: Caller, target: Path, three: list[bytes]
    ) -> None:
        report = exporter.run(operator, WHOLE_STUDY, target, with_dicomdir=False)
        assert (report.total, report.instances) == (3, 3)
        assert report.is_whole
        found = files_in(target)
        assert sorted(found) == [
            "DICOM/S0000001/SE000001/I0000001",
            "DICOM/S0000001/SE000001/I0000002",
            "DICOM/S0000001/SE000002/I0000001",
        ]
        assert report.bytes == sum(map(len, found.values()))
        for exported in found.values():
            assert not any(exported[:128])
        exported_data = sorted(map(data_set_of, found.values()))
        assert exported_data == sorted(map(data_set_of, three))

    def test_nobody_else_can_read_it(
        self, exporter: Exporter, operator: Caller, target: Path, three: list[bytes]
    ) -> None:
        umask = os.umask(0)
        try:
            exporter.run(operator, WHOLE_STUDY, target)
        finally:
            os.umask(umask)
        for path in (target, *target.rglob("*")):
            assert path.stat().st_mode & 0o077 == 0
        assert [each.name for each in target.parent.iterdir()] == ["disc"]

    def test_a_dicomdir_that_leads_to_all(
        self, exporter: Exporter, operator: Caller, target: Path, three: list[bytes]
    ) -> None:
        exporter.run(operator, WHOLE_STUDY, target)
        with file_set(target / "DICOMDIR") as found:
            uids = sorted(str(each.load().SOPInstanceUID) for each in found)
        assert uids == ["1.2.3.1.1.1", "1.2.3.1.1.2", "1.2.3.1.2.1"]
        done = subprocess.run(
            [DUMP, str(target / "DICOMDIR")], capture_output=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, b"")

    def test_several_studies(
        self, exporter: Exporter, operator: Caller, target: Path, three: list[bytes]
    ) -> None:
        patient = Selection(level=Level.PATIENT, patient_ids=("PAT-1",))
        report = exporter.run(operator, patient, target)
        assert report.instances == 4
        assert {each.name for each in (target / "DICOM").iterdir()} == {
            "S0000001",
            "S0000002",
        }

    def test_no_patient_data_in_any_name(
        self, exporter: Exporter, operator: Caller, target: Path, three: list[bytes]
    ) -> None:
        exporter.run(operator, WHOLE_STUDY, target)
        for path in target.rglob("*"):
            assert len(path.name) <= 8
            assert path.name.isalnum()
            assert path.name.isupper()


class TestZip:
    def test_the_same_files(
        self, exporter: Exporter, operator: Caller, target: Path, three: list[bytes]
    ) -> None:
        exporter.run(operator, WHOLE_STUDY, target)
        path = target.with_suffix(".zip")
        exporter.run(operator, WHOLE_STUDY, path, as_zip=True)
        entries, files = entries_of(path), files_in(target)
        assert entries.pop("DICOMDIR")[:132] == files.pop("DICOMDIR")[:132]
        assert entries == files
        assert path.stat().st_mode & 0o777 == 0o600

    def test_entries_are_not_packed(
        self, exporter: Exporter, operator: Caller, target: Path, three: list[bytes]
    ) -> None:
        exporter.run(operator, WHOLE_STUDY, target, as_zip=True)
        with zipfile.ZipFile(target) as archive:
            assert {each.compress_type for each in archive.filelist} == {
                zipfile.ZIP_STORED
            }

    def test_others_can_unpack_it(
        self, exporter: Exporter, operator: Caller, target: Path, three: list[bytes]
    ) -> None:
        exporter.run(operator, WHOLE_STUDY, target, as_zip=True)
        unpacked = target.parent / "unpacked"
        with zipfile.ZipFile(target) as archive:
            archive.extractall(unpacked)
        with file_set(unpacked / "DICOMDIR") as found:
            assert len(list(found)) == 3


@dataclass(frozen=True)
class Out:
    """An export that can be repeated, to a folder or a ZIP file."""

    exporter: Exporter
    operator: Caller
    target: Path
    as_zip: bool

    def run(
        self,
        progress: Callable[[ExportReport], None] = lambda _: None,
        *,
        target: Path | None = None,
        with_dicomdir: bool = True,
    ) -> ExportReport:
        return self.exporter.run(
            self.operator,
            WHOLE_STUDY,
            target or self.target,
            as_zip=self.as_zip,
            with_dicomdir=with_dicomdir,
            progress=progress,
        )

    @property
    def content(self) -> dict[str, bytes]:
        return entries_of(self.target) if self.as_zip else files_in(self.target)

    @property
    def part(self) -> Path:
        """Where it is made."""
        return self.target.parent / ".disc.leadglass-part"

    @property
    def names(self) -> list[str]:
        """What lies where the target does."""
        return [each.name for each in self.target.parent.iterdir()]


@pytest.fixture(params=[False, True], ids=["folder", "zip"])
def out(
    exporter: Exporter,
    operator: Caller,
    target: Path,
    request: pytest.FixtureRequest,
) -> Out:
    return Out(exporter, operator, target, as_zip=request.param)


class TestWholeOrNotAtAll:
    def test_what_is_damaged_is_left_out(
        self,
        out: Out,
        store: Store,
        home: Home,
    ) -> None:
        # Longer than a segment, so that some of it is written before it shows.
        large = bytes(range(256)) * 2048
        for number in range(1, 4):
            store(make_instance(number, pixels=large))
        damage(home, "1.2.3.1.1.2")
        report = out.run()
        assert (report.total, report.instances, report.left_out) == (3, 2, 1)
        assert not report.is_whole
        assert [(each.instance_uid, each.reason) for each in report.named] == [
            ("1.2.3.1.1.2", "damaged")
        ]
        found = out.content
        directory = found.pop("DICOMDIR")
        assert b"1.2.3.1.1.2" not in directory
        assert sorted(found) == [
            "DICOM/S0000001/SE000001/I0000001",
            "DICOM/S0000001/SE000001/I0000003",
        ]
        for data in found.values():
            assert data_set_of(data).endswith(large)
        ids = [each.event.id for each in home.records()]
        assert EventID.SECURITY_ALERT in ids
        assert home.records()[-1].event.outcome is Ending.MINOR_FAILURE

    def test_the_last_one_damaged(
        self,
        out: Out,
        store: Store,
        home: Home,
    ) -> None:
        store(make_instance(1))
        store(make_instance(2, pixels=bytes(1 << 20)))
        damage(home, "1.2.3.1.1.2")
        out.run(with_dicomdir=False)
        assert list(out.content) == ["DICOM/S0000001/SE000001/I0000001"]

    def test_what_is_erased_meanwhile_is_left_out(
        self,
        out: Out,
        three: list[bytes],
        parts: Parts,
    ) -> None:
        def erase(report: ExportReport) -> None:
            if locations(parts)[0].study_uid == STUDY:
                Erase(parts)(OPERATOR, UID(STUDY), "on request")

        report = out.run(erase)
        assert (report.instances, report.left_out) == (1, 2)
        assert {each.reason for each in report.named} == {"erased meanwhile"}

    def test_a_lost_key_is_damage(
        self, out: Out, three: list[bytes], parts: Parts
    ) -> None:
        key = parts.blobs.key_id(BlobName(locations(parts)[0].blob))

        def lose(report: ExportReport) -> None:
            parts.keyring.destroy(KeyId(key))

        report = out.run(lose)
        assert (report.instances, report.left_out) == (1, 2)
        assert {each.reason for each in report.named} == {"damaged"}

    @pytest.mark.parametrize("after", [1, 2, 3])
    def test_interrupted_it_leaves_nothing(
        self,
        out: Out,
        three: list[bytes],
        home: Home,
        after: int,
    ) -> None:
        def interrupt(report: ExportReport) -> None:
            if report.instances == after:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            out.run(interrupt)
        assert not out.names
        last = home.records()[-1].event
        assert last.id is EventID.EXPORT
        assert last.outcome is not Ending.SUCCESS
        assert last.details["succeeded"] == "0"
        assert out.run().is_whole

    def test_what_a_power_cut_left_is_removed(
        self,
        out: Out,
        three: list[bytes],
    ) -> None:
        part = out.part
        if out.as_zip:
            part.write_bytes(b"plaintext" * 9999)
            part.chmod(0o600)
        else:
            (part / "DICOM" / "S0000001").mkdir(parents=True)
            (part / "DICOM" / "old").write_bytes(b"plaintext")
            (part / "old").symlink_to(out.target.parent.parent)
            part.chmod(0o700)
        report = out.run()
        assert report.is_whole
        found = out.content
        assert len(found) == 4
        assert b"plaintext" not in b"".join(found.values())
        assert out.names == ["disc"]

    def test_what_others_put_in_the_way_is_not_used(
        self,
        out: Out,
        three: list[bytes],
    ) -> None:
        part = out.part
        if out.as_zip:
            part.write_bytes(b"theirs")
            part.chmod(0o666)
        else:
            part.mkdir()
            part.chmod(0o777)
        with pytest.raises(Misconfigured, match="in the way"):
            out.run()
        assert not out.target.exists()

    def test_a_link_in_the_way_is_not_followed(
        self,
        out: Out,
        three: list[bytes],
    ) -> None:
        elsewhere = out.target.parent.parent / "elsewhere"
        if out.as_zip:
            elsewhere.write_bytes(b"")
        else:
            elsewhere.mkdir()
        out.part.symlink_to(elsewhere)
        with pytest.raises(Unavailable):
            out.run()
        assert not out.target.exists()
        assert not (out.as_zip and elsewhere.read_bytes())

    def test_two_exports_to_one_target(
        self,
        out: Out,
        three: list[bytes],
    ) -> None:
        part = out.part
        if out.as_zip:
            part.write_bytes(b"mine")
            part.chmod(0o600)
        else:
            part.mkdir(mode=0o700)
        number = os.open(part, os.O_RDONLY)
        try:
            fcntl.flock(number, fcntl.LOCK_EX)
            with pytest.raises(Unavailable, match="another export"):
                out.run()
            assert part.exists()
        finally:
            os.close(number)
        assert out.run().is_whole

    def test_what_exists_is_not_overwritten(
        self,
        out: Out,
        three: list[bytes],
        home: Home,
    ) -> None:
        before = len(home.records())
        for kind in ("folder", "file", "broken link"):
            if kind == "folder":
                out.target.mkdir()
            elif kind == "file":
                out.target.rmdir()
                out.target.touch()
            else:
                out.target.unlink()
                out.target.symlink_to("nowhere")
            with pytest.raises(Misconfigured, match="exists already"):
                out.run()
        assert len(home.records()) == before

    def test_nor_what_appears_meanwhile(
        self,
        out: Out,
        three: list[bytes],
    ) -> None:
        def get_in_the_way(report: ExportReport) -> None:
            out.target.write_text("mine")

        with pytest.raises(Misconfigured, match="exists already"):
            out.run(get_in_the_way)
        assert out.target.read_text() == "mine"
        assert out.names == ["disc"]

    def test_a_record_that_cannot_be_written_keeps_it_back(
        self,
        out: Out,
        three: list[bytes],
        parts: Parts,
    ) -> None:
        def close(report: ExportReport) -> None:
            if report.instances == report.total:
                parts.database.close()

        with pytest.raises(Unavailable):
            out.run(close)
        assert not out.names

    def test_no_place_to_make_it(
        self,
        out: Out,
        three: list[bytes],
        home: Home,
    ) -> None:
        with pytest.raises(Misconfigured, match="make it first"):
            out.run(target=out.target / "sub")
        with pytest.raises(Misconfigured, match="data folder"):
            out.run(target=home.folder / "out")


class TestRights:
    def test_without_the_right(
        self,
        exporter: Exporter,
        stranger: Caller,
        target: Path,
        three: list[bytes],
        home: Home,
    ) -> None:
        with pytest.raises(Refused):
            exporter.run(stranger, WHOLE_STUDY, target)
        assert not target.exists()
        ids = [each.event.id for each in home.records()]
        assert ids.count(EventID.SECURITY_ALERT) == 1

    def test_another_right_is_not_enough(
        self,
        exporter: Exporter,
        operator: Caller,
        rules: Rules,
        target: Path,
        three: list[bytes],
    ) -> None:
        rules.allow(operator.subject, Right.GET, Right.MOVE, Right.FIND)
        with pytest.raises(Refused):
            exporter.run(operator, WHOLE_STUDY, target)

    def test_what_is_out_of_scope_is_not_there(
        self,
        exporter: Exporter,
        operator: Caller,
        rules: Rules,
        target: Path,
        three: list[bytes],
    ) -> None:
        (rule,) = rules.rules
        scope = replace(rule.scope, study_uids=frozenset({"1.2.3.2"}))
        rules.rules = (replace(rule, scope=scope),)
        with pytest.raises(NotFound):
            exporter.run(operator, WHOLE_STUDY, target)
        assert not list(target.parent.iterdir())

    def test_nothing_to_export(
        self, exporter: Exporter, operator: Caller, target: Path
    ) -> None:
        with pytest.raises(NotFound, match="nothing to export"):
            exporter.run(operator, WHOLE_STUDY, target)

    def test_more_than_one_export_may_write(
        self, parts: Parts, operator: Caller, target: Path, three: list[bytes]
    ) -> None:
        exporter = Exporter(Fetch(parts), Media(export_file_count_max=2))
        with pytest.raises(Misconfigured, match="export_file_count_max"):
            exporter.run(operator, WHOLE_STUDY, target)
        assert not list(target.parent.iterdir())


def test_the_record_says_what_left_and_not_where_by_name(
    exporter: Exporter, operator: Caller, target: Path, three: list[bytes], home: Home
) -> None:
    before = len(home.records())
    exporter.run(operator, WHOLE_STUDY, target.parent / "DOE^JANE")
    begun, exported = (each.event for each in home.records()[before:])
    assert begun.id is EventID.BEGIN_TRANSFERRING
    assert exported.id is EventID.EXPORT
    assert exported.outcome is Ending.SUCCESS
    assert exported.details["succeeded"] == "3"
    assert STUDY in {each.id for each in exported.objects}
    assert "DOE" not in str(begun) + str(exported)


class TestThereAndBackAgain:
    @pytest.fixture
    def importer(self, parts: Parts, tmp_path: Path) -> Importer:
        return Importer(Ingest(parts), Media(), tmp_path / "imports", bytes(32))

    @pytest.fixture
    def exported(
        self, importer: Importer, parts: Parts, out: Out, operator: Caller
    ) -> int:
        """Import pydicom's files and export them; return how many there are."""
        importer.run(operator, PYDICOM)
        uids = tuple({each.study_uid for each in locations(parts)})
        selection = Selection(level=Level.STUDY, study_uids=uids)
        report = out.exporter.run(operator, selection, out.target, as_zip=out.as_zip)
        assert report.left_out == 0
        assert report.instances == len(locations(parts)) > 100
        return report.instances

    def test_every_instance_bit_for_bit(
        self, importer: Importer, operator: Caller, out: Out, exported: int
    ) -> None:
        """By the DICOMDIR of a folder; or all that is in a ZIP file."""
        if out.as_zip:
            again = importer.run(operator, out.target)
            assert again.counts == {Outcome.SAME: exported, Outcome.NOT_DICOM: 1}
        else:
            again = importer.run(operator, out.target / "DICOMDIR")
            assert again.counts == {Outcome.SAME: exported}

    # One of them has a transfer syntax in Explicit VR, but no VRs, as it came.
    @pytest.mark.filterwarnings("ignore:Expected explicit VR")
    def test_others_read_it(self, out: Out, exported: int, tmp_path: Path) -> None:
        medium = out.target
        if out.as_zip:
            medium = tmp_path / "unpacked"
            with zipfile.ZipFile(out.target) as archive:
                archive.extractall(medium)
        done = subprocess.run(
            [DUMP, str(medium / "DICOMDIR")], capture_output=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, b"")
        with file_set(medium / "DICOMDIR") as found:
            assert len(list(found)) == exported
        for path in (medium / "DICOM").rglob("I*"):
            read = pydicom.dcmread(path, stop_before_pixels=True)
            assert read.file_meta.MediaStorageSOPInstanceUID == read.SOPInstanceUID


@pytest.fixture(autouse=True)
def no_plaintext_in_tmp(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Whatever would be staged in a temporary folder would be found."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    yield
    assert not list(folder.iterdir())
