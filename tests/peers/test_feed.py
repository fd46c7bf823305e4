"""Audit records as FHIR to a receiver: all of them, whoever dies."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from leadglass.audit.builders import Actor, Association
from leadglass.audit.fhir import audit_event
from tests.support.feed import TOKEN, Repository, number, repository
from tests.support.node import RunningNode

WAIT_S = 60


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Repository]:
    with repository(tmp_path / "repository") as made:
        yield made


@pytest.fixture
def node(receiver: Repository, tmp_path: Path) -> Iterator[RunningNode]:
    token = tmp_path / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    settings = {
        "feed.receivers": receiver.address,
        "feed.ca_file": str(receiver.authority.file),
        "feed.token_file": str(token),
        "feed.settle_s": "1",
        "feed.response_timeout_s": "3",
    }
    node = RunningNode(tmp_path / "home", settings)
    node.init()
    try:
        yield node
    finally:
        if node.process is not None:
            node.kill()


def fill(node: RunningNode, count: int) -> None:
    with node.open() as opened:
        event = opened.parts.events.association_refused(
            Actor("Zoë\x00<>", "192.0.2.7"), Association("A", "B"), "why\n"
        )
        for _ in range(count // 20):
            opened.parts.record(*[event] * 20)


def wait_until(is_so: Callable[[], bool], what: str) -> None:
    ends_at = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < ends_at, what
        time.sleep(0.1)


def all_is_certain(node: RunningNode) -> bool:
    with node.open() as opened:
        backlog = opened.forwarding.backlog(node.config.record_receivers)
    return all(not each.waiting for each in backlog)


def test_who_dies_again_and_again_misses_nothing(
    receiver: Repository, node: RunningNode
) -> None:
    node.start()
    for _ in range(2):
        before = len(receiver.received())
        fill(node, 100)
        wait_until(lambda: len(receiver.received()) > before + 20, "nothing comes")  # noqa: B023
        receiver.kill()
        receiver.start()
    node.kill()  # the sender may die, too
    fill(node, 100)
    node.start()
    wait_until(lambda: all_is_certain(node), "records still wait")
    node.stop()
    got = {number(each): each for each in receiver.received()}
    records = node.records()
    assert set(got) >= set(range(len(records) - 1))
    with node.open() as opened:
        own = opened.audit.origin
    for record in records[:-1]:
        wanted = audit_event(record, own)
        del wanted["id"]
        assert got[record.n] == wanted
    changes = [
        dict(thing.details)
        for record in records
        for thing in record.event.objects
        if "FHIR receiver" in dict(thing.details)
    ]
    assert [each["change"] for each in changes] == ["added"]
