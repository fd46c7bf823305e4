"""Erasing a study: its rows, its key, its blobs, in an order that a crash keeps.

1. one transaction removes the rows, condemns key and blobs, and records who and why
2. the key is destroyed: from here on nobody can read the blobs, in backups neither
3. the blobs are deleted
4. one transaction takes them off the list of the condemned

A crash after 1 is finished at the next start. An instance that arrives meanwhile
waits, is then refused since its key is gone, and gets a new key when it is sent again.
One that another process accepted just before is erased with its study, and recorded
(``Intake.enter``).
"""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import delete, select

from leadglass.access.rights import Right
from leadglass.archive.caller import Caller
from leadglass.archive.condemned import condemn
from leadglass.archive.parts import Parts
from leadglass.archive.studies import studies_of
from leadglass.archive.tables import condemned_blob, condemned_key
from leadglass.audit.builders import Study
from leadglass.database.engine import Transaction
from leadglass.dicom.uids import UID
from leadglass.errors import Misconfigured, NotFound
from leadglass.index.records import Removed
from leadglass.vault.blobs import BlobName
from leadglass.vault.keys import KeyId

REASON_CHARACTERS_MAX = 500


@dataclass(frozen=True, slots=True)
class Erased:
    """What an erasure destroyed."""

    blobs: int
    keys: int


class Erase:
    """The use case."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def __call__(self, caller: Caller, study_uid: UID, reason: str) -> Erased:
        """Erase a study; when this returns, nobody can read it again.

        Raises:
            Refused: ``caller`` may not erase.
            NotFound: No such study, or not for this caller.
            Misconfigured: No reason was given.
            Unavailable: Nothing, or not everything, is destroyed yet; what was
                decided is finished at the next start.
        """
        parts = self._parts
        if not reason.strip() or len(reason) > REASON_CHARACTERS_MAX:
            raise Misconfigured(
                f"reason: say why, in 1 to {REASON_CHARACTERS_MAX} characters"
            )
        scopes = parts.require(caller, Right.ERASE, "erase")
        with parts.database.read() as connection:
            found = studies_of(parts.index, connection, (study_uid,), scopes)
        study = found.get(study_uid)
        if study is None:
            # Of a study that is only kept aside, no scope can be judged.
            if not any(each.is_everything for each in scopes):
                raise NotFound("no such study")
            study = Study(study_uid)

        with parts.intake.held():
            removed = self._remove(caller, study, reason)
            self._destroy(removed.key_ids, removed.blobs)
        return Erased(blobs=len(removed.blobs), keys=len(removed.key_ids))

    def _remove(self, caller: Caller, study: Study, reason: str) -> Removed:
        """Take the rows out, and record who wanted it."""
        parts = self._parts

        def work(tx: Transaction) -> Removed:
            removed = parts.index.remove_study(tx, study.uid)
            if removed is None:
                raise NotFound("no such study")
            condemn(tx, removed)
            parts.audit.append(
                tx, parts.events.study_erased(parts.actor(caller), study, reason)
            )
            return removed

        return parts.database.write(work)

    def finish_all(self) -> int:
        """Finish what a crash cut off; return how many keys were still condemned."""
        with self._parts.database.read() as connection:
            keys = tuple(connection.scalars(select(condemned_key.c.key_id)))
            blobs = tuple(connection.scalars(select(condemned_blob.c.blob)))
        if keys or blobs:
            self._destroy(keys, blobs)
        return len(keys)

    def _destroy(self, keys: Iterable[str], blobs: Iterable[str]) -> None:
        keys, blobs = tuple(keys), tuple(blobs)
        for key in keys:
            self._parts.keyring.destroy(KeyId(key))
        for blob in blobs:
            self._parts.blobs.delete(BlobName(blob))

        def work(tx: Transaction) -> None:
            # One by one within one transaction: lists as long as a study are no
            # parameters for one statement.
            for key in keys:
                tx.connection.execute(
                    delete(condemned_key).where(condemned_key.c.key_id == key)
                )
            for blob in blobs:
                tx.connection.execute(
                    delete(condemned_blob).where(condemned_blob.c.blob == blob)
                )

        self._parts.database.write(work)
