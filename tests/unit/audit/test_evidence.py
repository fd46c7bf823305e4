"""Evidence: what is written, that its program needs nothing of ours, what it finds.

Whoever attacks a folder has all of it, and makes every hash in it right again. In the
first tests the signing key is out of reach, as it is in life; in those that follow
even the manifest is signed anew, so that each check is seen to stand by itself.
"""

import ast
import base64
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from leadglass.audit.checkpoint import Signer, parse, split_notes, verifier_key
from leadglass.audit.events import Returned, from_us
from leadglass.audit.evidence import verify
from leadglass.audit.evidence.making import Made, Request
from leadglass.audit.evidence.multiproof import multiproof, runs_of
from leadglass.audit.evidence.selection import Selection
from leadglass.audit.log import AuditLog
from leadglass.audit.merkle import leaf_hash, perfect_root, root_of
from leadglass.errors import BadData, Damaged, Misconfigured, NotFound
from tests.unit.audit.surroundings import (
    ORIGIN,
    PUBLIC_KEY,
    SIGNING_KEY,
    Home,
    fill,
    stored,
)

SIZES = (100, 256, 300, 600, 700)
STEP = timedelta(seconds=10)
BEGAN = datetime(2027, 1, 15, 8, tzinfo=UTC)
# From the second batch up to the fourth: records 100 to 299.
WINDOW = (BEGAN + STEP / 2, BEGAN + 2.5 * STEP)
FIRST, LAST = 100, 299
KEY = verifier_key(ORIGIN, PUBLIC_KEY)


def evidence(log: AuditLog, folder: Path, selection: Selection) -> Made:
    request = Request(selection, folder, "2027-01-16T00:00:00+00:00", "auditor")
    return log.make_evidence(log.locate(selection), request)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home(tmp_path_factory.mktemp("filled"))
    home.prepare()
    with home.database() as database:
        log = home.over(database)
        for begin, end in zip((0, *SIZES), SIZES, strict=False):
            fill(log, database, end - begin)
            log.flush()
            home.clock.passes(STEP.total_seconds())
        log.close()
    return home


