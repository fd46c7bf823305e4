"""Tables of any program, by a mapping."""

import io
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leadglass.assurance.simulation.dialects import table as simulated
from leadglass.assurance.trails.fact import Ending, Fact, Kind, Reach, Touched
from leadglass.assurance.trails.formats import table
from leadglass.assurance.trails.formats.source import Options, Unparsed, zone_of
from leadglass.errors import Misconfigured

MAPPING = """
separator = ";"
time = "%d.%m.%Y %H:%M:%S"
[columns]
time = "Zeit"
kind = "Aktion"
who = "Benutzer"
patient = "PatID"
studies = "Studie"
ending = "Ergebnis"
instances = "Bilder"
[kinds]
"Studie angezeigt" = "view"
"""
TEXT = """\ufeffZeit;Benutzer;Aktion;PatID;Studie;Ergebnis;Bilder
31.12.2026 23:30:00;alice;Studie angezeigt;P1;1.2 1.3;OK;12
31.12.2026 23:31:00;bob;login;;;failed;
31.12.2026 23:32:00;bob;dance;;;;
99.12.2026 23:32:00;bob;login;;;;
31.12.2026 23:33:00;"bob;login;;;;
31.12.2026 23:34:00;bob;login;;;perhaps;
"""


def of(text: str, mapping: str = "", zone: str = "") -> list[Fact | Unparsed]:
    options = Options(
        zone=zone_of(zone) if zone else None,
        mapping=table.mapping_of(mapping.encode()),
    )
    return list(table.read(io.BytesIO(text.encode()), options))


def test_columns_are_what_the_mapping_says() -> None:
    found = of(TEXT, MAPPING, "Europe/Berlin")
    assert found[:2] == [
        Fact(
            number=2,
            trail=1,
            time=datetime(2026, 12, 31, 22, 30, tzinfo=UTC),
            kind=Kind.VIEW,
            who="alice",
            instances=12,
            touched=(Touched("P1", Reach.IMAGES, ("1.2", "1.3")),),
            details={"word": "Studie angezeigt"},
        ),
        Fact(
            number=3,
            trail=1,
            time=datetime(2026, 12, 31, 22, 31, tzinfo=UTC),
            kind=Kind.LOGIN,
            ending=Ending.MINOR_FAILURE,
            who="bob",
        ),
    ]
    assert [each.line for each in found[2:] if isinstance(each, Unparsed)] == [
        4,
        5,
        6,
        7,
    ]


def test_without_a_mapping_columns_are_called_like_fields() -> None:
    fact = Fact(
        number=0,
        time=datetime(2026, 1, 1, tzinfo=UTC),
        kind=Kind.RETRIEVE,
        who="ws",
        ae_title="WS",
        destination="ELSEWHERE",
        touched=(Touched("P1", Reach.IMAGES, ("1.2",)),),
    )
    (found,) = of("\n".join(simulated(iter([fact]))))
    assert isinstance(found, Fact)
    assert found.members() == {**fact.members(), "number": 2, "trail": 1}


@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        ("x", "no TOML"),
        ("a = 1", "columns"),
        ("[columns]\nkind='a'", "needs time"),
        ("[columns]\ntime='a'", "needs kind"),
        ("[columns]\ntime='a'\nmood='b'", "no field mood"),
        ("[columns]\ntime='a'\nkind='b'\n[kinds]\nx='y'", "no kind y"),
        ("separator=';;'\n[columns]\ntime='a'\nkind='b'", "one character"),
        ("[columns]\ntime='a'\nkind='b'", "no column"),
        ("x = '" + "y" * 70_000 + "'", "too long"),
    ],
)
def test_a_mapping_that_cannot_be_is_refused(mapping: str, said: str) -> None:
    with pytest.raises(Misconfigured, match=said):
        of(TEXT, mapping, "UTC")


def test_a_zone_is_needed_where_there_is_none() -> None:
    with pytest.raises(Misconfigured, match="--zone"):
        of(TEXT, MAPPING)


def test_zones_have_names_or_offsets() -> None:
    assert zone_of("-03:30").utcoffset(None) == timedelta(hours=-3, minutes=-30)
    for text in ("Nowhere/City", "+99:99", "../../etc/passwd", "\x1b"):
        with pytest.raises(Misconfigured):
            zone_of(text)


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=200))
def test_any_line_is_read_or_told_of(text: str) -> None:
    found = of("time,kind,patient\n" + text.replace("\n", ""), "", "UTC")
    assert len(found) == bool(text.replace("\n", "").strip())
