"""A directory, asked over LDAP: whether a password is right, and what it says of whom.

A bind with the person's own name and password is the proof (RFC 4513 §5.1.3). Before
it, the entry is looked for by the node's own name, or its name is made of a template.
Nothing that was typed becomes syntax: every byte of it that could is escaped
(RFC 4514 §2.4, RFC 4515 §3). Referrals are not followed: who else may ask for a
password is for an administrator to say, not for an answer.

A question is bounded in time as a whole and in bytes; it blocks, for a thread.
"""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from math import ceil
from typing import Any, Final
from urllib.parse import urlsplit

import ldap3
from ldap3.core.exceptions import LDAPException
from ldap3.utils.dn import parse_dn

from leadglass.errors import Refused, Unavailable
from leadglass.identity.federation.entry import Entry
from leadglass.identity.federation.mapping import GROUPS_MAX

# As names and passwords can be here.
NAME_CHARACTERS_MAX: Final = 256
PASSWORD_BYTES_MAX: Final = 1_024
# An entry with the groups of a large house; those of Active Directory have 1,500.
ANSWER_BYTES_MAX: Final = 1_048_576
# As many as ask an OpenID provider.
QUESTIONS_MAX: Final = 8
# What a bind that failed says of the person (RFC 4511 §4.1.9): no such object, wrong
# password, must not come so, is locked. Everything else is said of the directory.
_OF_THE_PERSON: Final = frozenset({32, 48, 49, 50, 53, 19, 10})
# RFC 4511 §4.1.9: success, and more entries than were asked for.
_SUCCESS: Final = 0
_MORE: Final = 4
_PORTS: Final = {"ldaps": 636, "ldap": 389}
_NAME, _DN = "{name}", "{dn}"


class Way(Enum):
    """How TLS comes about."""

    LDAPS = "ldaps"  # with the connection
    STARTTLS = "starttls"  # RFC 4511 §4.14, before anything else is said
    UNSAFE_PLAINTEXT = "plaintext"  # not at all; on this machine alone


