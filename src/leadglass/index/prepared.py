"""Metadata that was read from files once, so that it is not read again.

In a table, not in blobs: the database file is encrypted whole, its pages are
overwritten when a row goes, and a row goes with its instance in the transaction that
erases the study. A blob would need a row to be found by, and would be one more thing
to condemn, verify and recover.
"""

import json
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from struct import Struct
from typing import Final

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    bindparam,
    func,
    literal_column,
    select,
)
from sqlalchemy.dialects.sqlite import insert

from leadglass.database.engine import Transaction
from leadglass.database.prepared import Prepared
from leadglass.index.records import InstanceLocation
from leadglass.index.statements import LOCATED
from leadglass.index.statements import location as location_of
from leadglass.index.tables import instance, prepared, series, study

_UID: BindParameter[str] = bindparam("uid")
_BLOB: BindParameter[str] = bindparam("blob_name")
_BODY = bindparam("body_bytes", type_=prepared.c.body.type)
# Only beside an instance that still stands on these bytes: what was erased
# meanwhile does not come back by its metadata.
_KEEP = Prepared(
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


# The first of a series is packed by itself and the others with it as their dictionary
# (RFC 1950 §2.2): neighbours differ in a few numbers, so they take a tenth of the room
# and half the time to unpack.
_ALONE: Final = b"\x00"
_LIKE: Final = b"\x01"
_BASE = Struct(">Q")
# What deflate can look back on; of a longer first one there is no use.
_DICTIONARY_BYTES_MAX: Final = 32 * 1024

_UIDS: BindParameter[str] = bindparam("uids")
# One parameter whatever their number: nothing is compiled again.
_KNOWN = Prepared(
    select(instance.c.sop_instance_uid, prepared.c.blob, prepared.c.body)
    .join(prepared, prepared.c.instance_id == instance.c.id)
    .where(
        instance.c.sop_instance_uid.in_(
            select(func.json_each(_UIDS).table_valued("value").c.value)
        )
    )
)
_BODY_OF = Prepared(
    select(prepared.c.body).where(prepared.c.instance_id == bindparam("base"))
)
_ONE: ColumnElement[int] = literal_column("1")  # a constant: nothing to bind
# The first of the series that stands by itself, if there is one.
_FIRST = Prepared(
    select(prepared.c.instance_id, prepared.c.body)
    .join(instance, instance.c.id == prepared.c.instance_id)
    .where(
        instance.c.owner_id
        == select(instance.c.owner_id)
        .where(instance.c.sop_instance_uid == _UID)
        .scalar_subquery(),
        func.substr(prepared.c.body, _ONE, _ONE) == literal_column("x'00'"),
        func.length(prepared.c.body) <= literal_column(str(_DICTIONARY_BYTES_MAX)),
    )
    .order_by(prepared.c.instance_id)
)


class Bodies:
    """What is prepared of some instances; unpacked one at a time."""

    def __init__(self, packed: Mapping[str, bytes], bases: Mapping[int, bytes]) -> None:
        """Prepare; ``bases`` are dictionaries by their instances' numbers."""
        self._packed = packed
        self._bases = bases

    def get(self, instance_uid: str) -> bytes | None:
        """Return the metadata of an instance; ``None`` if there is none of use."""
        packed = self._packed.get(instance_uid)
        if packed is None:
            return None
        try:
            if packed[:1] == _ALONE:
                return zlib.decompress(memoryview(packed)[1:])
            if packed[:1] == _LIKE:
                (base,) = _BASE.unpack_from(packed, 1)
                unpacker = zlib.decompressobj(zdict=self._bases[base])
                return unpacker.decompress(memoryview(packed)[1 + _BASE.size :])
        except (zlib.error, KeyError, struct.error):
            pass  # its dictionary has changed or gone: it is made again
        return None


def known(connection: Connection, locations: Sequence[InstanceLocation]) -> Bodies:
    """Return what is prepared of these; ask for some hundred at once."""
    blobs = {each.instance_uid: each.blob for each in locations}
    rows = _KNOWN.execute(connection, {"uids": json.dumps(list(blobs))}).fetchall()
    packed = {uid: body for uid, blob, body in rows if blobs[uid] == blob}
    wanted = {
        _BASE.unpack_from(body, 1)[0]
        for body in packed.values()
        if body[:1] == _LIKE and len(body) > _BASE.size
    }
    bases = {}
    for number in wanted:
        row = _BODY_OF.execute(connection, {"base": number}).fetchone()
        dictionary = None if row is None else _dictionary(row[0])
        if dictionary is not None:
            bases[number] = dictionary
    return Bodies(packed, bases)


def _dictionary(body: bytes) -> bytes | None:
    """Return what others are packed with; ``None`` if this is nothing for it."""
    if body[:1] != _ALONE:
        return None
    try:
        unpacker = zlib.decompressobj()
        return unpacker.decompress(memoryview(body)[1:], _DICTIONARY_BYTES_MAX)
    except zlib.error:
        return None


def keep(tx: Transaction, made: Iterable[tuple[InstanceLocation, bytes]]) -> None:
    """Keep what was made of the bytes of these instances."""
    for location, body in made:
        _KEEP.execute(
            tx.connection,
            {
                "uid": location.instance_uid,
                "blob_name": location.blob,
                "body_bytes": _packed(tx, location, body),
            },
        )


def _packed(tx: Transaction, location: InstanceLocation, body: bytes) -> bytes:
    first = _first(tx, location)
    if first is None:
        return _ALONE + zlib.compress(body)
    number, dictionary = first
    packer = zlib.compressobj(zdict=dictionary)
    return _LIKE + _BASE.pack(number) + packer.compress(body) + packer.flush()


def _first(tx: Transaction, location: InstanceLocation) -> tuple[int, bytes] | None:
    """Return the number and the dictionary of a series' first, if it has one."""
    key = (__name__, location.study_uid, location.series_uid)
    if key not in tx.memo:
        row = _FIRST.execute(tx.connection, {"uid": location.instance_uid}).fetchone()
        dictionary = None if row is None else _dictionary(row[1])
        if row is None or dictionary is None:
            return None
        tx.memo[key] = row[0], dictionary
    found: tuple[int, bytes] = tx.memo[key]
    return found


def missing(
    connection: Connection, study_uid: str, series_uid: str
) -> Sequence[InstanceLocation]:
    """Return the instances of a series of which nothing is prepared."""
    rows = connection.execute(
        LOCATED.outerjoin_from(instance, prepared)
        .where(
            study.c.study_instance_uid == study_uid,
            series.c.series_instance_uid == series_uid,
            prepared.c.instance_id.is_(None),
        )
        .order_by(instance.c.id)
    )
    return [location_of(row) for row in rows]


def newest(connection: Connection) -> int:
    """Return the number of the newest instance; 0 if there is none."""
    return connection.execute(select(func.max(instance.c.id))).scalar_one() or 0


def newest_prepared(connection: Connection) -> int:
    """Return the number of the newest instance that is prepared; 0 if none is."""
    found = connection.execute(select(func.max(prepared.c.instance_id)))
    return found.scalar_one() or 0


def between(
    connection: Connection, after: int, until: int
) -> Sequence[tuple[str, str]]:
    """Return study and series of the instances of these numbers, the oldest first."""
    rows = connection.execute(
        select(study.c.study_instance_uid, series.c.series_instance_uid)
        .select_from(instance.join(series).join(study))
        .where(instance.c.id > after, instance.c.id <= until)
        .group_by(series.c.id)
        .order_by(func.max(instance.c.id))
    )
    return [(study_uid, series_uid) for study_uid, series_uid in rows]
