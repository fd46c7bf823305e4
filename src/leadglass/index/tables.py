"""What the index keeps: one row per patient, study, series and instance.

A row has a column for each attribute that is matched in SQL, and the whole level
as DICOM JSON for the answer. A study carries its patient's attributes too, as its
first instance said them: a question at study level needs no join, and finds a study
by the name on its own images even where the patient has since changed names.

Attributes with several values, and the keys inside of sequences, are rows of
``item_value``, one per value; so are the things that a study has of all its
series (modalities, SOP classes, institutions, sources).

An absent or empty value is the empty text, so that no comparison meets NULL.
"""

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
)

from leadglass.database.tables import metadata
from leadglass.dicom.attributes import ATTRIBUTES, BY_KEYWORD, Attribute, Level

# Attributes that may have several values (PS3.6, VM), or that a study has of all its
# series; one column could not be compared with each of them.
SEVERAL = frozenset(
    BY_KEYWORD[keyword].tag
    for keyword in (
        "OtherPatientIDs",
        "OtherPatientNames",
        "OtherStudyNumbers",
        "NameOfPhysiciansReadingStudy",
        "PerformingPhysicianName",
        "OperatorsName",
        "AdmittingDiagnosesDescription",
        "ModalitiesInStudy",
        "SOPClassesInStudy",
    )
)

# What a study has of all its instances, besides the attributes: the devices that
# sent some of it. No tag of the standard is negative.
SOURCE = -1

# The columns of a person name: its three component groups (PS3.5 §6.2.1), folded.
NAME_GROUPS = ("alphabetic", "ideographic", "phonetic")


def column_names(attribute: Attribute) -> tuple[str, ...]:
    """Return the columns that hold an attribute: ``study_date``, ``patient_id``."""
    name = re.sub(
        r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", attribute.keyword
    )
    name = name.lower()
    if attribute.vr == "PN":
        return tuple(f"{name}_{group}" for group in NAME_GROUPS)
    return (name,)


def has_column(attribute: Attribute) -> bool:
    """Whether the attribute is matched in a column of its own level's table."""
    return attribute.indexed and attribute.vr != "SQ" and attribute.tag not in SEVERAL


def _columns(*levels: Level) -> Iterator[Column[str]]:
    for attribute in ATTRIBUTES:
        if attribute.level in levels and has_column(attribute):
            for name in column_names(attribute):
                yield Column(name, Text, nullable=False)


def _name_indices(table: str) -> tuple[Index, ...]:
    """One for each group; the first holds all, so that ``*SON*`` reads it alone."""
    names = [f"patient_name_{group}" for group in NAME_GROUPS]
    return (
        Index(f"ix_{table}_name", *names),
        Index(f"ix_{table}_name_ideographic", names[1]),
        Index(f"ix_{table}_name_phonetic", names[2]),
    )


def _number() -> Column[int]:
    return Column("id", Integer, primary_key=True)


def _json() -> Column[str]:
    return Column("attributes", Text, nullable=False)


# Who the patient is, is said by Patient ID and its issuer. Without an ID nothing
# says that two studies are of one person: ``apart`` then holds the study's UID.
patient = Table(
    "patient",
    metadata,
    _number(),
    *_columns(Level.PATIENT),
    Column("apart", Text, nullable=False),
    _json(),
    UniqueConstraint("patient_id", "issuer_of_patient_id", "apart"),
    *_name_indices("patient"),
)

study = Table(
    "study",
    metadata,
    _number(),
    Column("owner_id", Integer, ForeignKey("patient.id"), nullable=False, index=True),
    *_columns(Level.PATIENT, Level.STUDY),
    _json(),
    # What it has of all its instances, by tag, as JSON; also rows of item_value.
    Column("gathered", Text, nullable=False),
    Column("series_count", Integer, nullable=False),
    Column("instance_count", Integer, nullable=False),
    Column("blob_bytes", BigInteger, nullable=False),
    # The vault's key that seals new instances, and all that seal some, as JSON: two
    # first instances at once may each have made one.
    Column("key_id", Text, nullable=False),
    Column("key_ids", Text, nullable=False),
    # An instance of it, or the patient's other studies, say something else of the
    # patient. Nothing was overwritten; a person must look.
    Column("patient_differs", Boolean, nullable=False),
    Column("received_at", Text, nullable=False),
    Column("changed_at", Text, nullable=False),
    UniqueConstraint("study_instance_uid"),
    Index("ix_study_patient_id", "patient_id"),
    Index("ix_study_accession_number", "accession_number"),
    Index("ix_study_date", "study_date", "study_time"),
    Index("ix_study_study_id", "study_id"),
    *_name_indices("study"),
    Index("ix_study_birth_date", "patient_birth_date"),
    # What people look for by a part of it: each is read through, instead of the rows.
    Index("ix_study_description", "study_description"),
    Index(
        "ix_study_referring",
        *(f"referring_physician_name_{group}" for group in NAME_GROUPS),
    ),
)

