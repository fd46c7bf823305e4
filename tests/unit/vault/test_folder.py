"""Crash, full disk, dying disk, other processes: what is left, what is said."""

import errno
import fcntl
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from leadglass.errors import (
    Damaged,
    LeadglassError,
    Misconfigured,
    NotFound,
    Unavailable,
)
from leadglass.vault.blobs import BlobName, BlobReader
from leadglass.vault.disk import DISK
from leadglass.vault.folder import FolderBlobs
from tests.unit.vault.faults import Crash, CrashingDisk, FailingDisk, RecordingDisk

A, B = BlobName("aa" + "0" * 30), BlobName("bb" + "0" * 30)
CONTENT = bytes(range(256)) * 100
# So many of it are written past the page cache, and do not end with a block.
LARGE = 7
# More changes of the disk than any story below makes: the loops end before.
STEPS_MAX = 60


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    FolderBlobs.create(tmp_path / "blobs").close()
    return tmp_path / "blobs"


def everything(folder: Path) -> set[str]:
    """All that lies in the store and is not the store itself."""
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and path.name != "leadglass-blobs-1"
    }


def blob_files(folder: Path) -> set[str]:
    return {name for name in everything(folder) if not name.endswith(".lock")}


class TestCreateAndOpen:
    def test_an_unmounted_disk_is_not_an_empty_archive(self, tmp_path: Path) -> None:
        (tmp_path / "mountpoint").mkdir(mode=0o700)
        for path in (tmp_path / "mountpoint", tmp_path / "absent"):
            with pytest.raises(Misconfigured, match="mounted"):
                FolderBlobs.open(path)

    def test_there_is_one_store_in_a_folder(self, folder: Path) -> None:
        with pytest.raises(Misconfigured):
            FolderBlobs.create(folder)

    def test_only_the_owner_may_look(self, tmp_path: Path) -> None:
        before = os.umask(0)
        try:
            store = FolderBlobs.create(tmp_path / "blobs")
            store.put(A, [CONTENT])
            store.put(B, [CONTENT])
            store.settle(B)
            open_writer = store.writer(BlobName.new())
        finally:
            os.umask(before)
        for path in [tmp_path / "blobs", *(tmp_path / "blobs").rglob("*")]:
            mode = stat.S_IMODE(path.lstat().st_mode)
            assert mode == (0o700 if path.is_dir() else 0o600), path
        open_writer.abandon()

    @pytest.mark.parametrize("part", [".", "00", "incoming"])
    def test_a_folder_open_to_others_is_refused(self, folder: Path, part: str) -> None:
        (folder / part).chmod(0o750)
        with pytest.raises(Misconfigured, match="chmod 700"):
            FolderBlobs.open(folder)

    def test_a_link_in_place_of_a_folder_is_refused(self, folder: Path) -> None:
        (folder / "7f").rmdir()
        (folder / "7f").symlink_to("/tmp")
        with pytest.raises(Misconfigured, match="not a folder"):
            FolderBlobs.open(folder)

    def test_creation_goes_on_after_a_crash(self, tmp_path: Path) -> None:
        for step in (0, 1, 2, 3, 100, 258, 259, 260, 261):
            path = tmp_path / str(step)
            disk = CrashingDisk(step)
            with pytest.raises(Crash):
                FolderBlobs.create(path, disk)
            disk.die()
            if (path / "leadglass-blobs-1").exists():
                FolderBlobs.open(path).close()
            else:
                FolderBlobs.create(path).close()


