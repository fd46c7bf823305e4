"""Orders and holds over HTTPS: two people who have logged in."""

from typing import Any

from leadglass.audit.builders import Actor
from leadglass.audit.search import Search
from tests.unit.servers.api.conftest import House

REASON = "ordered by the court of the county"
PATIENT = "PAT-77"
ORDERS, HOLDS = "/api/audit/orders", "/api/audit/holds"


def told(house: House) -> None:
    actor = Actor("auditor", channel="local", kind="operator")
    parts = house.node.parts
    parts.record(parts.events.audit_log_used(actor, "read", 1, PATIENT))


def asked(house: House, who: str = "paul") -> Any:
    given = house.post(who, ORDERS, {"patient_id": PATIENT, "reason": REASON})
    assert given.status_code == 201, given.text
    return given.json()


def test_one_asks_and_another_confirms(house: House) -> None:
    told(house)
    given = asked(house)
    assert PATIENT not in str(given)
    number = given["order"]["number"]
    assert house.post("paul", f"{ORDERS}/{number}/confirm").status_code == 403
    done = house.post("pia", f"{ORDERS}/{number}/confirm")
    assert (done.status_code, done.json()["state"]) == (200, "done")
    assert house.get("pia", ORDERS).json()["items"][0] == done.json()
    assert list(house.node.audit.list(Search(patient=PATIENT))) == []
    assert house.node.audit.verify().is_intact
    for who in ("paul", "pia"):
        again = house.post(who, f"{ORDERS}/{number}/confirm")
        assert again.status_code == 404


def test_the_command_line_asks_and_a_login_confirms(house: House) -> None:
    told(house)
    node = house.node
    receipt = node.orders.ask_erasure(node.operator, PATIENT, REASON)
    done = house.post("paul", f"{ORDERS}/{receipt.order.id}/confirm").json()
    assert (done["state"], done["records"]) == ("done", 1)


def test_a_hold_keeps_until_two_release_it(house: House) -> None:
    told(house)
    placed = house.post("paul", HOLDS, {"patient_id": PATIENT, "reason": REASON})
    assert placed.status_code == 201
    assert PATIENT not in placed.text
    held = house.post("paul", ORDERS, {"patient_id": PATIENT, "reason": REASON})
    assert held.status_code == 409
    assert "legal hold" in held.json()["detail"]
    number = placed.json()["number"]
    order = house.post("paul", f"{HOLDS}/{number}/release", {"reason": REASON}).json()
    assert house.post("paul", f"{ORDERS}/{order['number']}/confirm").status_code == 403
    assert house.post("pia", f"{ORDERS}/{order['number']}/confirm").status_code == 200
    assert house.get("paul", HOLDS).json()["items"][0]["released_by"] == "pia"


def test_an_order_is_refused(house: House) -> None:
    told(house)
    number = asked(house)["order"]["number"]
    refused = house.post("pia", f"{ORDERS}/{number}/refuse")
    assert (refused.status_code, refused.json()["state"]) == (200, "refused")


def test_others_may_nothing(house: House) -> None:
    told(house)
    number = asked(house)["order"]["number"]
    body = {"patient_id": PATIENT, "reason": REASON}
    for who in ("ada", "alice", "tim"):
        for method, path, sent in (
            ("GET", ORDERS, None),
            ("GET", HOLDS, None),
            ("POST", ORDERS, body),
            ("POST", HOLDS, body),
            ("POST", f"{ORDERS}/{number}/confirm", None),
            ("POST", f"{ORDERS}/{number}/refuse", None),
            ("POST", f"{HOLDS}/1/release", {"reason": REASON}),
        ):
            assert house.ask(who, method, path, sent).status_code == 403


def test_what_cannot_be_is_refused(house: House) -> None:
    for path, body, status in (
        (ORDERS, {"patient_id": "", "reason": REASON}, 400),
        (ORDERS, {"patient_id": PATIENT, "reason": "no"}, 400),
        (ORDERS, {"patient_id": "NOBODY-77", "reason": REASON}, 404),
        (HOLDS, {"reason": REASON}, 400),
        (HOLDS, {"reason": REASON, "since": "2027-01-01T00:00:00"}, 400),
        (f"{HOLDS}/x/release", {"reason": REASON}, 404),
        (f"{HOLDS}/99/release", {"reason": REASON}, 404),
        (f"{ORDERS}/{'9' * 30}/confirm", None, 404),
    ):
        assert house.post("paul", path, body).status_code == status, path
