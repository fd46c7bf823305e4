"""The arithmetic of the Merkle tree of RFC 6962 §2.1; pure.

A tree over ``n`` leaves is held as its frontier: the roots of the perfect subtrees
that ``n`` is the sum of, largest first, one per set bit of ``n``. Appending a leaf
costs two hashes on average, the root at most log₂ n. Node addresses are (level,
index): level 0 are the leaves, node (l, i) covers leaves i·2ˡ up to (i+1)·2ˡ.
"""

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256

HASH_BYTES = 32

# Interior hashes are kept for complete subtrees of 256 nodes only, as the tiles of
# c2sp.org/tlog-tiles: one stored hash per 256 leaves, and a proof costs at most three
# short reads for sixteen million records.
TILE_LEVELS = 8
TILE_WIDTH = 1 << TILE_LEVELS

# Root of the tree without leaves, RFC 6962 §2.1.
EMPTY_ROOT = sha256(b"").digest()

# No tree has 2^63 leaves; a proof longer than this was not made by any log.
PROOF_HASHES_MAX = 63

# (level, index, hash) of a node at the top of a complete tile.
TileRoot = tuple[int, int, bytes]

# Gives the hash of a node whose subtree is complete: (level, index) -> hash.
NodeSource = Callable[[int, int], bytes]


class ProofError(ValueError):
    """A proof does not lead from what it claims to the root."""


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of a leaf; its prefix keeps it from being taken for a node."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an interior node."""
    return sha256(b"\x01" + left + right).digest()


class Frontier:
    """A tree that grows, as the roots of its perfect subtrees."""

    __slots__ = ("_roots", "size")

    def __init__(self, size: int = 0, roots: Iterable[bytes] = ()) -> None:
        """Take up a tree of ``size`` leaves where it was left.

        Raises:
            ValueError: The roots cannot belong to a tree of that size.
        """
        self.size = size
        self._roots = list(roots)
        if (
            size < 0
            or len(self._roots) != size.bit_count()
            or any(len(root) != HASH_BYTES for root in self._roots)
        ):
            raise ValueError("frontier and size of the tree disagree")

    @classmethod
    def decode(cls, size: int, data: bytes) -> "Frontier":
        """Return the frontier that ``encode`` wrote.

        Raises:
            ValueError: The bytes cannot belong to a tree of that size.
        """
        return cls(
            size,
            (data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES)),
        )

    def encode(self) -> bytes:
        """Return the roots of the perfect subtrees, largest first."""
        return b"".join(self._roots)

    def append(self, leaf: bytes) -> Sequence[TileRoot]:
        """Add the hash of the next leaf.

        Returns:
            The tile roots that this leaf completed, lowest first: the roots of the
            subtrees of 256, 65,536, … leaves that end with it.
        """
        roots = self._roots
        index, level = self.size, 0
        tiles: list[TileRoot] = []
        while index & 1:
            leaf = sha256(b"\x01" + roots.pop() + leaf).digest()
            index >>= 1
            level += 1
            if level % TILE_LEVELS == 0:
                tiles.append((level, index, leaf))
        roots.append(leaf)
        self.size += 1
        return tiles

    def root(self) -> bytes:
        """Return the root of the tree as it stands."""
        if not self._roots:
            return EMPTY_ROOT
        node = self._roots[-1]
        for left in reversed(self._roots[:-1]):
            node = sha256(b"\x01" + left + node).digest()
        return node


def perfect_root(hashes: Sequence[bytes]) -> bytes:
    """Return the root over a power of two of hashes of one level."""
    level = list(hashes)
    while len(level) > 1:
        pairs = iter(level)
        level = [
            sha256(b"\x01" + left + right).digest()
            for left, right in zip(pairs, pairs, strict=True)
        ]
    return level[0]


def _subtree_root(begin: int, end: int, node: NodeSource) -> bytes:
    """Return the root over leaves ``begin`` to ``end``, where ``begin`` is a
    multiple of the largest power of two below ``end - begin`` and itself."""
    count = end - begin
    if count & (count - 1) == 0:
        level = count.bit_length() - 1
        return node(level, begin >> level)
    split = 1 << (count - 1).bit_length() - 1
    return node_hash(
        _subtree_root(begin, begin + split, node),
        _subtree_root(begin + split, end, node),
    )