series = Table(
    "series",
    metadata,
    _number(),
    Column("owner_id", Integer, ForeignKey("study.id"), nullable=False),
    *_columns(Level.SERIES),
    _json(),
    Column("place", Integer, nullable=False),  # Series Number, for the order
    Column("instance_count", Integer, nullable=False),
    UniqueConstraint("owner_id", "series_instance_uid"),
    Index("ix_series_series_instance_uid", "series_instance_uid"),
)

instance = Table(
    "instance",
    metadata,
    _number(),
    Column("owner_id", Integer, ForeignKey("series.id"), nullable=False),
    *_columns(Level.IMAGE),
    _json(),
    Column("place", Integer, nullable=False),  # Instance Number, for the order
    Column("transfer_syntax_uid", Text, nullable=False),
    # No index: names are random, so each instance would seal one more page.
    Column("blob", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("blob_bytes", BigInteger, nullable=False),
    Column("data_set_offset", BigInteger, nullable=False),
    Column("data_set_bytes", BigInteger, nullable=False),
    Column("source", Text, nullable=False),
    Column("received_at", Text, nullable=False),
    UniqueConstraint("sop_instance_uid"),
    Index("ix_instance_owner_id_place", "owner_id", "place"),
)

# Metadata of instances as it was once read from their files (see ``prepared``). It
# goes with its instance: the database sees to that, whoever deletes the row.
prepared = Table(
    "prepared_metadata",
    metadata,
    Column(
        "instance_id",
        Integer,
        ForeignKey("instance.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("blob", Text, nullable=False),  # the bytes that it was read from
    Column("body", LargeBinary, nullable=False),
)

# What came on each day and is still there; triggers of the database keep it.
growth = Table(
    "growth",
    metadata,
    Column("day", Text, primary_key=True),  # YYYY-MM-DD, UTC
    Column("studies", BigInteger, nullable=False),
    Column("instances", BigInteger, nullable=False),
    Column("blob_bytes", BigInteger, nullable=False),
)

# One value each of what has several. ``owner`` says which table ``owner_id`` is of.
# The values of one item of a sequence share ``item``, since a sequence matches
# when one of its items matches all keys (PS3.4 C.2.2.2.6). An attribute outside of
# any sequence is its own ``sequence``.
item_value = Table(
    "item_value",
    metadata,
    _number(),
    Column("owner", Text, nullable=False),
    Column("owner_id", Integer, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("item", Integer, nullable=False),
    Column("tag", BigInteger, nullable=False),
    Column("value", Text, nullable=False),
    Index("ix_item_value_owner", "owner", "owner_id", "sequence", "tag"),
    Index("ix_item_value_value", "owner", "sequence", "tag", "value", "owner_id"),
)

# Instances kept aside: other bytes stand under their UID.
quarantine = Table(
    "quarantine",
    metadata,
    _number(),
    Column("study_uid", Text, nullable=False, index=True),
    Column("series_uid", Text, nullable=False),
    Column("instance_uid", Text, nullable=False, index=True),
    Column("sop_class_uid", Text, nullable=False),
    Column("transfer_syntax_uid", Text, nullable=False),
    Column("blob", Text, nullable=False, unique=True),
    Column("key_id", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("blob_bytes", BigInteger, nullable=False),
    Column("data_set_offset", BigInteger, nullable=False),
    Column("data_set_bytes", BigInteger, nullable=False),
    Column("source", Text, nullable=False),
    Column("received_at", Text, nullable=False),
    Column("existing_blob", Text, nullable=False),
    Column("existing_digest", LargeBinary, nullable=False),
)

# The table whose rows are the things of a level.
TABLES: Mapping[Level, Table] = MappingProxyType(
    {
        Level.PATIENT: patient,
        Level.STUDY: study,
        Level.SERIES: series,
        Level.IMAGE: instance,
    }
)

# Not of images: what scopes name (see ``lists``).
assignment = Table(
    "study_assignment",
    metadata,
    Column("assignee", Text, primary_key=True),
    Column("study_uid", Text, primary_key=True),
)

listed = Table(
    "patient_listed",
    metadata,
    Column("name", Text, primary_key=True),
    Column("patient_id", Text, primary_key=True),
)
