"""What the how-to pages say happens, happens."""

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from pydicom.data import get_testdata_file

from tests.support.forks import FORKS

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 120


@dataclass(frozen=True)
class Home:
    """A data folder, and the master key where the page says."""

    folder: Path
    master: Path

    def run(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("LEADGLASS_")
        }
        return FORKS.run(
            words,
            env=environment
            | {
                "LEADGLASS_HOME": str(self.folder),
                "LEADGLASS_KEYS_MASTER_FILE": str(self.master),
            },
            cwd=self.folder.parent,
            stdin=stdin,
            timeout_s=TIMEOUT_S,
        )

    def json(self, *words: str, code: int = 0) -> dict[str, Any]:
        ended = self.run(*words, "--json")
        assert ended.returncode == code, ended.stdout + ended.stderr
        found: dict[str, Any] = json.loads(ended.stdout)
        return found

    def at(self, folder: Path) -> "Home":
        return Home(folder, self.master)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    found = Home(tmp_path / "leadglass", tmp_path / "elsewhere.key")
    found.json("init")
    return found


def imported(home: Home, *names: str) -> None:
    paths = [str(get_testdata_file(name)) for name in names]
    assert home.json("import", *paths)["stored"] == len(names)


def put_back(source: Path, target: Path, names: Sequence[str]) -> None:
    for name in names:
        for old in target.glob(f"{name}*"):
            shutil.rmtree(old) if old.is_dir() else old.unlink()
        for path in source.glob(f"{name}*"):
            copy = shutil.copytree if path.is_dir() else shutil.copy2
            copy(path, target / path.name)


def test_a_drill(home: Home, tmp_path: Path) -> None:
    imported(home, "CT_small.dcm", "MR_small.dcm")
    drill = home.at(tmp_path / "drill")
    shutil.copytree(home.folder, drill.folder)
    assert drill.json("verify")["instances"] == 2
    assert drill.json("audit", "verify")["intact"] is True
    without = Home(drill.folder, tmp_path / "no.key")
    assert without.json("verify", code=2)["error"]["kind"] == "misconfigured"


def test_an_older_database_and_a_newer_vault(home: Home, tmp_path: Path) -> None:
    imported(home, "CT_small.dcm")
    backup = tmp_path / "backup"
    shutil.copytree(home.folder, backup)
    imported(home, "MR_small.dcm")
    put_back(backup, home.folder, ["database", "checkpoints"])
    assert home.json("verify")["orphans"] == 1
    assert home.json("rebuild")["instances"] == 2
    assert home.json("studies", "list")["studies"] == 2
    assert home.json("audit", "verify")["intact"] is True


def test_an_older_database_beside_newer_checkpoints(home: Home, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    shutil.copytree(home.folder, backup)
    imported(home, "CT_small.dcm")
    put_back(backup, home.folder, ["database"])
    assert home.json("audit", "verify", code=5)["intact"] is False
    assert home.json("import", str(get_testdata_file("MR_small.dcm")), code=5)


def test_no_database_at_all(home: Home, tmp_path: Path) -> None:
    imported(home, "CT_small.dcm", "MR_small.dcm")
    aside = tmp_path / "aside"
    aside.mkdir()
    for path in (
        *home.folder.glob("database*"),
        home.folder / "checkpoints" / "checkpoints",
    ):
        path.rename(aside / path.name)
    home.json("init")
    assert home.json("rebuild")["instances"] == 2
    assert home.json("verify")["damaged"] == 0
    assert home.json("devices", "list")["devices"] == 0
    assert home.json("audit", "verify")["intact"] is True


def test_damage_is_found_and_put_back(home: Home, tmp_path: Path) -> None:
    imported(home, "CT_small.dcm")
    backup = tmp_path / "backup"
    shutil.copytree(home.folder, backup)
    (blob,) = (home.folder / "vault").glob("[0-9a-f][0-9a-f]/*")
    data = bytearray(blob.read_bytes())
    data[len(data) // 2] ^= 1
    blob.write_bytes(data)
    found = home.json("verify", code=5)
    assert found["damages"][0]["blob"] == blob.name
    alerts = home.json("audit", "list", "--event", "110113")["items"]
    assert any(each["studies"] for each in alerts)
    shutil.copy2(backup / blob.relative_to(home.folder), blob)
    assert home.json("verify")["damaged"] == 0


def test_a_device_with_its_own_key(home: Home, tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "whatever")])
    request = x509.CertificateSigningRequestBuilder().subject_name(name)
    (tmp_path / "ct1.csr").write_bytes(
        request.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
    )
    line = "devices enrol CT1 --ae CT1 --from 10.4.0.7 --may echo store --csr ct1.csr"
    home.json(*line.split(), "--out", "ct1")
    assert {path.name for path in (tmp_path / "ct1").iterdir()} == {
        "cert.pem",
        "ca.pem",
    }


