"""Logs of lines: what an attacker can make a program write, and times without years.

What the real programs write is held against what was done in ``tests/peers``.
"""

import io
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leadglass.assurance.trails.fact import Ending, Fact, Kind
from leadglass.assurance.trails.formats import FORMATS
from leadglass.assurance.trails.formats.source import Options, Unparsed, Years
from leadglass.assurance.trails.formats.stamps import Stamps
from leadglass.errors import BadData, Misconfigured

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OPTIONS = Options(zone=UTC, year=2026, at=NOW)
LOGS = ("dcmtk", "orthanc", "tiny-pacs")


def of(format_: str, text: str | bytes, options: Options = OPTIONS) -> list[object]:
    data = text.encode() if isinstance(text, str) else text
    return list(FORMATS[format_].read(io.BytesIO(data), options))


SESSION = """I: Association Received (192.0.2.4:DESK -> QR)
I: Association Acknowledged (Max Send PDV: 16372)
I: Received Get SCP:
I: Get SCP Request Identifiers:
I: (0010,0020) LO [PAT-1] # 6, 1 PatientID
I: Get SCP: Received Store SCU RSP [Status=Success]
"""


@pytest.mark.parametrize(
    "end", ["", "I: Association Release\n", "I: Association Aborted\n"]
)
def test_a_retrieve_that_was_cut_off_has_left_what_it_sent(end: str) -> None:
    _, begun, left = of("dcmtk", SESSION + end)
    assert isinstance(begun, Fact)
    assert isinstance(left, Fact)
    assert (begun.kind, begun.ending) == (Kind.RETRIEVE, Ending.MINOR_FAILURE)
    assert (left.kind, left.instances) == (Kind.TRANSFERRED, 1)
    assert left.touched[0].patient == "PAT-1"


def test_associations_that_overlap_are_said_to() -> None:
    other = SESSION.replace("DESK", "OTHER")
    facts = [each for each in of("dcmtk", SESSION + other) if isinstance(each, Fact)]
    assert "mixed" not in facts[0].details
    assert all("mixed" in each.details for each in facts[1:])


def test_a_refused_store_came_into_no_archive() -> None:
    text = SESSION[: SESSION.index("I: Received")] + (
        "I: Received Store Request (MsgID 1, SC)\n"
        "E: cannot write DICOM file: /x: No space left on device\n"
        "I: Association Release\n"
    )
    fact = of("dcmtk", text)[-1]
    assert isinstance(fact, Fact)
    assert (fact.kind, fact.ending) == (Kind.GATE, Ending.MINOR_FAILURE)
    assert fact.what.startswith("cannot write")


def test_a_log_without_times_needs_one() -> None:
    with pytest.raises(Misconfigured, match="--at"):
        of("dcmtk", SESSION, Options())
    times = [each.time for each in of("dcmtk", SESSION) if isinstance(each, Fact)]
    assert times == sorted(times)


@pytest.mark.parametrize(
    ("front", "when"),
    [
        (
            "2026-03-01 10:00:00,250  ",
            NOW.replace(month=3, hour=10, microsecond=250_000),
        ),
        ("2026-03-01T10:00:00+01:00 pacs dcmqrscp[77]: ", NOW.replace(month=3, hour=9)),
        ("Mar  1 10:00:00 pacs dcmqrscp[77]: ", NOW.replace(month=3, hour=10)),
    ],
)
def test_times_of_loggers_are_taken_off(front: str, when: datetime) -> None:
    text = "".join(f"{front}{line}\n" for line in SESSION.splitlines())
    facts = [each for each in of("dcmtk", text) if isinstance(each, Fact)]
    assert {each.time for each in facts} == {when}
    assert len(facts) == 3


def test_years_go_on() -> None:
    years = Years(OPTIONS)
    assert years.dated(12, 31, "23:59:59") == datetime(2026, 12, 31, 23, 59, 59, 0, UTC)
    assert years.dated(1, 1, "00:00:00") == datetime(2027, 1, 1, tzinfo=UTC)
    assert years.dated(1, 1, "00:00:09").year == 2027
    with pytest.raises(BadData):
        years.dated(2, 30, "00:00:00")
    with pytest.raises(Misconfigured, match="--year"):
        Years(Options(zone=UTC)).dated(1, 1, "00:00:00")


def test_an_impossible_time_is_no_time() -> None:
    with pytest.raises(BadData):
        Stamps(OPTIONS).line("2026-13-01 10:00:00 I: x")
    assert Stamps(OPTIONS).at(None, 5) == NOW + timedelta(microseconds=5)


HOSTILE = [
    "x" * 100,
    "\x1b[2J\x1b]0;owned\x07",
    "2026-99-99 10:00:00 I: Association Received (a:b -> c)",
    "W9999 99:99:99.999999 main.cpp:1] Orthanc has started",
    "I: " * 1_000,
    "(" * 50_000,
    '{"category": "assoc", "event": [], "details": null}',
]


@pytest.mark.parametrize("format_", ["dcmtk", "orthanc"])
@pytest.mark.parametrize("line", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_lines_are_told_of_or_no_event(format_: str, line: str) -> None:
    for each in of(format_, f"{line}\n{line}"):
        assert isinstance(each, Unparsed)
        assert each.text.isprintable()
        assert len(each.text) <= 200


def test_what_tiny_pacs_never_prints_is_told_of() -> None:
    (found,) = of("tiny-pacs", "[" + HOSTILE[-1] + "]")
    assert isinstance(found, Unparsed)
    assert isinstance(of("tiny-pacs", '[{"a": "')[0], Unparsed)


def test_an_orthanc_that_waits_in_a_dump_hides_no_line() -> None:
    text = (
        "I0101 00:00:00.000000 x.cpp:1] (dicom) hello\n"
        "forged line\n"
        "T0101 00:00:00.000000 x.cpp:1] (dicom) a dump\n"
        "of two lines\n"
        "I0101 00:00:01.000000 x.cpp:1] (http) GET /studies\n"
    )
    unread, call = of("orthanc", text)
    assert isinstance(unread, Unparsed)
    assert unread.text == "forged line"
    assert isinstance(call, Fact)


@settings(max_examples=50, deadline=None)
@given(
    lines=st.lists(
        st.sampled_from(
            [*SESSION.splitlines(), "I: Association Release", "E: no", "?", ""]
        ),
        max_size=30,
    ),
    format_=st.sampled_from(LOGS),
    noise=st.binary(max_size=40),
)
def test_any_order_of_lines_is_read(
    lines: list[str], format_: str, noise: bytes
) -> None:
    data = "\n".join(lines).encode() + noise
    for each in of(format_, data):
        assert isinstance(each, Fact | Unparsed)
