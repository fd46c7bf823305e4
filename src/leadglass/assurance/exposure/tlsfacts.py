"""What TLS on a port is like: versions, suites, certificate, who may come in."""

import ssl
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from leadglass.assurance.exposure import hello
from leadglass.assurance.exposure.contact import Line
from leadglass.errors import LeadglassError

# X.509: what OpenSSL says of a chain (verify(1)).
_SELF_SIGNED: Final = frozenset({18, 19})
_NAME_MISMATCH: Final = frozenset({62, 64})
RSA_BITS_MIN: Final = 2048  # PS3.15 §B.13, NIST SP 800-57
EC_BITS_MIN: Final = 256
DH_BITS_MIN: Final = 2048


def lenient() -> ssl.SSLContext:
    """Return a context that takes whatever is there: it looks, it does not trust."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


def throwaway() -> ssl.SSLContext:
    """Return a context with a certificate that nobody has ever vouched for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "EXPOSCAN throw-away")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(hours=1))
        .sign(key, SHA256())
    )
    context = lenient()
    # ssl takes keys from files only; this one opens nothing, and is gone at once.
    with tempfile.NamedTemporaryFile(suffix=".pem") as file:
        file.write(made.public_bytes(Encoding.PEM))
        file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        file.flush()
        context.load_cert_chain(Path(file.name))
    return context


@dataclass(frozen=True, slots=True)
class Handshake:
    """One whole handshake.

    Attributes:
        version: As OpenSSL names it, such as ``TLSv1.3``.
        suite: Likewise.
        certificate: The server's, DER.
    """

    version: str
    suite: str
    certificate: bytes


class TLSFacts:
    """What is asked of one port, each thing once.

    Args:
        line: The way to the host.
        port: Where.
        trust: Whom its certificate must chain to; None: the system's roots.
    """

    def __init__(self, line: Line, port: int, trust: ssl.SSLContext | None) -> None:
        self._line, self._port, self._trust = line, port, trust

    @cached_property
    def handshakes(self) -> tuple[Handshake, ...]:
        """With TLS 1.3 alone and with TLS 1.2 alone: those that came about."""
        found = []
        for version in (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2):
            context = lenient()
            context.minimum_version = context.maximum_version = version
            try:
                wire = self._line.dial(self._port, context)
            except LeadglassError:
                continue
            sock = wire.sock
            if isinstance(sock, ssl.SSLSocket):
                suite = sock.cipher()
                found.append(
                    Handshake(
                        sock.version() or "",
                        suite[0] if suite else "",
                        sock.getpeercert(binary_form=True) or b"",
                    )
                )
            wire.close()
        return tuple(found)

    @cached_property
    def is_spoken(self) -> bool:
        """Whether TLS of any version is here."""
        return hello.is_spoken(self._line, self._port)

    @cached_property
    def modern(self) -> hello.Hello | None:
        """What TLS 1.2 would be agreed of the profile's, also without a certificate.

        A whole handshake fails where a client certificate is demanded.
        """
        return self._greet(hello.TLS1_2, hello.GOOD)

    @cached_property
    def old(self) -> tuple[hello.Hello, ...]:
        """Versions before 1.2 that are still taken (RFC 8996)."""
        versions = (hello.TLS1_1, hello.TLS1_0, hello.SSL3)
        tried = (self._greet(each, hello.EVERY) for each in versions)
        return tuple(each for each in tried if each is not None)

    @cached_property
    def weak(self) -> hello.Hello | None:
        """A suite without forward secrecy or authenticated encryption."""
        return self._greet(hello.TLS1_2, hello.WEAK)

    @cached_property
    def secretless(self) -> hello.Hello | None:
        """A suite that keeps nothing secret, or proves nobody."""
        for version in (hello.TLS1_2, hello.TLS1_0):
            if found := self._greet(version, hello.NO_SECRET):
                return found
        return None

    @cached_property
    def dhe(self) -> hello.Hello | None:
        """A finite-field key exchange, with the length of its prime."""
        suites = (each for each in hello.EVERY if "DHE_RSA" in hello.EVERY[each])
        finite = [each for each in suites if not hello.EVERY[each].startswith("EC")]
        return self._greet(hello.TLS1_2, finite)

    def _greet(self, version: int, suites: Iterable[int]) -> hello.Hello | None:
        return hello.greet(self._line, self._port, version, suites)

    @cached_property
    def certificate(self) -> x509.Certificate | None:
        """The server's own certificate."""
        for each in self.handshakes:
            try:
                return x509.load_der_x509_certificate(each.certificate)
            except ValueError:
                continue
        return None

    @cached_property
    def distrust(self) -> str:
        """Why its certificate is not to be trusted; "" if it is."""
        context = self._trust or ssl.create_default_context()
        context.check_hostname = bool(self._line.name)
        try:
            self._line.dial(self._port, context).close()
        except LeadglassError as error:
            cause = error.__cause__
            if not isinstance(cause, ssl.SSLCertVerificationError):
                return ""
            if cause.verify_code in _SELF_SIGNED:
                return "self-signed"
            if cause.verify_code in _NAME_MISMATCH:
                return "for another name"
            # Dates are TLS-06's.
            return "" if cause.verify_code in {9, 10} else "of an unknown authority"
        return ""

    @cached_property
    def weak_key(self) -> str:
        """What of its keys is too short or too old; "" if nothing is."""
        found = []
        if (made := self.certificate) is not None:
            found += _weaknesses_of(made)
        if self.dhe is not None and 0 < self.dhe.dh_bits < DH_BITS_MIN:
            found.append(f"DHE of {self.dhe.dh_bits} bits")
        return ", ".join(found)


def _weaknesses_of(made: x509.Certificate) -> list[str]:
    found = []
    try:
        key = made.public_key()
        digest = made.signature_hash_algorithm
    except (ValueError, TypeError):
        return ["a key of no known kind"]
    if isinstance(key, rsa.RSAPublicKey | dsa.DSAPublicKey):
        if key.key_size < RSA_BITS_MIN:
            found.append(f"RSA of {key.key_size} bits")
    elif isinstance(key, ec.EllipticCurvePublicKey) and key.key_size < EC_BITS_MIN:
        found.append(f"EC of {key.key_size} bits")
    if digest is not None and digest.name in {"sha1", "md5"}:
        found.append(f"signed with {digest.name.upper()}")
    return found
