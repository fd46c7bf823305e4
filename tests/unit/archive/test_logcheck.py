"""The audit log is verified behind a page: one at a time, and it says what it found."""

import pytest

from leadglass.access.rights import Right
from leadglass.archive.logcheck import LogChecks
from leadglass.archive.trail import Trail
from leadglass.audit.codes import EventID
from leadglass.errors import Refused
from tests.unit.archive.conftest import OPERATOR, Home
from tests.unit.archive.rig import events


def uses(home: Home) -> list[str]:
    return [
        dict(each.objects[0].details)["use"]
        for each in events(home, EventID.AUDIT_LOG_USED)
    ]


def test_a_whole_log_is_found_whole_and_that_is_recorded(home: Home) -> None:
    home.parts.record(home.parts.events.application_started("1"))
    checks = LogChecks(Trail(home.parts))
    assert checks.last(OPERATOR) is None
    assert checks.start(OPERATOR).by == "operator"
    checks.wait()
    found = checks.last(OPERATOR)
    assert found is not None
    assert found.report is not None
    assert (found.report.is_intact, found.report.records) == (True, 1)
    assert (found.is_running, found.fault) == (False, "")
    assert uses(home) == ["verify"]


def test_a_changed_record_is_found(home: Home) -> None:
    for _ in range(3):
        home.parts.record(home.parts.events.application_started("1"))
    change = "UPDATE audit_record SET record = x'00' WHERE n = 1"
    home.parts.database.write(lambda tx: tx.connection.exec_driver_sql(change) and None)
    checks = LogChecks(Trail(home.parts))
    checks.start(OPERATOR)
    checks.wait()
    found = checks.last(OPERATOR)
    assert found is not None
    assert found.report is not None
    assert [(each.kind, each.first) for each in found.report.findings] == [
        ("altered", 1)
    ]
    assert home.parts.audit.size() == 3  # nothing is written on top of that


def test_who_may_not_read_the_record_may_not_verify_it(home: Home) -> None:
    home.rules.allow(OPERATOR.subject, Right.ADMINISTER)
    checks = LogChecks(Trail(home.parts))
    with pytest.raises(Refused):
        checks.start(OPERATOR)
    with pytest.raises(Refused):
        checks.last(OPERATOR)


def test_a_node_that_stops_does_not_wait_for_the_end(home: Home) -> None:
    def work(tx: object) -> None:
        for _ in range(600):
            home.parts.audit.append(
                tx,  # type: ignore[arg-type]
                home.parts.events.application_started("1"),
            )

    home.parts.database.write(work)
    checks = LogChecks(Trail(home.parts))
    checks.close()
    checks.start(OPERATOR)
    checks.close()
    found = checks.last(OPERATOR)
    assert found is not None
    assert (found.report, found.fault) == (None, "the node was stopped")
