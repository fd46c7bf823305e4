"""Files of the authority: whole or not at all, and sealed to their name."""

import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from leadglass.errors import Damaged, Misconfigured, Unavailable
from leadglass.identity import files
from leadglass.identity.files import locked, read_whole, seal, unseal, write_whole

KEY = bytes(range(32))
PRIVATE = ec.derive_private_key(12345, ec.SECP256R1())
SEALED = seal(PRIVATE, "issuing", KEY)


def test_sealed_and_back() -> None:
    opened = unseal(SEALED, "issuing", KEY)
    assert opened.private_numbers() == PRIVATE.private_numbers()
    assert seal(PRIVATE, "issuing", KEY) != SEALED  # another nonce


@given(st.integers(0, len(SEALED) * 8 - 1))
def test_any_flipped_bit_is_damage(bit: int) -> None:
    changed = bytearray(SEALED)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(Damaged):
        unseal(bytes(changed), "issuing", KEY)


@given(st.binary(max_size=80))
def test_anything_else_is_damage(data: bytes) -> None:
    with pytest.raises(Damaged):
        unseal(data, "issuing", KEY)


def test_a_cut_file_is_damage() -> None:
    for length in range(len(SEALED)):
        with pytest.raises(Damaged):
            unseal(SEALED[:length], "issuing", KEY)


def test_a_key_opens_under_its_own_name_and_seal_only() -> None:
    with pytest.raises(Damaged):
        unseal(SEALED, "root", KEY)
    with pytest.raises(Damaged):
        unseal(SEALED, "issuing", bytes(32))


def test_a_file_is_replaced_whole_and_private(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, b"old")
    path.chmod(0o644)
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]  # no temporary stays


def test_a_disk_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_whole(path, b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Unavailable, match="No space left"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_read_is_told_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Misconfigured, match="missing; publish it"):
        read_whole(tmp_path / "crl.pem", remedy="publish it")
    with pytest.raises(Unavailable):
        read_whole(tmp_path, remedy="")
    (tmp_path / "long").write_bytes(bytes(11))
    monkeypatch.setattr(files, "FILE_BYTES_MAX", 10)
    with pytest.raises(Damaged, match="too long"):
        read_whole(tmp_path / "long", remedy="")


def test_a_lock_that_cannot_be_had(tmp_path: Path) -> None:
    with locked(tmp_path):
        pass
    with pytest.raises(Unavailable), locked(tmp_path / "nowhere"):
        pass
