"""Notices of broken glass that are to be sent.

Revision ID: 0010_notices
Revises: 0008_prepared
"""

import sqlalchemy as sa
from alembic import op

revision = "0010_notices"
down_revision = "0008_prepared"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table; whose review is open is noticed, too."""
    op.create_table(
        "notice",
        sa.Column("emergency_id", sa.Integer(), nullable=False),
        sa.Column("due_us", sa.BigInteger(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("sent_us", sa.BigInteger()),
        sa.ForeignKeyConstraint(
            ["emergency_id"], ["emergency.id"], name=op.f("fk_notice_emergency_id")
        ),
        sa.PrimaryKeyConstraint("emergency_id", name=op.f("pk_notice")),
    )
    op.create_index("ix_notice_sent_us", "notice", ["sent_us", "due_us"])
    op.execute(
        "INSERT INTO notice (emergency_id, due_us, tries) "
        "SELECT id, started_us, 0 FROM emergency WHERE reviewed_us IS NULL"
    )
