"""The twin of a node: same program, same settings, keys and data of its own.

Experiments attack, overwrite and cut off. On a twin they do so without a patient, and
without a trace in the archive that they speak for. It serves in a process of its own,
on loopback, and is gone afterwards. ``app`` knows how one is made; this says what
experiments may ask of it.
"""

import ssl
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from leadglass.assurance.peer import Calling
from leadglass.audit.findings import Report
from leadglass.audit.search import Record
from leadglass.dicom.aetitle import AETitle

LOOPBACK = "127.0.0.1"
HERE = ("127.0.0.0/8",)


@dataclass(frozen=True, slots=True)
class Proof:
    """The files of a device: its key, its certificate, whom it trusts."""

    name: str
    key: Path
    certificate: Path
    authorities: Path

    def context(self) -> ssl.SSLContext:
        """Return TLS as this device."""
        context = trusting(self.authorities)
        context.load_cert_chain(self.certificate, self.key)
        return context


@dataclass(frozen=True, slots=True)
class Login:
    """What somebody logs in with.

    Attributes:
        name: User name.
        password: The right one.
        app: The secret of the app that makes codes (RFC 6238).
    """

    name: str
    password: str = field(repr=False)
    app: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Way:
    """One thing that HTTPS offers.

    Attributes:
        method: HTTP method.
        path: With values in the place of parameters.
        is_public: Declared to be for everybody.
        right: The right that it needs; "" if everybody proven may.
    """

    method: str
    path: str
    is_public: bool
    right: str = ""


class LogCopy(Protocol):
    """A copy of the record that may be tampered with."""

    def execute(self, statement: str, numbers: Mapping[str, int]) -> None:
        """Change the copy behind the program's back, in SQL."""

    def verify(self) -> Report:
        """Let the program verify it."""


class Twin(Protocol):
    """What experiments may ask for."""

    @property
    def home(self) -> Path:
        """The data folder."""

    @property
    def title(self) -> AETitle:
        """The node's AE title."""

    @property
    def dimse_port(self) -> int:
        """Where DICOM over TLS is, on ``LOOPBACK``."""

    @property
    def https_port(self) -> int:
        """Where HTTPS is, on ``LOOPBACK``."""

    @property
    def authorities(self) -> Path:
        """The certificates by which its own is verified."""

    def ways(self) -> Sequence[Way]:
        """Return all that HTTPS offers."""

    def enrol(self, name: str, networks: Sequence[str] = HERE) -> Proof:
        """Enrol a device with every right."""

    def revoke(self, name: str) -> None:
        """Revoke a device."""

    def person(self, name: str, role: str, *, reaches_nothing: bool = False) -> str:
        """Add a person who has proven both factors; return the session's cookie."""

    def login_of(self, name: str, role: str) -> "Login":
        """Add a person with a password and an app; return both."""

    def disable(self, name: str) -> None:
        """Take a person's access."""

    def session_stands(self, cookie: str, at: datetime) -> bool:
        """Tell whether a session would be taken at a moment."""

    def session_limits_s(self) -> tuple[float, float]:
        """Return idle and absolute limit of sessions, in seconds."""

    def records(self) -> Sequence[Record]:
        """Return the whole record."""

    def seers(self, patient: str) -> frozenset[str]:
        """Return the names of whoever saw a patient, as the node tells it."""

    def kept_aside(self) -> int:
        """Return how many instances are in quarantine."""

    def open_reviews(self) -> int:
        """Return how many emergencies wait for their review."""

    def settle(self) -> None:
        """Wait until what was acknowledged is in index and record."""

    def copy_of_log(self) -> AbstractContextManager[LogCopy]:
        """Give a copy of the record."""

    def restored(self) -> AbstractContextManager["Restored"]:
        """Stop, copy the folder as a backup, start again, restore the copy."""

    def kill(self) -> None:
        """End it as a power switch does, and start it again."""

    def fingerprint(self) -> str:
        """Return the fingerprint of its effective settings and rules, as of now."""

    def other_rules(self, text: str) -> AbstractContextManager[None]:
        """Append to the rule file for a while."""

    def erase(self, study: str) -> int:
        """Erase a study; return how many files of it are left, of those there were."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore came to.

    Attributes:
        home: Where the restored folder is.
        took_s: Copying, opening and verifying.
        octets: What was copied.
        faults: What was not right, as verification says.
        instances: How many are there.
    """

    home: Path
    took_s: float
    octets: int
    faults: tuple[str, ...]
    instances: int


def trusting(authorities: Path) -> ssl.SSLContext:
    """Return TLS for whoever has no certificate and trusts the node's authority."""
    context = ssl.create_default_context(cafile=str(authorities))
    context.check_hostname = False  # reached by address, known by its authority
    return context


def calling(twin: Twin, title: str, tls: ssl.SSLContext | None) -> Calling:
    """Return how to call the twin as a device."""
    return Calling(LOOPBACK, twin.dimse_port, twin.title, AETitle(title), tls)
