"""Alerts of the review, what a person said of them, decoys, and what rules remember.

Revision ID: 0019_review
Revises: 0018_trails
"""

import sqlalchemy as sa
from alembic import op

revision = "0019_review"
down_revision = "0018_trails"
branch_labels = None
depends_on = None


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def _big(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def upgrade() -> None:
    """Make the tables, empty: the first run reviews the record from its beginning."""
    op.create_table(
        "review_alert",
        sa.Column("id", sa.Integer(), nullable=False),
        _text("key"),
        _text("rule"),
        _text("severity"),
        _text("subject"),
        _big("trail"),
        _text("day"),
        _text("evidence"),
        _big("count"),
        _big("first_us"),
        _big("last_us"),
        _text("facts"),
        _text("patients"),
        _big("raised_us"),
        _big("due_us"),
        _big("escalated_us", nullable=True),
        _text("disposition"),
        _big("disposed_us", nullable=True),
        _text("reviewer"),
        _text("reason"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_review_alert")),
        sa.UniqueConstraint("key", name=op.f("uq_review_alert_key")),
    )
    op.create_index(
        "ix_review_alert_disposition", "review_alert", ["disposition", "due_us"]
    )
    op.create_index("ix_review_alert_day", "review_alert", ["day"])
    op.create_table(
        "review_signature",
        _text("week"),
        _big("signed_us"),
        _text("reviewer"),
        _text("note"),
        _big("alerts"),
        sa.PrimaryKeyConstraint("week", name=op.f("pk_review_signature")),
    )
    op.create_table(
        "review_decoy",
        _text("kind"),
        _text("value"),
        _big("set_us"),
        _text("set_by"),
        sa.PrimaryKeyConstraint("kind", "value", name=op.f("pk_review_decoy")),
    )
    op.create_table(
        "review_progress",
        sa.Column("trail", sa.BigInteger(), nullable=False, autoincrement=False),
        _big("next"),
        _text("memory"),
        sa.PrimaryKeyConstraint("trail", name=op.f("pk_review_progress")),
    )
    op.create_table(
        "review_delivery",
        sa.Column("alert", sa.Integer(), nullable=False, autoincrement=False),
        _text("channel"),
        _text("what"),
        _big("due_us"),
        _big("tries"),
        _big("sent_us", nullable=True),
        sa.PrimaryKeyConstraint(
            "alert", "channel", "what", name=op.f("pk_review_delivery")
        ),
    )
    op.create_index(
        "ix_review_delivery_channel",
        "review_delivery",
        ["channel", "sent_us", "due_us"],
    )
