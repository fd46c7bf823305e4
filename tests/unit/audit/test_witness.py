"""A witness: what it cosigns, what it refuses, and what a crash leaves of it."""

import base64
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from leadglass.audit import witness as module
from leadglass.audit.checkpoint import Signer, parse, verifier_key, verify
from leadglass.audit.cosigned_file import NOTES_MAX, CosignedFile
from leadglass.audit.evidence import verify as program
from leadglass.audit.evidence.making import Request
from leadglass.audit.evidence.selection import Selection
from leadglass.audit.log import AuditLog
from leadglass.audit.merkle import EMPTY_ROOT
from leadglass.audit.witness import Offer, Witness, WitnessKey, cosigned_at, sign
from leadglass.errors import (
    BadData,
    Conflict,
    Damaged,
    Misconfigured,
    NotFound,
    Unavailable,
)
from tests.unit.audit.surroundings import (
    EVENTS,
    OPERATOR,
    ORIGIN,
    PUBLIC_KEY,
    SIGNING_KEY,
    Home,
    fill,
    stored,
)

NAME = "witness.example/w1"
NOW = 1_800_000_100
SIGNER = Signer(ORIGIN, SIGNING_KEY)


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    return Witness.init(tmp_path / "witness", NAME)


@contextmanager
def opened(home: Home, count: int = 0) -> Iterator[AuditLog]:
    with home.database() as database:
        log = home.over(database)
        try:
            fill(log, database, count)
            yield log
        finally:
            log.close()


def cosign(witness: Witness, offer: Offer, seconds: int = NOW) -> str:
    """Return what the command prints: the checkpoint with one more signature."""
    done = witness.cosign(offer.text(), [PUBLIC_KEY], seconds)
    return offer.note + done.line


def test_a_log_that_grows_is_cosigned_and_that_is_kept(
    home: Home, witness: Witness
) -> None:
    for count in (3, 300, 1):
        with opened(home, count) as log:
            note = cosign(witness, log.offer(witness.key))
            taken = log.take_cosigned(note, witness.key)
            assert taken.size == log.size()
    kept = CosignedFile(home.folder)
    assert [parse(each).size for each in kept.notes()] == [3, 303, 304]
    assert kept.witnesses() == [witness.key]
    assert kept.size_of(witness.key) == 304
    for each in kept.notes():
        # Whoever knows nothing of witnesses reads it as it was.
        assert verify(each, [PUBLIC_KEY], ORIGIN).origin == ORIGIN
    with opened(home) as log:
        report = log.verify()
    assert report.is_intact


def test_the_same_checkpoint_is_cosigned_again(home: Home, witness: Witness) -> None:
    with opened(home, 5) as log:
        cosign(witness, log.offer(witness.key))
        offer = log.offer(witness.key, 5)
        assert offer.path == ()
        note = cosign(witness, offer, NOW + 9)
    line = note.splitlines(keepends=True)[-1]
    assert cosigned_at(line, note, witness.key) == NOW + 9


def test_the_line_is_that_of_c2sp() -> None:
    key = Ed25519PrivateKey.from_private_bytes(bytes(32))
    note = SIGNER.sign(7, bytes(32))
    line = sign(NAME, key, note, NOW)
    assert line.startswith(f"— {NAME} ")
    raw = base64.b64decode(line.split(" ")[2])
    assert raw[:4] == WitnessKey(NAME, key.public_key()).id
    assert raw[4:12] == NOW.to_bytes(8, "big")
    body = f"{ORIGIN}\n7\n{base64.b64encode(bytes(32)).decode()}\n"
    key.public_key().verify(raw[12:], f"cosignature/v1\ntime {NOW}\n{body}".encode())
    assert program.cosigned_at(note + line, NAME, key.public_key()) == NOW


def test_a_cosignature_of_anything_else_is_none() -> None:
    key = Ed25519PrivateKey.generate()
    named = WitnessKey(NAME, key.public_key())
    note = SIGNER.sign(7, bytes(32))
    line = sign(NAME, key, note, NOW)
    with pytest.raises(Damaged):
        cosigned_at(line, SIGNER.sign(8, bytes(32)), named)
    other = WitnessKey("other.example", key.public_key())
    for wrong in (line[:-9] + "\n", line.replace(NAME, "x"), "— x", "", f"-{line}"):
        with pytest.raises((BadData, Damaged)):
            cosigned_at(wrong, note, named)
    with pytest.raises(BadData):
        cosigned_at(line, note, other)


