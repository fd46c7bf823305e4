"""``leadglass studies``: what the archive holds, without patients unless asked."""

import re
import sys
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, Final

from leadglass.app import Node
from leadglass.archive.catalogue import Catalogue, short_id
from leadglass.archive.find import Query, Row
from leadglass.archive.studies import first_text
from leadglass.audit.builders import Question
from leadglass.cli.answers import Answer, Table, counted
from leadglass.cli.failures import UsageError
from leadglass.cli.session import Session
from leadglass.dicom.attributes import BY_KEYWORD, Level
from leadglass.dicom.jsonmodel import texts_of
from leadglass.dicom.matching import Match, Single, UIDList, Universal, parse_key
from leadglass.errors import NotFound

# Attributes that tell nobody who was examined.
_STUDY: Final[Mapping[str, str]] = {
    "study_uid": "StudyInstanceUID",
    "study_date": "StudyDate",
    "study_time": "StudyTime",
}
_STUDY_COUNTS: Final[Mapping[str, str]] = {
    "series": "NumberOfStudyRelatedSeries",
    "instances": "NumberOfStudyRelatedInstances",
}
_STUDY_PATIENT: Final[Mapping[str, str]] = {
    "patient_name": "PatientName",
    "patient_id": "PatientID",
    "issuer_of_patient_id": "IssuerOfPatientID",
    "patient_birth_date": "PatientBirthDate",
    "patient_sex": "PatientSex",
    "accession_number": "AccessionNumber",
    "study_description": "StudyDescription",
    "referring_physician": "ReferringPhysicianName",
}
_SERIES: Final[Mapping[str, str]] = {
    "series_uid": "SeriesInstanceUID",
    "modality": "Modality",
    "series_number": "SeriesNumber",
}
_SERIES_COUNTS: Final = {"instances": "NumberOfSeriesRelatedInstances"}
# What people type freely may name anybody.
_SERIES_PATIENT: Final[Mapping[str, str]] = {
    "series_description": "SeriesDescription",
    "body_part": "BodyPartExamined",
}
_DAY: Final = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})")


def list_all(session: Session) -> Answer:
    """List studies, the newest first."""
    arguments = session.arguments
    if arguments.limit is not None and arguments.limit < 0:
        raise UsageError("--limit below 0", "write how many studies to list")
    with Node.open(session.config) as node:
        totals = Catalogue(node.parts).totals(node.operator)
        query = Query(
            level=Level.STUDY, keys=_keys(arguments), scopes=(), limit=arguments.limit
        )
        items = [
            _study(row, with_patient=arguments.with_patient)
            for row in _find(node, query, _question(arguments))
        ]
    counts = {
        "studies": len(items),
        "series": sum(each["series"] for each in items),
        "instances": sum(each["instances"] for each in items),
    }
    summary = (
        f"{counted(counts['studies'], 'study', 'studies')}, {counts['series']} series, "
        f"{counted(counts['instances'], 'instance')}"
    )
    text: tuple[str | Table, ...] = ()
    if items:
        text = (_table(items, with_patient=arguments.with_patient),)
    if session.stdout.isatty() or not items:
        text += (summary,)
    return Answer(data={**counts, "archive": asdict(totals), "items": items}, text=text)


