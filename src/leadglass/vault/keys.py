"""The keyring: one root secret, wrapping keys, and a wrapped key for each study.

::

    master key (outside)  opens  FOLDER/keyring      root secret, wrapping keys
    root secret           derives the keys of the database, the CA, the locators …
    wrapping key          wraps  FOLDER/00 … ff/ID   one study key each
    study key             seals  the blobs of one study

    FOLDER/new/ID      a study key file that is being written
    FOLDER/destroyed   touched when a study key is destroyed
    FOLDER/lock, FOLDER/rotation.lock

Nothing but a master key is needed besides the folder, and no blob is rewritten
when the master key changes. Crash stories:

``new_study_key``: create new/ID → sync → rename to its folder → folder sync. Before
the rename the file is swept at the next ``open``; after it there may be a key that
no study has: harmless, and found by ``key_ids`` against the index.

``destroy``: overwrite with zeros → sync → remove → folder sync → touch. After the
first sync the key is gone: a file of zeros counts as no file.

``rotate``: at no step is there a keyring that the installed master key cannot open,
or a study key file whose wrapping key is not in the ring.

    1  keyring := old slot + new slot, with one wrapping key more
    2  each study key file := the same key under the new wrapping key
    3  the new master key is installed in the old one's place (``install``)
    4  keyring := new slot only, without the wrapping keys that were not in use

A crash after 1 or 2 leaves both master keys good, after 3 too; ``rotate`` again
finishes it. Wrapping keys that were still in use before 2 stay until a later
rotation finds them unused, so a single file put back from a backup still opens.

Several processes may have the same keyring open. A change of the ring, a file
changed by a rotation and a destruction take ``lock`` for themselves for a moment;
drawing a study key shares it and looks for a new ring first.
"""

import re
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from leadglass.errors import (
    BadData,
    Damaged,
    Misconfigured,
    NotFound,
    Unavailable,
)
from leadglass.vault.disk import (
    DISK,
    SPREAD,
    Disk,
    Stamp,
    disk_errors,
    make_folders,
    read_small,
    write_small,
)
from leadglass.vault.keyfiles import (
    ARGON2_COST,
    KEYRING_BYTES_MAX,
    STUDY_KEY_FILE_BYTES,
    Argon2Cost,
    Ring,
    is_scrubbed,
    open_ring,
    seal_ring,
    unwrap_study_key,
    wrap_study_key,
    wrapping_number,
)
from leadglass.vault.masters import (
    KeyFile,
    MasterKey,
    MasterKind,
    Passphrase,
    PassphraseFile,
    SystemdCredential,
)
from leadglass.vault.stream import KEY_BYTES, derive

__all__ = [
    "KeyFile",
    "KeyId",
    "Keyring",
    "MasterKey",
    "MasterKind",
    "Passphrase",
    "PassphraseFile",
    "Rotation",
    "SystemdCredential",
]

_KEY_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)
_KEY_ID_BYTES = 16
# 4096 studies at work at once in one process; 32 bytes each and the id.
_STUDY_KEYS_CACHED_MAX = 4096

_KEYRING = "keyring"
_KEYRING_NEW = "keyring.new"
_NEW = "new"
_LOCK = "lock"
_ROTATION_LOCK = "rotation.lock"
_DESTROYED = "destroyed"


