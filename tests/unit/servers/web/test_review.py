"""The pages of the review over a real node: alerts shown, judged, and for whom."""

from urllib.parse import quote

import httpx

from leadglass.assurance.review.rules.table import RULES
from leadglass.audit.builders import Actor
from leadglass.servers.http.authentication import SESSION_COOKIE
from leadglass.servers.web.review import TITLES
from tests.unit.servers.api.conftest import House

HOSTILE = "<script>alert(1)</script>\"'&"
REASON = "asked the person, all is well"


def get(house: House, path: str, who: str = "paul") -> httpx.Response:
    headers = {"cookie": f"{SESSION_COOKIE}={house.cookies[who]}"}
    return house.client.get(path, headers=headers)


def raised(house: House, subject: str) -> int:
    """Let somebody raise an alert; return its number."""
    parts = house.node.parts
    actor = Actor(subject, "10.0.0.1", channel="TLSv1.3", kind="operator")
    parts.record(parts.events.audit_log_used(actor, "export", 1))
    return house.node.review.run(house.node.operator).new[0]


def test_an_alert_is_shown_judged_and_told(house: House) -> None:
    number = raised(house, HOSTILE)
    for path in ("/review", f"/review/{number}"):
        page = get(house, path)
        assert page.status_code == 200, page.text
        assert "&lt;script&gt;" in page.text
        assert "<script>" not in page.text
    one = get(house, f"/api/audit/review/alerts/{number}").json()
    assert (one["rule"], one["disposition"]) == ("R-23", None)

    said = {"disposition": "incident", "reason": REASON}
    path = f"/api/audit/review/alerts/{number}/dispose"
    judged = house.post("paul", path, said)

    assert judged.status_code == 200, judged.text
    assert judged.json()["reviewer"] == "paul"
    assert REASON in get(house, f"/review/{number}").text
    items = get(house, "/api/audit/review/alerts").json()["items"]
    assert number not in [each["number"] for each in items]
    assert house.post("paul", path, said).status_code == 404


def test_what_cannot_be_is_refused(house: House) -> None:
    number = raised(house, "eve")
    path = f"/api/audit/review/alerts/{number}/dispose"
    for said in (
        {"disposition": "fine", "reason": REASON},
        {"disposition": "benign", "reason": "ok"},
        {"disposition": "benign"},
        {"disposition": "benign", "reason": REASON, "more": 1},
    ):
        assert house.post("paul", path, said).status_code == 400
    for number_text in ("0x1", "-1", "9" * 19, "9" * 40, "%00", "99999999"):
        assert get(house, f"/review/{number_text}").status_code == 404
    for week in ("2024", "2024-W99", "..", "9999-W01", HOSTILE):
        sign = f"/api/audit/review/weeks/{quote(week, safe='')}/sign"
        assert house.post("paul", sign, {"note": REASON}).status_code in {400, 404}


def test_nobody_judges_himself_and_others_see_nothing(house: House) -> None:
    number = raised(house, "PAUL")
    path = f"/api/audit/review/alerts/{number}/dispose"
    said = {"disposition": "benign", "reason": REASON}
    assert house.post("paul", path, said).status_code == 403
    assert "Nobody judges" in get(house, f"/review/{number}").text
    for who in ("alice", "bob", "tim"):
        for page in ("/review", f"/review/{number}", "/api/audit/review/alerts"):
            assert get(house, page, who).status_code == 403
        assert house.post(who, path, said).status_code == 403


def test_a_week_is_signed(house: House) -> None:
    house.node.review.run(house.node.operator)
    sign = "/api/audit/review/weeks/2020-W07/sign"
    signed = house.post("paul", sign, {"note": REASON})
    assert signed.status_code == 200, signed.text
    assert "2020-W07" in get(house, "/review").text
    assert house.post("paul", sign, {"note": REASON}).status_code == 400


def test_every_rule_has_its_title_on_the_page() -> None:
    assert dict(TITLES) == {each.id: each.title for each in RULES}