def test_a_log_that_goes_back_is_refused(
    home: Home, witness: Witness, tmp_path: Path
) -> None:
    with opened(home, 10) as log:
        first = log.offer(witness.key)
    shutil.copytree(home.folder, tmp_path / "older")
    with opened(home, 10) as log:
        cosign(witness, log.offer(witness.key))
    with pytest.raises(Damaged, match="cosigned 20 records, and is offered 10"):
        cosign(witness, first)
    # It can be hidden neither by an offer from 0 nor by the same size.
    with pytest.raises(Damaged, match="rolled back"):
        cosign(witness, Offer(20, (), first.note))


def test_the_node_sees_by_itself_that_it_was_put_back(
    home: Home, witness: Witness, tmp_path: Path
) -> None:
    older = Home(Path(shutil.copytree(home.folder, tmp_path / "older")))
    with opened(home, 10) as log:
        log.take_cosigned(cosign(witness, log.offer(witness.key)), witness.key)
    with opened(older, 4) as log:
        for name in ("cosigned", "witnesses"):
            shutil.copy(home.folder / name, older.folder / name)
        with pytest.raises(Damaged, match="cosigned 10 records, the database has 4"):
            log.offer(witness.key)
        assert {each.kind for each in log.verify().findings} == {"rollback"}


def test_a_fork_is_refused(home: Home, witness: Witness, tmp_path: Path) -> None:
    fork = Home(Path(shutil.copytree(home.folder, tmp_path / "fork")))
    with opened(home, 10) as log:
        cosign(witness, log.offer(witness.key))
    fork.clock.passes(1)
    with opened(fork, 20) as log:
        for path in (log.offer(witness.key, 10).path, ()):
            with pytest.raises(Damaged, match="forked: the 20 records"):
                cosign(witness, Offer(10, path, log.offer(witness.key).note))
    with pytest.raises(Damaged, match="forked"):
        cosign(witness, Offer(10, (), SIGNER.sign(10, bytes(32))))
    with opened(home, 1) as log:  # what was there before goes on
        cosign(witness, log.offer(witness.key, 10))


def test_a_proof_from_elsewhere_is_answered_with_where_to_begin(
    home: Home, witness: Witness
) -> None:
    with opened(home, 10) as log:
        cosign(witness, log.offer(witness.key))
        fill_more(home, log)
        for old in (0, 5):
            with pytest.raises(Conflict, match="audit offer --old 10"):
                cosign(witness, log.offer(witness.key, old))
        cosign(witness, log.offer(witness.key, 10))


def fill_more(home: Home, log: AuditLog) -> None:
    log.record(stored(9))


def test_a_new_witness_is_not_told_of_a_history_it_has_not_seen(
    home: Home, witness: Witness
) -> None:
    with opened(home, 10) as log:
        with pytest.raises(Conflict):
            cosign(witness, log.offer(witness.key, 5))
        offer = log.offer(witness.key)
    with pytest.raises(BadData):
        cosign(witness, Offer(0, (bytes(32),), offer.note))


def test_another_key_or_no_request_is_refused(home: Home, witness: Witness) -> None:
    with opened(home, 3) as log:
        offer = log.offer(witness.key)
    text = offer.text()
    assert Offer.parse(text) == offer
    with pytest.raises(Damaged):
        witness.cosign(text, [Ed25519PrivateKey.generate().public_key()], NOW)
    with pytest.raises(Damaged):
        witness.cosign(text.replace("\n3\n", "\n4\n"), [PUBLIC_KEY], NOW)
    for wrong in (
        "",
        offer.note,
        text.replace("old 0", "old -1"),
        text.replace("old 0", "old 00"),
        text.replace("old 0\n", "old 0\nAAAA\n"),
        text.replace("old 0\n", "old 0\n!\n"),
        text + "x" * module.REQUEST_CHARACTERS_MAX,
    ):
        with pytest.raises(BadData):
            witness.cosign(wrong, [PUBLIC_KEY], NOW)
    assert (
        sorted(each.name for each in witness._folder.iterdir() if "log" in each.name)
        == []
    )


def test_logs_do_not_mix(witness: Witness) -> None:
    other = Signer("other.example", SIGNING_KEY)
    cosign(witness, Offer(0, (), SIGNER.sign(5, bytes(32))))
    done = witness.cosign(
        Offer(0, (), other.sign(3, bytes(32))).text(), [PUBLIC_KEY], NOW
    )
    assert (done.checkpoint.origin, done.old) == ("other.example", None)


def test_an_empty_log_can_be_seen(witness: Witness) -> None:
    cosign(witness, Offer(0, (), SIGNER.sign(0, EMPTY_ROOT)))
    cosign(witness, Offer(0, (), SIGNER.sign(2, bytes(32))))
    with pytest.raises(Damaged, match="rolled back"):
        cosign(witness, Offer(2, (), SIGNER.sign(0, EMPTY_ROOT)))


