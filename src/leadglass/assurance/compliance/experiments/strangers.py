"""Who is nobody gets nothing: E1 from outside, E6 with wrong proofs, E8 by guessing."""

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from leadglass.assurance.compliance.asking import ask, log_in
from leadglass.assurance.compliance.probe import Seen, Witnessed
from leadglass.assurance.compliance.twin import (
    LOOPBACK,
    Login,
    Twin,
    calling,
    trusting,
)
from leadglass.assurance.exposure.options import Options
from leadglass.assurance.exposure.reach import Reach
from leadglass.assurance.exposure.scan import scan_own
from leadglass.assurance.peer import Calling, associate, connect
from leadglass.audit.codes import EventID, Outcome
from leadglass.dicom.aetitle import AETitle
from leadglass.dicom.sop_classes import VERIFICATION
from leadglass.errors import LeadglassError, PeerError, Refused, Unavailable
from leadglass.wire.status import SUCCESS

# What a stranger may be told: that he is nobody, may not, or asked wrongly. A page may
# send him to the login.
_TURNED_AWAY: Final = frozenset(
    {301, 302, 303, 307, 400, 401, 403, 404, 405, 406, 411, 413, 415}
)
_LOGIN: Final = "/login"
# More wrong passwords than any setting leaves free.
GUESSES: Final = 12
ROUNDS: Final = 3
_Adds = Callable[[ssl.SSLContext], ssl.SSLContext]
_WRONG_NETWORK: Final = ("192.0.2.0/24",)  # RFC 5737: nobody is there


def is_heard(to: Calling) -> bool:
    """Tell whether somebody is given an association and an answer there."""
    try:
        with associate(to, (VERIFICATION,)) as peer:
            return peer.echo() == SUCCESS
    except (PeerError, Refused, Unavailable):
        return False


def outside(twin: Twin) -> Seen:
    """E1: knock at each door as somebody who has nothing but a route to it."""
    seen = Witnessed()
    plain = calling(twin, "STRANGER", None)
    seen.expect(not is_heard(plain), "plaintext DICOM gets no association")
    bare = calling(twin, "STRANGER", trusting(twin.authorities))
    seen.expect(not is_heard(bare), "TLS without a certificate gets no association")
    with self_made("STRANGER") as made:
        own = calling(twin, "STRANGER", made(trusting(twin.authorities)))
        seen.expect(not is_heard(own), "a self-made certificate gets no association")
    seen.expect(not _speaks_plain_http(twin), "plaintext HTTP gets no answer")
    open_ways = []
    ways = twin.ways()
    for way in ways:
        if way.is_public:
            continue
        body = b"{}" if way.method in {"POST", "PUT", "PATCH"} else None
        kind = {"Content-Type": "application/json"} if body else {}
        said = ask(twin, way.method, way.path, body=body, headers=kind)
        to_login = said.headers.get("location", "").startswith(_LOGIN)
        if said.status not in _TURNED_AWAY or (
            300 <= said.status < 400 and not to_login
        ):
            open_ways.append(f"{way.method} {way.path}: {said.status}")
    closed = sum(not way.is_public for way in ways)
    seen.expect(
        closed and not open_ways, f"{closed} ways of HTTPS turn a stranger away"
    )
    for each in open_ways[:10]:
        seen.note(each)
    return seen.seen()


def scanned(twin: Twin) -> Seen:
    """Scan both doors as anybody on the Internet would, and judge as if they could."""
    seen = Witnessed()
    twin.enrol("SCANNED")
    options = Options(reach=Reach.INTERNET, trust=trusting(twin.authorities))
    doors = [(LOOPBACK, twin.dimse_port), (LOOPBACK, twin.https_port)]
    found = scan_own(doors, options)
    alarming = [each for each in found if each.is_alarming]
    seen.expect(found, f"the scan answers: {len(found)} findings of any severity")
    seen.expect(not alarming, f"{len(alarming)} findings are medium or worse")
    for each in alarming:
        seen.note(f"{each.severity}: {each.id} {each.title}")
    return seen.seen()


