"""Metadata of instances, prepared once.

Revision ID: 0008_prepared
Revises: 0007_emergency
"""

import sqlalchemy as sa
from alembic import op

revision = "0008_prepared"
down_revision = "0007_emergency"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table, empty; it fills as metadata is asked for."""
    op.create_table(
        "prepared_metadata",
        sa.Column("instance_id", sa.Integer(), nullable=False),
        sa.Column("blob", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["instance_id"],
            ["instance.id"],
            name=op.f("fk_prepared_metadata_instance_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("instance_id", name=op.f("pk_prepared_metadata")),
    )
