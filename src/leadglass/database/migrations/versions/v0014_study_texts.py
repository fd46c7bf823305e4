"""What a study is about, and who asked for it: found without reading every study.

Revision ID: 0014_study_texts
Revises: 0013_contact
"""

from alembic import op

revision = "0014_study_texts"
down_revision = "0013_contact"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Index the study's description and the name of its referring physician."""
    op.create_index("ix_study_description", "study", ["study_description"])
    op.create_index(
        "ix_study_referring",
        "study",
        [
            f"referring_physician_name_{group}"
            for group in ("alphabetic", "ideographic", "phonetic")
        ],
    )
