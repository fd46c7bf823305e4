"""The authority: what it makes, what it keeps secret, what it survives."""

import stat
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from leadglass.errors import Damaged, Misconfigured
from leadglass.identity.authority import Authority, write_credentials
from leadglass.identity.certificates import (
    CRL_REFRESH,
    CSR_BYTES_MAX,
    ISSUING_VALIDITY,
    LEAF_VALIDITY,
    Revoked,
)
from leadglass.identity.device import Certificate

SEAL_KEY = bytes(range(32))
A_DAY = timedelta(days=1)
At = Callable[[datetime], Authority]


def folder_of(authority: Authority) -> Path:
    return authority.ca_path.parent


def leaf(chain: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificate(chain)


def extension(certificate: x509.Certificate, kind: type) -> object:
    return certificate.extensions.get_extension_for_class(kind)


def request(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey,
) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "somebody else")])
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    return builder.sign(key, algorithm).public_bytes(Encoding.PEM)


# ── what is made ─────────────────────────────────────────────────────────────


def test_two_authorities_above_the_leaves(authority: Authority) -> None:
    issuing, root = x509.load_pem_x509_certificates(authority.ca_path.read_bytes())
    for certificate, length, curve in (
        (root, 1, "secp384r1"),
        (issuing, 0, "secp256r1"),
    ):
        constraints = certificate.extensions.get_extension_for_class(
            x509.BasicConstraints
        )
        assert constraints.critical
        assert constraints.value == x509.BasicConstraints(ca=True, path_length=length)
        key = certificate.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        assert key.curve.name == curve
    root.verify_directly_issued_by(root)
    issuing.verify_directly_issued_by(root)


def test_a_device_certificate(authority: Authority, now: datetime) -> None:
    issued = authority.issue("CT1", hosts=["10.4.0.7", "ct1.example"])
    certificate, issuing = x509.load_pem_x509_certificates(issued.chain)
    certificate.verify_directly_issued_by(issuing)
    assert certificate.subject.rfc4514_string() == "CN=CT1,O=Leadglass"
    usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    assert set(usages.value) == {
        ExtendedKeyUsageOID.CLIENT_AUTH,
        ExtendedKeyUsageOID.SERVER_AUTH,
    }
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.digital_signature
    assert not usage.value.key_cert_sign
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert not constraints.value.ca
    names = certificate.extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    ).value
    assert names.get_values_for_type(x509.DNSName) == ["ct1.example"]
    assert timedelta(0) <= now + LEAF_VALIDITY - issued.certificate.not_after + A_DAY
    assert issued.certificate == Certificate.of(certificate)
    assert issued.key is not None
    assert load_pem_private_key(issued.key, None).public_key() == (
        certificate.public_key()
    )
    assert issued.authorities == authority.ca_path.read_bytes()


def test_every_certificate_has_its_own_serial_and_key(authority: Authority) -> None:
    issued = [authority.issue("CT1") for _ in range(4)]
    assert len({each.certificate.serial for each in issued}) == 4
    assert len({each.key for each in issued}) == 4


def test_a_device_that_keeps_its_key(authority: Authority) -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    issued = authority.sign("CT1", request(key))
    assert issued.key is None
    certificate = leaf(issued.chain)
    assert certificate.public_key() == key.public_key()
    assert "somebody" not in certificate.subject.rfc4514_string()  # we name devices


def test_a_request_in_der_and_with_rsa(authority: Authority) -> None:
    key = rsa.generate_private_key(65537, 2048)
    der = x509.load_pem_x509_csr(request(key)).public_bytes(Encoding.DER)
    assert leaf(authority.sign("CT1", der).chain).public_key() == key.public_key()


@pytest.mark.parametrize(
    "weak",
    [
        lambda: request(rsa.generate_private_key(65537, 1024)),
        lambda: request(ec.generate_private_key(ec.SECP192R1())),
        lambda: request(ed25519.Ed25519PrivateKey.generate()),
        lambda: b"",
        lambda: b"\x30\x00",
        lambda: b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n",
        lambda: b"0" * (CSR_BYTES_MAX + 1),
    ],
)
def test_a_weak_or_broken_request(
    authority: Authority, weak: Callable[[], bytes]
) -> None:
    with pytest.raises(Misconfigured, match="certificate request"):
        authority.sign("CT1", weak())


def test_a_request_signed_by_another_key(authority: Authority) -> None:
    der = bytearray(
        x509.load_pem_x509_csr(
            request(ec.generate_private_key(ec.SECP256R1()))
        ).public_bytes(Encoding.DER)
    )
    place = der.index(b"somebody")
    der[place] ^= 1
    with pytest.raises(Misconfigured, match="not signed by its own key"):
        authority.sign("CT1", bytes(der))


# ── the node ─────────────────────────────────────────────────────────────────


