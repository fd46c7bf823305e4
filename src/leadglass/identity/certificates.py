"""Making X.509 certificates: what each kind may do, how long, and for whom.

RFC 5280 profiles for PS3.15 B.12 (BCP 195): ECDSA on P-256, on P-384 for the root.
Every certificate passes OpenSSL's ``X509_STRICT``.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import cast

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from leadglass.errors import Misconfigured

# The root signs once in years and is meant to lie in a safe.
ROOT_VALIDITY = timedelta(days=20 * 365)
# Renewing the issuing certificate needs the root: not too often.
ISSUING_VALIDITY = timedelta(days=5 * 365)
# One year and a month of slack, as public authorities had it (CA/Browser Forum
# SC22); a device that nobody renews falls silent within that.
LEAF_VALIDITY = timedelta(days=397)
# A node that was off for a season still starts: it is the only reader of its list,
# and asks the register besides.
CRL_VALIDITY = timedelta(days=90)
CRL_REFRESH = timedelta(days=1)
# A leaf that would live shorter than this is refused: the issuing one is due.
LEAF_VALIDITY_MIN = timedelta(days=30)

# Clocks of medical devices are seldom right; a certificate is valid at once on one
# that is a little late.
CLOCK_SKEW = timedelta(minutes=5)

CSR_BYTES_MAX = 64 * 1024  # a request has one or two KiB
RSA_BITS_MIN = 2048  # RFC 9325 §4.1
RSA_BITS_MAX = 8192  # each handshake pays for more
CURVES = (ec.SECP256R1, ec.SECP384R1)

CN_CHARACTERS_MAX = 64  # RFC 5280 Appendix A, ub-common-name
_BEGIN = b"-----BEGIN CERTIFICATE REQUEST-----"

Key = ec.EllipticCurvePrivateKey
DeviceKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey


@dataclass(frozen=True, slots=True)
class Issuer:
    """A certificate and the private key that signs with it."""

    certificate: x509.Certificate
    key: Key

    @property
    def not_after(self) -> datetime:
        """The last moment of the certificate."""
        return self.certificate.not_valid_after_utc


@dataclass(frozen=True, slots=True)
class Revoked:
    """One line of a revocation list."""

    serial: int
    at: datetime


def new_key(curve: ec.EllipticCurve | None = None) -> Key:
    """Draw a private key, on P-256 unless said otherwise."""
    return ec.generate_private_key(curve or ec.SECP256R1())


def subject(common_name: str, organisation: str) -> x509.Name:
    """Return a subject of two parts."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _key_identifier(key: DeviceKey) -> x509.SubjectKeyIdentifier:
    return x509.SubjectKeyIdentifier.from_public_key(key)


