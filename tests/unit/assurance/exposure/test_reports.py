"""What is told of a scan, to whom, and what has changed since the last one."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from leadglass.assurance.exposure.checks.exposed import Exposure
from leadglass.assurance.exposure.checks.table import CHECKS, GROUPS
from leadglass.assurance.exposure.difference import compare, load_previous
from leadglass.assurance.exposure.grading import MEANINGS, SCORES, Grade, grade
from leadglass.assurance.exposure.printed import as_pdf, html
from leadglass.assurance.exposure.reach import Reach
from leadglass.assurance.exposure.report import exposed, members, sarif
from leadglass.assurance.exposure.safety import clean, clean_bytes
from leadglass.assurance.exposure.scan import Outcome, Result
from leadglass.assurance.exposure.service import Kind
from leadglass.assurance.finding import Finding, Severity
from leadglass.errors import BadData

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
EVIL = "<script>alert(1)</script>\x1b]0;x\x07\u202e"


def finding(check: str = "DM-02", target: str = "10.0.0.1:104") -> Finding:
    return Finding(check, Severity.HIGH, target, "title", EVIL, "remedy", ("PS3.4",))


def result(
    *findings: Finding, at: datetime = NOW, looked: str = "10.0.0.1:104"
) -> Result:
    shown = Exposure(patients=3, studies=5, images=7, shows_patients=True)
    outcome = Outcome(
        "10.0.0.1", EVIL, 104, Kind.DICOM, Reach.PRIVATE, Grade.E, EVIL, shown
    )
    both = (outcome, replace(outcome, port=8042))
    return Result(at, at, 1, 1, 9, both, findings, looked_at=frozenset({looked}))


def saved(path: Path, what: Result, *, previous: Path | None = None) -> Path:
    before = load_previous(previous) if previous else None
    path.write_text(json.dumps(members(*compare(what, before))))
    return path


def test_new_fixed_and_reopened(tmp_path: Path) -> None:
    one = saved(tmp_path / "1", result(finding()))
    later = NOW + timedelta(days=2)
    both = result(finding(), finding("AE-01"), at=later)
    dated, changed = compare(both, load_previous(one))
    assert changed.new == (("AE-01", "10.0.0.1:104"),)
    assert [each.details["days_open"] for each in dated.findings] == [2, 0]
    two = saved(tmp_path / "2", result(at=later), previous=one)
    _, again = compare(result(finding(), at=later), load_previous(two))
    assert again.reopened == (("DM-02", "10.0.0.1:104"),)
    assert again.new == ()


def test_what_was_not_looked_at_is_not_fixed(tmp_path: Path) -> None:
    one = saved(tmp_path / "1", result(finding()))
    _, elsewhere = compare(result(looked="10.0.0.1:8042"), load_previous(one))
    _, here = compare(result(), load_previous(one))
    assert elsewhere.fixed == ()
    assert here.fixed == (("DM-02", "10.0.0.1:104"),)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"findings": 1, "finished": "x"}', "[" * 100_000,
     '{"findings": [{"id": 1, "target": 2, "details": {"first_seen": "x"}}]}',
     '{"findings": [], "difference": {"closed": [[1]]}}'],
)  # fmt: skip
def test_a_file_of_something_else_is_no_result(tmp_path: Path, text: str) -> None:
    path = tmp_path / "previous"
    path.write_text(text)
    with pytest.raises(BadData):
        load_previous(path)


def test_the_words_of_a_target_are_text_in_every_report() -> None:
    dated, difference = compare(result(finding()), None)
    page = html(dated, difference)
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert as_pdf(dated, difference).startswith(b"%PDF-")
    told = sarif(dated)["runs"][0]
    assert told["results"][0]["ruleId"] == "DM-02"
    assert (
        told["tool"]["driver"]["rules"][told["results"][0]["ruleIndex"]]["id"]
        == "DM-02"
    )


def test_one_archive_behind_two_ports_counts_once() -> None:
    counts = exposed(result())
    assert (counts["systems"], counts["patients"], counts["images"]) == (1, 3, 7)


@pytest.mark.parametrize(
    ("found", "worst", "expected"),
    [
        (Exposure(), Severity.INFO, Grade.A),
        (Exposure(), Severity.LOW, Grade.B),
        (Exposure(), Severity.MEDIUM, Grade.C),
        (Exposure(is_associated=True), Severity.CRITICAL, Grade.D),
        (Exposure(is_answered=True), Severity.HIGH, Grade.D),
        (Exposure(shows_patients=True), Severity.CRITICAL, Grade.E),
        (Exposure(is_written=True), Severity.CRITICAL, Grade.E),
        (
            Exposure(shows_patients=True, is_storage_offered=True),
            Severity.INFO,
            Grade.F,
        ),
    ],
)
def test_the_grade_goes_by_what_a_stranger_gets(
    found: Exposure, worst: Severity, expected: Grade
) -> None:
    assert grade(found, [worst]) is expected
    assert set(MEANINGS) == set(SCORES) == set(Grade)


def test_every_check_has_its_place_once() -> None:
    ids = [each.id for each in CHECKS]
    assert len(ids) == len(set(ids)) == sum(len(checks) for _, checks in GROUPS)
    # What could crash a device or alter its data is not shipped.
    unsafe = {"AE-10", "AE-12", "DM-10", "DM-11", "DM-14", "DM-15", "DM-16", "WEB-22"}
    assert not unsafe & set(ids)
    assert {each.id for each in CHECKS if each.level == "I"} == {"DM-09"}
    # Guessing may get the scanner shut out, which would spoil the rest.
    assert ids[-1] == "AE-05"


def test_controls_are_taken_out() -> None:
    assert clean("a\x1b[31mb\nc") == "a?[31mb?c"
    assert len(clean("x" * 500)) == 120
    assert clean_bytes(b"\xff\x00ok").endswith("ok")
