"""The twin of this node, for experiments (``assurance.compliance.twin``)."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from leadglass.access.scopes import EVERYTHING, Scope
from leadglass.app import Layout, Node, web_routes
from leadglass.archive.doors import Knocks
from leadglass.assurance.compliance import fingerprint
from leadglass.assurance.compliance.canary import SOP_CLASS
from leadglass.assurance.compliance.twin import (
    HERE,
    LOOPBACK,
    Login,
    Proof,
    Restored,
    Way,
    calling,
)
from leadglass.assurance.peer import associate
from leadglass.audit.findings import Report
from leadglass.audit.search import Record, Search
from leadglass.config import Config, settings
from leadglass.database.engine import Transaction
from leadglass.dicom.aetitle import AETitle
from leadglass.dicom.attributes import Level
from leadglass.dicom.sop_classes import (
    STUDY_ROOT_FIND,
    STUDY_ROOT_GET,
    VERIFICATION,
)
from leadglass.dicom.uids import UID, new_uid
from leadglass.errors import LeadglassError, NotFound, Unavailable
from leadglass.identity.device import parse_device
from leadglass.identity.people.known import NoList
from leadglass.identity.people.passwords import Passwords
from leadglass.identity.people.secondfactor import (
    Factor,
    SecondFactors,
    new_totp_secret,
    totp_step,
)
from leadglass.identity.people.user import NewUser, User
from leadglass.identity.rows import to_us
from leadglass.index.query import Selection
from leadglass.pixels.transcode import Transcoder
from leadglass.servers.http.routes import Door
from leadglass.vault.blobs import BlobName
from leadglass.vault.keys import KeyId

# What of the settings makes a node behave as it does. Where it listens, what it sends
# elsewhere and whom it asks outside is not copied: experiments stay on this machine.
_COPIED: Final = frozenset({"tls", "https", "dimse", "limits", "find", "pixels"})
_NOT_COPIED: Final = frozenset(
    {
        *("dimse.listen", "dimse.unsafe_plaintext_listen", "https.listen"),
        *("https.people_networks", "https.host_names", "https.password_list"),
    }
)
# A start takes some seconds; on a machine that is busy, more.
_START_S: Final = 60.0
_STOP_S: Final = 60.0
# What is acknowledged is indexed and recorded within a tenth of a second; a busy disk
# takes longer. Quiet for so long is settled.
_QUIET_S: Final = 0.3
_SETTLED_WITHIN_S: Final = 20.0
_LOOK_S: Final = 0.05
# Of our own environment; the settings of this node are not among them.
_KEPT: Final = ("PATH", "LANG", "PYTHONPATH")
# What shows that all rights of a device count.
_CLASSES: Final = (VERIFICATION, SOP_CLASS, STUDY_ROOT_FIND, STUDY_ROOT_GET)
_EVERY_RIGHT: Final = ("echo", "store", "find", "move", "get")
# Reaches a patient that nobody is.
_NOTHING: Final = Scope(patient_ids=frozenset({"ZZ-NOBODY"}))


@contextmanager
def twin_of(config: Config, folder: Path) -> Iterator["NodeTwin"]:
    """Make and serve the twin of a node in a folder; end it afterwards.

    Raises:
        Unavailable: It did not start.
    """
    twin = NodeTwin(twin_config(config, folder), folder)
    try:
        twin.start()
        yield twin
    finally:
        twin.end()


def twin_config(config: Config, folder: Path) -> Config:
    """Return the settings of the twin of a node whose folder this is."""
    said: dict[str, object] = {
        each.name: config.value(each)
        for each in settings()
        if each.section in _COPIED
        and each.name not in _NOT_COPIED
        and config.value(each) != each.default
    }
    said |= {
        "node.ae_title": config.node.ae_title,
        "keys.source": "file",
        "keys.master_file": str(folder / "twin.key"),
        "dimse.listen": f"{LOOPBACK}:0",
        "https.listen": f"{LOOPBACK}:0",
    }
    return Config.load(folder / "home", {}, said)


class NodeTwin:
    """A node of its own, opened here for looking, served in another process."""

    def __init__(self, config: Config, folder: Path) -> None:
        self._config = config
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None
        self._node: Node | None = None
        self._ports: tuple[int, int] = (0, 0)
        self._copies = 0
        Node.init(config)

    # --- its life ---------------------------------------------------------------

    def start(self) -> None:
        """Serve it, and open it here.

        Raises:
            Unavailable: It did not start.
        """
        chosen = {
            each.environment: _text(self._config.value(each))
            for each in settings()
            if each.name in self._config.origins
        }
        kept = {
            name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ
        }
        command = [sys.executable, "-m", "leadglass", "--json"]
        self._process = subprocess.Popen(  # noqa: S603  # our own program
            [*command, "--home", str(self.home), "serve"],
            env=kept | chosen,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        try:
            ready = json.loads(line)
            self._ports = _port(ready["dimse"]), _port(ready["https"])
        except (ValueError, KeyError, TypeError) as error:
            self.end()
            raise Unavailable("the twin of this node did not start") from error
        self._node = Node.open(self._config)

    def end(self, number: int = signal.SIGTERM) -> None:
        """End it; the folder stays."""
        if self._node is not None:
            self._node.close()
            self._node = None
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()

    def kill(self) -> None:
        """End it as a power switch does, and start it again."""
        self.end(signal.SIGKILL)
        self.start()

    @property
    def node(self) -> Node:
        """The node, opened here.

        Raises:
            Unavailable: It did not start again after an experiment.
        """
        if self._node is None:
            raise Unavailable("the twin of this node does not serve")
        return self._node

    # --- where it is --------------------------------------------------------------

    @property
    def home(self) -> Path:
        """The data folder."""
        return self._config.home

    @property
    def title(self) -> AETitle:
        """The node's AE title."""
        return AETitle(self._config.node.ae_title)

    @property
    def dimse_port(self) -> int:
        """Where DICOM over TLS is."""
        return self._ports[0]

    @property
    def https_port(self) -> int:
        """Where HTTPS is."""
        return self._ports[1]

    @property
    def authorities(self) -> Path:
        """The certificates by which its own is verified."""
        return self.node.authority.ca_path

    def ways(self) -> Sequence[Way]:
        """Return all that HTTPS offers."""
        with Transcoder() as transcoder:
            routes = web_routes(self.node, transcoder, Knocks(self.node.parts))
            return [
                Way(
                    method=str(each.method),
                    path=_filled(each.segments),
                    is_public=each.access is Door.PUBLIC,
                    right="" if isinstance(each.access, Door) else str(each.access),
                )
                for each in routes
            ]

    # --- who may come -------------------------------------------------------------

    def enrol(self, name: str, networks: Sequence[str] = HERE) -> Proof:
        """Enrol a device with every right."""
        device = parse_device(
            name=name,
            ae_titles=(name,),
            networks=networks,
            rights=_EVERY_RIGHT,
            now=datetime.now(UTC),
        )
        folder = self._folder / "devices" / name
        folder.parent.mkdir(mode=0o700, exist_ok=True)
        self.node.registrar.enrol(self.node.operator, device, folder)
        proof = Proof(name, folder / "key.pem", folder / "cert.pem", folder / "ca.pem")
        if networks == HERE:
            self._await(proof)
        return proof

    def _await(self, proof: Proof) -> None:
        """Wait until the process that serves knows a device and all its rights."""
        end = time.monotonic() + _SETTLED_WITHIN_S
        while time.monotonic() < end:
            to = calling(self, proof.name, proof.context())
            with suppress(LeadglassError), associate(to, _CLASSES) as peer:
                if peer.taken == set(_CLASSES):
                    return
            time.sleep(_LOOK_S)
        raise Unavailable("the twin of this node does not know a device of its own")

    def revoke(self, name: str) -> None:
        """Revoke a device."""
        self.node.registrar.revoke(self.node.operator, name, "experiment")

    def person(self, name: str, role: str, *, reaches_nothing: bool = False) -> str:
        """Add a person who has proven both factors; return the session's cookie."""
        self._add(name, role, _NOTHING if reaches_nothing else EVERYTHING)
        now = datetime.now(UTC)

        def work(tx: Transaction) -> str:
            user = self._enrolled(tx, name, now)
            return self.node.sessions.create(tx, user, Factor.TOTP, None, now)[0]

        return self.node.database.write(work)

    def login_of(self, name: str, role: str) -> Login:
        """Add a person with a password and an app; return both."""
        self._add(name, role, EVERYTHING)
        now = datetime.now(UTC)
        password = f"{new_uid()[5:29]} horses"
        prepared = Passwords(NoList()).prepare(password, (name,))
        app = new_totp_secret()

        def work(tx: Transaction) -> None:
            user = self._enrolled(tx, name, now)
            user = self.node.accounts.users.set_password(tx, user, prepared)
            # A step of before, so that the code of now has not been used.
            SecondFactors().set_totp(tx, user, app, totp_step(now) - 2)

        self.node.database.write(work)
        return Login(name, password, app)

    def _add(self, name: str, role: str, reach: Scope) -> None:
        self.node.accounts.add_user(self.node.operator, NewUser(name, (role,)), reach)

    def _enrolled(self, tx: Transaction, name: str, now: datetime) -> User:
        users = self.node.accounts.users
        user = users.get(tx.connection, name)
        return users.change(tx, user, {"enrolled_us": to_us(now)})

    def disable(self, name: str) -> None:
        """Take a person's access."""
        self.node.accounts.disable_user(self.node.operator, name, "experiment")

    def session_stands(self, cookie: str, at: datetime) -> bool:
        """Tell whether a session would be taken at a moment."""
        with self.node.database.read() as connection:
            try:
                self.node.sessions.find(connection, cookie, at)
            except LeadglassError:
                return False
        return True

    def session_limits_s(self) -> tuple[float, float]:
        """Return idle and absolute limit of sessions, in seconds."""
        https = self._config.https
        return https.session_idle_timeout_s, https.session_timeout_s

    # --- what is seen ---------------------------------------------------------------

    def records(self) -> Sequence[Record]:
        """Return the whole record."""
        return list(self.node.audit.list(Search()))

    def seers(self, patient: str) -> frozenset[str]:
        """Return the names of whoever saw a patient, as the node tells it."""
        told = self.node.histories(self.node.operator, patient)
        return frozenset(each.who for each in told.seers)

    def kept_aside(self) -> int:
        """Return how many instances are in quarantine."""
        with self.node.database.read() as connection:
            return self.node.parts.index.quarantined_count(connection)

    def open_reviews(self) -> int:
        """Return how many emergencies wait for their review."""
        return self.node.emergencies.count_open()

    def settle(self) -> None:
        """Wait until what was acknowledged is in index and record."""
        end = time.monotonic() + _SETTLED_WITHIN_S
        last, since = self.node.audit.size(), time.monotonic()
        while time.monotonic() < end:
            time.sleep(_LOOK_S)
            size = self.node.audit.size()
            if size != last:
                last, since = size, time.monotonic()
            elif time.monotonic() - since >= _QUIET_S:
                return

    def fingerprint(self) -> str:
        """Return the fingerprint of its effective settings and rules, as of now."""
        return fingerprint.of(self._config, Layout(self.home).rules)

    @contextmanager
    def other_rules(self, text: str) -> Iterator[None]:
        """Append to the rule file for a while."""
        path = Layout(self.home).rules
        before = path.read_bytes() if path.exists() else None
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
        try:
            yield
        finally:
            if before is None:
                path.unlink()
            else:
                path.write_bytes(before)

    def erase(self, study: str) -> int:
        """Erase a study; return how many of its key and blobs are left."""
        node = self.node
        key = node.parts.index.study_key(node.database, study)
        with node.database.read() as connection:
            selection = Selection(level=Level.STUDY, study_uids=(study,))
            blobs = [
                BlobName(each.blob)
                for each in node.parts.index.instances(
                    connection, selection, (EVERYTHING,)
                )
            ]
        assert key is not None  # it was stored
        assert blobs
        node.erase(node.operator, UID(study), "experiment")
        left = 0
        with suppress(NotFound):
            node.keyring.study_key(KeyId(key))
            left += 1
        for blob in blobs:
            with suppress(NotFound):
                node.parts.blobs.size(blob)
                left += 1
        return left

    # --- copies -----------------------------------------------------------------

    @contextmanager
    def copy_of_log(self) -> Iterator["_LogCopy"]:
        """Give a copy of the record; those of one run are of one moment."""
        base = self._folder / "log"
        if not base.exists():
            self.end()
            shutil.copytree(self.home, base)
            self.start()
        self._copies += 1
        folder = self._folder / f"log-{self._copies}"
        shutil.copytree(base, folder)
        try:
            with ExitStack() as stack:
                yield _LogCopy(stack.enter_context(Node.open(self._at(folder))))
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def restored(self) -> Iterator[Restored]:
        """Stop, copy the folder as a backup, start again, restore the copy."""
        backup = self._folder / "backup"
        self.end()
        began = time.monotonic()
        shutil.copytree(self.home, backup)
        self.start()
        try:
            with Node.open(self._at(backup)) as node:
                found = node.verify(node.operator)
                log = node.audit.verify()
            faults = [each.what for each in found.damages]
            faults += [each.text for each in log.findings]
            yield Restored(
                home=backup,
                took_s=time.monotonic() - began,
                octets=sum(
                    each.stat().st_size for each in backup.rglob("*") if each.is_file()
                ),
                faults=tuple(faults),
                instances=found.instances,
            )
        finally:
            shutil.rmtree(backup, ignore_errors=True)

    def _at(self, home: Path) -> Config:
        said = {
            each.name: self._config.value(each)
            for each in settings()
            if each.name in self._config.origins
        }
        return Config.load(home, {}, said)


@dataclass(frozen=True, slots=True)
class _LogCopy:
    node: Node

    def execute(self, statement: str, numbers: Mapping[str, int]) -> None:
        """Change the copy behind the program's back, in SQL."""

        def work(tx: Transaction) -> None:
            tx.connection.exec_driver_sql(statement, dict(numbers))

        self.node.database.write(work)

    def verify(self) -> Report:
        """Let the program verify it."""
        return self.node.audit.verify()


def _filled(segments: tuple[str, ...]) -> str:
    """Return a path with something in the place of its parameters."""
    return "/" + "/".join("1" if each.startswith("{") else each for each in segments)


def _port(place: str) -> int:
    return int(place.rpartition(":")[2])


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value)
