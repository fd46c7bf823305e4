"""Tree and clocks, looked at while a verification lets records stream by; pure."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from leadglass.audit.findings import Findings
from leadglass.audit.merkle import (
    HASH_BYTES,
    TILE_LEVELS,
    TILE_WIDTH,
    Frontier,
    perfect_root,
)

# Disagreement of wall clock and clock since boot between two records that is worth a
# remark (rule R-37 of log review): time services slew, they do not jump.
CLOCK_JUMP_US = 2_000_000

_US_PER_S = 1_000_000
_NO_HASH = bytes(HASH_BYTES)


@dataclass(frozen=True, slots=True)
class Signed:
    """A checkpoint whose signature holds, and where it was."""

    size: int
    root: bytes
    where: str


class TreeCheck:
    """The tree as the records give it, held against tiles and checkpoints.

    Of each leaf there are two candidates: the hash computed from the record, and
    the stored one. They are the same unless somebody altered one of them; tiles and
    checkpoints then tell which, so that one altered record is one finding and not
    the end of everything after it.
    """

    def __init__(
        self,
        findings: Findings,
        signed: Iterable[Signed],
        kept: Iterator[Sequence[object]],
    ) -> None:
        """Begin.

        Args:
            findings: Where to tell.
            signed: The checkpoints, in any order.
            kept: Rows (level, place, hash) of the stored tiles, in this order.
        """
        self._findings = findings
        self._signed = sorted(signed, key=lambda each: each.size)
        self._kept = kept
        self._next_kept = next(kept, None)
        self._computed: list[bytes] = []
        self._stored: list[bytes] = []
        self._has_gap = False  # in this tile
        self._tiles = Frontier()
        self._upper: dict[tuple[int, int], bytes] = {}
        self._position = 0  # in the list of checkpoints
        self._confirmed = 0  # records that the last matching checkpoint covers
        self._mismatches = 0
        self._is_incomplete = False  # no root can be computed any more
        self.size = 0
        self._see_checkpoints()

    def add(self, computed: bytes, stored: object) -> None:
        """Take the next leaf; ``computed`` is empty if it could not be."""
        if not isinstance(stored, bytes) or len(stored) != HASH_BYTES:
            stored = _NO_HASH
        self._computed.append(computed or stored)
        self._stored.append(stored)
        self.size += 1
        if len(self._computed) == TILE_WIDTH:
            self._close_tile()
        if (
            self._position < len(self._signed)
            and self._signed[self._position].size == self.size
        ):
            self._see_checkpoints()

    def extend(self, hashes: Sequence[bytes]) -> None:
        """Take the next leaves, of which computed and stored hash are the same."""
        at = 0
        while at < len(hashes):
            room = TILE_WIDTH - len(self._computed)
            if self._position < len(self._signed):
                room = min(room, self._signed[self._position].size - self.size)
            part = hashes[at : at + room]
            self._computed += part
            self._stored += part
            self.size += len(part)
            at += len(part)
            if len(self._computed) == TILE_WIDTH:
                self._close_tile()
            self._see_checkpoints()

    def skip(self, end: int) -> None:
        """Go on at record ``end``; those before it are missing."""
        first = self.size
        self._findings.find(
            "missing",
            f"record {first} is missing"
            if end - first == 1
            else f"records {first} to {end - 1} are missing",
            first,
            end - 1,
        )
        for _ in range(first, end):
            self._has_gap = True
            self.add(b"", None)

    def pass_over(self, end: int) -> None:
        """Go on at ``end``; the tiles before it were pruned, and their hashes stand.

        What was signed within a tile cannot be held against anything any more; what
        was signed later vouches for its hash.
        """
        while self.size < end:
            place = self._tiles.size
            kept = self._take_kept(place)
            if kept is None:
                first = place * TILE_WIDTH
                self._findings.find(
                    "tree",
                    f"the stored hash over the pruned records {first} to "
                    f"{first + TILE_WIDTH - 1} is missing",
                    first,
                    first + TILE_WIDTH - 1,
                )
                self._is_incomplete = True
            self._append_tile(kept or _NO_HASH)
            self.size += TILE_WIDTH
            while (
                self._position < len(self._signed)
                and self._signed[self._position].size < self.size
            ):
                self._position += 1
            self._see_checkpoints()

    def frontier(self, *, is_stored: bool = False) -> bytes:
        """Return the encoded frontier of the tree as far as it goes."""
        rest = Frontier()
        for leaf in self._stored if is_stored else self._computed:
            rest.append(leaf)
        return self._tiles.encode() + rest.encode()

    def finish(self) -> None:
        """Tell what is left over, and how many checkpoints failed."""
        while self._next_kept is not None:
            level, place, hash_ = self._next_kept
            if self._upper.pop((level, place), None) != hash_:  # type: ignore[arg-type]
                self._findings.find(
                    "tree",
                    f"the stored hash of level {level!r}, place {place!r} does not "
                    "follow from the records",
                )
            self._next_kept = next(self._kept, None)
        for level, place in self._upper:
            self._findings.find(
                "tree", f"the stored hash of level {level}, place {place} is missing"
            )
        if self._mismatches > 1:
            self._findings.find(
                "fork",
                f"{self._mismatches - 1} later checkpoints do not match either",
            )

    def _close_tile(self) -> None:
        place = self._tiles.size
        kept = self._take_kept(place)
        root = perfect_root(self._computed)
        if self._has_gap:
            self._is_incomplete = self._is_incomplete or not kept
            root = kept or root
        elif root != kept:
            first = place * TILE_WIDTH
            last = first + TILE_WIDTH - 1
            if self._stored != self._computed and perfect_root(self._stored) == kept:
                root = kept  # the altered record has its finding
            elif kept is None:
                text = f"the stored hash over records {first} to {last} is missing"
                self._findings.find("tree", text, first, last)
            else:
                text = (
                    f"records {first} to {last} do not give the hash that is stored "
                    "over them: at least one was altered"
                )
                self._findings.find("tree", text, first, last)
        self._append_tile(root)
        self._computed, self._stored = [], []
        self._has_gap = False

    def _append_tile(self, root: bytes) -> None:
        for level, above, hash_ in self._tiles.append(root):
            self._upper[level + TILE_LEVELS, above] = hash_

    def _take_kept(self, place: int) -> bytes | None:
        while self._next_kept is not None:
            level, kept_place, hash_ = self._next_kept
            if (level, kept_place) == (TILE_LEVELS, place):
                self._next_kept = next(self._kept, None)
                if isinstance(hash_, bytes) and len(hash_) == HASH_BYTES:
                    return hash_
                return _NO_HASH
            if (level, kept_place) > (TILE_LEVELS, place):
                return None
            self._findings.find(
                "tree", f"a stored hash of level {level!r}, place {kept_place!r} is odd"
            )
            self._next_kept = next(self._kept, None)
        return None

    def _see_checkpoints(self) -> None:
        """Hold the checkpoints of just this size against the tree."""
        roots: list[bytes] = []
        while (
            self._position < len(self._signed)
            and self._signed[self._position].size == self.size
        ):
            signed = self._signed[self._position]
            self._position += 1
            if not roots:
                roots = [self._root(is_stored=False)]
                if self._stored != self._computed:
                    roots.append(self._root(is_stored=True))
            if signed.root in roots:
                self._confirmed = self.size
            elif not self._has_gap and not self._is_incomplete:
                self._tell_fork(signed)

    def _root(self, *, is_stored: bool) -> bytes:
        return Frontier.decode(self.size, self.frontier(is_stored=is_stored)).root()

    def _tell_fork(self, signed: Signed) -> None:
        self._mismatches += 1
        if self._mismatches > 1:
            return
        first, last = self._confirmed, max(self.size - 1, 0)
        self._findings.find(
            "fork",
            f"{signed.where} signs another history of its {signed.size} records: "
            f"something from record {first} to record {last} is not as it was signed",
            first,
            last,
        )


class ClockCheck:
    """Remarks where the wall clock jumped between two records."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._last: Sequence[int] | None = None

    def see_all(self, rows: Sequence[Sequence[Any]]) -> None:
        """Compare the clocks of rows that begin (number, wall, since boot, boot)."""
        last = self._last
        apart = [row[1] - row[2] for row in rows]
        if (
            last is not None
            and {row[3] for row in rows} == {last[2]}
            and max(*apart, last[0] - last[1]) - min(*apart, last[0] - last[1])
            < CLOCK_JUMP_US
        ):
            # All within one boot and one range: no two of them are a jump apart.
            self._last = rows[-1][1:4]
            return
        for row in rows:
            self.see(*row[:4])

    def sees(self, boot: int, apart: tuple[int, int], newest: tuple[int, int]) -> bool:
        """Take rows of one boot by what is known of them; False: read them.

        Args:
            boot: Of all of them.
            apart: The least and the greatest that their two clocks are apart.
            newest: Wall clock and clock since boot of the last of them.
        """
        last = self._last
        if last is None or last[2] != boot:
            return False
        low, high = min(apart[0], last[0] - last[1]), max(apart[1], last[0] - last[1])
        if high - low >= CLOCK_JUMP_US:
            return False
        self._last = (*newest, boot)
        return True

    def see(self, n: int, wall_us: int, mono_us: int, boot: int) -> None:
        """Compare a record's clocks with those of the one before."""
        last, self._last = self._last, (wall_us, mono_us, boot)
        if last is None:
            return
        passed = wall_us - last[0]
        # Between two boots the time that really passed is not known.
        same_boot = boot == last[2]
        jump = passed - (mono_us - last[1]) if same_boot else min(passed, 0)
        if abs(jump) >= CLOCK_JUMP_US:
            way = "back" if jump < 0 else "forward"
            self._findings.remark(
                "clock",
                f"the clock was set {way} by {abs(jump) / _US_PER_S:.0f} s "
                f"before record {n}",
                n,
            )
