"""The checkpoint file: whole notes, in order, and not for ever more of them."""

from pathlib import Path
from threading import Thread

import pytest

from leadglass.audit import checkpoint_file
from leadglass.audit.checkpoint import Signer, parse
from leadglass.audit.checkpoint_file import FILE_BYTES_MAX, CheckpointFile
from leadglass.errors import Unavailable
from tests.unit.audit.surroundings import ORIGIN, SIGNING_KEY

SIGNER = Signer(ORIGIN, SIGNING_KEY)


def note(size: int) -> str:
    return SIGNER.sign(size, size.to_bytes(32, "big"))


def sizes(file: CheckpointFile) -> list[int]:
    return [parse(each).size for each in file.notes()]


def test_notes_are_kept_in_order(tmp_path: Path) -> None:
    file = CheckpointFile(tmp_path)
    assert not file.exists()
    assert file.notes() == []
    assert file.last() is None
    for size in (0, 5, 5, 3, 9):
        file.append(note(size))
    assert file.exists()
    assert sizes(file) == [0, 5, 9]
    assert file.last() == note(9)
    assert (tmp_path / "checkpoints").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("cut", [1, 30, 70, 100, len(note(5).encode()) - 1])
def test_a_torn_note_is_cut_off(tmp_path: Path, cut: int) -> None:
    file = CheckpointFile(tmp_path)
    file.append(note(1))
    whole = (tmp_path / "checkpoints").read_bytes()
    (tmp_path / "checkpoints").write_bytes(whole + note(5).encode()[:cut])
    assert file.last() == note(1)
    file.append(note(7))
    assert sizes(file) == [1, 7]


def test_a_file_that_grew_long_is_thinned(tmp_path: Path) -> None:
    file = CheckpointFile(tmp_path)
    count = FILE_BYTES_MAX // len(note(10_000).encode()) + 10
    text = "".join(note(10_000 + number) for number in range(count))
    (tmp_path / "checkpoints").write_text(text, "utf-8")
    file.append(note(90_000))
    kept = sizes(file)
    assert kept == sorted(set(kept))
    assert count / 2 < len(kept) < 0.7 * count
    assert (kept[0], kept[-1]) == (10_000, 90_000)
    file.append(note(90_001))
    assert sizes(file)[-2:] == [90_000, 90_001]
    assert not (tmp_path / "checkpoints.new").exists()


def test_many_may_append(tmp_path: Path) -> None:
    files = [CheckpointFile(tmp_path) for _ in range(4)]
    limit = checkpoint_file.FILE_BYTES_MAX

    def work(begin: int) -> None:
        for size in range(begin, 80, 4):
            files[begin].append(note(size))

    threads = [Thread(target=work, args=(begin,)) for begin in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = sizes(files[0])
    assert found == sorted(set(found))
    assert found[-1] == 79
    assert limit == checkpoint_file.FILE_BYTES_MAX


def test_a_superseded_file_is_kept(tmp_path: Path) -> None:
    file = CheckpointFile(tmp_path)
    file.supersede()
    for size in (1, 2):
        file.append(note(size))
        file.supersede()
        assert not file.exists()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["checkpoints-superseded-1", "checkpoints-superseded-2"]


def test_a_folder_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    file = CheckpointFile(tmp_path / "plain")
    with pytest.raises(Unavailable):
        file.append(note(1))
    with pytest.raises(Unavailable):
        file.notes()
    with pytest.raises(Unavailable):
        CheckpointFile(tmp_path / "gone").append(note(1))
