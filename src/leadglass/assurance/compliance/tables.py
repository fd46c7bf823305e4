"""The tables of runs, attestations and baselines."""

from sqlalchemy import BigInteger, Column, Integer, Table, Text

from leadglass.database.tables import metadata

# SQLite makes a column its row number only when it is called INTEGER; it holds 64
# bits all the same.
_NUMBER = BigInteger().with_variant(Integer, "sqlite")

# Each run of the controls, whole: what a report shows later is what was seen then.
run = Table(
    "compliance_run",
    metadata,
    Column("id", _NUMBER, primary_key=True, autoincrement=True),
    Column("at_us", BigInteger, nullable=False),
    Column("profile", Text, nullable=False),
    # Number of the record that holds the hash of each result.
    Column("record", BigInteger, nullable=False),
    Column("report", Text, nullable=False),
)

# What somebody vouches for, until when.
attestation = Table(
    "compliance_attestation",
    metadata,
    Column("id", _NUMBER, primary_key=True, autoincrement=True),
    Column("control", Text, nullable=False),
    Column("document", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("ends_us", BigInteger, nullable=False),
)

# Settings and rules that somebody agreed on; the newest row counts.
baseline = Table(
    "compliance_baseline",
    metadata,
    Column("id", _NUMBER, primary_key=True, autoincrement=True),
    Column("fingerprint", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at_us", BigInteger, nullable=False),
)
