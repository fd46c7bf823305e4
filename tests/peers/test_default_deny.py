"""Who is not enrolled gets nothing, whatever he brings; the record says why.

Each test comes from an address of its own, 127.0.0.0/8 being all of this machine, so
that its refusals are found on the record, and none is counted with another's.
"""

import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest

from leadglass.archive.register import Registrar
from leadglass.dicom.sop_classes import VERIFICATION
from leadglass.dicom.transfer_syntaxes import IMPLICIT_VR_LE
from leadglass.errors import Misconfigured
from leadglass.identity.authority import Authority, write_credentials
from leadglass.identity.device import PlaintextRequest, parse_device
from tests.peers import programs, samples
from tests.peers.client import (
    Client,
    Turned,
    associated,
    connect,
    request_of,
    secure,
    tls_context,
    until_closed,
)
from tests.peers.nodes import SEEN_WITHIN_S, comes_true, is_told, made, serving
from tests.support.node import LOOPBACK, Credentials, RunningNode

pytestmark = pytest.mark.filterwarnings("ignore")

# A-ASSOCIATE-RJ: permanent, by the service user, no reason given (PS3.8 §9.3.4).
REJECTED = bytes.fromhex("03 00 00000004 00 01 01 01")
_NUMBERS = count(10)


def own_address() -> str:
    """Return an address of this machine that no other test comes from."""
    return f"127.0.1.{next(_NUMBERS)}"


@dataclass
class Site:
    """A node and devices that are known to it in one way or another."""

    node: RunningNode
    devices: dict[str, Credentials] = field(default_factory=dict)


def issued_at(node: RunningNode, name: str, when: datetime) -> Credentials:
    """Enrol a device whose certificate was made at another time."""
    folder = node.home.parent / name
    device = parse_device(
        name=name,
        ae_titles=[name],
        networks=LOOPBACK,
        rights=["echo"],
        now=datetime.now(UTC),
    )
    with node.open() as opened:
        key = opened.keyring.derive("authority")
        authority = Authority(opened.layout.authority, key, lambda: when)
        registrar = Registrar(opened.parts, opened.devices, authority)
        return Credentials(folder, registrar.enrol(opened.operator, device, folder))


def never_enrolled(node: RunningNode, name: str, like: Credentials) -> Credentials:
    """Return a good certificate that the register does not know."""
    folder = node.home.parent / name
    with node.open() as opened:
        write_credentials(folder, opened.authority.issue(name))
    return Credentials(folder, like.device)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("deny")
    node, foreign = made(folder / "node"), made(folder / "foreign")
    now = datetime.now(UTC)
    devices = {
        "A": node.enrol("A", ae=["DEVICE_A"]),
        "B": node.enrol("B", ae=["DEVICE_B"]),
        "FAR": node.enrol("FAR", networks=["127.0.0.2/32"]),
        "REVOKED": node.enrol("REVOKED"),
        "LEAVER": node.enrol("LEAVER"),
        "FOREIGN": foreign.enrol("A", ae=["DEVICE_A"]),
        "EXPIRED": issued_at(node, "EXPIRED", now - timedelta(days=500)),
        "EARLY": issued_at(node, "EARLY", now + timedelta(days=2)),
    }
    devices["GHOST"] = never_enrolled(node, "GHOST", devices["A"])
    with node.open() as opened:
        opened.registrar.revoke(opened.operator, "REVOKED", "lost")
    with serving(node):
        yield Site(node, devices)


def heard(
    node: RunningNode,
    credentials: Credentials,
    calling: str,
    source: str,
    called: str = "LEADGLASS",
) -> bytes:
    """Ask for an association with TLS; return all that is answered."""
    with secure(node, tls_context(credentials), source) as sock:
        sock.sendall(request_of(calling, called=called).encode())
        return until_closed(sock)


