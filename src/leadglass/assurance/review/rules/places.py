"""Rules of where somebody comes from: R-14 to R-18, R-30 and R-31."""

from datetime import UTC, date, datetime
from typing import Any, Final

from leadglass.assurance.finding import Severity
from leadglass.assurance.review.look import (
    DAY_S,
    HOUR_S,
    MINUTE_S,
    Hit,
    Look,
    Rule,
    place_of,
)
from leadglass.assurance.review.memory import know, slide
from leadglass.assurance.trails.fact import Kind

# A device that was seen so seldom has no habits yet.
MARKS_KNOWN_MIN: Final = 3
MARKS_KNOWN_S: Final = DAY_S
# What tells one machine from another, by field of a fact.
_MARKS: Final = {
    "address": "address",
    "certificate": "certificate",
    "implementation": "implementation",
    "ae_title": "AE title",
}
TWINS_S: Final = 5 * MINUTE_S
TRAVEL_S: Final = HOUR_S
FAILURES_S: Final = 5 * MINUTE_S
SPRAY_S: Final = HOUR_S
SPRAY_PEOPLE: Final = 10
# At their own screen people mistype; twice as often is allowed there.
OWN_SCREEN: Final = 2
GUESSES_S: Final = 10 * MINUTE_S
GUESSED_MIN: Final = 3
IDLE_ASSOCIATIONS: Final = 10
# What scanners, toolkits and their manuals call themselves out of the box.
TOOL_TITLES: Final = frozenset(
    {
        *("ECHOSCU", "FINDSCU", "STORESCU", "MOVESCU", "GETSCU", "ANY-SCU", "ANY-SCP"),
        *("TERMSCU", "NMAP", "DCMECHO", "PYNETDICOM", "DCMSEND", "DCMQRSCP"),
        *("SCU", "TEST", "TEST_SCU", "METASPLOIT", "NESSUS", "SHODAN", "CENSYS"),
    }
)
_TOOLS: Final = ("nmap", "nessus", "masscan", "zgrab", "metasploit", "nuclei")
# The lower, the easier to listen to.
_CHANNELS: Final = {"plaintext": 0, "TLSv1.2": 2, "TLSv1.3": 3}
CERTIFICATE_DAYS: Final = 30


def new_mark(look: Look, _threshold: float) -> Hit | None:
    """R-14."""
    fact = look.fact
    if fact.kind is Kind.CHANGE:
        _renewed(look)
        return None
    if not look.is_machine or not fact.succeeded:
        return None
    marks: dict[str, Any] = look.memory.shelf("marks").slot(
        look.subject, lambda: {"since": look.now_s, "n": 0}
    )
    is_known = (
        marks["n"] >= MARKS_KNOWN_MIN and look.now_s - marks["since"] >= MARKS_KNOWN_S
    )
    marks["n"] += 1
    news = []
    for name, word in _MARKS.items():
        value = getattr(fact, name)
        if not value:
            continue
        values = marks.setdefault(name, {})
        had_any = bool(values)
        if not know(values, value, look.now_s) and had_any:
            news.append(word)
    if not is_known or not news:
        return None
    return Hit(f"a known device came with another {' and another '.join(news)}")


def _renewed(look: Look) -> None:
    """Learn a certificate that was given to a device by this house."""
    details = look.fact.details
    device, certificate = details.get("device", ""), details.get("certificate", "")
    if device and certificate and look.fact.succeeded:
        marks = look.memory.shelf("marks").get(device)
        if marks is not None:
            know(marks.setdefault("certificate", {}), certificate, look.now_s)


def two_places(look: Look, _threshold: float) -> Hit | None:
    """R-15."""
    fact = look.fact
    if not fact.address or not fact.who + fact.ae_title or not fact.succeeded:
        return None
    shelf = look.memory.shelf("last_place")
    last: list[Any] | None = shelf.get(look.subject)
    shelf.put(look.subject, [fact.address, look.now_s])
    if look.is_machine:
        if last and last[0] != fact.address and look.now_s - last[1] <= TWINS_S:
            return Hit("the same device spoke from two addresses within five minutes")
        return None
    return _travelled(look, last) if look.is_person else None