class TestSyncs:
    def test_the_order_of_a_commit(self, folder: Path) -> None:
        disk = RecordingDisk(folder)
        store = FolderBlobs.open(folder, disk)
        own = disk.done[-2][1]
        assert disk.done == [("make_folder", own), ("sync_folder", "incoming")]
        disk.done.clear()
        store.put(A, [b"1", b"2"])
        assert disk.done == [
            ("create", f"{own}/{A}.part"),
            ("write", f"{own}/{A}.part"),
            ("sync_file", f"{own}/{A}.part"),
            ("rename", f"{own}/{A}"),
            ("sync_folder", own),
        ]
        disk.done.clear()
        store.put(B, [CONTENT] * LARGE)
        assert disk.done == [
            ("create", f"{own}/{B}.part"),
            ("write", f"{own}/{B}.part"),
            ("cut", f"{own}/{B}.part"),
            ("sync_file", f"{own}/{B}.part"),
            ("rename", f"{own}/{B}"),
            ("sync_folder", own),
        ]
        disk.done.clear()
        store.settle(A)
        assert disk.done == [("rename", f"aa/{A}")]  # nothing to wait for

    @pytest.mark.parametrize("length", [0, 1, 4095, 4096, 131072, 131073, 135168])
    @pytest.mark.parametrize("more", [0, 1 << 20, (1 << 20) + 4096])
    def test_no_padding_stays(self, folder: Path, length: int, more: int) -> None:
        store = FolderBlobs.open(folder)
        content = bytes(range(1, 252)) * ((length + more) // 251 + 1)
        content = content[: length + more]
        store.put(A, [content[:5], content[5:]])
        assert b"".join(store.get(A)) == content

    def test_without_a_way_past_the_cache_the_cache_takes_it(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(_file: int, command: int, flags: int = 0) -> int:
            if command == fcntl.F_SETFL and flags & os.O_DIRECT:
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
            return 0

        store = FolderBlobs.open(folder)
        monkeypatch.setattr(fcntl, "fcntl", refuse)
        store.put(A, [CONTENT] * LARGE)
        assert b"".join(store.get(A)) == CONTENT * LARGE

    def test_under_a_name_that_was_made_ready_the_folder_is_not_synced(
        self, folder: Path
    ) -> None:
        disk = RecordingDisk(folder)
        store = FolderBlobs.open(folder, disk)
        own = disk.done[-2][1]
        disk.done.clear()
        name = store.new_name()
        made = {path for operation, path in disk.done if operation == "create"}
        assert f"{own}/{name}.part" in made
        assert disk.done[-1] == ("sync_folder", own)
        disk.done.clear()
        store.put(name, [CONTENT] * LARGE)
        assert disk.done == [
            ("write", f"{own}/{name}.part"),
            ("cut", f"{own}/{name}.part"),
            ("sync_file", f"{own}/{name}.part"),
            ("rename", f"{own}/{name}"),
        ]
        disk.done.clear()
        assert f"{own}/{store.new_name()}.part" in made
        assert disk.done == []
        store.settle(name)
        store.close()
        assert everything(folder) == {f"{name[:2]}/{name}"}

    def test_the_deletion_of_a_settled_blob_is_durable(self, folder: Path) -> None:
        disk = RecordingDisk(folder)
        store = FolderBlobs.open(folder, disk)
        store.put(A, [b"x"])
        store.settle(A)
        disk.done.clear()
        store.delete(A)
        assert ("sync_folder", "aa") in disk.done


class TestCrash:
    """After any step: what was acknowledged is there, nothing half is."""

    @pytest.mark.parametrize("settles", [False, True])
    def test_at_every_step_of_storing(self, tmp_path: Path, settles: bool) -> None:
        for step in range(STEPS_MAX):
            path = tmp_path / str(step)
            FolderBlobs.create(path).close()
            disk = CrashingDisk(step)
            committed = settled = False
            try:
                store = FolderBlobs.open(path, disk)
                store.put(A, [CONTENT] * LARGE)
                committed = True
                if settles:
                    store.settle(A)
                    settled = True
            except Crash:
                pass
            disk.die()
            later = FolderBlobs.open(path)
            left = list(later.unsettled())
            assert set(left) <= {A}
            assert not (settled and left)
            if committed:
                assert left == [A] or settles
                assert b"".join(later.get(A)) == CONTENT * LARGE
            for name in left:  # whole, even where no success was said
                assert b"".join(later.get(name)) == CONTENT * LARGE
                later.delete(name)
            assert settled or not blob_files(path)
            assert list(later.unsettled()) == []
            later.close()
            if settled or (committed and not settles):
                return
        pytest.fail("the story did not end")

    def test_at_every_step_of_the_next_start(self, tmp_path: Path) -> None:
        for step in range(STEPS_MAX):
            path = tmp_path / str(step)
            dead = CrashingDisk(10)
            FolderBlobs.create(path).close()
            store = FolderBlobs.open(path, dead)
            store.put(A, [CONTENT])
            with pytest.raises(Crash):
                store.put(B, [CONTENT])
            dead.die()
            disk = CrashingDisk(step)
            try:
                starting = FolderBlobs.open(path, disk)
                for name in starting.unsettled():
                    starting.settle(name)
                ended = True
            except Crash:
                ended = False
            disk.die()
            later = FolderBlobs.open(path)
            for name in later.unsettled():
                later.settle(name)
            assert blob_files(path) == {f"aa/{A}"}
            assert b"".join(later.get(A)) == CONTENT
            later.close()
            if ended:
                return
        pytest.fail("the story did not end")

    def test_at_every_step_of_deleting(self, tmp_path: Path) -> None:
        for step in range(STEPS_MAX):
            path = tmp_path / str(step)
            store = FolderBlobs.create(path)
            store.put(A, [CONTENT])
            store.settle(A)
            store.close()
            disk = CrashingDisk(2 + step)
            deleting = FolderBlobs.open(path, disk)
            try:
                deleting.delete(A)
                ended = True
            except Crash:
                ended = False
            disk.die()
            later = FolderBlobs.open(path)
            assert not (ended and list(later.names()))
            later.delete(A)
            assert list(later.names()) == []
            later.close()
            if ended:
                return
        pytest.fail("the story did not end")


class TestPowerCut:
    """What it may leave of a blob whose file was made ready: its old name."""

    def left_behind(self, folder: Path, *content: bytes) -> BlobName:
        store = FolderBlobs.open(folder)
        name = store.new_name()
        store.put(name, content)
        (whole,) = folder.glob(f"incoming/*/{name}")
        whole.rename(f"{whole}.part")
        store._lock = -1  # it ends here, and tidies nothing up
        return name

    @pytest.mark.parametrize("is_whole", [True, False])
    def test_whether_it_is_whole_is_asked(self, folder: Path, is_whole: bool) -> None:
        name = self.left_behind(folder, CONTENT)
        (lock,) = folder.glob("incoming/*.lock")
        lock.unlink()  # as the kernel frees it with the process
        lock.touch(0o600)
        asked: list[tuple[BlobName, bytes]] = []

        def judge(name: BlobName, reader: BlobReader) -> bool:
            asked.append((name, reader.read(0, reader.size)))
            return is_whole

        later = FolderBlobs.open(folder)
        assert list(later.unsettled(judge)) == ([name] if is_whole else [])
        assert asked == [(name, CONTENT)]
        if is_whole:
            assert b"".join(later.get(name)) == CONTENT
        else:
            assert blob_files(folder) == set()

    def test_both_names_of_one_that_was_settled(self, folder: Path) -> None:
        name = self.left_behind(folder, CONTENT)
        (lock,) = folder.glob("incoming/*.lock")
        lock.unlink()
        lock.touch(0o600)
        (part,) = folder.glob(f"incoming/*/{name}.part")
        (folder / name[:2] / name).hardlink_to(part)
        later = FolderBlobs.open(folder)
        assert list(later.unsettled()) == []
        assert blob_files(folder) == {f"{name[:2]}/{name}"}


CHILD = """
import sys
from pathlib import Path
from leadglass.vault.blobs import BlobName
from leadglass.vault.folder import FolderBlobs
store = FolderBlobs.open(Path(sys.argv[1]))
while True:
    name = BlobName.new()
    store.put(name, [name.encode() * 64] * 40)
    print("committed", name, flush=True)
    if name < "8":
        store.settle(name)
        print("settled", name, flush=True)
"""


class TestKill:
    @pytest.mark.parametrize("lines", [0, 1, 2, 25, 60])
    def test_a_killed_process_loses_nothing_it_acknowledged(
        self, folder: Path, lines: int
    ) -> None:
        with subprocess.Popen(
            [sys.executable, "-c", CHILD, str(folder)],
            stdout=subprocess.PIPE,
            text=True,
        ) as child:
            assert child.stdout is not None
            said = [child.stdout.readline() for _ in range(lines + 1)]
            child.send_signal(signal.SIGKILL)
            said += child.stdout.read().splitlines()
        words = [line.split() for line in said if line.count(" ")]
        committed = {BlobName(w[1]) for w in words if w[0] == "committed"}
        settled = {BlobName(w[1]) for w in words if w[0] == "settled"}

        store = FolderBlobs.open(folder)
        left = set(store.unsettled())
        names = set(store.names())
        assert committed <= names
        assert len(names - committed) <= 1  # the one it could not speak of
        assert not left & settled
        for name in names:
            assert b"".join(store.get(name)) == name.encode() * 64 * 40
        assert not [name for name in everything(folder) if name.endswith(".part")]

    def test_a_living_process_keeps_its_own(self, folder: Path) -> None:
        with subprocess.Popen(
            [sys.executable, "-c", CHILD, str(folder)],
            stdout=subprocess.PIPE,
            text=True,
        ) as child:
            assert child.stdout is not None
            line = ""
            while not line.startswith("committed"):
                line = child.stdout.readline()
            store = FolderBlobs.open(folder)
            assert list(store.unsettled()) == []
            name = BlobName(line.split()[1])
            assert store.size(name) == 64 * 32 * 40  # but all may read them
            child.send_signal(signal.SIGKILL)
            child.stdout.read()


STORING = ("create", "write", "cut", "sync_file", "rename", "sync_folder")


class TestDiskFullOrDying:
    @pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
    @pytest.mark.parametrize("full", [False, True])
    def test_at_every_step_of_storing(
        self, folder: Path, error: int, full: bool
    ) -> None:
        for step in range(STEPS_MAX):
            disk = FailingDisk(2 + step, error, full=full)
            store = FolderBlobs.open(folder, disk)
            if disk.left >= len(STORING):
                store.put(A, [CONTENT] * LARGE)
                assert not disk.failed
                break
            with pytest.raises(Unavailable) as refusal:
                store.put(A, [CONTENT] * LARGE)
            assert str(folder) not in str(refusal.value)
            assert blob_files(folder) == set()  # no space kept, nothing that counts
            with pytest.raises(NotFound):
                store.reader(A)
            disk.full = False
            store.put(B, [CONTENT])  # and the service goes on
            assert b"".join(store.get(B)) == CONTENT
            store.delete(B)
            store.close()
        else:
            pytest.fail("the story did not end")

    def test_a_blob_that_cannot_be_settled_is_kept(self, folder: Path) -> None:
        store = FolderBlobs.open(folder, FailingDisk(7, errno.EIO))
        store.put(A, [CONTENT])
        with pytest.raises(Unavailable):
            store.settle(A)
        assert b"".join(store.get(A)) == CONTENT
        store.close()
        assert list(FolderBlobs.open(folder).unsettled()) == [A]

    def test_opening_fails_as_ours(self, folder: Path) -> None:
        for step in range(2):
            with pytest.raises(Unavailable):
                FolderBlobs.open(folder, FailingDisk(step, errno.ENOSPC))


class TestHostileFolder:
    def test_a_link_in_the_place_of_a_blob_is_not_followed(
        self, folder: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "elsewhere").write_bytes(b"secret")
        (folder / "aa" / A).symlink_to(tmp_path / "elsewhere")
        store = FolderBlobs.open(folder)
        with pytest.raises(Damaged):
            store.reader(A)
        assert list(store.names()) == []

    def test_a_pipe_in_the_place_of_a_blob_does_not_hang(self, folder: Path) -> None:
        os.mkfifo(folder / "aa" / A)
        with pytest.raises(Damaged):
            FolderBlobs.open(folder).reader(A)

    def test_a_link_in_the_place_of_the_temporary_file(
        self, folder: Path, tmp_path: Path
    ) -> None:
        store = FolderBlobs.open(folder)
        (own,) = (p for p in (folder / "incoming").iterdir() if p.is_dir())
        (own / f"{A}.part").symlink_to(tmp_path / "target")
        with pytest.raises(LeadglassError):
            store.put(A, [b"x"])
        assert not (tmp_path / "target").exists()

    def test_foreign_files_are_no_blobs(self, folder: Path) -> None:
        (folder / "aa" / "README").write_text("x")
        (folder / "incoming" / "stray.lock").write_text("")
        (folder / "incoming" / "stray").mkdir()
        (folder / "incoming" / "stray" / "note").write_text("x")
        store = FolderBlobs.open(folder)
        assert list(store.names()) == list(store.unsettled()) == []

    def test_a_blob_cut_short_while_open_is_damage(self, folder: Path) -> None:
        store = FolderBlobs.open(folder)
        store.put(A, [CONTENT])
        with store.reader(A) as reader:
            (path,) = folder.glob(f"incoming/*/{A}")
            os.truncate(path, 10)
            with pytest.raises(Damaged):
                reader.read(0, 11)


class TestSeveralProcesses:
    def test_each_has_its_own_place_and_reads_all(self, folder: Path) -> None:
        one, two = FolderBlobs.open(folder), FolderBlobs.open(folder)
        one.put(A, [b"one"])
        two.put(B, [b"two"])
        assert b"".join(two.get(A)) == b"one"
        two.settle(A)
        assert b"".join(one.get(A)) == b"one"
        one.delete(B)
        with pytest.raises(NotFound):
            two.reader(B)

    def test_while_one_looks_after_the_dead_another_does_not(
        self, folder: Path
    ) -> None:
        dead = FolderBlobs.open(folder)
        dead.put(A, [b"x"])
        dead.close()
        one, two = FolderBlobs.open(folder), FolderBlobs.open(folder)
        working = one.unsettled()
        assert next(working) == A
        assert list(two.unsettled()) == []
        working.close()  # type: ignore[attr-defined]
        assert list(two.unsettled()) == [A]

    def test_a_place_swept_before_it_was_locked_is_not_used(self, folder: Path) -> None:
        class Swept(type(DISK)):  # type: ignore[misc]
            sweeps = 0

            def lock(
                self, path: str, *, shared: bool = False, wait: bool = True
            ) -> int | None:
                file: int | None = super().lock(path, shared=shared, wait=wait)
                if not self.sweeps:
                    self.sweeps += 1
                    Path(path).unlink()
                return file

        store = FolderBlobs.open(folder, Swept())
        assert len(list((folder / "incoming").iterdir())) == 2
        store.put(A, [b"x"])

    def test_closing_leaves_nothing(self, folder: Path) -> None:
        store = FolderBlobs.open(folder)
        store.put(A, [b"x"])
        store.settle(A)
        store.close()
        store.close()
        assert list((folder / "incoming").iterdir()) == []
