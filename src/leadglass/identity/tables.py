"""The tables of the register. Times are microseconds since 1970 in UTC."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Integer,
    Table,
    Text,
)

from leadglass.database.tables import metadata

device = Table(
    "device",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    # What it is told apart by: CT1 and ct1 would be one in a reader's eyes.
    Column("folded_name", Text, nullable=False, unique=True),
    # Lists are JSON: they are read whole, with the device.
    Column("ae_titles", Text, nullable=False),
    Column("networks", Text, nullable=False),
    Column("rights", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("has_tls", Boolean, nullable=False),
    Column("destination", Text),
    Column("plaintext_address", Text),
    Column("plaintext_reason", Text),
    Column("plaintext_granted_us", BigInteger),
    Column("plaintext_not_after_us", BigInteger),
    Column("enrolled_us", BigInteger, nullable=False),
    Column("renewed_us", BigInteger),
    Column("revoked_us", BigInteger),
    Column("revocation_reason", Text),
    CheckConstraint("has_tls OR plaintext_address IS NOT NULL", name="some_proof"),
)

# All certificates that a device ever had, so that the record can name the device of
# a revoked one, and the revocation list can be made at any time.
certificate = Table(
    "device_certificate",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("device_id", Integer, ForeignKey("device.id"), nullable=False, index=True),
    Column("fingerprint", Text, nullable=False, unique=True),
    # 159 bits (RFC 5280 §4.1.2.2), hex.
    Column("serial", Text, nullable=False, unique=True),
    Column("not_before_us", BigInteger, nullable=False),
    Column("not_after_us", BigInteger, nullable=False),
    Column("accepted_until_us", BigInteger, nullable=False),
    Column("revoked_us", BigInteger),
)

# Who comes in plaintext from where, so that no two devices can be meant.
plaintext = Table(
    "device_plaintext",
    metadata,
    Column("address", Text, primary_key=True),
    Column("ae_title", Text, primary_key=True),
    Column("device_id", Integer, ForeignKey("device.id"), nullable=False, index=True),
)

# One row, counted up by every change: what is kept in memory is read again then.
revision = Table(
    "device_revision",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("number", BigInteger, nullable=False),
)
REVISION_ID = 1

# One row, counted up by the database itself (triggers of the migration) when a user, a
# session, a token, a scope or broken glass changes.
people_revision = Table(
    "people_revision",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("number", BigInteger, nullable=False),
)

administrator = Table(
    "administrator",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    # Of the one-time secret; NULL once it was used.
    Column("secret_hash", Text),
    Column("created_us", BigInteger, nullable=False),
    Column("consumed_us", BigInteger),
)
