"""The tables of the audit log (docs/explanation/formats/audit-log.md)."""

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, Table, Text

from leadglass.database.tables import metadata

# SQLite makes a column its row number only when it is called INTEGER; it holds 64
# bits all the same.
_NUMBER = BigInteger().with_variant(Integer, "sqlite")

record = Table(
    "audit_record",
    metadata,
    Column("n", _NUMBER, primary_key=True, autoincrement=False),
    Column("wall_us", BigInteger, nullable=False),
    Column("mono_us", BigInteger, nullable=False),
    Column("boot", BigInteger, nullable=False),
    Column("code", Integer, nullable=False),
    # NULL only where personal data was erased later: then ``erased`` has a row.
    Column("search_keys", LargeBinary),
    Column("salt", LargeBinary),
    Column("record", LargeBinary),
    Column("leaf", LargeBinary, nullable=False),
)

# Roots of complete subtrees of 256, 65,536, … leaves.
tile = Table(
    "audit_tile",
    metadata,
    Column("level", Integer, primary_key=True, autoincrement=False),
    Column("place", _NUMBER, primary_key=True, autoincrement=False),
    Column("hash", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

# The one row that says how far the log goes.
head = Table(
    "audit_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("size", BigInteger, nullable=False),
    Column("frontier", LargeBinary, nullable=False),
    Column("note", Text, nullable=False),
)

# Which records mention a patient, study, user, address or kind of event; written
# for 256 records at a time.
mention = Table(
    "audit_mention",
    metadata,
    Column("key", BigInteger, primary_key=True, autoincrement=False),
    Column("n", BigInteger, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)

# What the leaf of an erased record needs beside its row, and the number of the record
# that says on whose order.
erased = Table(
    "audit_erased",
    metadata,
    Column("n", _NUMBER, primary_key=True, autoincrement=False),
    Column("commitment", LargeBinary, nullable=False),
    Column("order_n", BigInteger, nullable=False, index=True),
)

# The one row that says which record tells what was pruned, all of it.
pruned = Table(
    "audit_pruned",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("order_n", BigInteger, nullable=False),
)

HEAD_ID = 1
PRUNED_ID = 1