def test_a_device_without_tls(home: Home) -> None:
    day = datetime.now(UTC).date()
    line = "devices enrol OLD-US --ae OLDUS --may store --unsafe-plaintext 10.4.9.7"
    why = ["--reason", "no TLS before its replacement"]
    late = str(day + timedelta(days=400))
    assert home.json(*line.split(), *why, "--until", late, code=2)
    home.json(*line.split(), *why, "--until", str(day + timedelta(days=200)))
    found = home.json("check")
    assert any("OLD-US" in each for each in found["weaknesses"])
    assert any("unsafe_plaintext_listen" in each for each in found["warnings"])


def test_a_destination_without_tls(home: Home) -> None:
    until = str(datetime.now(UTC).date() + timedelta(days=200))
    line = (
        "devices enrol VIEWER --ae VIEWER --from 10.4.9.8 --may find move "
        "--to 10.4.9.8:104 --out viewer --unsafe-plaintext 10.4.9.8 --reason no-TLS"
    )
    device = home.json(*line.split(), "--until", until)["device"]
    assert device["has_tls"] is True
    assert device["unsafe_plaintext"]["address"] == "10.4.9.8"


RULES = """
[[rule]]
name = "radiologists read"
devices = ["WS1", "WS2"]
rights = ["find", "get"]
from = ["10.4.0.0/24"]
scope = "modality=CT,MR"
reason = "ward round"
until = 2027-01-31

[[expect]]
name = "the scanner cannot query"
device = "CT1"
right = "find"
from = "10.4.0.7"
allowed = false
"""


def test_rules_and_expectations(home: Home) -> None:
    page = (ROOT / "docs" / "how-to" / "write-rules.md").read_text("utf-8")
    assert RULES.strip() in page
    rules = home.folder / "rules.toml"
    rules.write_text(RULES)
    rules.chmod(0o600)
    assert home.json("check")["problems"] == []
    rules.write_text(RULES.replace('["WS1", "WS2"]', '["WS1", "CT1"]'))
    assert "the scanner cannot query" in str(home.json("check", code=2)["problems"])


def test_the_root_goes_and_comes(home: Home, tmp_path: Path) -> None:
    file = str(tmp_path / "root-on-a-medium.key")
    assert home.json("authority", "take-root-offline", file)["root_is_online"] is False
    line = "devices enrol CT1 --ae CT1 --from 10.4.0.7 --may store --out ct1"
    home.json(*line.split())
    home.json("authority", "renew-node")
    home.json("authority", "renew-issuing", code=2)
    home.json("authority", "bring-root-online", file)
    home.json("authority", "renew-issuing")
    assert home.json("check")["problems"] == []


def test_a_record_is_proven_elsewhere(home: Home, tmp_path: Path) -> None:
    imported(home, "CT_small.dcm")
    (tmp_path / "log-key.pem").write_text(home.run("audit", "key").stdout)
    home.json("audit", "prove", "0", "--disclose", "--out", "record.json")
    stranger = Home(tmp_path / "nothing", tmp_path / "none.key")
    line = "audit verify-proof record.json --key log-key.pem"
    assert stranger.json(*line.split())["proven"] is True
    checkpoints = home.folder / "checkpoints" / "checkpoints"
    shutil.copy(checkpoints, tmp_path / "checkpoints-of-monday")
    imported(home, "MR_small.dcm")
    found = home.json("audit", "verify", "--witnessed", "checkpoints-of-monday")
    assert found["intact"] is True


def test_who_saw_it(home: Home) -> None:
    imported(home, "CT_small.dcm")
    (study,) = home.json("studies", "list")["items"]
    found = home.json("audit", "list", "--study", study["study_uid"])
    assert {each["code"] for each in found["items"]} >= {"110104", "110112"}
    by_patient = home.run("audit", "list", "--patient", "-", "--json", stdin="1CT1\n")
    assert len(json.loads(by_patient.stdout)["items"]) >= 2
    assert "CompressedSamples" not in by_patient.stdout


def test_keys_are_rotated(home: Home) -> None:
    imported(home, "CT_small.dcm")
    before = home.master.read_text()
    assert home.json("keys", "rotate")["rewrapped"] == 1
    assert home.master.read_text() != before
    assert home.json("verify")["damaged"] == 0
