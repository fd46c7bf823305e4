"""The pages of the record over a real node: what hostile input finds, and who may."""

import json
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from leadglass.archive.retention import Subject
from leadglass.audit.builders import Actor, Question, Study
from leadglass.audit.codes import EventID
from leadglass.audit.events import SOPClass
from leadglass.audit.search import Search
from leadglass.dicom.uids import UID
from leadglass.servers.http.authentication import SESSION_COOKIE
from tests.unit.servers.api.conftest import House
from tests.unit.wire.rig import CT

HOSTILE = "<script>alert(1)</script>\"'&"
FORM = {"content-type": "application/x-www-form-urlencoded"}
PART = {"hx-request": "true"}


def ask(
    house: House, path: str, form: dict[str, str] | None = None, who: str = "paul"
) -> httpx.Response:
    """Ask as htmx does; with a form it is a POST."""
    headers = {"cookie": f"{SESSION_COOKIE}={house.cookies[who]}", **PART}
    if form is None:
        return house.client.get(path, headers=headers)
    headers |= {"origin": house.running.base, **FORM}
    return house.client.post(path, headers=headers, content=urlencode(form))


def looked_at(house: House, patient: str) -> None:
    """Record that somebody of a hostile name looked at a patient of one."""
    parts = house.node.parts
    actor = Actor(HOSTILE, "10.0.0.1", HOSTILE, kind="operator")
    study = Study("1.2.3", patient, HOSTILE, (SOPClass(UID(CT), 1),), HOSTILE)
    parts.record(*parts.events.begin_transferring(actor, (study,), right="view"))
    question = Question("1.2", HOSTILE.encode(), "1.2")
    parts.record(*parts.events.query(actor, question, [(patient, HOSTILE)]))


def test_what_others_have_written_is_text(house: House) -> None:
    looked_at(house, HOSTILE)
    last = house.node.audit.size() - 1
    pages = [
        ask(house, "/audit"),
        ask(house, f"/audit/{last}"),
        ask(house, "/access", {"patient": HOSTILE}),
    ]
    for page in pages:
        assert page.status_code == 200, page.text
        assert "&lt;script&gt;" in page.text
        assert "<script>" not in page.text
        assert "script-src 'self'" in page.headers["content-security-policy"]


def test_who_breaks_the_glass_cannot_write_into_the_page(house: House) -> None:
    wish = {"patient_id": HOSTILE, "reason": HOSTILE}
    given = house.post("alice", "/api/emergencies", wish)
    assert given.status_code == 201
    for path in ("/reviews", f"/reviews/{given.json()['number']}"):
        page = ask(house, path)
        assert page.status_code == 200
        assert "&lt;script&gt;" in page.text
        assert "<script>" not in page.text


# A house costs more than a question, so these ask many.


def test_the_pages_are_for_who_may_read_the_record(house: House) -> None:
    for path in ("/audit", "/audit/0", "/audit/export", "/access", "/reviews"):
        for who in ("alice", "bob", "tim"):
            assert ask(house, path, who=who).status_code == 403
        assert ask(house, path).status_code == 200


def test_what_is_no_number_of_a_record_or_review_is_not_found(house: House) -> None:
    wrong = ("99999999", "0x1", "-1", "1e3", "\u0663", "9" * 19, "9" * 40, "%00", "1.0")
    for number in wrong:
        for path in ("/audit", "/reviews"):
            assert ask(house, f"{path}/{number}").status_code == 404, number


def test_a_search_for_what_cannot_be_is_refused(house: House) -> None:
    wrong = {
        "event": "110199",
        "outcome": "5",
        "since": "yesterday",
        "until": "0001-01-01T00:00:00+14:00",
        "after": "9" * 19,
        "who": "x" * 257,
        "address": "x" * 257,
    }
    for name, value in wrong.items():
        for path in ("/audit", "/audit/export"):
            answer = ask(house, f"{path}?{urlencode({name: value})}")
            assert answer.status_code == 400, name
            assert name in answer.json()["detail"]
            assert value not in answer.json()["detail"]


def test_a_history_of_nobody_is_refused(house: House) -> None:
    wrong: tuple[dict[str, str], ...] = (
        {},
        {"patient": ""},
        {"patient": "x" * 65},
        {"patient": "a\nb"},
        {"patient": "P1", "since": "x"},
        {"patient": "P1", "after": "x"},
        {str(number): "" for number in range(9)},
    )
    for form in wrong:
        assert ask(house, "/access", form).status_code == 400, form


