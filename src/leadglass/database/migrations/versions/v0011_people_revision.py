"""A number that every change of people and programs counts up: who, and what they may.

By triggers: no change can forget it, whoever makes it.

Revision ID: 0011_people_revision
Revises: 0010_notices
"""

import sqlalchemy as sa
from alembic import op

revision = "0011_people_revision"
down_revision = "0010_notices"
branch_labels = None
depends_on = None

_COUNTED = ("person", "person_session", "person_scope", "token", "emergency")


def upgrade() -> None:
    """Make the number, and what counts it up."""
    table = op.create_table(
        "people_revision",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_people_revision")),
    )
    op.bulk_insert(table, [{"id": 1, "number": 0}])
    for name in _COUNTED:
        for act in ("INSERT", "UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER people_revision_{name}_{act.lower()} "  # noqa: S608
                f"AFTER {act} ON {name} BEGIN "
                "UPDATE people_revision SET number = number + 1; END"
            )
