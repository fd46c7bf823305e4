"""What the use cases share: the collaborators, the decision and the record."""

import logging
import os
from dataclasses import dataclass, field
from pathlib import Path

from leadglass.access.rights import Right
from leadglass.access.scopes import Scope
from leadglass.archive.caller import Caller, Gate
from leadglass.archive.intake import Intake
from leadglass.archive.meters import Meters
from leadglass.audit.builders import Actor, Events
from leadglass.audit.events import Event
from leadglass.audit.log import AuditLog
from leadglass.config import Limits
from leadglass.database.engine import Database, Transaction
from leadglass.errors import LeadglassError, Refused, Unavailable
from leadglass.index.index import Index
from leadglass.vault.keys import Keyring
from leadglass.vault.sealed import SealedBlobs

_LOG = logging.getLogger(__name__)


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
    """The collaborators of every use case; ``app`` puts them together.

    ``close`` it before what it is made of.
    """

    database: Database
    index: Index
    audit: AuditLog
    events: Events
    blobs: SealedBlobs
    keyring: Keyring
    gate: Gate
    room: Room
    limits: Limits
    meters: Meters = field(default_factory=Meters)
    intake: Intake = field(init=False)

    def __post_init__(self) -> None:
        intake = Intake(
            database=self.database,
            index=self.index,
            audit=self.audit,
            events=self.events,
            blobs=self.blobs,
            keyring=self.keyring,
        )
        object.__setattr__(self, "intake", intake)

    def close(self) -> None:
        """Enter what has arrived."""
        self.intake.close()

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
