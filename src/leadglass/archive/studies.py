"""Studies as the audit record names them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from leadglass.access.scopes import Scope
from leadglass.audit.builders import Study
from leadglass.dicom.attributes import BY_KEYWORD, Level
from leadglass.dicom.jsonmodel import texts_of
from leadglass.dicom.matching import UIDList
from leadglass.index.index import Index
from leadglass.index.query import Query

# Studies asked for in one query.
_PER_QUERY = 500


def first_text(attributes: Mapping[str, Any], keyword: str) -> str:
    """Return the first value of an attribute in the DICOM JSON model, or ``""``."""
    texts = texts_of(attributes.get(BY_KEYWORD[keyword].hex))
    return texts[0] if texts else ""


def study_of(attributes: Mapping[str, Any]) -> Study:
    """Return the study that an answer of the index tells of."""
    return Study(
        uid=first_text(attributes, "StudyInstanceUID"),
        patient_id=first_text(attributes, "PatientID"),
        patient_name=first_text(attributes, "PatientName"),
        accession=first_text(attributes, "AccessionNumber"),
    )


def studies_of(
    index: Index,
    connection: Connection,
    uids: Iterable[str],
    scopes: Sequence[Scope],
) -> dict[str, Study]:
    """Return the studies of these UIDs that are within the scopes."""
    wanted = tuple(dict.fromkeys(uids))
    found: dict[str, Study] = {}
    tag = BY_KEYWORD["StudyInstanceUID"].tag
    for start in range(0, len(wanted), _PER_QUERY):
        query = Query(
            level=Level.STUDY,
            keys={tag: UIDList(wanted[start : start + _PER_QUERY])},
            scopes=tuple(scopes),
        )
        for row in index.find(connection, query):
            study = study_of(row.json)
            found[study.uid] = study
    return found
