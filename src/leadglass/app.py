"""The composition root: settings in, a node out. The one place with all the names.

The data folder::

    leadglass.toml   settings; what it does not say has its default
    rules.toml       rules and expectations, if there are any
    keys/            the keyring and one wrapped key for each study
    vault/           sealed instances
    database         index, register of devices and audit log, encrypted
    authority/       the certificate authority, private keys sealed
    checkpoints/     signed heads of the audit log; copy them elsewhere
    imports/         what imports have finished, as keyed hashes

The master key is not in it (``keys.master_file``): who has only the folder has noise.
"""

import gc
import getpass
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Protocol, Self, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from leadglass import __version__
from leadglass.access.networks import Network, parse_network
from leadglass.access.policy import Kind, Rule, Subject
from leadglass.access.roles import HOUSE_NETWORKS, check_person
from leadglass.archive.accounts import Accounts
from leadglass.archive.bearer import Bearer
from leadglass.archive.caller import Caller, Gate
from leadglass.archive.callers import Certified
from leadglass.archive.condition import Condition
from leadglass.archive.contacts import Contacts, Neighbourhood
from leadglass.archive.copying import Copier, Place
from leadglass.archive.directories import DirectoryLogins
from leadglass.archive.doors import Doorkeeper, Knocks
from leadglass.archive.downloading import Download
from leadglass.archive.echo import Echo
from leadglass.archive.emergency import Emergencies
from leadglass.archive.erase import Erase
from leadglass.archive.explaining import Explain
from leadglass.archive.exporting import Exporter
from leadglass.archive.fetch import Fetch
from leadglass.archive.find import Find
from leadglass.archive.forwarding import Forwarder, Forwarding
from leadglass.archive.history import Histories
from leadglass.archive.importing import Importer
from leadglass.archive.ingest import Ingest
from leadglass.archive.jobs import Jobs as LongWork
from leadglass.archive.listing import Listing
from leadglass.archive.logcheck import LogChecks
from leadglass.archive.logins import Logins
from leadglass.archive.notices import Letterhead, Notices
from leadglass.archive.openings import Door, LookAround
from leadglass.archive.orders import Orders
from leadglass.archive.parts import Parts, Room
from leadglass.archive.people import PeopleRules
from leadglass.archive.preparing import Preparer
from leadglass.archive.previewing import Previews
from leadglass.archive.rebuild import Rebuild
from leadglass.archive.recovery import Recovered, recover
from leadglass.archive.register import Registrar
from leadglass.archive.retention import Policy, Receivers, Retention
from leadglass.archive.rulebook import RuleBook
from leadglass.archive.ruledesk import RuleDesk
from leadglass.archive.signon import Claims, SignOn
from leadglass.archive.trail import Trail
from leadglass.archive.verify import Verify
from leadglass.archive.verifying import Verifications
from leadglass.archive.viewing import Viewings
from leadglass.archive.visit import Visits
from leadglass.archive.vouching import Vouching
from leadglass.assurance.compliance.office import Office
from leadglass.assurance.review.delivery import (
    Channel,
    News,
    Outbox,
    body_of,
    mail_of,
)
from leadglass.assurance.review.desk import ReviewDesk
from leadglass.assurance.review.look import Settings as ReviewSettings
from leadglass.assurance.review.working import Reviewing
from leadglass.assurance.trails.following import FactsFollower
from leadglass.assurance.trails.importing import Trails
from leadglass.assurance.trails.store import Facts
from leadglass.assurance.trails.taking import Taker, Taking
from leadglass.audit.builders import Events, Service
from leadglass.audit.builders import Node as NodeName
from leadglass.audit.copies import CopyFolder
from leadglass.audit.fhir import feed
from leadglass.audit.log import AuditLog
from leadglass.audit.syslog import Sender
from leadglass.config import Address, Config, Https, Oidc
from leadglass.database.engine import Database
from leadglass.database.revision import is_current
from leadglass.dicom.aetitle import AETitle
from leadglass.dicom.sop_classes import is_storage
from leadglass.dicom.uids import UID
from leadglass.errors import LeadglassError, Misconfigured, Unavailable
from leadglass.identity.administrators import FIRST_NAME, Administrators
from leadglass.identity.authority import Authority
from leadglass.identity.devices import Devices
from leadglass.identity.federation.asking import Asker, tls_context
from leadglass.identity.federation.flow import Client
from leadglass.identity.federation.idtoken import SecondFactorRule
from leadglass.identity.federation.mapping import GroupRoles
from leadglass.identity.federation.provider import Provider, Trust
from leadglass.identity.federation.secretfile import SecretFile
from leadglass.identity.people.known import NoList, Sha1List
from leadglass.identity.people.login import Stores
from leadglass.identity.people.passkeys import Passkeys, RelyingParty
from leadglass.identity.people.passwords import Passwords
from leadglass.identity.people.secondfactor import SecondFactors
from leadglass.identity.people.sessions import Limits as SessionLimits
from leadglass.identity.people.sessions import Sessions
from leadglass.identity.people.tickets import Tickets
from leadglass.index.index import Index
from leadglass.pixels.renderer import Renderer
from leadglass.pixels.transcode import Transcoder
from leadglass.servers.api.accounts import AccountRoutes
from leadglass.servers.api.emergencies import EmergencyRoutes
from leadglass.servers.api.lists import ListRoutes
from leadglass.servers.api.logins import Begin, LoginRoutes
from leadglass.servers.api.openapi import described
from leadglass.servers.api.retention import RetentionRoutes
from leadglass.servers.api.review import AlertRoutes
from leadglass.servers.dicomweb.deleting import Delete
from leadglass.servers.dicomweb.qido import Search
from leadglass.servers.dicomweb.storing import Store
from leadglass.servers.dicomweb.table import table
from leadglass.servers.dicomweb.wado import Retrieve
from leadglass.servers.dicomweb.wado_bulk import RetrieveBulk
from leadglass.servers.dicomweb.wado_frames import RetrieveFrames
from leadglass.servers.dicomweb.wado_rendered import RetrieveRendered
from leadglass.servers.dicomweb.wado_uri import Uri
from leadglass.servers.dimse.connection import Timeouts
from leadglass.servers.dimse.retrieve import Outgoing
from leadglass.servers.dimse.server import DimseServer, UseCases
from leadglass.servers.feed import FeedReceiver
from leadglass.servers.fhir.auditevent import AuditEventRoutes
from leadglass.servers.http.authentication import Judge, Proof, authenticators
from leadglass.servers.http.guard import Guard
from leadglass.servers.http.limits import HttpLimits
from leadglass.servers.http.routes import Route
from leadglass.servers.http.server import HttpServer
from leadglass.servers.mail import MailServer, Postman
from leadglass.servers.monitoring import MonitoringRoutes
from leadglass.servers.pages import pages
from leadglass.servers.pages.oidc import OidcRoutes
from leadglass.servers.s3 import Bucket
from leadglass.servers.syslog import Courier, Receiver
from leadglass.servers.tls import Contexts, Credentials
from leadglass.servers.viewer.assets import Viewer
from leadglass.servers.web.access import AccessRoutes
from leadglass.servers.web.audit import AuditRoutes
from leadglass.servers.web.controls import ControlRoutes
from leadglass.servers.web.devices import DeviceRoutes
from leadglass.servers.web.doors import DoorRoutes
from leadglass.servers.web.files import Files
from leadglass.servers.web.keeping import KeepingRoutes
from leadglass.servers.web.pages import Pages
from leadglass.servers.web.people import PeopleRoutes
from leadglass.servers.web.review import AlertPages
from leadglass.servers.web.reviews import ReviewRoutes
from leadglass.servers.web.rules import RuleRoutes
from leadglass.servers.web.start import StartRoutes
from leadglass.servers.web.studies import StudyRoutes
from leadglass.servers.web.system import SystemRoutes
from leadglass.servers.web.texts import Texts
from leadglass.servers.webhook import Webhook
from leadglass.vault.folder import FolderBlobs
from leadglass.vault.keys import (
    KeyFile,
    Keyring,
    MasterKey,
    PassphraseFile,
    SystemdCredential,
)
from leadglass.vault.sealed import SealedBlobs

