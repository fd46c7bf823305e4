"""Metadata that was read from files once, so that it is not read again.

In a table, not in blobs: the database file is encrypted whole, its pages are
overwritten when a row goes, and a row goes with its instance in the transaction that
erases the study. A blob would need a row to be found by, and would be one more thing
to condemn, verify and recover.
"""

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import BindParameter, Connection, bindparam, literal_column, select
from sqlalchemy.dialects.sqlite import insert

from leadglass.database.engine import Transaction
from leadglass.index.records import InstanceLocation
from leadglass.index.tables import instance, prepared

_UID: BindParameter[str] = bindparam("uid")
_BLOB: BindParameter[str] = bindparam("blob_name")
_BODY = bindparam("body_bytes", type_=prepared.c.body.type)
# Only beside an instance that still stands on these bytes: what was erased
# meanwhile does not come back by its metadata.
_KEEP = (
    insert(prepared)
    .from_select(
        ["instance_id", "blob", "body"],
        select(instance.c.id, instance.c.blob, _BODY).where(
            instance.c.sop_instance_uid == _UID, instance.c.blob == _BLOB
        ),
    )
    .on_conflict_do_update(
        index_elements=["instance_id"],
        set_={
            "blob": literal_column("excluded.blob"),
            "body": literal_column("excluded.body"),
        },
    )
)


def known(
    connection: Connection, locations: Sequence[InstanceLocation]
) -> Mapping[str, bytes]:
    """Return what is prepared, by SOP Instance UID; ask for some hundred at once."""
    blobs = {each.instance_uid: each.blob for each in locations}
    rows = connection.execute(
        select(instance.c.sop_instance_uid, prepared.c.blob, prepared.c.body)
        .join(prepared, prepared.c.instance_id == instance.c.id)
        .where(instance.c.sop_instance_uid.in_(list(blobs)))
    )
    return {uid: body for uid, blob, body in rows if blobs[uid] == blob}


def keep(tx: Transaction, made: Iterable[tuple[InstanceLocation, bytes]]) -> None:
    """Keep what was made of the bytes of these instances."""
    for location, body in made:
        tx.connection.execute(
            _KEEP,
            {
                "uid": location.instance_uid,
                "blob_name": location.blob,
                "body_bytes": body,
            },
        )
