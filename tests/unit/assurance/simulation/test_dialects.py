"""Facts in the words of others: whole, in order, and readable."""

import csv
import io
import json
from collections import Counter
from datetime import datetime
from xml.etree import ElementTree as ET

import pytest

from leadglass.assurance.simulation import dialects
from leadglass.assurance.simulation.scale import Scale
from leadglass.assurance.simulation.simulation import Simulation
from leadglass.assurance.trails.fact import Fact, Kind
from leadglass.assurance.trails.own import told
from leadglass.audit.codes import EventID

# What an event has no place for.
SERVICELESS = {Kind.EXPORT, Kind.CONFLICT, Kind.DELETE, Kind.GATE}
PATIENTLESS = {Kind.REFUSED}


@pytest.fixture(scope="module")
def facts() -> list[Fact]:
    simulated = Simulation(Scale(seed=9, beds=30, days=14)).lines()
    some = [each for each in simulated if isinstance(each, Fact)]
    # The first of each kind, and a stretch of days as they are.
    firsts = list({each.kind: each for each in reversed(some)}.values())
    return [*firsts, *some[-500:]]


def test_every_kind_has_its_event(facts: list[Fact]) -> None:
    made = Counter(record.event.id for record in dialects.records(iter(facts)))
    kinds = Counter(each.kind for each in facts)
    assert made[EventID.QUERY] == kinds[Kind.QUERY]
    assert made[EventID.BEGIN_TRANSFERRING] == kinds[Kind.VIEW] + kinds[Kind.RETRIEVE]
    assert made[EventID.EXPORT] == kinds[Kind.EXPORT]
    assert made[EventID.STUDY_DELETED] == kinds[Kind.DELETE]
    assert made.total() >= len(facts)


def test_a_node_would_tell_the_same_of_it(facts: list[Fact]) -> None:
    """There and back: what our own record says of a fact is the fact."""
    for fact in facts:
        records = list(dialects.records(iter([fact])))
        backs = [told(each.event, fact.number, dialects.NODE.name) for each in records]
        for back in backs:
            assert (back.time, back.kind) == (fact.time, fact.kind)
            assert back.ending == fact.ending or fact.kind is Kind.CONFLICT
            assert (back.address, back.channel) == (fact.address, fact.channel)
            assert back.certificate == fact.certificate or fact.kind is Kind.LOGOUT
            assert back.who == fact.who or not fact.who
            assert back.destination == fact.destination
            assert back.service == fact.service or fact.kind in SERVICELESS
            assert back.reach == fact.reach
            assert back.details.get("keys", "") == fact.details.get("keys", "")
        named = {each.patient for back in backs for each in back.touched}
        if fact.kind not in PATIENTLESS:
            assert named == {each.patient for each in fact.touched}
            assert sum(each.instances for each in backs) == fact.instances or (
                fact.kind in SERVICELESS
            )


def test_atna_is_a_message_a_line(facts: list[Fact]) -> None:
    lines = list(dialects.atna(iter(facts)))
    messages = [ET.fromstring(each) for each in lines]  # our own, and not hostile
    assert {each.tag for each in messages} == {"AuditMessage"}
    assert not any("\n" in each for each in lines)
    times = [each.find("EventIdentification") for each in messages]
    assert all(each is not None and each.get("EventDateTime") for each in times)
    text = "\n".join(lines)
    for fact in facts[-200:]:
        assert fact.who in text
        assert all(each.patient in text for each in fact.touched)


def test_fhir_is_a_resource_a_line(facts: list[Fact]) -> None:
    resources = [json.loads(each) for each in dialects.fhir(iter(facts))]
    assert {each["resourceType"] for each in resources} == {"AuditEvent"}
    assert len(resources) == sum(1 for _ in dialects.records(iter(facts)))


def test_a_table_says_what_the_facts_say(facts: list[Fact]) -> None:
    text = "\n".join(dialects.table(iter(facts)))
    rows = list(csv.DictReader(io.StringIO(text)))
    expected = [
        (each, touched) for each in facts for touched in (each.touched or (None,))
    ]
    assert len(rows) == len(expected)
    for row, (fact, touched) in zip(rows, expected, strict=True):
        assert datetime.fromisoformat(row["time"]) == fact.time
        assert (row["kind"], row["who"]) == (str(fact.kind), fact.who)
        assert int(row["returned"]) == fact.returned
        assert row["patient"] == (touched.patient if touched else "")
        assert row["studies"].split() == list(touched.studies if touched else ())
