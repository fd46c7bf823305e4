"""How much the archive grew each day, and what long work there was.

Revision ID: 0015_system
Revises: 0014_study_texts
"""

import sqlalchemy as sa
from alembic import op

revision = "0015_system"
down_revision = "0014_study_texts"
branch_labels = None
depends_on = None

# What is added and removed, by whatever way, counts in the transaction that does it, on
# the day that it came: a rebuilt index has the same days.
_TALLY = """
CREATE TRIGGER {name} AFTER {event} ON {table} BEGIN
  INSERT INTO growth (day, studies, instances, blob_bytes)
  VALUES (substr({row}.received_at, 1, 10), {studies}, {instances}, {blob_bytes})
  ON CONFLICT (day) DO UPDATE SET
    studies = studies + excluded.studies,
    instances = instances + excluded.instances,
    blob_bytes = blob_bytes + excluded.blob_bytes;
END
"""
_TRIGGERS = (
    ("growth_study_in", "INSERT", "study", "1", "0", "0"),
    ("growth_study_out", "DELETE", "study", "-1", "0", "0"),
    ("growth_instance_in", "INSERT", "instance", "0", "1", "NEW.blob_bytes"),
    ("growth_instance_out", "DELETE", "instance", "0", "-1", "-OLD.blob_bytes"),
)


def upgrade() -> None:
    """Make the tables; what there is counts on the day that it came."""
    op.create_table(
        "job",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("began_us", sa.BigInteger(), nullable=False),
        sa.Column("noted_us", sa.BigInteger(), nullable=False),
        sa.Column("ended_us", sa.BigInteger(), nullable=True),
        sa.Column("done", sa.BigInteger(), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.Column("faults", sa.BigInteger(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job")),
    )
    op.create_table(
        "growth",
        sa.Column("day", sa.Text(), nullable=False),
        sa.Column("studies", sa.BigInteger(), nullable=False),
        sa.Column("instances", sa.BigInteger(), nullable=False),
        sa.Column("blob_bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("day", name=op.f("pk_growth")),
    )
    op.execute(
        "INSERT INTO growth (day, studies, instances, blob_bytes) "
        "SELECT day, sum(studies), sum(instances), sum(blob_bytes) FROM ("
        "SELECT substr(received_at, 1, 10) AS day, 0 AS studies, 1 AS instances,"
        " blob_bytes FROM instance UNION ALL "
        "SELECT substr(received_at, 1, 10), 1, 0, 0 FROM study) GROUP BY day"
    )
    for name, event, table, studies, instances, blob_bytes in _TRIGGERS:
        op.execute(
            _TALLY.format(
                name=name,
                event=event,
                row="NEW" if event == "INSERT" else "OLD",
                table=table,
                studies=studies,
                instances=instances,
                blob_bytes=blob_bytes,
            )
        )
