"""The keyring: its promises, and that no crash or neighbour breaks them."""

import errno
import os
import signal
import stat
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from leadglass.errors import BadData, Damaged, Misconfigured, NotFound, Unavailable
from leadglass.vault import keys
from leadglass.vault.keyfiles import Argon2Cost
from leadglass.vault.keys import KeyFile, KeyId, Keyring, Passphrase
from tests.unit.vault.faults import Crash, CrashingDisk, FailingDisk, RecordingDisk

STEPS_MAX = 60
CHEAP = Argon2Cost(memory_kib=64, passes=1, lanes=1)


@pytest.fixture
def folder(tmp_path: Path, keyring: Keyring) -> Path:
    assert keyring
    return tmp_path / "data" / "keys"


def key_path(folder: Path, key_id: KeyId) -> Path:
    return folder / key_id[:2] / key_id


class TestCreateAndOpen:
    def test_the_same_root_and_studies_after_a_restart(
        self, folder: Path, keyring: Keyring, master: KeyFile
    ) -> None:
        key_id = keyring.new_study_key()
        later = Keyring.open(folder, master)
        assert later.derive("database") == keyring.derive("database")
        assert later.study_key(key_id) == keyring.study_key(key_id)
        assert list(later.key_ids()) == [key_id]

    def test_each_purpose_has_its_own_key(self, keyring: Keyring) -> None:
        assert len({keyring.derive(p) for p in ("database", "authority", "x")}) == 3
        assert len(keyring.derive("database")) == 32

    def test_only_the_owner_may_look(self, folder: Path, keyring: Keyring) -> None:
        keyring.new_study_key()
        for path in [folder, *folder.rglob("*")]:
            mode = stat.S_IMODE(path.lstat().st_mode)
            assert mode == (0o700 if path.is_dir() else 0o600), path

    def test_another_master_key_is_told_so(self, folder: Path, tmp_path: Path) -> None:
        other = KeyFile(tmp_path / "other.key", outside=tmp_path / "data")
        other.create()
        with pytest.raises(Misconfigured, match="does not open"):
            Keyring.open(folder, other)

    def test_no_keyring_is_told_so(self, tmp_path: Path, master: KeyFile) -> None:
        assert not Keyring.exists(tmp_path)
        with pytest.raises(Misconfigured, match="no keyring"):
            Keyring.open(tmp_path, master)

    def test_a_lost_keyring_is_not_replaced_by_a_new_one(
        self, folder: Path, keyring: Keyring, master: KeyFile
    ) -> None:
        assert Keyring.exists(folder)
        with pytest.raises(Misconfigured, match="already"):
            Keyring.create(folder, master)
        keyring.new_study_key()
        (folder / "keyring").unlink()
        with pytest.raises(Misconfigured, match="backup"):
            Keyring.create(folder, master)

    def test_a_rotten_keyring_is_damaged(self, folder: Path, master: KeyFile) -> None:
        rotten = bytearray((folder / "keyring").read_bytes())
        rotten[30] ^= 4
        (folder / "keyring").write_bytes(rotten)
        with pytest.raises(Damaged):
            Keyring.open(folder, master)

    def test_an_open_folder_is_refused(self, folder: Path, master: KeyFile) -> None:
        (folder / "3c").chmod(0o755)
        with pytest.raises(Misconfigured, match="chmod 700"):
            Keyring.open(folder, master)

    def test_a_passphrase_opens_it_as_well(self, tmp_path: Path) -> None:
        phrase = Passphrase(b"correct horse battery staple")
        made = Keyring.create(tmp_path / "keys", phrase, cost=CHEAP)
        key_id = made.new_study_key()
        later = Keyring.open(tmp_path / "keys", phrase, cost=CHEAP)
        assert later.study_key(key_id) == made.study_key(key_id)

    def test_creation_goes_on_after_a_crash(
        self, tmp_path: Path, master: KeyFile
    ) -> None:
        for step in (0, 1, 2, 100, 258, 259, 260, 261, 262, 263, 264):
            path = tmp_path / str(step)
            disk = CrashingDisk(step)
            with pytest.raises(Crash):
                Keyring.create(path, master, disk)
            disk.die()
            if Keyring.exists(path):
                keyring = Keyring.open(path, master)
            else:
                keyring = Keyring.create(path, master)
            keyring.study_key(keyring.new_study_key())


