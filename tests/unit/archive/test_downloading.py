"""Downloading: a ZIP file that others read, whole or broken off, on the record."""

import zipfile
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest

from leadglass.access.rights import Right
from leadglass.archive.caller import Caller
from leadglass.archive.downloading import Download
from leadglass.archive.fetch import Fetch
from leadglass.archive.parts import Parts
from leadglass.audit.codes import EventID
from leadglass.audit.codes import Outcome as Ending
from leadglass.audit.events import Event
from leadglass.config import Media
from leadglass.dicom.uids import UID
from leadglass.errors import BadData, Damaged, NotFound, Refused
from tests.unit.archive.conftest import (
    STUDY,
    Home,
    Rules,
    data_set_of,
    file_set,
    make_instance,
)
from tests.unit.archive.test_exporting import damage

Store = Callable[[bytes], object]
# Several segments of the vault; no study is that small.
PIECE_BYTES_MAX = 2 << 20


@pytest.fixture
def download(parts: Parts) -> Download:
    return Download(Fetch(parts), Media())


@pytest.fixture
def three(store: Store) -> list[bytes]:
    """Two series of one study, and another study of the patient."""
    files = [make_instance(1), make_instance(2), make_instance(1, series=2)]
    for file in files:
        store(file)
    store(make_instance(1, study="1.2.3.2"))
    return files


def events(home: Home, wanted: EventID) -> list[Event]:
    return [each.event for each in home.records() if each.event.id is wanted]


def test_it_is_a_whole_file_set_of_the_study_as_it_is_stored(
    download: Download, operator: Caller, tmp_path: Path, three: list[bytes]
) -> None:
    made = zipfile.ZipFile(BytesIO(b"".join(download(operator, UID(STUDY)))))
    assert made.testzip() is None
    made.extractall(tmp_path / "unpacked")
    with file_set(tmp_path / "unpacked" / "DICOMDIR") as found:
        assert len(list(found)) == 3
    names = [name for name in made.namelist() if name != "DICOMDIR"]
    stored = sorted(data_set_of(made.read(name)) for name in names)
    assert stored == sorted(map(data_set_of, three))
    assert {each.compress_type for each in made.filelist} == {zipfile.ZIP_STORED}
    assert all(part.isalnum() for name in names for part in name.split("/"))


def test_memory_holds_one_piece(
    download: Download, operator: Caller, store: Store
) -> None:
    store(make_instance(1, pixels=bytes(16 * PIECE_BYTES_MAX)))
    longest = max(map(len, download(operator, UID(STUDY))))
    assert longest < PIECE_BYTES_MAX


def test_it_is_recorded_before_the_first_byte_and_as_an_export_after_the_last(
    download: Download, operator: Caller, home: Home, three: list[bytes]
) -> None:
    leaving = download(operator, UID(STUDY))
    (began,) = events(home, EventID.BEGIN_TRANSFERRING)
    assert STUDY in str(began)
    assert not events(home, EventID.EXPORT)
    for _ in leaving:
        assert not events(home, EventID.EXPORT)
    leaving.close()
    (ended,) = events(home, EventID.EXPORT)
    assert ended.outcome is Ending.SUCCESS
    assert "PAT-1" in str(ended)


def test_who_goes_away_is_recorded_once_with_what_left(
    download: Download, operator: Caller, home: Home, three: list[bytes]
) -> None:
    unread = download(operator, UID(STUDY))
    unread.close()
    leaving = download(operator, UID(STUDY))
    next(leaving)
    leaving.close()
    leaving.close()
    ended = events(home, EventID.EXPORT)
    assert [each.outcome for each in ended] == [Ending.MINOR_FAILURE] * 2
    assert len(events(home, EventID.BEGIN_TRANSFERRING)) == 2


def test_what_is_damaged_breaks_it_off(
    download: Download, operator: Caller, home: Home, store: Store
) -> None:
    for number in (1, 2, 3):
        store(make_instance(number))
    damage(home, f"{STUDY}.1.2")
    got: list[bytes] = []
    leaving = download(operator, UID(STUDY))
    with pytest.raises(Damaged):
        got.extend(leaving)
    assert got  # the first image left
    with pytest.raises(zipfile.BadZipFile):
        zipfile.ZipFile(BytesIO(b"".join(got)))
    (ended,) = events(home, EventID.EXPORT)
    assert ended.outcome is Ending.MINOR_FAILURE
    assert events(home, EventID.SECURITY_ALERT)


def test_no_right_no_study_and_too_much_give_nothing(
    download: Download,
    operator: Caller,
    stranger: Caller,
    rules: Rules,
    three: list[bytes],
) -> None:
    with pytest.raises(Refused):
        download(stranger, UID(STUDY))
    with pytest.raises(NotFound):
        download(operator, UID("1.2.3.999"))
    with pytest.raises(BadData):
        replace(download, media=Media(export_file_count_max=2))(operator, UID(STUDY))
    # To look, and to break the glass, is not to take away.
    rules.allow(operator.subject, Right.FIND, Right.VIEW, Right.BREAK_GLASS)
    with pytest.raises(Refused):
        download(operator, UID(STUDY))