class KeyId(str):
    """Names a study key: 32 lowercase hex digits, random.

    Raises:
        BadData: The text is anything else.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """Check the text."""
        if not _KEY_ID.fullmatch(text):
            raise BadData("not a key id")
        return super().__new__(cls, text)

    @classmethod
    def new(cls) -> Self:
        """Draw an id that no key has."""
        return cls.of(secrets.token_bytes(_KEY_ID_BYTES))

    @classmethod
    def of(cls, raw: bytes) -> Self:
        """Return the id with these 16 bytes."""
        assert len(raw) == _KEY_ID_BYTES
        return super().__new__(cls, raw.hex())

    @property
    def raw(self) -> bytes:
        """The id as 16 bytes."""
        return bytes.fromhex(self)


@dataclass(frozen=True, slots=True)
class Rotation:
    """What a rotation did."""

    generation: int
    rewrapped: int
    dropped_wrapping_keys: int
    damaged: tuple[KeyId, ...]


@dataclass(frozen=True, slots=True)
class _State:
    """The ring as last read; replaced whole, so readers need no lock."""

    ring: Ring
    slots: int
    stamp: Stamp


class Keyring:
    """An open keyring; safe for use from many threads and processes."""

    def __init__(
        self, folder: Path, master: MasterKey, disk: Disk, cost: Argon2Cost
    ) -> None:
        """Read the keyring; use ``create`` or ``open``."""
        self._root = str(folder)
        self._master = master
        self._disk = disk
        self._cost = cost
        self._guard = threading.Lock()
        self._reloading = threading.Lock()
        self._study_keys: OrderedDict[KeyId, bytes] = OrderedDict()
        self._forgotten = 0  # times that the cache had to forget something
        self._destroyed: Stamp = disk.stamp(self._path(_DESTROYED))
        self._state = self._load()

    @staticmethod
    def exists(folder: Path) -> bool:
        """Tell whether there is a keyring in the folder."""
        return DISK.exists(f"{folder}/{_KEYRING}")

    @classmethod
    def create(
        cls,
        folder: Path,
        master: MasterKey,
        disk: Disk = DISK,
        cost: Argon2Cost = ARGON2_COST,
    ) -> "Keyring":
        """Make a keyring where there is none; ``folder``'s parent exists.

        The keyring file comes last: without it there is no keyring, and calling
        again goes on from there.

        Raises:
            Misconfigured: There is one, or there are study keys without one; or
                the folder or the master key is not safe.
            Unavailable: The disk refused.
        """
        root = str(folder)
        with disk_errors():
            if disk.exists(f"{root}/{_KEYRING}"):
                raise Misconfigured(f"{root} has a keyring already: open it")
            disk.make_folder(root)
            disk.check_folder(root)
            disk.sync_folder(str(folder.parent))
            make_folders(disk, root, [_NEW, *SPREAD])
            if any(True for first in SPREAD for _ in disk.entries(f"{root}/{first}")):
                raise Misconfigured(
                    f"{root} has study keys but no keyring: restore it from a backup"
                )
            disk.touch(f"{root}/{_DESTROYED}")
            with suppress(FileNotFoundError):
                disk.remove(f"{root}/{_KEYRING_NEW}")
            file = seal_ring(Ring.new(), [(master.kind, master.secret())], cost)
            write_small(disk, f"{root}/{_KEYRING_NEW}", file)
            disk.rename(f"{root}/{_KEYRING_NEW}", f"{root}/{_KEYRING}")
            disk.sync_folder(root)
        return cls.open(folder, master, disk, cost)

    @classmethod
    def open(
        cls,
        folder: Path,
        master: MasterKey,
        disk: Disk = DISK,
        cost: Argon2Cost = ARGON2_COST,
    ) -> "Keyring":
        """Open a keyring and sweep what a crash left of study keys.

        Raises:
            Misconfigured: There is none, the master key is not its own, or
                folder or master key are not safe.
            Damaged: The keyring file is not what was written.
            Unavailable: The disk refused.
        """
        root = str(folder)
        with disk_errors():
            if not disk.exists(f"{root}/{_KEYRING}"):
                raise Misconfigured(f"there is no keyring in {root}: is it mounted?")
            disk.check_folder(root)
            for name in [_NEW, *SPREAD]:
                disk.check_folder(f"{root}/{name}")
            if not disk.exists(f"{root}/{_DESTROYED}"):  # backups may lack it
                disk.touch(f"{root}/{_DESTROYED}")
            keyring = cls(folder, master, disk, cost)
            keyring._sweep()
            return keyring

    @property
    def generation(self) -> int:
        """Counts the changes of the keyring file."""
        return self._state.ring.generation

    @property
    def rotation_is_unfinished(self) -> bool:
        """Whether a rotation was cut off: two master keys open the keyring."""
        return self._state.slots > 1

    def derive(self, purpose: str) -> bytes:
        """Return the 32 bytes that belong to a purpose; the same for ever."""
        assert purpose
        return derive(self._state.ring.root, info=b"leadglass " + purpose.encode())

    def new_study_key(self) -> KeyId:
        """Draw a study key; durable on return.

        Raises:
            Unavailable: The disk refused, or the keyring was rotated and the
                master key at hand does not open it any more.
        """
        key_id, study_key = KeyId.new(), secrets.token_bytes(KEY_BYTES)
        new, final = self._path(_NEW, key_id), self._file(key_id)
        with disk_errors(), self._locked(shared=True):
            self.reload_if_changed()
            file = wrap_study_key(self._state.ring, key_id.raw, study_key)
            write_small(self._disk, new, file)
            try:
                self._disk.rename(new, final)
                self._disk.sync_folder(self._path(key_id[:2]))
            except BaseException:
                for path in (new, final):
                    with suppress(OSError):
                        self._disk.remove(path)
                raise
        self._remember(key_id, study_key, self._forgotten)
        return key_id

    def study_key(self, key_id: KeyId) -> bytes:
        """Return a study key; from memory when it was used lately.

        Raises:
            NotFound: It was destroyed, or never was.
            Damaged: Its file does not verify.
            Unavailable: The disk refused, or the key was wrapped anew and the
                master key at hand does not open the keyring any more.
        """
        with self._guard:
            study_key = self._study_keys.get(key_id)
            if study_key is not None:
                self._study_keys.move_to_end(key_id)
                return study_key
            forgotten = self._forgotten
        study_key = self._unwrap(KeyId(key_id))
        self._remember(key_id, study_key, forgotten)
        return study_key

    def destroy(self, key_id: KeyId) -> None:
        """Erase a study: nobody can open its blobs again; may be repeated.

        Raises:
            Unavailable: The disk refused; the key may or may not be gone.
        """
        key_id = KeyId(key_id)
        with disk_errors(), self._locked():
            for path in (self._path(_NEW, key_id), self._file(key_id)):
                with suppress(FileNotFoundError):
                    self._scrub(path)
            for folder in (_NEW, key_id[:2]):
                self._disk.sync_folder(self._path(folder))
            self._forget(key_id)
            self._disk.touch(self._path(_DESTROYED))

    def key_ids(self) -> Iterator[KeyId]:
        """Yield the id of every study key, in no order."""
        for first in SPREAD:
            with disk_errors():
                found = list(self._disk.entries(self._path(first)))
            for name in found:
                with suppress(BadData):
                    yield KeyId(name)

    def reload_if_changed(self) -> bool:
        """Take over what other processes changed; two ``lstat`` when nothing.

        For a server to call every second: a rotation and destroyed study keys
        are noticed.

        Raises:
            Unavailable: The keyring was rotated and the master key at hand does
                not open it: start again with the new one. What was open stays.
        """
        with disk_errors():
            ring = self._disk.stamp(self._path(_KEYRING))
            destroyed = self._disk.stamp(self._path(_DESTROYED))
            if (ring, destroyed) == (self._state.stamp, self._destroyed):
                return False
            with self._reloading:
                if destroyed != self._destroyed:
                    self._forget()
                    self._destroyed = destroyed
                if ring != self._state.stamp:
                    try:
                        self._state = self._load()
                    except (Misconfigured, Damaged) as error:
                        raise Unavailable(f"the keyring changed: {error}") from error
            return True

    def rotate(
        self, new_master: MasterKey, install: Callable[[], None] | None = None
    ) -> Rotation:
        """Change the master key and wrap every study key anew.

        ``install`` puts the new master key where the old one was, so that the
        next start and other processes find it: ``key_file.install``. Without it
        the caller tells them another way.

        Raises:
            Unavailable: Another rotation runs, or the disk refused; call again.
            Misconfigured: A master key cannot be read.
        """
        with disk_errors(), self._locked(_ROTATION_LOCK, wait=False):
            secret = new_master.secret()
            self._sweep_new()
            with self._locked():
                self.reload_if_changed()
                ring = self._state.ring.with_new_wrapping_key()
                old = (self._master.kind, self._master.secret())
                self._replace_ring(ring, [old, (new_master.kind, secret)])
            used, rewrapped, damaged = self._rewrap_all(ring)
            if install is None:
                self._master = new_master
            else:
                install()
            with self._locked():
                unused = set(ring.wrapping_keys) - used - {ring.current}
                if damaged:
                    unused = set()  # what cannot be read may need any of them
                final = ring.without(unused)
                self._replace_ring(final, [(new_master.kind, secret)])
            return Rotation(final.generation, rewrapped, len(unused), tuple(damaged))

    def _rewrap_all(self, ring: Ring) -> tuple[set[int], int, list[KeyId]]:
        """Return the wrapping keys that were in use, the count, the damaged."""
        used: set[int] = set()
        damaged: list[KeyId] = []
        rewrapped = 0
        for first in SPREAD:
            changed = False
            for name in list(self._disk.entries(self._path(first))):
                try:
                    number = self._rewrap(KeyId(name), ring)
                except Damaged:
                    damaged.append(KeyId(name))
                    continue
                except (NotFound, BadData):
                    continue  # destroyed meanwhile, or not a key
                used.add(number)
                if number != ring.current:
                    rewrapped += 1
                    changed = True
            if changed:
                self._disk.sync_folder(self._path(first))
        return used, rewrapped, damaged

    def _rewrap(self, key_id: KeyId, ring: Ring) -> int:
        """Wrap one study key anew; return the wrapping key it had before."""
        file = self._read(key_id)
        number = wrapping_number(file)
        study_key = unwrap_study_key(ring, key_id.raw, file)
        if number == ring.current:
            return number
        new, final = self._path(_NEW, key_id), self._file(key_id)
        write_small(self._disk, new, wrap_study_key(ring, key_id.raw, study_key))
        with self._locked():
            # Destroyed since it was read? Then it must not come back.
            try:
                self._read(key_id)
                self._disk.rename(new, final)
            except (NotFound, FileNotFoundError):
                with suppress(FileNotFoundError):
                    self._scrub(new)
                raise NotFound("no such study key") from None
        return number

    def _replace_ring(
        self, ring: Ring, masters: list[tuple[MasterKind, bytes]]
    ) -> None:
        new = self._path(_KEYRING_NEW)
        with suppress(FileNotFoundError):
            self._disk.remove(new)
        write_small(self._disk, new, seal_ring(ring, masters, self._cost))
        self._disk.rename(new, self._path(_KEYRING))
        self._disk.sync_folder(self._root)
        stamp = self._disk.stamp(self._path(_KEYRING))
        self._state = _State(ring, len(masters), stamp)

    def _load(self) -> _State:
        path = self._path(_KEYRING)
        # The stamp first: a file replaced in between is read again next time.
        stamp = self._disk.stamp(path)
        file = read_small(self._disk, path, KEYRING_BYTES_MAX)
        ring, slots = open_ring(file, self._master)
        return _State(ring, slots, stamp)

    def _unwrap(self, key_id: KeyId) -> bytes:
        with disk_errors():
            file = self._read(key_id)
            if wrapping_number(file) not in self._state.ring.wrapping_keys:
                self.reload_if_changed()
            return unwrap_study_key(self._state.ring, key_id.raw, file)

    def _read(self, key_id: KeyId) -> bytes:
        try:
            file = read_small(self._disk, self._file(key_id), STUDY_KEY_FILE_BYTES)
        except FileNotFoundError:
            raise NotFound("no such study key") from None
        if is_scrubbed(file):
            raise NotFound("no such study key")
        return file

    def _scrub(self, path: str) -> None:
        """Overwrite a key file and remove it.

        The zeros reach the same sectors on disks and file systems that write in
        place. Where they do not, the wrapped key that stays needs the ring too.
        """
        file = self._disk.open_to_overwrite(path)
        try:
            self._disk.write(file, bytes(self._disk.size(file)))
            self._disk.sync_file(file)
        finally:
            self._disk.close(file)
        self._disk.remove(path)

    def _sweep(self) -> None:
        """Remove half-made files, unless somebody is at work just now."""
        lock = self._disk.lock(self._path(_ROTATION_LOCK), wait=False)
        if lock is None:
            return
        try:
            self._sweep_new()
        finally:
            self._disk.close(lock)

    def _sweep_new(self) -> None:
        with self._locked():  # nobody draws a study key meanwhile
            for name in list(self._disk.entries(self._path(_NEW))):
                self._disk.remove(self._path(_NEW, name))

    def _remember(self, key_id: KeyId, study_key: bytes, forgotten: int) -> None:
        """Keep a study key in memory, unless one was destroyed since."""
        with self._guard:
            if forgotten != self._forgotten:
                return
            self._study_keys[key_id] = study_key
            if len(self._study_keys) > _STUDY_KEYS_CACHED_MAX:
                self._study_keys.popitem(last=False)

    def _forget(self, key_id: KeyId | None = None) -> None:
        with self._guard:
            self._forgotten += 1
            if key_id is None:
                self._study_keys.clear()
            else:
                self._study_keys.pop(key_id, None)

    @contextmanager
    def _locked(
        self, name: str = _LOCK, *, shared: bool = False, wait: bool = True
    ) -> Iterator[None]:
        lock = self._disk.lock(self._path(name), shared=shared, wait=wait)
        if lock is None:
            raise Unavailable("another rotation is running")
        try:
            yield
        finally:
            self._disk.close(lock)

    def _file(self, key_id: KeyId) -> str:
        return f"{self._root}/{key_id[:2]}/{key_id}"

    def _path(self, *parts: str) -> str:
        return "/".join((self._root, *parts))
