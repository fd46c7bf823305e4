"""Master keys: taken from the right places in the right form, else refused."""

import os
from pathlib import Path

import pytest

from leadglass.errors import Misconfigured
from leadglass.vault.masters import (
    KeyFile,
    Passphrase,
    PassphraseFile,
    SystemdCredential,
)

HEX = bytes(range(32)).hex()


def written(path: Path, text: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(text)
    path.chmod(mode)
    return path


class TestKeyFile:
    def test_what_was_created_is_read(self, tmp_path: Path) -> None:
        key_file = KeyFile(tmp_path / "key", outside=tmp_path / "data")
        key_file.create()
        assert len(key_file.secret()) == 32
        assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
        with pytest.raises(Misconfigured, match="already"):
            key_file.create()

    @pytest.mark.parametrize("place", ["data/key", "data/a/b/key", "else/../data/key"])
    def test_not_in_the_data_folder(self, tmp_path: Path, place: str) -> None:
        with pytest.raises(Misconfigured, match="move it out"):
            KeyFile(tmp_path / place, outside=tmp_path / "data")

    def test_nor_through_a_link(self, tmp_path: Path) -> None:
        (tmp_path / "data").mkdir()
        (tmp_path / "link").symlink_to("data")
        with pytest.raises(Misconfigured, match="move it out"):
            KeyFile(tmp_path / "link" / "key", outside=tmp_path / "data")

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o666, 0o620])
    def test_open_to_others(self, tmp_path: Path, mode: int) -> None:
        path = written(tmp_path / "key", HEX.encode(), mode)
        with pytest.raises(Misconfigured, match="chmod 600"):
            KeyFile(path, outside=tmp_path / "data").secret()

    @pytest.mark.parametrize(
        "text", ["", HEX[:-1], HEX + "0", HEX[:-2] + "zz", "é" * 64, HEX * 40]
    )
    def test_malformed(self, tmp_path: Path, text: str) -> None:
        path = written(tmp_path / "key", text.encode())
        with pytest.raises(Misconfigured, match="64 hex digits") as refusal:
            KeyFile(path, outside=tmp_path / "data").secret()
        assert not text or text not in str(refusal.value)

    def test_missing_or_no_file(self, tmp_path: Path) -> None:
        for path in (tmp_path / "absent", tmp_path):
            with pytest.raises(Misconfigured):
                KeyFile(path, outside=tmp_path / "data").secret()

    def test_the_successor_waits_beside(self, tmp_path: Path) -> None:
        key_file = KeyFile(tmp_path / "key", outside=tmp_path / "data")
        key_file.create()
        old = key_file.secret()
        key_file.stage()
        staged = key_file.stage()  # over one that a crash left behind
        new = staged.secret()
        assert key_file.secret() == old != new
        key_file.install()
        assert key_file.secret() == new
        assert [path.name for path in tmp_path.iterdir()] == ["key"]


class TestPassphrase:
    def test_line_ends_and_composition_make_no_difference(self, tmp_path: Path) -> None:
        secrets = {
            Passphrase(text.encode()).secret()
            for text in (
                "grüne Wiese im März",
                "gru\u0308ne Wiese im Ma\u0308rz\n",
                "grüne Wiese im März\r\n",
            )
        }
        path = written(tmp_path / "p", "grüne Wiese im März\n".encode())
        assert secrets == {PassphraseFile(path).secret()}

    @pytest.mark.parametrize(
        "text", [b"", b"too short", b"two lines of text\nand more", b"\xff" * 20]
    )
    def test_refused(self, text: bytes) -> None:
        with pytest.raises(Misconfigured):
            Passphrase(text)
        with pytest.raises(Misconfigured):
            Passphrase(b"x" * 1100)

    def test_from_a_descriptor(self) -> None:
        reading, writing = os.pipe()
        os.write(writing, b"from the ")
        os.write(writing, b"password manager\n")
        os.close(writing)
        passphrase = Passphrase.from_descriptor(reading)
        os.close(reading)
        assert passphrase.secret() == b"from the password manager"

    def test_a_file_open_to_others(self, tmp_path: Path) -> None:
        path = written(tmp_path / "p", b"a long enough passphrase", 0o644)
        with pytest.raises(Misconfigured, match="chmod 600"):
            PassphraseFile(path).secret()


class TestSystemdCredential:
    def test_read_from_the_credentials_folder(self, tmp_path: Path) -> None:
        written(tmp_path / "master", HEX.encode(), 0o440)
        environment = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
        credential = SystemdCredential("master", environment)
        assert credential.secret() == bytes(range(32))

    @pytest.mark.parametrize("environment", [{}, {"CREDENTIALS_DIRECTORY": ""}])
    def test_not_under_systemd(self, environment: dict[str, str]) -> None:
        with pytest.raises(Misconfigured, match="LoadCredentialEncrypted"):
            SystemdCredential("master", environment)

    def test_a_name_is_not_a_path(self, tmp_path: Path) -> None:
        with pytest.raises(Misconfigured):
            SystemdCredential("../x", {"CREDENTIALS_DIRECTORY": str(tmp_path)})
