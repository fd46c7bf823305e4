"""Orders: one asks, another confirms; a person's data goes, and all is proven."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from sqlalchemy import insert, select

from leadglass.access.policy import Kind as WhoKind
from leadglass.access.policy import Subject as Who
from leadglass.access.rights import Right
from leadglass.access.roles import HOUSE_NETWORKS, rules_of_person
from leadglass.access.scopes import EVERYTHING
from leadglass.archive.caller import Caller
from leadglass.archive.orders import OPEN_MAX, Held, Order, Orders, State
from leadglass.archive.retention import Gone, Retention, Subject
from leadglass.archive.tables import emergency, hold, order
from leadglass.audit.builders import Question, Study
from leadglass.audit.erasing import INSTEAD
from leadglass.audit.runs import Runs
from leadglass.audit.search import Record, Search
from leadglass.config import Limits
from leadglass.database.engine import Transaction
from leadglass.errors import (
    BadData,
    Damaged,
    LeadglassError,
    NotFound,
    Refused,
)
from tests.unit.archive.conftest import OPERATOR, open_home
from tests.unit.archive.test_retention import (
    ADA,
    PAUL,
    PEOPLE,
    PIA,
    PROGRAM,
    Aged,
    Follower,
    close,
    log_of,
)
from tests.unit.audit.surroundings import EVENTS, SCANNER, SetClock, stored

REASON = "ordered by the court of the county"
PATIENT, OTHER = "PAT-0003", "PAT-0004"
STUDY = "1.2.3.3"
FIND = "1.2.840.10008.5.1.4.1.2.2.1"
FILLED = 300
# After the instances: a query about both, and one that names the study alone.
BOTH, ALONE = FILLED, FILLED + 1
OWN = range(30, 40)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("filled")
    home = open_home(folder, Limits())
    log = log_of(home, SetClock())
    question = Question(FIND, b"(0010,0010) DOE^J*", "1.2.840.10008.1.2.1", "C-FIND")
    (both,) = EVENTS.query(
        SCANNER,
        question,
        [(PATIENT, STUDY), (OTHER, "1.2.3.4"), (OTHER, STUDY)],
    )
    (alone,) = EVENTS.instances_accessed(SCANNER, (Study(STUDY),))

    def work(tx: Transaction) -> None:
        for number in range(FILLED):
            log.append(tx, stored(number))
        for event in (both, alone):
            log.append(tx, event)

    home.parts.database.write(work)
    log.close()
    close(home)
    return folder


@pytest.fixture
def node(filled: Path, tmp_path: Path) -> Iterator[Aged]:
    folder = shutil.copytree(filled, tmp_path / "node")
    home, clock = open_home(folder, Limits()), SetClock()
    log = log_of(home, clock)
    parts = replace(home.parts, audit=log)
    for who, role in PEOPLE.items():
        subject = Who(WhoKind.OPERATOR, who)
        rules = rules_of_person(subject, (role,), EVERYTHING, HOUSE_NETWORKS)
        home.rules.rules = (*home.rules.rules, *rules)
    yield Aged(home, parts, clock)
    log.close()
    parts.close()
    close(home)


@pytest.fixture
def orders(node: Aged) -> Orders:
    return Orders(node.retention, rest=lambda _: None)


def records(node: Aged, **asked: str) -> list[Record]:
    return list(node.parts.audit.list(Search(**asked)))  # type: ignore[arg-type]


def last(node: Aged) -> dict[str, str]:
    event = node.parts.audit.get(node.parts.audit.size() - 1).event
    return dict(event.objects[0].details)


# ── erasing ──────────────────────────────────────────────────────────────────


def test_a_persons_data_goes_and_the_tree_stays(node: Aged, orders: Orders) -> None:
    before = {n: node.parts.audit.prove(n).leaf for n in (*OWN, BOTH, ALONE)}
    receipt = orders.ask_erasure(PAUL, PATIENT, REASON)
    assert receipt.records == len(OWN) + 2
    done = orders.confirm(PIA, receipt.order.id)
    assert done.state(node.now) is State.DONE
    assert (done.records, done.kept_for_others) == (len(OWN) + 2, 1)
    assert records(node, patient=PATIENT) == []
    assert records(node, study=STUDY) == []
    report = node.verified()
    assert report.findings == ()
    assert [each.kind for each in report.remarks] == ["erased"]
    for n, leaf in before.items():
        assert node.parts.audit.get(n).data == b""
        assert node.parts.audit.prove(n).leaf == leaf
    assert {n for gone in node.follower.gone for n in gone.erased} == {*before}


def test_it_is_in_no_file_any_more(node: Aged, orders: Orders) -> None:
    receipt = orders.ask_erasure(PAUL, PATIENT, REASON)
    orders.confirm(PIA, receipt.order.id)
    with node.parts.database.read() as connection:
        dump = "\n".join(
            repr(tuple(row))
            for (table,) in connection.exec_driver_sql(
                "SELECT name FROM sqlite_master WHERE type = 'table'"
            ).all()
            for row in connection.exec_driver_sql(f"SELECT * FROM {table}")
        )
    assert PATIENT not in dump
    assert f'"{STUDY}"' not in dump
    assert OTHER in dump


def test_what_concerns_others_is_recorded_anew(node: Aged, orders: Orders) -> None:
    old = node.parts.audit.get(BOTH)
    receipt = orders.ask_erasure(PAUL, PATIENT, REASON)
    orders.confirm(PIA, receipt.order.id)
    *_, anew = records(node, patient=OTHER)
    event = anew.event
    assert anew.n > BOTH
    assert event.time == old.event.time
    assert event.participants == old.event.participants
    assert event.details[INSTEAD] == str(BOTH)
    assert [(each.patient_id, each.studies) for each in event.returned] == [
        (OTHER, ("1.2.3.4",))
    ]
    assert event.objects[0].query == b""  # it may have named whoever is forgotten
    assert b"DOE^J*" not in anew.data
    order_record = next(
        each
        for each in records(node)
        if each.data
        and b"personal data of audit records erased" in each.data
        and f'["kept_for_others","{anew.n}"]'.encode() in each.data
    )
    assert order_record.n > anew.n


def test_the_order_is_on_the_record_without_a_name(node: Aged, orders: Orders) -> None:
    size = node.parts.audit.size()
    receipt = orders.ask_erasure(PAUL, PATIENT, REASON)
    asked = last(node)
    assert asked["Alert Description"] == "order asked for"
    digest = sha256(bytes.fromhex(receipt.salt) + PATIENT.encode()).hexdigest()
    assert asked["person_sha256"] == digest == receipt.order.digest
    orders.confirm(PIA, receipt.order.id)
    assert last(node)["Alert Description"] == "erasure of a person's data carried out"
    assert last(node)["records"] == "12"
    since = [each for each in records(node) if each.n >= size]
    said = b"".join(each.data for each in since)
    assert PATIENT.encode() not in said
    assert receipt.salt.encode() not in said
    for step in (
        b"order asked for",
        b"order confirmed",
        b"carried out",
        REASON.encode(),
    ):
        assert step in said
    assert [each.event.participants[0].user_id for each in since][:2] == ["paul", "pia"]


def test_many_records_are_several_portions(node: Aged, orders: Orders) -> None:
    node.add(600, patient="PAT-MANY")
    receipt = orders.ask_erasure(PAUL, "PAT-MANY", REASON)
    done = orders.confirm(PIA, receipt.order.id)
    assert done.records >= 600
    assert len(node.follower.gone) >= 3
    assert node.verified().findings == ()
    assert records(node, patient="PAT-MANY") == []


class Stopped(LeadglassError):
    """The disk was full."""


def test_a_portion_that_fails_is_whole_or_not_at_all_and_goes_on(
    node: Aged, orders: Orders
) -> None:
    node.add(600, patient="PAT-MANY")
    receipt = orders.ask_erasure(PAUL, "PAT-MANY", REASON)

    class Failing(Follower):
        def forget(self, tx: Transaction, gone: Gone) -> None:
            self.gone.append(gone)
            if len(self.gone) == 2:
                raise Stopped

    failing = Failing()
    retention: Retention = replace(node.retention, followers=(failing,))
    with pytest.raises(Stopped):
        replace(orders, retention=retention).confirm(PIA, receipt.order.id)
    assert node.verified().findings == ()
    (half,) = orders.latest(PAUL)
    assert half.state(node.now) is State.CONFIRMED
    assert 0 < half.records < 600
    assert len(records(node, patient="PAT-MANY")) == 600 - half.records
    (done,) = orders.finish_all(OPERATOR)
    assert done.state(node.now) is State.DONE
    assert records(node, patient="PAT-MANY") == []
    assert node.verified().findings == ()
    assert orders.finish_all(OPERATOR) == ()


def test_a_record_that_was_tampered_with_stays(node: Aged, orders: Orders) -> None:
    receipt = orders.ask_erasure(PAUL, PATIENT, REASON)
    statement = "UPDATE audit_record SET wall_us = 1 WHERE n = 33"
    node.parts.database.write(
        lambda tx: tx.connection.exec_driver_sql(statement) and None
    )
    with pytest.raises(Damaged, match="record 33 is not as it was written"):
        orders.confirm(PIA, receipt.order.id)
    assert "altered" in {each.kind for each in node.verified().findings}


WRONG = [
    ("", REASON, BadData),
    ("x" * 65, REASON, BadData),
    (PATIENT, "no", BadData),
    (PATIENT, f"{PATIENT} asked us to forget", BadData),
    ("nobody", REASON, NotFound),
]


def test_what_cannot_be_ordered(orders: Orders) -> None:
    for patient, reason, error in WRONG:
        with pytest.raises(error) as caught:
            orders.ask_erasure(PAUL, patient, reason)
        assert PATIENT not in str(caught.value)
    assert orders.latest(PAUL) == ()


# ── four eyes ────────────────────────────────────────────────────────────────

LOCAL = replace(OPERATOR, subject=Who(WhoKind.OPERATOR, "somebody else"))


@pytest.mark.parametrize(
    ("asks", "confirms"),
    [(PAUL, PAUL), (OPERATOR, OPERATOR), (OPERATOR, LOCAL), (PAUL, ADA)],
)
def test_one_person_alone_erases_nothing(
    node: Aged, orders: Orders, asks: Caller, confirms: Caller
) -> None:
    node.home.rules.allow(LOCAL.subject, *Right)
    receipt = orders.ask_erasure(asks, PATIENT, REASON)
    size = node.parts.audit.size()
    with pytest.raises(Refused, match="not authorized"):
        orders.confirm(confirms, receipt.order.id)
    assert node.parts.audit.size() == size + 1  # that it was tried
    assert len(records(node, patient=PATIENT)) == len(OWN) + 1


@pytest.mark.parametrize(("asks", "confirms"), [(OPERATOR, PAUL), (PAUL, OPERATOR)])
def test_who_logged_in_and_who_sits_at_the_node_are_two(
    node: Aged, orders: Orders, asks: Caller, confirms: Caller
) -> None:
    receipt = orders.ask_erasure(asks, PATIENT, REASON)
    assert orders.confirm(confirms, receipt.order.id).done_at is not None


def test_an_administrator_and_a_program_may_nothing(node: Aged, orders: Orders) -> None:
    node.home.rules.allow(PROGRAM.subject, Right.AUDIT)
    program = replace(PROGRAM, address=None)
    held = node.retention.place(PAUL, Subject(person="nobody"), REASON)
    receipt = orders.ask_erasure(PAUL, PATIENT, REASON)
    for caller in (ADA, program):
        acts: list[Callable[[], object]] = [
            lambda c=caller: orders.ask_erasure(c, PATIENT, REASON),  # type: ignore[misc]
            lambda c=caller: orders.ask_release(c, held.id, REASON),  # type: ignore[misc]
            lambda c=caller: orders.confirm(c, receipt.order.id),  # type: ignore[misc]
            lambda c=caller: orders.refuse(c, receipt.order.id),  # type: ignore[misc]
            lambda c=caller: orders.latest(c),  # type: ignore[misc]
            lambda c=caller: orders.finish_all(c),  # type: ignore[misc]
        ]
        for act in acts:
            with pytest.raises(Refused):
                act()


def test_an_order_lapses(node: Aged, orders: Orders) -> None:
    receipt = orders.ask_erasure(PAUL, PATIENT, REASON)
    node.clock.passes((OPEN_MAX + timedelta(seconds=1)).total_seconds())
    (found,) = orders.latest(PAUL)
    assert found.state(node.now) is State.LAPSED
    with pytest.raises(NotFound):
        orders.confirm(PIA, receipt.order.id)


def test_a_refused_order_is_over_and_forgets_whom_it_was_about(
    node: Aged, orders: Orders
) -> None:
    receipt = orders.ask_erasure(PAUL, PATIENT, REASON)
    refused = orders.refuse(PAUL, receipt.order.id)  # taken back
    assert refused.state(node.now) is State.REFUSED
    assert last(node)["Alert Description"] == "order refused"
    for act in (orders.confirm, orders.refuse):
        with pytest.raises(NotFound):
            act(PIA, receipt.order.id)
    with node.parts.database.read() as connection:
        assert connection.execute(select(order.c.patient)).scalars().all() == [None]


def test_an_order_that_is_none(orders: Orders) -> None:
    for number in (0, -1, 7, 1 << 70):
        for act in (orders.confirm, orders.refuse):
            with pytest.raises(NotFound):
                act(PAUL, number)
        with pytest.raises(NotFound):
            orders.ask_release(PAUL, number, REASON)


# ── holds ────────────────────────────────────────────────────────────────────


def test_a_hold_refuses_an_erasure_until_two_have_released_it(
    node: Aged, orders: Orders
) -> None:
    held = node.retention.place(PAUL, Subject(patient=PATIENT), REASON)
    with pytest.raises(Held, match=f"under legal hold {held.id}") as caught:
        orders.ask_erasure(PAUL, PATIENT, REASON)
    assert PATIENT not in str(caught.value)
    release = orders.ask_release(PAUL, held.id, REASON)
    with pytest.raises(Refused):
        orders.confirm(PAUL, release.id)
    assert node.retention.show(PAUL).holds[0].is_standing
    assert orders.confirm(PIA, release.id).state(node.now) is State.DONE
    assert last(node)["Alert Description"] == "legal hold released"
    (found,) = node.retention.show(PAUL).holds
    assert (found.released_by, found.is_standing) == ("pia", False)
    with pytest.raises(NotFound, match="released already"):
        orders.ask_release(PAUL, held.id, REASON)
    receipt = orders.ask_erasure(PAUL, PATIENT, REASON)
    orders.confirm(PIA, receipt.order.id)
    with node.parts.database.read() as connection:
        assert PATIENT not in connection.execute(select(hold.c.patient)).scalars()


def test_a_hold_placed_after_the_asking_refuses_the_confirmation(
    node: Aged, orders: Orders
) -> None:
    receipt = orders.ask_erasure(PAUL, PATIENT, REASON)
    node.retention.place(PAUL, Subject(person="ct-1"), REASON)
    with pytest.raises(Held):
        orders.confirm(PIA, receipt.order.id)
    assert orders.latest(PAUL)[0].state(node.now) is State.ASKED


def test_a_hold_placed_between_two_portions_stops_the_rest(
    node: Aged, orders: Orders
) -> None:
    node.add(600, patient="PAT-MANY")
    receipt = orders.ask_erasure(PAUL, "PAT-MANY", REASON)

    def rest(_: float) -> None:
        if not node.retention.show(PAUL).holds:
            node.retention.place(PAUL, Subject(patient="PAT-MANY"), REASON)

    with pytest.raises(Held):
        replace(orders, rest=rest).confirm(PIA, receipt.order.id)
    assert records(node, patient="PAT-MANY") != []
    assert node.verified().findings == ()


def test_two_orders_for_one_hold_release_it_once(node: Aged, orders: Orders) -> None:
    held = node.retention.place(PAUL, Subject(patient=PATIENT), REASON)
    first, second = (orders.ask_release(PAUL, held.id, REASON) for _ in range(2))
    orders.confirm(PIA, first.id)
    with pytest.raises(NotFound, match="released already"):
        orders.confirm(PIA, second.id)


# ── other copies ─────────────────────────────────────────────────────────────


def glass(node: Aged, *, reviewed: bool) -> None:
    row = {
        **dict.fromkeys(("started_us", "ends_us", "stopped_us"), 1),
        "kind": "operator",
        "name": "alice",
        "address": "10.4.0.9",
        "patient_id": PATIENT,
        "reason": f"{PATIENT} bled",
        **({"reviewed_us": 2, "reviewer": "pia", "note": "well"} if reviewed else {}),
    }
    node.parts.database.write(
        lambda tx: tx.connection.execute(insert(emergency), row) and None
    )


def test_an_open_review_comes_first(node: Aged, orders: Orders) -> None:
    glass(node, reviewed=False)
    with pytest.raises(Held, match="a review about this patient is open"):
        orders.ask_erasure(PAUL, PATIENT, REASON)


def test_broken_glass_forgets_whom_it_was_about(node: Aged, orders: Orders) -> None:
    glass(node, reviewed=True)
    receipt = orders.ask_erasure(PAUL, PATIENT, REASON)
    orders.confirm(PIA, receipt.order.id)
    with node.parts.database.read() as connection:
        (row,) = connection.execute(select(emergency)).all()
    assert PATIENT not in repr(tuple(row))
    assert row.name == "alice"  # who broke it is not who is forgotten


def test_what_was_erased_is_pruned_with_the_rest(node: Aged, orders: Orders) -> None:
    receipt = orders.ask_erasure(PAUL, PATIENT, REASON)
    orders.confirm(PIA, receipt.order.id)
    node.add(300)
    node.pass_time()
    assert node.retention.run(OPERATOR).pruned == 512
    assert node.verified().findings == ()


def test_the_order_stays_as_long_as_what_it_erased(node: Aged, orders: Orders) -> None:
    receipt = orders.ask_erasure(PAUL, PATIENT, REASON)
    orders.confirm(PIA, receipt.order.id)  # orders are in the second tile
    first = Subject(study="1.2.3.0", person="ct-1")
    node.retention.place(PAUL, first, REASON)
    node.add(600)
    node.pass_time()
    found = node.retention.run(OPERATOR)
    assert (found.needed, set(found.held.values())) == (256, {256})
    report = node.verified()
    assert report.findings == ()
    assert Runs.of_numbers(node.numbers()).covers(0, 512)


def test_an_order_is_shown_without_whom_it_is_about(orders: Orders) -> None:
    orders.ask_erasure(PAUL, PATIENT, REASON)
    (found,) = orders.latest(PAUL)
    assert isinstance(found, Order)
    assert PATIENT not in repr(found)
    assert PATIENT not in "".join(found.facts().values())
