"""Certificates for the peers: Orthanc and storescp speak TLS with them.

Leadglass makes its own; these have the same key type, so that no side pays for a
costlier handshake.
"""

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

LIFETIME = dt.timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Identity:
    """Files of one party: its key, its certificate, and whom it trusts."""

    key: Path
    certificate: Path
    authority: Path

    @classmethod
    def in_folder(cls, folder: Path) -> "Identity":
        return cls(folder / "key.pem", folder / "cert.pem", folder / "ca.pem")


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def _builder(subject: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name("Bench CA"))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + LIFETIME)
    )


def make(folder: Path, *names: str) -> list[Identity]:
    """Make an authority and one identity for each name."""
    root_key = ec.generate_private_key(ec.SECP256R1())
    root = (
        _builder("Bench CA", root_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(root_key, hashes.SHA256())
    )
    made = []
    for name in names:
        place = folder / name
        place.mkdir(parents=True)
        identity = Identity.in_folder(place)
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _builder(name, key).sign(root_key, hashes.SHA256())
        identity.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        identity.key.chmod(0o600)
        pem = serialization.Encoding.PEM
        identity.certificate.write_bytes(certificate.public_bytes(pem))
        identity.authority.write_bytes(root.public_bytes(pem))
        made.append(identity)
    return made
