"""Feeds of other systems are read, bounded, and what is no row is counted."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from leadglass.assurance.review import known as module
from leadglass.assurance.review.known import blind, read_feeds
from leadglass.assurance.review.look import Feed
from leadglass.errors import Misconfigured

STAFF = """name,department,roles,surname,address,patient_id,born,left
nora,surgery,nurse;trainer,Bérg,12345 Hill 1,P7,1980-02-03,
,surgery,nurse,,,,,
zoe,surgery,nurse,,,,yesterday,
"""
PATIENTS = """patient_id,address,is_flagged,is_staff,last_seen
P1,12345 hill 1,yes,no,2025-03-04T10:00:00
"""
SHIFTS = """name,begins,ends
nora,2026-03-02T06:00+01:00,2026-03-02T14:00+01:00
nora,never,2026-03-02T14:00+01:00
"""
STAYS = """patient_id,begins,ends,department
P1,2026-03-02,2026-03-05,surgery
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in (
        ("staff", STAFF),
        ("patients", PATIENTS),
        ("shifts", SHIFTS),
        ("stays", STAYS),
    ):
        (tmp_path / f"{name}.csv").write_text(text, "utf-8")
    return tmp_path


def test_feeds_are_read(folder: Path) -> None:
    found = read_feeds(folder)
    nora = found.world.person("nora")
    assert nora is not None
    assert (nora.surname, nora.address) == ("berg", "12345 hill 1")
    assert nora.roles == {"nurse", "trainer"}
    patient = found.world.patient("P1")
    assert patient is not None
    assert (patient.is_flagged, patient.is_staff) == (True, False)
    assert patient.last_seen == datetime(2025, 3, 4, 10, tzinfo=UTC)
    (shift,) = found.world.shifts("nora")
    assert shift.begins == datetime(2026, 3, 2, 5, tzinfo=UTC)
    assert [each.department for each in found.world.stays("P1")] == ["surgery"]


def test_what_is_no_row_is_counted(folder: Path) -> None:
    assert read_feeds(folder).skipped == {
        "staff.csv": 2, "patients.csv": 0, "shifts.csv": 1, "stays.csv": 0,
    }  # fmt: skip


def test_without_a_folder_there_are_none(tmp_path: Path) -> None:
    assert read_feeds(None).given == frozenset()
    assert read_feeds(tmp_path).given == frozenset()


@pytest.mark.parametrize(
    "content", [b"", b"\x00\xff\xfe", b"name\n" + b'"' * 9_999, b"name,name\n=1+1,2\n"]
)
def test_hostile_files_are_data(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "staff.csv").write_bytes(content)
    assert set(read_feeds(tmp_path).world.people) <= {"2"}


def test_a_file_that_is_too_large_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FEED_BYTES_MAX", 10)
    with pytest.raises(Misconfigured):
        read_feeds(folder)


def test_rules_that_lack_a_feed_are_blind() -> None:
    rules = (("R-1", frozenset({Feed.STAFF})), ("R-2", frozenset[Feed]()))
    assert blind(rules, frozenset()) == {"R-1": ("staff",)}
    assert blind(rules, frozenset({Feed.STAFF})) == {}
