"""Lists of patients and assignments over HTTPS."""

from typing import Any

from leadglass.audit.search import Search
from tests.unit.servers.api.conftest import House
from tests.unit.servers.conftest import Store
from tests.unit.servers.instances import STUDY

LIST = "/api/patient-lists/ward%203"
ALICE = "/api/assignments/users/Alice"


def changed(house: House, path: str, body: Any) -> int:
    told = house.post("ada", path, body)
    assert told.status_code == 200, told.text
    return int(told.json()["changed"])


def test_patients_are_put_on_and_taken_off(house: House) -> None:
    assert changed(house, f"{LIST}/add", {"patient_ids": ["P1", "P2"]}) == 2
    assert changed(house, f"{LIST}/add", {"patient_ids": ["P2"]}) == 0
    assert changed(house, f"{LIST}/remove", {"patient_ids": ["P1"]}) == 1
    assert house.get("ada", "/api/patient-lists").json()["items"] == [
        {"name": "ward 3", "patients": 1}
    ]
    assert house.get("ada", LIST).json() == {"patient_ids": ["P2"]}
    assert len(list(house.node.audit.list(Search(patient="P2")))) == 2  # and read
    assert house.get("ada", "/api/patient-lists/other").status_code == 404


def test_studies_are_assigned_and_seen_at_once(house: House, store: Store) -> None:
    store(1)
    house.node.parts.intake.catch_up()
    told = house.post("ada", "/api/users/alice/change", {"roles": ["referring"]})
    assert told.status_code == 200
    assert changed(house, f"{ALICE}/add", {"study_uids": [STUDY, "1.2.9"]}) == 2
    assert house.get("ada", ALICE).json() == {"study_uids": sorted([STUDY, "1.2.9"])}
    assert house.get("ada", "/api/assignments").json()["items"] == [
        {"name": "operator alice", "studies": 2}
    ]
    assert changed(house, f"{ALICE}/remove", {"study_uids": [STUDY]}) == 1


def test_who_may_not_administer_learns_nothing(house: House) -> None:
    changed(house, f"{LIST}/add", {"patient_ids": ["P1"]})
    for who in ("alice", "tim", "paul"):
        for path in ("/api/patient-lists", LIST, "/api/assignments", ALICE):
            assert house.get(who, path).status_code == 403
        body = {"patient_ids": ["P1"]}
        assert house.post(who, f"{LIST}/remove", body).status_code == 403


WRONG: list[tuple[str, Any, int]] = [
    (f"{LIST}/add", {"patient_ids": []}, 400),
    (f"{LIST}/add", {"patient_ids": ["SECRET"] * 1001}, 400),
    (f"{LIST}/add", {"patient_ids": ["SECRET\x1b"]}, 400),
    (f"{LIST}/add", {"patient_ids": ["SECRET" * 20]}, 400),
    (f"{LIST}/add", {"patient_ids": "SECRET"}, 400),
    ("/api/patient-lists/own/add", {"patient_ids": ["SECRET"]}, 400),
    (f"/api/patient-lists/{'x' * 65}/add", {"patient_ids": ["SECRET"]}, 400),
    (f"{ALICE}/add", {"study_uids": ["1.2.SECRET"]}, 400),
    (f"{ALICE}/add", {"study_uids": ["1." * 40]}, 400),
    ("/api/assignments/users/nobody/add", {"study_uids": ["1.2"]}, 404),
    ("/api/assignments/programs/alice/add", {"study_uids": ["1.2"]}, 404),
    ("/api/assignments/devices/alice/add", {"study_uids": ["1.2"]}, 404),
    ("/api/assignments/users/%20/add", {"study_uids": ["1.2"]}, 404),
]


def test_what_cannot_be_is_told_without_what_it_was(house: House) -> None:
    for path, body, status in WRONG:
        told = house.post("ada", path, body)
        assert told.status_code == status, (path, body)
        assert "SECRET" not in told.text