@dataclass(frozen=True, slots=True)
class Place:
    """Where the directory is.

    Attributes:
        url: As it was configured; the name of who proves.
        host: Its name, as its certificate says it.
        port: Its port.
        way: How TLS comes about.
        context: Verifies certificate and name.
        time_s: How long one login may take there.
    """

    url: str
    host: str
    port: int
    way: Way
    context: ssl.SSLContext = field(repr=False)
    time_s: float

    @classmethod
    def of(
        cls,
        url: str,
        context: ssl.SSLContext,
        time_s: float,
        *,
        unsafe_plaintext: bool,
    ) -> "Place":
        """Return the place of an address, which the settings have checked."""
        parts = urlsplit(url)
        way = Way.LDAPS if parts.scheme == "ldaps" else Way.STARTTLS
        if unsafe_plaintext:
            way = Way.UNSAFE_PLAINTEXT
        port = parts.port or _PORTS[parts.scheme]
        return cls(url, parts.hostname or "", port, way, context, time_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """How an entry is found, and what is read of it.

    Attributes:
        template: A DN with ``{name}``; empty: the entry is looked for.
        base: Below what it is looked for.
        user_filter: RFC 4515, with ``{name}``.
        own_dn: By what name the node looks; empty: anonymously.
        own_password: Gives the password of that.
        groups: The attribute with the DNs of the groups.
        group_base: Below what groups are looked for besides; empty: they are not.
        group_filter: RFC 4515, with ``{dn}``.
        id: The attribute that is never another's; empty: the DN is.
        name: The attribute with the name to log in with.
        display_name: The attribute with the name that people use.
    """

    template: str = ""
    base: str = ""
    user_filter: str = ""
    own_dn: str = ""
    own_password: Callable[[], str] | None = None
    groups: str = "memberOf"
    group_base: str = ""
    group_filter: str = ""
    id: str = "entryUUID"
    name: str = "uid"
    display_name: str = "cn"

    @property
    def attributes(self) -> list[str]:
        """What is asked for."""
        wanted = (self.groups, self.id, self.name, self.display_name)
        return [each for each in wanted if each]


class Directory:
    """One directory."""

    def __init__(self, place: Place, lookup: Lookup) -> None:
        """Prepare; nothing is asked yet."""
        self._place, self._lookup = place, lookup
        self._turns = threading.BoundedSemaphore(QUESTIONS_MAX)

    @property
    def url(self) -> str:
        """Which one."""
        return self._place.url

    def table(self, roles: Mapping[str, str]) -> dict[str, str]:
        """Return a table from group to role with the groups in one spelling."""
        return {normal_dn(group): role for group, role in roles.items()}

    def prove(self, name: str, password: str) -> Entry:
        """Return who that is, if the password is theirs.

        Raises:
            Refused: It is not, or nobody is found, or several are.
            Unavailable: The directory does not answer, or does not let us look.
            Misconfigured: The node's own password cannot be read.
        """
        secret = password.encode("utf-8", "replace")
        # A bind without a password is one of nobody, and succeeds (RFC 4513 §5.1.2).
        if not secret or len(secret) > PASSWORD_BYTES_MAX:
            raise Refused("no password, or none that can be one")
        if not 0 < len(name) <= NAME_CHARACTERS_MAX or "\0" in name:
            raise Refused("a name that nobody has")
        with self._asking():
            if self._lookup.template:
                dn = self._lookup.template.replace(_NAME, escaped_dn(name))
                with self._bound(dn, secret) as line:
                    return self._entry(line, dn, self._read(line, dn))
            with self._looking() as line:
                dn, found = self._find(line, name)
                # As itself, on a line of its own: what was read proves nothing yet.
                with self._bound(dn, secret):
                    pass
                return self._entry(line, dn, found)

    def look(self) -> None:
        """Make sure that the directory answers, and lets us look; nobody logs in.

        Raises:
            Unavailable: It does not.
            Misconfigured: The node's own password cannot be read.
        """
        with self._asking(), self._looking() as line:
            if not self._lookup.template:
                with suppress(Refused):
                    self._find(line, "leadglass-check")

    # ── lines ────────────────────────────────────────────────────────────────

    @contextmanager
    def _asking(self) -> Iterator[None]:
        if not self._turns.acquire(blocking=False):
            raise Unavailable("ldap: too many logins wait for the directory")
        try:
            yield
        except (LDAPException, OSError, ValueError) as error:
            # Without its words: what was typed may be in them.
            raise Unavailable(f"ldap: the directory: {_kind(error)}") from None
        finally:
            self._turns.release()

    @contextmanager
    def _line(self, dn: str, secret: bytes) -> Iterator[Any]:
        """Give a connection that is not bound yet; it ends in time, whatever comes."""
        place = self._place
        seconds = max(1, ceil(place.time_s))
        server = ldap3.Server(
            place.host,
            place.port,
            use_ssl=place.way is Way.LDAPS,
            get_info=ldap3.NONE,
            tls=_Verified(place.context, place.host),
            connect_timeout=seconds,
            allowed_referral_hosts=[],
        )
        line = ldap3.Connection(
            server,
            user=dn or None,
            password=secret or None,
            authentication=ldap3.SIMPLE if dn else ldap3.ANONYMOUS,
            auto_referrals=False,
            check_names=False,
            receive_timeout=seconds,
            # Bytes go as they are: prepared, a password of characters that mean nothing
            # would become none (RFC 4013 §2.1), and a bind of nobody.
            auto_encode=False,
        )
        # One limit for all of it, beside those of single waits.
        cut = threading.Timer(place.time_s, _cut, (line,))
        cut.daemon = True
        cut.start()
        try:
            line.open(read_server_info=False)
            if place.way is Way.STARTTLS and not line.start_tls(read_server_info=False):
                raise Unavailable("ldap: the directory does not begin TLS")
            if place.way is Way.UNSAFE_PLAINTEXT:
                line.socket = _Counted(line.socket)
            yield line
        finally:
            cut.cancel()
            kept = line.socket
            with suppress(LDAPException, OSError, ValueError):
                line.unbind()
            if kept is not None:  # the library keeps it when its farewell fails
                kept.close()

    @contextmanager
    def _bound(self, dn: str, secret: bytes) -> Iterator[Any]:
        """Give a connection that the person's own password has opened.

        Raises:
            Refused: It has not.
        """
        if not dn:
            raise Refused("an entry without a name")
        with self._line(dn, secret) as line:
            if not line.bind(read_server_info=False):
                if line.result["result"] in _OF_THE_PERSON:
                    raise Refused("the directory does not take the password")
                raise Unavailable("ldap: the directory cannot judge a password now")
            yield line

    @contextmanager
    def _looking(self) -> Iterator[Any]:
        """Give a connection by the node's own name."""
        lookup = self._lookup
        password = lookup.own_password() if lookup.own_password else ""
        with self._line(lookup.own_dn, password.encode()) as line:
            if not line.bind(read_server_info=False):
                raise Unavailable("ldap: the directory does not let the node look")
            yield line

    # ── entries ──────────────────────────────────────────────────────────────

    def _find(self, line: Any, name: str) -> tuple[str, Mapping[str, list[bytes]]]:
        lookup = self._lookup
        asked = lookup.user_filter.replace(_NAME, escaped_filter(name))
        found = self._search(line, lookup.base, asked, lookup.attributes, 2)
        if len(found) != 1:
            raise Refused("nobody of that name, or several")
        return found[0]

    def _read(self, line: Any, dn: str) -> Mapping[str, list[bytes]]:
        """Return a person's own entry, as the person may read it."""
        attributes, every = self._lookup.attributes, "(objectClass=*)"
        found = self._search(line, dn, every, attributes, 1, ldap3.BASE)
        if len(found) != 1:
            raise Refused("an entry that cannot be read by its owner")
        return found[0][1]

    def _entry(self, line: Any, dn: str, found: Mapping[str, list[bytes]]) -> Entry:
        lookup = self._lookup
        values = {name.casefold(): each for name, each in found.items()}
        identity = _first(values, lookup.id) if lookup.id else normal_dn(dn)
        if not identity:
            raise Refused("an entry without what tells it apart")
        groups = [_text(each) for each in values.get(lookup.groups.casefold(), [])]
        if lookup.group_base:
            asked = lookup.group_filter.replace(_DN, escaped_filter(dn))
            # "1.1": no attributes (RFC 4511 §4.5.1.8)
            listed = self._search(line, lookup.group_base, asked, ["1.1"], GROUPS_MAX)
            groups += [name for name, _ in listed]
        return Entry(
            dn=dn,
            id=identity,
            name=_first(values, lookup.name),
            display_name=_first(values, lookup.display_name),
            groups=tuple(sorted({normal_dn(each) for each in groups[:GROUPS_MAX]})),
        )

    def _search(  # noqa: PLR0913, PLR0917 - what a search is
        self,
        line: Any,
        base: str,
        asked: str,
        attributes: list[str],
        count_max: int,
        scope: str = ldap3.SUBTREE,
    ) -> list[tuple[str, Mapping[str, list[bytes]]]]:
        line.search(
            base,
            asked,
            scope,
            attributes=attributes,
            size_limit=count_max,
            time_limit=max(1, ceil(self._place.time_s)),
        )
        if line.result["result"] not in {_SUCCESS, _MORE, *_OF_THE_PERSON}:
            raise Unavailable("ldap: the directory does not let the node look")
        if line.result["result"] == _MORE:
            raise Refused("more entries than there may be")
        # References to other directories are in the answer, too; they stay there.
        return [
            (each["dn"], each["raw_attributes"])
            for each in line.response or []
            if each["type"] == "searchResEntry"
        ]


# ── what goes into names and filters ─────────────────────────────────────────


def escaped_dn(text: str) -> str:
    """Return a value for a DN: letters and digits, and hex pairs for the rest.

    RFC 4514 §2.4 lets every byte be written so; what needs not to be is no less right.
    """
    return "".join(
        chr(byte) if chr(byte).isascii() and chr(byte).isalnum() else f"\\{byte:02X}"
        for byte in text.encode("utf-8", "replace")
    )


def escaped_filter(text: str) -> str:
    """Return a value for a filter, in the same way (RFC 4515 §3)."""
    return escaped_dn(text)


def normal_dn(text: str) -> str:
    """Return a DN in one spelling: small letters, no space around its parts.

    Values of some attributes differ by case; those of names of groups do not
    (RFC 4517 §4.2.11). What is no DN is compared as it is.
    """
    try:
        parts = parse_dn(text, strip=True)
    except (LDAPException, ValueError, IndexError):
        return text.strip().casefold()
    return "".join(
        f"{kind.strip()}={value.strip()}{separator}" for kind, value, separator in parts
    ).casefold()


def _first(values: Mapping[str, list[bytes]], name: str) -> str:
    found = values.get(name.casefold()) or [b""]
    return _text(found[0])


def _text(value: bytes) -> str:
    """Return a value as text: UTF-8, or hex for what is none, as ``objectGUID``."""
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        return value.hex()
    return text if text.isprintable() else value.hex()


# ── sockets ──────────────────────────────────────────────────────────────────


class _Verified(ldap3.Tls):  # type: ignore[misc]  # it has no types
    """TLS by a context of ours: OpenSSL itself compares the name."""

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        super().__init__(validate=ssl.CERT_REQUIRED)
        self._context, self._host = context, host

    def wrap_socket(self, connection: Any, do_handshake: bool = False) -> None:
        """Begin TLS, or raise; ``do_handshake`` is always done."""
        del do_handshake
        connection.socket = _Counted(
            self._context.wrap_socket(connection.socket, server_hostname=self._host)
        )


class _Counted:
    """A socket that gives so many bytes and no more."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._left = ANSWER_BYTES_MAX

    def recv(self, size: int) -> bytes:
        data = self._line.recv(size)
        self._left -= len(data)
        if self._left < 0:
            raise OSError("an answer without an end")
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._line, name)


def _cut(line: Any) -> None:
    """End a connection that takes too long, in whatever it waits for."""
    with suppress(OSError, AttributeError, ValueError):
        line.socket.shutdown(socket.SHUT_RDWR)


def _kind(error: Exception) -> str:
    text = str(error)
    if "certificate" in text.casefold():
        return "its certificate is not trusted"
    return f"does not answer ({type(error).__name__})"
