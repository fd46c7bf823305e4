"""The rules that stand: good files are taken over, bad ones change nothing."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from leadglass.access.policy import Kind, Subject
from leadglass.access.rights import Right
from leadglass.archive import rulebook as rulebook_module
from leadglass.archive.parts import Parts
from leadglass.archive.rulebook import Outdated, RuleBook, digest_of
from leadglass.errors import Misconfigured, Unavailable
from leadglass.identity.device import PlaintextRequest
from leadglass.identity.devices import Devices, parse_device

OPERATOR = Subject(Kind.OPERATOR, "root")
DEVICE = Subject(Kind.EXCEPTION, "OLD-US")
ARCHIVIST = """
[[rule]]
name = "archivist erases"
operators = ["archivist"]
rights = ["erase"]
reason = "retention"
"""
READER = ARCHIVIST.replace("erase", "audit")  # and its name
EXPECTED = """
[[expect]]
name = "the scanner cannot query"
exception = "OLD-US"
right = "find"
from = "10.4.0.9"
allowed = false
"""
BROKEN = EXPECTED.replace("find", "store")


@pytest.fixture
def devices(parts: Parts) -> Devices:
    devices = Devices(parts.database)
    now = datetime.now(UTC)
    device = parse_device(
        name="OLD-US",
        ae_titles=["OLDUS"],
        networks=[],
        rights=["store"],
        now=now,
        has_tls=False,
        unsafe_plaintext=PlaintextRequest(
            address="10.4.0.9", reason="no TLS", not_after=now + timedelta(1)
        ),
    )
    parts.database.write(lambda tx: devices.enrol(tx, device))
    return devices


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rules.toml"


@pytest.fixture
def open_book(path: Path, devices: Devices) -> Callable[[], RuleBook]:
    return lambda: RuleBook(path, devices, OPERATOR)


def names(book: RuleBook, subject: Subject = OPERATOR) -> list[str]:
    return [each.name for each in book.rules(subject)]


def test_without_a_file_only_operator_and_devices(
    open_book: Callable[[], RuleBook],
) -> None:
    book = open_book()
    (own,) = book.rules(OPERATOR)
    assert own.rights == frozenset(Right)
    assert own.networks == ()  # on the node itself alone
    assert own.subjects == {OPERATOR}
    assert names(book, DEVICE) == ["device OLD-US"]
    assert names(book, Subject(Kind.DEVICE, "nobody")) == []
    assert book.digest == sha256(b"").hexdigest()
    assert not book.reload_if_changed()


def test_another_operator_has_the_rule_of_the_node_but_is_not_its_subject(
    open_book: Callable[[], RuleBook],
) -> None:
    rules = open_book().rules(Subject(Kind.OPERATOR, "mallory"))
    assert all(Subject(Kind.OPERATOR, "mallory") not in each.subjects for each in rules)


def test_a_file_is_read_and_named_by_its_hash(
    path: Path, open_book: Callable[[], RuleBook]
) -> None:
    path.write_text(ARCHIVIST + EXPECTED)
    book = open_book()
    assert names(book) == ["the node's operator", "archivist erases"]
    assert names(book, DEVICE) == ["device OLD-US", "archivist erases"]
    assert book.digest == sha256((ARCHIVIST + EXPECTED).encode()).hexdigest()
    book.check()


@pytest.mark.parametrize("text", ["[[rule]]", "no toml", BROKEN, 'x = "\ud800"'])
def test_a_node_does_not_start_with_a_bad_one(
    path: Path, open_book: Callable[[], RuleBook], text: str
) -> None:
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(Misconfigured):
        open_book()


def test_all_problems_are_told_at_once(
    path: Path, open_book: Callable[[], RuleBook]
) -> None:
    path.write_text("[[rule]]\n[[rule]]\nnme = 1\n")
    with pytest.raises(Misconfigured) as caught:
        open_book()
    assert len(caught.value.problems) > 3
    assert all("rules.toml" in each for each in caught.value.problems)


def test_an_expectation_that_does_not_hold_says_which(
    path: Path, open_book: Callable[[], RuleBook]
) -> None:
    path.write_text(BROKEN)
    with pytest.raises(Misconfigured, match="the scanner cannot query"):
        open_book()


def test_a_changed_file_is_taken_over_once(
    path: Path, open_book: Callable[[], RuleBook]
) -> None:
    path.write_text(ARCHIVIST)
    book = open_book()
    path.write_text(READER)
    assert book.reload_if_changed()
    assert names(book) == ["the node's operator", "archivist audits"]
    assert book.digest == sha256(READER.encode()).hexdigest()
    assert not book.reload_if_changed()


def test_a_file_that_came_and_went(
    path: Path, open_book: Callable[[], RuleBook]
) -> None:
    book = open_book()
    path.write_text(ARCHIVIST)
    assert book.reload_if_changed()
    path.unlink()
    assert book.reload_if_changed()
    assert names(book) == ["the node's operator"]


def test_a_touched_file_is_no_change(
    path: Path, open_book: Callable[[], RuleBook]
) -> None:
    path.write_text(ARCHIVIST)
    book = open_book()
    os.utime(path, ns=(1, 1))
    assert not book.reload_if_changed()


@pytest.mark.parametrize("text", [READER + "[[", READER + BROKEN, "[[rule]]"])
def test_a_bad_change_changes_nothing_and_is_told_once(
    path: Path, open_book: Callable[[], RuleBook], text: str
) -> None:
    path.write_text(ARCHIVIST)
    book = open_book()
    digest = book.digest
    path.write_text(text)
    with pytest.raises(Misconfigured):
        book.check()
    with pytest.raises(Misconfigured):
        book.reload_if_changed()
    assert not book.reload_if_changed()
    assert names(book) == ["the node's operator", "archivist erases"]
    assert book.digest == digest
    path.write_text(READER)
    assert book.reload_if_changed()


def test_a_file_that_cannot_be_read_and_then_can(
    path: Path, open_book: Callable[[], RuleBook], monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_text(ARCHIVIST)
    book = open_book()
    path.write_text(READER)
    monkeypatch.setattr(RuleBook, "_read", _cannot_read)
    with pytest.raises(Misconfigured, match="let this user read it"):
        book.reload_if_changed()
    monkeypatch.undo()
    path.chmod(0o644)
    path.chmod(0o600)
    assert book.reload_if_changed()
    assert names(book)[1] == "archivist audits"


def _cannot_read(book: RuleBook) -> str:
    raise book._unreadable(PermissionError(13, "Permission denied"))


def test_a_folder_in_its_place(path: Path, open_book: Callable[[], RuleBook]) -> None:
    path.mkdir()
    with pytest.raises(Misconfigured, match="cannot be read"):
        open_book()


def test_a_file_in_the_place_of_its_folder(tmp_path: Path, devices: Devices) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Misconfigured, match="cannot be read"):
        RuleBook(tmp_path / "file" / "rules.toml", devices, OPERATOR)


def test_a_file_without_end(
    path: Path, open_book: Callable[[], RuleBook], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rulebook_module, "RULE_FILE_BYTES_MAX", 100)
    path.write_text("#" * 101)
    with pytest.raises(Misconfigured, match="too large"):
        open_book()


KILLED = """
import os, signal, sys
from pathlib import Path
from leadglass.access.policy import Kind, Subject
from leadglass.archive.rulebook import RuleBook, digest_of

