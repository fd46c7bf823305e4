"""The schema that all parts share; each part declares its own tables on it.

Types are those that SQLite and PostgreSQL both have. Text is compared byte by
byte in both (SQLite's default; on PostgreSQL the database's collation is ``C``),
so prefixes and ranges are index ranges and sort as code points.
"""

from sqlalchemy import MetaData

# Every constraint has a name, so that a migration can drop it on either engine.
metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)
