"""What an erasure has decided and must still destroy.

Revision ID: 0004_archive
Revises: 0003_identity
"""

import sqlalchemy as sa
from alembic import op

revision = "0004_archive"
down_revision = "0003_identity"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the two tables."""
    op.create_table(
        "condemned_key",
        sa.Column("key_id", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("key_id", name="pk_condemned_key"),
    )
    op.create_table(
        "condemned_blob",
        sa.Column("blob", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("blob", name="pk_condemned_blob"),
    )


def downgrade() -> None:
    """Drop them; what they held would never be destroyed."""
    op.drop_table("condemned_blob")
    op.drop_table("condemned_key")
