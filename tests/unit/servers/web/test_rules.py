"""The page of rules over a real node: what stands, what would be, and who lies."""

import errno
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from leadglass.access.policy import Kind, Subject
from leadglass.access.rights import Right
from leadglass.archive.rulebook import digest_of
from leadglass.audit.codes import EventType, Outcome
from leadglass.audit.search import Search
from leadglass.identity.people.secondfactor import Factor
from leadglass.servers.http.authentication import SESSION_COOKIE
from tests.unit.servers.api.conftest import House

FORM = "application/x-www-form-urlencoded"
HOSTILE = "<script>alert(1)</script>'&"
ERASES = """\
[[rule]]
name = "bob erases"
operators = ["bob"]
rights = ["erase"]
from = ["10.4.0.0/24"]
reason = "retention"
"""
FORBIDDEN = (
    ERASES
    + """
[[expect]]
name = "bob never erases"
operator = "bob"
right = "erase"
from = "10.4.0.7"
allowed = false
"""
)
QUESTION = {"kind": "operator", "name": "Bob", "right": "erase", "from": "10.4.0.7"}
EMPTY = digest_of("")


def ask(
    house: House,
    path: str,
    form: Mapping[str, Any],
    *,
    cookie: str = "",
    origin: str = "",
) -> httpx.Response:
    headers = {
        "cookie": f"{SESSION_COOKIE}={cookie or house.cookies['ada']}",
        "origin": origin or house.running.base,
        "content-type": FORM,
    }
    content = urlencode(form, doseq=True)
    return house.client.post(f"/rules/{path}", headers=headers, content=content)


def save(house: House, text: str, digest: str = EMPTY, **more: str) -> httpx.Response:
    return ask(house, "save", {"text": text, "digest": digest}, **more)


def stale(house: House) -> str:
    """Return a session of who administers, proven an hour ago."""

    def work(tx: Any) -> str:
        user = house.node.accounts.users.get(tx.connection, "ada")
        now = datetime.now(UTC)
        then = now - timedelta(hours=1)
        return house.node.sessions.create(tx, user, Factor.TOTP, None, now, then)[0]

    return house.node.database.write(work)


def path_of(house: House) -> Path:
    return house.node.layout.rules


def told(house: House, description: str) -> list[Any]:
    return [
        each.event
        for each in house.node.audit.list(Search())
        if each.event.objects
        and ("Alert Description", description) in each.event.objects[0].details
    ]


def may_erase(house: House) -> bool:
    rules = house.node.rulebook.rules(Subject(Kind.OPERATOR, "bob"))
    return any(Right.ERASE in each.rights for each in rules if each.networks)


def test_what_a_text_would_mean_is_shown_and_not_written(house: House) -> None:
    shown = ask(house, "preview", {"text": ERASES})
    assert shown.status_code == 200
    assert "bob erases: retention" in shown.text
    assert "<strong>gains</strong>: destroy studies" in shown.text
    assert 'data-problems="0"' in shown.text
    assert not path_of(house).exists()
    assert not may_erase(house)


def test_a_problem_is_told_with_line_and_remedy(house: House) -> None:
    shown = ask(house, "preview", {"text": ERASES.replace("rights", "right")})
    assert "rules.toml line 4" in shown.text
    assert "right is no key here; use name" in shown.text
    shown = ask(house, "preview", {"text": f'[[rule]\nname = "{HOSTILE}"'})
    assert "not TOML" in shown.text
    shown = ask(house, "preview", {"text": ERASES.replace("retention", HOSTILE)})
    assert "&lt;script&gt;" in shown.text
    assert "<script>" not in shown.text


def test_what_is_saved_is_in_force_at_once_and_on_the_record_once(
    house: House,
) -> None:
    assert save(house, ERASES).status_code == 204
    assert may_erase(house)
    assert path_of(house).read_text("utf-8") == ERASES
    assert path_of(house).stat().st_mode & 0o777 == 0o600
    [event] = told(house, "rules changed")
    assert event.types == (EventType.SECURITY_ROLES_CHANGED,)
    assert event.participants[0].user_id == "ada"
    details = dict(event.objects[0].details)
    assert details["sha256"] == digest_of(ERASES)
    assert details["sha256_before"] == EMPTY
    assert not house.node.rulebook.reload_if_changed()
    # The same again is no change.
    assert save(house, ERASES, digest_of(ERASES)).status_code == 204
    assert len(told(house, "rules changed")) == 1
    page = house.get("ada", "/rules").text
    assert "bob erases" in page
    assert f'data-digest="{digest_of(ERASES)}"' in page


def test_the_mode_and_ends_of_lines_stay_as_they_are(house: House) -> None:
    path_of(house).write_text(ERASES, "utf-8")
    path_of(house).chmod(0o640)
    assert house.node.rulebook.reload_if_changed()
    other = ERASES.replace("retention", "Löschfrist").replace("\n", "\r\n")
    assert save(house, other, digest_of(ERASES)).status_code == 204
    assert path_of(house).stat().st_mode & 0o777 == 0o640
    assert b"\r" not in path_of(house).read_bytes()