# ── its folder ───────────────────────────────────────────────────────────────


def test_the_key_is_its_own_and_nobody_else_reads_it(
    witness: Witness, tmp_path: Path
) -> None:
    again = Witness(tmp_path / "witness")
    assert again.key == witness.key == WitnessKey.parse(witness.key.line())
    assert (tmp_path / "witness").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "witness" / "key").stat().st_mode & 0o777 == 0o600
    with pytest.raises(Misconfigured):
        Witness.init(tmp_path / "witness", NAME)
    with pytest.raises(Misconfigured):
        Witness(tmp_path)
    for name in ("a b", "a+b", "", "x" * 256):
        with pytest.raises(BadData):
            Witness.init(tmp_path / "other", name)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    "line", ["", "a+b", "w+00000000+AAAA", verifier_key(ORIGIN, PUBLIC_KEY)]
)
def test_what_is_no_key_of_a_witness(line: str) -> None:
    with pytest.raises(BadData):
        WitnessKey.parse(line)


def test_a_damaged_state_signs_nothing(home: Home, witness: Witness) -> None:
    with opened(home, 3) as log:
        cosign(witness, log.offer(witness.key))
        state = next(each for each in witness._folder.iterdir() if "log-" in each.name)
        state.write_text("x")
        with pytest.raises(Damaged, match="state of this witness"):
            cosign(witness, log.offer(witness.key, 3))


CRASH = """
import os, sys
from pathlib import Path
from leadglass.audit import witness
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
folder, request, key, at = sys.argv[1:]
calls = {name: getattr(os, name) for name in ("fsync", "rename", "replace")}
left = int(at)
def dies(name):
    def call(*arguments, **named):
        global left
        if left == 0:
            os._exit(9)
        left -= 1
        return calls[name](*arguments, **named)
    return call
for name in calls:
    setattr(os, name, dies(name))
public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key))
done = witness.Witness(Path(folder)).cosign(request, [public], 1)
sys.stdout.write(done.line)
sys.stdout.flush()
if left == 0:
    os._exit(9)
"""