def root_of(size: int, node: NodeSource) -> bytes:
    """Return the root of the first ``size`` leaves from complete nodes alone."""
    return _subtree_root(0, size, node) if size else EMPTY_ROOT


def inclusion_proof(index: int, size: int, node: NodeSource) -> list[bytes]:
    """Return the audit path of leaf ``index`` in the tree of ``size`` leaves.

    RFC 6962 §2.1.1; at most ⌈log₂ size⌉ hashes, lowest first.

    Raises:
        ValueError: There is no such leaf.
    """
    if not 0 <= index < size:
        raise ValueError("no such leaf in a tree of this size")
    path: list[bytes] = []
    begin, end = 0, size
    while end - begin > 1:
        split = begin + (1 << (end - begin - 1).bit_length() - 1)
        if index < split:
            path.append(_subtree_root(split, end, node))
            end = split
        else:
            path.append(_subtree_root(begin, split, node))
            begin = split
    path.reverse()
    return path


def verify_inclusion(
    leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes
) -> None:
    """Check that the leaf with hash ``leaf`` stands at ``index`` under ``root``.

    RFC 9162 §2.1.3.2.

    Raises:
        ProofError: It does not, as far as this proof goes.
    """
    if not 0 <= index < size or len(path) > PROOF_HASHES_MAX:
        raise ProofError("the proof is not for a leaf of this tree")
    node, last = index, size - 1
    computed = leaf
    for hash_ in path:
        if last == 0:
            raise ProofError("the inclusion proof is too long")
        if node & 1 or node == last:
            computed = node_hash(hash_, computed)
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            computed = node_hash(computed, hash_)
        node >>= 1
        last >>= 1
    if last != 0:
        raise ProofError("the inclusion proof is too short")
    if computed != root:
        raise ProofError("the record is not under this root")


def consistency_proof(first: int, second: int, node: NodeSource) -> list[bytes]:
    """Return the proof that the tree of ``second`` leaves continues that of ``first``.

    RFC 6962 §2.1.2; empty when the sizes are equal or ``first`` is 0.

    Raises:
        ValueError: ``first`` is larger than ``second``.
    """
    if not 0 <= first <= second:
        raise ValueError("the first tree is larger than the second")
    if first in (0, second):
        return []
    path: list[bytes] = []
    begin, end, is_whole = 0, second, True
    while first != end:
        split = begin + (1 << (end - begin - 1).bit_length() - 1)
        if first <= split:
            path.append(_subtree_root(split, end, node))
            end = split
        else:
            path.append(_subtree_root(begin, split, node))
            begin, is_whole = split, False
    if not is_whole:
        path.append(_subtree_root(begin, end, node))
    path.reverse()
    return path


def verify_consistency(
    first: tuple[int, bytes], second: tuple[int, bytes], path: Sequence[bytes]
) -> None:
    """Check that tree ``second`` (size, root) continues tree ``first``.

    RFC 9162 §2.1.4.2.

    Raises:
        ProofError: It does not, as far as this proof goes.
    """
    (size_1, root_1), (size_2, root_2) = first, second
    if not 0 <= size_1 <= size_2 or len(path) > PROOF_HASHES_MAX + 1:
        raise ProofError("the trees shrink, or the proof is too long")
    if size_1 in (0, size_2):
        # Nothing to climb: the empty tree has one root, equal sizes have equal roots.
        if path or root_1 != (root_2 if size_1 else EMPTY_ROOT):
            raise ProofError("two roots for one size")
        return
    hashes = [root_1, *path] if size_1 & (size_1 - 1) == 0 else list(path)
    if not hashes:
        raise ProofError("the consistency proof is too short")
    if _climb_both(size_1, size_2, hashes) != (root_1, root_2):
        raise ProofError("the second tree does not continue the first")


def _climb_both(
    size_1: int, size_2: int, hashes: Sequence[bytes]
) -> tuple[bytes, bytes]:
    """Return the roots of both trees that a consistency proof leads to."""
    node, last = size_1 - 1, size_2 - 1
    while node & 1:
        node >>= 1
        last >>= 1
    old = new = hashes[0]
    for hash_ in hashes[1:]:
        if last == 0:
            raise ProofError("the consistency proof is too long")
        if node & 1 or node == last:
            old, new = node_hash(hash_, old), node_hash(hash_, new)
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            new = node_hash(new, hash_)
        node >>= 1
        last >>= 1
    if last != 0:
        raise ProofError("the consistency proof is too short")
    return old, new
