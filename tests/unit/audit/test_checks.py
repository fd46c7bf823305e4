"""What a verification looks at together gives what it gives one by one."""

import json
import random
from collections.abc import Iterator, Sequence
from itertools import groupby

import pytest

from leadglass.audit import searchcheck
from leadglass.audit.checks import ClockCheck, Signed, TreeCheck
from leadglass.audit.findings import Findings
from leadglass.audit.leaf import hash_row, hash_rows
from leadglass.audit.merkle import Frontier, leaf_hash
from leadglass.audit.searchcheck import SearchCheck

Entry = tuple[int, int]  # key, number

RECORDS = 5_000
LEAVES = [leaf_hash(n.to_bytes(4, "big")) for n in range(RECORDS)]


# ── the tree ─────────────────────────────────────────────────────────────────


def kept(count: int) -> Iterator[Sequence[object]]:
    """Yield the tiles that are stored for so many records."""
    tree = Frontier()
    return iter(sorted(tile for leaf in LEAVES[:count] for tile in tree.append(leaf)))


def roots(sizes: Sequence[int]) -> list[Signed]:
    tree, found = Frontier(), []
    for leaf in LEAVES:
        if tree.size in sizes:
            found.append(Signed(tree.size, tree.root(), f"at {tree.size}"))
        tree.append(leaf)
    return found


@pytest.mark.parametrize("step", [1, 7, 255, 256, 257, 512, 5_000])
def test_a_tree_grows_by_any_steps_to_the_same(step: int) -> None:
    findings = Findings()
    tree = TreeCheck(findings, roots([0, 1, 255, 256, 300, 4_999]), kept(RECORDS))
    for at in range(0, RECORDS, step):
        tree.extend(LEAVES[at : at + step])
    tree.finish()
    one = TreeCheck(Findings(), [], kept(RECORDS))
    for leaf in LEAVES:
        one.add(leaf, leaf)
    assert findings.found == []
    assert tree.size == RECORDS
    assert tree.frontier() == one.frontier()


@pytest.mark.parametrize("size", [1, 255, 256, 300, 4_999])
def test_a_checkpoint_within_a_step_is_held_against_the_tree(size: int) -> None:
    findings = Findings()
    tree = TreeCheck(findings, [Signed(size, bytes(32), "x")], kept(RECORDS))
    for at in range(0, RECORDS, 512):
        tree.extend(LEAVES[at : at + 512])
    assert [each.kind for each in findings.found] == ["fork"]


def test_leaves_are_hashed_together_as_one_by_one() -> None:
    rows = [
        (n, 5 * n, -n, 7, 110_104, bytes(8 * n), bytes([n]) * 16, b"{}" * n, b"")
        for n in range(50)
    ]
    assert hash_rows(rows) == [hash_row(*row[:8]) for row in rows]


# ── the clocks ───────────────────────────────────────────────────────────────


def test_clocks_of_many_records_are_remarked_as_of_one() -> None:
    generator = random.Random(1)
    rows = []
    wall, mono, boot = 10**15, 10**9, 1
    for n in range(3_000):
        passed = generator.randrange(1_000_000)
        mono += passed
        wall += passed + (generator.choice([0] * 200 + [3_000_000, -2_500_000]))
        if generator.randrange(500) == 0:
            boot, mono = boot + 1, 5
        rows.append((n, wall, mono, boot))
    one, many = Findings(), Findings()
    alone = ClockCheck(one)
    for row in rows:
        alone.see(*row)
    together = ClockCheck(many)
    for at in range(0, len(rows), 100):
        together.see_all(rows[at : at + 100])
    assert len(one.remarks) > 10
    assert many.remarks == one.remarks


# ── the entries of searches ──────────────────────────────────────────────────


def entries(count: int) -> list[Entry]:
    generator = random.Random(2)
    return sorted(
        {
            (generator.randrange(-(1 << 63), 1 << 63), generator.randrange(count))
            for _ in range(count)
        }
    )


