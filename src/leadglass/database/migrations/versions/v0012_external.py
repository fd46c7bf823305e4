"""People whom somebody else proves: by which name, and whose.

Revision ID: 0012_external
Revises: 0011_people_revision
"""

import sqlalchemy as sa
from alembic import op

revision = "0012_external"
down_revision = "0011_people_revision"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table, empty, and count its changes as those of people."""
    op.create_table(
        "person_external",
        sa.Column("person_id", sa.Integer(), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["person_id"], ["person.id"], name=op.f("fk_person_external_person_id")
        ),
        sa.PrimaryKeyConstraint("person_id", name=op.f("pk_person_external")),
        sa.UniqueConstraint(
            "issuer", "subject", name=op.f("uq_person_external_issuer")
        ),
    )
    for act in ("INSERT", "UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER people_revision_person_external_{act.lower()} "  # noqa: S608
            f"AFTER {act} ON person_external BEGIN "
            "UPDATE people_revision SET number = number + 1; END"
        )
