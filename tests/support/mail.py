"""A mail server for tests: aiosmtpd over TLS, in a thread of this process."""

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PASSWORD = "correct horse"


@dataclass
class Mailbox:
    """What came in, and what is answered.

    Attributes:
        port: Where the server listens.
        mails: What it took, as text.
        answer: What it says to a mail; beginning with 2 it takes it.
        logins: Whom it was told to be.
    """

    port: int = 0
    mails: list[str] = field(default_factory=list)
    answer: str = "250 taken"
    logins: list[str] = field(default_factory=list)
    refused: frozenset[str] = frozenset()

    async def handle_RCPT(  # noqa: N802  # aiosmtpd calls it so
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any
    ) -> str:
        if address in self.refused:
            return "550 nobody here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802
        self, _server: Any, _session: Any, envelope: Any
    ) -> str:
        if self.answer.startswith("2"):
            self.mails.append(envelope.content.decode())
        return self.answer

    def authenticate(
        self, _server: Any, _session: Any, _envelope: Any, _how: str, given: Any
    ) -> AuthResult:
        assert isinstance(given, LoginPassword)
        self.logins.append(given.login.decode())
        return AuthResult(success=given.password == PASSWORD.encode(), handled=False)


def certificate(folder: Path, name: str = "127.0.0.1") -> Path:
    """Write a certificate that vouches for itself, and its key; return the file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail")])
    now = datetime.now(UTC)
    try:
        alternative: x509.GeneralName = x509.IPAddress(ip_address(name))
    except ValueError:
        alternative = x509.DNSName(name)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    path = folder / "cert.pem"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return path


@contextmanager
def mail_server(
    certificate: Path | None, *, starts_plain: bool = False, needs_login: bool = False
) -> Iterator[Mailbox]:
    """Serve mail; without a certificate it speaks no TLS at all."""
    box = Mailbox()
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    loop = asyncio.new_event_loop()

    connections: list[SMTP] = []

    def protocol() -> SMTP:
        made = SMTP(
            box,
            hostname="mail",
            loop=loop,
            tls_context=context if starts_plain else None,
            require_starttls=starts_plain and context is not None,
            auth_required=needs_login,
            authenticator=box.authenticate if needs_login else None,
            # One refusal is an answer; smtplib would try the next way.
            auth_exclude_mechanism=["LOGIN"],
        )
        connections.append(made)
        return made

    server = loop.run_until_complete(
        loop.create_server(
            protocol, "127.0.0.1", 0, ssl=None if starts_plain else context
        )
    )
    box.port = server.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield box
    finally:
        asyncio.run_coroutine_threadsafe(_end(server, connections), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _end(server: asyncio.Server, connections: list[SMTP]) -> None:
    server.close()
    for each in connections:
        if each.transport is not None and not each.transport.is_closing():
            each.transport.close()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.sleep(0)
