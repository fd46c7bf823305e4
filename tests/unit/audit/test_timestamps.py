"""Time stamps of an authority: taken if they hold, kept, given along, and attacked."""

import json
import shutil
from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st

from leadglass.audit.evidence import verify
from leadglass.audit.evidence.selection import Selection
from leadglass.audit.evidence.verify import certificate_of, stamp_of, stamped
from leadglass.audit.timestamps import request, timestamp_of, token_in
from leadglass.errors import BadData, Damaged
from tests.support.tsa import DAY, STAMPING, Tsa, openssl_ts
from tests.unit.audit.surroundings import Home, fill
from tests.unit.audit.test_evidence import KEY, bare, evidence, run, sign_again, wrong

__all__ = ["bare"]

DIGEST = sha256(b"a checkpoint").digest()


@pytest.fixture(scope="module")
def tsa(tmp_path_factory: pytest.TempPathFactory) -> Tsa:
    key = rsa.generate_private_key(65537, key_size=2048)
    return Tsa(tmp_path_factory.mktemp("tsa"), key=key)


@pytest.fixture(scope="module")
def token(tsa: Tsa) -> bytes:
    return token_in(tsa.reply(request(DIGEST, 7)))


# ── what is asked, as another program reads it ───────────────────────────────


SHOWN = {None: "unspecified", 127: "0x7F", 128: "0x80", 2**64 - 1: "0xFFFFFFFFFFFFFFFF"}


@pytest.mark.parametrize("nonce", SHOWN)
def test_a_request_is_read_by_openssl(nonce: int | None, tmp_path: Path) -> None:
    path = tmp_path / "request"
    path.write_bytes(request(DIGEST, nonce))
    told = openssl_ts("-query", "-in", path, "-text")
    assert "Hash Algorithm: sha256" in told
    assert f"Nonce: {SHOWN[nonce]}" in told
    assert "Certificate required: yes" in told


# ── what is given, by authorities of every kind ──────────────────────────────

KINDS: list[dict[str, Any]] = [
    {},
    {"has_chain": True},
    {"named": "sha1"},
    {"named": "sha512", "digest": "sha512"},
    {"key": rsa.generate_private_key(65537, key_size=2048)},
    {"key": ec.generate_private_key(ec.SECP384R1()), "digest": "sha384"},
]


@pytest.mark.parametrize("kind", KINDS)
def test_a_token_holds_under_its_certificate(
    kind: dict[str, Any], tmp_path: Path
) -> None:
    tsa = Tsa(tmp_path, **kind)
    reply = tsa.reply(request(DIGEST, 2**63))
    stamp = stamp_of(token_in(reply), tsa.certificate)
    assert (stamp.digest, stamp.nonce) == (DIGEST, 2**63)
    now_us = datetime.now(UTC).timestamp() * 1e6
    assert abs(stamp.time_us - now_us) < 60e6
    openssl_ts(  # the other program agrees
        *("-verify", "-digest", DIGEST.hex(), "-in", tsa.folder / "reply"),
        *("-CAfile", tsa.ca_file),
    )


def test_a_certificate_is_pem_or_der(tsa: Tsa) -> None:
    der = tsa.certificate.public_bytes(Encoding.DER)
    assert certificate_of(der) == certificate_of(tsa.file.read_bytes())


# ── attacks ──────────────────────────────────────────────────────────────────

AUTHORITIES: list[tuple[dict[str, Any], str]] = [
    ({"begins": DAY / 2}, "not valid at the time"),
    ({"begins": -3 * DAY}, "not valid at the time"),
    ({"key": rsa.generate_private_key(65537, key_size=1024)}, "not supported"),
]


@pytest.mark.parametrize(("kind", "told"), AUTHORITIES)
def test_an_authority_that_cannot_be_one_is_refused(
    kind: dict[str, Any], told: str, tmp_path: Path
) -> None:
    tsa = Tsa(tmp_path, **kind)
    made = token_in(tsa.reply(request(DIGEST)))
    with pytest.raises(verify.Wrong, match=told):
        stamp_of(made, tsa.certificate)


