"""What an erasure must still destroy beside the rows it removed; broken glass."""

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, Text

from leadglass.database.tables import metadata

condemned_key = Table(
    "condemned_key",
    metadata,
    Column("key_id", String(32), primary_key=True),
)

condemned_blob = Table(
    "condemned_blob",
    metadata,
    Column("blob", String(32), primary_key=True),
)

# Times are microseconds since 1970 in UTC.
emergency = Table(
    "emergency",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("patient_id", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("started_us", BigInteger, nullable=False),
    Column("ends_us", BigInteger, nullable=False),
    # NULL until its end is on the record, whether it was stopped or ran out.
    Column("stopped_us", BigInteger, index=True),
    Column("stopped_by", Text),
    # NULL while the review is open.
    Column("reviewed_us", BigInteger, index=True),
    Column("reviewer", Text),
    Column("verdict", Text),
    Column("note", Text),
    Index("ix_emergency_name", "name", "ends_us"),
)
