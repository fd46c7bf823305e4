"""Users and tokens over HTTPS: secrets once, nothing for who does not administer."""

from typing import Any

from sqlalchemy import update

from leadglass.identity.people import tables
from tests.unit.servers.api.conftest import House

EVE = {"name": "eve", "roles": ["radiologist"], "scope": "modality=CT"}
SCREEN = {"name": "screen", "role": "service", "networks": ["127.0.0.0/8"], "days": 7}


def names(house: House, what: str) -> set[str]:
    return {each["name"] for each in house.get("ada", f"/api/{what}").json()["items"]}


def test_a_user_is_added_changed_shut_out_and_comes_back(house: House) -> None:
    added = house.post("ada", "/api/users", EVE)
    assert added.status_code == 201
    assert added.headers["cache-control"] == "no-store"
    secret = added.json()["one_time_secret"]
    assert len(secret.replace("-", "")) == 26
    assert added.json()["user"]["status"] == "not_enrolled"
    assert secret not in house.get("ada", "/api/users").text
    eve = "/api/users/Eve"
    changed = house.post(
        "ada", f"{eve}/change", {"roles": ["technologist"], "reason": "moved"}
    ).json()
    assert (changed["roles"], changed["scope"]) == (["technologist"], "modality=CT")
    everything = house.post("ada", f"{eve}/change", {"scope": "everything"}).json()
    assert everything["scope"] == "everything"
    disabled = house.post("ada", f"{eve}/disable", {"reason": "left"}).json()
    assert disabled["status"] == "disabled"
    again = house.post("ada", f"{eve}/disable", {})
    assert (again.status_code, again.json()["detail"]) == (
        400, "user eve: is disabled already",
    )  # fmt: skip
    assert house.post("ada", f"{eve}/enable", {}).json()["disabled_at"] is None
    assert house.post("ada", f"{eve}/unlock", {}).status_code == 200
    reset = house.post("ada", f"{eve}/reset", {}).json()
    assert reset["one_time_secret"] != secret


def test_a_token_is_shown_once_works_and_is_revoked(house: House) -> None:
    made = house.post("ada", "/api/tokens", SCREEN)
    assert made.status_code == 201
    token, entry = made.json()["token"], made.json()["entry"]
    assert (entry["status"], entry["networks"]) == ("standing", ["127.0.0.0/8"])
    assert token not in house.get("ada", "/api/tokens").text
    headers = {"authorization": f"Bearer {token}"}
    assert house.client.get("/dicom-web/studies", headers=headers).status_code == 200
    revoked = house.post("ada", "/api/tokens/Screen/revoke", {"reason": "leaked"})
    assert revoked.json()["status"] == "revoked"
    assert house.client.get("/dicom-web/studies", headers=headers).status_code == 401


def test_who_may_not_administer_changes_and_learns_nothing(house: House) -> None:
    for who in ("alice", "tim", "paul"):
        for path in ("/api/users", "/api/tokens"):
            assert house.get(who, path).status_code == 403
        bodies: dict[str, Any] = {
            "/api/users": EVE,
            "/api/tokens": SCREEN,
            "/api/users/ada/disable": {},
            f"/api/users/{who}/change": {"roles": ["administrator"]},
            "/api/users/nobody/change": {"roles": ["administrator"]},
        }
        for path, body in bodies.items():
            assert house.post(who, path, body).status_code == 403
    assert "eve" not in names(house, "users")


def test_nobody_gives_himself_anything(house: House) -> None:
    told = house.post("ada", "/api/users/ada/change", {"roles": ["radiologist"]})
    assert told.status_code == 403


WRONG: list[tuple[str, Any]] = [
    ("/api/users", {**EVE, "name": "e v e"}),
    ("/api/users", {**EVE, "name": "alice"}),
    ("/api/users", {**EVE, "name": "x" * 5000}),
    ("/api/users", {**EVE, "roles": []}),
    ("/api/users", {**EVE, "roles": ["service"]}),
    ("/api/users", {**EVE, "roles": ["surgeon"]}),
    ("/api/users", {**EVE, "roles": ["administrator", "radiologist"]}),
    ("/api/users", {**EVE, "scope": ""}),
    ("/api/users", {**EVE, "scope": " "}),
    ("/api/users", {**EVE, "scope": "patient_id=SECRET;SECRET=1"}),
    ("/api/users", {**EVE, "password": "SECRET"}),
    ("/api/users/alice/change", {}),
    ("/api/users/alice/change", {"scope": ""}),
    ("/api/users/alice/disable", {"reason": "x" * 513}),
    ("/api/users/alice/disable", {"reason": "a\x1b"}),
    ("/api/tokens", {**SCREEN, "role": "administrator"}),
    ("/api/tokens", {**SCREEN, "networks": []}),
    ("/api/tokens", {**SCREEN, "networks": ["0.0.0.0/0"]}),
    ("/api/tokens", {**SCREEN, "networks": ["not one"]}),
    ("/api/tokens", {**SCREEN, "days": 367}),
    ("/api/tokens", {**SCREEN, "days": 0}),
    ("/api/tokens", {**SCREEN, "scope": ""}),
]


def test_what_cannot_be_is_told_and_not_done(house: House) -> None:
    for path, body in WRONG:
        told = house.post("ada", path, body)
        assert told.status_code == 400, (path, body, told.text)
        assert "SECRET" not in told.text
    assert names(house, "tokens") == set()
    assert house.get("alice", "/api/emergencies/own").status_code == 200


def test_who_is_not_there_is_not_there(house: House) -> None:
    assert house.post("ada", "/api/users/nobody/disable", {}).status_code == 404
    assert house.post("ada", "/api/users/%ff%00/unlock", {}).status_code == 404
    assert house.post("ada", "/api/tokens/nobody/revoke", {}).status_code == 404


def test_a_session_that_was_left_lets_nobody_in_but_shuts_out(house: House) -> None:
    stale = update(tables.session).values(fresh_until_us=0)
    house.node.database.write(lambda tx: tx.connection.execute(stale) and None)
    lets_in: dict[str, Any] = {
        "/api/users": EVE,
        "/api/tokens": SCREEN,
        "/api/users/tim/change": {"roles": ["radiologist"]},
        "/api/users/tim/reset": {},
        "/api/users/tim/enable": {},
    }
    for path, body in lets_in.items():
        told = house.post("ada", path, body)
        assert told.status_code == 403
        assert "prove yourself anew" in told.json()["detail"]
    assert "eve" not in names(house, "users")
    assert house.post("ada", "/api/users/tim/disable", {}).status_code == 200
