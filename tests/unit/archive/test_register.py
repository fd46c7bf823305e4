"""Changing the register: the change and its record, together or not at all."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from leadglass.access.rights import Right
from leadglass.archive.caller import Caller, Gate
from leadglass.archive.parts import Parts
from leadglass.archive.register import Registrar
from leadglass.archive.rulebook import RuleBook
from leadglass.errors import Misconfigured, NotFound, Refused, Unavailable
from leadglass.identity.authority import Authority
from leadglass.identity.device import Device, Status, fingerprint, parse_device
from leadglass.identity.devices import Devices
from tests.unit.archive.conftest import OPERATOR, Home
from tests.unit.archive.rig import alerts, events, on, quiet_disk

SEAL_KEY = bytes(range(32))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    folder = tmp_path_factory.mktemp("once") / "authority"
    return Authority.create(folder, SEAL_KEY, ["localhost"])


@pytest.fixture
def devices(parts: Parts) -> Devices:
    return Devices(parts.database, clock=lambda: 0.0)


@pytest.fixture
def registrar(parts: Parts, devices: Devices, authority: Authority) -> Registrar:
    return Registrar(parts, devices, authority)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "for the device"


def device(name: str = "CT1", rights: tuple[str, ...] = ("store",)) -> Device:
    return parse_device(
        name=name,
        ae_titles=[name],
        networks=["10.4.0.0/24"],
        rights=rights,
        now=datetime.now(UTC),
    )


def known(registrar: Registrar) -> dict[str, Device]:
    with registrar.parts.database.read() as connection:
        return {each.name: each for each in registrar.devices.list(connection)}


def test_a_device_is_enrolled_with_key_and_record(
    home: Home, registrar: Registrar, out: Path
) -> None:
    enrolled = registrar.enrol(OPERATOR, device(), out)
    assert known(registrar) == {"CT1": enrolled}
    certificate = x509.load_pem_x509_certificate((out / "cert.pem").read_bytes())
    assert enrolled.certificate is not None
    shown = fingerprint(certificate.public_bytes(Encoding.DER))
    assert enrolled.certificate.fingerprint_sha256 == shown
    key = load_pem_private_key((out / "key.pem").read_bytes(), None)
    assert key.public_key() == certificate.public_key()
    assert (out / "key.pem").stat().st_mode & 0o777 == 0o600
    (event,) = events(home)
    facts = dict(event.objects[0].details)
    assert facts["Alert Description"] == "device enrolled"
    assert facts["certificate"] == shown
    assert (facts["rights"], facts["networks"]) == ("store", "10.4.0.0/24")
    assert set(event.types) == {"110137", "110136"}


def test_a_folder_in_use_stops_it_before_anything(
    home: Home, registrar: Registrar, out: Path
) -> None:
    out.mkdir()
    (out / "key.pem").write_text("another's")
    with pytest.raises(Misconfigured, match="name another folder"):
        registrar.enrol(OPERATOR, device(), out)
    assert not known(registrar)
    assert not events(home)
    assert (out / "key.pem").read_text() == "another's"


def test_a_name_in_use(home: Home, registrar: Registrar, out: Path) -> None:
    registrar.enrol(OPERATOR, device(), out)
    before = known(registrar)
    with pytest.raises(Misconfigured, match="enrolled already"):
        registrar.enrol(OPERATOR, device("ct1"), out / "other")
    assert known(registrar) == before
    assert len(events(home)) == 1


def test_rights_are_changed_at_once(
    home: Home, registrar: Registrar, out: Path
) -> None:
    enrolled = registrar.enrol(OPERATOR, device(), out)
    wanted = replace(enrolled, rights=device(rights=("find",)).rights)
    assert registrar.change(OPERATOR, wanted).rights == {"find"}
    assert known(registrar)["CT1"].certificate == enrolled.certificate
    facts = dict(events(home)[-1].objects[0].details)
    assert (facts["Alert Description"], facts["rights"]) == ("device changed", "find")


def test_a_renewed_device_has_a_new_certificate_and_the_old_for_some_days(
    home: Home, registrar: Registrar, out: Path
) -> None:
    old = registrar.enrol(OPERATOR, device(), out).certificate
    new = registrar.renew(OPERATOR, "CT1", out).certificate
    assert old is not None
    assert new is not None
    assert new.serial != old.serial
    certificate = x509.load_pem_x509_certificate((out / "cert.pem").read_bytes())
    assert certificate.serial_number == new.serial
    with registrar.parts.database.read() as connection:
        still = registrar.devices.by_fingerprint(connection, old.fingerprint_sha256)
    assert still is not None
    assert still.refusal(datetime.now(UTC)) is None
    assert alerts(home)[-1][1] == "device renewed"


def test_a_revoked_device_is_on_the_list_and_on_the_record(
    home: Home, registrar: Registrar, out: Path
) -> None:
    certificate = registrar.enrol(OPERATOR, device(), out).certificate
    assert certificate is not None
    revoked = registrar.revoke(OPERATOR, "CT1", "stolen")
    assert revoked.status is Status.REVOKED
    assert certificate.serial in registrar.authority.revoked_serials()
    facts = dict(events(home)[-1].objects[0].details)
    assert (facts["Alert Description"], facts["reason"]) == (
        "device revoked",
        "stolen",
    )
    with pytest.raises(Misconfigured):
        registrar.revoke(OPERATOR, "CT1", "stolen")


@pytest.mark.parametrize("reason", ["", " "])
def test_a_revocation_has_a_reason(
    home: Home, registrar: Registrar, out: Path, reason: str
) -> None:
    registrar.enrol(OPERATOR, device(), out)
    with pytest.raises(Misconfigured, match="reason"):
        registrar.revoke(OPERATOR, "CT1", reason)
    assert known(registrar)["CT1"].status is Status.ACTIVE
    assert len(events(home)) == 1


CT1_LOOKS_AT_NOTHING = """
[[expect]]
name = "the scanner fetches nothing"
device = "CT1"
right = "get"
from = "10.4.0.7"
allowed = false
"""


@pytest.fixture
def held(home: Home, parts: Parts, devices: Devices, authority: Authority) -> Registrar:
    """A registrar whose changes are held against a rule file."""
    path = home.folder / "rules.toml"
    path.write_text(CT1_LOOKS_AT_NOTHING)
    book = RuleBook(path, devices, OPERATOR.subject)
    kept = replace(parts, gate=Gate(home.rules, book.keep))
    return Registrar(kept, devices, authority)


def test_a_device_that_an_expectation_forbids_gets_neither_key_nor_entry(
    home: Home, held: Registrar, out: Path
) -> None:
    with pytest.raises(Misconfigured, match="the scanner fetches nothing"):
        held.enrol(OPERATOR, device(rights=("store", "get")), out)
    assert (known(held), out.exists(), events(home)) == ({}, False, [])
    # It is about this one, from there: others, and other rights, are not meant.
    held.enrol(OPERATOR, device("CT2", ("store", "get")), out / "other")
    held.enrol(OPERATOR, device(), out)
    assert set(known(held)) == {"CT1", "CT2"}


def test_rights_that_an_expectation_forbids_are_not_given_later(
    home: Home, held: Registrar, out: Path
) -> None:
    enrolled = held.enrol(OPERATOR, device(), out)
    before = len(events(home))
    more = replace(enrolled, rights=frozenset({Right.STORE, Right.GET}))
    with pytest.raises(Misconfigured, match="the scanner fetches nothing"):
        held.change(OPERATOR, more)
    assert known(held) == {"CT1": enrolled}
    assert len(events(home)) == before
    held.revoke(OPERATOR, "CT1", "gone")  # who must go goes


def test_nobody_is_changed_who_is_not_there(
    home: Home, registrar: Registrar, out: Path
) -> None:
    with pytest.raises(NotFound):
        registrar.change(OPERATOR, device())
    with pytest.raises(NotFound):
        registrar.renew(OPERATOR, "CT1", out)
    with pytest.raises(NotFound):
        registrar.revoke(OPERATOR, "CT1", "stolen")
    assert not events(home)
    assert not out.exists()


def test_who_may_not_changes_nothing_and_is_on_the_record(
    home: Home, registrar: Registrar, out: Path, stranger: Caller
) -> None:
    attempts: tuple[Callable[[], object], ...] = (
        lambda: registrar.enrol(stranger, device(), out),
        lambda: registrar.change(stranger, device()),
        lambda: registrar.renew(stranger, "CT1", out),
        lambda: registrar.revoke(stranger, "CT1", "stolen"),
    )
    for attempt in attempts:
        with pytest.raises(Refused, match=r"^not authorized$"):
            attempt()
    functions = [dict(each.objects[0].details)["function"] for each in events(home)]
    assert functions == [
        f"{what} a device" for what in ("enrol", "change", "renew", "revoke")
    ]
    assert not out.exists()
    assert not known(registrar)


def test_a_change_that_cannot_be_recorded_is_none(
    home: Home, registrar: Registrar, authority: Authority, out: Path
) -> None:
    registrar.enrol(OPERATOR, device(), out)
    before = known(registrar)
    with on(home, quiet_disk()) as rig:
        failing = Registrar(rig.parts, Devices(rig.parts.database), authority)
        attempts: tuple[Callable[[], object], ...] = (
            lambda: failing.enrol(OPERATOR, device("CT2"), out / "2"),
            lambda: failing.change(OPERATOR, device(rights=("find",))),
            lambda: failing.renew(OPERATOR, "CT1", out),
            lambda: failing.revoke(OPERATOR, "CT1", "stolen"),
        )
        for attempt in attempts:
            rig.database.fail_before = 1
            with pytest.raises(Unavailable):
                attempt()
    assert known(registrar) == before
    assert len(events(home)) == 1
    # The device's files are still those of the certificate that is in the register.
    certificate = x509.load_pem_x509_certificate((out / "cert.pem").read_bytes())
    expected = before["CT1"].certificate
    assert expected is not None
    assert certificate.serial_number == expected.serial