@pytest.fixture(scope="module")
def good(filled: Home, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good") / "evidence"
    with filled.log() as log:
        evidence(log, folder, Selection(window=WINDOW))
    return folder


@pytest.fixture
def copy(good: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(good, tmp_path / "copy"))


def wrong(folder: Path) -> str:
    return "\n".join(verify.check(folder).wrong)


def lines(folder: Path) -> list[dict[str, Any]]:
    text = (folder / "records.jsonl").read_text("utf-8")
    return [json.loads(line) for line in text.splitlines()]


def put(folder: Path, found: list[dict[str, Any]]) -> None:
    text = "".join(json.dumps(each) + "\n" for each in found)
    (folder / "records.jsonl").write_text(text, "utf-8")


def hash_again(folder: Path, **members: Any) -> bytes:
    """Make the hashes in the manifest right."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_bytes()) | members
    for name, entry in manifest["files"].items():
        data = (folder / name).read_bytes()
        entry.update(sha256=sha256(data).hexdigest(), bytes=len(data))
    path.write_text(json.dumps(manifest), "utf-8")
    return path.read_bytes()


def sign_again(folder: Path, **members: Any) -> None:
    """Make everything right, as only the node can."""
    digest = sha256(hash_again(folder, **members)).hexdigest()
    text = f"{verify.STATEMENT_LINE}\n{ORIGIN}\n{digest}\n"
    note = Signer(ORIGIN, SIGNING_KEY).sign_text(text)
    (folder / "manifest.sig").write_text(note, "utf-8")


# ── what is written ──────────────────────────────────────────────────────────


def test_a_window_has_everything_between_two_records_that_lie_outside(
    good: Path,
) -> None:
    found = lines(good)
    assert [each["n"] for each in found] == list(range(FIRST - 1, LAST + 2))
    assert [each["n"] for each in found if "record" in each] == list(
        range(FIRST, LAST + 1)
    )
    assert verify.check(good).wrong == []


def test_a_patient_is_found_wherever_it_is(filled: Home, tmp_path: Path) -> None:
    with filled.log() as log:
        made = evidence(log, tmp_path / "out", Selection(patient="PAT-0030"))
    assert (made.records, made.opened, made.others) == (10, 10, 0)
    assert [each["n"] for each in lines(tmp_path / "out")] == list(range(300, 310))
    assert verify.check(tmp_path / "out").wrong == []


def test_a_patient_of_a_window_is_opened_and_the_rest_is_closed(
    filled: Home, tmp_path: Path
) -> None:
    selection = Selection(patient="PAT-0012", window=WINDOW)
    with filled.log() as log:
        made = evidence(log, tmp_path / "out", selection)
    assert (made.records, made.opened) == (LAST - FIRST + 3, 10)
    text = (tmp_path / "out" / "records.jsonl").read_text("utf-8")
    assert "PAT-0012" in text
    assert "PAT-0013" not in text
    assert verify.check(tmp_path / "out").wrong == []


def test_records_by_number_are_those_numbers(filled: Home, tmp_path: Path) -> None:
    with filled.log() as log:
        made = evidence(log, tmp_path / "out", Selection(numbers=(699, 0, 300, 300)))
    assert [each["n"] for each in lines(tmp_path / "out")] == [0, 300, 699]
    assert (made.size, made.checkpoints) == (700, len(SIZES) + 1)
    assert made.key == KEY
    assert set(made.files) == {each.name for each in (tmp_path / "out").iterdir()}
    assert verify.check(tmp_path / "out").wrong == []


@pytest.mark.parametrize(
    ("since", "until", "count"),
    [
        (BEGAN - 3 * STEP, BEGAN - 2 * STEP, 0),
        (BEGAN - STEP, BEGAN + STEP / 2, 100),
        (BEGAN + STEP / 4, BEGAN + STEP / 2, 0),
        (BEGAN + 3.5 * STEP, BEGAN + 99 * STEP, 100),
        (BEGAN + 98 * STEP, BEGAN + 99 * STEP, 0),
        (BEGAN - STEP, BEGAN + 99 * STEP, 700),
    ],
)
def test_windows_at_the_ends_and_without_a_record(
    filled: Home, tmp_path: Path, since: datetime, until: datetime, count: int
) -> None:
    with filled.log() as log:
        made = evidence(log, tmp_path / "out", Selection(window=(since, until)))
    assert made.opened == count
    assert verify.check(tmp_path / "out").wrong == []


def test_a_window_holds_what_a_clock_that_was_set_back_has_put_into_it(
    home: Home, tmp_path: Path
) -> None:
    with home.log() as log:
        for number, wall in enumerate((0, 100, 200, 110, 300, 50, 400)):
            home.clock.wall = 1_800_000_000_000_000 + wall * 1_000_000
            log.record(stored(number))
        window = (BEGAN + timedelta(seconds=90), BEGAN + timedelta(seconds=150))
        made = evidence(log, tmp_path / "out", Selection(window=window))
    found = lines(tmp_path / "out")
    assert [each["n"] for each in found if "record" in each] == [1, 3]
    assert [each["n"] for each in found] == [0, 1, 2, 3, 4]
    assert made.opened == 2
    checked = verify.check(tmp_path / "out")
    assert checked.wrong == []
    assert any("set back by 90 s before record 3" in each for each in checked.remarks)


def test_records_that_name_others_are_counted_and_can_stay_closed(
    home: Home, tmp_path: Path
) -> None:
    with home.log() as log:
        log.record(stored(1, "P1"))
        log.record(replace(stored(2, "P1"), returned=(Returned("P2"),)))
        open_ = evidence(log, tmp_path / "open", Selection(patient="P1"))
        closed = evidence(
            log, tmp_path / "closed", Selection(patient="P1", without_others=True)
        )
    assert (open_.records, open_.opened, open_.others) == (2, 2, 1)
    assert (closed.records, closed.opened, closed.others) == (2, 1, 0)
    assert "P2" not in (tmp_path / "closed" / "records.jsonl").read_text("utf-8")
    assert "name other patients" in (tmp_path / "open" / "README.txt").read_text()
    assert verify.check(tmp_path / "open").wrong == []
    assert verify.check(tmp_path / "closed").wrong == []


def test_nobody_else_can_read_the_folder(good: Path) -> None:
    assert good.stat().st_mode & 0o777 == 0o700
    assert {each.stat().st_mode & 0o777 for each in good.iterdir()} == {0o600}


def test_the_page_says_what_is_proven_and_what_is_not(good: Path) -> None:
    text = (good / "README.txt").read_text("utf-8")
    for part in (
        "200 opened and 2 closed",
        "200 DICOM Instances Transferred",
        "WHAT IT DOES NOT PROVE",
        "That everything that happened was recorded",
        "902(13) and 902(14)",
        "no legal advice",
        "have no gap",
        "2027-01-15 08:00:05 UTC to 2027-01-15 08:00:25 UTC",
    ):
        assert part in text


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"numbers": (1,), "patient": "P"},
        {"patient": ""},
        {"numbers": tuple(range(10_001))},
        {"window": (WINDOW[1], WINDOW[0])},
    ],
)
def test_what_cannot_be_asked_for(wanted: dict[str, Any]) -> None:
    with pytest.raises(BadData):
        Selection(**wanted)


@pytest.mark.parametrize(
    "selection", [Selection(patient="NOBODY"), Selection(numbers=(0, 700))]
)
def test_nothing_is_no_evidence(
    filled: Home, tmp_path: Path, selection: Selection
) -> None:
    with filled.log() as log, pytest.raises(NotFound):
        evidence(log, tmp_path / "out", selection)


def test_a_folder_that_is_there_is_left_alone(filled: Home, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "other.part").mkdir()
    with filled.log() as log:
        for name in ("out", "other"):
            with pytest.raises(Misconfigured):
                evidence(log, tmp_path / name, Selection(numbers=(1,)))
    assert sorted(each.name for each in tmp_path.iterdir()) == ["other.part", "out"]


LOG_CHANGES = (
    "UPDATE audit_record SET record = x'7b7d' WHERE n = 150",
    "UPDATE audit_record SET salt = NULL WHERE n = 150",
    "UPDATE audit_record SET leaf = zeroblob(32) WHERE n = 150",
    "UPDATE audit_record SET wall_us = 'text' WHERE n = 150",
    "DELETE FROM audit_record WHERE n = 150",
    "DELETE FROM audit_record WHERE n = 400",
    "UPDATE audit_record SET leaf = zeroblob(32) WHERE n = 600",
    "DELETE FROM audit_tile",
    "UPDATE audit_tile SET hash = zeroblob(32)",
    "UPDATE audit_head SET note = replace(note, '700', '699')",
)


@pytest.mark.parametrize("statement", LOG_CHANGES)
def test_no_evidence_is_made_of_a_log_that_was_changed(
    filled: Home, tmp_path: Path, statement: str
) -> None:
    home = Home(Path(shutil.copytree(filled.folder, tmp_path / "changed")))
    with home.database() as database:
        log = home.over(database)
        database.write(lambda tx: tx.connection.exec_driver_sql(statement) and None)
        with pytest.raises((Damaged, BadData)):
            evidence(log, tmp_path / "out", Selection(window=WINDOW))
        log._writer.stop()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["changed"]


# ── a program that stands alone ──────────────────────────────────────────────


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages with cryptography, what it needs, and nothing else."""
    folder = tmp_path_factory.mktemp("packages")
    for name in ("cryptography", "cffi", "pycparser", "_cffi_backend"):
        spec = find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        found = Path(spec.origin)
        found = found.parent if found.name == "__init__.py" else found
        (folder / found.name).symlink_to(found)
    return folder


_BARE = """
import runpy, sys
sys.path.insert(0, sys.argv.pop(1))
sys.argv[:] = sys.argv[1:]
assert all("site-packages" not in each for each in sys.path[1:])
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run(bare: Path, folder: Path, *words: object, program: Path | None = None) -> Any:
    """Run a folder's program, isolated, without site-packages."""
    program = program or folder / "verify.py"
    return subprocess.run(
        [
            *(sys.executable, "-I", "-S", "-c", _BARE, bare),
            *map(str, (program, *words)),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=folder.parent,
        env={"PYTHONIOENCODING": "ascii"},
    )


def test_the_program_runs_with_nothing_but_cryptography(bare: Path, good: Path) -> None:
    done = run(bare, good)
    assert (done.returncode, done.stderr) == (0, "")
    assert "GOOD: everything holds, if the key is the node's" in done.stdout
    assert KEY in done.stdout
    assert "none is left out" in done.stdout
    done = run(bare, good, "--key", KEY)
    assert done.returncode == 0
    assert "GOOD: everything holds, under the key that you gave" in done.stdout


def test_the_program_prints_the_records(bare: Path, good: Path) -> None:
    done = run(bare, good, good, "--show")
    assert done.returncode == 0
    shown = [line for line in done.stdout.splitlines() if line[:1].isdigit()]
    assert len(shown) == LAST - FIRST + 1
    assert shown[0].startswith(f"{FIRST} {{")


def test_what_is_printed_does_not_steer_a_terminal(
    bare: Path, home: Home, tmp_path: Path
) -> None:
    with home.log() as log:
        log.record(stored(1, "P\x1b[2J\x9b2J\u202e"))
        evidence(log, tmp_path / "out", Selection(numbers=(0,)))
    done = run(bare, tmp_path / "out", "--show")
    assert done.returncode == 0
    assert all(each.isprintable() for each in done.stdout.replace("\n", ""))
    assert "\\u202e" in done.stdout


def test_the_program_names_nothing_of_ours_and_is_python_3_9() -> None:
    text = Path(verify.__file__).read_text("utf-8")
    tree = ast.parse(text, feature_version=(3, 9))
    named = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    } | {
        str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)
    }
    foreign = {each.partition(".")[0] for each in named} - set(sys.stdlib_module_names)
    assert foreign == {"cryptography"}
    # What came after 3.9, and is no matter of grammar.
    for later in ("pairwise", "bit_count", "slots=", "strict=", "datetime.UTC"):
        assert later not in text