def test_a_file_that_was_changed_meanwhile_is_not_replaced(house: House) -> None:
    theirs = ERASES.replace("10.4.0.0/24", "10.4.9.0/24")
    path_of(house).write_text(theirs, "utf-8")
    answer = save(house, ERASES)
    assert answer.status_code == 409
    assert "changed meanwhile" in answer.json()["detail"]
    assert path_of(house).read_text("utf-8") == theirs
    for digest in ("", "x", digest_of(ERASES)):
        assert save(house, ERASES, digest).status_code == 409


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (FORBIDDEN, "bob never erases"),
        ("[[rule]]\n", "name is missing"),
        (ERASES.replace('"bob"', '"ada"'), "nobody changes what he himself may do"),
    ],
)
def test_what_must_not_be_never_replaces_the_good_one(
    house: House, text: str, said: str
) -> None:
    assert save(house, ERASES).status_code == 204
    shown = ask(house, "preview", {"text": text})
    assert said in shown.text
    assert 'data-problems="0"' not in shown.text
    assert save(house, text, digest_of(ERASES)).status_code in {400, 403}
    assert path_of(house).read_text("utf-8") == ERASES
    assert may_erase(house)
    assert len(told(house, "rules changed")) == 1


def test_nobody_saves_without_a_fresh_proof_or_from_elsewhere(house: House) -> None:
    for how in (
        {"cookie": stale(house)},
        {"origin": "https://evil.example"},
        {"cookie": house.cookies["paul"]},
    ):
        assert save(house, ERASES, **how).status_code == 403
    assert not path_of(house).exists()
    elsewhere = {"origin": "https://evil.example"}
    for path, form in (("ask", QUESTION), ("preview", {"text": ERASES})):
        assert ask(house, path, form, **elsewhere).status_code == 403
        paul = {"cookie": house.cookies["paul"]}
        assert ask(house, path, form, **paul).status_code == 403
    assert house.get("paul", "/rules").status_code == 403


def test_what_is_too_long_is_turned_away(house: House) -> None:
    long = "#" * (256 * 1024 + 1)
    assert save(house, long).status_code == 413
    assert ask(house, "preview", {"text": long}).status_code == 413
    assert save(house, "#" * 1_000_000).status_code == 413
    assert ask(house, "ask", {"name": "x" * 5000}).status_code == 413


def test_what_the_rules_answer_and_why(house: House) -> None:
    path_of(house).write_text(ERASES, "utf-8")
    assert house.node.rulebook.reload_if_changed()
    answer = ask(house, "ask", QUESTION)
    assert '<strong class="good">yes</strong>' in answer.text
    assert "allowed by &#39;bob erases&#39;" in answer.text
    away = ask(house, "ask", QUESTION | {"from": "10.5.0.7"})
    assert '<strong class="bad">no</strong>' in away.text
    assert "no rule allows it from 10.5.0.7" in away.text
    nowhere = ask(house, "ask", QUESTION | {"study": "1.2.3.4"})
    assert "none of the rules reaches it, or it is not here" in nowhere.text
    events = told(house, "rules asked")
    assert len(events) == 3
    assert ("study", "1.2.3.4") in events[-1].objects[0].details
    for wrong in (
        {"kind": "king"},
        {"right": "everything"},
        {"name": ""},
        {"name": "a\x07b"},
        {"name": "x" * 65},
        {"from": "example.org"},
        {"study": "not a uid"},
    ):
        refused = ask(house, "ask", QUESTION | wrong)
        assert refused.status_code == 400, wrong
    shown = ask(house, "ask", QUESTION | {"name": HOSTILE})
    assert shown.status_code == 200
    assert "<script>" not in shown.text


def test_a_bad_file_on_the_disk_is_told_and_can_be_mended(house: House) -> None:
    assert save(house, ERASES).status_code == 204
    path_of(house).write_text("[[rule]]\n", "utf-8")
    page = house.get("ada", "/rules").text
    assert 'id="not-in-force"' in page
    assert "name is missing" in page
    assert "bob erases" in page
    assert save(house, ERASES, digest_of("[[rule]]\n")).status_code == 204
    assert 'id="not-in-force"' not in house.get("ada", "/rules").text


def test_a_disk_that_fails_leaves_the_old_rules_and_says_so(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert save(house, ERASES).status_code == 204

    def fails(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    other = ERASES.replace("10.4.0.0/24", "10.4.0.0/25")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", fails)
        assert save(house, other, digest_of(ERASES)).status_code == 503
    assert path_of(house).read_text("utf-8") == ERASES
    assert not list(path_of(house).parent.glob(".rules.toml.*"))
    assert may_erase(house)
    outcomes = [each.outcome for each in told(house, "rules changed")]
    assert outcomes[-1] is Outcome.SERIOUS_FAILURE
    assert save(house, other, digest_of(ERASES)).status_code == 204


def test_a_link_is_not_replaced(house: House, tmp_path: Path) -> None:
    kept = tmp_path / "kept.toml"
    kept.write_text(ERASES, "utf-8")
    path_of(house).symlink_to(kept)
    assert house.node.rulebook.reload_if_changed()
    other = ERASES.replace("retention", "other")
    answer = save(house, other, digest_of(ERASES))
    assert answer.status_code == 400
    assert "is a link" in answer.json()["detail"]
    assert path_of(house).is_symlink()
    assert kept.read_text("utf-8") == ERASES