class TestStudyKeys:
    def test_a_new_key_is_durable_on_return(
        self, folder: Path, master: KeyFile
    ) -> None:
        disk = RecordingDisk(folder)
        keyring = Keyring.open(folder, master, disk)
        disk.done.clear()
        key_id = keyring.new_study_key()
        assert disk.done == [
            ("create", f"new/{key_id}"),
            ("write", f"new/{key_id}"),
            ("sync_file", f"new/{key_id}"),
            ("rename", f"{key_id[:2]}/{key_id}"),
            ("sync_folder", key_id[:2]),
        ]

    def test_names_are_checked(self, keyring: Keyring) -> None:
        for text in ("", "../keyring", "A" * 32):
            with pytest.raises(BadData):
                KeyId(text)
        with pytest.raises(NotFound):
            keyring.study_key(KeyId.new())
        assert KeyId.of(KeyId("0f" * 16).raw) == "0f" * 16

    def test_a_rotten_file_is_damaged(
        self, folder: Path, keyring: Keyring, master: KeyFile
    ) -> None:
        key_id = keyring.new_study_key()
        file = bytearray(key_path(folder, key_id).read_bytes())
        file[40] ^= 1
        key_path(folder, key_id).write_bytes(file)
        with pytest.raises(Damaged):
            Keyring.open(folder, master).study_key(key_id)

    def test_a_file_under_anothers_name_is_damaged(
        self, folder: Path, keyring: Keyring, master: KeyFile
    ) -> None:
        one, two = keyring.new_study_key(), keyring.new_study_key()
        key_path(folder, one).write_bytes(key_path(folder, two).read_bytes())
        with pytest.raises(Damaged):
            Keyring.open(folder, master).study_key(one)

    def test_the_cache_is_bounded(
        self, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(keys, "_STUDY_KEYS_CACHED_MAX", 4)
        ids = [keyring.new_study_key() for _ in range(10)]
        assert [keyring.study_key(i) for i in ids] == [
            keyring.study_key(i) for i in ids
        ]
        assert len(keyring._study_keys) == 4

    @pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
    def test_a_full_or_dying_disk_leaves_nothing(
        self, folder: Path, master: KeyFile, error: int
    ) -> None:
        for step in range(5):
            disk = FailingDisk(10_000, error)
            keyring = Keyring.open(folder, master, disk)
            disk.left = step
            with pytest.raises(Unavailable):
                keyring.new_study_key()
            assert not [*keyring.key_ids(), *(folder / "new").iterdir()]
            keyring.destroy(keyring.new_study_key())

    def test_crash_at_every_step(
        self, folder: Path, master: KeyFile, keyring: Keyring
    ) -> None:
        kept = keyring.new_study_key()
        for step in range(STEPS_MAX):
            disk = CrashingDisk(10_000)
            crashing = Keyring.open(folder, master, disk)
            disk.left = step
            before = set(keyring.key_ids())
            try:
                done = crashing.new_study_key()
            except Crash:
                done = None
            disk.die()
            later = Keyring.open(folder, master)
            assert list((folder / "new").iterdir()) == []
            for key_id in set(later.key_ids()) - before:
                later.study_key(key_id)  # whole, even where nobody knows it
            assert later.study_key(kept) == keyring.study_key(kept)
            if done:
                assert later.study_key(done)
                return
        pytest.fail("the story did not end")


class TestDestroy:
    def test_it_is_gone_everywhere(
        self, folder: Path, keyring: Keyring, master: KeyFile
    ) -> None:
        key_id, other = keyring.new_study_key(), keyring.new_study_key()
        neighbour = Keyring.open(folder, master)
        neighbour.study_key(key_id)
        keyring.destroy(key_id)
        keyring.destroy(key_id)
        with pytest.raises(NotFound):
            keyring.study_key(key_id)
        assert neighbour.reload_if_changed()
        assert not neighbour.reload_if_changed()
        with pytest.raises(NotFound):
            neighbour.study_key(key_id)
        assert list(neighbour.key_ids()) == [other]

    def test_the_file_is_overwritten_before_it_is_removed(
        self, folder: Path, keyring: Keyring
    ) -> None:
        key_id = keyring.new_study_key()
        os.link(key_path(folder, key_id), folder / "witness")
        keyring.destroy(key_id)
        assert (folder / "witness").read_bytes() == bytes(72)

    def test_crash_at_every_step(
        self, folder: Path, master: KeyFile, keyring: Keyring
    ) -> None:
        for step in range(STEPS_MAX):
            key_id = keyring.new_study_key()
            study_key = keyring.study_key(key_id)
            disk = CrashingDisk(10_000)
            crashing = Keyring.open(folder, master, disk)
            disk.left = step
            try:
                crashing.destroy(key_id)
                ended = True
            except Crash:
                ended = False
            disk.die()
            later = Keyring.open(folder, master)
            try:
                assert later.study_key(key_id) == study_key
                assert not ended
            except NotFound:
                pass
            later.destroy(key_id)
            assert list(later.key_ids()) == []
            if ended:
                return
        pytest.fail("the story did not end")

    def test_a_key_destroyed_while_it_is_read_is_not_remembered(
        self, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        key_id = keyring.new_study_key()
        keyring._forget()
        unwrap = keyring._unwrap

        def slow(wanted: KeyId) -> bytes:
            study_key = unwrap(wanted)
            keyring.destroy(wanted)
            return study_key

        monkeypatch.setattr(keyring, "_unwrap", slow)
        keyring.study_key(key_id)
        monkeypatch.undo()
        with pytest.raises(NotFound):
            keyring.study_key(key_id)


def rotate(keyring: Keyring, master: KeyFile) -> keys.Rotation:
    return keyring.rotate(master.stage(), install=master.install)


class TestRotate:
    def test_all_goes_on_with_the_new_master_key_alone(
        self, folder: Path, keyring: Keyring, master: KeyFile, tmp_path: Path
    ) -> None:
        ids = [keyring.new_study_key() for _ in range(5)]
        before = {i: keyring.study_key(i) for i in ids}
        root = keyring.derive("database")
        (tmp_path / "old.key").write_bytes(master.path.read_bytes())
        (tmp_path / "old.key").chmod(0o600)
        files = {i: key_path(folder, i).read_bytes() for i in ids}
        done = rotate(keyring, master)
        assert (done.rewrapped, done.dropped_wrapping_keys, done.damaged) == (5, 0, ())
        later = Keyring.open(folder, master)
        assert not later.rotation_is_unfinished
        assert later.derive("database") == root
        assert {i: later.study_key(i) for i in ids} == before
        assert all(key_path(folder, i).read_bytes() != files[i] for i in ids)
        with pytest.raises(Misconfigured):
            Keyring.open(
                folder, KeyFile(tmp_path / "old.key", outside=tmp_path / "data")
            )

    def test_a_file_put_back_from_a_backup_opens_until_the_rotation_after(
        self, folder: Path, keyring: Keyring, master: KeyFile
    ) -> None:
        key_id = keyring.new_study_key()
        backup = key_path(folder, key_id).read_bytes()
        rotate(keyring, master)
        key_path(folder, key_id).write_bytes(backup)
        assert Keyring.open(folder, master).study_key(key_id)
        assert rotate(keyring, master).dropped_wrapping_keys == 1  # number 2
        assert rotate(keyring, master).dropped_wrapping_keys == 1  # number 1
        key_path(folder, key_id).write_bytes(backup)
        with pytest.raises(Damaged):
            Keyring.open(folder, master).study_key(key_id)

    def test_a_running_neighbour_notices(
        self, folder: Path, keyring: Keyring, master: KeyFile
    ) -> None:
        neighbour = Keyring.open(folder, master)
        assert not neighbour.reload_if_changed()
        key_id = keyring.new_study_key()
        rotate(keyring, master)
        assert neighbour.study_key(key_id) == keyring.study_key(key_id)
        assert not neighbour.reload_if_changed()
        assert neighbour.generation == keyring.generation == 3
        rotate(keyring, master)
        assert keyring.study_key(neighbour.new_study_key())
        assert neighbour.generation == 5

    def test_a_neighbour_without_the_new_master_key_fails_closed(
        self, tmp_path: Path
    ) -> None:
        folder, old = tmp_path / "keys", Passphrase(b"the first of my phrases")
        one = Keyring.create(folder, old, cost=CHEAP)
        two = Keyring.open(folder, old, cost=CHEAP)
        cached, other = two.new_study_key(), one.new_study_key()
        one.rotate(Passphrase(b"the second of my phrases"))
        with pytest.raises(Unavailable):
            two.reload_if_changed()
        with pytest.raises(Unavailable):
            two.new_study_key()
        with pytest.raises(Unavailable):
            two.study_key(other)
        assert two.study_key(cached) == one.study_key(cached)

    def test_from_a_key_file_to_a_passphrase(
        self, folder: Path, keyring: Keyring, master: KeyFile
    ) -> None:
        key_id = keyring.new_study_key()
        phrase = Passphrase(b"nothing to carry around")
        keyring.rotate(phrase)
        rotate_again = keyring.new_study_key()
        later = Keyring.open(folder, phrase)
        assert later.study_key(key_id) == keyring.study_key(key_id)
        assert later.study_key(rotate_again) == keyring.study_key(rotate_again)
        with pytest.raises(Misconfigured):
            Keyring.open(folder, master)

    def test_crash_at_every_step(
        self, folder: Path, keyring: Keyring, master: KeyFile, tmp_path: Path
    ) -> None:
        ids = [keyring.new_study_key() for _ in range(3)]
        before = {i: keyring.study_key(i) for i in ids}
        for step in range(STEPS_MAX):
            disk = CrashingDisk(10_000)
            own = KeyFile(master.path, outside=tmp_path / "data", disk=disk)
            crashing = Keyring.open(folder, own, disk)
            disk.left = step
            try:
                rotate(crashing, own)
                ended = True
            except Crash:
                ended = False
            disk.die()
            later = Keyring.open(folder, master)  # the installed one, always
            assert {i: later.study_key(i) for i in ids} == before
            later.destroy(later.new_study_key())
            rotate(later, master)
            assert not Keyring.open(folder, master).rotation_is_unfinished
            if ended:
                return
        pytest.fail("the story did not end")

    @pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
    def test_a_full_or_dying_disk_at_every_step(
        self, folder: Path, keyring: Keyring, master: KeyFile, error: int
    ) -> None:
        key_id = keyring.new_study_key()
        study_key = keyring.study_key(key_id)
        for step in range(STEPS_MAX):
            disk = FailingDisk(10_000, error)
            failing = Keyring.open(folder, master, disk)
            staged = master.stage()
            disk.left = step
            with suppress(Unavailable):
                failing.rotate(staged, install=master.install)
            ended = not disk.failed
            disk.left = 10_000
            assert Keyring.open(folder, master).study_key(key_id) == study_key
            rotate(failing, master)
            assert Keyring.open(folder, master).study_key(key_id) == study_key
            if ended:
                return
        pytest.fail("the story did not end")

    def test_a_rotten_study_key_is_reported_and_stops_nothing(
        self, folder: Path, keyring: Keyring, master: KeyFile
    ) -> None:
        good, bad = keyring.new_study_key(), keyring.new_study_key()
        key_path(folder, bad).write_bytes(b"rotten")
        done = rotate(keyring, master)
        assert (done.rewrapped, done.damaged) == (1, (bad,))
        assert rotate(keyring, master).dropped_wrapping_keys == 0
        assert Keyring.open(folder, master).study_key(good)

    def test_one_at_a_time(
        self, keyring: Keyring, master: KeyFile, folder: Path
    ) -> None:
        refused: list[Unavailable] = []

        def meanwhile() -> None:
            with pytest.raises(Unavailable, match="another rotation") as refusal:
                Keyring.open(folder, master).rotate(master)
            refused.append(refusal.value)
            master.install()

        keyring.rotate(master.stage(), install=meanwhile)
        assert refused

    def test_a_study_erased_during_a_rotation_does_not_come_back(
        self, folder: Path, keyring: Keyring, master: KeyFile
    ) -> None:
        key_id = keyring.new_study_key()

        class Meddling(RecordingDisk):
            def sync_file(self, file: int) -> None:
                super().sync_file(file)
                if self.paths[file].endswith(f"new/{key_id}"):
                    keyring.destroy(key_id)

        rotating = Keyring.open(folder, master, Meddling(folder))
        rotate(rotating, master)
        assert not [*keyring.key_ids(), *(folder / "new").iterdir()]
        with pytest.raises(NotFound):
            Keyring.open(folder, master).study_key(key_id)


DRAWS = """
import sys
from pathlib import Path
from leadglass.vault.keys import KeyFile, Keyring
folder = Path(sys.argv[1])
master = KeyFile(Path(sys.argv[2]), outside=folder)
keyring = Keyring.open(folder, master)
while True:
    key_id = keyring.new_study_key()
    print("drew", key_id, keyring.study_key(key_id).hex(), ".", flush=True)
    if key_id < "8":
        print("destroying", key_id, ".", flush=True)
        keyring.destroy(key_id)
        print("destroyed", key_id, ".", flush=True)
"""

ROTATES = """
import sys
from pathlib import Path
from leadglass.vault.keys import KeyFile, Keyring
folder = Path(sys.argv[1])
master = KeyFile(Path(sys.argv[2]), outside=folder)
keyring = Keyring.open(folder, master)
while True:
    print(keyring.rotate(master.stage(), install=master.install).generation, flush=True)
"""


def child(code: str, folder: Path, master: KeyFile) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, str(folder), str(master.path)],
        stdout=subprocess.PIPE,
        text=True,
    )