def test_another_key_is_refused(bare: Path, good: Path, tmp_path: Path) -> None:
    other = Ed25519PrivateKey.generate().public_key()
    assert run(bare, good, "--key", verifier_key(ORIGIN, other)).returncode == 1
    assert run(bare, good, "--key", tmp_path / "none.pem").returncode == 1
    assert run(bare, good, "--key", KEY[:-8] + "AAAAAAA=").returncode == 1


def test_a_folder_under_a_key_of_somebody_else_is_not_the_nodes(
    bare: Path, tmp_path: Path
) -> None:
    home = Home(tmp_path / "forged")
    home.folder.mkdir()
    home.prepare()
    with home.database() as database:
        log = AuditLog(
            database,
            Ed25519PrivateKey.generate(),
            ORIGIN,
            home.folder,
            clock=home.clock,
        )
        fill(log, database, 10)
        evidence(log, tmp_path / "out", Selection(numbers=(1,)))
        log.close()
    assert run(bare, tmp_path / "out").returncode == 0  # whole, but whose?
    done = run(bare, tmp_path / "out", "--key", KEY)
    assert done.returncode == 1
    assert "the key that you gave is not the one of this evidence" in done.stdout


# ── the folder under attack, without the key ─────────────────────────────────

FILES = (
    *(
        "README.txt",
        "checkpoints",
        "consistency.jsonl",
        "public_keys.json",
        "manifest.json",
    ),
    *("manifest.sig", "proof.json", "records.jsonl", "verify.py"),
)


