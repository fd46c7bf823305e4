"""People: who they are, what they prove it by, and their sessions.

Revision ID: 0005_people
Revises: 0004_archive
"""

import sqlalchemy as sa
from alembic import op

revision = "0005_people"
down_revision = "0004_archive"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables, empty."""
    op.create_table(
        "person",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("folded_name", sa.Text(), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("roles", sa.Text(), nullable=False),
        sa.Column("handle", sa.LargeBinary(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("password_hash", sa.Text()),
        sa.Column("totp_secret", sa.LargeBinary()),
        sa.Column("totp_step", sa.BigInteger()),
        sa.Column("secret_hash", sa.Text()),
        sa.Column("secret_ends_us", sa.BigInteger()),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("enrolled_us", sa.BigInteger()),
        sa.Column("disabled_us", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_person")),
        sa.UniqueConstraint("folded_name", name=op.f("uq_person_folded_name")),
        sa.UniqueConstraint("handle", name=op.f("uq_person_handle")),
    )
    op.create_table(
        "person_recovery",
        sa.Column("code_hash", sa.LargeBinary(), nullable=False),
        sa.Column("person_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["person_id"], ["person.id"], name=op.f("fk_person_recovery_person_id")
        ),
        sa.PrimaryKeyConstraint("code_hash", name=op.f("pk_person_recovery")),
    )
    op.create_index(
        op.f("ix_person_recovery_person_id"), "person_recovery", ["person_id"]
    )
    op.create_table(
        "person_passkey",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("person_id", sa.Integer(), nullable=False),
        sa.Column("credential_id", sa.LargeBinary(), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("sign_count", sa.BigInteger(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("used_us", sa.BigInteger()),
        sa.ForeignKeyConstraint(
            ["person_id"], ["person.id"], name=op.f("fk_person_passkey_person_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_person_passkey")),
        sa.UniqueConstraint(
            "credential_id", name=op.f("uq_person_passkey_credential_id")
        ),
    )
    op.create_index(
        op.f("ix_person_passkey_person_id"), "person_passkey", ["person_id"]
    )
    op.create_table(
        "person_session",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("person_id", sa.Integer(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("factor", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("used_us", sa.BigInteger(), nullable=False),
        sa.Column("ends_us", sa.BigInteger(), nullable=False),
        sa.Column("fresh_until_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["person_id"], ["person.id"], name=op.f("fk_person_session_person_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_person_session")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_person_session_token_hash")),
    )
    op.create_index(
        op.f("ix_person_session_person_id"), "person_session", ["person_id"]
    )
    op.create_index(op.f("ix_person_session_ends_us"), "person_session", ["ends_us"])
    op.create_table(
        "person_ticket",
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("person_id", sa.Integer()),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("is_proven", sa.Boolean(), nullable=False),
        sa.Column("challenge", sa.LargeBinary(), nullable=False),
        sa.Column("totp_secret", sa.LargeBinary()),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("ends_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["person_id"], ["person.id"], name=op.f("fk_person_ticket_person_id")
        ),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_person_ticket")),
    )
    op.create_index(op.f("ix_person_ticket_person_id"), "person_ticket", ["person_id"])
    op.create_index(op.f("ix_person_ticket_ends_us"), "person_ticket", ["ends_us"])
    op.create_table(
        "person_throttle",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("failed_us", sa.BigInteger(), nullable=False),
        sa.Column("until_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("source", "key", name=op.f("pk_person_throttle")),
    )
    op.create_index(
        op.f("ix_person_throttle_failed_us"), "person_throttle", ["failed_us"]
    )


def downgrade() -> None:
    """Drop them: nobody could log in any more."""
    for table in ("throttle", "ticket", "session", "passkey", "recovery"):
        op.drop_table(f"person_{table}")
    op.drop_table("person")
