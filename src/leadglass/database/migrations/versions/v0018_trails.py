"""Facts of trails: what can be asked of our own record and of foreign ones.

Revision ID: 0018_trails
Revises: 0017_retention
"""

import sqlalchemy as sa
from alembic import op

revision = "0018_trails"
down_revision = "0017_retention"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_ASKED_BY = ("who", "ae_title", "address", "certificate")


def upgrade() -> None:
    """Make the tables, empty: the first run takes in what the record has."""
    op.create_table(
        "trail",
        sa.Column("id", _NUMBER, nullable=False, autoincrement=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("imported_us", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("unparsed", sa.BigInteger(), nullable=False),
        sa.Column("samples", sa.Text(), nullable=False),
        sa.Column("is_whole", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trail")),
    )
    op.create_table(
        "trail_name",
        sa.Column("id", _NUMBER, nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trail_name")),
        sa.UniqueConstraint("text", name=op.f("uq_trail_name_text")),
    )
    op.create_table(
        "fact",
        sa.Column("trail", _NUMBER, nullable=False, autoincrement=False),
        sa.Column("number", _NUMBER, nullable=False, autoincrement=False),
        sa.Column("time_us", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("ending", sa.SmallInteger(), nullable=False),
        sa.Column("who", _NUMBER, nullable=False),
        sa.Column("ae_title", _NUMBER, nullable=False),
        sa.Column("address", _NUMBER, nullable=False),
        sa.Column("certificate", _NUMBER, nullable=False),
        sa.Column("destination", _NUMBER, nullable=False),
        sa.Column("returned", sa.BigInteger(), nullable=False),
        sa.Column("instances", sa.BigInteger(), nullable=False),
        sa.Column("rest", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("trail", "number", name=op.f("pk_fact")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_fact_time_us", "fact", ["time_us"])
    for column in _ASKED_BY:
        op.create_index(f"ix_fact_{column}_time_us", "fact", [column, "time_us"])
    op.create_index(
        "ix_fact_destination_time_us",
        "fact",
        ["destination", "time_us"],
        sqlite_where=sa.text("destination <> 0"),
    )
    op.create_table(
        "fact_touch",
        sa.Column("patient", _NUMBER, nullable=False, autoincrement=False),
        sa.Column("time_us", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("trail", _NUMBER, nullable=False, autoincrement=False),
        sa.Column("number", _NUMBER, nullable=False, autoincrement=False),
        sa.Column("reach", sa.SmallInteger(), nullable=False),
        sa.Column("studies", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint(
            "patient", "time_us", "trail", "number", name=op.f("pk_fact_touch")
        ),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_fact_touch_trail_number", "fact_touch", ["trail", "number"])
