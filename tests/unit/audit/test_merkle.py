"""The tree against its definition, and under attack."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadglass.audit.merkle import (
    EMPTY_ROOT,
    TILE_LEVELS,
    TILE_WIDTH,
    Frontier,
    NodeSource,
    ProofError,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    perfect_root,
    root_of,
    verify_consistency,
    verify_inclusion,
)

sizes = st.integers(1, 70)


def leaves(count: int) -> list[bytes]:
    return [leaf_hash(number.to_bytes(4, "big")) for number in range(count)]


def defined_root(hashes: list[bytes]) -> bytes:
    """RFC 6962 §2.1, word for word."""
    if not hashes:
        return sha256().digest()
    if len(hashes) == 1:
        return hashes[0]
    split = 1
    while split * 2 < len(hashes):
        split *= 2
    return node_hash(defined_root(hashes[:split]), defined_root(hashes[split:]))


def nodes(hashes: list[bytes]) -> NodeSource:
    def node(level: int, index: int) -> bytes:
        width = 1 << level
        part = hashes[index * width : (index + 1) * width]
        assert len(part) == width, "an incomplete node was asked for"
        return perfect_root(part)

    return node


def grown(hashes: list[bytes]) -> Frontier:
    tree = Frontier()
    for each in hashes:
        tree.append(each)
    return tree


def test_known_answers_of_certificate_transparency() -> None:
    # The test vectors of the reference implementation of RFC 6962.
    data = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        bytes(range(0x50, 0x58)),
        bytes(range(0x60, 0x70)),
    ]
    roots = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ]
    tree = Frontier()
    assert tree.root() == EMPTY_ROOT
    for datum, root in zip(data, roots, strict=True):
        tree.append(leaf_hash(datum))
        assert tree.root().hex() == root


@given(st.integers(0, 70))
def test_growing_gives_the_defined_root(size: int) -> None:
    hashes = leaves(size)
    tree = grown(hashes)
    assert tree.root() == defined_root(hashes) == root_of(size, nodes(hashes))
    again = Frontier.decode(size, tree.encode())
    assert again.root() == tree.root()


def test_a_leaf_tells_the_tiles_it_completes() -> None:
    hashes = leaves(3 * TILE_WIDTH + 1)
    tree = Frontier()
    told = [tile for each in hashes for tile in tree.append(each)]
    assert told == [
        (
            TILE_LEVELS,
            index,
            perfect_root(hashes[index * TILE_WIDTH : (index + 1) * TILE_WIDTH]),
        )
        for index in range(3)
    ]


def test_a_tile_of_tiles_is_told_too() -> None:
    leaf = leaf_hash(b"")
    tree = Frontier()
    for _ in range(TILE_WIDTH**2 - 1):
        tree.append(leaf)
    told = tree.append(leaf)
    assert [tile[:2] for tile in told] == [(8, TILE_WIDTH - 1), (16, 0)]
    assert told[1][2] == tree.root()


@given(sizes, st.data())
def test_inclusion(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    hashes = leaves(size)
    path = inclusion_proof(index, size, nodes(hashes))
    root = defined_root(hashes)
    verify_inclusion(hashes[index], index, size, path, root)
    wrong = data.draw(st.integers(0, size + 1).filter(lambda at: at != index))
    with pytest.raises(ProofError):
        verify_inclusion(hashes[index], wrong, size, path, root)
    with pytest.raises(ProofError):
        verify_inclusion(leaf_hash(b"other"), index, size, path, root)
    with pytest.raises(ProofError):
        verify_inclusion(hashes[index], index, size, [*path, root], root)
    if path:
        with pytest.raises(ProofError):
            verify_inclusion(hashes[index], index, size, path[:-1], root)
        at = data.draw(st.integers(0, len(path) - 1))
        path[at] = bytes(byte ^ 1 for byte in path[at])
        with pytest.raises(ProofError):
            verify_inclusion(hashes[index], index, size, path, root)


@given(sizes, st.data())
def test_consistency(size: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, size))
    hashes = leaves(size)
    old = (first, defined_root(hashes[:first]))
    new = (size, defined_root(hashes))
    path = consistency_proof(first, size, nodes(hashes))
    verify_consistency(old, new, path)
    with pytest.raises(ProofError):
        verify_consistency((first, leaf_hash(b"fork")), new, path)
    with pytest.raises(ProofError):
        verify_consistency(old, new, [*path, new[1]])
    if first > 0:
        with pytest.raises(ProofError):
            verify_consistency(old, (size, leaf_hash(b"fork")), path)
    if path:
        with pytest.raises(ProofError):
            verify_consistency(old, new, path[:-1])
        with pytest.raises(ProofError):
            verify_consistency(new, old, path)


@pytest.mark.parametrize(
    ("size", "data"),
    [
        (1, b""),
        (0, bytes(32)),
        (3, bytes(32)),
        (2, bytes(31)),
        (2, bytes(33)),
        (-1, b""),
    ],
)
def test_a_frontier_that_cannot_be_is_refused(size: int, data: bytes) -> None:
    with pytest.raises(ValueError, match="disagree"):
        Frontier.decode(size, data)


def test_there_is_no_proof_of_what_is_not_there() -> None:
    with pytest.raises(ValueError, match="no such leaf"):
        inclusion_proof(3, 3, nodes(leaves(3)))
    with pytest.raises(ValueError, match="larger"):
        consistency_proof(4, 3, nodes(leaves(3)))
