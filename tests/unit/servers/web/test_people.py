"""Users and tokens over a real node: the effect first, and nothing for who lies."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import httpx

from leadglass.access.policy import Kind
from leadglass.access.rights import Right
from leadglass.access.roles import ROLES
from leadglass.access.scopes import EVERYTHING
from leadglass.audit.search import Search
from leadglass.identity.people.user import NewUser, User
from leadglass.servers.http.authentication import SESSION_COOKIE
from leadglass.servers.web import words
from tests.unit.servers.api.conftest import House

HOSTILE = "<script>alert(1)</script>\"'&"
FORM = "application/x-www-form-urlencoded"
BOB = {"name": "bob", "roles": ["radiologist"], "scope": "everything"}
EXPECT = """
[[expect]]
name = "bob never runs the node"
operator = "bob"
right = "administer"
from = "10.0.0.1"
allowed = false
"""


def ask(
    house: House,
    form: Mapping[str, Any],
    *,
    who: str = "ada",
    origin: str = "",
    path: str = "/people/preview",
) -> httpx.Response:
    headers = {
        "cookie": f"{SESSION_COOKIE}={house.cookies[who]}",
        "origin": origin or house.running.base,
        "content-type": FORM,
    }
    content = urlencode(form, doseq=True)
    return house.client.post(path, headers=headers, content=content)


def users(house: House) -> dict[str, User]:
    found = house.node.accounts.list_users(house.node.operator)
    return {each.user.name: each.user for each in found}


def expecting(house: House, text: str) -> None:
    house.node.layout.rules.write_text(text, "utf-8")
    assert house.node.rulebook.reload_if_changed()


def test_the_pages_say_of_every_role_what_it_says_of_itself() -> None:
    for name, role in ROLES.items():
        assert words.ROLES[name] == role.title
    assert words.RIGHTS.keys() >= set(Right)
    assert set(words.KINDS) == set(Kind)


def test_who_gains_and_loses_is_shown_and_nothing_is_written(house: House) -> None:
    before = users(house)
    shown = ask(house, BOB | {"roles": ["technologist"], "scope": "modality=CT"})
    assert shown.status_code == 200, shown.text
    assert '<li class="gains"><strong>gains</strong>: ask whether' in shown.text
    assert "store images" in shown.text
    assert '<li class="loses"><strong>loses</strong>: break the glass' in shown.text
    assert "modality=CT" in shown.text
    assert 'data-problems="0"' in shown.text
    assert users(house) == before
    same = ask(house, BOB)
    assert "Nobody gains or loses anything." in same.text


def test_what_saving_would_refuse_the_preview_says(house: House) -> None:
    expecting(house, EXPECT)
    shown = ask(house, BOB | {"roles": ["administrator"]})
    assert "bob never runs the node" in shown.text
    assert 'data-problems="1"' in shown.text
    saved = house.post(
        "ada",
        "/api/users/bob/change",
        {"roles": ["administrator"], "scope": "everything"},
    )
    assert saved.status_code == 400
    wrongs: list[dict[str, Any]] = [
        {"roles": ["no such"]},
        {"roles": []},
        {"roles": ["administrator", "radiologist"]},
        {"scope": "nothing of the kind"},
        {"scope": ""},
        {"name": "ada"},  # herself
        {"is_new": "1", "name": HOSTILE},
    ]
    for wrong in wrongs:
        shown = ask(house, BOB | wrong)
        assert shown.status_code == 200, wrong
        assert 'data-problems="0"' not in shown.text, wrong
        assert "<script>" not in shown.text


def test_a_new_user_gains_what_the_roles_give(house: House) -> None:
    form = BOB | {"name": "new", "is_new": "1", "roles": ["privacy"]}
    shown = ask(house, form)
    assert "read the audit record; review broken glass" in shown.text
    assert "new" not in users(house)


def test_a_preview_is_for_who_administers_and_from_here(house: House) -> None:
    assert ask(house, BOB, who="paul").status_code == 403
    assert ask(house, BOB, origin="https://evil.example").status_code == 403
    assert house.get("paul", "/people").status_code == 403
    assert ask(house, BOB | {"name": "nobody"}).status_code == 404
    huge = BOB | {"scope": "x" * 300_000}
    assert ask(house, huge).status_code == 413
    many = {f"field{each}": "1" for each in range(40)}
    assert ask(house, many).status_code == 400


def test_names_are_text_and_secrets_are_not_on_the_page(house: House) -> None:
    new = NewUser("eve", ("radiologist",), HOSTILE)
    secret, _ = house.node.accounts.add_user(house.node.operator, new, EVERYTHING)
    page = house.get("ada", "/people")
    assert page.status_code == 200
    assert "&lt;script&gt;alert(1)" in page.text
    assert "<script>" not in page.text
    assert secret not in page.text
    for name, state in (("eve", "not enrolled yet"), ("bob", "active")):
        assert state in page.text.partition(f'data-name="{name}"')[2]
    own = page.text.partition('<tr data-name="ada"')[2].partition("</tr>")[0]
    assert "<button" not in own


def test_states_and_proofs_stand_on_the_page(house: House) -> None:
    house.node.accounts.disable_user(house.node.operator, "bob")
    page = house.get("ada", "/people").text
    row = page.partition('<tr data-name="bob"')[2].partition("</tr>")[0]
    assert "disabled" in row
    assert 'data-act="enable"' in row
    assert 'data-act="disable"' not in row


def test_who_is_logged_out_everywhere_logs_in_again(house: House) -> None:
    assert house.get("bob", "/studies").status_code == 200
    path = "/api/users/bob/end-sessions"
    assert house.post("paul", path, {}).status_code == 403
    assert house.get("bob", "/studies").status_code == 200
    told = house.post("ada", path, {"reason": "left the screen"})
    assert (told.status_code, told.json()["status"]) == (200, "active")
    assert house.get("bob", "/studies").status_code in {303, 401}
    [*_, record] = house.node.audit.list(Search(user="ada"))
    details = dict(record.event.objects[0].details)
    assert details["Alert Description"] == "user's sessions ended"
    assert details["reason"] == "left the screen"
