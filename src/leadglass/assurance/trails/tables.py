"""The tables of facts: what can be asked of every trail, ours and foreign ones.

Names stand once each (``trail_name``), so that ten million facts stay small and one
index answers for each kind of name. What is counted for rules is kept elsewhere.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    SmallInteger,
    Table,
    Text,
    text,
)

from leadglass.database.tables import metadata

# SQLite makes a column its row number only when it is called INTEGER; it holds 64
# bits all the same.
_NUMBER = BigInteger().with_variant(Integer, "sqlite")

trail = Table(
    "trail",
    metadata,
    Column("id", _NUMBER, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False),
    # A word of ``assurance.trails.formats``; "own" for this node's.
    Column("format", Text, nullable=False),
    # Of the file that was imported; "" for this node's.
    Column("sha256", Text, nullable=False),
    Column("imported_us", BigInteger, nullable=False),
    # Facts so far; for this node's the number of the next record to take.
    Column("size", BigInteger, nullable=False),
    # Lines or messages that nobody could read: counted, and the first of them kept.
    # For this node's: how many facts were taken out of any trail.
    Column("unparsed", BigInteger, nullable=False),
    Column("samples", Text, nullable=False),
    # False: its import was cut off, and goes on when it is run again.
    Column("is_whole", Boolean, nullable=False),
)

# Each text once: people, devices, titles, addresses, fingerprints, patients.
name = Table(
    "trail_name",
    metadata,
    Column("id", _NUMBER, primary_key=True, autoincrement=True),
    Column("text", Text, nullable=False, unique=True),
)

fact = Table(
    "fact",
    metadata,
    Column("trail", _NUMBER, primary_key=True, autoincrement=False),
    Column("number", _NUMBER, primary_key=True, autoincrement=False),
    Column("time_us", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("ending", SmallInteger, nullable=False),
    # Ids of ``trail_name``; 0: the trail does not say.
    Column("who", _NUMBER, nullable=False),
    Column("ae_title", _NUMBER, nullable=False),
    Column("address", _NUMBER, nullable=False),
    Column("certificate", _NUMBER, nullable=False),
    Column("destination", _NUMBER, nullable=False),
    Column("returned", BigInteger, nullable=False),
    Column("instances", BigInteger, nullable=False),
    # Everything else, as JSON without what has a column or a row of ``touch``.
    Column("rest", Text, nullable=False),
    Index("ix_fact_time_us", "time_us"),
    Index("ix_fact_who_time_us", "who", "time_us"),
    Index("ix_fact_ae_title_time_us", "ae_title", "time_us"),
    Index("ix_fact_address_time_us", "address", "time_us"),
    Index("ix_fact_certificate_time_us", "certificate", "time_us"),
    Index(
        "ix_fact_destination_time_us",
        "destination",
        "time_us",
        sqlite_where=text("destination <> 0"),
    ),
    sqlite_with_rowid=False,
)

# Which patients a fact is about, by patient and by fact.
touch = Table(
    "fact_touch",
    metadata,
    Column("patient", _NUMBER, primary_key=True, autoincrement=False),
    Column("time_us", BigInteger, primary_key=True, autoincrement=False),
    Column("trail", _NUMBER, primary_key=True, autoincrement=False),
    Column("number", _NUMBER, primary_key=True, autoincrement=False),
    Column("reach", SmallInteger, nullable=False),
    # Study Instance UIDs, joined by backslashes.
    Column("studies", Text, nullable=False),
    Index("ix_fact_touch_trail_number", "trail", "number"),
    sqlite_with_rowid=False,
)