# Who comes, with which calling and called title, and what the record must say.
REFUSALS = {
    "a title of another device": ("A", "DEVICE_B", "LEADGLASS", "calls itself"),
    "a title of nobody": ("A", "NOBODY", "LEADGLASS", "calls itself NOBODY"),
    "its title in small letters": ("A", "device_a", "LEADGLASS", "calls itself"),
    "its name in place of its title": ("A", "A", "LEADGLASS", "calls itself A"),
    "its title and more": ("A", "DEVICE_A1", "LEADGLASS", "calls itself"),
    "another called title": ("A", "DEVICE_A", "ANY-SCP", "calls ANY-SCP"),
    "the called title in small letters": (
        "A",
        "DEVICE_A",
        "leadglass",
        "calls leadglass",
    ),
    "its own title as the called one": ("A", "DEVICE_A", "DEVICE_A", "calls DEVICE_A"),
    "from the wrong network": ("FAR", "FAR", "LEADGLASS", "in none of its networks"),
    "a certificate of nobody": ("GHOST", "DEVICE_A", "LEADGLASS", "no enrolled device"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_one_answer_for_all_reasons(site: Site, case: str) -> None:
    name, calling, called, reason = REFUSALS[case]
    source = own_address()
    assert heard(site.node, site.devices[name], calling, source, called) == REJECTED
    assert is_told(site.node, source, reason)


def test_blanks_round_a_title_mean_nothing(site: Site) -> None:
    """PS3.8 §9.3.2: leading and trailing spaces are not significant."""
    request = bytearray(request_of("DEVICE_A").encode())
    at = request.index(b"DEVICE_A")
    request[at : at + 16] = b"  DEVICE_A      "
    context = tls_context(site.devices["A"])
    with secure(site.node, context, own_address()) as sock:
        sock.sendall(request)
        assert sock.recv(1) == b"\x02"  # A-ASSOCIATE-AC


# Who comes, and what the record must say of his handshake.
HANDSHAKES = {
    "FOREIGN": "TLS: unable to get",
    "EXPIRED": "TLS: certificate has expired",
    "EARLY": "TLS: certificate is not yet valid",
    "REVOKED": "TLS: certificate revoked",
}


@pytest.mark.parametrize("name", HANDSHAKES)
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_certificates_that_prove_nothing(
    site: Site, name: str, version: ssl.TLSVersion
) -> None:
    source = own_address()
    context = tls_context(
        site.devices[name], authority=site.devices["A"], version=version
    )
    assert refused_at_handshake(site.node, context, source)
    assert is_told(site.node, source, HANDSHAKES[name])


def refused_at_handshake(
    node: RunningNode, context: ssl.SSLContext, source: str
) -> bool:
    """Tell whether the connection ends without a byte of DICOM."""
    try:
        with secure(node, context, source) as sock:
            # With TLS 1.3 our side is done before the node has seen who we are.
            sock.sendall(request_of("DEVICE_A").encode())
            return until_closed(sock) == b""
    except (ssl.SSLError, ConnectionError):
        return True


def test_no_certificate(site: Site) -> None:
    source = own_address()
    context = tls_context(None, authority=site.devices["A"])
    assert refused_at_handshake(site.node, context, source)
    assert is_told(site.node, source, "TLS: peer did not return a certificate")


# What PS3.15 B.12 does not have: OpenSSL's names, each tried alone.
SUITES = [
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-ECDSA-AES128-CCM",
    "ECDHE-ECDSA-AES128-SHA256",
    "ECDHE-ECDSA-AES256-SHA384",
    "ECDHE-ECDSA-AES128-SHA",
    "AES128-GCM-SHA256",
    "NULL-SHA256",
]


@pytest.mark.parametrize("suite", SUITES)
def test_suites_that_are_not_listed(site: Site, suite: str) -> None:
    source = own_address()
    context = tls_context(
        site.devices["A"],
        version=ssl.TLSVersion.TLSv1_2,
        suites=f"{suite}:@SECLEVEL=0",
    )
    assert refused_at_handshake(site.node, context, source)
    assert is_told(site.node, source, "TLS: no shared cipher")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_versions_of_tls(site: Site, version: ssl.TLSVersion) -> None:
    source = own_address()
    context = tls_context(site.devices["A"], version=version, suites="ALL:@SECLEVEL=0")
    assert refused_at_handshake(site.node, context, source)
    assert is_told(site.node, source, "TLS: unsupported protocol")


def test_plaintext_on_the_tls_port(site: Site) -> None:
    source = own_address()
    with connect((site.node.host, site.node.port), source) as sock:
        sock.sendall(request_of("DEVICE_A").encode())
        answer = until_closed(sock)
    assert answer[:1] in {b"", b"\x15"}  # nothing, or an alert of TLS
    assert is_told(site.node, source, "TLS: ")


def test_revoked_while_the_node_runs(site: Site) -> None:
    """From the next association on, and at once for what one that stands asks."""
    node, leaver, source = site.node, site.devices["LEAVER"], own_address()

    def is_out() -> bool:
        try:
            with associated(node, leaver, source=source):
                return False
        except (Turned, OSError):
            return True

    with associated(node, leaver, source=source) as standing:
        assert standing.echo() == 0
        with node.open() as opened:
            opened.registrar.revoke(opened.operator, "LEAVER", "sold")
        assert comes_true(is_out, SEEN_WITHIN_S)
        assert comes_true(lambda: standing.echo() == 0x0124, SEEN_WITHIN_S)
    assert is_told(node, source, "revoked")


# --- a node that knows nobody, and one that knows nobody here ------------------------


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    with serving(made(tmp_path_factory.mktemp("fresh") / "node")) as node:
        yield node


def is_shut(node: RunningNode, source: str) -> bool:
    """Tell whether the node closes before it has said, or heard, a byte."""
    with connect((node.host, node.port), source) as sock:
        return until_closed(sock) == b""


def test_a_fresh_node_says_nothing_to_anybody(fresh: RunningNode) -> None:
    source = own_address()
    assert is_shut(fresh, source)
    assert is_told(fresh, source, "no device comes from this address")


@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        ("echoscu", ()),
        ("findscu", ("-S", "-k", "QueryRetrieveLevel=STUDY", "-k", "PatientName")),
        ("storescu", ("+sd", ".")),
        ("movescu", ("-S", "-aem", "X", "-k", "QueryRetrieveLevel=STUDY")),
        ("getscu", ("-S", "-k", "QueryRetrieveLevel=STUDY")),
    ],
)
def test_a_fresh_node_refuses_every_operation(
    fresh: RunningNode, tmp_path: Path, program: str, arguments: tuple[str, ...]
) -> None:
    image = samples.save(samples.instance(), tmp_path / "image.dcm")
    given = [str(image) if each == "." else each for each in arguments]
    if program == "storescu":
        given = [str(image)]
    for calling in ("ANY", "LEADGLASS"):
        programs.run(
            program,
            *("-aet", calling, "-aec", "LEADGLASS"),
            *("localhost", str(fresh.port)),
            *given,
            ok=False,
        )


