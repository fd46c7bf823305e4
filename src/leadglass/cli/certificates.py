"""Certificates as the command line tells of them."""

from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from leadglass.errors import Damaged, Misconfigured
from leadglass.identity.device import fingerprint


def read_certificates(path: Path) -> list[x509.Certificate]:
    """Return the certificates of a PEM file.

    Raises:
        Misconfigured: It cannot be read.
        Damaged: It holds none.
    """
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise Misconfigured(f"{path}: {error.strerror}; run `leadglass init`") from None
    except ValueError:
        raise Damaged(f"{path.name}: no certificates in it") from None


def sha256_of(certificate: x509.Certificate) -> str:
    """Return the fingerprint, hex."""
    return fingerprint(certificate.public_bytes(Encoding.DER))


def root_sha256(ca_file: Path) -> str:
    """Return the fingerprint of the root, which stands last in ``ca.pem``."""
    return sha256_of(read_certificates(ca_file)[-1])


def end_of(certificate: x509.Certificate) -> datetime:
    """Return its last moment."""
    return certificate.not_valid_after_utc
