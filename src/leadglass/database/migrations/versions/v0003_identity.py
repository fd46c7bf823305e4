"""Devices, their certificates, and administrators.

Revision ID: 0003_identity
Revises: 0002_audit
"""

import sqlalchemy as sa
from alembic import op

revision = "0003_identity"
down_revision = "0002_audit"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the register of devices, empty, and the table of administrators."""
    op.create_table(
        "device",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("folded_name", sa.Text(), nullable=False),
        sa.Column("ae_titles", sa.Text(), nullable=False),
        sa.Column("networks", sa.Text(), nullable=False),
        sa.Column("rights", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("has_tls", sa.Boolean(), nullable=False),
        sa.Column("destination", sa.Text()),
        sa.Column("plaintext_address", sa.Text()),
        sa.Column("plaintext_reason", sa.Text()),
        sa.Column("plaintext_granted_us", sa.BigInteger()),
        sa.Column("plaintext_not_after_us", sa.BigInteger()),
        sa.Column("enrolled_us", sa.BigInteger(), nullable=False),
        sa.Column("renewed_us", sa.BigInteger()),
        sa.Column("revoked_us", sa.BigInteger()),
        sa.Column("revocation_reason", sa.Text()),
        sa.CheckConstraint(
            "has_tls OR plaintext_address IS NOT NULL",
            name=op.f("ck_device_some_proof"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_device")),
        sa.UniqueConstraint("folded_name", name=op.f("uq_device_folded_name")),
    )
    op.create_table(
        "device_certificate",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("device_id", sa.Integer(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("serial", sa.Text(), nullable=False),
        sa.Column("not_before_us", sa.BigInteger(), nullable=False),
        sa.Column("not_after_us", sa.BigInteger(), nullable=False),
        sa.Column("accepted_until_us", sa.BigInteger(), nullable=False),
        sa.Column("revoked_us", sa.BigInteger()),
        sa.ForeignKeyConstraint(
            ["device_id"],
            ["device.id"],
            name=op.f("fk_device_certificate_device_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_device_certificate")),
        sa.UniqueConstraint(
            "fingerprint", name=op.f("uq_device_certificate_fingerprint")
        ),
        sa.UniqueConstraint("serial", name=op.f("uq_device_certificate_serial")),
    )
    op.create_index(
        op.f("ix_device_certificate_device_id"), "device_certificate", ["device_id"]
    )
    op.create_table(
        "device_plaintext",
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("ae_title", sa.Text(), nullable=False),
        sa.Column("device_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["device_id"], ["device.id"], name=op.f("fk_device_plaintext_device_id")
        ),
        sa.PrimaryKeyConstraint(
            "address", "ae_title", name=op.f("pk_device_plaintext")
        ),
    )
    op.create_index(
        op.f("ix_device_plaintext_device_id"), "device_plaintext", ["device_id"]
    )
    revision_table = op.create_table(
        "device_revision",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_device_revision")),
    )
    op.bulk_insert(revision_table, [{"id": 1, "number": 0}])
    op.create_table(
        "administrator",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("secret_hash", sa.Text()),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("consumed_us", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_administrator")),
        sa.UniqueConstraint("name", name=op.f("uq_administrator_name")),
    )
