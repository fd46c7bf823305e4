"""News of alerts go out until somebody has taken them, and name nobody."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from leadglass.access.policy import Kind, Subject
from leadglass.archive.notices import Letterhead
from leadglass.assurance.review.delivery import (
    Channel,
    News,
    Outbox,
    body_of,
    mail_of,
)
from leadglass.assurance.review.desk import ReviewDesk
from leadglass.errors import Unavailable
from tests.unit.archive.conftest import OPERATOR, Home

HEAD = Letterhead(node="node", sender="node@x.example", recipients=("p@x.example",))


class Clock:
    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def outbox(home: Home, clock: Clock) -> Outbox:
    """One with two alerts in it."""
    desk = ReviewDesk(home.parts, channels=frozenset(Channel), clock=clock)
    for name in ("evelyn-x", "mallory"):
        caller = type(OPERATOR)(Subject(Kind.OPERATOR, name), None)
        actor = home.parts.actor(caller)
        home.parts.record(home.parts.events.audit_log_used(actor, "export", 7, "P-1"))
    desk.run(OPERATOR)
    return Outbox(home.parts.database, clock)


def test_news_go_out_once_by_each_way(outbox: Outbox) -> None:
    for channel in Channel:
        told: list[tuple[News, ...]] = []
        assert outbox.send_due(channel, told.append) == 2
        assert outbox.send_due(channel, told.append) == 0
        ((first, second),) = told
        assert (first.rule, first.severity, first.what) == ("R-23", "high", "raised")
        assert first.alert != second.alert


def test_what_was_not_taken_is_told_later(outbox: Outbox, clock: Clock) -> None:
    def broken(_news: tuple[News, ...]) -> None:
        raise Unavailable("the mail server: timed out")

    assert outbox.send_due(Channel.MAIL, broken) == 0
    told: list[tuple[News, ...]] = []
    assert outbox.send_due(Channel.MAIL, told.append) == 0  # not at once
    clock.now += timedelta(minutes=2)
    assert outbox.send_due(Channel.MAIL, told.append) == 2


def test_what_is_overdue_is_told_again(
    home: Home, outbox: Outbox, clock: Clock
) -> None:
    assert outbox.send_due(Channel.MAIL, lambda _news: None) == 2
    clock.now += timedelta(days=4)
    ReviewDesk(home.parts, channels=frozenset(Channel), clock=clock).escalate()

    told: list[tuple[News, ...]] = []
    assert outbox.send_due(Channel.MAIL, told.append) == 2
    assert {each.what for each in told[0]} == {"overdue"}


def test_no_name_and_no_patient_leaves(outbox: Outbox) -> None:
    told: list[tuple[News, ...]] = []
    outbox.send_due(Channel.MAIL, told.append)
    mail = mail_of(HEAD, told[0], datetime.now(UTC)).as_string()
    body = body_of("node", told[0])
    for secret in ("evelyn-x", "mallory", "P-1"):
        assert secret not in mail
        assert secret.encode() not in body
    assert "R-23" in mail
    assert [each["rule"] for each in json.loads(body)["alerts"]] == ["R-23", "R-23"]


def test_without_a_way_nothing_waits(home: Home, clock: Clock) -> None:
    desk = ReviewDesk(home.parts, clock=clock)
    actor = home.parts.actor(type(OPERATOR)(Subject(Kind.OPERATOR, "eve"), None))
    home.parts.record(home.parts.events.audit_log_used(actor, "export", 7))
    assert desk.run(OPERATOR).new
    assert Outbox(home.parts.database, clock).send_due(Channel.MAIL, print) == 0
