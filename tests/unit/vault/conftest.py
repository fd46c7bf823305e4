"""A keyring to test with."""

from pathlib import Path

import pytest

from leadglass.vault.keys import KeyFile, Keyring


@pytest.fixture
def master(tmp_path: Path) -> KeyFile:
    key_file = KeyFile(tmp_path / "master.key", outside=tmp_path / "data")
    key_file.create()
    return key_file


@pytest.fixture
def keyring(tmp_path: Path, master: KeyFile) -> Keyring:
    (tmp_path / "data").mkdir(mode=0o700)
    return Keyring.create(tmp_path / "data" / "keys", master)
