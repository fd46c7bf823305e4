"""What is open to whom right now, as the running node has it.

Not what a file says: listeners report themselves once they listen, their TLS is asked
of the context that the next peer gets, and the rest is read from the stores. That who
is logged in was read is on the record; all else names machines and settings.
"""

import ssl
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from sqlalchemy import Connection

from leadglass.access.policy import Expectation
from leadglass.access.rights import Right
from leadglass.archive.accounts import Accounts
from leadglass.archive.caller import Caller
from leadglass.archive.notices import Notices
from leadglass.archive.parts import Parts
from leadglass.archive.rulebook import RuleBook
from leadglass.audit.accounts import AccountEvents
from leadglass.config import Address, Config
from leadglass.identity.authority import Authority, Expiry
from leadglass.identity.device import Device, Status, UnsafePlaintext
from leadglass.identity.devices import Devices
from leadglass.identity.people.secondfactor import Factor
from leadglass.identity.people.sessions import Session, Sessions
from leadglass.identity.tokens.token import Token

# Sessions that are shown; a person has ten at most, and a house some hundred people.
SESSIONS_SHOWN_MAX: Final = 200
# The remedy of what a running node makes anew by itself.
_OWN: Final = frozenset({"node", "revocation list"})
_EVER_DAYS: Final = 36_500


class Door(StrEnum):
    """What a listener speaks."""

    DIMSE = "dimse"
    PLAINTEXT = "unsafe_plaintext"
    HTTPS = "https"


class Reach(StrEnum):
    """From where a listener can be reached, by its address alone."""

    LOOPBACK = "loopback"
    HOUSE = "house"
    WIDER = "wider"


@dataclass(frozen=True, slots=True)
class Offer:
    """The TLS that a listener offers to the next who comes.

    Attributes:
        versions: As ``TLSv1.3``, the oldest first.
        suites: Cipher suites, as OpenSSL calls them.
        needs_certificate: Whether there is no handshake without a client certificate.
    """

    versions: tuple[str, ...]
    suites: tuple[str, ...]
    needs_certificate: bool

    @classmethod
    def of(cls, context: ssl.SSLContext) -> "Offer":
        """Ask a context."""
        versions = [
            (ssl.TLSVersion.TLSv1, "TLSv1", ssl.HAS_TLSv1, ssl.OP_NO_TLSv1),
            (ssl.TLSVersion.TLSv1_1, "TLSv1.1", ssl.HAS_TLSv1_1, ssl.OP_NO_TLSv1_1),
            (ssl.TLSVersion.TLSv1_2, "TLSv1.2", ssl.HAS_TLSv1_2, ssl.OP_NO_TLSv1_2),
            (ssl.TLSVersion.TLSv1_3, "TLSv1.3", ssl.HAS_TLSv1_3, ssl.OP_NO_TLSv1_3),
        ]
        newest = context.maximum_version
        is_bounded = newest is not ssl.TLSVersion.MAXIMUM_SUPPORTED
        return cls(
            tuple(
                name
                for version, name, is_there, forbidding in versions
                if is_there
                and not context.options & forbidding
                and version >= context.minimum_version
                and not (is_bounded and version > newest)
            ),
            tuple(each["name"] for each in context.get_ciphers()),
            context.verify_mode is ssl.CERT_REQUIRED,
        )

    @property
    def is_weak(self) -> bool:
        """Whether a version is offered that RFC 8996 has withdrawn."""
        return bool({"TLSv1", "TLSv1.1"}.intersection(self.versions))


@dataclass(frozen=True, slots=True)
class Listening:
    """A listener that is open.

    Attributes:
        door: What it speaks.
        place: Where.
        reach: From where it can be reached.
        offer: Its TLS now; ``None``: it has none.
    """

    door: Door
    place: Address
    reach: Reach
    offer: Offer | None

    @property
    def is_weak(self) -> bool:
        """Whether it is weaker than the default: no TLS, old TLS, or wide."""
        is_plain = self.offer is None or self.offer.is_weak
        return is_plain or self.reach is Reach.WIDER


@dataclass(frozen=True, slots=True)
class Exemption:
    """A device that may do without TLS, or be sent to without it.

    Attributes:
        device: Its name.
        exception: Address, reason and end.
        days: That are left; 0 on the last.
        is_over: Whether it holds no more.
    """

    device: str
    exception: UnsafePlaintext
    days: int
    is_over: bool


@dataclass(frozen=True, slots=True)
class Ending:
    """Something with an end, of the authority or the register.

    Attributes:
        what: ``root``, ``issuing``, ``node``, ``revocation list``, or a device.
        is_device: Whether it is a device.
        not_after: Its last moment.
        is_soon: Whether somebody has to see to it now.
        remedy: What to do; empty when the node does it.
    """

    what: str
    is_device: bool
    not_after: datetime | None
    is_soon: bool
    remedy: str