class Nobody:
    rules = {}
    def register(self):
        return self

def killed(*_):
    os.kill(os.getpid(), signal.SIGKILL)

path, text = Path(sys.argv[1]), sys.argv[2]
book = RuleBook(path, Nobody(), Subject(Kind.OPERATOR, "root"))
Path.replace = killed
book.put(text, digest_of(path.read_text()), lambda facts: None)
"""


def test_a_node_that_is_killed_before_the_rename_loses_nothing(
    devices: Devices, tmp_path: Path
) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(ARCHIVIST, "utf-8")
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(path), READER], timeout=60, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert path.read_text("utf-8") == ARCHIVIST
    left = list(tmp_path.glob(".rules.toml.*"))
    assert [each.read_text("utf-8") for each in left] == [READER]
    # The next one opens with the old rules, and cleans up when it writes.
    book = RuleBook(path, devices, OPERATOR)
    assert book.put(READER, digest_of(ARCHIVIST), lambda _: None)
    assert path.read_text("utf-8") == READER
    assert list(tmp_path.glob(".rules.toml.*")) == []


def test_nothing_is_written_that_is_not_on_the_record(
    devices: Devices, tmp_path: Path
) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(ARCHIVIST, "utf-8")
    book = RuleBook(path, devices, OPERATOR)

    def fails(_: object) -> None:
        raise Unavailable("the record is full")

    with pytest.raises(Unavailable):
        book.put(READER, digest_of(ARCHIVIST), fails)
    assert path.read_text("utf-8") == ARCHIVIST
    assert book.digest == digest_of(ARCHIVIST)


def test_a_text_is_put_in_the_place_of_what_was_seen_only(
    devices: Devices, tmp_path: Path
) -> None:
    path = tmp_path / "rules.toml"
    book, facts = RuleBook(path, devices, OPERATOR), []  # type: ignore[var-annotated]
    assert book.put(ARCHIVIST, digest_of(""), facts.append)
    assert [each["sha256_before"] for each in facts] == [digest_of("")]
    assert not book.put(ARCHIVIST, digest_of(ARCHIVIST), facts.append)
    path.write_text(READER, "utf-8")
    for seen in ("", ARCHIVIST):
        with pytest.raises(Outdated):
            book.put(ARCHIVIST, digest_of(seen), facts.append)
    with pytest.raises(Misconfigured):
        book.put(BROKEN, digest_of(READER), facts.append)
    assert path.read_text("utf-8") == READER
    assert len(facts) == 1
