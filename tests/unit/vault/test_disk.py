"""The real disk's own promises, and the shared sync."""

import errno
import os
import threading
from pathlib import Path

import pytest

from leadglass.errors import Misconfigured
from leadglass.vault.disk import DISK, SharedSync, read_small, write_small


class TestDisk:
    def test_writing_and_reading_go_on_until_all_is_done(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write, preadv = os.write, os.preadv
        monkeypatch.setattr(os, "write", lambda f, data: write(f, bytes(data)[:7]))
        monkeypatch.setattr(
            os, "preadv", lambda f, into, at: preadv(f, [into[0][:5]], at)
        )
        path = str(tmp_path / "file")
        write_small(DISK, path, bytes(range(100)))
        assert read_small(DISK, path, 1000) == bytes(range(100))
        assert read_small(DISK, path, 9) == bytes(range(10))  # one more: too long

    def test_a_file_is_not_created_twice(self, tmp_path: Path) -> None:
        write_small(DISK, str(tmp_path / "file"), b"first")
        with pytest.raises(FileExistsError):
            write_small(DISK, str(tmp_path / "file"), b"second")
        assert (tmp_path / "file").read_bytes() == b"first"

    def test_links_are_not_followed(self, tmp_path: Path) -> None:
        (tmp_path / "target").write_bytes(b"x")
        link = str(tmp_path / "link")
        Path(link).symlink_to(tmp_path / "target")
        for attempt in (DISK.open, DISK.open_to_overwrite, DISK.touch, DISK.lock):
            with pytest.raises(OSError, match="symbolic") as refusal:
                attempt(link)
            assert refusal.value.errno == errno.ELOOP
        with pytest.raises(FileExistsError):
            DISK.create(link)
        with pytest.raises(OSError, match="directory"):
            DISK.sync_folder(link)
        assert "link" not in list(DISK.entries(str(tmp_path)))

    def test_anothers_folder_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: 54321)
        with pytest.raises(Misconfigured, match="another user"):
            DISK.check_folder("/")

    def test_locks_exclude_and_share(self, tmp_path: Path) -> None:
        path = str(tmp_path / "lock")
        one, two = DISK.lock(path, shared=True), DISK.lock(path, shared=True)
        assert one is not None
        assert two is not None
        assert DISK.lock(path, wait=False) is None
        DISK.close(one)
        DISK.close(two)
        alone = DISK.lock(path, wait=False)
        assert alone is not None
        assert DISK.lock(path, shared=True, wait=False) is None
        DISK.close(alone)

    def test_a_touch_always_shows(self, tmp_path: Path) -> None:
        path = str(tmp_path / "mark")
        stamps = set()
        for _ in range(50):
            DISK.touch(path)
            stamps.add(DISK.stamp(path))
        assert len(stamps) == 50


class TestSharedSync:
    def test_those_who_come_during_a_sync_share_the_next(self) -> None:
        begun, go_on = threading.Event(), threading.Event()
        syncs: list[int] = []

        def sync() -> None:
            syncs.append(1)
            if len(syncs) == 1:
                begun.set()
                assert go_on.wait(30)

        shared = SharedSync(sync)
        threads = [threading.Thread(target=shared) for _ in range(6)]
        threads[0].start()
        assert begun.wait(30)
        for thread in threads[1:]:
            thread.start()
        while (batch := shared._gathering) is None or batch.members < 5:
            threading.Event().wait(0)
        go_on.set()
        for thread in threads:
            thread.join()
        assert len(syncs) == 2  # none of the five could trust the first

    def test_a_failure_is_told_to_all_who_waited_and_to_no_other(self) -> None:
        broken = True

        def sync() -> None:
            if broken:
                raise OSError(errno.EIO, "gone")

        shared = SharedSync(sync)
        with pytest.raises(OSError, match="shared sync failed") as refusal:
            shared()
        assert refusal.value.errno == errno.EIO
        broken = False
        shared()

    def test_an_interrupted_sync_leaves_nobody_waiting(self) -> None:
        calls: list[int] = []

        def sync() -> None:
            calls.append(1)
            if len(calls) == 1:
                raise KeyboardInterrupt

        shared = SharedSync(sync)
        with pytest.raises(KeyboardInterrupt):
            shared()
        shared()
        assert len(calls) == 2
