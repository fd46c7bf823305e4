"""What an erasure must still destroy; broken glass, its notices; who was last here."""

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
)

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

# One for each breaking of the glass: that somebody who reviews is to hear of it.
notice = Table(
    "notice",
    metadata,
    Column("emergency_id", Integer, ForeignKey("emergency.id"), primary_key=True),
    # When it may be tried next, and how often it has been.
    Column("due_us", BigInteger, nullable=False),
    Column("tries", Integer, nullable=False),
    # NULL until a mail server has taken it.
    Column("sent_us", BigInteger),
    Index("ix_notice_sent_us", "sent_us", "due_us"),
)

# The last association of each device, by its name: one row for each device at most.
contact = Table(
    "device_contact",
    metadata,
    Column("device", Text, primary_key=True),
    Column("at_us", BigInteger, nullable=False),
    Column("address", Text, nullable=False),
    Column("ae_title", Text, nullable=False),
    Column("channel", Text, nullable=False),
)
