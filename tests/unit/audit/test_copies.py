"""A folder whose files are made once."""

from pathlib import Path

import pytest

from leadglass.audit.copies import CopyFolder
from leadglass.errors import Damaged, Unavailable

DATA = b"leadglass\n5\nroot\n\nsignature\n"


def test_a_file_is_made_once_and_for_readers(tmp_path: Path) -> None:
    folder = CopyFolder(tmp_path)
    assert folder.put("a", DATA)
    assert not folder.put("a", DATA)
    assert (tmp_path / "a").read_bytes() == DATA
    assert (tmp_path / "a").stat().st_mode & 0o222 == 0


def test_what_stands_there_is_never_written_again(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"another history")
    with pytest.raises(Damaged, match="another file"):
        CopyFolder(tmp_path).put("a", DATA)
    assert (tmp_path / "a").read_bytes() == b"another history"
    (tmp_path / "b").write_bytes(DATA + b"more")
    with pytest.raises(Damaged):
        CopyFolder(tmp_path).put("b", DATA)


@pytest.mark.parametrize("length", [0, 1, len(DATA) - 1])
def test_what_a_crash_left_is_kept_and_the_whole_is_beside_it(
    tmp_path: Path, length: int
) -> None:
    (tmp_path / "a").write_bytes(DATA[:length])
    folder = CopyFolder(tmp_path)
    assert folder.put("a", DATA)
    assert not folder.put("a", DATA)
    assert (tmp_path / "a").read_bytes() == DATA[:length]
    assert (tmp_path / "a.2").read_bytes() == DATA


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    (tmp_path / "a").symlink_to(target)
    with pytest.raises((Damaged, Unavailable)):
        CopyFolder(tmp_path).put("a", DATA)
    assert not target.exists()


def test_a_mount_that_is_away_is_told(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot be written"):
        CopyFolder(tmp_path / "away").put("a", DATA)
