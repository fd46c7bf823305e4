"""The complete nodes of the stored tree, from leaves and tiles of one snapshot."""

from collections.abc import Sequence

from sqlalchemy import Connection, select

from leadglass.audit import tables
from leadglass.audit.merkle import TILE_LEVELS, TILE_WIDTH, perfect_root
from leadglass.errors import Damaged

# Rows that are read for one node serve its neighbours: some 5 MB of them are kept.
_TILES_KEPT_MAX = 512


class StoredNodes:
    """A ``NodeSource`` over one snapshot."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._tiles: dict[tuple[int, int], Sequence[bytes]] = {}
        self._roots: dict[tuple[int, int], bytes] = {}

    def __call__(self, level: int, index: int) -> bytes:
        """Return the hash of node (level, index).

        Raises:
            Damaged: Rows that it follows from are missing.
        """
        known = self._roots.get((level, index))
        if known is not None:
            return known
        stored_level = level - level % TILE_LEVELS
        count = 1 << (level - stored_level)
        tile, first = divmod(index * count, TILE_WIDTH)
        hashes = self._tile(stored_level, tile)[first : first + count]
        if len(hashes) != count:
            raise Damaged("audit log: rows of the tree are missing")
        root = perfect_root(hashes)
        self._roots[level, index] = root
        return root

    def _tile(self, level: int, tile: int) -> Sequence[bytes]:
        found = self._tiles.get((level, tile))
        if found is None:
            if len(self._tiles) >= _TILES_KEPT_MAX:
                self._tiles.clear()
                self._roots.clear()
            found = self._tiles[level, tile] = self._read(level, tile * TILE_WIDTH)
        return found

    def _read(self, level: int, first: int) -> Sequence[bytes]:
        if level == 0:
            c = tables.record.c
            column, place = c.leaf, c.n
            query = select(place, column)
        else:
            t = tables.tile.c
            column, place = t.hash, t.place
            query = select(place, column).where(t.level == level)
        rows = self._connection.execute(
            query.where(place >= first, place < first + TILE_WIDTH).order_by(place)
        ).all()
        # Those before a gap; who asks for one behind it gets too few.
        return [row[1] for at, row in enumerate(rows) if row[0] == first + at]
