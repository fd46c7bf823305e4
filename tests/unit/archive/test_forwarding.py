"""Sending records on: what is certain, what goes again, and what is told of it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leadglass.archive import forwarding as module
from leadglass.archive.forwarding import (
    CARRIED_MAX,
    DELAY_FIRST_S,
    DELAY_MAX_S,
    LATE,
    LOOK_INTERVAL_S,
    TOGETHER_MAX,
    Forwarder,
    Forwarding,
    TooSlow,
)
from leadglass.audit.builders import Actor
from leadglass.audit.search import Record
from leadglass.errors import LeadglassError, Unavailable
from tests.unit.archive.conftest import Home

NAME = "siem.example:6514"
SETTLE_S = 60.0


@dataclass
class World:
    """A receiver, its machine and the time.

    Attributes:
        now: Seconds.
        stored: Numbers that the receiver has stored for good.
        read: Numbers that it has read, with when; stored a while later.
        store_s: How long that takes.
        is_up: Whether it runs.
        links: Connections that were opened.
    """

    now: float = 1000.0
    stored: list[int] = field(default_factory=list)
    read: list[tuple[float, int]] = field(default_factory=list)
    store_s: float = SETTLE_S / 2
    is_up: bool = True
    slow_above: int = CARRIED_MAX
    life: int = 0
    links: list["ScriptedLink"] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    def connect(self) -> "ScriptedLink":
        if not self.is_up:
            raise Unavailable("cannot be reached: Connection refused")
        link = ScriptedLink(self, self.life)
        self.links.append(link)
        return link

    def passes(self, seconds: float) -> None:
        self.now += seconds
        while self.read and self.read[0][0] + self.store_s <= self.now:
            self.stored.append(self.read.pop(0)[1])

    def dies(self) -> None:
        """Lose what was read and is not stored, and every connection."""
        self.is_up = False
        self.life += 1
        self.read.clear()


@dataclass
class ScriptedLink:
    """A connection to it; what is sent is read when the connection is ended."""

    world: World
    life: int
    carried: list[int] = field(default_factory=list)
    is_dropped: bool = False

    def look(self) -> None:
        if self.life != self.world.life or self.is_dropped:
            raise Unavailable("left before everything was sent")

    def send(self, data: bytes) -> None:
        self.look()
        self.carried.append(int(data))

    def finish(self) -> None:
        self.look()
        if len(self.carried) > self.world.slow_above:
            raise TooSlow("no answer in time")
        self.world.read += [(self.world.now, each) for each in self.carried]

    def drop(self) -> None:
        self.is_dropped = True


def frame(record: Record) -> bytes:
    return b"%d" % record.n


@pytest.fixture
def forwarding(home: Home) -> Forwarding:
    made = Forwarding(home.parts)
    made.agree({NAME: "trust"}, Actor("operator"))
    return made


def sender(forwarding: Forwarding, world: World) -> Forwarder:
    return Forwarder(forwarding, NAME, world.connect, frame, SETTLE_S, world.clock)


def fill(home: Home, count: int) -> None:
    event = home.parts.events.application_stopped("x")
    home.parts.record(*[event] * count)


def run(forwarder: Forwarder, world: World, steps: int) -> None:
    for _ in range(steps):
        world.passes(max(forwarder.step(), 0.01))


def backlog(forwarding: Forwarding) -> module.Backlog:
    (found,) = forwarding.backlog([NAME])
    return found


def size(home: Home) -> int:
    return home.parts.audit.size()


# ── in order, once, and then certain ─────────────────────────────────────────


def test_all_records_go_in_order_once(home: Home, forwarding: Forwarding) -> None:
    world = World()
    forwarder = sender(forwarding, world)
    for count in (5, 2 * TOGETHER_MAX, 1):
        fill(home, count)
        run(forwarder, world, 200)
    assert world.stored == list(range(size(home)))
    assert backlog(forwarding).waiting == 0
    assert backlog(forwarding).waiting_since is None
    assert backlog(forwarding).sent == size(home)


def test_nothing_is_certain_before_it_has_settled(
    home: Home, forwarding: Forwarding
) -> None:
    world = World()
    forwarder = sender(forwarding, world)
    fill(home, 3)
    run(forwarder, world, 32)  # past the turn, half of the time
    assert world.links[0].carried == list(range(size(home)))
    told = backlog(forwarding)
    assert (told.sent, told.certain, told.waiting) == (size(home), 0, size(home))
    world.passes(SETTLE_S - 1)
    forwarder.step()
    assert backlog(forwarding).certain == size(home)


def test_the_next_connection_is_open_before_the_last_is_ended(
    home: Home, forwarding: Forwarding
) -> None:
    world = World()
    forwarder = sender(forwarding, world)
    fill(home, 3)
    run(forwarder, world, 40)
    first, second = world.links
    assert (first.is_dropped, second.is_dropped) == (True, False)
    assert second.carried == []


def test_who_is_idle_opens_no_connections(home: Home, forwarding: Forwarding) -> None:
    world = World()
    forwarder = sender(forwarding, world)
    fill(home, 3)
    run(forwarder, world, 500)
    assert len(world.links) == 2


def test_a_batch_is_bounded_and_the_thread_rests(
    home: Home, forwarding: Forwarding
) -> None:
    world = World()
    forwarder = sender(forwarding, world)
    fill(home, 3 * TOGETHER_MAX)
    rest = forwarder.step()
    assert len(world.links[0].carried) == TOGETHER_MAX
    assert 0 < rest < LOOK_INTERVAL_S
    run(forwarder, world, 3)
    assert forwarder.step() == LOOK_INTERVAL_S


# ── whatever breaks ──────────────────────────────────────────────────────────


def test_what_a_receiver_had_read_but_not_stored_goes_again(
    home: Home, forwarding: Forwarding
) -> None:
    world = World(store_s=SETTLE_S - 1)
    forwarder = sender(forwarding, world)
    fill(home, 3)
    run(forwarder, world, 40)  # read, and the connection ended in order
    assert world.read
    world.dies()
    run(forwarder, world, 5)
    assert backlog(forwarding).error.startswith("cannot be reached")
    world.is_up = True
    run(forwarder, world, 300)
    assert world.stored == list(range(size(home)))
    assert backlog(forwarding).error == ""


def test_a_node_that_begins_anew_goes_on_from_what_is_certain(
    home: Home, forwarding: Forwarding
) -> None:
    world = World()
    forwarder = sender(forwarding, world)
    fill(home, 3)
    run(forwarder, world, 200)
    fill(home, 3)
    forwarder.step()
    certain = backlog(forwarding).certain
    again = sender(forwarding, world)
    again.step()
    assert world.links[-1].carried == list(range(certain, size(home)))


def test_a_receiver_that_ends_what_is_idle_is_no_error(
    home: Home, forwarding: Forwarding
) -> None:
    world = World()
    forwarder = sender(forwarding, world)
    fill(home, 3)
    run(forwarder, world, 200)
    world.life += 1
    run(forwarder, world, 3)
    assert backlog(forwarding).error == ""
    assert len(world.stored) == size(home)


def test_an_error_is_over_when_a_connection_stands(
    home: Home, forwarding: Forwarding
) -> None:
    world = World()
    forwarder = sender(forwarding, world)
    run(forwarder, world, 300)
    world.dies()
    run(forwarder, world, 3)
    assert backlog(forwarding).error
    world.is_up = True
    run(forwarder, world, 200)
    assert backlog(forwarding).error == ""


def test_it_waits_longer_after_each_failure(home: Home, forwarding: Forwarding) -> None:
    fill(home, 1)
    world = World(is_up=False)
    forwarder = sender(forwarding, world)
    waits = [forwarder.step() for _ in range(8)]
    assert waits == [DELAY_FIRST_S * 2**n for n in range(6)] + [DELAY_MAX_S] * 2
    world.is_up = True
    run(forwarder, world, 40)
    world.dies()
    assert forwarder.step() == DELAY_FIRST_S


@pytest.mark.parametrize("slow_above", [1, 7, 40])
def test_a_slow_receiver_gets_less_at_a_time_until_it_works(
    home: Home, forwarding: Forwarding, slow_above: int
) -> None:
    world = World(slow_above=slow_above, store_s=1)
    forwarder = sender(forwarding, world)
    fill(home, 100)
    run(forwarder, world, 9000)
    assert list(dict.fromkeys(world.stored)) == list(range(size(home)))
    assert backlog(forwarding).waiting == 0


def test_a_bug_of_the_database_loses_nothing(
    home: Home, forwarding: Forwarding, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    forwarder = sender(forwarding, world)
    fill(home, 3)

    def full(*_: object, **__: object) -> None:
        raise Unavailable("the database: the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Forwarding, "_set", full)
        run(forwarder, world, 100)
    assert backlog(forwarding).certain == 0
    run(forwarder, world, 300)
    assert list(dict.fromkeys(world.stored)) == list(range(size(home)))


acts = st.lists(
    st.sampled_from(["wait", "wait", "wait", "fill", "die", "up", "restart", "cut"]),
    min_size=1,
    max_size=40,
)


@settings(max_examples=40, deadline=None)
@given(acts, st.floats(0, SETTLE_S - 2))
def test_nothing_is_lost_whoever_dies_when(script: list[str], store_s: float) -> None:
    known = FakeForwarding()
    world = World(store_s=store_s)
    forwarder = sender(known, world)  # type: ignore[arg-type]
    for act in [*script, "up"]:
        match act:
            case "fill":
                known.count += 7
            case "die":
                world.dies()
            case "up":
                world.is_up = True
            case "restart":
                forwarder = sender(known, world)  # type: ignore[arg-type]
            case "cut":
                world.life += 1  # the network: what was read stays
            case _:
                run(forwarder, world, 25)
        run(forwarder, world, 3)
    run(forwarder, world, 600)
    world.passes(SETTLE_S)
    assert known.place == known.count
    assert set(world.stored) == set(range(known.count))


@dataclass
class FakeForwarding:
    """Positions in memory: as the database keeps them, and faster."""

    count: int = 5
    place: int = 0

    def certain(self, _receiver: str) -> int:
        return self.place

    def read(self, first: int, records_max: int) -> list[Record]:
        end = min(self.count, first + records_max)
        return [Record(n, datetime.now(UTC), 0, 0, b"") for n in range(first, end)]

    def set_certain(self, _receiver: str, number: int) -> None:
        self.place = max(self.place, number)

    def set_sent(self, _receiver: str, _number: int) -> None: ...

    def set_error(self, _receiver: str, _error: str) -> None: ...


# ── what is told and recorded ────────────────────────────────────────────────


def changes(home: Home) -> Iterator[tuple[str, str]]:
    for record in home.records():
        for thing in record.event.objects:
            details = dict(thing.details)
            if "syslog receiver" in details:
                yield details["syslog receiver"], details["change"]


def test_what_changes_about_receivers_is_on_the_record(
    home: Home, forwarding: Forwarding
) -> None:
    who = Actor("operator")
    forwarding.agree({NAME: "trust"}, who)
    forwarding.agree({NAME: "other trust", "b:1": "other trust"}, who)
    forwarding.agree({"b:1": "other trust"}, who)
    assert list(changes(home)) == [
        (NAME, "added"),
        (NAME, "certificates changed"),
        ("b:1", "added"),
        (NAME, "removed"),
    ]


def test_a_receiver_that_was_away_gets_all_again(
    home: Home, forwarding: Forwarding
) -> None:
    forwarding.set_certain(NAME, 1)
    assert forwarding.certain(NAME) == 1
    forwarding.agree({}, Actor("operator"))
    forwarding.agree({NAME: ""}, Actor("operator"))
    assert forwarding.certain(NAME) == 0


def test_a_position_never_goes_back(forwarding: Forwarding) -> None:
    forwarding.set_certain(NAME, 5)
    forwarding.set_certain(NAME, 3)
    assert forwarding.certain(NAME) == 5


def test_a_backlog_is_late_after_an_hour(home: Home, forwarding: Forwarding) -> None:
    told = backlog(forwarding)
    assert told.waiting == size(home)
    assert told.waiting_since == home.records()[0].time
    now = datetime.now(UTC)
    assert not told.is_late(now)
    assert told.is_late(now + LATE + timedelta(seconds=1))
    forwarding.set_certain(NAME, size(home))
    assert not backlog(forwarding).is_late(now + 2 * LATE)


def test_a_receiver_that_no_node_has_served_yet_waits_for_all(home: Home) -> None:
    fill(home, 3)
    (told,) = Forwarding(home.parts).backlog(["new:1"])
    assert (told.sent, told.certain, told.waiting) == (0, 0, 3)
    assert told.error_at is None


def test_errors_have_their_time(forwarding: Forwarding) -> None:
    forwarding.set_error(NAME, "cannot be reached")
    told = backlog(forwarding)
    assert told.error == "cannot be reached"
    assert told.error_at is not None
    assert issubclass(TooSlow, LeadglassError)
