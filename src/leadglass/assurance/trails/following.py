"""Facts go in the transaction that takes their records out of the log.

``Facts.take_own`` would find the order and forget them later; until then a person's
data would stay here, and for ever beside a node that never serves again.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection

from leadglass.archive.retention import Gone
from leadglass.assurance.trails.store import Facts
from leadglass.database.engine import Transaction


@dataclass(frozen=True, slots=True)
class FactsFollower:
    """The facts, as a follower of retention.

    Attributes:
        facts: Of all trails; those of our own are meant.
    """

    facts: Facts

    def positions(self, _: Connection) -> Mapping[str, int]:
        """Return none: what is pruned goes from here, too, so nothing waits for it."""
        return {}

    def forget(self, tx: Transaction, gone: Gone) -> None:
        """Take out what came from these records."""
        self.facts.forget(tx, gone.pruned | gone.erased)