def test_a_form_that_is_none_is_refused(house: House) -> None:
    headers = {"cookie": f"{SESSION_COOKIE}={house.cookies['paul']}", **FORM}
    headers["origin"] = house.running.base
    for body in (b"patient=\xff", b"patient=%ff"):
        answer = house.client.post("/access", headers=headers, content=body)
        assert answer.status_code == 400


def test_another_site_cannot_ask_in_somebodys_name(house: House) -> None:
    headers = {"cookie": f"{SESSION_COOKIE}={house.cookies['paul']}", **FORM}
    headers["origin"] = "https://evil.example"
    for path, body in (("/access", b"patient=P1"), ("/audit/verify", b"")):
        answer = house.client.post(path, headers=headers, content=body)
        assert answer.status_code == 403, path


def test_every_look_is_on_the_record(house: House) -> None:
    ask(house, "/audit?event=110112")
    ask(house, "/audit/0")
    ask(house, "/access", {"patient": "P1"})
    ask(house, "/audit/export?event=110112")
    ask(house, "/reviews")
    found = house.node.audit.list(Search(event=EventID.AUDIT_LOG_USED, user="paul"))
    uses = [dict(each.event.objects[0].details)["use"] for each in found]
    assert uses == [
        "search",
        "read",
        "patient history",
        "export",
        "list break-glass reviews",
        "list signed reviews",
    ]


def lines(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.headers["content-disposition"].startswith("attachment; filename=")
    return [json.loads(line) for line in answer.text.splitlines()]


def test_an_export_is_the_whole_search_and_ends(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leadglass.archive.trail._RECORDS_PER_EVENT", 2)
    for number in range(5):
        looked_at(house, f"P{number}")
    found = lines(ask(house, "/audit/export?event=110112"))
    assert [each["record"]["returned"][0][0] for each in found] == [
        f"P{number}" for number in (4, 3, 2, 1, 0)
    ]
    # What it records of itself is not among it: it would never end.
    used = lines(ask(house, "/audit/export?event=110101"))
    assert all(each["number"] < house.node.audit.size() for each in used)


def test_a_changed_record_is_told_wherever_it_is(house: House) -> None:
    looked_at(house, "P1")
    last = house.node.audit.size() - 1
    change = f"UPDATE audit_record SET record = x'7b' WHERE n = {last}"
    house.node.database.write(lambda tx: tx.connection.exec_driver_sql(change) and None)
    for path in ("/audit", f"/audit/{last}"):
        assert "This record cannot be read" in ask(house, path).text
    (found,) = [
        each
        for each in lines(ask(house, "/audit/export"))
        if each.get("is_readable") is False
    ]
    assert (found["number"], found["record"]) == (last, None)
    assert ask(house, "/audit/verify", {}).status_code == 200
    house.node.log_checks.wait()
    said = ask(house, "/audit/verify").text
    assert "NOT INTACT" in said
    assert f'href="/audit/{last}"' in said


def test_what_is_kept_and_ordered_is_shown_as_text_and_without_a_patient(
    house: House,
) -> None:
    node = house.node
    looked_at(house, "SECRET-77")
    reason = f"{HOSTILE} for a good reason"
    held = node.retention.place(node.operator, Subject(patient="OTHER-77"), reason)
    node.orders.ask_release(node.operator, held.id, reason)
    node.orders.ask_erasure(node.operator, "SECRET-77", reason)
    page = ask(house, "/keeping")
    assert page.status_code == 200, page.text
    assert "Confirm no. 2" in page.text
    assert f"Release legal hold {held.id}" in page.text
    assert "&lt;script&gt;" in page.text
    assert "<script>alert" not in page.text
    assert "77" not in page.text.replace("#x27", "")
    assert ask(house, "/keeping", who="ada").status_code == 403


def test_nobody_is_offered_to_confirm_what_is_his_own(house: House) -> None:
    looked_at(house, "SECRET-77")
    body = {"patient_id": "SECRET-77", "reason": "ordered by the court"}
    assert house.post("paul", "/api/audit/orders", body).status_code == 201
    assert "Confirm no." not in ask(house, "/keeping").text
    assert "Take back no." in ask(house, "/keeping").text
    assert "Confirm no." in ask(house, "/keeping", who="pia").text
