"""What a control comes to: the worst of what was seen, and no word instead of it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from leadglass.assurance.compliance import inventory, mds2, reporting
from leadglass.assurance.compliance.controls import Control, Kind, Profile, catalogue
from leadglass.assurance.compliance.experiments import EXPERIMENTS
from leadglass.assurance.compliance.judging import (
    Attestation,
    counted,
    judge,
    members,
    weighed,
)
from leadglass.assurance.compliance.looking import CHECKS
from leadglass.assurance.compliance.probe import (
    Observation,
    Verdict,
    Witnessed,
    findings_of,
    nothing_to_see,
)
from leadglass.assurance.compliance.schedule import duties
from leadglass.assurance.compliance.state import Past
from leadglass.errors import BadData

NOW = datetime(2026, 11, 30, tzinfo=UTC)
AUTOMATIC = Control(id="C1", title="t", kind=Kind.AUTOMATIC, probes=("a", "b"))
HYBRID = Control(
    id="C2", title="t", kind=Kind.HYBRID, probes=("a",), document="a policy"
)
ATTESTED = Control(id="C3", title="t", kind=Kind.ATTESTED, document="a policy")


PROBES = {each.name for each in CHECKS} | {each.name for each in EXPERIMENTS}


def seen(name: str, verdict: Verdict = Verdict.PASS) -> Observation:
    return Observation(
        probe=name, title=name, verdict=verdict, expected="e", observed=f"saw {name}"
    )


def vouched(control: str, days: int = 1) -> Attestation:
    return Attestation(
        control=control,
        document="policy.pdf",
        version="2",
        sha256="0" * 64,
        owner="the officer",
        by="paul",
        at=NOW,
        ends=NOW + timedelta(days=days),
    )


P, F, N, A = Verdict.PASS, Verdict.FAIL, Verdict.NOT_COVERED, Verdict.ATTESTED


@pytest.mark.parametrize(
    ("control", "verdicts", "days", "expected"),
    [
        (AUTOMATIC, {"a": P, "b": P}, None, P),
        (AUTOMATIC, {"a": P, "b": F}, None, F),
        (AUTOMATIC, {"a": N, "b": F}, None, F),
        (AUTOMATIC, {"a": P, "b": N}, None, N),
        (AUTOMATIC, {"a": P}, None, N),
        (HYBRID, {"a": P}, None, N),
        (HYBRID, {"a": P}, 1, P),
        (HYBRID, {"a": P}, -1, N),
        (HYBRID, {"a": F}, 1, F),
        (HYBRID, {"a": N}, 1, N),
        (ATTESTED, {}, None, N),
        (ATTESTED, {}, 1, A),
        (ATTESTED, {}, -1, N),
    ],
)
def test_verdicts(
    control: Control, verdicts: dict[str, Verdict], days: int | None, expected: Verdict
) -> None:
    found = {name: seen(name, verdict) for name, verdict in verdicts.items()}
    words = {control.id: vouched(control.id, days)} if days is not None else {}
    (result,) = judge([control], found, words, NOW)
    assert result.verdict is expected
    assert counted([result])[str(expected)] == 1


def test_a_missing_word_is_named() -> None:
    (result,) = judge([HYBRID], {"a": seen("a")}, {}, NOW)
    assert "a policy" in result.note


def test_every_probe_of_the_controls_is_made() -> None:
    made = PROBES | {"risks"}
    asked = {name for each in catalogue().controls.values() for name in each.probes}
    assert asked <= made
    assert len(made) == len(CHECKS) + len(EXPERIMENTS) + 1


def test_every_threat_is_held_against_probes_that_are_made() -> None:
    assert {name for each in inventory.THREATS for name in each.safeguards} <= PROBES


def test_a_failed_safeguard_leaves_its_threat_open() -> None:
    good = {name: seen(name) for each in inventory.THREATS for name in each.safeguards}
    assert weighed(good).verdict is Verdict.PASS
    told = weighed(good | {"E5": seen("E5", Verdict.FAIL)})
    assert told.verdict is Verdict.FAIL
    assert "images are forged" in told.observed


def test_what_failed_is_a_finding_that_needs_somebody() -> None:
    (found,) = findings_of([seen("a"), seen("b", Verdict.FAIL)])
    assert found.id == "b"
    assert found.is_alarming


def test_a_probe_that_looked_at_nothing_covers_nothing() -> None:
    assert Witnessed().seen().verdict is Verdict.NOT_COVERED
    assert nothing_to_see("why").verdict is Verdict.NOT_COVERED


def test_a_probe_cannot_vouch() -> None:
    with pytest.raises(BadData):
        seen("a", Verdict.ATTESTED)


@pytest.fixture(name="kept")
def _kept() -> dict[str, Any]:
    controls = list(catalogue().controls.values())
    found = {
        name: seen(name, F if name == "E5" else P)
        for each in controls
        for name in each.probes
    }
    results = judge(controls, found, {}, NOW)
    return {
        "at": NOW.isoformat(),
        "version": "1",
        "profile": "in-force",
        "caution": reporting.CAUTION,
        "counts": counted(results),
        "controls": [members(each, Profile.IN_FORCE) for each in results],
        "observations": [each.members() for each in found.values()],
        "questions": [
            {
                "id": "W1",
                "question": "<b>which?</b>",
                "controls": [{"id": "CC-01", "verdict": "pass"}],
            }
        ],
        "assets": [{"kind": "device", "name": "<img src=x>", "detail": "d"}],
        "flows": [],
        "risks": inventory.risks(),
        "map": "<svg></svg>",
        "weaknesses": ["unsafe_x"],
        "components": [["jinja2", "3.1.6"]],
    }


def test_no_report_says_compliant(kept: dict[str, Any]) -> None:
    page = reporting.html(kept, 1, 7)
    assert "compliant" not in page.casefold()
    assert "<img" not in page
    assert "<b>" not in page
    assert "CC-16" in page


def test_oscal_holds_every_control_and_its_observations(kept: dict[str, Any]) -> None:
    (result,) = reporting.oscal(kept, 1)["assessment-results"]["results"]
    assert len(result["findings"]) == 48
    known = {each["uuid"] for each in result["observations"]}
    assert len(known) == len(kept["observations"])
    for each in result["findings"]:
        for seen_ in each.get("related-observations", ()):
            assert seen_["observation-uuid"] in known
    states = {
        each["target"]["target-id"]: each["target"]["status"]["state"]
        for each in result["findings"]
    }
    assert states["CC-16"] == "not-satisfied"
    assert states["CC-12"] == "satisfied"


def test_the_same_run_is_the_same_document(kept: dict[str, Any]) -> None:
    assert reporting.oscal(kept, 1) == reporting.oscal(kept, 1)
    assert reporting.printed(kept, 1, 7).startswith(b"%PDF-")


def test_the_sheet_says_no_where_a_probe_failed(kept: dict[str, Any]) -> None:
    answers = {each["group"]: each["answer"] for each in mds2.sheet(kept)}
    assert len(answers) == 23
    assert answers["IGAU"] == "No"
    assert answers["ALOF"] == "Yes"
    assert answers["PLOK"] == "for the owner to answer"


def test_duties_are_told_with_what_is_overdue() -> None:
    past = Past(runs=(NOW - timedelta(days=40),), verified=(NOW, 0))
    found = duties(past, {"CC-26": vouched("CC-26", 3)})
    told = {each.what: each for each in found}
    assert told["run of the controls, with a scan from outside"].is_overdue(NOW)
    assert not told["verification of all images"].is_overdue(NOW)
    assert told["CC-26: policy.pdf"].due == NOW + timedelta(days=3)
    (never,) = (each for each in duties(Past(), {}) if each.what.startswith("run"))
    assert never.due is None
    assert never.is_overdue(NOW)
