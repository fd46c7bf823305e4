"""Broken glass over HTTPS: who may, what is told, and what nobody can find out."""

from typing import Any

from leadglass.audit.search import Search
from tests.unit.servers.api.conftest import House, likeness
from tests.unit.servers.conftest import Store
from tests.unit.servers.instances import STUDY

REASON = "unconscious, needs the earlier CT"
WISH = {"patient_id": "PAT-1", "reason": REASON}
STUDIES = "/dicom-web/studies"


def broken(house: House, who: str = "alice", **more: Any) -> Any:
    given = house.post(who, "/api/emergencies", {**WISH, **more})
    assert given.status_code == 201, given.text
    return given.json()


def found(house: House, who: str = "alice") -> list[str]:
    return [each["0020000D"]["Value"][0] for each in house.get(who, STUDIES).json()]


def test_glass_is_broken_used_ended_and_signed(house: House, store: Store) -> None:
    store(1)
    store(2, study=f"{STUDY}.9", PatientID="PAT-2")
    house.node.parts.intake.catch_up()
    metadata = f"{STUDIES}/{STUDY}/metadata"
    assert found(house) == []
    assert house.get("alice", metadata).status_code == 404
    given = broken(house, minutes=30)
    assert (given["person"], given["is_standing"]) == ("alice", True)
    assert given["patient_id"] == "PAT-1"
    assert found(house) == [STUDY]
    assert house.get("alice", metadata).status_code == 200
    assert house.get("alice", f"{STUDIES}/{STUDY}.9/metadata").status_code == 404
    assert house.get("alice", "/api/emergencies/own").json()["items"] == [given]
    number = given["number"]
    early = {"verdict": "justified", "note": "was in the shock room"}
    refused = house.post("paul", f"/api/reviews/{number}/sign", early)
    assert refused.status_code == 400
    assert "still stands" in refused.json()["detail"]
    ended = house.post("alice", f"/api/emergencies/own/{number}/end")
    assert (ended.status_code, ended.json()["is_standing"]) == (200, False)
    assert found(house) == []
    assert house.get("alice", "/api/emergencies/own").json()["items"] == []
    assert len(house.get("paul", "/api/reviews").json()["items"]) == 1
    signed = house.post("paul", f"/api/reviews/{number}/sign", early).json()
    assert (signed["verdict"], signed["reviewer"]) == ("justified", "paul")
    assert house.get("paul", "/api/reviews").json()["items"] == []
    assert house.post("pia", f"/api/reviews/{number}/sign", early).status_code == 404
    assert house.get("pia", f"/api/reviews/{number}").json() == signed
    types = [
        record.event.types for record in house.node.audit.list(Search(patient="PAT-1"))
    ]
    for wanted in ("110127", "110138", "110132"):
        assert (wanted,) in types


def test_roles_without_the_right_break_no_glass(house: House) -> None:
    for who in ("tim", "paul", "ada"):
        assert house.post(who, "/api/emergencies", WISH).status_code == 403
    assert house.get("paul", "/api/emergencies").json()["items"] == []


WRONG: list[Any] = [
    {"reason": "too short"},
    {"reason": "x" * 501},
    {"reason": "..........."},
    {"reason": "an emergency\x1b[2J"},
    {"patient_id": ""},
    {"patient_id": "P" * 65},
    {"patient_id": "A\\B"},
    {"patient_id": "  "},
    {"minutes": 0},
    {"minutes": 481},
    {"minutes": 1.5},
    {"unknown": 1},
    {"reason": None},
]


def test_what_cannot_be_judged_is_not_given(house: House) -> None:
    for change in WRONG:
        told = house.post(
            "alice", "/api/emergencies", {**WISH, "patient_id": "SECRET", **change}
        )
        assert told.status_code == 400, change
        assert "SECRET" not in told.text
    assert house.get("alice", "/api/emergencies/own").json()["items"] == []


