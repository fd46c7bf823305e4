"""The command line as a user and as a script have it: real processes, a real node."""

import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

from leadglass.cli.commands import COMMANDS
from tests.peers.nodes import comes_true
from tests.support.forks import FORKS

PROGRAM = [sys.executable, "-m", "leadglass"]
PATIENT = "ZZYZX^UNIQUE"
PATIENT_ID = "QZ-40717"
KEYS = {each.name: set(each.answer) for each in COMMANDS}
READY_TIMEOUT_S = 60


@dataclass
class Shell:
    """Types commands, with a data folder of its own."""

    home: Path
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def env(self) -> dict[str, str]:
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("LEADGLASS_")
        }
        return {**inherited, "LEADGLASS_HOME": str(self.home), **self.environ}

    def run(self, *words: object, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return FORKS.run([*map(str, words)], env=self.env, stdin=stdin)

    def text(self, *words: object, code: int = 0, stdin: str = "") -> str:
        done = self.run(*words, stdin=stdin)
        assert done.returncode == code, (done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        return done.stdout if code == 0 else done.stdout + done.stderr

    def json(self, *words: object, code: int = 0, stdin: str = "") -> Any:
        done = self.run(*words, "--json", stdin=stdin)
        assert done.returncode == code, (done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        assert done.stdout.count("\n") == 1
        return json.loads(done.stdout)

    def answer(self, command: str, *words: object, code: int = 0) -> Any:
        """Return an answer, and hold its keys against the table."""
        found = self.json(*command.split(), *words, code=code)
        assert set(found) == KEYS[command]
        return found


@dataclass
class Served:
    """A running node."""

    process: subprocess.Popen[str]
    ready: dict[str, Any]

    @property
    def address(self) -> list[str]:
        return str(self.ready["dimse"]).split(":")

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(READY_TIMEOUT_S)


def serve(shell: Shell, *words: object, command: str = "serve") -> Served:
    process = subprocess.Popen(
        [
            *(*PROGRAM, command, "--dimse", "127.0.0.1:0", "--https", "127.0.0.1:0"),
            *("--json", *map(str, words)),
        ],
        env=shell.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        _, errors = process.communicate()
        pytest.fail(f"it did not start: {errors}")
    return Served(process, json.loads(line))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two studies of one made-up patient, of two and one instances, and a text."""
    folder = tmp_path_factory.mktemp("images")
    for study, count in ((1, 2), (2, 1)):
        study_uid, series_uid = f"2.25.7{study}", f"2.25.7{study}.1"
        for number in range(count):
            found = get_testdata_file("CT_small.dcm")
            assert isinstance(found, str)
            image = pydicom.dcmread(found)
            image.PatientName, image.PatientID = PATIENT, PATIENT_ID
            image.StudyInstanceUID, image.SeriesInstanceUID = study_uid, series_uid
            image.SOPInstanceUID = generate_uid()
            image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
            image.StudyDate = f"202{study}0304"
            image.StudyDescription = "of " + PATIENT
            image.save_as(folder / f"{study}-{number}.dcm")
    (folder / "notes.txt").write_text("no image")
    return folder


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A node that holds nothing; for commands that change nothing."""
    shell = Shell(tmp_path_factory.mktemp("fresh") / "home")
    assert shell.answer("init")["created"] is True
    return shell


@pytest.fixture(scope="module")
def filled(
    tmp_path_factory: pytest.TempPathFactory, images: Path
) -> tuple[Shell, dict[str, Any]]:
    """A node with the images; tests use what others do not change."""
    shell = Shell(tmp_path_factory.mktemp("filled") / "home")
    shell.answer("init")
    return shell, shell.answer("import", images)


@pytest.fixture
def copy(filled: tuple[Shell, dict[str, Any]], tmp_path: Path) -> Shell:
    """A filled node that a test may spoil."""
    home = tmp_path / "home"
    shutil.copytree(filled[0].home, home)
    shutil.copy2(f"{filled[0].home}.key", f"{home}.key")
    return Shell(home)


# ── beginning ────────────────────────────────────────────────────────────────


def test_help_is_quick() -> None:
    """The best of some runs: the machine may be busy."""
    best_s = min(_help_s() for _ in range(5))
    bare_s = min(_bare_s() for _ in range(5))
    # 150 ms on a quiet machine, where the interpreter itself takes some 15 of them.
    assert best_s <= max(0.15, 10 * bare_s)


def _help_s() -> float:
    began = time.perf_counter()
    subprocess.run([*PROGRAM, "--help"], capture_output=True, check=True)
    return time.perf_counter() - began


def _bare_s() -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", ""], capture_output=True, check=True)
    return time.perf_counter() - began


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import sys\n"
        "from leadglass.cli import main\n"
        "main(['devices', 'enrol', '--help'])\n"
        "heavy = {'rich', 'sqlalchemy', 'cryptography', 'pydicom', 'numpy', "
        "'leadglass.app', 'leadglass.config'}\n"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_init_may_be_repeated(tmp_path: Path) -> None:
    shell = Shell(tmp_path / "home")
    first = shell.answer("init")
    second = shell.answer("init")
    assert first["one_time_secret"]
    assert first["home"] == str(shell.home)
    assert Path(first["ca_file"]).is_file()
    assert second == {**first, "created": False, "one_time_secret": None}
    assert (shell.home / "leadglass.toml").is_file()
    assert shell.home.stat().st_mode & 0o077 == 0


def test_home_wins_over_the_environment(tmp_path: Path, fresh: Shell) -> None:
    other = tmp_path / "other"
    assert fresh.json("init", "--home", other)["home"] == str(other)
    assert fresh.json("--home", other, "status")["home"] == str(other)


def test_without_init_it_says_what_to_do(tmp_path: Path) -> None:
    shell = Shell(tmp_path / "home")
    for words in (["status"], ["studies", "list"], ["devices", "list"]):
        error = shell.json(*words, code=2)["error"]
        assert error["kind"] == "misconfigured"
        assert "leadglass init" in error["message"]
    assert not shell.home.exists()


@pytest.mark.parametrize(
    "command",
    [
        "status",
        "check",
        "settings",
        "api",
        "devices list",
        "studies list",
        "quarantine list",
        "verify",
        "audit list",
        "audit verify",
        "audit key",
        "keys show",
        "authority show",
    ],
)
def test_a_fresh_node_answers(fresh: Shell, command: str) -> None:
    fresh.answer(command)
    assert fresh.text(*command.split()).strip() or command == "audit list"


def test_settings_come_from_the_environment(fresh: Shell) -> None:
    shell = Shell(fresh.home, {"LEADGLASS_NODE_AE_TITLE": "PACS1"})
    assert shell.json("status")["ae_title"] == "PACS1"
    assert 'node.ae_title = "PACS1"  (LEADGLASS_NODE_AE_TITLE)' in shell.text(
        "settings"
    )
    assert "# ae_title" in shell.text("settings", "--file")


def test_check_tells_all_problems_at_once(copy: Shell) -> None:
    (copy.home / "rules.toml").write_text('[[rule]]\nname = "x"\n')
    Path(f"{copy.home}.key").chmod(0o644)
    copy.home.chmod(0o755)
    found = copy.answer("check", code=2)
    text = "\n".join(found["problems"])
    assert "chmod go-rwx" in text
    assert "chmod 600" in text
    wrong = Shell(copy.home, {"LEADGLASS_DIMSE_LISTEN": "x", "LEADGLASS_NODE_AE": "y"})
    problems = wrong.answer("check", code=2)["problems"]
    assert sum("settings:" in each for each in problems) == 2
    assert any("chmod go-rwx" in each for each in problems)


def test_check_looks_at_rules(copy: Shell) -> None:
    (copy.home / "rules.toml").write_text('[[rule]]\nname = "x"\n')
    assert any("rules.toml" in each for each in copy.json("check", code=2)["problems"])


def test_check_lists_what_weakens(copy: Shell) -> None:
    until = time.strftime("%Y-%m-%d", time.gmtime(time.time() + 40 * 86_400))
    copy.json(
        "devices", "enrol", "US1", "--ae", "US1", "--may", "store",
        "--unsafe-plaintext", "127.0.0.1", "--reason", "very old", "--until", until,
    )  # fmt: skip
    shell = Shell(
        copy.home, {"LEADGLASS_DIMSE_UNSAFE_PLAINTEXT_LISTEN": "127.0.0.1:11112"}
    )
    found = shell.answer("check")
    assert any("very old" in each for each in found["weaknesses"])
    assert any("unsafe_plaintext_listen" in each for each in found["weaknesses"])


# ── devices ──────────────────────────────────────────────────────────────────


def enrol(shell: Shell, name: str, out: Path, *more: object) -> Any:
    return shell.answer(
        "devices enrol", name, "--ae", name, "--from", "127.0.0.1/32",
        "--may", "echo", "store", "find", "get", "move", "--out", out, *more,
    )  # fmt: skip


def test_a_device_lives_and_ends(copy: Shell, tmp_path: Path) -> None:
    out = tmp_path / "ct1"
    given = enrol(copy, "CT1", out, "--to", "127.0.0.1:11112")
    assert given["files"] == [str(out / n) for n in ("key.pem", "cert.pem", "ca.pem")]
    assert (out / "key.pem").stat().st_mode & 0o777 == 0o600
    assert given["node"]["ae_title"] == "LEADGLASS"
    device = copy.answer("devices show", "ct1")
    assert device == given["device"]
    assert device["destination"] == "127.0.0.1:11112"

    changed = copy.answer("devices change", "CT1", "--may", "store")["device"]
    assert changed == {**device, "rights": ["store"]}
    before = (out / "cert.pem").read_bytes()
    renewed = copy.answer("devices renew", "CT1", "--out", out)["device"]
    assert renewed["certificate"] != device["certificate"]
    assert (out / "cert.pem").read_bytes() != before
    revoked = copy.answer("devices revoke", "CT1", "--reason", "sold")["device"]
    assert revoked["status"] == "revoked"
    assert revoked["revocation"]["reason"] == "sold"
    listed = copy.answer("devices list")
    assert (listed["active"], listed["revoked"]) == (0, 1)
    # All of it is on the record.
    types = [
        each["details"].get("Alert Description", "")
        for each in copy.json("audit", "list", "--event", "security-alert")["items"]
    ]
    assert len(types) >= 4


def test_a_device_keeps_its_own_key(copy: Shell, tmp_path: Path) -> None:
    key, csr, out = (tmp_path / name for name in ("key.pem", "csr.pem", "out"))
    subprocess.run(
        ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt",
         "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x", "-keyout", key,
         "-out", csr],
        check=True, capture_output=True,
    )  # fmt: skip
    given = enrol(copy, "CT2", out, "--csr", csr)
    assert [Path(each).name for each in given["files"]] == ["cert.pem", "ca.pem"]
    assert not (out / "key.pem").exists()


@pytest.mark.parametrize(
    ("words", "code", "kind"),
    [
        (["devices", "show", "NOBODY"], 4, "not found"),
        (["devices", "revoke", "NOBODY", "--reason", "x"], 4, "not found"),
        (["devices", "enrol", "A", "--ae", "A", "--may", "fly", "--from", "x",
          "--out", "/nowhere"], 2, "misconfigured"),
        (["devices", "enrol", "A", "--ae", "A", "--may", "echo"], 2, "usage"),
        (["studies", "show", "1.2.3.4"], 4, "not found"),
        (["studies", "show", "abcdef"], 4, "not found"),
        (["studies", "show", "what"], 1, "bad data"),
        (["studies", "list", "--since", "yesterday"], 2, "usage"),
        (["erase", "1.2.3.4", "--reason", "x", "--yes"], 4, "not found"),
        (["erase", "1.2.3.4", "--reason", "x"], 2, "usage"),
        (["export", "1.2.3.4", "--out", "out"], 4, "not found"),
        (["import", "/nowhere/at/all"], 4, "not found"),
        (["audit", "prove", "99999"], 4, "not found"),
        (["audit", "list", "--event", "party"], 2, "usage"),
        (["audit", "verify-proof", "/nowhere"], 2, "misconfigured"),
        (["keys", "rotate", "--new-secret-file", "x"], 2, "usage"),
        (["authority", "bring-root-online", "/nowhere"], 2, "misconfigured"),
    ],
    ids=lambda words: "-".join(words)[:30] if isinstance(words, list) else None,
)  # fmt: skip
def test_errors_have_their_codes(
    fresh: Shell, words: list[str], code: int, kind: str
) -> None:
    error = fresh.json(*words, code=code)["error"]
    assert (error["kind"], error["exit_code"]) == (kind, code)
    assert error["message"]
    assert "leadglass: error: " in fresh.text(*words, code=code)


# ── the archive ──────────────────────────────────────────────────────────────


def test_import_counts(filled: tuple[Shell, dict[str, Any]]) -> None:
    _, report = filled
    assert report["files"] == 4
    assert (report["stored"], report["not_dicom"], report["failed"]) == (3, 1, 0)
    assert report["is_whole"] is True
    assert report["skipped"] is None


def test_import_goes_on_where_it_was(copy: Shell, images: Path) -> None:
    assert copy.answer("import", images)["unchanged"] == 4
    again = copy.answer("import", images, "--fresh", "--list-skipped")
    assert (again["already_here"], again["stored"]) == (3, 0)
    assert again["skipped"] == []


def test_import_says_what_was_not_taken(copy: Shell, tmp_path: Path) -> None:
    cut = tmp_path / f"{PATIENT}.dcm"
    found = get_testdata_file("MR_small.dcm")
    assert isinstance(found, str)
    cut.write_bytes(Path(found).read_bytes()[:-1000])
    done = copy.run("import", cut)
    assert done.returncode == 1
    assert PATIENT not in done.stdout + done.stderr
    named = copy.answer("import", cut, "--list-skipped", code=1)["skipped"]
    assert [each["outcome"] for each in named] == ["failed"]


def test_studies_are_counted(filled: tuple[Shell, dict[str, Any]]) -> None:
    shell, _ = filled
    found = shell.answer("studies list")
    assert (found["studies"], found["series"], found["instances"]) == (2, 2, 3)
    assert found["archive"]["studies"] == 2
    assert [each["study_uid"] for each in found["items"]] == ["2.25.72", "2.25.71"]
    one = shell.json("studies", "list", "--limit", "1")
    assert (one["studies"], one["archive"]["studies"]) == (1, 2)
    since = shell.json("studies", "list", "--since", "2022-01-01")
    assert [each["study_uid"] for each in since["items"]] == ["2.25.72"]
    assert shell.json("studies", "list", "--until", "20211231")["studies"] == 1
    assert shell.json("studies", "list", "--modality", "mr")["studies"] == 0
    assert shell.json("studies", "list", "--modality", "ct")["studies"] == 2


@pytest.mark.parametrize(
    "words",
    [
        ["studies", "list"],
        ["studies", "show", "2.25.71"],
        ["status"],
        ["verify"],
        ["check"],
        ["audit", "list"],
        ["audit", "prove", "3"],
        ["quarantine", "list"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
def test_no_patient_is_named_unless_asked(
    filled: tuple[Shell, dict[str, Any]], words: list[str], form: list[str]
) -> None:
    text = filled[0].text(*words, *form)
    assert text
    for secret in ("ZZYZX", PATIENT_ID):
        assert secret not in text


@pytest.mark.parametrize(
    "words",
    [["studies", "list"], ["studies", "show", "2.25.71"], ["audit", "list"]],
    ids=" ".join,
)
def test_a_patient_is_named_when_asked(
    filled: tuple[Shell, dict[str, Any]], words: list[str]
) -> None:
    assert PATIENT_ID in filled[0].text(*words, "--with-patient", "--json")


def test_a_short_id_is_as_good_as_a_uid(filled: tuple[Shell, dict[str, Any]]) -> None:
    shell, _ = filled
    short = shell.text("studies", "list", "--limit", "1").split("\t")[0]
    shown = shell.answer("studies show", short)
    assert shown["study"]["study_uid"] == "2.25.72"
    assert shown["series"][0]["instances"] == 1


def test_export_gives_back_what_was_imported(
    copy: Shell, images: Path, tmp_path: Path
) -> None:
    report = copy.answer("export", "2.25.71", "--out", tmp_path / "out")
    assert (report["instances"], report["is_whole"]) == (2, True)
    exported = {
        pydicom.dcmread(path).SOPInstanceUID: path
        for path in (tmp_path / "out" / "DICOM").rglob("*")
        if path.is_file()
    }
    for path in images.glob("1-*.dcm"):
        sent = pydicom.dcmread(path)
        assert pydicom.dcmread(exported[sent.SOPInstanceUID]) == sent
    assert len(pydicom.dcmread(tmp_path / "out" / "DICOMDIR").DirectoryRecordSequence)
    zipped = copy.answer("export", "2.25.71", "--zip", "--out", tmp_path / "out.zip")
    assert zipped["instances"] == 2
    # A second node takes the ZIP.
    other = Shell(tmp_path / "other")
    other.json("init")
    assert other.json("import", tmp_path / "out.zip")["stored"] == 2
    error = copy.json("export", "2.25.71", "--out", tmp_path / "out", code=2)["error"]
    assert "exists" in error["message"]


def test_erase_destroys_and_is_recorded(copy: Shell) -> None:
    assert copy.answer("erase", "2.25.71", "--reason", "asked to", "--yes") == {
        "study_uid": "2.25.71",
        "blobs": 2,
        "keys": 1,
    }
    assert copy.json("studies", "list")["studies"] == 1
    copy.json("studies", "show", "2.25.71", code=4)
    deleted = copy.json("audit", "list", "--event", "study_deleted")["items"]
    assert [each["studies"] for each in deleted] == [["2.25.71"]]
    assert copy.answer("verify")["damaged"] == 0


def test_erase_asks_whoever_is_at_a_terminal(copy: Shell) -> None:
    short = copy.json("studies", "list", "--limit", "1")["items"][0]["id"]
    assert "no backup" in at_terminal(
        copy, ["erase", short, "--reason", "x"], "no\n", 2
    )
    assert copy.json("studies", "list")["studies"] == 2
    at_terminal(copy, ["erase", short, "--reason", "x"], f"{short}\n", 0)
    assert copy.json("studies", "list")["studies"] == 1


def at_terminal(shell: Shell, words: list[str], typed: str, code: int) -> str:
    """Run a command at a terminal, and return what stands on it."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*PROGRAM, *words], env=shell.env, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    os.write(ours, typed.encode())
    seen = b""
    while select.select([ours], [], [], READY_TIMEOUT_S)[0]:
        try:
            piece = os.read(ours, 65_536)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        seen += piece
    os.close(ours)
    assert process.wait(READY_TIMEOUT_S) == code, seen
    return seen.decode()


def test_a_terminal_sees_tables_and_progress(copy: Shell) -> None:
    assert "STUDY INSTANCE UID" in at_terminal(copy, ["studies", "list"], "", 0)
    assert "verifying" in at_terminal(copy, ["verify"], "", 0)


def test_a_flipped_bit_is_found(copy: Shell, tmp_path: Path) -> None:
    blob = max((copy.home / "vault").rglob("*"), key=lambda each: each.stat().st_size)
    content = bytearray(blob.read_bytes())
    content[len(content) // 2] ^= 1
    blob.chmod(0o600)
    blob.write_bytes(content)
    found = copy.answer("verify", code=5)
    assert (found["damaged"], found["instances"]) == (1, 3)
    assert [each["blob"] for each in found["damages"]] == [blob.name]
    alerts = copy.json("audit", "list", "--event", "security_alert")["items"]
    assert any(blob.name in str(each) for each in alerts)
    rebuilt = copy.answer("rebuild", code=5)
    assert (rebuilt["instances"], rebuilt["damaged"]) == (2, 1)


def test_the_index_is_rebuilt(copy: Shell) -> None:
    before = copy.json("studies", "list", "--with-patient")
    assert copy.answer("rebuild")["instances"] == 3
    assert copy.json("studies", "list", "--with-patient") == before


# ── the record ───────────────────────────────────────────────────────────────


def test_that_the_record_was_read_is_on_the_record(copy: Shell) -> None:
    copy.answer("audit list")
    newest = copy.json("audit", "list", "--limit", "2")["items"]
    # The newest is this reading; before it stands the first.
    assert [each["event"] for each in newest][:1] == ["Audit Log Used"]
    assert newest[0]["details"]["use"] == "list"


def test_who_saw_a_patient_and_how_far_a_breach_went(
    copy: Shell, tmp_path: Path
) -> None:
    studies = copy.json("studies", "list", "--with-patient")["items"]
    wanted = next(each for each in studies if each["patient_id"] == PATIENT_ID)
    copy.json("export", wanted["id"], "--out", tmp_path / "out")
    told = copy.answer("audit patient", PATIENT_ID)
    acts = {each["act"] for each in told["accesses"]}
    assert {"found", "exported"} <= acts
    assert told["is_whole"]
    sheet = tmp_path / "who.csv"
    copy.answer("audit patient", PATIENT_ID, "--csv", sheet)
    assert len(sheet.read_text().splitlines()) > len(told["accesses"])

    who = next(each["who"] for each in told["accesses"] if each["act"] == "exported")
    window = ("--from", "2020-01-01", "--to", "2100-01-01")
    out = tmp_path / "breach"
    found = copy.answer(
        "audit breach", *window, "--source", f"person={who}", "--out", out
    )
    reached = {each["patient"]: each["reach"] for each in found["patients"]}
    assert reached[PATIENT_ID] == "images"
    assert found["counts"]["images"] == 1
    assert found["proof"]["is_intact"]
    letters = (out / "letters.csv").read_text()
    assert PATIENT_ID in letters
    assert "164.402" in (out / "assessment.md").read_text()

    nobody = copy.answer("audit breach", *window, "--source", "address=198.51.100.7")
    assert nobody["patients"] == []
    assert nobody["counts"]["neither"] == len({each["patient_id"] for each in studies})
    assert copy.run("audit", "breach", *window, "--source", "x").returncode == 1
    assert copy.run(
        "audit", "breach", *window, "--source", "person=x", "--out", out
    ).returncode
    assert PATIENT_ID not in copy.text("audit", "list")


def test_the_record_can_be_searched(copy: Shell) -> None:
    by_study = copy.json("audit", "list", "--study", "2.25.71")
    assert by_study["records"] > 0
    assert all("2.25.71" in each["studies"] for each in by_study["items"])
    by_patient = copy.json("audit", "list", "--patient", "-", stdin=PATIENT_ID + "\n")
    assert by_patient["records"] >= by_study["records"]
    assert copy.json("audit", "list", "--patient", "nobody")["records"] == 0
    first = copy.json("audit", "list", "--oldest-first", "--limit", "1")
    assert first["items"][0]["number"] == 0
    assert first["more"] is True
    assert copy.json("audit", "list", "--until", "2001-01-01")["records"] == 0


def test_a_proof_stands_without_the_node(copy: Shell, tmp_path: Path) -> None:
    proof, key = tmp_path / "proof.json", tmp_path / "key.pem"
    assert copy.answer("audit prove", 3, "--out", proof)["number"] == 3
    key.write_text(copy.answer("audit key")["pem"])
    elsewhere = Shell(tmp_path / "nowhere")
    found = elsewhere.answer("audit verify-proof", proof, "--key", key)
    assert (found["number"], found["record"]) == (3, None)
    assert not elsewhere.home.exists()
    disclosed = copy.text("audit", "prove", "3", "--disclose")
    shown = copy.json("audit", "verify-proof", "-", stdin=disclosed)
    assert shown["record"]["id"].startswith("1101")
    forged = disclosed.replace('"outcome', '"outcomes').replace("success", "failure")
    forged = re.sub(r'(\\"outcome\\":)0', r"\g<1>8", forged)
    copy.json("audit", "verify-proof", "-", stdin=forged, code=5)
    copy.json("audit", "prove", "3", "--out", proof, code=1)  # not overwritten


def test_a_cut_record_is_found(copy: Shell) -> None:
    assert copy.answer("audit verify")["intact"] is True
    checkpoints = copy.home / "checkpoints"
    for path in checkpoints.iterdir():
        path.unlink()
    found = copy.answer("audit verify", code=5)
    assert found["intact"] is False
    assert found["findings"][0]["kind"] == "checkpoint"


# ── keys and authority ───────────────────────────────────────────────────────


def test_the_master_key_is_rotated(copy: Shell) -> None:
    key = Path(f"{copy.home}.key")
    before = key.read_bytes()
    rotated = copy.answer("keys rotate")
    assert rotated["rewrapped"] == 2
    assert key.read_bytes() != before
    assert copy.answer("verify")["damaged"] == 0
    assert copy.answer("keys show")["rotation_is_unfinished"] is False
    key.write_bytes(before)
    copy.json("status", code=2)


def test_a_passphrase_is_rotated(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    for path, text in ((old, "correct horse battery"), (new, "staple horse correct")):
        path.touch(0o600)
        path.write_text(text)
    shell = Shell(
        tmp_path / "home",
        {
            "LEADGLASS_KEYS_SOURCE": "passphrase",
            "LEADGLASS_PASSPHRASE_FILE": str(old),
        },
    )
    shell.json("init")
    shell.json("keys", "rotate", code=2)
    done = shell.answer("keys rotate", "--new-secret-file", new)
    assert done["todo"] is None
    assert old.read_text() == new.read_text()
    assert shell.json("status")["serving"] is False
    old.write_text("correct horse battery")
    shell.json("status", code=2)


def test_the_root_is_taken_away_and_brought_back(copy: Shell, tmp_path: Path) -> None:
    away = tmp_path / "root.key"
    assert copy.answer("authority take-root-offline", away)["root_is_online"] is False
    assert copy.answer("authority show")["root_is_online"] is False
    assert (
        "online" in copy.json("authority", "renew-issuing", code=2)["error"]["message"]
    )
    assert copy.answer("authority bring-root-online", away)["root_is_online"] is True
    copy.answer("authority renew-issuing")
    shell = Shell(copy.home, {"LEADGLASS_TLS_NODE_NAMES": "pacs.example,127.0.0.1"})
    names = shell.answer("authority renew-node")["node_names"]
    assert names == ["pacs.example", "127.0.0.1"]
    alerts = copy.json("audit", "list", "--event", "security_alert")["items"]
    assert any("taken offline" in str(each["details"]) for each in alerts)


# ── serving ──────────────────────────────────────────────────────────────────


@pytest.fixture
def node(copy: Shell) -> Iterator[tuple[Shell, Served]]:
    served = serve(copy)
    try:
        yield copy, served
    finally:
        if served.process.poll() is None:
            served.process.kill()
        served.process.communicate()


def test_the_first_start_initialises(tmp_path: Path) -> None:
    shell = Shell(tmp_path / "home")
    served = serve(shell)
    try:
        assert set(served.ready) == KEYS["serve"]
        assert served.ready["event"] == "ready"
        assert served.ready["created"] is True
        assert served.ready["one_time_secret"]
        assert served.ready["pid"] == served.process.pid
        status = shell.json("status")
        assert (status["serving"], status["listen"]) == (True, served.ready["dimse"])
    finally:
        code = served.stop()
    _, errors = served.process.communicate()
    assert code == 0, errors
    assert "Traceback" not in errors
    assert shell.json("status")["serving"] is False
    assert shell.json(
        "audit", "list", "--limit", "1", "--event", "application_activity"
    )["items"][0]["types"] == ["Application Stop"]


def test_ctrl_c_ends_it_in_good_order(node: tuple[Shell, Served]) -> None:
    _, served = node
    assert served.stop(signal.SIGINT) == 0
    assert "Traceback" not in served.process.communicate()[1]


def test_for_people_it_says_in_five_lines_what_is_open(copy: Shell) -> None:
    process = subprocess.Popen(
        [*PROGRAM, "serve", "--dimse", "127.0.0.1:0", "--https", ""],
        env=copy.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(5)]
    process.terminate()
    rest, _ = process.communicate(timeout=READY_TIMEOUT_S)
    assert rest == ""
    assert process.returncode == 0
    first, second, third, fourth, fifth = lines
    assert "DICOM over TLS" in first
    assert "0 enrolled devices" in second
    assert str(copy.home) in third
    assert "secret was shown" in fourth
    assert "leadglass devices enrol" in fifth


def test_a_port_that_is_taken_is_said(node: tuple[Shell, Served]) -> None:
    shell, served = node
    error = shell.json("serve", "--dimse", served.ready["dimse"], code=6)["error"]
    assert error["kind"] == "unavailable"


def test_rebuild_waits_for_no_server(node: tuple[Shell, Served]) -> None:
    shell, _ = node
    assert "stop it first" in shell.json("rebuild", code=6)["error"]["message"]
    assert shell.json("studies", "list")["studies"] == 2


def test_the_printed_command_lines_work(
    node: tuple[Shell, Served], images: Path, tmp_path: Path
) -> None:
    """DCMTK as Debian has it, with what `devices enrol` prints, word for word."""
    shell, served = node
    out = tmp_path / "with space" / "ws1"
    text = shell.text(
        "devices", "enrol", "WS1", "--ae", "WS1", "--from", "127.0.0.1",
        "--may", "echo", "store", "find", "get", "--out", out,
    )  # fmt: skip
    assert served.address[1] in text
    known = shell.json("studies", "list")["instances"]
    folder = tmp_path / "new"
    folder.mkdir()
    image = pydicom.dcmread(images / "1-0.dcm")
    image.SOPInstanceUID = generate_uid()
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    image.save_as(folder / "image.dcm")
    ran = []
    for line in (each.strip() for each in text.splitlines()):
        if "+tls" in line:
            command = line.replace("FOLDER", str(folder))
            done = subprocess.run(
                command, shell=True, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, (command, done.stderr)
            ran.append(line.split()[0])
            if ran[-1] == "findscu":
                assert "2.25.72" in done.stdout + done.stderr
    assert ran == ["echoscu", "storescu", "findscu"]
    assert shell.json("studies", "list")["instances"] == known + 1


def test_changes_are_in_force_within_two_seconds(
    node: tuple[Shell, Served], tmp_path: Path
) -> None:
    shell, served = node
    out = tmp_path / "ct1"
    enrol(shell, "CT1", out)
    echo = [
        "echoscu", "+tls", out / "key.pem", out / "cert.pem", "+cf", out / "ca.pem",
        "-aet", "CT1", "-aec", "LEADGLASS", *served.address,
    ]  # fmt: skip
    assert comes_true(lambda: call(echo) == 0, READY_TIMEOUT_S)
    shell.json("devices", "revoke", "CT1", "--reason", "test")
    began = time.monotonic()
    while call(echo) == 0:
        assert time.monotonic() - began < 2
    shell.json("keys", "rotate")
    time.sleep(2)
    enrol(shell, "CT3", tmp_path / "ct3")
    echo[2:4] = [tmp_path / "ct3" / "key.pem", tmp_path / "ct3" / "cert.pem"]
    echo[7] = "CT3"
    assert comes_true(lambda: call(echo) == 0, READY_TIMEOUT_S)


def call(command: list[Any]) -> int:
    return subprocess.run(command, capture_output=True, check=False).returncode


def test_the_demo_is_filled(tmp_path: Path) -> None:
    shell = Shell(tmp_path / "home")
    served = serve(shell, command="demo")
    try:
        assert set(served.ready) == KEYS["demo"]
        assert served.ready["imported"]["stored"] > 10
        assert shell.json("studies", "list")["studies"] > 1
    finally:
        assert served.stop() == 0
        served.process.communicate()


def test_the_demo_keeps_away_from_the_archive(tmp_path: Path) -> None:
    shell = Shell(Path(), {"XDG_DATA_HOME": str(tmp_path), "LEADGLASS_HOME": ""})
    served = serve(shell, command="demo")
    try:
        assert served.ready["home"] == str(tmp_path / "leadglass-demo")
        assert not (tmp_path / "leadglass").exists()
    finally:
        served.stop()
        served.process.communicate()


# ── ends ─────────────────────────────────────────────────────────────────────


def test_a_closed_pipe_is_no_traceback(fresh: Shell) -> None:
    done = subprocess.run(
        f"{' '.join(PROGRAM)} settings | head -n 1",
        shell=True,
        env=fresh.env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_ctrl_c_is_clean(fresh: Shell) -> None:
    process = subprocess.Popen(
        # Whoever runs the tests in the background has it ignored.
        ["env", "--default-signal=INT", *PROGRAM, "audit", "verify-proof", "-"],
        env=fresh.env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    # It waits for its input by now, or is still starting: both must end well.
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=READY_TIMEOUT_S)
    assert process.returncode == 130
    assert errors == ""