if TYPE_CHECKING:
    from leadglass.identity.federation.directory import Directory

_LOG = logging.getLogger(__name__)

_FOLDER_MODE: Final = 0o700
_OTHERS_WRITE: Final = 0o022
# A node certificate is made anew this long before it ends.
_NODE_RENEWAL_DAYS: Final = 30
# How often a signal is looked for, in seconds, that another thread was given.
_SIGNAL_LOOK_S: Final = 0.5
# Objects made before the collector looks for cycles; what an instance makes has none
# and is freed at once, so looking after every 700 finds nothing, 20 times an instance.
_COLLECT_AFTER: Final = 50_000
# What a node without a host name calls itself to a mail server.
_NAMELESS: Final = "leadglass"
# Whom passkeys are for when the node has no host name: nobody, no browser makes one.
_NO_HOST: Final = "leadglass.invalid"
# The port that browsers leave out of an address.
_HTTPS_PORT: Final = 443


class _Closable(Protocol):
    def close(self) -> None: ...


_Closes = TypeVar("_Closes", bound=_Closable)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things are in the data folder."""

    home: Path

    @property
    def keys(self) -> Path:
        """The keyring."""
        return self.home / "keys"

    @property
    def vault(self) -> Path:
        """The blobs."""
        return self.home / "vault"

    @property
    def database(self) -> Path:
        """The database file."""
        return self.home / "database"

    @property
    def authority(self) -> Path:
        """The certificate authority."""
        return self.home / "authority"

    @property
    def checkpoints(self) -> Path:
        """The signed heads of the audit log."""
        return self.home / "checkpoints"

    @property
    def imports(self) -> Path:
        """The journals of imports."""
        return self.home / "imports"

    @property
    def rules(self) -> Path:
        """The rule file."""
        return self.home / "rules.toml"


@dataclass(frozen=True, slots=True)
class Initialised:
    """What ``Node.init`` found or made.

    Attributes:
        home: The data folder.
        master_key: What opens it, as an operator would look for it.
        created: Whether there was no node before.
        administrator: Name of the first administrator.
        one_time_secret: For its enrolment; only when it was just made, and only
            here: its hash is what is kept.
    """

    home: Path
    master_key: str
    created: bool
    administrator: str
    one_time_secret: str | None


def master_key_of(config: Config) -> MasterKey:
    """Return the master key that the settings name.

    Raises:
        Misconfigured: The settings name none that can be read.
    """
    match config.keys.source:
        case "file":
            return KeyFile(config.master_key_file, outside=config.home)
        case "passphrase":
            if config.passphrase_file is None:
                raise Misconfigured(
                    "keys.passphrase_file: missing; set LEADGLASS_PASSPHRASE_FILE"
                )
            return PassphraseFile(config.passphrase_file)
        case _:
            return SystemdCredential(config.keys.credential)


class Node:
    """One archive on this machine, opened; close it, or use it as a context manager.

    Several processes may have it open: a server, and commands beside it.
    """

    def __init__(self, config: Config) -> None:
        """Open; ``open`` is the way to make one."""
        self.config = config
        self.layout = Layout(config.home)
        self.title = AETitle(config.node.ae_title)
        self._closing: list[Callable[[], None]] = []
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    @classmethod
    def init(cls, config: Config) -> Initialised:
        """Make what is missing of a node; may be repeated, also after a crash.

        Raises:
            Misconfigured: Settings, keys or folders that must not be used.
            Unavailable: The disk refused; call again.
        """
        layout = Layout(config.home)
        try:
            config.home.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
            config.home.chmod(_FOLDER_MODE)
            for folder in (layout.checkpoints, layout.imports):
                folder.mkdir(mode=_FOLDER_MODE, exist_ok=True)
        except OSError as error:
            raise Unavailable(
                f"the data folder cannot be made: {error.strerror}"
            ) from error
        keyring, created = _keyring(config, layout)
        _make_vault(layout)
        if not layout.authority.exists():
            Authority.create(
                layout.authority, keyring.derive("authority"), config.tls.node_names
            )
        with closing(_open_database(layout, keyring, create=True)) as database:
            _migrate(database)
            secret = database.write(Administrators().create_first)
        return Initialised(
            home=config.home,
            master_key=_master_key_text(config),
            created=created,
            administrator=FIRST_NAME,
            one_time_secret=secret,
        )

    @classmethod
    def open(cls, config: Config) -> "Node":
        """Open what ``init`` made.

        Raises:
            Misconfigured: It is not initialised, or has problems.
            Damaged: Something in it is not what was written.
        """
        if not Keyring.exists(config.home / "keys"):
            raise Misconfigured(
                f"{config.home} is no data folder yet; run: leadglass init"
            )
        # The rules and the authority lie in it: who may write here lets himself in.
        if config.home.stat().st_mode & _OTHERS_WRITE:
            raise Misconfigured(
                f"{config.home}: others may write to it; run: chmod 700 {config.home}"
            )
        return cls(config)

    def _open(self) -> None:
        config, layout = self.config, self.layout
        self.keyring = Keyring.open(layout.keys, master_key_of(config))
        self.database = self._later(_open_database(layout, self.keyring))
        _migrate(self.database)
        folder = self._later(FolderBlobs.open(layout.vault))
        self.authority = Authority.open(
            layout.authority, self.keyring.derive("authority")
        )
        self.devices = Devices(self.database)
        name = f"leadglass-{self.keyring.derive('node name').hex()[:16]}"
        self.audit = self._later(
            AuditLog(
                self.database,
                Ed25519PrivateKey.from_private_bytes(
                    self.keyring.derive("audit signing 1")
                ),
                name,
                layout.checkpoints,
            )
        )
        operator = Subject(Kind.OPERATOR, _user_name())
        self.operator = Caller(operator, address=None)
        self.parts = Parts(
            database=self.database,
            index=Index(),
            audit=self.audit,
            events=Events(NodeName(name, self.title.text, str(config.listen.host))),
            blobs=SealedBlobs(folder, self.keyring),
            keyring=self.keyring,
            # The rules need the registers, which need the parts: asked only later.
            gate=Gate(self._rules, self._keep),
            room=Room(config.home, config.storage.free_bytes_min),
            limits=config.limits,
        )
        self._later(self.parts)
        networks = _people_networks(config.https)
        self.accounts = Accounts.of(self.parts, networks)
        self.sessions = Sessions(_session_limits(config.https))
        self.people = PeopleRules(
            self.database,
            self.accounts.users,
            self.accounts.scopes,
            self.accounts.tokens,
            networks,
        )
        self.rulebook = RuleBook(layout.rules, self.devices, operator, self.people)
        self._use_cases()

    def _rules(self, subject: Subject) -> tuple[Rule, ...]:
        return self.rulebook.rules(subject)

    def _keep(
        self, subject: Subject, before: Iterable[Rule], after: Iterable[Rule]
    ) -> None:
        self.rulebook.keep(subject, before, after)

    def _use_cases(self) -> None:
        parts, config = self.parts, self.config
        self.echo = Echo(parts)
        self.ingest = Ingest(parts)
        self.find = Find(parts, config.find.result_count_max)
        self.fetch = Fetch(parts)
        self.viewings = self._later(Viewings(parts, self.fetch))
        self.preparer = self._later(Preparer(parts, self.operator))
        self.erase = Erase(parts)
        self.verify = Verify(parts)
        self.rebuild = Rebuild(parts)
        self.registrar = Registrar(parts, self.devices, self.authority)
        self.importer = Importer(
            self.ingest,
            config.media,
            self.layout.imports,
            self.keyring.derive("import journal"),
            takes=self._takes,
        )
        self.exporter = Exporter(self.fetch, config.media)
        self.emergencies = Emergencies(parts)
        self.listing = Listing(self.accounts)
        self.notices = Notices(parts)
        self.forwarding = Forwarding(parts)
        self.contacts = Contacts(parts)
        self.look_around = LookAround(
            parts=parts,
            config=config,
            authority=self.authority,
            devices=self.devices,
            accounts=self.accounts,
            sessions=self.sessions,
            rulebook=self.rulebook,
            notices=self.notices,
        )
        self.histories = Histories(parts)
        self.trail = Trail(parts)
        self.review = ReviewDesk(
            parts,
            ReviewSettings(
                off=frozenset(config.review.off),
                covering=frozenset(config.review.covering),
                reviewers=frozenset(config.review.reviewers),
            ),
            Path(config.review.feeds_folder) if config.review.feeds_folder else None,
            frozenset(channels_of(config)),
        )
        self.facts = Facts(self.database)
        self.trails = Trails(parts, self.facts)
        self.retention = Retention(
            parts,
            Policy(config.retention.years, config.retention.unsafe_years),
            (Receivers(config.record_receivers), FactsFollower(self.facts)),
        )
        self.orders = Orders(self.retention)
        self.log_checks = self._later(LogChecks(self.trail))
        self.verifications = self._later(Verifications(self.verify, LongWork(parts)))
        self.condition = Condition(
            parts,
            self.authority,
            self.devices,
            __version__,
            config.tls.certificate_warning_days,
        )

    def login_stores(self, origins: tuple[str, ...]) -> Stores:
        """Return what a login needs; ``origins`` are our names as browsers see them.

        Raises:
            Misconfigured: The list of known passwords cannot be used.
        """
        path = self.config.password_list
        known = NoList() if path is None else self._later(Sha1List(path))
        return Stores(
            users=self.accounts.users,
            passwords=Passwords(known),
            factors=SecondFactors(),
            passkeys=Passkeys(
                RelyingParty(self.config.relying_party or _NO_HOST, origins)
            ),
            lockout=self.accounts.lockout,
            tickets=Tickets(),
            sessions=self.sessions,
        )

    @property
    def private_roots(self) -> tuple[str, ...]:
        """Beginnings of private SOP classes that are stored, each ending in a dot."""
        return tuple(
            root if root.endswith(".") else f"{root}."
            for root in self.config.storage.private_sop_classes
        )

    def _takes(self, sop_class: UID) -> bool:
        """Tell whether instances of a SOP class are stored."""
        return is_storage(sop_class) or sop_class.startswith(self.private_roots)

    def _later(self, thing: _Closes) -> _Closes:
        """Close a thing when the node is closed, in reverse order."""
        self._closing.append(thing.close)
        return thing

    def recover(self) -> Recovered:
        """Finish what a crash cut off.

        Raises:
            Unavailable: Database or vault cannot answer; call again.
        """
        found = recover(self.parts, self.erase)
        try:
            self.orders.finish_all(self.operator)
        except LeadglassError as error:
            # A hold that was placed meanwhile must not keep a node from starting.
            _LOG.error("an erasure that was confirmed is not at its end: %s", error)
        return found

    def close(self) -> None:
        """Let go of everything, whatever fails meanwhile; may be repeated."""
        with ExitStack() as stack:
            for close in self._closing:
                stack.callback(close)
            self._closing.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _keyring(config: Config, layout: Layout) -> tuple[Keyring, bool]:
    """Open the keyring, making it and the master key if there is none."""
    master = master_key_of(config)
    if Keyring.exists(layout.keys):
        return Keyring.open(layout.keys, master), False
    if isinstance(master, KeyFile) and not config.master_key_file.exists():
        master.create()
    return Keyring.create(layout.keys, master), True


def _make_vault(layout: Layout) -> None:
    """Make the vault of a new node; that of an old one must be there."""
    try:
        FolderBlobs.open(layout.vault).close()
    except Misconfigured:
        if layout.database.exists():
            raise  # a disk that is not mounted must not look like an empty archive
        FolderBlobs.create(layout.vault).close()


def _open_database(
    layout: Layout, keyring: Keyring, *, create: bool = False
) -> Database:
    return Database.open(layout.database, keyring.derive("database"), create=create)


def _migrate(database: Database) -> None:
    """Bring a database to the schema of this program, if it is not there."""
    if not is_current(database):
        # Alembic takes as long to import as all else; it is seldom needed.
        from leadglass.database.migrations import upgrade  # noqa: PLC0415

        upgrade(database)


def _master_key_text(config: Config) -> str:
    match config.keys.source:
        case "file":
            return str(config.master_key_file)
        case "passphrase":
            return "a passphrase"
        case _:
            return f"the systemd credential {config.keys.credential}"


def _people_networks(https: Https) -> tuple[Network, ...]:
    """Return where people may come from."""
    return tuple(map(parse_network, https.people_networks)) or HOUSE_NETWORKS


def _session_limits(https: Https) -> SessionLimits:
    return SessionLimits(
        idle=timedelta(seconds=https.session_idle_timeout_s),
        absolute=timedelta(seconds=https.session_timeout_s),
        fresh=timedelta(seconds=https.session_fresh_s),
    )


def _user_name() -> str:
    """Return who the operating system says is at the command line."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


