"""Proof files as strangers read and forge them."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from leadglass.audit.checkpoint import Signer
from leadglass.audit.leaf import Leaf, commit, hash_row
from leadglass.audit.merkle import (
    Frontier,
    inclusion_proof,
    leaf_hash,
    node_hash,
    perfect_root,
    root_of,
)
from leadglass.audit.proof import Disclosure, Proof, verify_proof
from leadglass.errors import BadData, Damaged
from tests.unit.audit.surroundings import ORIGIN, PUBLIC_KEY, SIGNING_KEY

SHOWN = Disclosure(bytes(16), b"12345678", '{"id":"é"}'.encode())
LEAF = Leaf(2, 3, 4, 5, 110104, commit(SHOWN.salt, SHOWN.keys, SHOWN.record))
HASHES = [leaf_hash(bytes([n])) for n in range(7)]
HASHES[2] = leaf_hash(LEAF.encode())


def made(*, disclose: bool = True) -> Proof:
    tree = Frontier()
    for each in HASHES:
        tree.append(each)
    path = inclusion_proof(
        2, 7, lambda level, i: perfect_root(HASHES[i << level : (i + 1) << level])
    )
    note = Signer(ORIGIN, SIGNING_KEY).sign(7, tree.root())
    return Proof(LEAF.encode(), tuple(path), note, SHOWN if disclose else None)


TEXT = made().json()


def test_a_row_hashes_as_its_leaf() -> None:
    row = hash_row(2, 3, 4, 5, 110104, SHOWN.keys, SHOWN.salt, SHOWN.record)
    assert row == HASHES[2]
    assert Leaf.decode(LEAF.encode()) == LEAF
    for data in (b"", LEAF.encode()[:-1], b"\x02" + LEAF.encode()[1:]):
        with pytest.raises(BadData):
            Leaf.decode(data)


def test_a_proof_is_read_back() -> None:
    assert Proof.parse(TEXT) == made()
    proven = verify_proof(TEXT, PUBLIC_KEY)
    assert proven.leaf == LEAF
    assert proven.record == SHOWN.record
    assert verify_proof(made(disclose=False).json(), PUBLIC_KEY).record is None


@given(st.integers(0, len(TEXT) - 1), st.characters())
def test_any_changed_character_is_found(at: int, character: str) -> None:
    changed = TEXT[:at] + character + TEXT[at + 1 :]
    try:
        proven = verify_proof(changed, PUBLIC_KEY, origin=ORIGIN)
    except (BadData, Damaged):
        return
    # Blanks and escapes of JSON, or a member's name: then it still says the same.
    assert proven.leaf == LEAF
    assert proven.record in (SHOWN.record, None)


@pytest.mark.parametrize("member", ["leaf", "path", "checkpoint", "record", "salt"])
def test_a_part_of_another_proof_is_found(member: str) -> None:
    members = json.loads(TEXT)
    other = {
        "leaf": Proof(Leaf(2, 3, 4, 5, 6, bytes(32)).encode(), (), "").json(),
        "path": json.dumps({"path": members["path"][::-1]}),
        "checkpoint": json.dumps(
            {"checkpoint": Signer(ORIGIN, SIGNING_KEY).sign(7, bytes(32))}
        ),
        "record": json.dumps({"record": '{"id":"e"}'}),
        "salt": json.dumps({"salt": "AAAAAAAAAAAAAAAAAAAAAQ=="}),
    }
    members[member] = json.loads(other[member])[member]
    with pytest.raises(Damaged):
        verify_proof(json.dumps(members), PUBLIC_KEY)


def test_another_key_proves_nothing() -> None:
    with pytest.raises(Damaged):
        verify_proof(TEXT, Ed25519PrivateKey.generate().public_key())
    with pytest.raises(Damaged):
        verify_proof(TEXT, PUBLIC_KEY, origin="other.example")


@pytest.mark.parametrize(
    "text",
    ["", "null", "[]", "{}", "[" * 100_000, '{"format":"leadglass-audit-proof-1"}'],
)
def test_garbage_is_bad_data(text: str) -> None:
    with pytest.raises(BadData):
        verify_proof(text, PUBLIC_KEY)


def test_the_same_proof_for_verifiers_of_others() -> None:
    lines = made().tlog_proof().split("\n")
    assert lines[0] == "c2sp.org/tlog-proof@v1"
    assert lines[1].startswith("extra ")
    assert lines[2] == "index 2"
    assert lines[3:6] == json.loads(TEXT)["path"]
    assert lines[6] == ""
    assert "\n".join(lines[7:]) == made().note


@pytest.mark.parametrize("n", [0, 4_999_999, 8_388_607, 8_388_608, 9_999_999])
def test_a_proof_among_ten_million_records_has_two_kilobytes_at_most(n: int) -> None:
    size = 10_000_000
    # As long as they get: the greatest values of a leaf, a longer name than ours is.
    leaf = Leaf(n, 1 << 62, 1 << 62, 1 << 62, 110_138, bytes(range(32)))
    origin = "leadglass-" + "f" * 54
    alike = [leaf_hash(b"another")]
    while len(alike) < 25:
        alike.append(node_hash(alike[-1], alike[-1]))

    def node(level: int, index: int) -> bytes:
        if n >> level != index:
            return alike[level]
        if level == 0:
            return leaf_hash(leaf.encode())
        return node_hash(node(level - 1, 2 * index), node(level - 1, 2 * index + 1))

    note = Signer(origin, SIGNING_KEY).sign(size, root_of(size, node))
    proof = Proof(leaf.encode(), tuple(inclusion_proof(n, size, node)), note)
    assert verify_proof(proof.json(), PUBLIC_KEY).leaf == leaf
    assert len(proof.json().encode()) <= 2048
    assert len(proof.tlog_proof().encode()) <= 2048
