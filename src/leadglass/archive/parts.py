"""What the use cases share: the collaborators, the decision and the record."""

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import insert, select

from leadglass.access.rights import Right
from leadglass.access.scopes import Scope
from leadglass.archive.caller import Caller, Gate
from leadglass.archive.tables import condemned_blob, condemned_key
from leadglass.audit.builders import Actor, Events
from leadglass.audit.events import Event
from leadglass.audit.log import AuditLog
from leadglass.config import Limits
from leadglass.database.engine import Database, Transaction
from leadglass.database.prepared import Prepared
from leadglass.errors import LeadglassError, NotFound, Refused, Unavailable
from leadglass.index.index import Index
from leadglass.index.records import Removed
from leadglass.vault.keys import KeyId, Keyring
from leadglass.vault.sealed import SealedBlobs

_LOG = logging.getLogger(__name__)

_CONDEMNED: Final = "condemned keys"
_CONDEMNED_KEYS: Final = Prepared(select(condemned_key.c.key_id))


class KeyGone(Unavailable):
    """The study of an arriving instance was erased; a new send gets a new key."""


@dataclass(frozen=True, slots=True)
class Room:
    """How much space must stay free on the disk of the data folder."""

    folder: Path
    free_bytes_min: int

    def check(self) -> None:
        """Refuse before the disk is full: the database needs room to say why.

        Raises:
            Unavailable: Less than ``free_bytes_min`` is free.
        """
        try:
            found = os.statvfs(self.folder)
        except OSError as error:
            raise Unavailable("the disk cannot be asked for its space") from error
        if found.f_bavail * found.f_frsize < self.free_bytes_min:
            raise Unavailable("not enough free space on the disk")


@dataclass(frozen=True, slots=True)
class Parts:
    """The collaborators of every use case; ``app`` puts them together."""

    database: Database
    index: Index
    audit: AuditLog
    events: Events
    blobs: SealedBlobs
    keyring: Keyring
    gate: Gate
    room: Room
    limits: Limits

    def actor(self, caller: Caller) -> Actor:
        """Return the caller as the record names it."""
        return Actor(
            name=caller.subject.name,
            address="" if caller.address is None else str(caller.address),
            ae_title=caller.ae_title or "",
            certificate=caller.certificate or "",
            channel=caller.channel,
            kind=caller.subject.kind,
        )

    def require(self, caller: Caller, right: Right, function: str) -> tuple[Scope, ...]:
        """Return what the caller may reach by ``right``, or record the refusal.

        Raises:
            Refused: No rule permits it; the reason is on the record alone.
        """
        try:
            return self.gate.scopes(caller, right)
        except Refused as refusal:
            self.try_to_record(
                self.events.access_refused(self.actor(caller), function, str(refusal))
            )
            raise Refused("not authorized") from None

    def record(self, *events: Event) -> None:
        """Record events in a transaction of their own; durable on return.

        Raises:
            Unavailable: They cannot be recorded, so what they tell must not happen.
        """

        def work(tx: Transaction) -> None:
            for event in events:
                self.audit.append(tx, event)

        self.database.write(work)

    def try_to_record(self, *events: Event) -> bool:
        """Record what was refused anyway, so that it stays refused if this fails.

        Returns whether it is on the record.
        """
        try:
            self.record(*events)
        except LeadglassError as error:
            _LOG.error("a refusal could not be recorded: %s", error)
            return False
        return True

    def check_key(self, tx: Transaction, key_id: str) -> None:
        """Make sure, in the transaction that adds a row, that its key will last.

        An erasure condemns a study's keys in its transaction and destroys them
        after it; whichever of the two transactions is first, no row is left whose
        key is gone.

        Raises:
            KeyGone: The key is condemned or gone; a new send gets a new one.
        """
        condemned = tx.memo.get(_CONDEMNED)
        if condemned is None:
            rows = _CONDEMNED_KEYS.execute(tx.connection, {})
            condemned = frozenset(key for (key,) in rows.fetchall())
            tx.memo[_CONDEMNED] = condemned
        if key_id not in condemned:
            self.keyring.reload_if_changed()
            try:
                self.keyring.study_key(KeyId(key_id))
            except NotFound:
                pass
            else:
                return
        raise KeyGone("the study was erased meanwhile; send again")

    @staticmethod
    def condemn(tx: Transaction, removed: Removed) -> None:
        """Note, in the transaction that removes rows, what must be destroyed.

        Instances that are added later in this same transaction see it, too.
        """
        tx.memo.pop(_CONDEMNED, None)
        if removed.key_ids:
            tx.connection.execute(
                insert(condemned_key), [{"key_id": key} for key in removed.key_ids]
            )
        if removed.blobs:
            tx.connection.execute(
                insert(condemned_blob), [{"blob": blob} for blob in removed.blobs]
            )
