"""A real directory on loopback: Debian's slapd, with people, groups and TLS."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import ldap3

from tests.support.openid import HOST, Authority

SLAPD: Final = Path("/usr/sbin/slapd")
BASE: Final = "dc=hospital,dc=example"
PEOPLE, GROUPS = f"ou=people,{BASE}", f"ou=groups,{BASE}"
READER, READER_PASSWORD = f"cn=leadglass,{BASE}", "a password of the node"
ROOT, ROOT_PASSWORD = f"cn=root,{BASE}", "a password of the test"
PASSWORD: Final = "a password of the directory"
START_TIMEOUT_S: Final = 20
CONFIGURATION: Final = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
pidfile {folder}/slapd.pid
argsfile {folder}/slapd.args
TLSCertificateFile {cert}
TLSCertificateKeyFile {key}
# Passwords are not taken without TLS, but on the port that is named unsafe.
database mdb
suffix "{base}"
rootdn "{root}"
rootpw "{root_password}"
directory {folder}/data
overlay memberof
access to attrs=userPassword by anonymous auth by * none
access to dn.subtree="ou=hidden,{base}" by * none
access to * by dn.exact="{reader}" read by self read by anonymous auth by * none
"""


@dataclass
class Slapd:
    """The directory; it runs until the test ends it."""

    folder: Path
    authority: Authority
    port: int
    tls_port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"ldaps://localhost:{self.tls_port}"

    @property
    def starttls_url(self) -> str:
        return f"ldap://localhost:{self.port}"

    def start(self) -> None:
        # A copy: what a distribution forbids its own one (AppArmor) is not for this.
        program = self.folder / "slapd"
        if not program.exists():
            shutil.copy2(SLAPD, program)
        urls = f"ldap://{HOST}:{self.port} ldaps://{HOST}:{self.tls_port}"
        conf = str(self.folder / "slapd.conf")
        self.process = subprocess.Popen(
            [str(program), "-d", "0", "-h", urls, "-f", conf],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        ends_at = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                socket.create_connection((HOST, self.tls_port), 1).close()
            except OSError:
                assert self.process.poll() is None, "slapd did not start"
                assert time.monotonic() < ends_at, "slapd does not listen"
                time.sleep(0.02)
            else:
                return

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(START_TIMEOUT_S)
            self.process = None

    @contextmanager
    def root(self) -> Iterator[Any]:
        server = ldap3.Server(HOST, self.port, get_info=ldap3.NONE)
        line = ldap3.Connection(server, ROOT, ROOT_PASSWORD)
        assert line.bind(), line.result
        try:
            yield line
        finally:
            line.unbind()

    def know(self, name: str, **more: Any) -> str:
        """Add somebody; return the DN."""
        dn = f"uid={name},{PEOPLE}"
        said = {"cn": name.title(), "sn": name, "userPassword": PASSWORD, **more}
        with self.root() as line:
            assert line.add(dn, "inetOrgPerson", said), line.result
        return dn

    def group(self, name: str, *members: str) -> str:
        """Make a group of these DNs; return its DN."""
        dn = f"cn={name},{GROUPS}"
        with self.root() as line:
            said = {"member": list(members)}
            assert line.add(dn, "groupOfNames", said), line.result
        return dn

    def drop(self, dn: str) -> None:
        with self.root() as line:
            assert line.delete(dn), line.result


def _free_ports() -> tuple[int, int]:
    with socket.create_server((HOST, 0)) as one, socket.create_server((HOST, 0)) as two:
        return one.getsockname()[1], two.getsockname()[1]


@contextmanager
def slapd(folder: Path) -> Iterator[Slapd]:
    """Run a directory with a place for people and one for groups."""
    authority = Authority(folder / "ca")
    cert, key = authority.issue()
    (folder / "data").mkdir()
    (folder / "slapd.conf").write_text(
        CONFIGURATION.format(
            folder=folder,
            cert=cert,
            key=key,
            base=BASE,
            root=ROOT,
            root_password=ROOT_PASSWORD,
            reader=READER,
        )
    )
    directory = Slapd(folder, authority, *_free_ports())
    directory.start()
    try:
        with directory.root() as line:
            said = {"dc": "hospital", "o": "A hospital"}
            assert line.add(BASE, ["dcObject", "organization"], said), line.result
            for unit in ("people", "groups", "hidden"):
                assert line.add(f"ou={unit},{BASE}", "organizationalUnit")
            reader = {"userPassword": READER_PASSWORD}
            kinds = ["organizationalRole", "simpleSecurityObject"]
            assert line.add(READER, kinds, reader), line.result
        yield directory
    finally:
        directory.stop()
