"""Devices and doors over a real node: who may, and what hostile input finds."""

import io
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from leadglass.audit.codes import EventType
from leadglass.audit.search import Search
from leadglass.identity.device import Device, PlaintextRequest, parse_device
from leadglass.identity.people.secondfactor import Factor
from leadglass.servers.http.authentication import SESSION_COOKIE
from tests.unit.servers.api.conftest import House

HOSTILE = "<script>alert(1)</script>\"'&"
FORM = "application/x-www-form-urlencoded"
CT1 = {"name": "CT1", "titles": "CT1", "networks": "10.4.0.7", "rights": "store"}


def ask(
    house: House,
    path: str,
    form: dict[str, Any] | None = None,
    *,
    cookie: str = "",
    origin: str = "",
) -> httpx.Response:
    headers = {
        "cookie": f"{SESSION_COOKIE}={cookie or house.cookies['ada']}",
        "origin": origin or house.running.base,
        "content-type": FORM,
    }
    content = urlencode(form or {}, doseq=True)
    return house.client.post(path, headers=headers, content=content)


def known(house: House) -> dict[str, Device]:
    with house.node.database.read() as connection:
        return {each.name: each for each in house.node.devices.list(connection)}


def stale(house: House) -> str:
    """Return a session of who administers, proven an hour ago."""

    def work(tx: Any) -> str:
        user = house.node.accounts.users.get(tx.connection, "ada")
        now = datetime.now(UTC)
        then = now - timedelta(hours=1)
        return house.node.sessions.create(tx, user, Factor.TOTP, None, now, then)[0]

    return house.node.database.write(work)


def test_a_device_is_enrolled_with_a_key_that_is_in_the_answer_alone(
    house: House,
) -> None:
    answer = ask(house, "/devices/enrol", CT1 | {"rights": ["store", "echo"]})
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert 'filename="CT1.zip"' in answer.headers["content-disposition"]
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    assert set(files) == {f"CT1/{each}.pem" for each in ("key", "cert", "ca")}
    certificate = x509.load_pem_x509_certificate(files["CT1/cert.pem"])
    key = load_pem_private_key(files["CT1/key.pem"], None)
    assert key.public_key() == certificate.public_key()
    device = known(house)["CT1"]
    assert device.certificate is not None
    assert device.certificate.serial == certificate.serial_number
    assert sorted(device.rights) == ["echo", "store"]
    renewed = ask(house, "/devices/CT1/renew")
    assert renewed.status_code == 200
    assert known(house)["CT1"].certificate != device.certificate
    for written in house.node.config.home.rglob("*"):
        if written.is_file():
            assert files["CT1/key.pem"] not in written.read_bytes()


def test_nothing_is_changed_without_a_fresh_proof_or_from_elsewhere(
    house: House,
) -> None:
    assert ask(house, "/devices/enrol", CT1).status_code == 200
    before = known(house)
    old, elsewhere = {"cookie": stale(house)}, {"origin": "https://evil.example"}
    for how in (old, elsewhere, {"cookie": house.cookies["paul"]}):
        for path, form in (
            ("/devices/enrol", CT1 | {"name": "CT2"}),
            ("/devices/CT1/renew", None),
            ("/devices/CT1/revoke", {"reason": "sold"}),
        ):
            assert ask(house, path, form, **how).status_code == 403, (path, how)
    assert known(house) == before


WRONG: list[dict[str, str]] = [
    {"name": ""},
    {"name": "../CT1"},
    {"name": 'CT1"; filename="x'},
    {"name": HOSTILE},
    {"titles": ""},
    {"titles": "A" * 17},
    {"networks": "0.0.0.0/0"},
    {"networks": "somewhere"},
    {"rights": "administer"},
    {"rights": ""},
    {"scope": "no=such;"},
    {"destination": "nowhere"},
    {"name": "N" * 65},
]


def test_what_cannot_be_is_not_enrolled(house: House) -> None:
    for wrong in WRONG:
        answer = ask(house, "/devices/enrol", CT1 | wrong)
        assert answer.status_code == 400, wrong
    assert known(house) == {}


def test_a_form_that_is_none_is_turned_away(house: House) -> None:
    headers = {
        "cookie": f"{SESSION_COOKIE}={house.cookies['ada']}",
        "origin": house.running.base,
        "content-type": FORM,
    }
    many = b"&".join(b"rights=store" for _ in range(100))
    for body, status in ((b"\xff=1", 400), (many, 400), (b"a" * 20_000, 413)):
        answer = house.client.post("/devices/enrol", headers=headers, content=body)
        assert answer.status_code == status
    assert ask(house, "/devices/nobody/renew").status_code == 404
    assert ask(house, "/devices/nobody/revoke", {"reason": "x"}).status_code == 404
    assert ask(house, "/devices/%2e%2e/revoke", {"reason": "x"}).status_code == 404


def test_what_others_call_themselves_is_text(house: House) -> None:
    titles = CT1 | {"titles": "<script>a&b"}
    assert ask(house, "/devices/enrol", titles).status_code == 200
    page = house.get("ada", "/devices")
    assert "&lt;script&gt;a&amp;b" in page.text
    assert ask(house, "/devices/CT1/revoke", {"reason": ""}).status_code == 400
    assert ask(house, "/devices/CT1/revoke", {"reason": HOSTILE}).status_code == 204
    page = house.get("ada", "/devices")
    assert "&lt;script&gt;alert(1)" in page.text
    assert "<script>" not in page.text


def test_an_exception_is_red_with_its_reason_and_days(
    house: House, tmp_path: Path
) -> None:
    assert 'class="warning" id="verdict"' not in house.get("ada", "/doors").text
    now = datetime.now(UTC)
    device = parse_device(
        name="OLD-US",
        ae_titles=["OLDUS"],
        networks=[],
        rights=["store"],
        now=now,
        has_tls=False,
        unsafe_plaintext=PlaintextRequest(
            address="10.4.0.9", reason=HOSTILE, not_after=now + timedelta(days=9.5)
        ),
    )
    house.node.registrar.enrol(house.node.operator, device, tmp_path)
    page = house.get("ada", "/doors").text
    assert 'class="warning" id="verdict"' in page
    assert "OLD-US" in page
    assert '<td class="number">9</td>' in page
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>" not in page


def test_who_reads_who_is_logged_in_is_on_the_record(house: House) -> None:
    page = house.get("ada", "/doors")
    assert page.status_code == 200
    for name in ("ada", "alice", "paul"):
        assert name in page.text
    told = [
        each.event
        for each in house.node.audit.list(Search())
        if ("Alert Description", "open sessions read") in each.event.objects[0].details
    ]
    assert len(told) == 1
    assert told[0].types == (EventType.USE_OF_RESTRICTED_FUNCTION,)
    assert told[0].participants[0].user_id == "ada"
    assert house.get("paul", "/doors").status_code == 403