@pytest.mark.parametrize(
    ("purposes", "is_critical"),
    [
        (STAMPING, False),
        ((*STAMPING, ExtendedKeyUsageOID.SERVER_AUTH), True),
        ((ExtendedKeyUsageOID.SERVER_AUTH,), True),
    ],
)
def test_a_certificate_for_anything_else_is_refused(
    purposes: tuple[Any, ...], is_critical: bool, tmp_path: Path
) -> None:
    made = Tsa(tmp_path, purposes=purposes, is_critical=is_critical)
    now_us = int(datetime.now(UTC).timestamp() * 1_000_000)
    with pytest.raises(verify.Wrong, match="for time stamps alone"):
        verify.check_authority(made.certificate, now_us)


def test_another_authority_is_refused(token: bytes, tmp_path: Path) -> None:
    other = Tsa(tmp_path)
    with pytest.raises(verify.Wrong, match="another authority"):
        stamp_of(token, other.certificate)


def _or_nothing(token: bytes, tsa: Tsa) -> object:
    try:
        return timestamp_of(token, [], tsa.file.read_bytes())
    except Damaged as error:
        # With no checkpoint to be of, one that holds is told like this.
        return "holds" if "no checkpoint" in str(error) else None


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_what_was_changed_never_says_something_else(
    tsa: Tsa, token: bytes, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(token) * 8 - 1))
    changed = bytearray(token)
    changed[at // 8] ^= 1 << at % 8
    if _or_nothing(bytes(changed), tsa) is not None:
        # What is not signed, such as the certificates that came along.
        assert stamp_of(bytes(changed), tsa.certificate) == stamp_of(
            token, tsa.certificate
        )


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_what_is_cut_or_grown_is_none(
    tsa: Tsa, token: bytes, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(token) - 1))
    assert _or_nothing(token[:at], tsa) is None
    assert (
        _or_nothing(token + data.draw(st.binary(min_size=1, max_size=8)), tsa) is None
    )


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x30\x80\x00\x00",  # an indefinite length
        b"\x30\x81\x05\x02\x01\x00\x05\x00",  # a longer length than needed
        b"\x30\x84\xff\xff\xff\xff",
        b"\x30\x85\x01\x00\x00\x00\x00",
        b"\x1f\x81\x00\x00",
        b"\x30\x03\x02\x01\x02",  # rejected
        b"\x30\x05\x30\x03\x02\x01\x02",  # rejected, as RFC 3161 writes it
        b"\x30\x05\x30\x03\x02\x01\x00",  # granted, and nothing there
        b"\x00" * 70_000,
    ],
)
def test_a_reply_that_gives_nothing_is_none(data: bytes) -> None:
    with pytest.raises(BadData):
        token_in(data)


def test_the_answer_to_another_question_is_refused(tsa: Tsa, token: bytes) -> None:
    with pytest.raises(Damaged, match="another question"):
        timestamp_of(token, [], tsa.file.read_bytes(), nonce=8)
    with pytest.raises(BadData, match="not the certificate"):
        timestamp_of(token, [], b"nonsense")


# ── a log with time stamps ───────────────────────────────────────────────────


@pytest.fixture
def home(tmp_path: Path) -> Home:
    (tmp_path / "log").mkdir()
    home = Home(tmp_path / "log")
    home.prepare()
    return home


