"""The memory of imports: torn tails, changed files, and no path in it."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leadglass.archive.seen import Seen
from leadglass.errors import Unavailable

SECRET = bytes(range(32))
RECORD_BYTES = 32


def opened(folder: Path, *, source: str = "/media/cd", fresh: bool = False) -> Seen:
    return Seen(folder / "imports", SECRET, source, fresh=fresh)


def written(folder: Path, count: int) -> list[bytes]:
    with opened(folder) as seen:
        keys = [seen.key(f"I{number}", "10 20") for number in range(count)]
        for key in keys:
            seen.add(key)
    return keys


def file_of(folder: Path) -> Path:
    (path,) = (folder / "imports").iterdir()
    return path


def test_it_remembers(tmp_path: Path) -> None:
    keys = written(tmp_path, 3)
    with opened(tmp_path) as seen:
        assert all(key in seen for key in keys)
        assert seen.key("I3", "10 20") not in seen


def test_a_file_that_changed_is_another(tmp_path: Path) -> None:
    written(tmp_path, 1)
    with opened(tmp_path) as seen:
        assert seen.key("I0", "10 21") not in seen
        assert seen.key("I0 10", "20") not in seen


def test_other_sources_and_secrets_know_nothing(tmp_path: Path) -> None:
    (key,) = written(tmp_path, 1)
    with opened(tmp_path, source="/media/cd2") as seen:
        assert key not in seen
    with Seen(tmp_path / "imports", bytes(32), "/media/cd") as seen:
        assert seen.key("I0", "10 20") not in seen


def test_fresh_forgets(tmp_path: Path) -> None:
    (key,) = written(tmp_path, 1)
    with opened(tmp_path, fresh=True) as seen:
        assert key not in seen
    assert not file_of(tmp_path).stat().st_size


def test_nothing_can_be_read_from_it(tmp_path: Path) -> None:
    with opened(tmp_path, source="/media/DOE^JANE") as seen:
        seen.add(seen.key("DOE^JANE/I1", "10 20"))
    path = file_of(tmp_path)
    assert b"DOE" not in path.read_bytes() + bytes(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 3 * RECORD_BYTES))
def test_a_torn_tail_is_ignored_and_written_over(tmp_path: Path, cut: int) -> None:
    if (tmp_path / "imports").exists():
        file_of(tmp_path).unlink()
    keys = written(tmp_path, 3)
    with file_of(tmp_path).open("r+b") as file:
        file.truncate(cut)
    whole = cut // RECORD_BYTES
    with opened(tmp_path) as seen:
        assert [key in seen for key in keys] == [n < whole for n in range(3)]
        seen.add(keys[2])
    with opened(tmp_path) as seen:
        assert keys[2] in seen
    assert not file_of(tmp_path).stat().st_size % RECORD_BYTES


def test_a_flipped_bit_forgets_one(tmp_path: Path) -> None:
    keys = written(tmp_path, 3)
    data = bytearray(file_of(tmp_path).read_bytes())
    data[RECORD_BYTES + 5] ^= 1
    file_of(tmp_path).write_bytes(data)
    with opened(tmp_path) as seen:
        assert [key in seen for key in keys] == [True, False, True]


def test_a_tail_of_zeros_is_nothing(tmp_path: Path) -> None:
    keys = written(tmp_path, 1)
    with file_of(tmp_path).open("ab") as file:
        file.write(bytes(4096))
    with opened(tmp_path) as seen:
        assert keys[0] in seen
        assert len(seen._known) == 1


def test_two_imports_of_one_source_do_not_mix(tmp_path: Path) -> None:
    with opened(tmp_path), pytest.raises(Unavailable, match="another process"):
        opened(tmp_path)
    opened(tmp_path).close()


def test_many_are_read_in_pieces(tmp_path: Path) -> None:
    keys = written(tmp_path, 5000)
    with opened(tmp_path) as seen:
        assert all(key in seen for key in keys)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "imports").write_bytes(b"")
    with pytest.raises(Unavailable, match="journal"):
        opened(tmp_path)
