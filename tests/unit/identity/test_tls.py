"""The certificates in real handshakes: OpenSSL through Python, and DCMTK."""

import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from threading import Thread

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from leadglass.identity.authority import Authority, Issued, write_credentials
from leadglass.identity.certificates import CRL_VALIDITY, LEAF_VALIDITY, Revoked
from leadglass.identity.device import fingerprint

A_DAY = timedelta(days=1)
WAIT_S = 20.0
At = Callable[[datetime], Authority]


def server_context(authority: Authority, folder: Path) -> ssl.SSLContext:
    """A listener of the node, as strict as it gets."""
    credentials = authority.node_credentials()
    folder.mkdir(exist_ok=True)
    (folder / "node.pem").write_bytes(credentials.chain + credentials.key)
    (folder / "trust.pem").write_bytes(
        credentials.authorities + credentials.revocations
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(folder / "trust.pem")
    context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF | ssl.VERIFY_X509_STRICT
    context.load_cert_chain(folder / "node.pem")
    return context


def client_context(folder: Path, issued: Issued | None, trust: Path) -> ssl.SSLContext:
    """A device that checks the node's name, too."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.load_verify_locations(trust)
    if issued is not None:
        write_credentials(folder, issued)
        context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


@dataclass(slots=True)
class Met:
    """What the listener saw of one caller."""

    certificate: bytes | None = None
    error: str = ""


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, host: str) -> Met:
    """Shake hands on loopback; whatever goes wrong is told from the listener."""
    met = Met()
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        listener.settimeout(WAIT_S)

        def listen() -> None:
            connection, _ = listener.accept()
            connection.settimeout(WAIT_S)
            try:
                with server.wrap_socket(connection, server_side=True) as secured:
                    met.certificate = secured.getpeercert(binary_form=True)
                    secured.sendall(b"welcome")
            except OSError as error:
                met.error = str(error)
                connection.close()

        thread = Thread(target=listen)
        thread.start()
        try:
            with (
                closing(
                    socket.create_connection(listener.getsockname(), WAIT_S)
                ) as raw,
                client.wrap_socket(raw, server_hostname=host) as secured,
            ):
                # In TLS 1.3 a client learns only here that it was refused.
                assert secured.recv(7) in {b"welcome", b""}
        except OSError as error:
            met.error = met.error or str(error)
        finally:
            thread.join(WAIT_S)
    return met


@pytest.fixture
def shake(authority: Authority, tmp_path: Path) -> Callable[[Issued | None], Met]:
    def do(issued: Issued | None, host: str = "localhost") -> Met:
        server = server_context(authority, tmp_path / "node")
        folder = tmp_path / f"device{len(list(tmp_path.iterdir()))}"
        return handshake(
            server, client_context(folder, issued, authority.ca_path), host
        )

    return do


Shake = Callable[..., Met]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_device_and_the_node_prove_themselves_to_each_other(
    authority: Authority, shake: Shake, host: str
) -> None:
    issued = authority.issue("CT1")
    met = shake(issued, host)
    assert met.error == ""
    assert met.certificate is not None
    assert fingerprint(met.certificate) == issued.certificate.fingerprint_sha256


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_versions(
    authority: Authority, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    server = server_context(authority, tmp_path / "node")
    server.minimum_version = server.maximum_version = version
    client = client_context(tmp_path / "ct1", authority.issue("CT1"), authority.ca_path)
    assert handshake(server, client, "localhost").error == ""


def test_the_node_is_not_another_host(authority: Authority, shake: Shake) -> None:
    assert shake(authority.issue("CT1"), "pacs.example").error
    authority.renew_node(["pacs.example"])
    assert shake(authority.issue("CT1"), "pacs.example").error == ""


def test_nobody_comes_in_without_a_certificate(shake: Shake) -> None:
    met = shake(None)
    assert met.certificate is None
    assert "PEER_DID_NOT_RETURN_A_CERTIFICATE" in met.error


def test_the_device_of_another_authority(tmp_path: Path, shake: Shake) -> None:
    foreign = Authority.create(tmp_path / "foreign", bytes(32), ["localhost"])
    met = shake(foreign.issue("CT1"))
    assert met.certificate is None
    assert "CERTIFICATE_VERIFY_FAILED" in met.error


def test_an_expired_certificate(at: At, now: datetime, shake: Shake) -> None:
    met = shake(at(now - LEAF_VALIDITY - A_DAY).issue("CT1"))
    assert met.certificate is None
    assert "certificate has expired" in met.error


def test_a_certificate_of_tomorrow(at: At, now: datetime, shake: Shake) -> None:
    met = shake(at(now + A_DAY).issue("CT1"))
    assert "not yet valid" in met.error


def test_a_revoked_certificate(
    authority: Authority, now: datetime, shake: Shake
) -> None:
    stolen, kept = authority.issue("CT1"), authority.issue("CT2")
    assert shake(stolen).error == ""
    authority.publish_revocations(lambda: [Revoked(stolen.certificate.serial, now)])
    met = shake(stolen)
    assert met.certificate is None
    assert "certificate revoked" in met.error
    assert shake(kept).error == ""


def test_a_list_that_is_too_old_lets_nobody_in(
    authority: Authority, at: At, now: datetime, shake: Shake
) -> None:
    at(now - CRL_VALIDITY - A_DAY).publish_revocations(list)
    assert "CRL has expired" in shake(authority.issue("CT1")).error
    assert authority.revocations_are_due()


def test_a_device_cannot_make_devices(
    authority: Authority, shake: Shake, now: datetime
) -> None:
    """A leaf that signs another leaf is no authority, whatever the chain says."""
    thief = authority.issue("CT1")
    assert thief.key is not None
    thief_key = load_pem_private_key(thief.key, None)
    assert isinstance(thief_key, ec.EllipticCurvePrivateKey)
    key = rsa.generate_private_key(65537, 2048)
    parent = x509.load_pem_x509_certificate(thief.chain)
    forged = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(parent.subject)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now - A_DAY)
        .not_valid_after(now + A_DAY)
        .sign(thief_key, SHA256())
    )
    issued = Issued(
        certificate=thief.certificate,
        chain=forged.public_bytes(Encoding.PEM) + thief.chain,
        authorities=thief.authorities,
        key=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )
    assert "CERTIFICATE_VERIFY_FAILED" in shake(issued).error


def test_a_renewed_issuing_certificate_serves_old_devices(
    authority: Authority, shake: Shake
) -> None:
    issued = authority.issue("CT1")
    authority.renew_issuing()
    assert shake(issued).error == ""
    assert shake(authority.issue("CT2")).error == ""


# ── DCMTK ────────────────────────────────────────────────────────────────────


@contextmanager
def storescp(folder: Path, credentials: Path) -> Iterator[int]:
    """DCMTK's receiver with TLS and a client certificate required."""
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port: int = free.getsockname()[1]
    tls = [str(credentials / name) for name in ("key.pem", "cert.pem")]
    command = [program("storescp"), "--ignore", "+tls", *tls]
    command += ["+cf", str(credentials / "ca.pem"), str(port)]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + WAIT_S
        while not listens(port):
            assert process.poll() is None
            assert time.monotonic() < deadline
        yield port
    finally:
        process.terminate()
        process.wait(WAIT_S)


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), WAIT_S).close()
    except ConnectionRefusedError:
        return False
    return True


def program(name: str) -> str:
    found = shutil.which(name)
    assert found, f"{name} is missing; install Debian's dcmtk"
    return found


def echoscu(port: int, credentials: Path, trust: Path) -> int:
    tls = [str(credentials / name) for name in ("key.pem", "cert.pem")]
    command = [program("echoscu"), "+tls", *tls, "+cf", str(trust), "127.0.0.1"]
    return subprocess.run(
        [*command, str(port)], check=False, capture_output=True, timeout=WAIT_S
    ).returncode


def test_dcmtk_takes_our_certificates_on_both_sides(
    authority: Authority, tmp_path: Path
) -> None:
    foreign = Authority.create(tmp_path / "foreign", bytes(32), ["localhost"])
    for name, source in (("ct1", authority), ("ws1", authority), ("x", foreign)):
        write_credentials(tmp_path / name, source.issue(name))
    ca = authority.ca_path
    with storescp(tmp_path, tmp_path / "ws1") as port:
        assert echoscu(port, tmp_path / "ct1", ca) == 0
        assert echoscu(port, tmp_path / "x", ca) != 0
        assert echoscu(port, tmp_path / "ct1", tmp_path / "x" / "ca.pem") != 0
        assert echoscu(port, tmp_path / "ct1", ca) == 0
