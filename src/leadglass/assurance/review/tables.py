"""The tables of the review. Times are microseconds since 1970 in UTC.

The database file is encrypted whole, so that Patient IDs may stand here.
"""

from sqlalchemy import BigInteger, Column, Index, Integer, Table, Text

from leadglass.database.tables import metadata

alert = Table(
    "review_alert",
    metadata,
    Column("id", Integer, primary_key=True),
    # What is folded into one alert: rule, trail, day and subject.
    Column("key", Text, nullable=False, unique=True),
    Column("rule", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("trail", BigInteger, nullable=False),
    Column("day", Text, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("first_us", BigInteger, nullable=False),
    Column("last_us", BigInteger, nullable=False),
    # JSON lists: they are read whole, with the alert.
    Column("facts", Text, nullable=False),
    Column("patients", Text, nullable=False),
    Column("raised_us", BigInteger, nullable=False),
    Column("due_us", BigInteger, nullable=False),
    Column("escalated_us", BigInteger),
    # "" while it is open.
    Column("disposition", Text, nullable=False),
    Column("disposed_us", BigInteger),
    Column("reviewer", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Index("ix_review_alert_disposition", "disposition", "due_us"),
    Index("ix_review_alert_day", "day"),
)

signature = Table(
    "review_signature",
    metadata,
    # ISO 8601 week, as 2026-W13.
    Column("week", Text, primary_key=True),
    Column("signed_us", BigInteger, nullable=False),
    Column("reviewer", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("alerts", BigInteger, nullable=False),
)

# Invented patients and studies, and AE titles that no device was told.
decoy = Table(
    "review_decoy",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("value", Text, primary_key=True),
    Column("set_us", BigInteger, nullable=False),
    Column("set_by", Text, nullable=False),
)

# Where the review of a trail is, and what its rules remember.
progress = Table(
    "review_progress",
    metadata,
    Column("trail", BigInteger, primary_key=True, autoincrement=False),
    Column("next", BigInteger, nullable=False),
    Column("memory", Text, nullable=False),
)

# What is to be told of an alert, by which way; without a patient.
delivery = Table(
    "review_delivery",
    metadata,
    Column("alert", Integer, primary_key=True, autoincrement=False),
    # "mail" or "webhook".
    Column("channel", Text, primary_key=True),
    # "raised" or "overdue".
    Column("what", Text, primary_key=True),
    Column("due_us", BigInteger, nullable=False),
    Column("tries", BigInteger, nullable=False),
    Column("sent_us", BigInteger),
    Index("ix_review_delivery_channel", "channel", "sent_us", "due_us"),
)