def show(session: Session) -> Answer:
    """Show one study and its series."""
    with_patient = session.arguments.with_patient
    with Node.open(session.config) as node:
        uid = Catalogue(node.parts).resolve(node.operator, session.arguments.study)
        tag = BY_KEYWORD["StudyInstanceUID"].tag
        question = f"study_uid={uid}"
        study_query = Query(level=Level.STUDY, keys={tag: Single(uid)}, scopes=())
        studies = list(_find(node, study_query, question))
        if not studies:
            raise NotFound("no such study")
        series_query = Query(
            level=Level.SERIES, keys={tag: UIDList((uid,)), **_asked(_SERIES_COUNTS)},
            scopes=(),
        )  # fmt: skip
        series = [
            _values(row.json, _SERIES)
            | _numbers(row.json, _SERIES_COUNTS)
            | (_values(row.json, _SERIES_PATIENT) if with_patient else {})
            for row in _find(node, series_query, question)
        ]
    study = _study(studies[0], with_patient=with_patient)
    rows = tuple(
        (
            *(str(each[name]) for name in each if name != "series_uid"),
            each["series_uid"],
        )
        for each in series
    )
    columns = [name.upper() for name in (series[0] if series else _SERIES)]
    columns.remove("SERIES_UID")
    lines = tuple(
        f"{name.replace('_', ' ')}: "
        + (" ".join(value) if isinstance(value, list) else str(value))
        for name, value in study.items()
        if value
    )
    return Answer(
        data={"study": study, "series": series},
        text=(*lines, Table((*columns, "SERIES INSTANCE UID"), rows)),
    )


# ── asking ───────────────────────────────────────────────────────────────────


def _find(node: Node, query: Query, question: str) -> Any:
    """Ask the archive; the operator gets all answers, however many."""
    find = replace(node.find, result_count_max=sys.maxsize - 1)
    asked = Question(
        sop_class="",
        data_set=question.encode(),
        transfer_syntax="",
        level=query.level,
        service="studies",
    )
    return find(node.operator, query, asked)


def _keys(arguments: Namespace) -> dict[int, Match]:
    keys: dict[int, Match] = _asked(
        {**_STUDY_COUNTS, "modalities": "ModalitiesInStudy"}
    )
    low, high = (_day(name, getattr(arguments, name)) for name in ("since", "until"))
    if low or high:
        keys[BY_KEYWORD["StudyDate"].tag] = parse_key("DA", [f"{low}-{high}"])
    if arguments.modality:
        keys[BY_KEYWORD["ModalitiesInStudy"].tag] = Single(arguments.modality.upper())
    return keys


def _asked(keywords: Mapping[str, str]) -> dict[int, Match]:
    return {BY_KEYWORD[keyword].tag: Universal() for keyword in keywords.values()}


def _day(option: str, text: str | None) -> str:
    if not text:
        return ""
    found = _DAY.fullmatch(text)
    if found is None:
        raise UsageError(f"--{option} {text}: no date", "write YYYY-MM-DD")
    return "".join(found.groups())


def _question(arguments: Namespace) -> str:
    """Return the question as it was typed, for the record."""
    names = ("since", "until", "modality", "limit")
    given = ((name, getattr(arguments, name)) for name in names)
    return "&".join(f"{name}={value}" for name, value in given if value is not None)


# ── telling ──────────────────────────────────────────────────────────────────


def _study(row: Row, *, with_patient: bool) -> dict[str, Any]:
    uid = first_text(row.json, "StudyInstanceUID")
    modalities = texts_of(row.json.get(BY_KEYWORD["ModalitiesInStudy"].hex))
    return {
        "id": short_id(uid),
        **_values(row.json, _STUDY),
        "modalities": modalities,
        **_numbers(row.json, _STUDY_COUNTS),
        **(_values(row.json, _STUDY_PATIENT) if with_patient else {}),
    }


def _values(json: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {name: first_text(json, keyword) for name, keyword in names.items()}


def _numbers(json: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {name: int(first_text(json, key) or 0) for name, key in names.items()}


def _table(items: list[dict[str, Any]], *, with_patient: bool) -> Table:
    columns = ["ID", "DATE", "MODALITIES", "SERIES", "INSTANCES"]
    names = ["id", "study_date", "modalities", "series", "instances"]
    if with_patient:
        columns += ["PATIENT ID", "NAME", "BORN"]
        names += ["patient_id", "patient_name", "patient_birth_date"]
    rows = tuple(
        tuple(
            " ".join(each[name]) if isinstance(each[name], list) else str(each[name])
            for name in (*names, "study_uid")
        )
        for each in items
    )
    return Table((*columns, "STUDY INSTANCE UID"), rows)