# --- serving --------------------------------------------------------------------------


_Place = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Ready:
    """Where a node listens.

    Attributes:
        dimse: DICOM over TLS.
        unsafe_plaintext: DICOM without TLS, for named exceptions; ``None``: none.
        https: HTTPS; ``None``: none.
        recovered: What the start finished of what a crash had cut off.
    """

    dimse: _Place
    unsafe_plaintext: _Place | None
    https: _Place | None
    recovered: Recovered


def serve(
    node: Node,
    *,
    on_ready: Callable[[Ready], None],
    stop: threading.Event | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT (or ``stop``); finish what is in flight.

    Raises:
        Misconfigured: Something with which a node must not start.
        Unavailable: An address cannot be had, or the start cannot be recorded.
    """
    stopping = stop or threading.Event()
    if stop is None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopping.set())
    config, parts = node.config, node.parts
    recovered = node.recover()
    _renew(node)
    contexts = Contexts(
        lambda: _credentials(node.authority),
        node.authority.stamp,
        config.tls.minimum_version,
    )
    contexts.server()  # whatever is wrong with it is wrong before we listen
    doorkeeper = Doorkeeper(parts, node.devices, node.title, node.contacts)
    parts.record(parts.events.application_started(__version__))
    try:
        _serve(
            node,
            contexts,
            doorkeeper,
            on_ready=lambda dimse, unsafe_plaintext, https: on_ready(
                Ready(dimse, unsafe_plaintext, https, recovered)
            ),
            stopping=stopping,
        )
    except BaseException as error:
        what = str(error) if isinstance(error, LeadglassError) else "internal error"
        parts.try_to_record(parts.events.application_stopped(what))
        raise
    parts.record(parts.events.application_stopped("asked to stop"))


def _serve(
    node: Node,
    contexts: Contexts,
    doorkeeper: Doorkeeper,
    *,
    on_ready: Callable[[_Place, _Place | None, _Place | None], None],
    stopping: threading.Event,
) -> None:
    """Open all doors until it is time to stop, and close them in good order."""
    config = node.config
    with ExitStack() as stack:
        transcoder = stack.enter_context(Transcoder(config.pixels, config.limits))
        server = DimseServer(
            settings=config.dimse,
            use_cases=UseCases(node.echo, node.ingest, node.find, node.fetch),
            doorkeeper=doorkeeper,
            outgoing=Outgoing(
                title=node.title,
                tls=contexts.client,
                timeouts=Timeouts(
                    config.dimse.response_timeout_s, config.dimse.response_timeout_s
                ),
                connect_timeout_s=config.dimse.connect_timeout_s,
            ),
            transcoder=transcoder,
            tls=contexts.server,
            private_roots=node.private_roots,
            meters=node.parts.meters,
        )
        jobs = Jobs(node, doorkeeper)
        _warn_of_expectations(node)
        workers = tuple(_workers(node))
        for worker in workers:
            stack.callback(worker.stop)
        # Undone in reverse: HTTPS ends, then DIMSE, then what tells of both.
        stack.callback(node.viewings.close)
        stack.callback(node.preparer.close)
        stack.callback(jobs.stop)
        stack.callback(server.stop)
        dimse = server.listen_tls((str(config.listen.host), config.listen.port))
        unsafe = config.unsafe_plaintext_listen
        plaintext = (
            None
            if unsafe is None
            else server.listen_unsafe_plaintext((str(unsafe.host), unsafe.port))
        )
        web = _listen_https(node, contexts, doorkeeper, transcoder, stack)
        for door, place, context in (
            (Door.DIMSE, dimse, contexts.server),
            (Door.PLAINTEXT, plaintext, None),
            (Door.HTTPS, web, contexts.https),
        ):
            if place is not None:
                where = Address(ip_address(place[0].partition("%")[0]), place[1])
                node.look_around.opened(door, where, context)
        jobs.start()
        node.preparer.start()
        for worker in workers:
            worker.start()
        # What is here now stays: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(_COLLECT_AFTER)
        on_ready(dimse, plaintext, web)
        # The kernel may give a signal to any thread; Python acts on it in this
        # one, and only when it is awake.
        while not stopping.wait(_SIGNAL_LOOK_S):
            pass


class _Worker(Protocol):
    """What goes on beside the doors, in a thread of its own."""

    def start(self) -> None:
        """Begin."""

    def stop(self) -> None:
        """End, in good order."""


def _workers(node: Node) -> Iterator[_Worker]:
    """Yield what tells of the record, takes it in and reviews it."""
    postman = _postman(node)
    if postman is not None:
        yield postman
    yield from _couriers(node)
    yield Taking(Taker(node.facts, node.audit))
    yield Reviewing(node.review, node.config.review.interval_s)
    yield from _tellers(node)


def _warn_of_expectations(node: Node) -> None:
    """Say what the rules promise and do not keep; the names are the rule file's."""
    for each in node.rulebook.broken():
        _LOG.warning("%s; what is too much is withheld, see leadglass check", each)


def mail_server_of(config: Config) -> MailServer | None:
    """Return the server that takes the notices; ``None``: there is none."""
    server, settings = config.mail_server, config.notices
    if server is None:
        return None
    return MailServer(
        host=server[0],
        port=server[1],
        starts_plain=settings.tls == "starttls",
        ca_file=config.mail_ca_file,
        timeout_s=settings.response_timeout_s,
        own_name=config.relying_party or _NAMELESS,
        user=settings.user,
        password_file=config.mail_password_file,
    )


def channels_of(config: Config) -> Iterator[Channel]:
    """Yield by which ways people are told of alerts."""
    if config.mail_server is not None:
        yield Channel.MAIL
    if config.review.webhook_url:
        yield Channel.WEBHOOK


def _tellers(node: Node) -> Iterator[Postman]:
    """Yield what tells people of alerts, one for each way."""
    config = node.config
    outbox = Outbox(node.database)
    interval_s, name = config.notices.look_interval_s, config.relying_party or _NAMELESS
    if (post := mail_server_of(config)) is not None:
        settings = config.notices
        head = Letterhead(
            node=name, sender=settings.sender, recipients=settings.recipients
        )

        def mail(news: tuple[News, ...]) -> None:
            post(mail_of(head, news, datetime.now(UTC)))

        yield Postman(lambda: outbox.send_due(Channel.MAIL, mail), interval_s)
    if config.review.webhook_url:
        ca_file = config.review.webhook_ca_file
        hook = Webhook(
            url=config.review.webhook_url,
            secret_file=Path(config.review.webhook_secret_file),
            ca_file=Path(ca_file) if ca_file else None,
        )
        yield Postman(
            lambda: outbox.send_due(
                Channel.WEBHOOK, lambda news: hook(body_of(name, news))
            ),
            interval_s,
        )


def _postman(node: Node) -> Postman | None:
    """Return what sends notices; ``None``: there is no mail server."""
    config = node.config
    post = mail_server_of(config)
    if post is None:
        return None
    settings, name = config.notices, config.relying_party or _NAMELESS
    head = Letterhead(node=name, sender=settings.sender, recipients=settings.recipients)
    return Postman(lambda: node.notices.send_due(post, head), settings.look_interval_s)


def syslog_receivers_of(config: Config) -> dict[str, Receiver]:
    """Return where audit records are sent, by the name in the settings."""
    settings = config.syslog
    return {
        name: Receiver(
            host=host,
            port=port,
            ca_file=config.syslog_ca_file,
            certificate_file=config.syslog_certificate_file,
            key_file=config.syslog_key_file,
            timeout_s=settings.response_timeout_s,
            # Noticed in half of the time in which records are not certain yet.
            vanish_s=settings.settle_s / 2,
        )
        for name, host, port in config.syslog_receivers
    }


def feed_receivers_of(config: Config) -> dict[str, FeedReceiver]:
    """Return where audit records are sent as FHIR, by the name in the settings."""
    settings, token = config.feed, config.feed_token_file
    return {
        name: FeedReceiver(
            address=name,
            ca_file=config.feed_ca_file,
            certificate_file=config.feed_certificate_file,
            key_file=config.feed_key_file,
            token=None if token is None else SecretFile(token, "feed.token_file").read,
            timeout_s=settings.response_timeout_s,
        )
        for name in settings.receivers
    }


def _couriers(node: Node) -> list[Courier]:
    """Return what sends audit records; what changed about it goes on the record.

    Raises:
        Unavailable: It cannot be recorded.
    """
    receivers = syslog_receivers_of(node.config)
    fed = feed_receivers_of(node.config)
    trust = {name: each.trust for name, each in receivers.items()}
    trust |= {name: each.trust for name, each in fed.items()}
    node.forwarding.agree(trust, node.parts.actor(node.operator))
    host = node.config.relying_party or str(node.config.listen.host)
    sender = Sender(node.audit.origin, host, _NAMELESS, str(os.getpid()))
    frame = partial(feed, own=node.audit.origin)
    settle_s, fed_s = node.config.syslog.settle_s, node.config.feed.settle_s
    forwarders = [
        Forwarder(node.forwarding, name, each.connect, sender.frame, settle_s)
        for name, each in receivers.items()
    ]
    forwarders += [
        Forwarder(node.forwarding, name, each.connect, frame, fed_s)
        for name, each in fed.items()
    ]
    couriers = [Courier(each) for each in forwarders]
    return couriers + [Courier(each) for each in copiers_of(node)]


def copiers_of(node: Node) -> list[Copier]:
    """Return what copies checkpoints to where this node cannot take them back."""
    settings, secret = node.config.copies, node.config.copies_secret_file
    places: list[Place] = []
    if settings.folder:
        places.append(CopyFolder(Path(settings.folder)))
    if settings.s3_bucket and secret is not None:
        ca_file = settings.s3_ca_file
        places.append(
            Bucket(
                address=settings.s3_bucket,
                region=settings.s3_region,
                access_key=settings.s3_access_key,
                secret=SecretFile(secret, "copies.s3_secret_file").read,
                retention=timedelta(days=settings.s3_retention_days),
                ca_file=Path(ca_file) if ca_file else None,
            )
        )
    return [
        Copier(node.parts, node.operator, each, settings.interval_s) for each in places
    ]


def _listen_https(
    node: Node,
    contexts: Contexts,
    doorkeeper: Doorkeeper,
    transcoder: Transcoder,
    stack: ExitStack,
) -> tuple[str, int] | None:
    """Open HTTPS, if it is wanted, until the stack ends; return where it listens."""
    listen = node.config.https_listen
    if listen is None:
        return None
    https = node.config.https
    limits = _http_limits(https)
    parts, knocks = node.parts, doorkeeper.knocks
    judges: dict[Proof, Judge] = {
        Proof.BEARER: Bearer(parts, node.accounts.tokens, knocks),
        Proof.SESSION: Visits(parts, node.sessions, knocks),
        Proof.CERTIFICATE: Certified(parts, node.devices, knocks),
    }

    def guard(address: tuple[str, int]) -> Guard:
        return Guard(
            web_routes(node, transcoder, knocks, address[1]),
            authenticators(judges),
            parts.require,
            origins=origins(node.config, address[1]),
            limits=limits,
            stranger=knocks.count,
            meters=node.parts.meters,
        )

    server = HttpServer(
        guard,
        contexts.https,
        (str(listen.host), listen.port),
        limits,
        https.stop_timeout_s,
        stranger=knocks.count,
    )
    stack.callback(server.close)
    return server.start().address


def _review_routes(pages: Pages, desk: ReviewDesk) -> Iterator[Route]:
    yield from AlertRoutes(desk).routes()
    yield from AlertPages(pages, desk).routes()


def web_routes(
    node: Node,
    transcoder: Transcoder,
    knocks: Knocks,
    port: int = _HTTPS_PORT,
) -> tuple[Route, ...]:
    """Return all that HTTPS offers.

    Args:
        node: Whose.
        transcoder: Decodes, in processes of its own.
        knocks: Counts who is turned away.
        port: Where it listens.
    """
    renderer = Renderer(transcoder)
    stores = node.login_stores(origins(node.config, port))
    visits = Visits(node.parts, node.sessions, knocks)
    logins = Logins(node.parts, stores, knocks)
    session_s = round(node.config.https.session_timeout_s)
    services = (
        *Search(node.find).routes(),
        *Retrieve(node.viewings, transcoder).routes(),
        *RetrieveBulk(node.viewings, renderer).routes(),
        *RetrieveFrames(node.viewings, renderer).routes(),
        *RetrieveRendered(node.viewings, renderer).routes(),
        *Uri(
            Retrieve(node.viewings, transcoder, service=Service.WADO_URI),
            RetrieveRendered(node.viewings, renderer, service=Service.WADO_URI),
        ).routes(),
        *Store(node.ingest, node.config.https.stored_bytes_max).routes(),
        *Delete(node.erase, visits).routes(),
        *EmergencyRoutes(node.emergencies, Explain(node.find)).routes(),
        *RetentionRoutes(node.retention, node.orders).routes(),
        *ListRoutes(node.listing).routes(),
        *AccountRoutes(node.accounts, visits).routes(),
        *LoginRoutes(
            node.parts, logins, visits, session_s, _begins(node, stores, logins)
        ).routes(),
    )
    texts = Texts()
    rights_of = node.parts.gate.rights
    web = Pages(rights_of, texts)
    download = Download(node.fetch, node.config.media)
    shown = [
        *Files().routes(),
        *StartRoutes(rights_of, texts).routes(),
        *DoorRoutes(web, node.look_around).routes(),
        *DeviceRoutes(
            web,
            Neighbourhood(node.parts, node.devices, node.contacts, knocks.strangers),
            node.registrar,
            visits,
        ).routes(),
        *PeopleRoutes(
            web, node.accounts, Previews(node.accounts, node.rulebook)
        ).routes(),
        *RuleRoutes(web, RuleDesk(node.accounts, node.rulebook), visits).routes(),
        *AuditRoutes(web, node.trail, node.log_checks).routes(),
        *AuditEventRoutes(node.trail, node.audit.origin, __version__).routes(),
        *MonitoringRoutes(node.condition).routes(),
        *SystemRoutes(web, node.condition, node.verifications).routes(),
        *ControlRoutes(web, Office(node.parts)).routes(),
        *AccessRoutes(web, node.histories).routes(),
        *KeepingRoutes(web, node.retention, node.orders).routes(),
        *_review_routes(web, node.review),
        *ReviewRoutes(web, node.emergencies, node.histories).routes(),
        *StudyRoutes(web, node.find, download, rights_of).routes(),
        *pages.routes(
            texts,
            _sign_on_name(node.config),
            has_directory=bool(node.config.ldap.url),
        ),
        *Viewer.load().routes(),
    ]
    provider = provider_of(node.config)
    if provider is not None:
        vouching = Vouching(node.parts, node.accounts, logins)
        sign_on = SignOn(provider, _claims(node.config.oidc), vouching, logins)
        shown += OidcRoutes(sign_on, session_s, texts).routes()
    return described((*table(services, partial(_look, node)), *shown), __version__)


def provider_of(config: Config) -> Provider | None:
    """Return the OpenID provider that proves people; ``None``: there is none.

    Raises:
        Misconfigured: The CA file cannot be used, or a role cannot be given.
    """
    settings, path = config.oidc, config.oidc_secret_file
    if not settings.issuer or path is None:
        return None
    _claims(settings)
    trust = Trust(
        settings.issuer,
        SecondFactorRule(
            amr=frozenset(settings.second_factor_amr),
            acr=frozenset(settings.second_factor_acr),
            unsafe_not_required=bool(settings.unsafe_single_factor),
        ),
        settings.algorithms,
        # The settings have refused plain http but on this machine.
        unsafe_loopback_http=settings.issuer.startswith("http://"),
    )
    return Provider(
        trust,
        Client(settings.client_id, " ".join(settings.scopes)),
        SecretFile(path, "oidc.client_secret_file").read,
        Asker(tls_context(config.oidc_ca_file), settings.response_timeout_s),
    )


def _sign_on_name(config: Config) -> str:
    """Return what the login page calls single sign-on; empty: there is none."""
    return config.oidc.name if config.oidc.issuer else ""


def _claims(settings: Oidc) -> Claims:
    """Return what is read of what a provider says.

    Raises:
        Misconfigured: There is no such role, or people cannot have it.
    """
    table = group_roles(settings.group_roles)
    check_roles("oidc.group_roles", table.values())
    return Claims(
        GroupRoles(settings.groups_claim, table),
        settings.name_claim,
        settings.display_name_claim,
    )


def group_roles(texts: Iterable[str]) -> dict[str, str]:
    """Return group → role of texts like ``GROUP=ROLE``, which the settings checked."""
    return {group: role for group, _, role in (each.rpartition("=") for each in texts)}


def _begins(node: Node, stores: Stores, logins: Logins) -> Begin:
    """Return what a login with a password begins with.

    Raises:
        Misconfigured: The directory's settings cannot be used.
    """
    config = node.config
    directory = directory_of(config)
    if directory is None:
        return logins.begin
    return DirectoryLogins(
        parts=node.parts,
        stores=stores,
        logins=logins,
        vouching=Vouching(node.parts, node.accounts, logins),
        prover=directory,
        url=config.ldap.url,
        table=GroupRoles(
            "groups", directory.table(group_roles(config.ldap.group_roles))
        ),
    ).begin


def directory_of(config: Config) -> "Directory | None":
    """Return the directory that proves people; ``None``: there is none.

    Raises:
        Misconfigured: The driver is not installed, the CA file cannot be used, or a
            role cannot be given.
    """
    ldap = config.ldap
    if not ldap.url:
        return None
    try:
        # Its driver is an extra: who has no directory needs none.
        from leadglass.identity.federation import directory as adapter  # noqa: PLC0415
    except ImportError:
        raise Misconfigured(
            "ldap.url: the driver is not here; install leadglass[ldap]"
        ) from None
    check_roles("ldap.group_roles", group_roles(ldap.group_roles).values())
    path = config.ldap_password_file
    read = SecretFile(path, "ldap.bind_password_file").read if path else None
    lookup = adapter.Lookup(
        template=ldap.user_dn_template,
        base=ldap.base_dn,
        user_filter=ldap.user_filter,
        own_dn=ldap.bind_dn,
        own_password=read,
        groups=ldap.groups_attribute,
        group_base=ldap.group_base_dn,
        group_filter=ldap.group_filter,
        id=ldap.id_attribute,
        name=ldap.name_attribute,
        display_name=ldap.display_name_attribute,
    )
    place = adapter.Place.of(
        ldap.url,
        tls_context(config.ldap_ca_file, "ldap.ca_file"),
        ldap.response_timeout_s,
        unsafe_plaintext=bool(ldap.unsafe_plaintext),
    )
    return adapter.Directory(place, lookup)


def check_roles(setting: str, roles: Iterable[str]) -> None:
    """Make sure that people can have roles that a setting names, each alone.

    Raises:
        Misconfigured: All that cannot be.
    """
    problems: list[str] = []
    for role in sorted(set(roles)):
        try:
            check_person((role,))
        except Misconfigured as error:
            problems += [f"{setting}: {problem}" for problem in error.problems]
    if problems:
        raise Misconfigured(*problems)


def _look(node: Node) -> None:
    """Make sure that the database answers."""
    with node.database.read():
        pass


def origins(config: Config, port: int) -> tuple[str, ...]:
    """Return by which origins clients know a node (RFC 6454 §6.1)."""
    names = config.tls.node_names
    hosts = (f"[{name}]" if ":" in name else name.lower() for name in names)
    shown = "" if port == _HTTPS_PORT else f":{port}"
    own = tuple(f"https://{host}{shown}" for host in hosts)
    return (*own, *config.https.public_origins)


def _http_limits(https: Https) -> HttpLimits:
    return HttpLimits(
        head_s=https.head_timeout_s,
        idle_s=https.idle_timeout_s,
        receive_s=https.transfer_timeout_s,
        send_s=https.transfer_timeout_s,
        connections_max=https.connection_count_max,
        connections_per_address_max=https.connection_count_per_address_max,
        requests_max=https.request_count_max,
        streams_max=https.stream_count_max,
        requests_per_s_max=https.request_count_per_s_max,
        burst=2 * https.request_count_per_s_max,
    )


def _credentials(authority: Authority) -> Credentials:
    read = authority.node_credentials()
    return Credentials(read.chain, read.key, read.authorities, read.revocations)


def _renew(node: Node) -> None:
    """Renew the node's certificate and the revocation list when they are due."""
    node.authority.renew_node(
        node.config.tls.node_names, within_days=_NODE_RENEWAL_DAYS
    )
    if node.authority.revocations_are_due():
        node.registrar.publish_revocations()


@dataclass(slots=True)
class _Job:
    """Something the node does on its own."""

    interval_s: float
    work: Callable[[], object]
    due_at: float = 0.0


class Jobs:
    """Does what is due, one after the other, in a thread of its own."""

    def __init__(self, node: Node, doorkeeper: Doorkeeper) -> None:
        self._node = node
        self._doorkeeper = doorkeeper
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="jobs", daemon=True)
        settings = node.config.jobs
        self._jobs = (
            _Job(settings.reload_interval_s, node.keyring.reload_if_changed),
            _Job(settings.reload_interval_s, self._reload_rules),
            _Job(settings.reload_interval_s, doorkeeper.knocks.tell),
            _Job(settings.reload_interval_s, doorkeeper.contacts.write),
            _Job(settings.reload_interval_s, node.emergencies.expire),
            _Job(settings.reload_interval_s, node.viewings.end),
            _Job(settings.sweep_interval_s, node.recover),
            _Job(settings.expiry_interval_s, self._expire),
        )

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, after what is under way; tell what was counted."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        self._try(lambda: self._doorkeeper.knocks.tell(everything=True))
        self._try(lambda: self._doorkeeper.contacts.write(everything=True))

    def _run(self) -> None:
        tick_s = self._node.config.jobs.reload_interval_s
        while not self._stopping.wait(tick_s):
            for job in self._jobs:
                now = time.monotonic()
                if now >= job.due_at:
                    job.due_at = now + job.interval_s
                    self._try(job.work)

    def _try(self, work: Callable[[], object]) -> None:
        """Do one thing; what fails is logged and done again when it is due."""
        try:
            work()
        except LeadglassError as error:
            _LOG.warning("a job failed: %s", error)
        except Exception:  # noqa: BLE001  # one job's bug must not stop the others
            _LOG.exception("a job failed by a mistake of ours")

    def _reload_rules(self) -> None:
        node = self._node
        if node.rulebook.reload_if_changed():
            node.parts.record(
                node.parts.events.rules_changed(
                    node.parts.actor(node.operator),
                    {"file": node.layout.rules.name, "sha256": node.rulebook.digest},
                )
            )

    def _expire(self) -> None:
        """Renew what is ours, and say what others must renew."""
        node = self._node
        _renew(node)
        days = node.config.tls.certificate_warning_days
        for expiry in node.authority.expiring(days):
            _LOG.warning("%s ends soon: %s", expiry.what, expiry.remedy)
        with node.database.read() as connection:
            count = len(node.devices.expiring(connection, days, datetime.now(UTC)))
        if count:
            _LOG.warning("devices that fall silent within %d days: %d", days, count)
