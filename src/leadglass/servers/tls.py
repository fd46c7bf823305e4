"""TLS contexts after PS3.15 B.12 (BCP 195: RFC 8996, RFC 9325).

TLS 1.2 and 1.3 only, forward secrecy and authenticated encryption only, mutual
authentication always: the certificate is the identity.
"""

import os
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

# RFC 9325 §4.2, as listed by PS3.15 B.12 for TLS 1.2. The suites of TLS 1.3 are
# OpenSSL's own: all of them are of this kind.
TLS12_SUITES = (
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
)

MINIMUM_VERSIONS = {
    "1.2": ssl.TLSVersion.TLSv1_2,
    "1.3": ssl.TLSVersion.TLSv1_3,
}


@dataclass(frozen=True, slots=True)
class Credentials:
    """The node's certificate and what it trusts, all as PEM.

    Attributes:
        chain: The node's certificate and the issuing authority's.
        key: The private key; it lives in memory only.
        authorities: Root and issuing certificates that peers must chain to.
        revocations: The current CRL of the issuing authority.
    """

    chain: bytes
    key: bytes = field(repr=False)
    authorities: bytes
    revocations: bytes


def server_context(credentials: Credentials, minimum: str) -> ssl.SSLContext:
    """Return the context of a listener: no handshake without a client certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # No tickets: a resumed session skips the look at the revocation list. TLS 1.2 can
    # resume from the context's own memory all the same, which Python cannot forbid; a
    # new list makes a new context, and the register is asked at each association.
    context.options |= ssl.OP_NO_TICKET | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.num_tickets = 0
    return _harden(context, credentials, minimum)


def https_context(credentials: Credentials, minimum: str) -> ssl.SSLContext:
    """Return the context of the HTTPS listener: a client certificate is one proof.

    Browsers and programs prove themselves within HTTP. A certificate that is shown
    must chain to our authority and not be revoked, else there is no handshake.
    """
    context = server_context(credentials, minimum)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.set_alpn_protocols(["http/1.1"])
    return context


def client_context(credentials: Credentials, minimum: str) -> ssl.SSLContext:
    """Return the context for sending: the receiver must chain to our authority.

    Receivers are medical devices known by address and certificate, seldom by DNS
    name; ``identity`` compares the certificate with the enrolled one instead of
    the host name.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    return _harden(context, credentials, minimum)


def _harden(
    context: ssl.SSLContext, credentials: Credentials, minimum: str
) -> ssl.SSLContext:
    context.minimum_version = MINIMUM_VERSIONS[minimum]
    context.set_ciphers(":".join(TLS12_SUITES))
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.verify_mode = ssl.CERT_REQUIRED
    with _readable(credentials.authorities + credentials.revocations) as path:
        context.load_verify_locations(cafile=path)
    context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF | ssl.VERIFY_X509_STRICT
    with _readable(credentials.chain + credentials.key) as path:
        context.load_cert_chain(path)
    return context


@contextmanager
def _readable(pem: bytes) -> Iterator[str]:
    """Give ``ssl`` the path that it insists on, without touching a disk."""
    descriptor = os.memfd_create("credentials", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, pem)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def handshake_fault(error: OSError) -> str:
    """Return why a handshake failed, in words that a peer cannot choose."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"TLS: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {(error.reason or 'not TLS').replace('_', ' ').lower()}"
    if isinstance(error, TimeoutError):
        return "TLS: no handshake in time"
    return "TLS: the peer left"


class Contexts:
    """The contexts of a node, made anew when its credentials or its CRL change.

    Args:
        credentials: Reads them now.
        stamp: Something that differs once they have changed; cheap.
        minimum: The oldest TLS version, a key of ``MINIMUM_VERSIONS``.
    """

    def __init__(
        self,
        credentials: Callable[[], Credentials],
        stamp: Callable[[], object],
        minimum: str,
    ) -> None:
        self._credentials = credentials
        self._stamp = stamp
        self._minimum = minimum
        self._lock = threading.Lock()
        self._seen: object = None
        self._made: tuple[ssl.SSLContext, ssl.SSLContext, ssl.SSLContext] | None = None

    def server(self) -> ssl.SSLContext:
        """Return the listener's context as of now."""
        return self._current()[0]

    def client(self) -> ssl.SSLContext:
        """Return the context to send with as of now."""
        return self._current()[1]

    def https(self) -> ssl.SSLContext:
        """Return the HTTPS listener's context as of now."""
        return self._current()[2]

    def _current(self) -> tuple[ssl.SSLContext, ssl.SSLContext, ssl.SSLContext]:
        with self._lock:
            stamp = self._stamp()
            if self._made is None or stamp != self._seen:
                read = self._credentials()
                self._made = (
                    server_context(read, self._minimum),
                    client_context(read, self._minimum),
                    https_context(read, self._minimum),
                )
                self._seen = stamp
            return self._made
