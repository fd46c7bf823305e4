"""What is known of a node when its controls are looked at: values, gathered before.

Who gathers is the composition root's business; checks are functions of these, so that
each can be shown a node on which it must fail.
"""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from leadglass.audit.events import Event
from leadglass.identity.device import Device

# What is looked through of the record: some days of a large hospital, a second of work.
RECORDS_MAX = 20_000
RECORD_DAYS = 30


@dataclass(frozen=True, slots=True)
class Human:
    """A person with an account.

    Attributes:
        name: User name.
        roles: Names of roles.
        is_enabled: May log in.
        addresses: Where standing sessions are.
    """

    name: str
    roles: tuple[str, ...]
    is_enabled: bool = True
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Mode:
    """A file that only the node may read, and its permission bits."""

    what: str
    bits: int
    is_inside: bool = False


@dataclass(frozen=True, slots=True)
class Sampled:
    """Stored bytes that were read again, or raw bytes that were searched.

    Attributes:
        count: Instances, or files.
        octets: Bytes.
        faults: What was wrong, without patient data.
        is_proven: The same search found what it must find elsewhere.
    """

    count: int = 0
    octets: int = 0
    faults: tuple[str, ...] = ()
    is_proven: bool = True


@dataclass(frozen=True, slots=True)
class RecordState:
    """The record as a verification found it.

    Attributes:
        size: Records.
        faults: What is wrong.
        remarks: What is worth knowing, clocks among it.
        checkpoints: Signed heads that were held against it.
        witnesses: Names of witnesses that cosigned, and when last.
        oldest: Of the records that are there.
    """

    size: int
    faults: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    checkpoints: int = 0
    witnesses: tuple[tuple[str, datetime], ...] = ()
    oldest: datetime | None = None


@dataclass(frozen=True, slots=True)
class Past:
    """What was done before.

    Attributes:
        runs: When controls were gone through.
        verified: When all stored bytes were last verified, and how many were damaged.
        baseline: The fingerprint that was agreed on, by whom.
    """

    runs: tuple[datetime, ...] = ()
    verified: tuple[datetime, int] | None = None
    baseline: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeState:
    """A node.

    Attributes:
        now: When this was gathered.
        version: Of the program.
        home: The data folder.
        fingerprint: Of settings and rules, as of now.
        weaknesses: What settings and exceptions weaken, in words.
        declared: Where the settings say that it listens, HOST:PORT.
        sockets: Where its process listens; None: it does not serve now.
        devices: All that are enrolled.
        people: All accounts.
        programs: Names of tokens.
        broken: Expectations of the rule file that do not hold.
        open_reviews: When emergencies began that wait for their review.
        events: Of the last ``RECORD_DAYS``, at most ``RECORDS_MAX``, the newest first.
        record: The record, verified.
        modes: Keys and folders.
        keys_changed: When the key that wraps the others was made.
        images: Stored images that were read again.
        raw: Files of the data folder that were searched.
        ends: What ends when: certificates of the node and its authority.
        revocations_due: The revocation list should be newer.
        retention_days: How long records are kept at least.
        components: Name and version of what it is made of.
        past: What was done before.
    """

    now: datetime
    version: str
    home: Path
    fingerprint: str
    weaknesses: tuple[str, ...] = ()
    declared: tuple[str, ...] = ()
    sockets: tuple[str, ...] | None = None
    devices: tuple[Device, ...] = ()
    people: tuple[Human, ...] = ()
    programs: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    open_reviews: tuple[datetime, ...] = ()
    events: tuple[Event, ...] = ()
    record: RecordState = field(default_factory=lambda: RecordState(0))
    modes: tuple[Mode, ...] = ()
    keys_changed: datetime | None = None
    images: Sampled = field(default_factory=Sampled)
    raw: Sampled = field(default_factory=Sampled)
    ends: tuple[tuple[str, datetime], ...] = ()
    revocations_due: bool = False
    retention_days: int = 0
    components: tuple[tuple[str, str], ...] = ()
    past: Past = field(default_factory=Past)
