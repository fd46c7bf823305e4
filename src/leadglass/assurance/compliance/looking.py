"""The checks that look, as small functions of a ``NodeState``, and their table."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from leadglass.access.networks import Network
from leadglass.access.rights import Right
from leadglass.access.roles import CLINICAL_RIGHTS, ROLES
from leadglass.assurance.compliance import inventory, software
from leadglass.assurance.compliance.probe import Seen, Witnessed, nothing_to_see
from leadglass.assurance.compliance.state import NodeState
from leadglass.audit.codes import EventID
from leadglass.audit.events import Event
from leadglass.identity.device import Device

# Names that several people share (45 CFR 164.312(a)(2)(i): one name for one person).
GENERIC_NAMES: Final = frozenset(
    {
        *("admin", "administrator", "root", "user", "guest", "test", "demo", "shared"),
        *("radiology", "doctor", "nurse", "reception", "station", "pacs", "staff"),
    }
)
# The first administrator is made by the program before there is a person.
FIRST_ADMINISTRATOR: Final = "admin"
# One person at this many addresses at once is several.
ADDRESSES_MAX: Final = 2
REVIEW_WITHIN: Final = timedelta(days=7)
LOOKED_AT_WITHIN: Final = timedelta(days=31)
VERIFIED_WITHIN: Final = timedelta(days=31)
AUDITED_WITHIN: Final = timedelta(days=366)
CERTIFICATE_LEFT: Final = timedelta(days=30)
KEYS_CHANGED_WITHIN: Final = timedelta(days=2 * 366)
# 45 CFR 164.316(b)(2)(i): six years.
RETENTION_DAYS: Final = 2_191
RENEWED_WITHIN: Final = timedelta(days=3 * 366)
# A department's network; a device that may come from more is bound to nothing.
_NARROW: Final = {4: 16, 6: 48}
_OTHERS: Final = 0o077
_ENCRYPTED: Final = ("TLSv1.2", "TLSv1.3")
_PLAINTEXT: Final = "plaintext"


def individuals(state: NodeState) -> Seen:
    """Look for names that several share, and for acts of nobody."""
    seen = Witnessed()
    shared = [
        each.name
        for each in state.people
        if each.is_enabled
        and each.name.casefold() in GENERIC_NAMES
        and each.name != FIRST_ADMINISTRATOR
    ]
    seen.expect(not shared, f"{len(shared)} accounts have names that several share")
    spread = [each for each in state.people if len(set(each.addresses)) > ADDRESSES_MAX]
    seen.expect(
        not spread,
        f"{len(spread)} people are at more than {ADDRESSES_MAX} addresses at once",
    )
    nameless = sum(not _requestor(each) for each in state.events if _is_access(each))
    seen.expect(not nameless, f"{nameless} accesses on the record are of nobody")
    return seen.seen()


def separation(state: NodeState) -> Seen:
    """Look for people who administer and read, and for administrators who read."""
    seen = Witnessed()
    both = [
        each.name
        for each in state.people
        if each.is_enabled
        and any(_may(role, {Right.ADMINISTER}) for role in each.roles)
        and any(_may(role, CLINICAL_RIGHTS) for role in each.roles)
    ]
    seen.expect(not both, f"{len(both)} people both administer and read")
    administrators = {
        each.name
        for each in state.people
        if any(_may(role, {Right.ADMINISTER}) for role in each.roles)
    }
    reads = sum(
        _requestor(each) in administrators
        for each in state.events
        if _is_access(each) and each.details.get("kind") == "person"
    )
    seen.expect(not reads, f"{reads} reads of administrators are on the record")
    return seen.seen()


def _may(role: str, rights: Iterable[Right]) -> bool:
    return role in ROLES and bool(ROLES[role].rights & set(rights))


def register(state: NodeState) -> Seen:
    """Look at each enrolled device: certificate, networks, exception."""
    active = [each for each in state.devices if _is_active(each, state.now)]
    if not state.devices:
        return nothing_to_see("no device is enrolled yet")
    seen = Witnessed()
    wide = [each.name for each in active if any(map(_is_wide, each.networks))]
    seen.expect(not wide, f"{len(wide)} devices may come from a whole enterprise")
    unused = [
        each.name
        for each in active
        if state.now - (each.renewed_at or each.enrolled_at) > RENEWED_WITHIN
    ]
    seen.expect(not unused, f"{len(unused)} devices were not renewed for years")
    seen.note(f"{len(active)} of {len(state.devices)} devices are active")
    return seen.seen()


def _is_wide(network: Network) -> bool:
    return network.prefixlen < _NARROW[network.version] and not network.is_loopback


def _is_active(device: Device, now: datetime) -> bool:
    certificate, exception = device.certificate, device.unsafe_plaintext
    return (certificate is not None and certificate.refusal(now) is None) or (
        exception is not None and exception.refusal(now) is None
    )


def listeners(state: NodeState) -> Seen:
    """Hold the sockets that are open against the settings."""
    if state.sockets is None:
        return nothing_to_see("the node does not serve now")
    seen = Witnessed()
    declared = set(state.declared)
    extra = [each for each in state.sockets if each not in declared]
    seen.expect(state.sockets, f"{len(state.sockets)} sockets listen")
    seen.expect(not extra, f"{len(extra)} of them are not declared")
    seen.note(f"declared: {', '.join(sorted(declared))}")
    return seen.seen()


def emergencies(state: NodeState) -> Seen:
    """Look for broken glass that nobody has reviewed in time."""
    seen = Witnessed()
    late = sum(state.now - each > REVIEW_WITHIN for each in state.open_reviews)
    seen.expect(not late, f"{late} reviews are open for more than a week")
    seen.note(f"{len(state.open_reviews)} reviews are open")
    return seen.seen()


def at_rest(state: NodeState) -> Seen:
    """Search raw bytes of the data folder for names that the index knows."""
    raw = state.raw
    if not raw.count:
        return nothing_to_see("there is nothing stored yet")
    seen = Witnessed()
    seen.expect(raw.is_proven, "the search finds a name where there is one")
    seen.expect(not raw.faults, f"{len(raw.faults)} files have something in the clear")
    seen.note(f"{raw.count} files, {raw.octets} bytes were searched")
    return seen.seen()


def keys(state: NodeState) -> Seen:
    """Look at who may read keys, where they are, and how old they are."""
    seen = Witnessed()
    wide = [each.what for each in state.modes if each.bits & _OTHERS]
    seen.expect(state.modes, f"{len(state.modes)} files and folders were looked at")
    seen.expect(not wide, f"others may read {len(wide)} of them")
    inside = [each.what for each in state.modes if each.is_inside]
    seen.expect(not inside, "the master key is not in the data folder")
    if state.keys_changed is not None:
        seen.expect(
            state.now - state.keys_changed <= KEYS_CHANGED_WITHIN,
            f"the wrapping key is of {state.keys_changed:%Y-%m-%d}",
        )
    return seen.seen()


def integrity(state: NodeState) -> Seen:
    """Read stored images again, and look when all of them were last verified."""
    if not state.images.count:
        return nothing_to_see("there is nothing stored yet")
    seen = Witnessed()
    seen.expect(
        not state.images.faults,
        f"{len(state.images.faults)} of {state.images.count} images are damaged",
    )
    if state.past.verified is not None:
        when, damaged = state.past.verified
        seen.expect(not damaged, f"{damaged} were damaged when all were verified")
        seen.expect(
            state.now - when <= VERIFIED_WITHIN, f"all were verified on {when:%Y-%m-%d}"
        )
    else:
        seen.note("all of them were never verified: leadglass verify")
    return seen.seen()


def record(state: NodeState) -> Seen:
    """Verify the record whole: leaves, tree, heads, witnesses."""
    if not state.record.size:
        return nothing_to_see("the record is empty")
    seen = Witnessed()
    found = state.record
    seen.expect(not found.faults, f"{found.size} records verify")
    for each in found.faults[:10]:
        seen.note(each)
    seen.expect(
        found.checkpoints,
        f"{found.checkpoints} signed checkpoints were held against it",
    )
    for name, when in found.witnesses:
        seen.note(f"witness {name} cosigned on {when:%Y-%m-%d}")
    return seen.seen()


def gaps(state: NodeState) -> Seen:
    """Look for records that are missing, and for clocks that went wrong."""
    if not state.record.size:
        return nothing_to_see("the record is empty")
    seen = Witnessed()
    missing = [each for each in state.record.faults if "missing" in each]
    seen.expect(not missing, "no number is missing")
    seen.expect(not state.record.remarks, "clocks went on as clocks do")
    for each in state.record.remarks[:10]:
        seen.note(each)
    return seen.seen()


def reviews(state: NodeState) -> Seen:
    """Look whether a person looked at the record lately, and reviewed broken glass."""
    if not state.record.size:
        return nothing_to_see("the record is empty")
    seen = Witnessed()
    people = {each.name for each in state.people}
    looked = [
        each.time
        for each in state.events
        if each.id is EventID.AUDIT_LOG_USED
        and each.time is not None
        and _requestor(each) in people
    ]
    newest = max(looked, default=None)
    seen.expect(
        newest is not None and state.now - newest <= LOOKED_AT_WITHIN,
        "somebody has looked at the record within a month",
    )
    late = sum(state.now - each > REVIEW_WITHIN for each in state.open_reviews)
    seen.expect(not late, "no review waits for more than a week")
    return seen.seen()


def retention(state: NodeState) -> Seen:
    """Look how long records are kept."""
    seen = Witnessed()
    seen.expect(
        state.retention_days >= RETENTION_DAYS,
        f"records are kept {state.retention_days} days at least",
    )
    if state.record.oldest is not None:
        seen.note(f"the oldest is of {state.record.oldest:%Y-%m-%d}")
    return seen.seen()


def channels(state: NodeState) -> Seen:
    """Count how who came spoke to us, and who is excepted from TLS."""
    seen = Witnessed()
    spoken: dict[str, int] = {}
    for each in state.events:
        channel = each.details.get("channel", "")
        if channel:
            spoken[channel] = spoken.get(channel, 0) + 1
    excepted = [each for each in state.devices if each.unsafe_plaintext is not None]
    plain = spoken.get(_PLAINTEXT, 0)
    encrypted = sum(spoken.get(each, 0) for each in _ENCRYPTED)
    seen.expect(
        not plain or excepted, f"{plain} acts came in plaintext, {encrypted} by TLS"
    )
    over = [
        each
        for each in excepted
        if each.unsafe_plaintext is not None
        and each.unsafe_plaintext.refusal(state.now) is not None
    ]
    seen.expect(not over, f"{len(over)} of {len(excepted)} exceptions have run out")
    return seen.seen()


def certificates(state: NodeState) -> Seen:
    """Look at what ends, and at the revocation list."""
    seen = Witnessed()
    soon = [name for name, end in state.ends if end - state.now < CERTIFICATE_LEFT]
    seen.expect(not soon, f"{len(soon)} of {len(state.ends)} end within 30 days")
    for each in soon:
        seen.note(f"ends soon: {each}")
    seen.expect(not state.revocations_due, "the revocation list is current")
    due = [
        each.name
        for each in state.devices
        if each.certificate is not None
        and each.certificate.refusal(state.now) is None
        and each.certificate.not_after - state.now < CERTIFICATE_LEFT
    ]
    seen.expect(not due, f"{len(due)} devices' certificates end within 30 days")
    return seen.seen()


def destinations(state: NodeState) -> Seen:
    """Hold where images went against whom we know."""
    seen = Witnessed()
    known = {each.name for each in state.devices} | {each.name for each in state.people}
    known |= set(state.programs)
    flows = [each for each in inventory.flows(state) if each.is_outgoing]
    unknown = {each.peer for each in flows if each.peer not in known}
    seen.expect(not unknown, f"{len(unknown)} receivers are not enrolled any more")
    seen.note(f"{len(flows)} ways out were used within {inventory.DAYS} days")
    return seen.seen()


def assets(state: NodeState) -> Seen:
    """List nodes, peers, stores and software; hold the record against the list."""
    seen = Witnessed()
    listed = {each.name for each in inventory.assets(state)}
    listed |= {each.name for each in state.people} | set(state.programs)
    peers = {each.peer for each in inventory.flows(state)}
    strangers = sum(each not in listed for each in peers)
    seen.expect(
        not strangers, f"{strangers} of {len(peers)} peers on the record are not listed"
    )
    seen.expect(state.components, f"{len(state.components)} components of software")
    return seen.seen()


def map_(state: NodeState) -> Seen:
    """Draw who sends what to whom, from the record."""
    seen = Witnessed()
    flows = inventory.flows(state)
    clear = [each for each in flows if each.channel == _PLAINTEXT]
    excepted = {
        each.name for each in state.devices if each.unsafe_plaintext is not None
    }
    stray = [each for each in clear if each.peer not in excepted]
    seen.expect(not stray, f"{len(flows)} flows, {len(stray)} in the clear unexcepted")
    return seen.seen()


def current(state: NodeState) -> Seen:
    """Hold versions against the advisories that ship with this version."""
    seen = Witnessed()
    age = state.now.date() - software.AS_OF
    seen.expect(
        age <= software.AGE_MAX,
        f"the list of advisories is of {software.AS_OF}: update Leadglass",
    )
    for each in software.affected(state.components):
        seen.expect(False, each)  # what is affected holds never
    seen.expect(state.components, f"{len(state.components)} components were looked up")
    return seen.seen()


def baseline(state: NodeState) -> Seen:
    """Hold settings and rules against what was agreed on."""
    if state.past.baseline is None:
        return nothing_to_see(
            "no baseline is agreed on: leadglass comply baseline --accept"
        )
    seen = Witnessed()
    agreed, by = state.past.baseline
    seen.expect(agreed == state.fingerprint, f"settings are those that {by} agreed on")
    seen.expect(not state.broken, f"{len(state.broken)} expectations do not hold")
    for each in state.weaknesses:
        seen.note(f"weakened: {each}")
    return seen.seen()


def runs(state: NodeState) -> Seen:
    """Look when controls were last gone through before this run."""
    seen = Witnessed()
    last = max(state.past.runs, default=state.record.oldest)
    seen.expect(
        last is None or state.now - last <= AUDITED_WITHIN,
        f"{len(state.past.runs)} runs before this one, no year without",
    )
    return seen.seen()


def _requestor(event: Event) -> str:
    return next((each.user_id for each in event.participants if each.is_requestor), "")


def _is_access(event: Event) -> bool:
    return event.id in {
        EventID.QUERY,
        EventID.BEGIN_TRANSFERRING,
        EventID.INSTANCES_ACCESSED,
        EventID.EXPORT,
    }


@dataclass(frozen=True, slots=True)
class Check:
    """One check that looks; as ``Experiment``."""

    name: str
    title: str
    expected: str
    run: Callable[[NodeState], Seen]


CHECKS: Final = tuple(
    Check(*row)
    for row in (
        (
            "individuals",
            "Accounts, and who is on the record",
            "one name for one person; every access is somebody's",
            individuals,
        ),
        (
            "separation",
            "Who administers, and who reads",
            "nobody does both",
            separation,
        ),
        (
            "register",
            "Enrolled devices",
            "each has a certificate, or a named exception, and networks of its own",
            register,
        ),
        (
            "listeners",
            "Sockets that are open",
            "those that the settings declare, and no other",
            listeners,
        ),
        (
            "emergencies",
            "Reviews of broken glass",
            "none waits for more than a week",
            emergencies,
        ),
        (
            "at-rest",
            "Raw bytes of this node, searched for names that its index knows",
            "nothing in the clear",
            at_rest,
        ),
        (
            "keys",
            "Keys and folders",
            "for the node alone, and apart from the data",
            keys,
        ),
        (
            "integrity",
            "Stored images, read again",
            "each is what was received, by its hash and seal",
            integrity,
        ),
        ("record", "The record, verified whole", "every record is intact", record),
        ("gaps", "Numbers and clocks of the record", "no gap, no clock set back", gaps),
        (
            "reviews",
            "Who looked at the record",
            "somebody within a month; no review waits for more than a week",
            reviews,
        ),
        ("retention", "How long records are kept", "six years at least", retention),
        (
            "channels",
            "How who came spoke to us",
            "by TLS, or by an exception that has a name and an end",
            channels,
        ),
        (
            "certificates",
            "Ends of certificates, and the revocation list",
            "nothing ends within 30 days",
            certificates,
        ),
        (
            "destinations",
            "Where images went",
            "to receivers that are enrolled",
            destinations,
        ),
        (
            "inventory",
            "Assets, held against the record",
            "every peer on the record is listed",
            assets,
        ),
        ("map", "Who sends what to whom", "is known, and encrypted", map_),
        (
            "software",
            "Versions of components",
            "none that an advisory names; the list is current",
            current,
        ),
        (
            "baseline",
            "Settings and rules",
            "are what was agreed on",
            baseline,
        ),
        ("runs", "Runs of these controls", "within twelve months", runs),
    )
)
