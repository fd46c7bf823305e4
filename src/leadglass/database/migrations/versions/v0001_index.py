"""The index: patients, studies, series, instances, their several values, quarantine."""

import sqlalchemy as sa
from alembic import op

revision = "0001_index"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "item_value",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("owner_id", sa.Integer(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("item", sa.Integer(), nullable=False),
        sa.Column("tag", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_item_value")),
    )
    op.create_index(
        "ix_item_value_owner",
        "item_value",
        ["owner", "owner_id", "sequence", "tag"],
        unique=False,
    )
    op.create_index(
        "ix_item_value_value",
        "item_value",
        ["owner", "sequence", "tag", "value", "owner_id"],
        unique=False,
    )
    op.create_table(
        "patient",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("patient_name_alphabetic", sa.Text(), nullable=False),
        sa.Column("patient_name_ideographic", sa.Text(), nullable=False),
        sa.Column("patient_name_phonetic", sa.Text(), nullable=False),
        sa.Column("patient_id", sa.Text(), nullable=False),
        sa.Column("issuer_of_patient_id", sa.Text(), nullable=False),
        sa.Column("patient_birth_date", sa.Text(), nullable=False),
        sa.Column("patient_birth_time", sa.Text(), nullable=False),
        sa.Column("patient_sex", sa.Text(), nullable=False),
        sa.Column("ethnic_group", sa.Text(), nullable=False),
        sa.Column("apart", sa.Text(), nullable=False),
        sa.Column("attributes", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_patient")),
        sa.UniqueConstraint(
            "patient_id",
            "issuer_of_patient_id",
            "apart",
            name=op.f("uq_patient_patient_id"),
        ),
    )
    op.create_index(
        "ix_patient_name",
        "patient",
        [
            "patient_name_alphabetic",
            "patient_name_ideographic",
            "patient_name_phonetic",
        ],
        unique=False,
    )
    op.create_index(
        "ix_patient_name_ideographic",
        "patient",
        ["patient_name_ideographic"],
        unique=False,
    )
    op.create_index(
        "ix_patient_name_phonetic", "patient", ["patient_name_phonetic"], unique=False
    )
    op.create_table(
        "quarantine",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_uid", sa.Text(), nullable=False),
        sa.Column("series_uid", sa.Text(), nullable=False),
        sa.Column("instance_uid", sa.Text(), nullable=False),
        sa.Column("sop_class_uid", sa.Text(), nullable=False),
        sa.Column("transfer_syntax_uid", sa.Text(), nullable=False),
        sa.Column("blob", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("blob_bytes", sa.BigInteger(), nullable=False),
        sa.Column("data_set_offset", sa.BigInteger(), nullable=False),
        sa.Column("data_set_bytes", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("received_at", sa.Text(), nullable=False),
        sa.Column("existing_blob", sa.Text(), nullable=False),
        sa.Column("existing_digest", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quarantine")),
        sa.UniqueConstraint("blob", name=op.f("uq_quarantine_blob")),
    )
    op.create_index(
        op.f("ix_quarantine_instance_uid"), "quarantine", ["instance_uid"], unique=False
    )
    op.create_index(
        op.f("ix_quarantine_study_uid"), "quarantine", ["study_uid"], unique=False
    )
    op.create_table(
        "study",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("owner_id", sa.Integer(), nullable=False),
        sa.Column("patient_name_alphabetic", sa.Text(), nullable=False),
        sa.Column("patient_name_ideographic", sa.Text(), nullable=False),
        sa.Column("patient_name_phonetic", sa.Text(), nullable=False),
        sa.Column("patient_id", sa.Text(), nullable=False),
        sa.Column("issuer_of_patient_id", sa.Text(), nullable=False),
        sa.Column("patient_birth_date", sa.Text(), nullable=False),
        sa.Column("patient_birth_time", sa.Text(), nullable=False),
        sa.Column("patient_sex", sa.Text(), nullable=False),
        sa.Column("ethnic_group", sa.Text(), nullable=False),
        sa.Column("study_date", sa.Text(), nullable=False),
        sa.Column("study_time", sa.Text(), nullable=False),
        sa.Column("accession_number", sa.Text(), nullable=False),
        sa.Column("referring_physician_name_alphabetic", sa.Text(), nullable=False),
        sa.Column("referring_physician_name_ideographic", sa.Text(), nullable=False),
        sa.Column("referring_physician_name_phonetic", sa.Text(), nullable=False),
        sa.Column("study_description", sa.Text(), nullable=False),
        sa.Column("patient_age", sa.Text(), nullable=False),
        sa.Column("patient_size", sa.Text(), nullable=False),
        sa.Column("patient_weight", sa.Text(), nullable=False),
        sa.Column("occupation", sa.Text(), nullable=False),
        sa.Column("study_instance_uid", sa.Text(), nullable=False),
        sa.Column("study_id", sa.Text(), nullable=False),
        sa.Column("attributes", sa.Text(), nullable=False),
        sa.Column("gathered", sa.Text(), nullable=False),
        sa.Column("series_count", sa.Integer(), nullable=False),
        sa.Column("instance_count", sa.Integer(), nullable=False),
        sa.Column("blob_bytes", sa.BigInteger(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("key_ids", sa.Text(), nullable=False),
        sa.Column("patient_differs", sa.Boolean(), nullable=False),
        sa.Column("received_at", sa.Text(), nullable=False),
        sa.Column("changed_at", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["patient.id"], name=op.f("fk_study_owner_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_study")),
        sa.UniqueConstraint(
            "study_instance_uid", name=op.f("uq_study_study_instance_uid")
        ),
    )
    op.create_index(
        "ix_study_accession_number", "study", ["accession_number"], unique=False
    )
    op.create_index(
        "ix_study_birth_date", "study", ["patient_birth_date"], unique=False
    )
    op.create_index(
        "ix_study_date", "study", ["study_date", "study_time"], unique=False
    )
    op.create_index(
        "ix_study_name",
        "study",
        [
            "patient_name_alphabetic",
            "patient_name_ideographic",
            "patient_name_phonetic",
        ],
        unique=False,
    )
    op.create_index(
        "ix_study_name_ideographic", "study", ["patient_name_ideographic"], unique=False
    )
    op.create_index(
        "ix_study_name_phonetic", "study", ["patient_name_phonetic"], unique=False
    )
    op.create_index(op.f("ix_study_owner_id"), "study", ["owner_id"], unique=False)
    op.create_index("ix_study_patient_id", "study", ["patient_id"], unique=False)
    op.create_index("ix_study_study_id", "study", ["study_id"], unique=False)
    op.create_table(
        "series",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("owner_id", sa.Integer(), nullable=False),
        sa.Column("series_date", sa.Text(), nullable=False),
        sa.Column("series_time", sa.Text(), nullable=False),
        sa.Column("modality", sa.Text(), nullable=False),
        sa.Column("manufacturer", sa.Text(), nullable=False),
        sa.Column("institution_name", sa.Text(), nullable=False),
        sa.Column("station_name", sa.Text(), nullable=False),
        sa.Column("series_description", sa.Text(), nullable=False),
        sa.Column("institutional_department_name", sa.Text(), nullable=False),
        sa.Column("manufacturer_model_name", sa.Text(), nullable=False),
        sa.Column("body_part_examined", sa.Text(), nullable=False),
        sa.Column("protocol_name", sa.Text(), nullable=False),
        sa.Column("series_instance_uid", sa.Text(), nullable=False),
        sa.Column("series_number", sa.Text(), nullable=False),
        sa.Column("laterality", sa.Text(), nullable=False),
        sa.Column("performed_procedure_step_start_date", sa.Text(), nullable=False),
        sa.Column("performed_procedure_step_start_time", sa.Text(), nullable=False),
        sa.Column("performed_procedure_step_id", sa.Text(), nullable=False),
        sa.Column("attributes", sa.Text(), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("instance_count", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["study.id"], name=op.f("fk_series_owner_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_series")),
        sa.UniqueConstraint(
            "owner_id", "series_instance_uid", name=op.f("uq_series_owner_id")
        ),
    )
    op.create_index(
        "ix_series_series_instance_uid", "series", ["series_instance_uid"], unique=False
    )
    op.create_table(
        "instance",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("owner_id", sa.Integer(), nullable=False),
        sa.Column("sop_class_uid", sa.Text(), nullable=False),
        sa.Column("sop_instance_uid", sa.Text(), nullable=False),
        sa.Column("acquisition_date", sa.Text(), nullable=False),
        sa.Column("content_date", sa.Text(), nullable=False),
        sa.Column("acquisition_date_time", sa.Text(), nullable=False),
        sa.Column("acquisition_time", sa.Text(), nullable=False),
        sa.Column("content_time", sa.Text(), nullable=False),
        sa.Column("acquisition_number", sa.Text(), nullable=False),
        sa.Column("instance_number", sa.Text(), nullable=False),
        sa.Column("number_of_frames", sa.Text(), nullable=False),
        sa.Column("rows", sa.Text(), nullable=False),
        sa.Column("columns", sa.Text(), nullable=False),
        sa.Column("bits_allocated", sa.Text(), nullable=False),
        sa.Column("attributes", sa.Text(), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("transfer_syntax_uid", sa.Text(), nullable=False),
        sa.Column("blob", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("blob_bytes", sa.BigInteger(), nullable=False),
        sa.Column("data_set_offset", sa.BigInteger(), nullable=False),
        sa.Column("data_set_bytes", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("received_at", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["series.id"], name=op.f("fk_instance_owner_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_instance")),
        sa.UniqueConstraint(
            "sop_instance_uid", name=op.f("uq_instance_sop_instance_uid")
        ),
    )
    op.create_index(
        "ix_instance_owner_id_place", "instance", ["owner_id", "place"], unique=False
    )