@pytest.mark.parametrize("at", range(5))
def test_a_crash_at_any_step_leaves_a_state_that_goes_on(
    home: Home, witness: Witness, at: int
) -> None:
    with opened(home, 3) as log:
        cosign(witness, log.offer(witness.key))
    with opened(home, 4) as log:
        offer = log.offer(witness.key, 3)
        done = subprocess.run(
            [
                *(sys.executable, "-c", CRASH, witness._folder, offer.text()),
                *(PUBLIC_KEY.public_bytes_raw().hex(), str(at)),
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.stderr == ""
        state = next(
            each
            for each in witness._folder.iterdir()
            if each.name.startswith("log-") and not each.name.endswith(".new")
        )
        seen = parse(state.read_text("utf-8")).size
        assert seen in {3, 7}
        # A signature leaves only when what it says is kept.
        assert not done.stdout or seen == 7
        note = cosign(witness, log.offer(witness.key, seen))
        log.take_cosigned(note, witness.key)


def test_a_full_disk_signs_nothing(home: Home, witness: Witness) -> None:
    with opened(home, 3) as log:
        offer = log.offer(witness.key)
    state = witness._state_of(ORIGIN)
    state.with_name(state.name + ".new").mkdir()
    with pytest.raises(Unavailable):
        cosign(witness, offer)
    assert not state.exists()


# ── the node's side ──────────────────────────────────────────────────────────


def test_a_log_that_goes_on_openly_from_a_backup_needs_a_new_witness(
    home: Home, witness: Witness, tmp_path: Path
) -> None:
    with opened(home, 3):
        pass
    shutil.copy(home.path, tmp_path / "backup")
    with opened(home, 3) as log:
        log.take_cosigned(cosign(witness, log.offer(witness.key)), witness.key)
    shutil.copy(tmp_path / "backup", home.path)
    home.clock.passes(9)
    with home.database() as database:
        log = home.over(database)
        log.restart(EVENTS.audit_restarted(OPERATOR, "backup of Monday"))
        fill(log, database, 10)
        log.close()
        assert log.verify().is_intact
        with pytest.raises(Damaged, match="forked"):
            cosign(witness, log.offer(witness.key, 6))
        other = Witness.init(tmp_path / "other", "other.example")
        log.take_cosigned(cosign(other, log.offer(other.key)), other.key)
    assert (home.folder / "cosigned-superseded-1").exists()


def test_what_is_not_cosigned_or_not_ours_is_not_kept(
    home: Home, witness: Witness, tmp_path: Path
) -> None:
    other = Witness.init(tmp_path / "other", "other.example")
    with opened(home, 3) as log:
        offer = log.offer(witness.key)
        note = cosign(witness, offer)
        for wrong in (offer.note, "", cosign(other, offer)):
            with pytest.raises(BadData):
                log.take_cosigned(wrong, witness.key)
        with pytest.raises(Damaged):
            log.take_cosigned(note.replace("\n3\n", "\n4\n"), witness.key)
        last = note.splitlines(keepends=True)[-1]
        false = sign(NAME, Ed25519PrivateKey.generate(), note, NOW)
        with pytest.raises(BadData):
            log.take_cosigned(note.replace(last, false), witness.key)
    assert CosignedFile(home.folder).notes() == []


def test_two_witnesses_are_kept_under_one_checkpoint(
    home: Home, witness: Witness, tmp_path: Path
) -> None:
    other = Witness.init(tmp_path / "other", "other.example")
    with opened(home, 3) as log:
        offer = log.offer(witness.key)
        for each in (witness, other):
            log.take_cosigned(cosign(each, offer), each.key)
        evidence(log, tmp_path / "out")
    kept = CosignedFile(home.folder)
    assert len(kept.notes()) == 1
    assert kept.witnesses() == [witness.key, other.key]
    assert len(kept.notes()[0].splitlines()) == 7
    checked = program.check(tmp_path / "out")
    assert checked.wrong == []
    (told,) = (each for each in checked.holds if each.startswith("cosigned"))
    assert NAME in told
    assert "other.example" in told


def evidence(log: AuditLog, folder: Path) -> None:
    moment = datetime(2027, 1, 16, tzinfo=UTC)
    window = (moment - timedelta(days=9), moment)
    selection = Selection(window=window)
    log.make_evidence(
        log.locate(selection), Request(selection, folder, str(moment), "auditor")
    )


def test_evidence_has_what_witnesses_saw_and_a_false_one_is_found(
    home: Home, witness: Witness, tmp_path: Path
) -> None:
    with opened(home, 3) as log:
        log.take_cosigned(cosign(witness, log.offer(witness.key)), witness.key)
        log.record(stored(4))
        evidence(log, tmp_path / "out")
    checked = program.check(tmp_path / "out")
    assert checked.wrong == []
    said = f"cosigned by a witness: {NAME} saw 3 records at 2027-01-15 08:01:40 UTC"
    assert said in checked.holds
    path = tmp_path / "out" / "checkpoints"
    lines = path.read_text("utf-8").splitlines(keepends=True)
    at = next(i for i, line in enumerate(lines) if NAME in line)
    for changed, what in (
        (lines[:at] + lines[at + 1 :], "cosigned no checkpoint"),
        ([*lines[:at], lines[at].replace("A", "B", 1), *lines[at + 1 :]], "cosign"),
    ):
        path.write_text("".join(changed), "utf-8")
        assert what in "\n".join(program.check(tmp_path / "out").wrong)


def test_the_file_does_not_grow_for_ever(home: Home, witness: Witness) -> None:
    kept = CosignedFile(home.folder)
    notes = []
    for size in range(1, NOTES_MAX + 1):
        note = SIGNER.sign(size, bytes(32))
        notes.append(note + sign(NAME, witness._key, note, NOW))
    (home.folder / "cosigned").write_text("".join(notes), "utf-8")
    note = SIGNER.sign(NOTES_MAX + 1, bytes(32))
    kept.add(note, sign(NAME, witness._key, note, NOW), witness.key)
    sizes = [parse(each).size for each in kept.notes()]
    assert len(sizes) == NOTES_MAX - NOTES_MAX // 4 + 1
    assert (sizes[0], sizes[-1]) == (1, NOTES_MAX + 1)


def test_a_changed_file_is_found(home: Home, witness: Witness) -> None:
    with opened(home, 3) as log:
        log.take_cosigned(cosign(witness, log.offer(witness.key)), witness.key)
        path = home.folder / "cosigned"
        data = path.read_bytes()
        path.write_bytes(data.replace(b"\n3\n", b"\n2\n"))
        assert {each.kind for each in log.verify().findings} == {"checkpoint"}
        (home.folder / "witnesses").write_text("x")
        with pytest.raises(Damaged):
            evidence(log, home.folder / "out")


def test_a_log_without_records_has_nothing_to_offer(
    home: Home, witness: Witness
) -> None:
    with home.database() as database, pytest.raises(NotFound):
        home.over(database).offer(witness.key)
