"""When each device was last here, and how.

Revision ID: 0013_contact
Revises: 0012_external
"""

import sqlalchemy as sa
from alembic import op

revision = "0013_contact"
down_revision = "0012_external"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table, empty: the next association of each device fills it."""
    op.create_table(
        "device_contact",
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("ae_title", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("device", name=op.f("pk_device_contact")),
    )
