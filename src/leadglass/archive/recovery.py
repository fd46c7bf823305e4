"""What a start finishes of what a crash cut off: O(unfinished), not O(archive)."""

from dataclasses import dataclass

from leadglass.archive.erase import Erase
from leadglass.archive.parts import Parts


@dataclass(frozen=True, slots=True)
class Recovered:
    """What was found unfinished.

    Attributes:
        settled: Blobs whose row was committed before the crash.
        removed: Blobs that no row names; nobody was told they were stored.
        erased: Erasures that were decided and recorded, and are now complete.
    """

    settled: int
    removed: int
    erased: int


def recover(parts: Parts, erase: Erase) -> Recovered:
    """Settle or remove the blobs that dead processes left; finish erasures.

    Raises:
        Damaged: The database is older than what was signed: its write-ahead log is
            damaged, or it was put back from a backup. A blob that it does not name
            may be one whose sender was told that it is stored; nothing is removed.
        Unavailable: Database or vault cannot answer; try again at the next start.
    """
    parts.audit.take_up()
    erased = erase.finish_all()
    names = tuple(parts.blobs.unsettled())
    with parts.database.read() as connection:
        named = parts.index.known_blobs(connection, names)
    for name in names:
        if name in named:
            parts.blobs.settle(name)
        else:
            parts.blobs.delete(name)
    return Recovered(len(named), len(names) - len(named), erased)