def test_a_fresh_node_refuses_a_stranger_with_tls(
    fresh: RunningNode, site: Site
) -> None:
    for context in (tls_context(None), tls_context(site.devices["A"])):
        assert refused_at_handshake(fresh, context, own_address())


def test_the_wrong_network_is_closed_before_tls(tmp_path: Path) -> None:
    node = made(tmp_path / "node")
    far = node.enrol("FAR", networks=["127.0.0.2/32"])
    with serving(node):
        with associated(node, far, source="127.0.0.2") as client:
            assert client.echo() == 0
        assert is_shut(node, "127.0.0.1")
        assert is_told(node, "127.0.0.1", "no device comes from this address")


# --- plaintext, by exception alone ----------------------------------------------------

PLAIN_ADDRESS = "127.0.0.3"


@dataclass
class Old:
    """A node with a plaintext listener, for one device at one address."""

    node: RunningNode
    with_tls: Credentials

    def ask(self, calling: str, source: str) -> bytes:
        """Return the first byte of the answer in plaintext; none: it is closed."""
        port = self.node.plaintext_port
        assert port is not None
        with connect((self.node.host, port), source) as sock:
            try:
                sock.sendall(request_of(calling).encode())
                return sock.recv(10)
            except ConnectionError:
                return b""


def grant(node: RunningNode, name: str, address: str, lasts: timedelta) -> None:
    """Enrol a device without TLS."""
    node.enrol(
        name,
        networks=(),
        has_tls=False,
        unsafe_plaintext=PlaintextRequest(
            address=address,
            reason="an ultrasound of 1998",
            not_after=datetime.now(UTC) + lasts,
        ),
    )


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Old]:
    node = made(
        tmp_path_factory.mktemp("old") / "node",
        dimse__unsafe_plaintext_listen="127.0.0.1:0",
    )
    grant(node, "OLD_US", PLAIN_ADDRESS, timedelta(days=1))
    modern = node.enrol("MODERN")
    with serving(node):
        yield Old(node, modern)


def test_plaintext_from_the_named_address(old: Old) -> None:
    port = old.node.plaintext_port
    assert port is not None
    sock = connect((old.node.host, port), PLAIN_ADDRESS)
    client = Client(sock, request_of("OLD_US"))
    assert client.echo() == 0
    client.release()
    client.close()


def test_plaintext_with_another_title(old: Old) -> None:
    assert old.ask("MODERN", PLAIN_ADDRESS) == REJECTED
    assert is_told(old.node, PLAIN_ADDRESS, "as MODERN")


def test_plaintext_from_another_address(old: Old) -> None:
    source = own_address()
    assert old.ask("OLD_US", source) == b""
    assert is_told(old.node, source, "no device comes from this address")


def test_plaintext_device_on_the_tls_port(old: Old) -> None:
    """Its address is no network of a device with TLS; a certificate it has none."""
    context = tls_context(None, authority=old.with_tls)
    assert refused_at_handshake(old.node, context, PLAIN_ADDRESS)


