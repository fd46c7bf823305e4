"""How far each receiver of audit records is.

Revision ID: 0016_forwarded
Revises: 0015_system
"""

import sqlalchemy as sa
from alembic import op

revision = "0016_forwarded"
down_revision = "0015_system"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table, empty: a receiver gets its row when a node starts with it."""
    op.create_table(
        "syslog_receiver",
        sa.Column("receiver", sa.Text(), nullable=False),
        sa.Column("certain", sa.BigInteger(), nullable=False),
        sa.Column("sent", sa.BigInteger(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("error_us", sa.BigInteger()),
        sa.Column("trust", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("receiver", name=op.f("pk_syslog_receiver")),
    )
