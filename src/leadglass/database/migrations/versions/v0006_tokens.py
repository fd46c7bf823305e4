"""Programs: their tokens; and how far users' roles reach.

Revision ID: 0006_tokens
Revises: 0005_people
"""

import sqlalchemy as sa
from alembic import op

revision = "0006_tokens"
down_revision = "0005_people"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables, empty: no program comes in, and no user is narrowed."""
    op.create_table(
        "token",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("folded_name", sa.Text(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("networks", sa.Text(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("ends_us", sa.BigInteger(), nullable=False),
        sa.Column("used_us", sa.BigInteger()),
        sa.Column("revoked_us", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_token")),
        sa.UniqueConstraint("folded_name", name=op.f("uq_token_folded_name")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_token_token_hash")),
    )
    op.create_table(
        "person_scope",
        sa.Column("person_id", sa.Integer(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["person_id"], ["person.id"], name=op.f("fk_person_scope_person_id")
        ),
        sa.PrimaryKeyConstraint("person_id", name=op.f("pk_person_scope")),
    )


def downgrade() -> None:
    """Drop them: no program could come in, and every role would reach everything."""
    op.drop_table("person_scope")
    op.drop_table("token")