def expected(found: Sequence[Entry]) -> SearchCheck:
    """Take entries as records have them."""
    check = SearchCheck()
    by_record = sorted(found, key=lambda entry: entry[1])
    keys, numbers = [], []
    for n, group in groupby(by_record, key=lambda entry: entry[1]):
        keys.append(b"".join(key.to_bytes(8, "big", signed=True) for key, _ in group))
        numbers.append(n)
    for at in range(0, len(keys), 512):
        check.expect(keys[at : at + 512], numbers[at : at + 512])
    return check


def taken(check: SearchCheck, found: Sequence[Entry]) -> SearchCheck:
    """Take entries as the table has them."""
    twin = check.twin()
    rows = [
        (key, json.dumps([n for _, n in group], separators=(",", ":")))
        for key, group in groupby(sorted(found), key=lambda entry: entry[0])
    ]
    for at in range(0, len(rows), 512):
        twin.take(rows[at : at + 512])
    return twin


@pytest.mark.parametrize("count", [0, 1, 2, 3, 1_000, 40_000])
def test_entries_in_another_order_are_the_same(count: int) -> None:
    found = entries(count)
    check = expected(found)
    assert taken(check, found).result() == check.result()
    assert check.count == len(found)


def test_the_product_is_that_of_numbers_without_bounds() -> None:
    found = [*entries(500), (-1, (1 << 63) - 1), (0, 0), (-(1 << 63), 1 << 61)]
    check = expected(found)
    a, b, c, secret = check._secrets
    low, product = (1 << 32) - 1, 1
    for key, n in found:
        unsigned = key % (1 << 64)
        entry = (unsigned >> 32) * a + (unsigned & low) * b + (n >> 32) * c + (n & low)
        product = product * (entry + secret) % searchcheck._PRIME
    assert check.result() == (len(found), 0, product)


@pytest.mark.parametrize("bit", [0, 1, 31, 32, 60, 61, 62])
@pytest.mark.parametrize("which", [0, 1])
def test_any_changed_bit_of_an_entry_is_found(bit: int, which: int) -> None:
    found = entries(300)
    check = expected(found)
    changed = list(found)
    entry = list(changed[100])
    entry[which] ^= 1 << bit
    changed[100] = (entry[0], entry[1])
    assert taken(check, changed).result() != check.result()


def test_entries_that_are_gone_added_or_exchanged_are_found() -> None:
    found = entries(300)
    check = expected(found)
    (key, n), (other, m) = found[10], found[20]
    exchanged = [*found[:10], (key, m), *found[11:20], (other, n), *found[21:]]
    # The same number more than it is less elsewhere: no sum would see it.
    moved = [*found[:10], (key, n + 1), *found[11:20], (other, m - 1), *found[21:]]
    for changed in (found[1:], [*found, (7, 7)], exchanged, moved, []):
        assert taken(check, changed).result() != check.result()
    # A number that is the same modulo the prime.
    same = [*found[:10], (key, n + searchcheck._PRIME), *found[11:]]
    assert taken(check, same).result() != check.result()


@pytest.mark.parametrize(
    "row",
    [
        ("key", "[1]"),
        (b"key", "[1]"),
        (None, "[1]"),
        (7, b"[1]"),
        (7, None),
        (7, "[]"),
        (7, '["1"]'),
        (7, "[1.0]"),
        (7, "[null]"),
        (7, "[99999999999999999999]"),
        (7, "[1,]"),
    ],
)
def test_what_no_record_asks_for_is_found(row: tuple[object, object]) -> None:
    check = expected([(7, 1)])
    twin = check.twin()
    twin.take([row])
    assert twin.result() != check.result()


@pytest.mark.parametrize("keys", [None, "text", b"short", 7])
def test_a_record_without_right_keys_agrees_with_nothing(keys: object) -> None:
    check = SearchCheck()
    check.expect([bytes(8), keys, bytes(8)], [1, 2, 3])
    twin = check.twin()
    twin.take([(0, "[1,3]")])
    assert twin.result() != check.result()
    assert check.count == 3


def test_a_long_list_of_numbers_is_read_in_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(searchcheck, "_TEXT_READ", 10)
    found = [(7, n) for n in range(1_000)]
    check = expected(found)
    assert taken(check, found).result() == check.result()