def test_plaintext_until_it_expires(old: Old) -> None:
    address = "127.0.0.4"
    lasts = timedelta(seconds=6)
    grant(old.node, "BRIEF", address, lasts)
    assert comes_true(lambda: old.ask("BRIEF", address)[:1] == b"\x02", SEEN_WITHIN_S)
    assert comes_true(lambda: old.ask("BRIEF", address) == REJECTED, 8)
    assert is_told(old.node, address, "plaintext exception expired")


@pytest.mark.parametrize(
    "address", ["0.0.0.0:0", "[::]:0", "8.8.8.8:104", "[2001:db8::1]:104"]
)
def test_plaintext_where_strangers_are_is_refused_at_start(
    tmp_path: Path, address: str
) -> None:
    node = made(tmp_path / "node")
    node.settings = {"dimse.unsafe_plaintext_listen": address}
    with pytest.raises(Misconfigured, match="unsafe_plaintext_listen"):
        _ = node.config
    with pytest.raises(AssertionError, match="did not start"):
        node.start()


# --- no place for others is held ------------------------------------------------------


@dataclass
class Small:
    """A node with few places and little patience."""

    node: RunningNode
    one: Credentials
    other: Credentials


PER_DEVICE, PER_ADDRESS, TOTAL = 2, 3, 6


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Small]:
    node = made(
        tmp_path_factory.mktemp("small") / "node",
        dimse__association_count_per_device_max=str(PER_DEVICE),
        dimse__association_count_per_address_max=str(PER_ADDRESS),
        dimse__association_count_max=str(TOTAL),
        dimse__tls_handshake_timeout_s="2",
        dimse__artim_timeout_s="2",
        dimse__idle_timeout_s="2",
    )
    one, other = node.enrol("ONE"), node.enrol("OTHER")
    with serving(node):
        yield Small(node, one, other)


def can_echo(node: RunningNode, device: Credentials, source: str) -> bool:
    try:
        with associated(
            node, device, [(VERIFICATION, (IMPLICIT_VR_LE,))], source=source
        ) as client:
            return client.echo() == 0
    except (Turned, OSError):
        return False


def test_no_more_associations_than_a_device_may_have(small: Small) -> None:
    sources = [own_address() for _ in range(PER_DEVICE + 1)]
    held = [
        Client(secure(small.node, tls_context(small.one), source), request_of("ONE"))
        for source in sources[:PER_DEVICE]
    ]
    with (
        pytest.raises(Turned) as turned,
        associated(small.node, small.one, source=sources[-1]),
    ):
        pass
    assert turned.value.reject is not None
    # Transient, presentation service provider, local limit exceeded.
    assert turned.value.reject.encode()[-3:] == bytes((2, 3, 2))
    assert can_echo(small.node, small.other, sources[-1])  # others have their own
    held[0].release()
    held[0].close()
    assert comes_true(
        lambda: can_echo(small.node, small.one, sources[-1]), SEEN_WITHIN_S
    )
    held[1].close()


def test_half_open_handshakes_hold_no_place_for_others(small: Small) -> None:
    source, other = own_address(), own_address()
    address = (small.node.host, small.node.port)
    held = [connect(address, source) for _ in range(PER_ADDRESS)]
    assert is_shut(small.node, source)  # one more from there
    assert can_echo(small.node, small.one, other)
    assert all(until_closed(each) == b"" for each in held)  # its time is over
    assert comes_true(lambda: can_echo(small.node, small.one, source), SEEN_WITHIN_S)
    assert is_told(small.node, source, "TLS: no handshake in time")
    for each in held:
        each.close()


def test_a_flood_from_everywhere_ends(small: Small) -> None:
    address = (small.node.host, small.node.port)
    held = [connect(address, own_address()) for _ in range(TOTAL + 2)]
    assert not can_echo(small.node, small.one, own_address())
    for each in held:
        each.close()
    late = own_address()
    assert comes_true(lambda: can_echo(small.node, small.one, late), SEEN_WITHIN_S)


def test_a_slow_drip_is_no_life(small: Small) -> None:
    """A byte now and then does not keep a place."""
    source = own_address()
    sock = secure(small.node, tls_context(small.one), source)
    request = request_of("ONE").encode()
    sock.settimeout(0.2)
    sent = 0
    with sock:
        for byte in request:
            try:
                sock.sendall(bytes((byte,)))
                sent += 1
                sock.recv(1)
                break
            except TimeoutError:
                continue
            except OSError:
                break
    assert sent < 60  # two seconds have ten bytes
    assert is_told(small.node, source, "no association was asked for")


def test_an_idle_association_is_ended(small: Small) -> None:
    source = own_address()
    client = Client(
        secure(small.node, tls_context(small.one), source), request_of("ONE")
    )
    assert client.echo() == 0
    event = client.connection.event()  # comes by itself
    client.close()
    assert type(event).__name__ == "Aborted"
