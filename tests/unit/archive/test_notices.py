"""The outbox of notices: nothing is lost, nothing of a patient is in it."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from ipaddress import ip_address

import pytest

from leadglass.access.policy import Kind, Subject
from leadglass.access.roles import rules_of_person
from leadglass.access.scopes import EVERYTHING
from leadglass.archive import notices as module
from leadglass.archive.caller import Caller
from leadglass.archive.emergency import Emergencies, Verdict
from leadglass.archive.notices import DELAY_FIRST, DELAY_MAX, Letterhead, Notices, delay
from leadglass.errors import Unavailable
from tests.unit.archive.conftest import Home
from tests.unit.archive.rig import on, quiet_disk

HEAD = Letterhead(
    node="pacs.example",
    sender="pacs@hospital.example",
    recipients=("privacy@hospital.example", "deputy@hospital.example"),
)
ALICE = Caller(
    Subject(Kind.OPERATOR, "alice"), ip_address("10.4.0.7"), channel="TLSv1.3"
)
PAUL = Caller(Subject(Kind.OPERATOR, "paul"), ip_address("10.4.0.8"))
REASON = "unconscious, needs SECRET-REASON"


@dataclass
class Clock:
    now: datetime = field(
        default_factory=lambda: datetime.now(UTC).replace(microsecond=0)
    )

    def __call__(self) -> datetime:
        return self.now

    def wait(self, time: timedelta) -> None:
        self.now += time


@dataclass
class Server:
    """Takes mail, or does not."""

    taken: list[EmailMessage] = field(default_factory=list)
    refuses: bool = False
    asked: int = 0

    def __call__(self, mail: EmailMessage) -> None:
        self.asked += 1
        if self.refuses:
            raise Unavailable("the mail server: refused with 451")
        self.taken.append(mail)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def glass(home: Home, clock: Clock) -> Emergencies:
    for who, role in ((ALICE, "radiologist"), (PAUL, "privacy")):
        home.rules.rules += rules_of_person(who.subject, [role], EVERYTHING)
    return Emergencies(home.parts, clock)


@pytest.fixture
def outbox(home: Home, clock: Clock) -> Notices:
    return Notices(home.parts, clock)


@pytest.fixture
def server() -> Server:
    return Server()


def test_who_when_and_where_to_look_are_told_and_nothing_of_the_patient(
    glass: Emergencies, outbox: Notices, server: Server
) -> None:
    given = glass.start(ALICE, "SECRET-ID", REASON)
    assert outbox.send_due(server, HEAD) == 1
    (mail,) = server.taken
    text = mail.as_string()
    assert "alice" in text
    assert f"leadglass reviews show {given.id} --with-patient" in text
    assert given.started_at.isoformat(sep=" ", timespec="seconds") in text
    assert mail["To"] == ", ".join(HEAD.recipients)
    assert mail["Message-ID"] == f"<break-glass.{given.id}@pacs.example>"
    for word in ("SECRET-ID", "SECRET-REASON", "10.4.0.7"):
        assert word not in text
    assert outbox.send_due(server, HEAD) == 0
    assert outbox.count_waiting() == 0


def test_a_server_that_is_down_is_asked_less_and_less_and_nothing_is_lost(
    glass: Emergencies, outbox: Notices, server: Server, clock: Clock
) -> None:
    glass.start(ALICE, "P1", REASON)
    server.refuses = True
    for tries in range(1, 12):
        assert outbox.send_due(server, HEAD) == 0
        assert server.asked == tries
        assert outbox.send_due(server, HEAD) == 0
        assert server.asked == tries  # not before it is due
        clock.wait(delay(tries) - timedelta(microseconds=1))
        outbox.send_due(server, HEAD)
        assert server.asked == tries
        clock.wait(timedelta(microseconds=1))
    assert outbox.count_waiting() == 1
    server.refuses = False
    assert outbox.send_due(server, HEAD) == 1


def test_the_waits_are_bounded() -> None:
    waits = [delay(tries) for tries in range(1, 200)]
    assert waits[0] == DELAY_FIRST
    assert waits == sorted(waits)
    assert waits[-1] == DELAY_MAX


def test_a_failure_ends_the_round(
    glass: Emergencies, outbox: Notices, server: Server
) -> None:
    for number in range(3):
        glass.start(ALICE, f"P{number}", REASON)
    server.refuses = True
    outbox.send_due(server, HEAD)
    assert server.asked == 1
    server.refuses = False
    assert outbox.send_due(server, HEAD) == 2
    assert outbox.count_waiting() == 1


def test_a_round_is_bounded(
    glass: Emergencies,
    outbox: Notices,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "TOGETHER_MAX", 2)
    for number in range(3):
        glass.start(ALICE, f"P{number}", REASON)
    assert outbox.send_due(server, HEAD) == 2
    assert outbox.send_due(server, HEAD) == 1


def test_what_died_after_the_server_took_it_is_sent_again_under_its_name(
    home: Home, glass: Emergencies, outbox: Notices, server: Server, clock: Clock
) -> None:
    glass.start(ALICE, "P1", REASON)

    class Killed(BaseException):
        """The process is gone: nobody catches it."""

    def post(mail: EmailMessage) -> None:
        server(mail)
        raise Killed

    with pytest.raises(Killed):
        outbox.send_due(post, HEAD)
    after = Notices(home.parts, clock)
    assert after.count_waiting() == 1
    clock.wait(DELAY_FIRST)
    assert after.send_due(server, HEAD) == 1
    first, second = server.taken
    assert first["Message-ID"] == second["Message-ID"]
    assert after.send_due(server, HEAD) == 0


def test_what_cannot_be_noted_as_sent_is_sent_again(
    home: Home, glass: Emergencies, server: Server, clock: Clock
) -> None:
    glass.start(ALICE, "P1", REASON)
    with on(home, quiet_disk()) as rig:
        outbox = Notices(rig.parts, clock)

        def post(mail: EmailMessage) -> None:
            server(mail)
            rig.database.fail_before = 1

        with pytest.raises(Unavailable):
            outbox.send_due(post, HEAD)
    clock.wait(DELAY_FIRST)
    assert Notices(home.parts, clock).send_due(server, HEAD) == 1
    assert len(server.taken) == 2


def test_a_notice_is_not_given_to_two_processes_at_once(
    home: Home, glass: Emergencies, outbox: Notices, server: Server, clock: Clock
) -> None:
    glass.start(ALICE, "P1", REASON)
    other = Notices(home.parts, clock)
    seen: list[int] = []

    def post(mail: EmailMessage) -> None:
        seen.append(other.send_due(server, HEAD))

    assert outbox.send_due(post, HEAD) == 1
    assert seen == [0]


def test_what_was_signed_meanwhile_is_no_news(
    glass: Emergencies, outbox: Notices, server: Server
) -> None:
    given = glass.start(ALICE, "P1", REASON)
    glass.stop(ALICE, given.id)
    glass.sign(PAUL, given.id, Verdict.JUSTIFIED, "was in the shock room")
    assert outbox.count_waiting() == 0
    assert outbox.send_due(server, HEAD) == 0
    assert server.taken == []


def test_no_grant_without_its_notice(
    home: Home, outbox: Notices, glass: Emergencies
) -> None:
    with on(home, quiet_disk()) as rig:
        rig.database.fail_before = 1
        with pytest.raises(Unavailable):
            Emergencies(rig.parts, glass.clock).start(ALICE, "P1", REASON)
    assert outbox.count_waiting() == 0
    assert glass.count_open() == 0


def test_a_name_ends_no_header(home: Home, clock: Clock, server: Server) -> None:
    eve = Caller(Subject(Kind.OPERATOR, "eve\nBcc: all@x"), ip_address("10.4.0.7"))
    home.rules.rules += rules_of_person(eve.subject, ["radiologist"], EVERYTHING)
    Emergencies(home.parts, clock).start(eve, "P1", REASON)
    Notices(home.parts, clock).send_due(server, HEAD)
    (mail,) = server.taken
    assert mail["Bcc"] is None
    assert mail["Subject"].count("\n") == 0