class TestKill:
    @pytest.mark.parametrize("lines", [1, 2, 4, 9])
    def test_drawing_destroying_and_rotating_at_once_and_killed(
        self, folder: Path, master: KeyFile, lines: int
    ) -> None:
        with (
            child(DRAWS, folder, master) as draws,
            child(ROTATES, folder, master) as rotates,
        ):
            assert draws.stdout is not None
            assert rotates.stdout is not None
            said = [draws.stdout.readline() for _ in range(lines)]
            generations = [rotates.stdout.readline() for _ in range(lines)]
            rotates.send_signal(signal.SIGKILL)
            draws.send_signal(signal.SIGKILL)
            said += draws.stdout.read().splitlines()
            rotates.stdout.read()
        assert all(generations)
        later = Keyring.open(folder, master)
        lines_said = [line.split() for line in said if line.rstrip().endswith(".")]
        drawn = {KeyId(w[1]): w[2] for w in lines_said if w[0] == "drew"}
        destroying = {w[1] for w in lines_said if w[0] == "destroying"}
        destroyed = {w[1] for w in lines_said if w[0] == "destroyed"}
        for key_id, study_key in drawn.items():
            if key_id in destroyed:
                with pytest.raises(NotFound):
                    later.study_key(key_id)
            elif key_id not in destroying:
                assert later.study_key(key_id).hex() == study_key
        for key_id in later.key_ids():  # whole, or of zeros: being destroyed
            with suppress(NotFound):
                later.study_key(key_id)
        rotate(later, master)


class TestThreads:
    def test_many_at_once(self, keyring: Keyring, master: KeyFile) -> None:
        ids = [keyring.new_study_key() for _ in range(20)]
        right = {i: keyring.study_key(i) for i in ids}
        wrong: list[object] = []

        def work(number: int) -> None:
            try:
                for i in ids * 5:
                    if number == 0:
                        keyring._forget()
                    if keyring.study_key(i) != right[i]:
                        wrong.append(i)
                fresh = keyring.new_study_key()
                keyring.study_key(fresh)
                keyring.destroy(fresh)
            except Exception as error:  # noqa: BLE001 - shown by the assertion below
                wrong.append(error)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
        for thread in threads:
            thread.start()
        rotate(keyring, master)
        for thread in threads:
            thread.join()
        assert not wrong
        assert sorted(keyring.key_ids()) == sorted(ids)