def test_the_node_is_reached_by_its_names(authority: Authority) -> None:
    assert set(authority.node_names()) == {"localhost", "127.0.0.1", "::1"}
    before = authority.stamp()
    assert not authority.renew_node(["LOCALHOST", "127.0.0.1", "0::1"], within_days=30)
    assert authority.stamp() == before
    assert authority.renew_node(["pacs.example", "10.4.0.5"], within_days=30)
    assert set(authority.node_names()) == {"pacs.example", "10.4.0.5"}
    assert authority.stamp() != before
    assert authority.node_credentials().key.startswith(b"-----BEGIN PRIVATE KEY")
    with pytest.raises(Misconfigured, match="no names"):
        authority.renew_node([])


def test_the_node_is_renewed_when_it_is_due(
    authority: Authority, at: At, now: datetime
) -> None:
    names = authority.node_names()
    old = authority.node_certificate()
    assert not at(old.not_after - 31 * A_DAY).renew_node(names, within_days=30)
    assert at(old.not_after - 29 * A_DAY).renew_node(names, within_days=30)
    assert authority.node_certificate().not_after > old.not_after


# ── root and issuing ─────────────────────────────────────────────────────────


def test_the_root_goes_and_comes_back(authority: Authority, tmp_path: Path) -> None:
    medium = tmp_path / "root.sealed"
    authority.take_root_offline(medium)
    assert not authority.root_is_online
    assert stat.S_IMODE(medium.stat().st_mode) == 0o600
    assert b"PRIVATE KEY" not in medium.read_bytes()
    authority.issue("CT1")  # devices are enrolled without it
    with pytest.raises(Misconfigured, match="bring the root online"):
        authority.renew_issuing()
    with pytest.raises(Misconfigured, match="offline already"):
        authority.take_root_offline(tmp_path / "other")
    authority.bring_root_online(medium)
    assert authority.root_is_online
    authority.renew_issuing()


def test_the_root_is_not_lost_to_a_bad_place(
    authority: Authority, tmp_path: Path
) -> None:
    there = tmp_path / "there"
    there.write_bytes(b"something")
    with pytest.raises(Misconfigured, match="exists"):
        authority.take_root_offline(there)
    assert there.read_bytes() == b"something"
    assert authority.root_is_online


def test_another_key_is_not_the_root(authority: Authority, tmp_path: Path) -> None:
    other = Authority.create(tmp_path / "other", SEAL_KEY, ["localhost"])
    other.take_root_offline(tmp_path / "other.root")
    for wrong in (tmp_path / "other.root", folder_of(authority) / "issuing.key"):
        with pytest.raises(Damaged):
            authority.bring_root_online(wrong)
    with pytest.raises(Misconfigured, match="missing"):
        authority.bring_root_online(tmp_path / "nowhere")


def test_a_renewed_issuing_certificate_keeps_devices_valid(
    authority: Authority, at: At, now: datetime
) -> None:
    issued = authority.issue("CT1")
    later = at(now + ISSUING_VALIDITY - 20 * A_DAY)
    with pytest.raises(Misconfigured, match="renew"):
        later.issue("CT2")
    later.renew_issuing()
    renewed, _ = x509.load_pem_x509_certificates(authority.ca_path.read_bytes())
    assert renewed.not_valid_after_utc > now + ISSUING_VALIDITY
    leaf(issued.chain).verify_directly_issued_by(renewed)
    later.issue("CT2")


def test_a_renewal_cut_short_is_ended_at_the_next_start(authority: Authority) -> None:
    whole = authority.ca_path.read_bytes()
    authority.ca_path.write_bytes(b"of yesterday")
    Authority.open(folder_of(authority), SEAL_KEY)
    assert authority.ca_path.read_bytes() == whole


def test_what_ends_soon_is_told(authority: Authority, at: At, now: datetime) -> None:
    assert authority.expiring(30) == []
    told = at(now + LEAF_VALIDITY - 10 * A_DAY).expiring(30)
    assert [each.what for each in told] == ["revocation list", "node"]
    assert {each.what for each in at(now + ISSUING_VALIDITY).expiring(30)} == {
        "revocation list",
        "node",
        "issuing",
    }
    assert all(each.remedy for each in told)


# ── revocations ──────────────────────────────────────────────────────────────


def test_the_list_says_what_the_register_says(
    authority: Authority, at: At, now: datetime
) -> None:
    assert authority.revoked_serials() == frozenset()
    authority.publish_revocations(lambda: [Revoked(7, now), Revoked(8, now)])
    assert authority.revoked_serials() == {7, 8}
    issuing, _ = x509.load_pem_x509_certificates(authority.ca_path.read_bytes())
    crl = x509.load_pem_x509_crl(authority.crl_path.read_bytes())
    key = issuing.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert crl.is_signature_valid(key)
    number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    assert number == 2
    assert authority.node_credentials().revocations == authority.crl_path.read_bytes()
    assert not authority.revocations_are_due()
    assert at(now + CRL_REFRESH).revocations_are_due()
    authority.publish_revocations(list)
    assert authority.revoked_serials() == frozenset()


