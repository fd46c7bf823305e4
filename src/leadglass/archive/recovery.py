"""What a start finishes of what a crash cut off: O(unfinished), not O(archive)."""

import logging
from dataclasses import dataclass

from leadglass.archive.erase import Erase
from leadglass.archive.intake import Entry
from leadglass.archive.parts import Parts
from leadglass.archive.reading import read_stored
from leadglass.errors import BadData, Damaged, LeadglassError, NotFound
from leadglass.vault.blobs import BlobName

_LOG = logging.getLogger(__name__)


@dataclass(slots=True)
class Recovered:
    """What was found unfinished.

    Attributes:
        settled: Blobs whose row was committed before the crash.
        entered: Blobs that were stored and had no row yet; now they have.
        removed: Blobs that nobody can need: their study was erased.
        damaged: Blobs that do not verify any more; they stay where they are.
        held: Blobs that are whole and cannot be entered, by a mistake of ours; they
            stay where they are, and a version that mends it enters them.
        erased: Erasures that were decided and recorded, and are now complete.
    """

    settled: int = 0
    entered: int = 0
    removed: int = 0
    damaged: int = 0
    held: int = 0
    erased: int = 0


def recover(parts: Parts, erase: Erase) -> Recovered:
    """Enter and settle the blobs that dead processes left; finish erasures.

    Raises:
        Damaged: The database is older than what was signed: its write-ahead log is
            damaged, or it was put back from a backup. What it does not know may be
            what it knew before; nothing is entered on top of that.
        Unavailable: Database or vault cannot answer; try again at the next start.
    """
    parts.audit.take_up()
    found = Recovered(erased=erase.finish_all())
    names = tuple(parts.blobs.unsettled())
    with parts.database.read() as connection:
        known = parts.index.known_blobs(connection, names)
    for name in names:
        if name in known:
            parts.blobs.settle(name)
            found.settled += 1
        else:
            _try_to_enter(parts, name, found)
    if found.damaged:
        _LOG.error("blobs that were stored do not verify: %d", found.damaged)
    if found.held:
        _LOG.error("blobs that were stored cannot be entered: %d", found.held)
    return found


def _try_to_enter(parts: Parts, name: BlobName, found: Recovered) -> None:
    """Enter one blob; one that fails must not keep the node from starting.

    Raises:
        LeadglassError: It is not this blob that fails, but what it needs.
    """
    try:
        _enter(parts, name, found)
    except LeadglassError:
        raise
    except Exception:  # noqa: BLE001  # nothing was committed; the blob is as it was
        _LOG.exception("a stored instance cannot be entered; its blob is kept")
        found.held += 1


def _enter(parts: Parts, name: BlobName, found: Recovered) -> None:
    """Enter one blob from its receipt, as it would have been but for the crash."""
    try:
        stored = read_stored(parts.blobs, name)
    except NotFound:
        parts.blobs.delete(name)
        found.removed += 1
        return
    except (BadData, Damaged):
        # It was whole when it got its name: somebody may have been told so.
        found.damaged += 1
        return
    if stored.receipt is None:  # it was not this archive that put it there
        parts.blobs.delete(name)
        found.removed += 1
        return
    entry = Entry(stored.record, stored.study, stored.receipt)
    (entered,) = parts.database.write(
        lambda tx: parts.intake.enter(tx, (entry,), are_told=True)
    )
    parts.intake.tidy(name, is_kept=entered.is_kept)
    found.entered += 1
