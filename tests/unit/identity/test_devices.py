"""The register: what is written is what is answered, now and after a change."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from ipaddress import ip_address, ip_network
from itertools import count
from typing import TypeVar

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, MetaData, delete

from leadglass.access.policy import Kind, Subject
from leadglass.access.rights import Right
from leadglass.access.scopes import Scope
from leadglass.database.engine import Database, Transaction
from leadglass.database.tables import metadata
from leadglass.dicom.aetitle import AETitle
from leadglass.errors import Damaged, Misconfigured, NotFound
from leadglass.identity import tables
from leadglass.identity.certificates import Revoked
from leadglass.identity.devices import (
    REVISION_CHECK_S,
    Certificate,
    Destination,
    Device,
    Devices,
    NotAdmitted,
    UnsafePlaintext,
)

T = TypeVar("T")
NOW = datetime(2026, 3, 1, 12, 0, 0, 7, tzinfo=UTC)
A_DAY = timedelta(days=1)
HERE = ip_address("10.4.0.7")
SERIALS = count(1 << 158)


def certificate(der: bytes) -> Certificate:
    """What the register keeps of a certificate; its bytes do not matter to it."""
    return Certificate(
        fingerprint_sha256=sha256(der).hexdigest(),
        serial=next(SERIALS),
        not_before=NOW - A_DAY,
        not_after=NOW + 300 * A_DAY,
        accepted_until=NOW + 300 * A_DAY,
    )


def device(name: str = "CT1", **change: object) -> Device:
    whole: dict[str, object] = {
        "name": name,
        "ae_titles": (AETitle("CT1"),),
        "networks": (ip_network("10.4.0.0/24"), ip_network("fd00:4::/64")),
        "rights": frozenset({Right.STORE, Right.FIND}),
        "scope": Scope.parse("source=own;modality=CT"),
        "destination": Destination("ct1.example", 104),
        "certificate": certificate(name.encode()),
        "enrolled_at": NOW,
        **change,
    }
    return Device(**whole)  # type: ignore[arg-type]  # a table of changes


def plain_device(
    name: str = "OLD", title: str = "OLDUS", address: str = "10.4.0.9"
) -> Device:
    return Device(
        name=name,
        ae_titles=(AETitle(title),),
        networks=(ip_network(address),),
        rights=frozenset({Right.STORE}),
        enrolled_at=NOW,
        has_tls=False,
        unsafe_plaintext=UnsafePlaintext(
            address=ip_address(address),
            reason="no TLS in its firmware",
            granted_at=NOW,
            not_after=NOW + 30 * A_DAY,
        ),
    )


class Ticks:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def ticks() -> Ticks:
    return Ticks()


@pytest.fixture
def devices(database: Database, ticks: Ticks) -> Devices:
    return Devices(database, ticks)


@pytest.fixture
def write(database: Database) -> Callable[[Callable[[Transaction], object]], None]:
    def do(work: Callable[[Transaction], object]) -> None:
        database.write(work)

    return do


def read(database: Database, ask: Callable[[Connection], T]) -> T:
    with database.read() as connection:
        return ask(connection)


Write = Callable[[Callable[[Transaction], object]], None]


# ── kept ─────────────────────────────────────────────────────────────────────


def test_the_revision_makes_the_tables_of_the_program(database: Database) -> None:
    ours = {
        each.name
        for each in vars(tables).values()
        if hasattr(each, "primary_key") and hasattr(each, "name")
    } - {tables.people_revision.name}  # of people, whose revisions come later

    def differences(connection: Connection) -> list[object]:
        mine = MetaData(naming_convention=metadata.naming_convention)
        for table in metadata.sorted_tables:
            if table.name in ours:
                table.to_metadata(mine)
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return list(compare_metadata(context, mine))

    assert read(database, differences) == []


def test_what_is_enrolled_is_what_is_got(
    database: Database, devices: Devices, write: Write
) -> None:
    for each in (device(), plain_device(), device("CT2", scope=Scope())):
        write(lambda tx, each=each: devices.enrol(tx, each))  # type: ignore[misc]
        assert read(database, lambda c, each=each: devices.get(c, each.name)) == each  # type: ignore[misc]
    listed = read(database, devices.list)
    assert [each.name for each in listed] == ["CT1", "CT2", "OLD"]
    assert read(database, lambda c: devices.get(c, "ct1")).name == "CT1"
    with pytest.raises(NotFound):
        read(database, lambda c: devices.get(c, "CT9"))


@pytest.mark.parametrize(
    ("another", "problem"),
    [
        (device("CT1", certificate=certificate(b"x")), "name: CT1 is enrolled already"),
        (device("ct1", certificate=certificate(b"x")), "name: CT1 is enrolled already"),
        (plain_device("OLD2"), "OLDUS from 10.4.0.9 is device OLD already"),
        (device("CT3", certificate=None), "has none yet"),
        (device("CT3", certificate=device().certificate), "it is in the register"),
    ],
)
def test_clashes(devices: Devices, write: Write, another: Device, problem: str) -> None:
    write(lambda tx: devices.enrol(tx, device()))
    write(lambda tx: devices.enrol(tx, plain_device()))
    with pytest.raises(Misconfigured, match=problem):
        write(lambda tx: devices.enrol(tx, another))


def test_titles_may_be_shared_by_devices_that_prove_more(
    devices: Devices, write: Write
) -> None:
    write(lambda tx: devices.enrol(tx, device("CT1")))
    write(lambda tx: devices.enrol(tx, device("CT2")))
    write(lambda tx: devices.enrol(tx, plain_device("OLD", "CT1")))
    write(lambda tx: devices.enrol(tx, plain_device("OLD2", "CT1", "10.4.0.10")))
    write(lambda tx: devices.enrol(tx, plain_device("OLD3", "CT1B")))


# ── who is calling ───────────────────────────────────────────────────────────


def test_identify(devices: Devices, write: Write) -> None:
    write(lambda tx: devices.enrol(tx, device()))
    write(lambda tx: devices.enrol(tx, plain_device()))
    write(lambda tx: devices.enrol(tx, plain_device("OLD2", "OTHER")))
    old = ip_address("10.4.0.9")
    assert devices.identify(b"CT1", HERE).name == "CT1"
    assert devices.identify(b"CT1", old, AETitle("OLDUS")).name == "CT1"
    assert devices.identify(None, old, AETitle("OTHER")).name == "OLD2"
    assert devices.identify(None, ip_address("::ffff:10.4.0.9"), AETitle("OLDUS"))
    for proof, address, title, reason in (
        (b"CT9", HERE, None, "is of no enrolled device"),
        (b"", old, AETitle("OLDUS"), "is of no enrolled device"),
        (None, HERE, AETitle("CT1"), "no exception for plaintext from 10.4.0.7"),
        (None, old, AETitle("CT1"), "no one device .* as CT1"),
        (None, old, None, "no one device"),
    ):
        with pytest.raises(NotAdmitted) as caught:
            devices.identify(proof, address, title)
        assert str(caught.value) == "not admitted"
        assert re.search(reason, caught.value.reason)


def test_a_register_that_cannot_be_read_gives_no_old_answers(
    devices: Devices, write: Write, ticks: Ticks
) -> None:
    write(lambda tx: devices.enrol(tx, device()))
    assert devices.rules_for(Subject(Kind.DEVICE, "CT1"))
    write(lambda tx: tx.connection.execute(delete(tables.revision)))
    ticks.now_s += REVISION_CHECK_S
    for _ in range(2):
        with pytest.raises(Damaged):
            devices.rules_for(Subject(Kind.DEVICE, "CT1"))


# ── renewed, changed, revoked ────────────────────────────────────────────────


def test_after_a_renewal_the_old_certificate_works_on_for_a_while(
    database: Database, devices: Devices, write: Write
) -> None:
    write(lambda tx: devices.enrol(tx, device()))
    new = certificate(b"new")
    write(lambda tx: devices.renew(tx, "CT1", new, NOW, grace=2 * A_DAY))
    assert devices.identify(b"new", HERE).certificate == new
    old = devices.identify(b"CT1", HERE)
    assert old.refusal(NOW + A_DAY) is None
    assert "replaced" in (old.refusal(NOW + 3 * A_DAY) or "")
    got = read(database, lambda c: devices.get(c, "CT1"))
    assert got.certificate == new
    assert got.renewed_at == NOW
    # A later renewal does not prolong it.
    write(lambda tx: devices.renew(tx, "CT1", certificate(b"newer"), NOW + A_DAY))
    assert "replaced" in (devices.identify(b"CT1", HERE).refusal(NOW + 3 * A_DAY) or "")


def test_revocation_shuts_out_every_certificate(
    database: Database, devices: Devices, write: Write
) -> None:
    write(lambda tx: devices.enrol(tx, device()))
    write(lambda tx: devices.renew(tx, "CT1", certificate(b"new"), NOW))
    write(lambda tx: devices.revoke(tx, "CT1", "stolen", NOW))
    for der in (b"CT1", b"new"):
        assert "revoked" in (devices.identify(der, HERE).refusal(NOW) or "")
    revoked = read(database, lambda c: devices.revoked_certificates(c, NOW))
    assert len(revoked) == 2
    assert all(each == Revoked(each.serial, NOW) for each in revoked)
    later = NOW + 301 * A_DAY
    assert read(database, lambda c: devices.revoked_certificates(c, later)) == ()
    got = read(database, lambda c: devices.get(c, "CT1"))
    assert got.revocation is not None
    assert got.revocation.reason == "stolen"
    for act in (
        lambda tx: devices.revoke(tx, "CT1", "again", NOW),
        lambda tx: devices.renew(tx, "CT1", certificate(b"x"), NOW),
        lambda tx: devices.change(tx, device()),
    ):
        with pytest.raises(Misconfigured, match="revoked"):
            write(act)


def test_a_name_can_be_enrolled_anew_but_its_old_proof_stays_dead(
    devices: Devices, write: Write
) -> None:
    write(lambda tx: devices.enrol(tx, device()))
    write(lambda tx: devices.revoke(tx, "CT1", "stolen", NOW))
    write(lambda tx: devices.enrol(tx, device(certificate=certificate(b"new"))))
    assert devices.identify(b"new", HERE).refusal(NOW) is None
    assert "certificate was revoked" in (
        devices.identify(b"CT1", HERE).refusal(NOW) or ""
    )


def test_a_revoked_exception_frees_its_address(devices: Devices, write: Write) -> None:
    write(lambda tx: devices.enrol(tx, plain_device()))
    write(lambda tx: devices.revoke(tx, "OLD", "replaced", NOW))
    with pytest.raises(NotAdmitted):
        devices.identify(None, ip_address("10.4.0.9"), AETitle("OLDUS"))
    write(lambda tx: devices.enrol(tx, plain_device("OLD2")))
    assert devices.identify(None, ip_address("10.4.0.9")).name == "OLD2"


def test_a_revocation_has_a_reason(devices: Devices, write: Write) -> None:
    write(lambda tx: devices.enrol(tx, device()))
    for reason in ("", "  ", "x" * 513):
        with pytest.raises(Misconfigured, match="reason"):
            write(lambda tx, why=reason: devices.revoke(tx, "CT1", why, NOW))  # type: ignore[misc]
    with pytest.raises(NotFound):
        write(lambda tx: devices.revoke(tx, "CT9", "stolen", NOW))


def test_a_change_keeps_the_proof(
    database: Database, devices: Devices, write: Write
) -> None:
    write(lambda tx: devices.enrol(tx, device()))
    changed = replace(
        device(),
        rights=frozenset({Right.ECHO}),
        certificate=None,
        enrolled_at=NOW + A_DAY,
    )
    write(lambda tx: devices.change(tx, changed))
    got = read(database, lambda c: devices.get(c, "CT1"))
    assert got.rights == {Right.ECHO}
    assert got.certificate is not None
    assert got.enrolled_at == NOW


def test_a_device_that_gives_up_tls_leaves_its_certificate(
    database: Database, devices: Devices, write: Write
) -> None:
    write(lambda tx: devices.enrol(tx, device()))
    write(lambda tx: devices.change(tx, plain_device("CT1")))
    with pytest.raises(NotAdmitted):
        devices.identify(b"CT1", ip_address("10.4.0.9"))
    assert devices.identify(None, ip_address("10.4.0.9")).name == "CT1"
    with pytest.raises(Misconfigured, match="no TLS"):
        write(lambda tx: devices.renew(tx, "CT1", certificate(b"x"), NOW))


def test_what_falls_silent_soon(
    database: Database, devices: Devices, write: Write
) -> None:
    write(lambda tx: devices.enrol(tx, device()))
    write(lambda tx: devices.enrol(tx, plain_device()))
    write(lambda tx: devices.enrol(tx, device("CT2")))
    write(lambda tx: devices.revoke(tx, "CT2", "gone", NOW))
    for days, names in ((29, []), (30, ["OLD"]), (300, ["CT1", "OLD"])):
        found = read(database, lambda c, d=days: devices.expiring(c, d, NOW))  # type: ignore[misc]
        assert [each.name for each in found] == names


# ── what is kept in memory ───────────────────────────────────────────────────


def test_the_register_in_memory_follows_within_half_a_second(
    devices: Devices, write: Write, ticks: Ticks
) -> None:
    ct1 = Subject(Kind.DEVICE, "CT1")
    assert devices.rules_for(ct1) == ()
    write(lambda tx: devices.enrol(tx, device()))
    ticks.now_s += REVISION_CHECK_S
    (rule,) = devices.rules_for(ct1)
    assert rule.rights == {Right.STORE, Right.FIND}
    assert devices.rules_for(Subject(Kind.EXCEPTION, "CT1")) == ()
    assert devices.rules_for(Subject(Kind.OPERATOR, "CT1")) == ()
    same = devices.register()
    ticks.now_s += REVISION_CHECK_S
    assert devices.register() is same  # nothing changed, nothing was read
    write(lambda tx: devices.revoke(tx, "CT1", "stolen", NOW))
    ticks.now_s += REVISION_CHECK_S
    assert devices.rules_for(ct1) == ()


def test_where_peers_come_from(devices: Devices, write: Write) -> None:
    write(lambda tx: devices.enrol(tx, device()))
    write(lambda tx: devices.enrol(tx, plain_device()))
    write(
        lambda tx: devices.enrol(
            tx, device("CT2", networks=(ip_network("10.9.0.0/24"),))
        )
    )
    write(lambda tx: devices.revoke(tx, "CT2", "gone", NOW))
    register = devices.register()
    assert register.networks == (ip_network("10.4.0.0/24"), ip_network("fd00:4::/64"))
    assert register.expects_tls_from(HERE)
    assert register.expects_tls_from(ip_address("::ffff:10.4.0.7"))
    assert not register.expects_tls_from(ip_address("10.9.0.1"))
    assert not register.expects_plaintext_from(HERE)
    assert register.expects_plaintext_from(ip_address("10.4.0.9"))
