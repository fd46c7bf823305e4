"""What lies on media: walked, never followed outside, never believed."""

import os
import struct
import zipfile
from pathlib import Path

import pytest

from leadglass.archive.dicomdir import Directory, Referenced
from leadglass.archive.sources import (
    ZIP_ENTRY_BYTES_FREE,
    ZIP_LIST_BYTES_MAX,
    Fault,
    File,
    Source,
    SourceKind,
    ZipSource,
    open_source,
)
from leadglass.config import Media
from leadglass.dicom.header import HeaderReader
from leadglass.dicom.transfer_syntaxes import EXPLICIT_VR_LE, TRANSFER_SYNTAXES
from leadglass.errors import BadData, NotFound
from tests.unit.archive.conftest import data_set_of, make_instance

MEDIA = Media()


def files(source: Source) -> dict[str, File]:
    return {each.name: each for each in source if isinstance(each, File)}


def faults(source: Source) -> dict[str, str]:
    return {each.name: each.reason for each in source if isinstance(each, Fault)}


def content(file: File) -> bytes:
    data = bytearray()
    buffer = memoryview(bytearray(64 * 1024))
    with file.open() as stream:
        while count := stream.readinto(buffer) or 0:
            data += buffer[:count]
    return bytes(data)


class TestFolder:
    def test_all_files_in_one_order(self, tmp_path: Path) -> None:
        for name in ("b/2", "b/1", "a", "c/d/e", "B", "c/a"):
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)
        source = open_source(tmp_path, MEDIA)
        assert source.kind is SourceKind.FOLDER
        assert source.total is None
        found = files(source)
        assert list(found) == ["B", "a", "b/1", "b/2", "c/a", "c/d/e"]
        assert all(content(file) == name.encode() for name, file in found.items())

    def test_links_are_not_followed(self, tmp_path: Path) -> None:
        (tmp_path / "secret").write_bytes(make_instance())
        medium = tmp_path / "medium"
        (medium / "real").mkdir(parents=True)
        (medium / "file").symlink_to(tmp_path / "secret")
        (medium / "folder").symlink_to(tmp_path)
        (medium / "loop").symlink_to(medium)
        (medium / "inside").symlink_to(medium / "real")
        (medium / "broken").symlink_to("nowhere")
        source = open_source(medium, MEDIA)
        assert not files(source)
        assert faults(source) == dict.fromkeys(
            ("broken", "file", "folder", "inside", "loop"), "a symbolic link"
        )

    def test_a_file_that_becomes_a_link_is_not_followed(self, tmp_path: Path) -> None:
        (tmp_path / "I1").write_bytes(b"1")
        (found,) = files(open_source(tmp_path, MEDIA)).values()
        (tmp_path / "I1").unlink()
        (tmp_path / "I1").symlink_to("/etc/passwd")
        with pytest.raises(OSError, match="symbolic"):
            found.open()

    def test_pipes_do_not_hold_us_up(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        assert faults(open_source(tmp_path, MEDIA)) == {"pipe": "not a regular file"}
        with pytest.raises(NotFound):
            open_source(tmp_path / "pipe", MEDIA)

    def test_the_stamp_changes_with_the_file(self, tmp_path: Path) -> None:
        def stamp() -> str:
            (found,) = files(open_source(tmp_path, MEDIA)).values()
            return found.stamp

        (tmp_path / "I1").write_bytes(b"1")
        os.utime(tmp_path / "I1", ns=(1, 1))
        first = stamp()
        assert stamp() == first
        os.utime(tmp_path / "I1", ns=(1, 2))
        assert stamp() != first
        (tmp_path / "I1").write_bytes(b"12")
        os.utime(tmp_path / "I1", ns=(1, 1))
        assert stamp() != first

    def test_nothing_there(self, tmp_path: Path) -> None:
        with pytest.raises(NotFound):
            open_source(tmp_path / "none", MEDIA)

    def test_a_single_file(self, tmp_path: Path) -> None:
        path = tmp_path / "I1"
        path.write_bytes(make_instance())
        source = open_source(path, MEDIA)
        assert (source.kind, source.total) == (SourceKind.FILE, 1)
        assert content(files(source)["I1"]) == make_instance()

    def test_a_dicom_file_that_begins_as_a_zip_is_a_dicom_file(
        self, tmp_path: Path
    ) -> None:
        path = tmp_path / "I1"
        path.write_bytes(make_instance(preamble=b"PK\x03\x04" + bytes(124)))
        assert open_source(path, MEDIA).kind is SourceKind.FILE


def write_dicomdir(folder: Path, *file_ids: tuple[str, ...]) -> Path:
    """Write a DICOMDIR that names these files, whether they exist or not."""
    directory = Directory()
    for number, file_id in enumerate(file_ids):
        reader = HeaderReader(TRANSFER_SYNTAXES[EXPLICIT_VR_LE])
        reader.feed(data_set_of(make_instance(number)))
        directory.add(
            Referenced(file_id, "1.2", f"1.2.{number}", EXPLICIT_VR_LE),
            reader.finish(),
        )
    path = folder / "DICOMDIR"
    path.write_bytes(b"".join(directory.encode()))
    return path


class TestDirectory:
    @pytest.fixture
    def medium(self, tmp_path: Path) -> Path:
        (tmp_path / "outside").write_bytes(make_instance())
        medium = tmp_path / "medium"
        (medium / "DICOM").mkdir(parents=True)
        (medium / "DICOM" / "I1").write_bytes(b"one")
        (medium / "DICOM" / "NOT_NAMED").write_bytes(make_instance())
        return medium

    def test_what_it_names_and_nothing_else(self, medium: Path) -> None:
        source = open_source(write_dicomdir(medium, ("DICOM", "I1")), MEDIA)
        assert source.kind is SourceKind.DICOMDIR
        (found,) = files(source).values()
        assert (found.name, content(found)) == ("DICOM/I1", b"one")

    def test_each_file_once(self, medium: Path) -> None:
        path = write_dicomdir(medium, ("DICOM", "I1"), ("DICOM", "I1"))
        assert len(list(open_source(path, MEDIA))) == 1

    def test_names_in_lower_case_and_with_versions(self, medium: Path) -> None:
        (medium / "dicom2").mkdir()
        (medium / "dicom2" / "i1;1").write_bytes(b"lower")
        (medium / "DICOM" / "i1").write_bytes(b"another")
        path = write_dicomdir(medium, ("DICOM2", "I1"), ("DICOM", "I1"))
        found = files(open_source(path, MEDIA))
        assert content(found["DICOM2/I1"]) == b"lower"
        assert content(found["DICOM/I1"]) == b"one"

    @pytest.mark.parametrize(
        "file_id",
        [
            ("..", "outside"),
            ("DICOM", "..", "..", "outside"),
            ("", "etc", "passwd"),
            ("/etc/passwd",),
            ("DICOM/I1",),
            (".", "DICOM", "I1"),
            ("DICOM", "I1", ".."),
        ],
    )
    def test_it_does_not_lead_outside(
        self, medium: Path, file_id: tuple[str, ...]
    ) -> None:
        source = open_source(write_dicomdir(medium, file_id), MEDIA)
        assert not files(source)
        assert set(faults(source).values()) == {"a file ID that leaves the medium"}

    def test_links_are_not_followed(self, medium: Path) -> None:
        (medium / "LINK").symlink_to(medium.parent)
        (medium / "FILE").symlink_to(medium.parent / "outside")
        source = open_source(
            write_dicomdir(medium, ("LINK", "outside"), ("FILE",)), MEDIA
        )
        assert not files(source)
        assert set(faults(source).values()) == {"a symbolic link"}

    def test_files_that_are_missing(self, medium: Path) -> None:
        path = write_dicomdir(medium, ("DICOM", "I9"), ("DICOM", "I1", "X"))
        found = list(open_source(path, MEDIA))
        assert all(isinstance(each, Fault) and each.is_missing for each in found)
        assert len(found) == 2

    def test_a_link_to_the_medium_itself_is_the_operators_own(
        self, medium: Path
    ) -> None:
        write_dicomdir(medium, ("DICOM", "I1"))
        link = medium.parent / "cdrom"
        link.symlink_to(medium)
        assert list(files(open_source(link / "DICOMDIR", MEDIA))) == ["DICOM/I1"]


def make_zip(
    path: Path, entries: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED
) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


class TestZip:
    @pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
    def test_entries(self, tmp_path: Path, method: int) -> None:
        entries = {"b/2": b"2" * 5000, "a": b"1", "b/": b""}
        path = make_zip(tmp_path / "x.zip", entries, method)
        with open_source(path, MEDIA) as source:
            assert (source.kind, source.total) == (SourceKind.ZIP, 2)
            found = files(source)
            assert list(found) == ["b/2", "a"]
            assert content(found["b/2"]) == b"2" * 5000
        assert sorted(tmp_path.iterdir()) == [path]

    def test_names_are_only_names(self, tmp_path: Path) -> None:
        names = ["../../etc/passwd", "/etc/shadow", "C:\\x", "a\0b", "\x1b[2J"]
        path = make_zip(tmp_path / "x.zip", dict.fromkeys(names, b"data"))
        with open_source(path, MEDIA) as source:
            assert all(content(each) == b"data" for each in files(source).values())
        assert sorted(tmp_path.iterdir()) == [path]

    def test_a_bomb_that_says_so(self, tmp_path: Path) -> None:
        bomb = bytes(ZIP_ENTRY_BYTES_FREE + 1)
        path = make_zip(tmp_path / "x.zip", {"bomb": bomb, "good": b"1"})
        with open_source(path, MEDIA) as source:
            assert list(files(source)) == ["good"]
            assert "more than is allowed" in faults(source)["bomb"]

    def test_a_bomb_is_judged_while_it_is_read(self, tmp_path: Path) -> None:
        path = make_zip(tmp_path / "x.zip", {"bomb": bytes(ZIP_ENTRY_BYTES_FREE + 1)})
        with open_source(path, MEDIA) as source:
            assert isinstance(source, ZipSource)
            (entry,) = source._entries
            entry_file = File("bomb", "", source._opener(entry))
            with pytest.raises(BadData, match="more than is allowed"):
                content(entry_file)

    def test_an_entry_that_lies_about_its_length(self, tmp_path: Path) -> None:
        path = make_zip(tmp_path / "x.zip", {"liar": bytes(100_000)})
        data = path.read_bytes()
        size = struct.pack("<I", 100_000)
        assert data.count(size) == 2
        path.write_bytes(data.replace(size, struct.pack("<I", 50_000)))
        with (
            open_source(path, MEDIA) as source,
            pytest.raises(BadData, match="malformed"),
        ):
            content(files(source)["liar"])

    def test_more_than_it_may_unpack_to(self, tmp_path: Path) -> None:
        path = make_zip(tmp_path / "x.zip", {"a": bytes(600_000), "b": bytes(600_000)})
        with pytest.raises(BadData, match="when unpacked"):
            open_source(path, Media(zip_inflated_bytes_max=1 << 20))

    def test_more_entries_than_are_looked_at(self, tmp_path: Path) -> None:
        path = make_zip(tmp_path / "x.zip", {str(number): b"" for number in range(11)})
        with pytest.raises(BadData, match="more than 10 entries"):
            open_source(path, Media(import_file_count_max=10))

    def test_a_list_too_long_for_memory_is_not_read(self, tmp_path: Path) -> None:
        path = tmp_path / "x.zip"
        length = ZIP_LIST_BYTES_MAX + 1
        with path.open("wb") as file:
            file.write(b"PK\x03\x04")
            file.seek(length + 4)  # a hole: nothing on the disk
            end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, length, 4, 0)
            file.write(end)
        with pytest.raises(BadData, match="too many entries"):
            open_source(path, MEDIA)

    def test_encrypted_entries_are_told(self, tmp_path: Path) -> None:
        path = make_zip(tmp_path / "x.zip", {"secret": b"1"})
        data = bytearray(path.read_bytes())
        data[6] |= 1  # general purpose flags of the local header
        data[data.index(b"PK\1\2") + 8] |= 1  # and of the list
        path.write_bytes(data)
        with open_source(path, MEDIA) as source:
            assert faults(source) == {"secret": "the entry is encrypted"}

    def test_methods_that_take_memory_without_bound(self, tmp_path: Path) -> None:
        path = make_zip(tmp_path / "x.zip", {"a": b"1"}, zipfile.ZIP_LZMA)
        with open_source(path, MEDIA) as source:
            assert faults(source) == {"a": "the entry is compressed in an unusual way"}

    def test_cut_anywhere_it_is_refused(self, tmp_path: Path) -> None:
        path = make_zip(tmp_path / "x.zip", {"a": b"1" * 100, "b": b"2"})
        data = path.read_bytes()
        for end in range(4, len(data) - 1):
            path.write_bytes(data[:end])
            with pytest.raises(BadData, match="malformed"):
                open_source(path, MEDIA)

    def test_flipped_bits_raise_nothing_else(self, tmp_path: Path) -> None:
        path = make_zip(tmp_path / "x.zip", {"a": b"1" * 100, "b": b"2"})
        data = path.read_bytes()
        right = {("a", b"1" * 100), ("b", b"2")}
        for at in range(4, len(data)):
            path.write_bytes(data[:at] + bytes([data[at] ^ 0x21]) + data[at + 1 :])
            try:
                with open_source(path, MEDIA) as source:
                    for name, file in files(source).items():
                        found = content(file)
                        assert name not in {"a", "b"} or (name, found) in right
            except (BadData, OSError):  # an offset that is none
                continue
