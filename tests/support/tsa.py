"""An authority for time stamps: openssl, with a key and certificate of the test."""

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

STAMPING: Final = (ExtendedKeyUsageOID.TIME_STAMPING,)
DAY: Final = timedelta(days=1)
CONFIGURATION: Final = """
[tsa]
default_tsa = it
[it]
serial = {folder}/serial
crypto_device = builtin
signer_digest = {digest}
default_policy = 1.2.3.4.1
digests = sha256, sha512
accuracy = secs:1
ess_cert_id_chain = no
ess_cert_id_alg = {named}
"""


@dataclass
class Tsa:
    """It; files in a folder.

    Attributes:
        folder: Where.
        key: Signs the stamps.
        purposes: Extended key usages of its certificate.
        is_critical: Whether that extension is.
        begins: When its certificate begins to be valid, from now.
        digest: What it signs with.
        named: The digest by which it names its certificate.
        has_chain: Whether the certificate of its CA comes along.
    """

    folder: Path
    key: Key = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    purposes: tuple[x509.ObjectIdentifier, ...] = STAMPING
    is_critical: bool = True
    begins: timedelta = -DAY
    digest: str = "sha256"
    named: str = "sha256"
    has_chain: bool = False

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        authority = ec.generate_private_key(ec.SECP256R1())
        ca = self._signed("a CA of the test", authority, authority, "a CA of the test")
        self.certificate = self._signed("a TSA", self.key, authority, ca_name(ca))
        self.file = self.folder / "tsa.pem"
        self.file.write_bytes(self.certificate.public_bytes(Encoding.PEM))
        self.ca_file = self.folder / "ca.pem"
        self.ca_file.write_bytes(ca.public_bytes(Encoding.PEM))
        self._key_file = self.folder / "key.pem"
        self._key_file.write_bytes(
            self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )
        (self.folder / "serial").write_text("01\n")
        self._config = self.folder / "tsa.cnf"
        self._config.write_text(
            CONFIGURATION.format(
                folder=self.folder, digest=self.digest, named=self.named
            )
        )

    def reply(self, request: bytes) -> bytes:
        """Return the reply to a request."""
        asked, replied = self.folder / "request", self.folder / "reply"
        asked.write_bytes(request)
        words = ["-reply", "-config", self._config, "-queryfile", asked]
        words += ["-signer", self.file, "-inkey", self._key_file, "-out", replied]
        words += ["-chain", self.ca_file] if self.has_chain else []
        openssl_ts(*words)
        return replied.read_bytes()

    def _signed(self, name: str, key: Key, by: Key, issuer: str) -> x509.Certificate:
        is_ca = name == issuer
        begins = datetime.now(UTC) + (-DAY if is_ca else self.begins)
        builder = (
            x509.CertificateBuilder()
            .subject_name(named(name))
            .issuer_name(named(issuer))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begins)
            .not_valid_after(begins + 2 * DAY)
            .add_extension(x509.BasicConstraints(is_ca, None), critical=True)
        )
        if not is_ca and self.purposes:
            usage = x509.ExtendedKeyUsage(self.purposes)
            builder = builder.add_extension(usage, critical=self.is_critical)
        return builder.sign(by, SHA256())


def named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def ca_name(ca: x509.Certificate) -> str:
    return str(ca.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def openssl_ts(*words: object) -> str:
    done = subprocess.run(
        ["openssl", "ts", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def serving(tsa: Tsa, *, status: int = 200, kind: str = "") -> Iterator[str]:
    """Offer an authority over HTTP on loopback; give its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.headers["content-type"] == "application/timestamp-query"
            body = self.rfile.read(int(self.headers["content-length"]))
            reply = tsa.reply(body)
            self.send_response(status)
            self.send_header("content-type", kind or "application/timestamp-reply")
            self.send_header("content-length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/tsa"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
