"""Broken glass and its reviews; studies assigned to somebody; lists of patients.

Revision ID: 0007_emergency
Revises: 0006_tokens
"""

import sqlalchemy as sa
from alembic import op

revision = "0007_emergency"
down_revision = "0006_tokens"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables, empty."""
    op.create_table(
        "emergency",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("patient_id", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("started_us", sa.BigInteger(), nullable=False),
        sa.Column("ends_us", sa.BigInteger(), nullable=False),
        sa.Column("stopped_us", sa.BigInteger()),
        sa.Column("stopped_by", sa.Text()),
        sa.Column("reviewed_us", sa.BigInteger()),
        sa.Column("reviewer", sa.Text()),
        sa.Column("verdict", sa.Text()),
        sa.Column("note", sa.Text()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_emergency")),
    )
    # Asked at every decision about a person: what stands for whom.
    op.create_index(op.f("ix_emergency_name"), "emergency", ["name", "ends_us"])
    op.create_index(op.f("ix_emergency_stopped_us"), "emergency", ["stopped_us"])
    op.create_index(op.f("ix_emergency_reviewed_us"), "emergency", ["reviewed_us"])
    op.create_table(
        "study_assignment",
        sa.Column("assignee", sa.Text(), nullable=False),
        sa.Column("study_uid", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint(
            "assignee", "study_uid", name=op.f("pk_study_assignment")
        ),
    )
    op.create_table(
        "patient_listed",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("patient_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", "patient_id", name=op.f("pk_patient_listed")),
    )


def downgrade() -> None:
    """Drop them: nothing assigned or listed would be reached any more."""
    for table in ("patient_listed", "study_assignment", "emergency"):
        op.drop_table(table)
