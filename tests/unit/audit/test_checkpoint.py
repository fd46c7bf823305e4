"""Checkpoints as others read and forge them."""

from base64 import b64decode, b64encode

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from hypothesis import given
from hypothesis import strategies as st

from leadglass.audit.checkpoint import (
    SIZE_MAX,
    Checkpoint,
    Signer,
    key_id,
    parse,
    split_notes,
    verifier_key,
    verify,
)
from leadglass.errors import BadData, Damaged

ORIGIN = "leadglass.example/pacs"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key()
SIGNER = Signer(ORIGIN, KEY)
ROOT = bytes(range(32))
NOTE = SIGNER.sign(1234, ROOT)


def test_a_note_has_the_form_of_the_specification() -> None:
    body, signatures = NOTE.split("\n\n")
    assert body == f"{ORIGIN}\n1234\n{b64encode(ROOT).decode()}"
    assert signatures.startswith(f"— {ORIGIN} ")
    assert signatures.endswith("\n")
    assert Checkpoint(ORIGIN, 1234, ROOT).text() == body + "\n"


def test_the_key_of_the_specification_has_its_id() -> None:
    # The key of the example in golang.org/x/mod/sumdb/note.
    text = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    raw = b64decode(text.rsplit("+", 1)[1])[1:]
    public = Ed25519PublicKey.from_public_bytes(raw)
    assert key_id("PeterNeumann", public).hex() == "c74f20a3"
    assert verifier_key("PeterNeumann", public) == text


def test_a_signed_checkpoint_is_read() -> None:
    assert verify(NOTE, [PUBLIC], ORIGIN) == Checkpoint(ORIGIN, 1234, ROOT)


def test_any_of_the_logs_keys_will_do() -> None:
    newer = Ed25519PrivateKey.generate().public_key()
    assert verify(NOTE, [newer, PUBLIC]).size == 1234


def test_signatures_of_witnesses_are_passed_over() -> None:
    witness = b64encode(b"abcd" + bytes(72)).decode()
    cosigned = f"{NOTE}— witness.example {witness}\n"
    assert verify(cosigned, [PUBLIC]).size == 1234


@given(st.integers(0, len(NOTE) - 1), st.integers(0, 127))
def test_any_changed_character_is_found(at: int, code: int) -> None:
    changed = NOTE[:at] + chr(code) + NOTE[at + 1 :]
    if changed == NOTE:
        return
    with pytest.raises((BadData, Damaged)):
        verify(changed, [PUBLIC], ORIGIN)


@given(st.integers(0, len(NOTE) - 1))
def test_any_cut_is_found(at: int) -> None:
    with pytest.raises((BadData, Damaged)):
        verify(NOTE[:at], [PUBLIC], ORIGIN)


def test_a_note_of_a_stranger_is_refused() -> None:
    stranger = Signer(ORIGIN, Ed25519PrivateKey.generate()).sign(1234, ROOT)
    with pytest.raises(Damaged, match="not signed by a key"):
        verify(stranger, [PUBLIC])


def test_a_note_of_another_log_is_refused() -> None:
    with pytest.raises(Damaged, match="another log"):
        verify(Signer("other.example", KEY).sign(1, ROOT), [PUBLIC], ORIGIN)


@pytest.mark.parametrize("origin", ["", "with blank", "plus+sign", "line\nfeed", "ö"])
def test_an_origin_that_would_break_the_note_is_refused(origin: str) -> None:
    with pytest.raises(BadData):
        Signer(origin, KEY)


@pytest.mark.parametrize(
    "size", ["01", "-1", "+1", " 1", "1e3", str(SIZE_MAX + 1), "٣"]
)
def test_a_size_has_one_spelling(size: str) -> None:
    with pytest.raises(BadData):
        parse(NOTE.replace("\n1234\n", f"\n{size}\n"))


@given(st.text(max_size=200))
def test_garbage_is_bad_data(text: str) -> None:
    with pytest.raises(BadData):
        parse(text)


def test_a_file_of_notes_is_split_where_they_end() -> None:
    notes = [SIGNER.sign(size, ROOT) for size in range(3)]
    assert list(split_notes("".join(notes))) == notes
    assert list(split_notes("".join(notes) + NOTE[:30])) == [*notes, NOTE[:30]]
    assert list(split_notes("")) == []
