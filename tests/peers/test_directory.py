"""The adapter of directories against slapd, and against what only looks like one."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ldap3.utils.dn import parse_dn

from leadglass.errors import Refused, Unavailable
from leadglass.identity.federation.asking import tls_context
from leadglass.identity.federation.directory import (
    ANSWER_BYTES_MAX,
    Directory,
    Lookup,
    Place,
    escaped_dn,
    escaped_filter,
    normal_dn,
)
from tests.support.openid import HOST, Authority
from tests.support.slapd import (
    BASE,
    GROUPS,
    PASSWORD,
    PEOPLE,
    READER,
    READER_PASSWORD,
    Slapd,
    slapd,
)

TIME_S = 5.0
SHORT_S = 1.0
TEMPLATE = f"uid={{name}},{PEOPLE}"
SEARCH = Lookup(
    base=BASE,
    user_filter="(&(objectClass=person)(uid={name}))",
    own_dn=READER,
    own_password=lambda: READER_PASSWORD,
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    with slapd(tmp_path_factory.mktemp("slapd")) as directory:
        alice = directory.know("alice", cn="Alice Doe")
        directory.know("o'brien, (the) *")
        directory.group("radiology", alice)
        yield directory


def directory_at(
    url: str,
    authority: Authority,
    lookup: Lookup = SEARCH,
    *,
    time_s: float = TIME_S,
    unsafe_plaintext: bool = False,
) -> Directory:
    context = tls_context(authority.file)
    place = Place.of(url, context, time_s, unsafe_plaintext=unsafe_plaintext)
    return Directory(place, lookup)


def urls(server: Slapd) -> list[tuple[str, bool]]:
    return [
        (server.url, False),
        (server.starttls_url, False),
        (server.starttls_url, True),
    ]


def test_a_password_proves_somebody_whatever_the_way(server: Slapd) -> None:
    for url, unsafe_plaintext in urls(server):
        for lookup in (SEARCH, Lookup(template=TEMPLATE)):
            directory = directory_at(
                url, server.authority, lookup, unsafe_plaintext=unsafe_plaintext
            )
            entry = directory.prove("alice", PASSWORD)
            assert (entry.name, entry.display_name) == ("alice", "Alice Doe")
            assert entry.groups == (f"cn=radiology,{GROUPS}",)
            assert len(entry.id) == 36  # a UUID
            with pytest.raises(Refused):
                directory.prove("alice", f"{PASSWORD} ")


def test_groups_are_looked_for_where_people_do_not_name_them(server: Slapd) -> None:
    lookup = replace(
        SEARCH,
        groups="",
        group_base=GROUPS,
        group_filter="(&(objectClass=groupOfNames)(member={dn}))",
    )
    directory = directory_at(server.url, server.authority, lookup)
    assert directory.prove("alice", PASSWORD).groups == (f"cn=radiology,{GROUPS}",)


def test_without_such_an_attribute_the_name_is_who_it_is(server: Slapd) -> None:
    directory = directory_at(server.url, server.authority, replace(SEARCH, id=""))
    assert directory.prove("ALICE", PASSWORD).id == f"uid=alice,{PEOPLE}"
    missing = replace(SEARCH, id="employeeNumber")
    with pytest.raises(Refused):
        directory_at(server.url, server.authority, missing).prove("alice", PASSWORD)


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("alice", ""),  # RFC 4513 §5.1.2: a bind that succeeds and proves nobody
        ("alice", "\u00ad"),  # prepared by RFC 4013, this would be empty
        ("alice", "\0"),
        ("alice", "x" * 2000),
        ("*", PASSWORD),
        ("ali*", PASSWORD),
        ("alice)(objectClass=*", PASSWORD),
        ("*)(uid=*))(|(uid=*", PASSWORD),
        ("alice,ou=people", PASSWORD),
        ("alice+cn=x", PASSWORD),
        ("\\61lice", PASSWORD),
        ("alice\0", PASSWORD),
        ("", PASSWORD),
        ("x" * 300, PASSWORD),
        ("nobody", PASSWORD),
        ("\ud800", PASSWORD),
    ],
)
def test_what_is_typed_is_no_syntax(server: Slapd, name: str, password: str) -> None:
    for lookup in (SEARCH, Lookup(template=TEMPLATE)):
        with pytest.raises(Refused):
            directory_at(server.url, server.authority, lookup).prove(name, password)


def test_an_odd_name_is_somebody_still(server: Slapd) -> None:
    name = "o'brien, (the) *"
    found = directory_at(server.url, server.authority).prove(name, PASSWORD)
    assert found.name == name


@given(st.text(min_size=1, max_size=40))
def test_a_name_stays_one_value(name: str) -> None:
    dn = f"uid={escaped_dn(name)},{PEOPLE}"
    assert [kind for kind, _, _ in parse_dn(dn)] == ["uid", "ou", "dc", "dc"]
    assert not set(escaped_filter(name)) & set("*()\0")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("CN=Radiology, OU=Groups", "cn=radiology,ou=groups"),
        ("cn=a\\,b,ou=x", "CN=A\\,B,OU=X"),
        ("no name at all", "No name at all "),
    ],
)
def test_one_name_has_one_spelling(one: str, other: str) -> None:
    assert normal_dn(one) == normal_dn(other)


def test_several_of_one_name_are_nobody(server: Slapd) -> None:
    server.know("twin", mail="one@hospital.example")
    other = server.know("twin2", mail="one@hospital.example")
    lookup = replace(SEARCH, user_filter="(mail={name})")
    with pytest.raises(Refused):
        directory_at(server.url, server.authority, lookup).prove(
            "one@hospital.example", PASSWORD
        )
    server.drop(other)


def test_an_authority_of_another_is_not_trusted(server: Slapd, tmp_path: Path) -> None:
    stranger = Authority(tmp_path / "stranger")
    for url in (server.url, server.starttls_url):
        with pytest.raises(Unavailable, match="certificate is not trusted"):
            directory_at(url, stranger).prove("alice", PASSWORD)


def test_another_name_in_the_certificate_is_not_trusted(server: Slapd) -> None:
    # By an address that leads here, and is not in the certificate.
    url = server.url.replace("localhost", "localhost.localdomain")
    with pytest.raises(Unavailable):
        directory_at(url, server.authority).prove("alice", PASSWORD)
    context = tls_context(server.authority.file)
    with (
        socket.create_connection((HOST, server.tls_port)) as line,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        context.wrap_socket(line, server_hostname="elsewhere.example")


def test_a_node_that_may_not_look_says_so(server: Slapd) -> None:
    wrong = replace(SEARCH, own_password=lambda: "wrong")
    directory = directory_at(server.url, server.authority, wrong)
    for act in (directory.look, lambda: directory.prove("alice", PASSWORD)):
        with pytest.raises(Unavailable, match="look"):
            act()
    directory_at(server.url, server.authority).look()


# ── what only looks like one ─────────────────────────────────────────────────


@contextmanager
def listening(
    act: Callable[[socket.socket], None],
) -> Iterator[tuple[int, list[bytes]]]:
    """Run something at a port; gives the port, and what was heard there."""
    heard: list[bytes] = []
    released = threading.Event()

    def serve() -> None:
        with suppress(OSError):
            while not released.is_set():
                taken, _ = listener.accept()
                with taken, suppress(OSError):
                    taken.settimeout(TIME_S)
                    heard.append(taken.recv(65_536))
                    act(taken)

    with socket.create_server((HOST, 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1], heard
        released.set()
        with suppress(OSError):
            socket.create_connection(listener.getsockname(), 1).close()
        listener.close()
        thread.join()


def drip(line: socket.socket) -> None:
    line.sendall(b"\x30\x84\x00\x00\x40\x00")  # a message of 16 KB, to come
    for _ in range(200):
        line.sendall(b"\x02")
        time.sleep(0.02)


def flood(line: socket.socket) -> None:
    line.sendall(b"\x30\x84\x7f\xff\xff\xff")
    for _ in range(4 * ANSWER_BYTES_MAX // 65_536):
        line.sendall(b"\x02" * 65_536)


def silence(line: socket.socket) -> None:
    line.recv(1)


@pytest.mark.parametrize("act", [drip, flood, silence])
def test_a_directory_without_an_end_is_cut_off(
    tmp_path: Path, act: Callable[[socket.socket], None]
) -> None:
    authority = Authority(tmp_path / "ca")
    with listening(act) as (port, _):
        directory = directory_at(
            f"ldap://{HOST}:{port}",
            authority,
            Lookup(template=TEMPLATE),
            time_s=SHORT_S,
            unsafe_plaintext=True,
        )
        began_s = time.monotonic()
        with pytest.raises(Unavailable):
            directory.prove("alice", PASSWORD)
        assert time.monotonic() - began_s < 3 * SHORT_S


def test_without_tls_nothing_is_said(tmp_path: Path) -> None:
    # RFC 4511 §4.12: an extended response, protocolError
    refusal = bytes.fromhex("300c0201017807 0a0102 0400 0400".replace(" ", ""))
    authority = Authority(tmp_path / "ca")
    with listening(lambda line: line.sendall(refusal)) as (port, heard):
        directory = directory_at(f"ldap://{HOST}:{port}", authority, time_s=SHORT_S)
        with pytest.raises(Unavailable):
            directory.prove("alice", PASSWORD)
    assert not any(PASSWORD.encode() in each for each in heard)
    assert not any(READER_PASSWORD.encode() in each for each in heard)


def test_nobody_else_is_asked_for_a_password(server: Slapd) -> None:
    with listening(lambda _: None) as (port, heard):
        ref = f"ldap://{HOST}:{port}/{PEOPLE}"
        dn = f"ou=elsewhere,{BASE}"
        with server.root() as line:
            kinds = ["referral", "extensibleObject"]
            added = line.add(dn, kinds, {"ou": "elsewhere", "ref": ref})
            assert added, line.result
        try:
            beyond = Lookup(template=f"uid={{name}},{dn}")
            with pytest.raises(Refused):
                directory_at(server.url, server.authority, beyond).prove(
                    "alice", PASSWORD
                )
            # A search meets it, and goes on without.
            found = directory_at(server.url, server.authority).prove("alice", PASSWORD)
            assert found.name == "alice"
            with pytest.raises(Refused):
                directory_at(server.url, server.authority).prove("nobody", PASSWORD)
        finally:
            with server.root() as line:
                # RFC 3296 §4.1: the entry itself, not what it refers to
                assert line.delete(
                    dn, controls=[("2.16.840.1.113730.3.4.2", True, None)]
                )
        assert heard == []