@dataclass(frozen=True, slots=True)
class Openings:
    """All of it, at one moment.

    Attributes:
        at: When.
        listening: Which listeners are open.
        weaknesses: Settings that weaken or widen, each with its reason.
        exemptions: Devices that may do without TLS.
        devices: Devices that may come.
        sessions: Who is logged in, the newest first.
        tokens: Programs that may come.
        not_enrolled: Users who have yet to choose password and second factor.
        broken: Expectations of the rule file that do not hold.
        endings: What ends soon, and the node's own certificates.
        has_password_list: Whether new passwords are compared with known ones.
        mail: Where notices go, as the settings say it; empty: nowhere.
        mail_waiting: Notices that no mail server has taken yet.
    """

    at: datetime
    listening: tuple[Listening, ...]
    weaknesses: tuple[str, ...]
    exemptions: tuple[Exemption, ...]
    devices: int
    sessions: tuple[Session, ...]
    tokens: tuple[Token, ...]
    not_enrolled: tuple[str, ...]
    broken: tuple[Expectation, ...]
    endings: tuple[Ending, ...]
    has_password_list: bool
    mail: str
    mail_waiting: int

    @property
    def single_factor(self) -> tuple[Session, ...]:
        """Sessions that were opened with one proof."""
        return tuple(each for each in self.sessions if each.factor is Factor.NONE)

    @property
    def is_weakened(self) -> bool:
        """Whether anything is weaker than the default."""
        return bool(
            self.weaknesses
            or self.exemptions
            or self.broken
            or self.single_factor
            or any(each.is_weak for each in self.listening)
        )


# Gives the context that the next peer gets; ``None``: no TLS.
Context = Callable[[], ssl.SSLContext]


@dataclass(frozen=True, slots=True, kw_only=True)
class LookAround:
    """Tells what is open; needs the right ``administer``.

    Attributes:
        parts: The collaborators.
        config: The settings that run.
        authority: Whose certificates end.
        devices: The register.
        accounts: Users and tokens.
        sessions: Who is logged in.
        rulebook: Whose expectations may be broken.
        notices: The mails that wait.
    """

    parts: Parts
    config: Config
    authority: Authority
    devices: Devices
    accounts: Accounts
    sessions: Sessions
    rulebook: RuleBook
    notices: Notices
    _open: list[tuple[Door, Address, Context | None]] = field(default_factory=list)

    def opened(self, door: Door, place: Address, context: Context | None) -> None:
        """A listener says that it listens; it does so until the process ends."""
        self._open.append((door, place, context))

    def __call__(self, caller: Caller) -> Openings:
        """Return what is open to whom; that it was read is on the record.

        Raises:
            Refused: ``caller`` may not.
            Unavailable: It cannot be recorded, so it is not told.
        """
        self.parts.require(caller, Right.ADMINISTER, "see what is open")
        now, config = datetime.now(UTC), self.config
        tokens = self.accounts.list_tokens(caller)
        users = self.accounts.list_users(caller)
        with self.parts.database.read() as connection:
            devices = self.devices.list(connection)
            sessions = self.sessions.standing(connection, now, SESSIONS_SHOWN_MAX)
            days = config.tls.certificate_warning_days
            ends = tuple(endings(self.authority, self.devices, connection, days, now))
        events = AccountEvents(self.parts.events.node)
        actor = self.parts.actor(caller)
        self.parts.record(events.sessions_read(actor, len(sessions)))
        server = config.mail_server
        active = [each for each in devices if each.status is Status.ACTIVE]
        return Openings(
            at=now,
            listening=tuple(_listening(*each) for each in self._open),
            weaknesses=tuple(config.weaknesses()),
            exemptions=tuple(exemptions(active, now)),
            devices=len(active),
            sessions=sessions,
            tokens=tuple(each for each in tokens if each.is_standing(now)),
            not_enrolled=tuple(
                each.user.name
                for each in users
                if each.user.enrolled_at is None
                and each.user.disabled_at is None
                and not each.user.is_external
            ),
            broken=self.rulebook.broken(),
            endings=ends,
            has_password_list=config.password_list is not None,
            mail="" if server is None else f"{server[0]}:{server[1]}",
            mail_waiting=self.notices.count_waiting() if server else 0,
        )


def endings(
    authority: Authority,
    devices: Devices,
    connection: Connection,
    days: int,
    now: datetime,
) -> Iterator[Ending]:
    """Yield when the authority's things end, and the devices that do within days."""
    soon = {each.what: each for each in needing_hands(authority, days)}
    for each in authority.expiring(_EVER_DAYS):
        is_soon = each.what in soon or each.not_after <= now
        remedy = each.remedy if each.what in soon else ""
        yield Ending(each.what, False, each.not_after, is_soon, remedy)
    for device in devices.expiring(connection, days, now):
        yield Ending(
            device.name, True, device.not_after, True, remedy_of_device(device)
        )


def needing_hands(authority: Authority, days: int) -> Iterator[Expiry]:
    """Yield what of the authority ends within so many days and needs somebody.

    Node certificate and revocation list are made anew by a running node.
    """
    for each in authority.expiring(days):
        if each.what not in _OWN or each.not_after <= datetime.now(UTC):
            yield each


def remedy_of_device(device: Device) -> str:
    """Say what to do about a device that falls silent."""
    if device.has_tls:
        return f"leadglass devices renew {device.name} --out FOLDER"
    return "give it TLS, or revoke it and enrol it anew with a new date"


def exemptions(devices: Iterable[Device], now: datetime) -> Iterator[Exemption]:
    """Yield which active devices may do without TLS."""
    for device in devices:
        exception = device.unsafe_plaintext
        if exception is not None and device.status is Status.ACTIVE:
            left = exception.not_after - now
            is_over = exception.refusal(now) is not None
            yield Exemption(device.name, exception, max(left.days, 0), is_over)


def _listening(door: Door, place: Address, context: Context | None) -> Listening:
    offer = None if context is None else Offer.of(context())
    return Listening(door, place, reach_of(place), offer)


def reach_of(place: Address) -> Reach:
    """Tell from where an address can be reached."""
    if place.is_wildcard or not place.is_sheltered:
        return Reach.WIDER
    return Reach.LOOPBACK if place.host.is_loopback else Reach.HOUSE
