"""The schema and the statements are also PostgreSQL's, though only compiled here."""

import re

import pytest
from sqlalchemy import Table
from sqlalchemy.dialects import registry
from sqlalchemy.schema import CreateIndex, CreateTable

from leadglass.access.scopes import Scope
from leadglass.dicom import matching
from leadglass.dicom.attributes import Level
from leadglass.index import statements
from leadglass.index.finding import statement
from leadglass.index.query import Query, Root
from leadglass.index.tables import TABLES, item_value, quarantine
from tests.unit.index.samples import keys

POSTGRESQL = registry.load("postgresql")(paramstyle="named")
SQLITE = registry.load("sqlite")(paramstyle="named")
TABLES_ALL = [*TABLES.values(), item_value, quarantine]
QUERY_KEYS = keys(
    PatientName="*SON^A?",
    OtherPatientIDs="A",
    StudyDate="20240101-20240131",
    StudyTime="10-11",
    ModalitiesInStudy=["CT", "MR"],
    SeriesInstanceUID=["1.2", "1.3"],
    AccessionNumber=matching.Empty(),
    RequestAttributesSequence=matching.Sequence(
        keys(RequestedProcedureID="1", ScheduledProcedureStepID="2*")
    ),
    NumberOfPatientRelatedStudies="",
)
SCOPES = (
    Scope.parse("modality=CT;institution=North;department=R"),
    Scope.parse("patient_id=P1;referring_physician=A^B;source=CT1;study_uid=1.2"),
)


@pytest.mark.parametrize("table", TABLES_ALL, ids=lambda table: table.name)
def test_tables_compile(table: Table) -> None:
    text = str(CreateTable(table).compile(dialect=POSTGRESQL))
    assert "BYTEA" in text or "digest" not in table.c
    for index in table.indexes:
        assert str(CreateIndex(index).compile(dialect=POSTGRESQL))


@pytest.mark.parametrize("level", Level)
def test_questions_are_the_same_text_but_for_parameters(level: Level) -> None:
    query = Query(
        level=level,
        keys=QUERY_KEYS,
        scopes=SCOPES,
        root=Root.PATIENT,
        relational=True,
        combined_datetime=True,
        limit=100,
        offset=5,
    )
    ours = statement(query).compile(dialect=SQLITE)
    theirs = statement(query).compile(dialect=POSTGRESQL)
    assert plain(str(ours)) == plain(str(theirs))


def plain(text: str) -> str:
    """Leave out what the dialects write differently: casts, limits, true and false."""
    for ours, theirs in (("1 = 1", "true"), ("0 = 1", "false"), (r"'\\'", r"'\'")):
        text = text.replace(ours, theirs)
    return " ".join(re.sub("::[A-Z]+", "", text.partition("LIMIT")[0]).split())


@pytest.mark.parametrize("table", TABLES_ALL, ids=lambda table: table.name)
def test_insertions_leave_the_number_to_the_database(table: Table) -> None:
    text = str(statements.inserting(table).compile(dialect=POSTGRESQL))
    assert text.startswith(f"INSERT INTO {table.name} (")
    assert "id" not in text.partition("(")[2].partition(")")[0].split(", ")
