"""One proof for many records: the hashes that the tree needs beside theirs; pure.

Where whole subtrees are shown, nothing is needed of them: the proof of a window
without gaps has the hashes beside its two ends, whatever its length.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence

from leadglass.audit.merkle import NodeSource, root_of

# Records from one number up to, and without, another.
Run = tuple[int, int]


def runs_of(numbers: Sequence[int]) -> list[Run]:
    """Return the numbers, sorted and each once, as runs without gaps."""
    runs: list[Run] = []
    for n in sorted(set(numbers)):
        if runs and runs[-1][1] == n:
            runs[-1] = (runs[-1][0], n + 1)
        else:
            runs.append((n, n + 1))
    return runs


def multiproof(runs: Sequence[Run], size: int, node: NodeSource) -> list[bytes]:
    """Return the roots of the largest subtrees without a shown leaf, left to right.

    Args:
        runs: What is shown, in order, disjoint.
        size: Leaves of the tree.
        node: The hashes of complete subtrees.
    """
    ends = [end for _, end in runs]

    def is_shown(begin: int, end: int) -> bool:
        at = bisect_right(ends, begin)
        return at < len(runs) and runs[at][0] < end

    def is_all_shown(begin: int, end: int) -> bool:
        at = bisect_right(ends, begin)
        return at < len(runs) and runs[at][0] <= begin and end <= runs[at][1]

    def below(begin: int, end: int) -> Iterator[bytes]:
        if not is_shown(begin, end):
            yield _root(begin, end, node)
        elif not is_all_shown(begin, end):
            split = begin + (1 << (end - begin - 1).bit_length() - 1)
            yield from below(begin, split)
            yield from below(split, end)

    return list(below(0, size)) if size else []


def _root(begin: int, end: int, node: NodeSource) -> bytes:
    # Subtrees begin at a multiple of their width: the tree of their leaves alone
    # has the same shape, moved.
    return root_of(end - begin, lambda level, at: node(level, at + (begin >> level)))
