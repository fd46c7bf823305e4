"""From parameters of a FHIR search to a question, and what is no question."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leadglass.audit.codes import EventID, Outcome
from leadglass.servers.fhir.asking import (
    COUNT_MAX,
    PARAMETERS_MAX,
    Asked,
    Pairs,
    is_lenient,
    understand,
)
from leadglass.servers.fhir.resources import SEARCHED
from leadglass.servers.http.answers import Problem

DATE = ("date", "ge2026-01-01")
DCM = "http://dicom.nema.org/resources/ontology/DCM"


def asked(*pairs: tuple[str, str]) -> Asked:
    return understand((DATE, *pairs), lenient=False)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


DATES = [
    ("ge2026", "2026-01-01", None),
    ("gt2026", "2027-01-01", None),
    ("lt2026-02", None, "2026-02-01"),
    ("le2026-02", None, "2026-03-01"),
    ("le2026-12", None, "2027-01-01"),
    ("2026-01-31", "2026-01-31", "2026-02-01"),
    ("eq2026-01-31T10:20Z", "2026-01-31T10:20", "2026-01-31T10:21"),
    ("le2026-01-31T10:20:30Z", None, "2026-01-31T10:20:31"),
    ("gt2026-01-31T10:20:30.25Z", "2026-01-31T10:20:30.26", None),
    ("ge2026-01-31T10:20:30+02:00", "2026-01-31T08:20:30", None),
    ("ge2026-01-31T10:20:30 02:00", "2026-01-31T08:20:30", None),
    ("ge2026-01-31T10:20:30-02:00", "2026-01-31T12:20:30", None),
    ("lt2026-01-31T10:20:30.000001", None, "2026-01-31T10:20:30.000001"),
    ("gt2026-01-31T10:20:30.000001", "2026-01-31T10:20:30.000002", None),
]


@pytest.mark.parametrize(("text", "since", "until"), DATES)
def test_a_date_is_a_time_as_exact_as_it_is_written(
    text: str, since: str | None, until: str | None
) -> None:
    search = understand((("date", text),), lenient=False).search
    assert search.since == (at(since) if since else None)
    assert search.until == (at(until) if until else None)


def test_dates_narrow_each_other() -> None:
    found = asked(("date", "le2026-03"), ("date", "ge2026-02"), ("date", "lt2027"))
    assert (found.search.since, found.search.until) == (
        at("2026-02-01"),
        at("2026-04-01"),
    )
    assert not asked(("date", "lt2025")).is_possible


QUESTIONS = [
    ("patient", "Patient/P-1", {"patient": "P-1"}),
    ("patient", "P-1", {"patient": "P-1"}),
    ("patient.identifier", "|P-1", {"patient": "P-1"}),
    ("patient:identifier", "P-1", {"patient": "P-1"}),
    ("patient.identifier", r"P\,1\|2\\3\$", {"patient": r"P,1|2\3$"}),
    ("entity", "ImagingStudy/1.2.3", {"study": "1.2.3"}),
    ("entity", "urn:oid:1.2.3", {"study": "1.2.3"}),
    ("entity", "Patient/1.2.3", {"patient": "1.2.3"}),
    ("entity.identifier", "urn:dicom:uid|urn:oid:1.2.3", {"study": "1.2.3"}),
    ("entity.identifier", "urn:dicom:uid|1.2.3", {"study": "1.2.3"}),
    ("entity.identifier", "1.2.3", {"patient": "1.2.3"}),
    ("agent", "alice", {"user": "alice"}),
    ("agent.identifier", "|alice", {"user": "alice"}),
    ("address", "192.0.2.1", {"address": "192.0.2.1"}),
    ("type", "110112", {"event": EventID.QUERY}),
    ("type", f"{DCM}|110112", {"event": EventID.QUERY}),
    (
        "type",
        f"{DCM}|110112,110114",
        {"events": frozenset({EventID.QUERY, EventID.USER_AUTHENTICATION})},
    ),
    ("subtype", "110122,110123", {"types": frozenset({"110122", "110123"})}),
    (
        "outcome",
        "4,8",
        {"outcomes": frozenset({Outcome.MINOR_FAILURE, Outcome.SERIOUS_FAILURE})},
    ),
]


@pytest.mark.parametrize(("name", "value", "meant"), QUESTIONS)
def test_a_parameter_is_what_is_searched_for(
    name: str, value: str, meant: dict[str, object]
) -> None:
    found = asked((name, value))
    assert found.is_possible
    assert {each: getattr(found.search, each) for each in meant} == meant
    assert found.used == (DATE, (name, value))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("type", "http://terminology.hl7.org/CodeSystem/audit-event-type|rest"),
        ("type", "nonsense"),
        ("subtype", "http://example.com|110122"),
        ("outcome", "3"),
    ],
)
def test_a_code_that_no_event_has_finds_nothing(name: str, value: str) -> None:
    assert not asked((name, value)).is_possible


WRONG: list[Pairs] = [
    (),
    (("patient", "SECRET"),),  # no date
    *(
        (("date", text),)
        for text in (
            *(
                "",
                "SECRET",
                "ge",
                "ne2026",
                "ap2026",
                "2026-13",
                "2026-02-30",
                "20260101",
            ),
            *("0000", "1969", "9999-12-31", "2026-01-01T10", "2026-01-01T25:00Z"),
            *("2026-01-01T10:00:60Z", "2026-01-01T10:00:00.1234567Z", "٢٠٢٦"),
            *("2026-01-01T10:00+99:00", "2026-01-01T10:00:00Z,2027", "2026\n"),
        )
    ),
    (DATE, ("SECRET", "1")),
    (DATE, ("_include", "AuditEvent:agent")),
    (DATE, ("patient:missing", "true")),
    (DATE, ("patient", "")),
    (DATE, ("patient", "Patient/")),
    (DATE, ("patient", "SECRET,SECRET2")),
    (DATE, ("patient", "SECRET" * 60)),
    (DATE, ("patient", "A"), ("patient", "B")),
    (DATE, ("patient", "SECRET"), ("entity", "Patient/SECRET2")),
    (DATE, ("patient.identifier", "urn:oid:1.2|SECRET")),
    (DATE, ("patient.identifier", "SECRET|")),
    (DATE, ("patient.identifier", "a|b|SECRET")),
    (DATE, ("entity.identifier", "urn:dicom:uid|SECRET")),
    (DATE, ("entity", "ImagingStudy/SECRET")),
    (DATE, ("agent.identifier", "http://x|SECRET")),
    (DATE, ("_count", "0")),
    (DATE, ("_count", "-1")),
    (DATE, ("_count", "1" * 10)),
    (DATE, ("_sort", "date")),
    (DATE, ("type", ",".join(["110112"] * 33))),
    (DATE,) * (PARAMETERS_MAX + 1),
]


@pytest.mark.parametrize("pairs", WRONG)
def test_what_is_no_question_is_refused_without_saying_it_again(pairs: Pairs) -> None:
    with pytest.raises(Problem) as caught:
        understand(pairs, lenient=False)
    assert caught.value.status == 400
    assert "SECRET" not in caught.value.detail


def test_only_json_is_spoken() -> None:
    assert asked(("_format", "application/fhir+json; charset=utf-8")).count
    with pytest.raises(Problem) as caught:
        asked(("_format", "xml"))
    assert caught.value.status == 406


def test_how_many_is_bounded() -> None:
    assert asked(("_count", "7")).count == 7
    assert asked(("_count", "999999999")).count == COUNT_MAX


def test_who_is_lenient_is_told_what_was_understood() -> None:
    pairs = (DATE, ("color", "red"), ("patient", "P-1"))
    found = understand(pairs, lenient=True)
    assert found.used == (DATE, ("patient", "P-1"))
    with pytest.raises(Problem):  # a mistake in a value is one still
        understand((DATE, ("_count", "0")), lenient=True)


def test_handling_is_said_by_prefer() -> None:
    assert is_lenient(["respond-async, handling=lenient"])
    assert not is_lenient(["handling=lenient", "handling=strict"])
    assert not is_lenient(["return=minimal"])


def test_every_parameter_that_is_offered_is_understood() -> None:
    examples = {"date": "ge2026", "type": "110112", "subtype": "110122", "outcome": "0"}
    for name in SEARCHED:
        value = examples.get(name, "x")
        assert understand((DATE, (name, value)), lenient=False).is_possible


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(st.sampled_from(sorted({*SEARCHED, "_count", "_format"})), st.text()),
        max_size=4,
    )
)
def test_whatever_is_said_is_a_question_or_refused(
    pairs: list[tuple[str, str]],
) -> None:
    try:
        found = understand(tuple(pairs), lenient=False)
    except Problem:
        return  # and nothing else
    assert found.search.since is not None or found.search.until is not None