def _travelled(look: Look, last: list[Any] | None) -> Hit | None:
    place = place_of(look.fact.address, look.settings.networks)
    known = look.memory.shelf("places").slot(look.subject, dict)
    was_known = know(known, place, look.now_s)
    if was_known or last is None or look.now_s - last[1] > TRAVEL_S:
        return None
    if place_of(last[0], look.settings.networks) == place:
        return None
    minutes = (look.now_s - last[1]) / MINUTE_S
    return Hit(
        f"came from a network that is new for them, {minutes:.0f} minutes after "
        "another one"
    )


# ── log-ins ──────────────────────────────────────────────────────────────────


def failed_logins(look: Look, threshold: float) -> Hit | None:
    """R-16."""
    fact = look.fact
    screens = look.memory.shelf("screens")
    if fact.succeeded:
        if fact.who and fact.address:
            know(screens.slot(fact.who, dict), fact.address, look.now_s)
        return None
    if fact.address:
        window = look.memory.shelf("failed_at").slot(fact.address, list)
        people = {
            each[1]
            for each in slide(window, look.now_s, look.subject, SPRAY_S)
            if each[1]
        }
        if len(people) >= SPRAY_PEOPLE:
            return Hit(
                f"{len(people)} accounts were tried from one address within an hour",
                severity=Severity.HIGH,
                subject=fact.address,
            )
    window = look.memory.shelf("failed_of").slot(look.subject, list)
    many = len(slide(window, look.now_s, fact.address, FAILURES_S))
    is_own = fact.address in (screens.get(fact.who) or ())
    if many < threshold * (OWN_SCREEN if is_own else 1):
        return None
    return Hit(f"{many} log-ins failed within five minutes")


# ── associations ─────────────────────────────────────────────────────────────


def guessed_titles(look: Look, threshold: float) -> Hit | None:
    """R-17."""
    fact = look.fact
    if fact.succeeded or not fact.address:
        return None
    window = look.memory.shelf("guesses").slot(fact.address, list)
    titles = f"{fact.called} {fact.ae_title}"
    tried = [each[1] for each in slide(window, look.now_s, titles, GUESSES_S)]
    if len(tried) < threshold or len(set(tried)) < GUESSED_MIN:
        return None
    return Hit(
        f"{len(tried)} associations with {len(set(tried))} pairs of titles were "
        "refused within ten minutes",
        subject=fact.address,
    )


def scanner(look: Look, _threshold: float) -> Hit | None:
    """R-18."""
    fact = look.fact
    source = fact.address or look.subject
    shelf = look.memory.shelf("idle")
    if fact.kind is not Kind.ASSOCIATE:
        if fact.kind is not Kind.ECHO:
            shelf.drop(source)
        return None
    agent = fact.implementation.lower()
    if any(each in agent for each in _TOOLS):
        return Hit("a scanner came by, by the name it gives itself", subject=source)
    if not fact.succeeded and fact.ae_title.upper() in TOOL_TITLES:
        return Hit("a stranger came with the AE title of a toolkit", subject=source)
    # What was let in is told of by its name; only who never asks anything is odd.
    if fact.who:
        return None
    window = shelf.slot(source, list)
    many = len(slide(window, look.now_s, 1, GUESSES_S))
    if many < IDLE_ASSOCIATIONS:
        return None
    return Hit(
        f"{many} associations without any operation within ten minutes",
        subject=source,
    )


# ── channels and certificates ────────────────────────────────────────────────


def downgraded(look: Look, _threshold: float) -> Hit | None:
    """R-30."""
    rank = _CHANNELS.get(look.fact.channel)
    if rank is None or not look.fact.who + look.fact.ae_title:
        return None
    shelf = look.memory.shelf("channels")
    best = shelf.get(look.subject)
    shelf.put(look.subject, rank if best is None else max(best, rank))
    if best is None or rank >= best:
        return None
    if rank == 0:
        return Hit("spoke in plaintext, after TLS")
    return Hit("spoke an older TLS than before", severity=Severity.MEDIUM)


