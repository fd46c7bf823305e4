"""The tables of people. Times are microseconds since 1970 in UTC.

The database file is encrypted whole (SQLCipher), so that a thief of the disk reads
no TOTP secret, which must be kept as it is to be of use. Whatever needs only to be
recognised (passwords, recovery codes, tokens of sessions) is kept hashed besides.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
)

from leadglass.database.tables import metadata

person = Table(
    "person",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    # What it is told apart by: Alice and alice would be one in a reader's eyes.
    Column("folded_name", Text, nullable=False, unique=True),
    Column("display_name", Text, nullable=False),
    Column("roles", Text, nullable=False),  # JSON: read whole, with the person
    # What an authenticator knows the person by (WebAuthn §5.4.3): random, says nothing.
    Column("handle", LargeBinary, nullable=False, unique=True),
    # Counted up by every change that must end what was granted before it.
    Column("revision", BigInteger, nullable=False),
    Column("password_hash", Text),
    Column("totp_secret", LargeBinary),
    # The last time step that was used, so that none is used twice (RFC 6238 §5.2).
    Column("totp_step", BigInteger),
    # Of the one-time secret that enrols; NULL once it was used.
    Column("secret_hash", Text),
    Column("secret_ends_us", BigInteger),
    Column("created_us", BigInteger, nullable=False),
    Column("enrolled_us", BigInteger),
    Column("disabled_us", BigInteger),
)

# Who is proven by somebody else, and by which name: the pair is the person.
external = Table(
    "person_external",
    metadata,
    Column("person_id", Integer, ForeignKey("person.id"), primary_key=True),
    Column("issuer", Text, nullable=False),
    Column("subject", Text, nullable=False),
    UniqueConstraint("issuer", "subject"),
)

recovery = Table(
    "person_recovery",
    metadata,
    Column("code_hash", LargeBinary, primary_key=True),
    Column("person_id", Integer, ForeignKey("person.id"), nullable=False, index=True),
)

passkey = Table(
    "person_passkey",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("person_id", Integer, ForeignKey("person.id"), nullable=False, index=True),
    Column("credential_id", LargeBinary, nullable=False, unique=True),
    Column("public_key", LargeBinary, nullable=False),  # COSE, RFC 9052 §7
    Column("sign_count", BigInteger, nullable=False),
    Column("label", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("used_us", BigInteger),
)

session = Table(
    "person_session",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("token_hash", LargeBinary, nullable=False, unique=True),
    Column("person_id", Integer, ForeignKey("person.id"), nullable=False, index=True),
    Column("revision", BigInteger, nullable=False),
    Column("factor", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("used_us", BigInteger, nullable=False),
    Column("ends_us", BigInteger, nullable=False, index=True),
    Column("fresh_until_us", BigInteger, nullable=False),
)

# What has begun and is not finished: a login that waits for its second factor, an
# enrolment, a challenge to an authenticator.
ticket = Table(
    "person_ticket",
    metadata,
    Column("token_hash", LargeBinary, primary_key=True),
    Column("purpose", Text, nullable=False),
    # NULL: a login of nobody we know, which must look like any other.
    Column("person_id", Integer, ForeignKey("person.id"), index=True),
    Column("revision", BigInteger, nullable=False),
    Column("is_proven", Boolean, nullable=False),
    Column("challenge", LargeBinary, nullable=False),
    Column("totp_secret", LargeBinary),
    Column("tries", Integer, nullable=False),
    Column("ends_us", BigInteger, nullable=False, index=True),
)

# Failures, by whose name and from where.
throttle = Table(
    "person_throttle",
    metadata,
    Column("source", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("failed_us", BigInteger, nullable=False, index=True),
    Column("until_us", BigInteger, nullable=False),
)