def _speaks_plain_http(twin: Twin) -> bool:
    to = Calling(LOOPBACK, twin.https_port, twin.title, twin.title)
    try:
        with connect(to) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            return sock.recv(16).startswith(b"HTTP/1")
    except (OSError, LeadglassError):
        return False


def wrong_proofs(twin: Twin) -> Seen:
    """E6: come with a certificate that is not the right one, in five ways and more."""
    seen = Witnessed()
    right = twin.enrol("RIGHT")
    gone = twin.enrol("GONE")
    far = twin.enrol("FAR", _WRONG_NETWORK)
    seen.expect(
        is_heard(calling(twin, "RIGHT", right.context())),
        "the right certificate is let in, so what follows tests something",
    )
    twin.revoke("GONE")
    trust = trusting(twin.authorities)
    with self_made("RIGHT") as made, self_made("RIGHT", ended=True) as old:
        wrong: tuple[tuple[str, Calling], ...] = (
            ("no certificate", calling(twin, "RIGHT", trust)),
            (
                "a certificate of its own making",
                calling(twin, "RIGHT", made(trusting(twin.authorities))),
            ),
            (
                "a certificate that has ended",
                calling(twin, "RIGHT", old(trusting(twin.authorities))),
            ),
            ("a revoked certificate", calling(twin, "GONE", gone.context())),
            ("a right certificate from elsewhere", calling(twin, "FAR", far.context())),
            (
                "a right certificate with another's title",
                calling(twin, "GONE", right.context()),
            ),
            (
                "a right certificate for another node",
                _to_another(calling(twin, "RIGHT", right.context())),
            ),
        )
        for what, to in wrong:
            seen.expect(not is_heard(to), f"{what} is refused")
    twin.settle()
    refused = [
        each
        for each in twin.records()
        if each.data and each.event.id is EventID.SECURITY_ALERT
    ]
    seen.expect(len(refused) >= 3, "refusals are on the record")
    return seen.seen()


def _to_another(to: Calling) -> Calling:
    return Calling(to.host, to.port, AETitle("ANOTHER"), to.calling, to.tls)


def guessing(twin: Twin) -> Seen:
    """E8: guess a password, and look at what happens to it and on the record."""
    seen = Witnessed()
    guessed = twin.login_of("guessed", "radiologist")
    other = twin.login_of("not-guessed", "radiologist")
    statuses: list[int] = []
    is_slowed = False
    for _ in range(ROUNDS):
        statuses += [
            log_in(twin, guessed, password=f"wrong-{n}-{other.password}").status
            for n in range(GUESSES)
        ]
        # It may come when the last delay is just over: then it is begun anew.
        is_slowed = log_in(twin, guessed).status >= HTTPStatus.BAD_REQUEST
        if is_slowed:
            break
    seen.note(f"answers to {len(statuses)} wrong passwords: {sorted(set(statuses))}")
    seen.expect(
        not any(each < HTTPStatus.BAD_REQUEST for each in statuses),
        "no wrong password is taken",
    )
    seen.expect(is_slowed, "after them the right password has to wait, too")
    nobody = Login("nobody-at-all", other.password, other.app)
    seen.expect(
        log_in(twin, nobody).status in statuses,
        "who does not exist is answered like who does",
    )
    twin.settle()
    failed = [
        each
        for each in twin.records()
        if each.data
        and each.event.id is EventID.USER_AUTHENTICATION
        and each.event.outcome is not Outcome.SUCCESS
    ]
    seen.expect(failed, "failed log-ins are on the record")
    return seen.seen()


@contextmanager
def self_made(name: str, *, ended: bool = False) -> Iterator[_Adds]:
    """Give what adds a certificate of the caller's own making to a context."""
    now = datetime.now(UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=30))
        .not_valid_after(now + timedelta(days=-1 if ended else 30))
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    pem += key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    with TemporaryDirectory() as folder:
        path = Path(folder) / "own.pem"
        path.touch(mode=0o600)
        path.write_bytes(pem)

        def add(context: ssl.SSLContext) -> ssl.SSLContext:
            context.load_cert_chain(path)
            return context

        yield add