def test_a_lost_list_closes_the_door_until_it_is_made_again(
    authority: Authority, now: datetime
) -> None:
    for lose in (authority.crl_path.unlink, lambda: authority.crl_path.write_text("x")):
        lose()
        with pytest.raises((Misconfigured, Damaged)):
            authority.node_credentials()
        assert authority.revocations_are_due()
        authority.publish_revocations(lambda: [Revoked(7, now)])
        assert authority.revoked_serials() == {7}
        authority.node_credentials()


# ── at rest ──────────────────────────────────────────────────────────────────


def test_no_private_key_lies_in_the_clear(authority: Authority) -> None:
    for path in folder_of(authority).iterdir():
        content = path.read_bytes()
        assert b"PRIVATE KEY" not in content
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    credentials = authority.node_credentials()
    assert "PRIVATE" not in repr(credentials)
    assert "PRIVATE" not in repr(authority.issue("CT1"))


def test_another_key_opens_nothing(authority: Authority) -> None:
    with pytest.raises(Damaged, match="does not open"):
        Authority.open(folder_of(authority), bytes(32))
    with pytest.raises(Misconfigured, match="32 bytes"):
        Authority.open(folder_of(authority), bytes(16))


@pytest.mark.parametrize("name", ["issuing.key", "node.pem", "root.pem", "issuing.pem"])
def test_any_changed_file_is_found(authority: Authority, name: str) -> None:
    path = folder_of(authority) / name
    whole = path.read_bytes()
    for place in range(0, len(whole), max(1, len(whole) // 20)):
        if whole[place] == ord("\n"):
            continue  # PEM lets other blanks stand between its lines
        changed = bytearray(whole)
        changed[place] ^= 0x10
        path.write_bytes(changed)
        with pytest.raises((Damaged, Misconfigured)):
            Authority.open(folder_of(authority), SEAL_KEY)
    path.write_bytes(whole)
    Authority.open(folder_of(authority), SEAL_KEY)


@pytest.mark.parametrize("name", ["issuing.key", "node.pem", "root.pem", "crl.pem"])
def test_a_missing_file_is_named(authority: Authority, name: str) -> None:
    (folder_of(authority) / name).unlink()
    with pytest.raises(Misconfigured, match=name):
        Authority.open(folder_of(authority), SEAL_KEY)


def test_swapped_keys_are_found(authority: Authority) -> None:
    folder = folder_of(authority)
    (folder / "issuing.key").write_bytes((folder / "root.key").read_bytes())
    with pytest.raises(Damaged):
        Authority.open(folder, SEAL_KEY)


def test_what_a_crash_left_is_thrown_away(tmp_path: Path) -> None:
    draft = tmp_path / "authority.new"
    draft.mkdir()
    (draft / "root.key").write_bytes(b"half")
    with pytest.raises(Misconfigured, match="none here"):
        Authority.open(tmp_path / "authority", SEAL_KEY)
    Authority.create(tmp_path / "authority", SEAL_KEY, ["localhost"])
    assert not draft.exists()
    Authority.open(tmp_path / "authority", SEAL_KEY)
    with pytest.raises(Misconfigured, match="one already"):
        Authority.create(tmp_path / "authority", SEAL_KEY, ["localhost"])


# ── what a device is given ───────────────────────────────────────────────────


def test_credentials_of_a_device(authority: Authority, tmp_path: Path) -> None:
    issued = authority.issue("CT1")
    out = tmp_path / "for" / "ct1"
    key, cert, ca = write_credentials(out, issued)
    assert [path.name for path in (key, cert, ca)] == ["key.pem", "cert.pem", "ca.pem"]
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(out.stat().st_mode) == 0o700
    assert key.read_bytes() == issued.key
    assert len(x509.load_pem_x509_certificates(cert.read_bytes())) == 2
    assert len(x509.load_pem_x509_certificates(ca.read_bytes())) == 2
    again = authority.issue("CT1")
    with pytest.raises(Misconfigured, match="already"):
        write_credentials(out, again)
    assert key.read_bytes() == issued.key
    write_credentials(out, again, replace=True)
    assert key.read_bytes() == again.key


def test_credentials_without_a_key(authority: Authority, tmp_path: Path) -> None:
    issued = authority.sign("CT1", request(ec.generate_private_key(ec.SECP256R1())))
    written = write_credentials(tmp_path / "ct1", issued)
    assert [path.name for path in written] == ["cert.pem", "ca.pem"]
    (tmp_path / "file").touch()
    with pytest.raises(Misconfigured, match="is a file"):
        write_credentials(tmp_path / "file", issued)


def test_the_name_of_a_device_is_checked(authority: Authority) -> None:
    with pytest.raises(Misconfigured, match="name:"):
        authority.issue("x" * 65)
    with pytest.raises(Misconfigured, match="name:"):
        authority.sign("CT 1", request(ec.generate_private_key(ec.SECP256R1())))
