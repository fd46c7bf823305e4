"""What an erasure has decided and must still destroy, beside the rows it removed."""

from sqlalchemy import Column, String, Table

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
