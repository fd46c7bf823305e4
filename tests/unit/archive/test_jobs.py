"""Long work is told of while it is done, and what was cut off does not look alive."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from leadglass.access.policy import Kind, Subject
from leadglass.archive import jobs as jobs_module
from leadglass.archive.caller import Caller
from leadglass.archive.ingest import Ingest
from leadglass.archive.jobs import NOTE_INTERVAL_S, SILENT, Jobs, State, Work
from leadglass.archive.parts import Parts
from leadglass.archive.verify import Verified, Verify
from leadglass.archive.verifying import Verifications
from leadglass.audit.codes import Outcome
from leadglass.errors import BadData, Refused, Unavailable
from tests.unit.archive.conftest import OPERATOR, Home, make_instance
from tests.unit.archive.rig import send


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def nobody() -> Caller:
    return Caller(Subject(Kind.SERVICE, "nobody"), address=None)


def test_work_is_told_of_from_its_beginning_to_its_end(parts: Parts) -> None:
    clock = Clock()
    jobs = Jobs(parts, clock)
    with jobs.doing(Work.IMPORT, "root") as note:
        [running] = jobs.lately(5)
        assert (running.state(datetime.now(UTC)), running.done) == (State.RUNNING, 0)
        note(1, 9, 0)
        assert jobs.lately(1)[0].done == 0  # not each step is written
        clock.now_s += NOTE_INTERVAL_S
        note(2, 9, 1)
        assert jobs.lately(1)[0].done == 2
        note(9, 9, 1)
    [ended] = jobs.lately(5)
    assert (ended.done, ended.total, ended.faults, ended.by) == (9, 9, 1, "root")
    assert ended.state(datetime.now(UTC)) is State.ENDED


def test_what_ends_early_says_why_and_nothing_that_is_not_ours(parts: Parts) -> None:
    jobs = Jobs(parts)
    with pytest.raises(BadData), jobs.doing(Work.IMPORT, "root"):
        raise BadData("a limit")
    with pytest.raises(RuntimeError), jobs.doing(Work.IMPORT, "root"):
        raise RuntimeError("/media/Zwiebelfisch")
    assert [each.why for each in jobs.lately(5)] == ["stopped", "a limit"]
    assert {each.state(datetime.now(UTC)) for each in jobs.lately(5)} == {State.FAILED}


def test_silence_is_taken_for_an_end(parts: Parts) -> None:
    jobs = Jobs(parts)
    with jobs.doing(Work.VERIFY, "root"):
        [running] = jobs.lately(1)
        late = running.noted_at + SILENT + timedelta(seconds=1)
        assert running.state(late) is State.CUT_OFF


def test_the_oldest_go(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_module, "KEPT_MAX", 3)
    jobs = Jobs(parts)
    for _ in range(6):
        with jobs.doing(Work.IMPORT, "root"):
            pass
    assert len(jobs.lately(100)) <= 4


def test_one_verification_at_a_time(ingest: Ingest, parts: Parts) -> None:
    send(ingest, make_instance(1))
    parts.intake.catch_up()
    jobs = Jobs(parts)
    verifications = Verifications(Verify(parts), jobs)
    with jobs.doing(Work.VERIFY, "another process"):
        assert not verifications.start(OPERATOR)
    # Two processes that begin at once: the row of the first keeps the other from it.
    with (
        jobs.doing(Work.VERIFY, "one", alone=True),
        pytest.raises(Unavailable, match="another verify"),
        jobs.doing(Work.VERIFY, "other", alone=True),
    ):
        pass
    assert verifications.start(OPERATOR)
    verifications.wait()
    newest = jobs.lately(1)[0]
    assert (newest.done, newest.faults) == (1, 0)
    assert newest.state(datetime.now(UTC)) is State.ENDED
    verifications.close()


class Stopping(Verify):
    """One that is stopped when it has looked at the first."""

    def __call__(
        self,
        caller: Caller,
        progress: Callable[[Verified], None] = lambda _: None,
        *,
        alone: bool = False,
    ) -> Verified:
        def told(found: Verified) -> None:
            self.verifications._stopping.set()
            progress(found)

        return super().__call__(caller, told, alone=alone)

    verifications: Verifications


def test_a_verification_is_stopped_and_may_be_begun_again(
    home: Home, ingest: Ingest, parts: Parts
) -> None:
    for number in range(3):
        send(ingest, make_instance(number + 1))
    parts.intake.catch_up()
    jobs = Jobs(parts)
    verify = Stopping(parts)
    verify.verifications = Verifications(verify, jobs)
    assert verify.verifications.start(OPERATOR)
    verify.verifications.wait()
    assert jobs.lately(1)[0].why == "it was stopped"
    last = home.records()[-1].event
    assert (last.outcome_description, last.outcome) == (
        "ended early: nothing is concluded",
        Outcome.MINOR_FAILURE,
    )
    again = Verifications(Verify(parts), jobs)
    assert again.start(OPERATOR)
    again.wait()
    assert jobs.lately(1)[0].done == 3
    again.close()


def test_only_who_administers_verifies(parts: Parts) -> None:
    stranger = nobody()
    verifications = Verifications(Verify(parts), Jobs(parts))
    with pytest.raises(Refused):
        verifications.start(stranger)
    with pytest.raises(Refused):
        verifications.stop(stranger)
    assert Jobs(parts).lately(1) == ()