def certificate(look: Look, threshold: float) -> Hit | None:
    """R-31."""
    fact = look.fact
    if not fact.certificate or not fact.succeeded:
        return None
    issuer = fact.details.get("issuer", "")
    shelf = look.memory.shelf("issuers")
    before = shelf.get(look.subject)
    # A trail that names no issuer says nothing; what it named once stays.
    shelf.put(look.subject, issuer or before or "")
    if issuer and before is not None and issuer != before:
        return Hit("the certificate is of another authority than before")
    left = _days_left(fact.details.get("not_after", ""), look.now_s)
    if left is not None and left <= threshold:
        return Hit(
            f"the certificate ends in {max(0.0, left):.0f} days", severity=Severity.LOW
        )
    return None


def _days_left(text: str, now_s: float) -> float | None:
    try:
        ends = date.fromisoformat(text[:10])
    except ValueError:
        return None
    moment = datetime(ends.year, ends.month, ends.day, tzinfo=UTC)
    return (moment.timestamp() - now_s) / DAY_S


_DOORS: Final = frozenset({Kind.ASSOCIATE, Kind.ECHO})
_USES: Final = _DOORS | {
    *(Kind.QUERY, Kind.VIEW, Kind.RETRIEVE, Kind.STORE, Kind.EXPORT, Kind.LOGIN),
}

RULES: Final = (
    Rule(
        id="R-14", title="Known device, new marks", kinds=_USES | {Kind.CHANGE},
        check=new_mark, severity=Severity.HIGH,
        why="A device came from another address, with another certificate, AE title "
        "or program than ever before. The maker may have been there and told nobody; "
        "or its certificate is used elsewhere.",
        remedy="Ask the owner of the device; revoke the certificate if nobody knows.",
    ),
    Rule(
        id="R-15", title="In two places at once", kinds=_USES, check=two_places,
        severity=Severity.HIGH,
        why="A device spoke from two addresses at the same time, or a person came "
        "from a network that is new for them minutes after another one.",
        remedy="End the sessions; ask the person or the owner; renew the proof.",
    ),
    Rule(
        id="R-16", title="Log-ins that failed", kinds=frozenset({Kind.LOGIN}),
        check=failed_logins, default=5, unit="in five minutes",
        severity=Severity.MEDIUM,
        why="Passwords of one account were tried, or one address tried many "
        "accounts.",
        remedy="Block the address; look whether one of them succeeded.",
    ),
    Rule(
        id="R-17", title="AE titles guessed", kinds=frozenset({Kind.ASSOCIATE}),
        check=guessed_titles, default=5, unit="refusals in ten minutes",
        severity=Severity.HIGH,
        why="Associations were refused again and again, with other titles each time.",
        remedy="Find the machine at this address; close the port for it.",
    ),
    Rule(
        id="R-18", title="Scanner at the port",
        kinds=_DOORS | {Kind.QUERY, Kind.RETRIEVE, Kind.STORE}, check=scanner,
        severity=Severity.MEDIUM,
        why="Somebody came with the name of a scanner or toolkit, or opened "
        "associations without asking anything.",
        remedy="Find out whether the scan was ordered; else close the port for it.",
    ),
    Rule(
        id="R-30", title="Weaker channel than before", kinds=_USES, check=downgraded,
        severity=Severity.HIGH,
        why="A device or person that used TLS came in plaintext or with an older "
        "TLS: a service technician switched it off, or somebody is in between.",
        remedy="Refuse plaintext for this device; look at its settings.",
    ),
    Rule(
        id="R-31", title="Certificate ends or has another issuer",
        kinds=frozenset({Kind.ASSOCIATE}), check=certificate,
        default=CERTIFICATE_DAYS, unit="days", severity=Severity.MEDIUM,
        why="A certificate that ends soon stops work; one of another authority was "
        "not made by this house.",
        remedy="Renew it; revoke what nobody here made.",
    ),
)  # fmt: skip