def test_whether_there_is_such_a_patient_is_not_told(
    house: House, store: Store
) -> None:
    store(1)
    house.node.parts.intake.catch_up()
    unlike = {"number", "patient_id", "started_at", "ends_at"}
    there, absent = broken(house), broken(house, patient_id="NOBODY")
    assert {k: v for k, v in there.items() if k not in unlike} == {
        k: v for k, v in absent.items() if k not in unlike
    }


def test_others_emergencies_are_not_there(house: House) -> None:
    number = broken(house)["number"]
    foreign = house.post("bob", f"/api/emergencies/own/{number}/end")
    absent = house.post("bob", f"/api/emergencies/own/{number + 1}/end")
    assert foreign.status_code == 404
    assert likeness(foreign) == likeness(absent)
    assert house.get("bob", "/api/emergencies/own").json()["items"] == []
    for path in ("/api/emergencies", "/api/reviews", f"/api/reviews/{number}"):
        assert house.get("bob", path).status_code == 403
    assert house.post("bob", f"/api/emergencies/{number}/end").status_code == 403
    assert house.get("alice", "/api/emergencies/own").json()["items"]


def test_a_number_that_is_none_is_not_there(house: House) -> None:
    for number in ("0", "99", "-1", "x", "1" * 40, "\u0663", "1.0", "%31"):
        path = f"/api/emergencies/{number}/end"
        own = f"/api/emergencies/own/{number}/end"
        assert house.get("paul", f"/api/reviews/{number}").status_code == 404
        assert house.post("paul", path).status_code == 404
        assert house.post("alice", own).status_code == 404


def test_who_reviews_ends_what_others_began(house: House) -> None:
    number = broken(house)["number"]
    assert house.post("paul", f"/api/emergencies/{number}/end").status_code == 200
    assert house.get("alice", "/api/emergencies/own").json()["items"] == []


def test_a_disabled_user_has_lost_it_at_once(house: House, store: Store) -> None:
    store(1)
    house.node.parts.intake.catch_up()
    broken(house)
    assert found(house) == [STUDY]
    assert house.post("ada", "/api/users/alice/disable", {}).status_code == 200
    assert house.get("alice", STUDIES).status_code == 401
    assert house.get("paul", "/api/emergencies").json()["items"] == []
    assert len(house.get("paul", "/api/reviews").json()["items"]) == 1


def test_a_page_of_another_site_breaks_no_glass(house: House) -> None:
    cookie = {"cookie": f"__Host-leadglass={house.cookies['alice']}"}
    for headers in ({}, {"origin": "https://evil.example"}):
        told = house.client.post(
            "/api/emergencies", json=WISH, headers={**cookie, **headers}
        )
        assert told.status_code == 403
    form = {**cookie, "origin": house.running.base, "content-type": "text/plain"}
    told = house.client.post("/api/emergencies", content=b"{}", headers=form)
    assert told.status_code == 415


def test_why_a_study_is_seen_is_told_and_why_not_is_not(
    house: House, store: Store
) -> None:
    store(1)
    house.node.parts.intake.catch_up()

    def why(who: str, study: str = STUDY) -> Any:
        return house.post(who, "/api/why", {"study_uid": study}).json()

    assert why("bob")["by"] == [{"rule": "role radiologist", "scope": "everything"}]
    foreign, absent = why("alice"), why("alice", "1.2.3.4")
    assert foreign == absent
    assert (foreign["is_seen"], foreign["by"]) == (False, [])
    assert foreign["own"][0]["scope"] == "patient_id=SOMEBODY-ELSE"
    number = broken(house)["number"]
    seen = why("alice")
    assert seen["is_seen"]
    assert seen["by"] == [
        {"rule": f"broken glass {number}", "scope": "patient_id=PAT-1"}
    ]
    assert house.post("paul", "/api/why", {"study_uid": STUDY}).status_code == 403
    assert house.post("bob", "/api/why", {"study_uid": "x"}).status_code == 400
