"""Keys that an erasure has decided to destroy: no row may be added that needs one.

An erasure condemns a study's keys in its transaction and destroys them after it;
whoever adds a row looks here in the transaction that adds it. So whichever of the
two transactions is first, no row is left whose key is gone.
"""

from typing import Final

from sqlalchemy import insert, select

from leadglass.archive.tables import condemned_blob, condemned_key
from leadglass.database.engine import Transaction
from leadglass.database.prepared import Prepared
from leadglass.errors import NotFound, Unavailable
from leadglass.index.records import Removed
from leadglass.vault.keys import KeyId, Keyring

_MEMO: Final = "condemned keys"
_CONDEMNED_KEYS: Final = Prepared(select(condemned_key.c.key_id))


class KeyGone(Unavailable):
    """The study of an arriving instance was erased; a new send gets a new key."""

    def __init__(self) -> None:
        super().__init__("the study was erased meanwhile; send again")


def check_key(tx: Transaction, keyring: Keyring, key_id: str) -> None:
    """Make sure, in the transaction that adds a row, that its key will last.

    Raises:
        KeyGone: The key is condemned or gone; a new send gets a new one.
    """
    condemned = tx.memo.get(_MEMO)
    if condemned is None:
        rows = _CONDEMNED_KEYS.execute(tx.connection, {})
        condemned = frozenset(key for (key,) in rows.fetchall())
        tx.memo[_MEMO] = condemned
        keyring.reload_if_changed()
    if key_id in condemned:
        raise KeyGone
    try:
        keyring.study_key(KeyId(key_id))
    except NotFound:
        raise KeyGone from None


def condemn(tx: Transaction, removed: Removed) -> None:
    """Note, in the transaction that removes rows, what must be destroyed.

    Instances that are added later in this same transaction see it, too.
    """
    tx.memo.pop(_MEMO, None)
    if removed.key_ids:
        tx.connection.execute(
            insert(condemned_key), [{"key_id": key} for key in removed.key_ids]
        )
    if removed.blobs:
        tx.connection.execute(
            insert(condemned_blob), [{"blob": blob} for blob in removed.blobs]
        )