def _of_issuer(certificate: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    found = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(found.value)


def _begin(
    name: x509.Name, issuer: x509.Name, key: DeviceKey, now: datetime, until: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(until)
        .add_extension(_key_identifier(key), critical=False)
    )


def _as_authority(
    builder: x509.CertificateBuilder, path_length: int
) -> x509.CertificateBuilder:
    constraints = x509.BasicConstraints(ca=True, path_length=path_length)
    return builder.add_extension(constraints, critical=True).add_extension(
        _usage(is_authority=True), critical=True
    )


def make_root(key: Key, name: x509.Name, now: datetime) -> x509.Certificate:
    """Make the self-signed root; only one authority stands below it."""
    public = key.public_key()
    builder = _begin(name, name, public, now, now + ROOT_VALIDITY)
    return _as_authority(builder, 1).sign(key, hashes.SHA384())


def make_issuing(
    root: Issuer, key: ec.EllipticCurvePublicKey, name: x509.Name, now: datetime
) -> x509.Certificate:
    """Make the certificate of the issuing authority, which may make no other."""
    until = min(now + ISSUING_VALIDITY, root.not_after)
    builder = _begin(name, root.certificate.subject, key, now, until)
    return (
        _as_authority(builder, 0)
        .add_extension(_of_issuer(root.certificate), critical=False)
        .sign(root.key, hashes.SHA384())
    )


def make_leaf(
    issuing: Issuer,
    key: DeviceKey,
    name: x509.Name,
    hosts: Sequence[str],
    now: datetime,
) -> x509.Certificate:
    """Make the certificate of a node or device: client and server in TLS.

    Raises:
        Misconfigured: The issuing certificate ends too soon.
    """
    until = min(now + LEAF_VALIDITY, issuing.not_after)
    if until - now < LEAF_VALIDITY_MIN:
        raise Misconfigured(
            "authority: the issuing certificate expires at "
            f"{issuing.not_after.isoformat()}; bring the root online and renew it"
        )
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
    builder = (
        _begin(name, issuing.certificate.subject, key, now, until)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(is_authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(_of_issuer(issuing.certificate), critical=False)
    )
    if hosts:
        names = x509.SubjectAlternativeName([_host(each) for each in hosts])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(issuing.key, hashes.SHA256())


def _host(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def hosts_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """Return the host names and addresses that a certificate is for."""
    try:
        names = certificate.extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        ).value
    except x509.ExtensionNotFound:
        return ()
    addresses = (str(each) for each in names.get_values_for_type(x509.IPAddress))
    return (*names.get_values_for_type(x509.DNSName), *addresses)


def is_for(certificate: x509.Certificate, hosts: Iterable[str]) -> bool:
    """Whether a certificate is for these hosts and no others, however written."""
    meant = {str(_host(each.lower()).value) for each in hosts}
    return {each.lower() for each in hosts_of(certificate)} == meant


def make_crl(
    issuing: Issuer, revoked: Iterable[Revoked], number: int, now: datetime
) -> x509.CertificateRevocationList:
    """Make a revocation list, RFC 5280 §5; ``number`` grows with each."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuing.certificate.subject)
        .last_update(now - CLOCK_SKEW)
        .next_update(now + CRL_VALIDITY)
        .add_extension(_of_issuer(issuing.certificate), critical=False)
        .add_extension(x509.CRLNumber(number), critical=False)
    )
    for each in revoked:
        builder = builder.add_revoked_certificate(
            x509.RevokedCertificateBuilder()
            .serial_number(each.serial)
            .revocation_date(each.at.astimezone(UTC))
            .build()
        )
    return builder.sign(issuing.key, hashes.SHA256())


def crl_number(crl: x509.CertificateRevocationList) -> int:
    """Return the number of a revocation list."""
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def key_of_request(request: bytes) -> DeviceKey:
    """Take the public key, and nothing else, from a signing request (PKCS #10).

    What a device calls itself is ours to say, so names, usages and lifetimes in
    the request are not looked at.

    Raises:
        Misconfigured: Not a request, not signed by its own key, or a weak key.
    """
    if len(request) > CSR_BYTES_MAX:
        raise Misconfigured("certificate request: larger than 64 KiB; send a PKCS #10")
    load = x509.load_pem_x509_csr if _BEGIN in request else x509.load_der_x509_csr
    try:
        csr = load(request)
        is_signed = csr.is_signature_valid
        key = csr.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise Misconfigured(
            "certificate request: not a PKCS #10 request in PEM or DER, or with an "
            "algorithm that is not taken; make one with an ECDSA P-256 key and SHA-256"
        ) from None
    if not is_signed:
        raise Misconfigured(
            "certificate request: not signed by its own key; make it anew"
        )
    is_curve = isinstance(key, ec.EllipticCurvePublicKey) and isinstance(
        key.curve, CURVES
    )
    is_rsa = (
        isinstance(key, rsa.RSAPublicKey)
        and RSA_BITS_MIN <= key.key_size <= RSA_BITS_MAX
    )
    if not (is_curve or is_rsa):
        raise Misconfigured(
            "certificate request: weak or unknown kind of key; use ECDSA on P-256 or "
            f"P-384, or RSA with {RSA_BITS_MIN} to {RSA_BITS_MAX} bits"
        )
    return cast("DeviceKey", key)
