"""Policy and holds as values, and the orders that a record can be."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from leadglass.audit.builders import Actor, Association, Node
from leadglass.audit.codes import EventType
from leadglass.audit.events import Event, encode, mention_key, to_us
from leadglass.audit.orders import (
    CODE,
    ERASED_TOGETHER_MAX,
    Act,
    Order,
    RetentionEvents,
    order_of,
)
from leadglass.audit.retention import (
    GAP_MAX,
    REASON_CHARACTERS_MAX,
    Hold,
    Holding,
    Policy,
    Subject,
    check_reason,
)
from leadglass.audit.runs import Runs
from leadglass.audit.search import keys_of
from leadglass.errors import BadData, Misconfigured
from tests.unit.audit.surroundings import EVENTS, ORIGIN, SCANNER, stored

NOW = datetime(2033, 1, 1, tzinfo=UTC)
EVENTS_OF = RetentionEvents(EVENTS.node)
ANNA = Actor("anna", "10.4.0.7", channel="TLSv1.3", kind="operator")


def record_of(event: Event, own: str = ORIGIN) -> bytes:
    return encode(event.members({"id": own, "types": [4]}, 0))


# ── policy ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("policy", "days"),
    [(Policy(), 2192), (Policy(10), 3653), (Policy(6, 1), 366), (Policy(6, 5), 1827)],
)
def test_a_period_is_never_short_of_its_years(policy: Policy, days: int) -> None:
    assert policy.days == days
    assert policy.cutoff(NOW) == NOW - timedelta(days=days)


@pytest.mark.parametrize("years", [-1, 0, 5, 101])
def test_fewer_than_six_years_need_the_dangerous_name(years: int) -> None:
    with pytest.raises(Misconfigured, match=r"retention\.years: use 6 to 100"):
        Policy(years)
    with pytest.raises(Misconfigured, match=r"retention\.unsafe_years"):
        Policy(6, 6)
    with pytest.raises(Misconfigured, match=r"retention\.unsafe_years"):
        Policy(6, -1)


def test_a_gap_is_shorter_than_any_period() -> None:
    assert timedelta(days=Policy(6, 1).days) > 3 * GAP_MAX


@pytest.mark.parametrize("reason", ["", "  no  ", "x" * (REASON_CHARACTERS_MAX + 1)])
def test_a_reason_says_something(reason: str) -> None:
    with pytest.raises(BadData, match="without naming a patient"):
        check_reason(reason)


# ── holds ────────────────────────────────────────────────────────────────────


def hold(number: int = 1, **named: object) -> Hold:
    return Hold(
        id=number,
        subject=Subject(**named),  # type: ignore[arg-type]
        reason="litigation",
        placed_by="anna",
        placed_at=NOW,
    )


KEYS = keys_of(stored(5, patient="P-1"), ORIGIN, to_us(NOW))
HELD = [
    ({"patient": "P-1"}, True),
    ({"patient": "P-2"}, False),
    ({"study": "1.2.3.0"}, True),
    ({"study": "1.2.3.9"}, False),
    ({"person": "ct-1"}, True),
    ({"person": "ct-2"}, False),
    ({"patient": "P-1", "person": "ct-2"}, False),
    ({"since": NOW}, True),
    ({"since": NOW + timedelta(microseconds=1)}, False),
    ({"until": NOW}, False),
    ({"until": NOW + timedelta(microseconds=1)}, True),
    ({"since": NOW, "patient": "P-1"}, True),
    ({"until": NOW, "patient": "P-1"}, False),
]


@pytest.mark.parametrize(("named", "is_held"), HELD)
def test_a_hold_keeps_what_fits_all_it_names(
    named: dict[str, object], is_held: bool
) -> None:
    holding = Holding((hold(7, **named),))
    assert holding.of(to_us(NOW), KEYS) == ({7} if is_held else set())


def test_a_released_hold_keeps_nothing() -> None:
    released = replace(hold(patient="P-1"), released_at=NOW, released_by="paul")
    holding = Holding((released,))
    assert not holding
    assert holding.of(to_us(NOW), KEYS) == frozenset()


def test_of_an_erased_record_the_time_is_left() -> None:
    holding = Holding((hold(1, patient="P-1"), hold(2, since=NOW)))
    assert holding.of(to_us(NOW), None) == {2}


@pytest.mark.parametrize(
    "named",
    [
        {},
        {"patient": ""},
        {"study": "1" * 300},
        {"since": NOW, "until": NOW},
        {"since": NOW, "until": NOW - timedelta(days=1)},
    ],
)
def test_a_hold_that_cannot_be_is_refused(named: dict[str, object]) -> None:
    with pytest.raises(BadData):
        Subject(**named)  # type: ignore[arg-type]


def test_a_long_name_has_the_key_that_its_record_has() -> None:
    assert Subject(patient="P").keys == {mention_key("patient", "P")}


# ── orders ───────────────────────────────────────────────────────────────────

NUMBERS = Runs(((0, 512), (768, 1024)))
PRUNED = EVENTS_OF.pruned(ANNA, NUMBERS, "2027-01-01T00:00:00+00:00", "3,4")
FEW = Runs(((5, 9), (11, 12)))
ERASED = EVENTS_OF.erased(ANNA, 2, FEW, Runs(((20, 21),)))


def test_what_the_node_writes_is_an_order() -> None:
    assert order_of(record_of(PRUNED), ORIGIN) == Order(Act.PRUNED, NUMBERS)
    assert order_of(record_of(ERASED), ORIGIN) == Order(Act.ERASED, FEW)
    assert int(PRUNED.id) == CODE


def test_many_numbers_are_several_texts() -> None:
    numbers = Runs.of_numbers(2 * n + 10_000 for n in range(ERASED_TOGETHER_MAX))
    event = EVENTS_OF.erased(ANNA, 1, numbers, Runs())
    assert len(event.objects[0].details) > 3
    assert order_of(record_of(event), ORIGIN) == Order(Act.ERASED, numbers)


def changed(event: Event, **changes: object) -> Event:
    thing = replace(event.objects[0], **changes)  # type: ignore[arg-type]
    return replace(event, objects=(thing, *event.objects[1:]))


WORDS = (("Alert Description", str(Act.PRUNED)), ("Record Numbers", "0-255"))
FORGED = {
    "what a peer says of itself": EVENTS.association_refused(
        SCANNER,
        Association('audit records pruned","Record Numbers":"0-255'),
        str(Act.PRUNED),
    ),
    "what a person gives as facts": EVENTS.configuration_changed(
        ANNA, {"Alert Description": Act.PRUNED, "Record Numbers": "0-255"}
    ),
    "without its life cycle": changed(PRUNED, life_cycle=0),
    "of another object": changed(PRUNED, id="other.example"),
    "of another kind of object": changed(PRUNED, id_type="2"),
    "of other words": changed(PRUNED, details=(("Alert Description", "x"), WORDS[1])),
    "without numbers": changed(PRUNED, details=WORDS[:1]),
    "of numbers that are none": changed(
        PRUNED, details=(WORDS[0], ("Record Numbers", "all"))
    ),
    "of another type": replace(PRUNED, types=(EventType.SECURITY_CONFIGURATION,)),
    "without objects": replace(PRUNED, objects=()),
    "of too many erased": EVENTS_OF.erased(
        ANNA, 1, Runs(((0, ERASED_TOGETHER_MAX + 1),)), Runs()
    ),
    "of another log": RetentionEvents(Node("other.example")).pruned(
        ANNA, NUMBERS, "", ""
    ),
    "about a hold": EVENTS_OF.hold_placed(ANNA, hold(patient="P-1")),
    "that was only asked for": EVENTS_OF.order_asked(
        ANNA, {"reason": str(Act.PRUNED), "Record Numbers": "0-255"}
    ),
}


@pytest.mark.parametrize("event", FORGED.values(), ids=FORGED)
def test_nothing_else_is_an_order(event: Event) -> None:
    assert order_of(record_of(event), ORIGIN) is None


@pytest.mark.parametrize(
    "record", [None, "text", 7, b"", b'"Record Numbers"', b'{"Record Numbers":[]}']
)
def test_what_is_no_record_is_no_order(record: object) -> None:
    assert order_of(record, ORIGIN) is None


def test_a_record_of_another_log_is_no_order() -> None:
    assert order_of(record_of(PRUNED, "other.example"), ORIGIN) is None


def test_no_order_names_a_patient() -> None:
    asked = EVENTS_OF.order_asked(ANNA, {"order": "1", "person_sha256": "ab" * 32})
    for event in (PRUNED, ERASED, asked):
        assert not [
            value for kind, value in event.mentions(ORIGIN) if kind == "patient"
        ]
    placed = EVENTS_OF.hold_placed(ANNA, hold(patient="P-1", study="1.2.3"))
    assert {("patient", "P-1"), ("study", "1.2.3")} <= set(placed.mentions(ORIGIN))
