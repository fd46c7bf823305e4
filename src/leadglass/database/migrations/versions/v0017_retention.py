"""What was taken out of the audit log on order, what must stay, and who wants what.

Revision ID: 0017_retention
Revises: 0016_forwarded
"""

import sqlalchemy as sa
from alembic import op

revision = "0017_retention"
down_revision = "0016_forwarded"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the tables, empty: nothing was pruned, erased or held before them."""
    op.create_table(
        "audit_erased",
        sa.Column("n", _NUMBER, nullable=False, autoincrement=False),
        sa.Column("commitment", sa.LargeBinary(), nullable=False),
        sa.Column("order_n", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("n", name=op.f("pk_audit_erased")),
    )
    op.create_index("ix_audit_erased_order_n", "audit_erased", ["order_n"])
    op.create_table(
        "audit_pruned",
        sa.Column("id", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("order_n", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_pruned")),
    )
    op.create_table(
        "legal_hold",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("since_us", sa.BigInteger()),
        sa.Column("until_us", sa.BigInteger()),
        sa.Column("patient", sa.Text()),
        sa.Column("study", sa.Text()),
        sa.Column("person", sa.Text()),
        sa.Column("placed_by", sa.Text(), nullable=False),
        sa.Column("placed_us", sa.BigInteger(), nullable=False),
        sa.Column("released_by", sa.Text()),
        sa.Column("released_us", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_legal_hold")),
    )
    op.create_table(
        "retention_order",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("hold", sa.Integer()),
        sa.Column("patient", sa.Text()),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("asked_by", sa.Text(), nullable=False),
        sa.Column("asked_from", sa.Text(), nullable=False),
        sa.Column("asked_us", sa.BigInteger(), nullable=False),
        sa.Column("decided_by", sa.Text()),
        sa.Column("decided_us", sa.BigInteger()),
        sa.Column("is_refused", sa.Boolean(create_constraint=False)),
        sa.Column("done_us", sa.BigInteger()),
        sa.Column("records", sa.BigInteger(), nullable=False),
        sa.Column("kept_for_others", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_retention_order")),
    )