def test_these_are_the_files(good: Path) -> None:
    assert sorted(each.name for each in good.iterdir()) == sorted(FILES)


def places(data: bytes) -> Iterator[int]:
    step = max(1, len(data) // 40)
    yield from range(0, len(data), step)
    yield len(data) - 1


@pytest.mark.parametrize("name", FILES)
def test_any_flipped_bit_of_any_file_is_found(copy: Path, name: str) -> None:
    data = (copy / name).read_bytes()
    for at in places(data):
        for mask in (1, 32):
            changed = bytearray(data)
            changed[at] ^= mask
            (copy / name).write_bytes(changed)
            assert wrong(copy), f"byte {at}"


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_cut_emptied_grown_or_gone_is_found(
    copy: Path, name: str
) -> None:
    data = (copy / name).read_bytes()
    for changed in (data[:-1], data[: len(data) // 2], b"", data + b"\n", data * 2):
        (copy / name).write_bytes(changed)
        assert wrong(copy)
    (copy / name).unlink()
    assert wrong(copy)
    (copy / name).mkdir()
    assert wrong(copy)


@pytest.mark.parametrize("name", FILES)
def test_the_program_of_the_folder_finds_it_too(
    bare: Path, good: Path, copy: Path, name: str
) -> None:
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    done = run(bare, copy, copy, program=good / "verify.py")
    assert done.returncode == 1
    assert "NOT GOOD" in done.stdout
    assert "Traceback" not in done.stderr


def test_a_file_too_many_is_found(copy: Path) -> None:
    (copy / "cryptography.py").write_text("")
    assert "cryptography.py does not belong here" in wrong(copy)


def test_hashes_that_were_made_right_again_are_not_what_was_signed(copy: Path) -> None:
    put(copy, lines(copy)[:-1])
    hash_again(copy)
    assert "the manifest is not the one that the node signed" in wrong(copy)


def test_a_signature_of_another_evidence_does_not_fit(
    filled: Home, copy: Path, tmp_path: Path
) -> None:
    with filled.log() as log:
        evidence(log, tmp_path / "other", Selection(numbers=(1,)))
    shutil.copy(tmp_path / "other" / "manifest.sig", copy / "manifest.sig")
    assert "the manifest is not the one that the node signed" in wrong(copy)


def test_a_checkpoint_is_no_signature_of_a_manifest(copy: Path) -> None:
    note = next(split_notes((copy / "checkpoints").read_text("utf-8")))
    (copy / "manifest.sig").write_text(note, "utf-8")
    assert "the manifest is not the one that the node signed" in wrong(copy)
    with pytest.raises(BadData):
        parse(Signer(ORIGIN, SIGNING_KEY).sign_text(f"{verify.STATEMENT_LINE}\n1\nx\n"))


# ── and with it: each check by itself ────────────────────────────────────────


def flip_record(found: list[dict[str, Any]]) -> None:
    found[50]["record"] = found[50]["record"].replace("DOE", "ROE")


def flip_salt(found: list[dict[str, Any]]) -> None:
    found[50]["salt"] = base64.b64encode(bytes(16)).decode()


def flip_keys(found: list[dict[str, Any]]) -> None:
    found[50]["keys"] = found[51]["keys"]


def flip_leaf(found: list[dict[str, Any]]) -> None:
    data = bytearray(base64.b64decode(found[0]["leaf"]))
    data[20] ^= 1  # the clock since boot
    found[0]["leaf"] = base64.b64encode(data).decode()


def swap(found: list[dict[str, Any]]) -> None:
    found[50], found[51] = found[51], found[50]


def renumber(found: list[dict[str, Any]]) -> None:
    for at, other in ((50, 51), (51, 50)):
        data = bytearray(base64.b64decode(found[at]["leaf"]))
        data[1:9] = (FIRST - 1 + other).to_bytes(8, "big")
        found[at]["leaf"] = base64.b64encode(data).decode()
    swap(found)


def insert(found: list[dict[str, Any]]) -> None:
    found.insert(50, found[49])


def append(found: list[dict[str, Any]]) -> None:
    data = bytearray(base64.b64decode(found[-1]["leaf"]))
    data[1:9] = (found[-1]["n"] + 1).to_bytes(8, "big")
    found.append({"leaf": base64.b64encode(data).decode(), "n": found[-1]["n"] + 1})


def delete(found: list[dict[str, Any]]) -> None:
    del found[50]


def cut(found: list[dict[str, Any]]) -> None:
    del found[-20:]


def cut_head(found: list[dict[str, Any]]) -> None:
    del found[:20]


def close(found: list[dict[str, Any]]) -> None:
    for name in ("record", "salt", "keys"):
        del found[50][name]


def empty(found: list[dict[str, Any]]) -> None:
    found.clear()


RECORD_ATTACKS: dict[Callable[[list[dict[str, Any]]], None], str] = {
    flip_record: "record 149 is not the one that was committed to",
    flip_salt: "record 149 is not the one that was committed to",
    flip_keys: "record 149 is not the one that was committed to",
    flip_leaf: "the records do not stand under the newest checkpoint",
    swap: "record 149 is not in its place",
    renumber: "the records do not stand under the newest checkpoint",
    insert: "record 148 is not in its place",
    append: "the proof is too",
    delete: "numbers of the window are left out",
    cut: "what lies after the window is not shown",
    cut_head: "what lies before the window is not shown",
    close: "record 149 of the window is not opened",
    empty: "what lies around the window is not shown",
}


@pytest.mark.parametrize("attack", RECORD_ATTACKS, ids=lambda each: each.__name__)
def test_records_that_were_changed_under_a_good_signature(
    copy: Path, attack: Callable[[list[dict[str, Any]]], None]
) -> None:
    found = lines(copy)
    attack(found)
    put(copy, found)
    counts = json.loads((copy / "manifest.json").read_bytes())["counts"]
    counts |= {
        "records": len(found),
        "opened": sum("record" in each for each in found),
    }
    sign_again(copy, counts=counts)
    assert RECORD_ATTACKS[attack] in wrong(copy)


def notes(folder: Path) -> list[str]:
    return list(split_notes((folder / "checkpoints").read_text("utf-8")))


def put_notes(folder: Path, found: list[str]) -> None:
    (folder / "checkpoints").write_text("".join(found), "utf-8")


def test_a_chain_that_was_rolled_back_is_found(copy: Path) -> None:
    paths = (copy / "consistency.jsonl").read_text().splitlines(keepends=True)
    put_notes(copy, notes(copy)[:-1])
    (copy / "consistency.jsonl").write_text("".join(paths[:-1]))
    sign_again(copy)
    assert "the newest checkpoint is not the one of the manifest" in wrong(copy)
    assert "the records do not stand under the newest checkpoint" in wrong(
        copy
    ) or "the proof is too" in wrong(copy)


@pytest.mark.parametrize("at", range(1, len(SIZES)))
def test_a_history_that_was_forked_is_found(copy: Path, at: int) -> None:
    found = notes(copy)
    found[at] = Signer(ORIGIN, SIGNING_KEY).sign(parse(found[at]).size, bytes(32))
    put_notes(copy, found)
    sign_again(copy)
    assert "does not continue that of" in wrong(copy)


def test_checkpoints_in_another_order_are_found(copy: Path) -> None:
    found = notes(copy)
    found[2], found[3] = found[3], found[2]
    put_notes(copy, found)
    sign_again(copy)
    assert "checkpoints are not in their order" in wrong(copy)


def test_a_checkpoint_left_out_is_found(copy: Path) -> None:
    found = notes(copy)
    del found[2]
    put_notes(copy, found)
    sign_again(copy)
    assert "are not as many" in wrong(copy)


def test_a_checkpoint_of_another_key_is_found(copy: Path) -> None:
    found = notes(copy)
    other = Signer(ORIGIN, Ed25519PrivateKey.generate())
    body = parse(found[2])
    found[2] = other.sign(body.size, body.root)
    put_notes(copy, found)
    sign_again(copy)
    assert "not signed by the key of the node" in wrong(copy)


def test_a_proof_that_was_changed_is_found(copy: Path) -> None:
    path = json.loads((copy / "proof.json").read_bytes())
    for changed in (path[:-1], [*path, path[0]], path[::-1]):
        (copy / "proof.json").write_text(json.dumps(changed))
        sign_again(copy)
        assert "proof is too" in wrong(copy) or "do not stand under" in wrong(copy)


def test_another_window_than_was_asked_for_is_found(copy: Path) -> None:
    selection = json.loads((copy / "manifest.json").read_bytes())["selection"]
    since, until = selection["window"]
    for window in ((since - 20_000_000, until), (since, until + 20_000_000)):
        sign_again(copy, selection=selection | {"window": window})
        assert "the window is not shown" in wrong(copy)


def test_records_of_another_patient_or_number_are_found(
    filled: Home, tmp_path: Path
) -> None:
    with filled.log() as log:
        evidence(log, tmp_path / "out", Selection(patient="PAT-0012"))
    selection = json.loads((tmp_path / "out" / "manifest.json").read_bytes())[
        "selection"
    ]
    sign_again(tmp_path / "out", selection=selection | {"patient": "PAT-0013"})
    assert "not of this patient" in wrong(tmp_path / "out")
    sign_again(tmp_path / "out", selection=selection | {"numbers": [1, 2]})
    assert "not those that were asked for" in wrong(tmp_path / "out")


# ── one proof for many ───────────────────────────────────────────────────────


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 13, 64, 100])
def test_one_proof_leads_from_any_records_to_the_root(size: int) -> None:
    hashes = [leaf_hash(bytes([n])) for n in range(size)]

    def node(level: int, index: int) -> bytes:
        return perfect_root(hashes[index << level : (index + 1) << level])

    root = root_of(size, node)
    choices = [
        range(begin, end)
        for begin in range(size)
        for end in range(begin + 1, size + 1, 5)
    ]
    choices += [range(0, size, step) for step in (2, 3, 7)]
    for chosen in choices:
        numbers = list(chosen)
        proof = multiproof(runs_of(numbers), size, node)
        known = [hashes[n] for n in numbers]
        rest = iter(proof)
        assert verify.root_with(numbers, known, size, rest) == root
        assert list(rest) == []
        assert len(proof) <= 2 * 7 or len(runs_of(numbers)) > 1


def test_the_time_that_is_printed_is_the_time() -> None:
    moment = from_us(1_800_000_000_999_999)
    assert verify.time_of(1_800_000_000_999_999) == f"{moment:%Y-%m-%d %H:%M:%S} UTC"
