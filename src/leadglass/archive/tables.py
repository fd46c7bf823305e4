"""What an erasure must still destroy; broken glass, its notices; who was last here."""

from sqlalchemy import (
    BigInteger,
    Boolean,
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

# Long work, whichever process does it; the oldest rows go.
job = Table(
    "job",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("began_us", BigInteger, nullable=False),
    # When its process last said how far it is.
    Column("noted_us", BigInteger, nullable=False),
    Column("ended_us", BigInteger),  # NULL while it runs, or if it was cut off
    Column("done", BigInteger, nullable=False),
    Column("total", BigInteger, nullable=False),  # 0: not known
    Column("faults", BigInteger, nullable=False),
    Column("why", Text, nullable=False),  # it ended early; else empty
)

# How far each receiver of audit records is: one row for each that the settings name.
forwarded = Table(
    "syslog_receiver",
    metadata,
    Column("receiver", Text, primary_key=True),
    # The records below these numbers need not be sent again; were handed over.
    Column("certain", BigInteger, nullable=False),
    Column("sent", BigInteger, nullable=False),
    # What was wrong last; empty while it works.
    Column("error", Text, nullable=False),
    Column("error_us", BigInteger),
    # What the certificates are known by.
    Column("trust", Text, nullable=False),
)

# Records of the audit log that must stay until somebody releases them. What is NULL
# does not matter; the rest is joined by AND.
hold = Table(
    "legal_hold",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("since_us", BigInteger),
    Column("until_us", BigInteger),
    Column("patient", Text),
    Column("study", Text),
    Column("person", Text),
    Column("placed_by", Text, nullable=False),
    Column("placed_us", BigInteger, nullable=False),
    Column("released_by", Text),
    Column("released_us", BigInteger),
)

# What one person asked for and another has to confirm.
order = Table(
    "retention_order",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("hold", Integer),
    # NULL once it is done: then nothing here tells whose data it was.
    Column("patient", Text),
    Column("digest", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("asked_by", Text, nullable=False),
    # Empty for the command line of the node itself.
    Column("asked_from", Text, nullable=False),
    Column("asked_us", BigInteger, nullable=False),
    Column("decided_by", Text),
    Column("decided_us", BigInteger),
    Column("is_refused", Boolean(create_constraint=False)),
    Column("done_us", BigInteger),
    Column("records", BigInteger, nullable=False),
    Column("kept_for_others", BigInteger, nullable=False),
)
