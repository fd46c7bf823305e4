"""The doors: which TLS they speak, and what each role finds behind them."""

import ssl
import warnings
from http import HTTPStatus
from typing import Final

from leadglass.access.roles import ROLES
from leadglass.assurance.compliance.asking import ask
from leadglass.assurance.compliance.probe import Seen, Witnessed
from leadglass.assurance.compliance.twin import LOOPBACK, Proof, Twin
from leadglass.assurance.peer import Calling, connect
from leadglass.dicom.aetitle import AETitle
from leadglass.errors import LeadglassError

_OLD: Final = (
    ("TLS 1.0", ssl.TLSVersion.TLSv1),
    ("TLS 1.1", ssl.TLSVersion.TLSv1_1),
)
_NEW: Final = (
    ("TLS 1.2", ssl.TLSVersion.TLSv1_2),
    ("TLS 1.3", ssl.TLSVersion.TLSv1_3),
)
# One of each kind that RFC 9325 §4.2 and PS3.15 §B.12 leave out: no forward secrecy, no
# authenticated encryption, 3DES, no encryption at all, nobody authenticated.
WEAK_SUITES: Final = (
    *("AES128-GCM-SHA256", "AES256-SHA", "ECDHE-ECDSA-AES128-SHA", "DES-CBC3-SHA"),
    *(
        "ECDHE-ECDSA-AES256-SHA384",
        "NULL-SHA256",
        "ECDHE-ECDSA-NULL-SHA",
        "ADH-AES128-SHA",
    ),
)
_ALL: Final = "ALL:COMPLEMENTOFALL"
GOOD_SUITE: Final = "ECDHE-ECDSA-AES128-GCM-SHA256"
_TITLE: Final = AETitle("HANDSHAKER")
_ROLES: Final = ("administrator", "radiologist", "technologist", "referring", "privacy")


def tls(twin: Twin) -> Seen:
    """Offer each door old versions and weak suites, and then what is right."""
    seen = Witnessed()
    proof = twin.enrol("HANDSHAKER")
    for door, port in (("DICOM", twin.dimse_port), ("HTTPS", twin.https_port)):
        for name, version in _OLD:
            refused = not shakes_hands(port, proof, version)
            seen.expect(refused, f"{door}: {name} is refused (RFC 8996)")
        taken = [
            each
            for each in WEAK_SUITES
            if shakes_hands(port, proof, ssl.TLSVersion.TLSv1_2, each)
        ]
        seen.expect(not taken, f"{door}: {len(taken)} weak suites are taken")
        for name, version in _NEW:
            seen.expect(shakes_hands(port, proof, version), f"{door}: {name} is taken")
        seen.expect(
            shakes_hands(port, proof, ssl.TLSVersion.TLSv1_2, GOOD_SUITE),
            f"{door}: a suite of PS3.15 B.12 is taken",
        )
    return seen.seen()


def shakes_hands(
    port: int,
    proof: Proof,
    version: ssl.TLSVersion,
    suites: str = "ALL:COMPLEMENTOFALL",
) -> bool:
    """Tell whether a listener makes a handshake in this version and these suites.

    The lowest level of OpenSSL's own scruples, so that it is the listener who refuses.
    """
    context = ssl.create_default_context(cafile=str(proof.authorities))
    context.check_hostname = False
    try:
        context.set_ciphers(f"{suites}:@SECLEVEL=0")
    except ssl.SSLError:
        return False  # not even known here
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    context.load_cert_chain(proof.certificate, proof.key)
    try:
        with connect(Calling(LOOPBACK, port, _TITLE, _TITLE, context)):
            return True
    except (LeadglassError, OSError):
        return False


def roles(twin: Twin) -> Seen:
    """As each role, ask for everything that can be read over HTTPS."""
    seen = Witnessed()
    ways = [each for each in twin.ways() if each.method == "GET" and each.right]
    for role in _ROLES:
        cookie = twin.person(f"role-{role}", role)
        rights = {str(each) for each in ROLES[role].rights}
        wrong = []
        for way in ways:
            status = ask(twin, "GET", way.path, cookie=cookie).status
            if (status == HTTPStatus.FORBIDDEN) == (way.right in rights):
                wrong.append(f"{role}: {way.path} ({way.right}): {status}")
        denied = sum(way.right not in rights for way in ways)
        seen.expect(
            denied and not wrong,
            f"{role}: {denied} of {len(ways)} ways are refused, as the role says",
        )
        for each in wrong[:10]:
            seen.note(each)
    return seen.seen()
