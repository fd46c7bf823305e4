"""Pruning: what is old goes, what is held, needed or not handed on stays."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, insert

from leadglass.access.policy import Kind
from leadglass.access.policy import Subject as Who
from leadglass.access.rights import Right
from leadglass.access.roles import HOUSE_NETWORKS, rules_of_person
from leadglass.access.scopes import EVERYTHING
from leadglass.archive.caller import Caller
from leadglass.archive.parts import Parts
from leadglass.archive.retention import (
    Gone,
    Policy,
    Receivers,
    Retention,
    Subject,
)
from leadglass.archive.tables import forwarded
from leadglass.audit.events import from_us, to_us
from leadglass.audit.findings import Report
from leadglass.audit.log import AuditLog
from leadglass.audit.runs import Runs
from leadglass.audit.search import Search
from leadglass.audit.witness import WitnessKey, sign
from leadglass.config import Limits
from leadglass.database.engine import Transaction
from leadglass.errors import BadData, Damaged, LeadglassError, Refused, Unavailable
from tests.unit.archive.conftest import OPERATOR, ORIGIN, Home, open_home
from tests.unit.audit.surroundings import SetClock, stored

HERE = ip_address("10.4.0.7")
REASON = "litigation of the spring"
PAUL = Caller(Who(Kind.OPERATOR, "paul"), HERE, channel="TLSv1.3")
PIA = Caller(Who(Kind.OPERATOR, "pia"), HERE, channel="TLSv1.3")
ADA = Caller(Who(Kind.OPERATOR, "ada"), HERE, channel="TLSv1.3")
PROGRAM = Caller(Who(Kind.SERVICE, "siem"), HERE, channel="TLSv1.3")
DAY = timedelta(days=1)

PEOPLE = {"paul": "privacy", "pia": "privacy", "ada": "administrator"}

# Four tiles of old records, and two months between any two that follow.
OLD = 1024
STEP = timedelta(days=60)
STEPS = 38


@dataclass
class Follower:
    """Something that is made from records."""

    at: int = 1 << 40
    gone: list[Gone] = field(default_factory=list)

    def positions(self, connection: Connection) -> Mapping[str, int]:
        return {"facts": self.at}

    def forget(self, tx: Transaction, gone: Gone) -> None:
        self.gone.append(gone)


@dataclass
class Aged:
    """A node whose record is more than six years old."""

    home: Home
    parts: Parts
    clock: SetClock
    follower: Follower = field(default_factory=Follower)

    @property
    def now(self) -> datetime:
        return from_us(self.clock.wall)

    @property
    def retention(self) -> Retention:
        return Retention(
            self.parts,
            Policy(),
            (Receivers(), self.follower),
            clock=lambda: self.now,
            rest=lambda _: None,
        )

    def add(self, count: int, patient: str = "") -> None:
        size = self.parts.audit.size()

        def work(tx: Transaction) -> None:
            for number in range(size, size + count):
                self.parts.audit.append(tx, stored(number, patient))

        self.parts.database.write(work)

    def pass_time(self, steps: int = STEPS) -> None:
        """Let time pass, in which something is recorded now and then."""
        size, began = self.parts.audit.size(), self.clock.wall

        def work(tx: Transaction) -> None:
            self.clock.passes((began - self.clock.wall) / 1_000_000)
            for number in range(size, size + steps):
                self.clock.passes(STEP.total_seconds())
                self.parts.audit.append(tx, stored(number))

        self.parts.database.write(work)

    def verified(self) -> Report:
        return self.parts.audit.verify()

    def numbers(self) -> list[int]:
        return [each.n for each in self.parts.audit.list(Search())]


def log_of(home: Home, clock: SetClock) -> AuditLog:
    key = Ed25519PrivateKey.from_private_bytes(home.parts.keyring.derive("audit"))
    return AuditLog(home.parts.database, key, ORIGIN, home.folder, clock=clock)


def close(home: Home) -> None:
    home.parts.close()
    home.parts.audit.close()
    home.parts.database.close()
    home.inner.close()


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("filled")
    home = open_home(folder, Limits())
    log = log_of(home, SetClock())

    def work(tx: Transaction) -> None:
        for number in range(OLD):
            log.append(tx, stored(number))

    home.parts.database.write(work)
    log.close()
    close(home)
    return folder


@pytest.fixture
def aged(filled: Path, tmp_path: Path) -> Iterator[Aged]:
    folder = shutil.copytree(filled, tmp_path / "node")
    home, clock = open_home(folder, Limits()), SetClock()
    log = log_of(home, clock)
    parts = replace(home.parts, audit=log)
    for who, role in PEOPLE.items():
        subject = Who(Kind.OPERATOR, who)
        rules = rules_of_person(subject, (role,), EVERYTHING, HOUSE_NETWORKS)
        home.rules.rules = (*home.rules.rules, *rules)
    yield Aged(home, parts, clock)
    log.close()
    parts.close()
    close(home)


def test_nothing_goes_before_its_time(aged: Aged) -> None:
    aged.pass_time(36)  # 2,160 days
    assert aged.retention.run(OPERATOR).pruned == 0
    assert aged.verified().remarks == ()


def test_what_is_old_goes_and_the_rest_is_proven(aged: Aged) -> None:
    aged.pass_time()
    size = aged.parts.audit.size()
    looked = aged.retention.run(OPERATOR, dry_run=True)
    assert (looked.pruned, looked.portions) == (OLD, 0)
    assert aged.numbers()[0] == 0
    found = aged.retention.run(OPERATOR)
    assert (found.pruned, found.portions) == (OLD, 1)
    assert aged.numbers() == list(range(OLD, size + 1))
    report = aged.verified()
    assert report.findings == ()
    assert "records 0-1023 were pruned" in report.remarks[0].text
    assert aged.follower.gone == [Gone(pruned=Runs(((0, OLD),)))]
    for n in (OLD, size):
        aged.parts.audit.prove(n)
    shown = aged.retention.show(OPERATOR)
    assert shown.pruned.numbers == Runs(((0, OLD),))
    assert shown.pruned.order == size
    assert shown.oldest == aged.parts.audit.get(OLD).time


def test_a_second_run_finds_nothing(aged: Aged) -> None:
    aged.pass_time()
    aged.retention.run(OPERATOR)
    before = aged.parts.audit.size()
    assert aged.retention.run(OPERATOR).pruned == 0
    assert aged.parts.audit.size() == before


def test_more_than_a_portion_are_several_transactions(aged: Aged) -> None:
    aged.add(512)
    aged.pass_time()
    found = aged.retention.run(OPERATOR)
    assert (found.pruned, found.portions) == (OLD + 512, 2)
    assert [each.pruned for each in aged.follower.gone] == [
        Runs(((0, 1024),)),
        Runs(((1024, 1536),)),
    ]
    assert aged.verified().is_intact


# ── who may ──────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("caller", [ADA, PROGRAM])
def test_an_administrator_and_a_program_may_not(aged: Aged, caller: Caller) -> None:
    if caller is PROGRAM:
        aged.home.rules.allow(PROGRAM.subject, Right.AUDIT)
        caller = replace(PROGRAM, address=None)
    acts: list[Callable[[], object]] = [
        lambda: aged.retention.run(caller),
        lambda: aged.retention.run(caller, dry_run=True),
        lambda: aged.retention.place(caller, Subject(patient="P-1"), REASON),
    ]
    for act in acts:
        before = aged.parts.audit.size()
        with pytest.raises(Refused):
            act()
        assert aged.parts.audit.size() == before + 1  # the refusal


def test_an_administrator_does_not_even_see_it(aged: Aged) -> None:
    with pytest.raises(Refused):
        aged.retention.show(ADA)
    assert aged.retention.show(PAUL).size == OLD + 1


# ── what stays ───────────────────────────────────────────────────────────────


def test_a_hold_keeps_its_tile(aged: Aged) -> None:
    held = aged.retention.place(PAUL, Subject(patient="PAT-0030"), REASON)  # 300 …
    aged.pass_time()
    assert aged.retention.run(OPERATOR, dry_run=True).held == {held.id: 256}
    found = aged.retention.run(OPERATOR)
    assert (found.pruned, found.held) == (768, {held.id: 256})
    assert aged.numbers()[:256] == list(range(256, 512))
    report = aged.verified()
    assert report.findings == ()
    assert "records 0-255,512-1023 were pruned" in report.remarks[0].text
    aged.parts.audit.prove(300)


@pytest.mark.parametrize(
    ("subject", "kept"),
    [
        (Subject(person="ct-1"), 1024),
        (Subject(study="1.2.3.0"), 256),
        (Subject(until=from_us(SetClock().wall) + DAY), 1024),
        (Subject(since=from_us(SetClock().wall) + DAY), 0),
        (Subject(patient="nobody"), 0),
    ],
)
def test_holds_by_whom_what_and_when(aged: Aged, subject: Subject, kept: int) -> None:
    aged.retention.place(PAUL, subject, REASON)
    aged.pass_time()
    assert aged.retention.run(OPERATOR).pruned == 1024 - kept
    assert aged.verified().is_intact


def test_searches_made_blind_do_not_undo_a_hold(aged: Aged) -> None:
    aged.retention.place(PAUL, Subject(patient="PAT-0030"), REASON)
    aged.pass_time()
    aged.parts.database.write(
        lambda tx: tx.connection.exec_driver_sql("DELETE FROM audit_mention") and None
    )
    assert aged.retention.run(OPERATOR).pruned == 768


def test_a_hold_placed_between_two_portions_keeps_its_records(aged: Aged) -> None:
    aged.add(512)
    aged.pass_time()
    retention = aged.retention

    def rest(_: float) -> None:
        if aged.follower.gone and not retention.show(OPERATOR).holds:
            retention.place(PAUL, Subject(study="1.2.3.110"), REASON)

    found = replace(retention, rest=rest).run(OPERATOR)
    assert found.pruned == 1024 + 256


def test_a_hold_says_why_and_is_on_the_record(aged: Aged) -> None:
    for reason in ("", "why", "x" * 501):
        with pytest.raises(BadData):
            aged.retention.place(PAUL, Subject(patient="P-1"), reason)
    held = aged.retention.place(PAUL, Subject(patient="P-1"), REASON)
    last = aged.parts.audit.get(aged.parts.audit.size() - 1).event
    told = dict(last.objects[0].details)
    assert told["Alert Description"] == "legal hold placed"
    assert (told["hold"], told["reason"]) == (str(held.id), REASON)
    assert last.participants[0].user_id == "paul"
    assert aged.retention.show(PAUL).holds == (held,)


def test_receivers_must_have_the_records_first(aged: Aged) -> None:
    aged.pass_time()
    row = {"receiver": "siem", "trust": "", "certain": 700, "sent": 900, "error": ""}
    aged.parts.database.write(
        lambda tx: tx.connection.execute(insert(forwarded), row) and None
    )
    found = aged.retention.run(OPERATOR)
    assert (found.pruned, found.waiting) == (512, ("receiver siem",))
    with pytest.raises(Unavailable, match="receiver siem must have the old records"):
        aged.retention.run(OPERATOR)
    assert aged.verified().is_intact


def test_a_receiver_that_never_began_needs_everything(aged: Aged) -> None:
    aged.pass_time()
    retention = replace(aged.retention, followers=(Receivers(("siem",)),))
    with pytest.raises(Unavailable, match="receiver siem"):
        retention.run(OPERATOR)


def test_what_is_made_from_records_comes_first(aged: Aged) -> None:
    aged.pass_time()
    aged.follower.at = 256
    assert aged.retention.run(OPERATOR).pruned == 256


def test_a_witness_can_go_on_from_where_it_was(aged: Aged) -> None:
    key = Ed25519PrivateKey.generate()
    witness = WitnessKey("witness.example", key.public_key())
    log = aged.parts.audit
    aged.add(6)  # 1,030 records
    note = log.offer(witness, 0).note
    log.take_cosigned(note + sign(witness.name, key, note, 1_800_000_000), witness)
    aged.add(300)
    aged.pass_time()
    found = aged.retention.run(OPERATOR)
    assert (found.pruned, found.needed) == (1024, 256)
    assert log.offer(witness).old == 1030


# ── who would like it to be otherwise ────────────────────────────────────────


def test_a_clock_set_forward_makes_nothing_old(aged: Aged) -> None:
    aged.clock.passes((6 * 366 * DAY).total_seconds())
    aged.add(1)  # the node was started again under the new time
    for dry_run in (True, False):
        with pytest.raises(Unavailable, match="was the clock set forward"):
            aged.retention.run(OPERATOR, dry_run=dry_run)
    assert aged.numbers()[0] == 0


def test_what_was_tampered_with_stays(aged: Aged) -> None:
    aged.pass_time()
    aged.parts.database.write(
        lambda tx: (
            tx.connection.exec_driver_sql(
                "UPDATE audit_record SET wall_us = wall_us - 1 WHERE n = 300"
            )
            and None
        )
    )
    with pytest.raises(Damaged, match="records 256 to 511 are not as they were signed"):
        aged.retention.run(OPERATOR)
    assert [each.kind for each in aged.verified().findings] == ["altered"]


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM audit_record WHERE n = 3",
        "UPDATE audit_record SET leaf = zeroblob(32) WHERE n = 3",
        "UPDATE audit_record SET record = NULL WHERE n = 3",
        "UPDATE audit_tile SET hash = zeroblob(32) WHERE place = 0",
        "DELETE FROM audit_tile WHERE place = 0",
        "UPDATE audit_record SET salt = 'text' WHERE n = 3",
    ],
)
def test_pruning_hides_no_tampering(aged: Aged, statement: str) -> None:
    aged.pass_time(1)
    aged.parts.database.write(
        lambda tx: tx.connection.exec_driver_sql(statement) and None
    )
    with pytest.raises(Damaged):
        aged.retention.run(OPERATOR)
    assert not aged.verified().is_intact


class Stopped(LeadglassError):
    """The disk was full."""


def test_a_portion_that_fails_leaves_nothing_behind(aged: Aged) -> None:
    aged.pass_time()
    size = aged.parts.audit.size()

    class Failing(Follower):
        def forget(self, tx: Transaction, gone: Gone) -> None:
            raise Stopped

    with pytest.raises(Stopped):
        replace(aged.retention, followers=(Failing(),)).run(OPERATOR)
    assert aged.numbers() == list(range(size))
    assert aged.verified().remarks == ()
    assert aged.retention.run(OPERATOR).pruned == OLD
    assert to_us(aged.now) == aged.clock.wall
