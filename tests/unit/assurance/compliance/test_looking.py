"""Each check passes on a node that is as it should be, and fails on one that is not."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from leadglass.access.rights import Right
from leadglass.assurance.compliance import inventory, looking, software
from leadglass.assurance.compliance.looking import CHECKS
from leadglass.assurance.compliance.probe import Verdict
from leadglass.assurance.compliance.state import (
    Human,
    Mode,
    NodeState,
    Past,
    RecordState,
    Sampled,
)
from leadglass.audit.codes import Action, EventID, Role
from leadglass.audit.events import Event, Participant
from leadglass.dicom.aetitle import AETitle
from leadglass.identity.device import Certificate, Device, UnsafePlaintext

NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
SOON = NOW + timedelta(days=400)
ADDRESS = "10.4.0.7"


def certificate(**changes: Any) -> Certificate:
    values: dict[str, Any] = {
        "fingerprint_sha256": "ab" * 32,
        "serial": 7,
        "not_before": NOW - timedelta(days=1),
        "not_after": SOON,
        "accepted_until": SOON,
    }
    return Certificate(**(values | changes))


def device(name: str = "CT1", **changes: Any) -> Device:
    values: dict[str, Any] = {
        "name": name,
        "ae_titles": (AETitle(name),),
        "networks": (ip_network("10.4.0.0/24"),),
        "rights": frozenset({Right.STORE}),
        "enrolled_at": NOW - timedelta(days=30),
        "certificate": certificate(),
    }
    return Device(**(values | changes))


def excepted(days: int) -> Device:
    granted = NOW - timedelta(days=30)
    return device(
        "OLD1",
        has_tls=False,
        certificate=None,
        networks=(ip_network(f"{ADDRESS}/32"),),
        unsafe_plaintext=UnsafePlaintext(
            address=ip_network(f"{ADDRESS}/32").network_address,
            reason="it has no TLS",
            granted_at=granted,
            not_after=NOW + timedelta(days=days),
        ),
    )


def event(
    id_: EventID = EventID.QUERY,
    who: str = "alice",
    roles: tuple[Role, ...] = (),
    **details: str,
) -> Event:
    return Event(
        id=id_,
        action=Action.EXECUTE,
        participants=(Participant(who, is_requestor=True, roles=roles),),
        details={"kind": "person", "channel": "TLSv1.3"} | details,
        time=NOW - timedelta(days=1),
    )


GOOD = NodeState(
    now=NOW,
    version="1",
    home=Path("/nowhere"),
    fingerprint="f" * 64,
    declared=("127.0.0.1:2762",),
    sockets=("127.0.0.1:2762",),
    devices=(device(),),
    people=(Human("alice", ("radiologist",)), Human("paul", ("privacy",))),
    events=(event(), event(EventID.AUDIT_LOG_USED, "paul")),
    record=RecordState(size=5, checkpoints=2, oldest=NOW - timedelta(days=10)),
    modes=(Mode("keys", 0o700), Mode("leadglass.key", 0o600)),
    images=Sampled(3, 100),
    raw=Sampled(3, 100),
    ends=(("node", SOON),),
    retention_days=2_192,
    components=(("python", "3.13.1"),),
    past=Past(
        runs=(NOW - timedelta(days=30),),
        verified=(NOW - timedelta(days=3), 0),
        baseline=("f" * 64, "paul"),
    ),
)

BAD: dict[str, dict[str, Any]] = {
    "individuals: a shared name": {"people": (Human("guest", ("radiologist",)),)},
    "individuals: one at three places": {
        "people": (Human("alice", ("radiologist",), True, ("a", "b", "c")),)
    },
    "individuals: nobody's access": {"events": (event(who=""),)},
    "separation: does both": {
        "people": (Human("zoe", ("administrator", "radiologist")),)
    },
    "separation: an administrator reads": {
        "people": (Human("alice", ("administrator",)),)
    },
    "register: from everywhere in the house": {
        "devices": (device(networks=(ip_network("10.0.0.0/12"),)),)
    },
    "register: forgotten": {
        "devices": (device(enrolled_at=NOW - timedelta(days=1_200)),)
    },
    "listeners: one more": {"sockets": ("127.0.0.1:2762", "0.0.0.0:104")},
    "listeners: none": {"sockets": ()},
    "emergencies: late": {"open_reviews": (NOW - timedelta(days=8),)},
    "at-rest: in the clear": {"raw": Sampled(3, 100, ("a file",))},
    "at-rest: a blind search": {"raw": Sampled(3, 100, (), is_proven=False)},
    "keys: others may read": {"modes": (Mode("leadglass.key", 0o644),)},
    "keys: beside the data": {"modes": (Mode("leadglass.key", 0o600, True),)},
    "keys: old": {"keys_changed": NOW - timedelta(days=800)},
    "integrity: damaged": {"images": Sampled(3, 100, ("of another hash",))},
    "integrity: damaged then": {"past": replace(GOOD.past, verified=(NOW, 1))},
    "integrity: long ago": {
        "past": replace(GOOD.past, verified=(NOW - timedelta(days=40), 0))
    },
    "record: altered": {"record": RecordState(5, ("record 3 …",), checkpoints=2)},
    "record: no checkpoint": {"record": RecordState(5)},
    "gaps: missing": {"record": RecordState(5, ("records 3 to 4 are missing",))},
    "gaps: a clock": {"record": RecordState(5, (), ("the clock went back",))},
    "reviews: nobody looks": {"events": (event(),)},
    "reviews: late": {"open_reviews": (NOW - timedelta(days=8),)},
    "retention: five years": {"retention_days": 1_827},
    "channels: plaintext of nobody": {"events": (event(channel="plaintext"),)},
    "channels: run out": {"devices": (excepted(-1),)},
    "certificates: ends": {"ends": (("node", NOW + timedelta(days=3)),)},
    "certificates: no new list": {"revocations_due": True},
    "certificates: a device's": {
        "devices": (device(certificate=certificate(not_after=NOW + timedelta(days=3))),)
    },
    "destinations: unknown": {
        "events": (event(EventID.INSTANCES_TRANSFERRED, "GONE"),)
    },
    "inventory: unknown": {"events": (event(who="mallory"),)},
    "inventory: no software": {"components": ()},
    "map: in the clear": {"events": (event(channel="plaintext"),)},
    "software: affected": {"components": (("jinja2", "3.1.5"),)},
    "software: an old list": {
        "now": datetime.combine(software.AS_OF, NOW.timetz()) + timedelta(days=200)
    },
    "baseline: drifted": {"fingerprint": "0" * 64},
    "baseline: expectations": {"broken": ("nobody may erase",)},
    "runs: a year ago": {"past": replace(GOOD.past, runs=(NOW - timedelta(days=400),))},
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda each: each.name)
def test_a_good_node_passes(check: looking.Check) -> None:
    seen = check.run(GOOD)
    assert seen.verdict is Verdict.PASS, seen.observed


@pytest.mark.parametrize("case", BAD)
def test_a_bad_node_fails(case: str) -> None:
    name = case.partition(":")[0]
    check = next(each for each in CHECKS if each.name == name)
    assert check.run(replace(GOOD, **BAD[case])).verdict is Verdict.FAIL


def test_every_check_has_a_node_on_which_it_fails() -> None:
    assert {each.partition(":")[0] for each in BAD} == {each.name for each in CHECKS}


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("register", {"devices": ()}),
        ("listeners", {"sockets": None}),
        ("at-rest", {"raw": Sampled()}),
        ("integrity", {"images": Sampled()}),
        ("record", {"record": RecordState(0)}),
        ("gaps", {"record": RecordState(0)}),
        ("reviews", {"record": RecordState(0)}),
        ("baseline", {"past": Past()}),
    ],
)
def test_what_cannot_be_looked_at_is_not_covered(
    name: str, change: dict[str, Any]
) -> None:
    check = next(each for each in CHECKS if each.name == name)
    assert check.run(replace(GOOD, **change)).verdict is Verdict.NOT_COVERED


def test_flows_tell_directions_apart() -> None:
    state = replace(
        GOOD,
        events=(
            event(EventID.INSTANCES_TRANSFERRED, "CT1", (Role.SOURCE,)),
            event(EventID.INSTANCES_TRANSFERRED, "WS1", (Role.DESTINATION,)),
            event(EventID.AUDIT_LOG_USED, "paul"),
        ),
    )
    assert [(each.peer, each.is_outgoing) for each in inventory.flows(state)] == [
        ("CT1", False),
        ("WS1", True),
    ]


def test_names_in_the_picture_are_text() -> None:
    state = replace(GOOD, events=(event(who="<script>alert(1)</script>"),))
    assert "<script" not in inventory.picture(state)


def test_the_list_of_components_has_ourselves_and_is_dated() -> None:
    found = dict(software.components())
    assert {"leadglass", "python", "openssl", "cryptography"} <= set(found)
    assert isinstance(software.AS_OF, date)
    told = software.bill_of_materials(found.items())
    assert told["bomFormat"] == "CycloneDX"
    assert "leadglass" not in {each["name"] for each in told["components"]}
