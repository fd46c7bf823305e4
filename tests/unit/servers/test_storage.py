"""C-STORE: what is kept, what is refused, and that a refusal costs one instance."""

from dataclasses import dataclass, field, replace
from functools import partial

import pytest

from leadglass.app import Node
from leadglass.archive.caller import Caller
from leadglass.archive.ingest import Announced
from leadglass.dicom.uids import UID
from leadglass.errors import BadData, Refused, Unavailable
from leadglass.servers.dimse.session import Gone
from leadglass.servers.dimse.storage import StorageService
from leadglass.wire.dimse import CStoreRQ, CStoreRSP
from tests.unit.servers.conftest import Enrol
from tests.unit.servers.instances import Instance, make_instance
from tests.unit.servers.rig import CALLER, Remote, Running, established, session
from tests.unit.wire.rig import CT, CT_ID, MR


def store_rq(instance: Instance, number: int = 1) -> CStoreRQ:
    return CStoreRQ(
        message_id=number, affected_sop_class=CT, affected_sop_instance=instance.uid
    )


def store(
    service: StorageService,
    *sent: tuple[CStoreRQ, bytes],
    caller: Caller = CALLER,
) -> list[CStoreRSP]:
    """Send all of them over one association; return the answers."""
    with established() as (connection, remote):
        served = Running(session(connection, {CStoreRQ: service}, caller=caller).run)
        answers = []
        for request, data in sent:
            sending = Running(partial(remote.say, CT_ID, request, data))
            answer, _ = remote.hear()
            sending.result()
            assert isinstance(answer, CStoreRSP)
            answers.append(answer)
        remote.release()
        served.result()
    return answers


def counts(node: Node) -> int:
    with node.database.read() as connection:
        return node.parts.index.totals(connection).instances


def test_an_instance_is_kept_when_success_is_said(node: Node, enrol: Enrol) -> None:
    instance = make_instance(pixels=500_000)
    request = store_rq(instance)
    [answer] = store(
        StorageService(node.ingest),
        (request, instance.data),
        caller=enrol("ct1", "store"),
    )
    assert answer == request.response(0)
    assert counts(node) == 1


def test_what_is_wrong_with_one_does_not_touch_the_next(
    node: Node, enrol: Enrol
) -> None:
    good, other = make_instance(1), make_instance(2, pixels=300_000)
    answers = store(
        StorageService(node.ingest),
        (store_rq(good, 1), b"no data set"),
        (store_rq(good, 2), other.data),  # another instance than announced
        (replace(store_rq(good, 3), affected_sop_class=MR), good.data),
        (store_rq(good, 4), good.data[:-100]),
        (store_rq(good, 5), good.data),
        caller=enrol("ct1", "store"),
    )
    assert [answer.responds_to for answer in answers] == [1, 2, 3, 4, 5]
    assert [answer.status >> 12 for answer in answers[:4]] == [0xC, 0xA, 0xA, 0xC]
    assert answers[4].status == 0
    assert counts(node) == 1
    assert list(node.parts.blobs.unsettled()) == []


def test_who_may_not_store_is_read_to_the_end(node: Node, enrol: Enrol) -> None:
    large = make_instance(pixels=3_000_000)
    answers = store(
        StorageService(node.ingest),
        (store_rq(large, 1), large.data),
        (store_rq(large, 2), large.data),
        caller=enrol("ws1", "find"),
    )
    assert [answer.status for answer in answers] == [0x0124, 0x0124]
    assert {answer.error_comment for answer in answers} == {"not authorized"}
    assert counts(node) == 0


@dataclass
class Arrival:
    """Takes bytes until it is told not to."""

    fail_at: str
    error: Exception
    seen: list[str] = field(default_factory=list)

    def _do(self, what: str) -> None:
        self.seen.append(what)
        if what == self.fail_at:
            raise self.error

    def write(self, data: memoryview) -> None:
        self._do("write")

    def finish(self) -> None:
        self._do("finish")

    def refuse(self, error: BaseException) -> None:
        assert error is self.error
        self.seen.append("refuse")

    def abandon(self) -> None:
        self.seen.append("abandon")


@dataclass
class Ingest:
    """Gives one arrival."""

    arrival: Arrival

    def begin(self, caller: Caller, announced: Announced) -> Arrival:
        self.arrival._do("begin")
        return self.arrival


@pytest.mark.parametrize(
    ("fail_at", "error", "status", "seen"),
    [
        ("begin", Refused("no"), 0x0124, {"begin": 1}),
        ("begin", Unavailable("full"), 0xA700, {"begin": 1}),
        ("write", BadData("bad"), 0xC000, {"write": 1, "refuse": 1, "abandon": 1}),
        ("write", ZeroDivisionError(), 0x0110, {"write": 1, "refuse": 1}),
        ("finish", Unavailable("disk"), 0xA700, {"finish": 1, "refuse": 1}),
        ("nowhere", BadData(), 0x0000, {"finish": 1, "abandon": 1, "refuse": 0}),
    ],
)
def test_a_failure_at_each_step(
    fail_at: str, error: Exception, status: int, seen: dict[str, int]
) -> None:
    arrival = Arrival(fail_at, error)
    service = StorageService(Ingest(arrival))  # type: ignore[arg-type]
    instance = make_instance(pixels=200_000)
    [answer] = store(service, (store_rq(instance), instance.data))
    assert answer.status == status
    assert {what: arrival.seen.count(what) for what in seen} == seen
    assert "ZeroDivision" not in (answer.error_comment or "")


def test_a_sender_that_is_lost_leaves_nothing(node: Node, enrol: Enrol) -> None:
    instance = make_instance(pixels=500_000)
    with established() as (connection, remote):
        service = StorageService(node.ingest)
        caller = enrol("ct1", "store")
        served = Running(session(connection, {CStoreRQ: service}, caller=caller).run)
        cut_off(remote, instance)
        with pytest.raises(Gone):
            served.result()
    assert counts(node) == 0
    assert list(node.parts.blobs.names()) == []


def cut_off(remote: Remote, instance: Instance) -> None:
    buffers = remote.association.stream(
        CT_ID, store_rq(instance).encode(), iter([instance.data])
    )
    remote.send(next(iter(buffers)))
    remote.leave()


def test_a_uid_that_is_none_is_refused_before_it_is_a_name() -> None:
    with pytest.raises(BadData):
        UID("../../etc/passwd")
