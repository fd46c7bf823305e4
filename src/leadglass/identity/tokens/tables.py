"""The tables of programs. Times are microseconds since 1970 in UTC."""

from sqlalchemy import BigInteger, Column, ForeignKey, Integer, LargeBinary, Table, Text

from leadglass.database.tables import metadata

token = Table(
    "token",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    # Never given again, so that a name on the record means one program for ever.
    Column("folded_name", Text, nullable=False, unique=True),
    Column("token_hash", LargeBinary, nullable=False, unique=True),
    Column("role", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("networks", Text, nullable=False),  # JSON: read whole, with the token
    Column("created_us", BigInteger, nullable=False),
    Column("ends_us", BigInteger, nullable=False),
    Column("used_us", BigInteger),
    Column("revoked_us", BigInteger),
)

# How far a user's roles reach; no row: as far as the roles do.
person_scope = Table(
    "person_scope",
    metadata,
    Column("person_id", Integer, ForeignKey("person.id"), primary_key=True),
    Column("scope", Text, nullable=False),
)