def test_a_stamp_is_kept_and_goes_along_with_evidence(
    home: Home, tsa: Tsa, bare: Path, tmp_path: Path
) -> None:
    with home.database() as database:
        log = home.over(database)
        fill(log, database, 300)
        note = log.to_stamp()
        reply = tsa.reply(request(stamped(note)))
        fill(log, database, 10)
        taken = log.take_timestamp(reply, tsa.file.read_bytes())
        log.take_timestamp(reply, tsa.file.read_bytes())  # again: once
        assert [each.size for each in log.timestamps()] == [taken.size] == [300]
        assert log.verify().is_intact
        folder = tmp_path / "evidence"
        evidence(log, folder, Selection(numbers=(5,)))
        log.close()
    assert verify.check(folder).wrong == []
    done = run(bare, folder, "--key", KEY, "--tsa", tsa.file)
    assert done.returncode == 0, done.stdout
    assert "stamped by an authority: 300 records were signed by 20" in done.stdout
    assert "CN=a TSA" in done.stdout
    other = Tsa(tmp_path / "other")
    done = run(bare, folder, "--key", KEY, "--tsa", other.file)
    assert (done.returncode, "did not give" in done.stdout) == (1, True)
    attack(folder, tsa)


def attack(folder: Path, tsa: Tsa) -> None:
    """Put other stamps into a folder whose manifest is signed again."""
    path = folder / verify.STAMPS
    good = path.read_text()

    def put(change: Callable[[dict[str, Any]], Any]) -> str:
        members = json.loads(good)
        change(members)
        path.write_text(json.dumps(members) + "\n")
        sign_again(folder)
        return wrong(folder)

    foreign = b64encode(token_in(tsa.reply(request(DIGEST)))).decode()
    assert "no checkpoint" in put(lambda members: members.update(token=foreign))
    cut = b64encode(b64decode(json.loads(good)["token"])[:-1]).decode()
    assert "not DER" in put(lambda members: members.update(token=cut))
    assert "Time stamps".lower() in put(lambda members: members.pop("tsa"))


def test_stamps_of_nothing_here_and_changed_ones_are_found(
    home: Home, tsa: Tsa
) -> None:
    with home.database() as database:
        log = home.over(database)
        fill(log, database, 20)
        foreign = tsa.reply(request(DIGEST))
        with pytest.raises(Damaged, match="no checkpoint of this log"):
            log.take_timestamp(foreign, tsa.file.read_bytes())
        assert list(log.timestamps()) == []
        reply = tsa.reply(request(stamped(log.to_stamp())))
        log.take_timestamp(reply, tsa.file.read_bytes())
        (path,) = home.folder.rglob("timestamps")
        kept = path.read_text()
        members = json.loads(kept)
        members["token"] = b64encode(token_in(foreign)).decode()
        for said, text in (
            ("another checkpoint", json.dumps(members) + "\n"),
            ("damaged", "{}\n"),
            ("damaged", kept[:-20]),
        ):
            path.write_text(text)
            found = log.verify().findings
            assert [each.kind for each in found] == ["checkpoint"]
            assert said in found[0].text
        path.write_text(kept)
        assert log.verify().is_intact
        log.close()


def test_a_log_that_was_rolled_back_behind_a_stamp_is_found(
    home: Home, tsa: Tsa, tmp_path: Path
) -> None:
    with home.database() as database:
        log = home.over(database)
        fill(log, database, 20)
        log.close()
        older = Home(tmp_path / "older", home.clock)
        shutil.copytree(home.folder, older.folder)
        log = home.over(database)
        fill(log, database, 20)
        reply = tsa.reply(request(stamped(log.to_stamp())))
        log.take_timestamp(reply, tsa.file.read_bytes())
        log.close()
    (path,) = home.folder.rglob("timestamps")
    older.folder.joinpath(path.relative_to(home.folder)).write_text(path.read_text())
    with older.database() as database:
        found = older.over(database).verify().findings
    assert [each.kind for each in found] == ["rollback"]
    assert "time-stamped checkpoint 1" in found[0].text


def test_a_time_is_read_as_it_is_written() -> None:
    began = verify.stamped_at("20270131235959.25Z")
    moment = datetime(2027, 1, 31, 23, 59, 59, 250_000, tzinfo=UTC)
    assert datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=began) == moment
    for text in ("20270131235959", "20270131235959+0100", "2027013123595Z", "x" * 15):
        with pytest.raises(verify.Wrong):
            verify.stamped_at(text)
