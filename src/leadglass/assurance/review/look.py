"""One fact as a rule looks at it, what a rule is, and what it says."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Final
from zoneinfo import ZoneInfo

from leadglass.assurance.finding import Severity
from leadglass.assurance.review.knowledge import Knowledge, Person
from leadglass.assurance.review.memory import Memory
from leadglass.assurance.trails.fact import Fact, Kind, Reach, Touched
from leadglass.errors import BadData

MINUTE_S: Final = 60.0
HOUR_S: Final = 3_600.0
DAY_S: Final = 86_400.0
SEPARATOR: Final = "\x1f"

# Networks of a house, if nobody says which: RFC 1918, RFC 4193, loopback.
PRIVATE: Final = (
    *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"),
    *("127.0.0.0/8", "::1/128", "fc00::/7", "fe80::/10"),
)
# One place on the Internet: what one site or one provider's city has.
_PLACE_BITS: Final = {4: 16, 6: 48}
_ADDRESSES_CACHED: Final = 50_000


class Feed(StrEnum):
    """What a rule has to know beside the trail."""

    STAFF = "staff"
    PATIENTS = "patients"
    STUDIES = "studies"
    STAYS = "stays"
    SHIFTS = "shifts"
    DECOYS = "decoys"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a house decides about its review.

    Attributes:
        thresholds: By id of a rule, instead of its default.
        off: Ids of rules that are not used.
        covering: Departments that stand in for others outside of office hours.
        reviewers: Roles whose work it is to read the record.
        decoy_titles: AE titles that no device has been told.
        networks: Of the house; others are outside.
        change_hours: From when to when settings may be changed on workdays.
        zone: In which its hours are.
    """

    thresholds: Mapping[str, float] = field(default_factory=dict)
    off: frozenset[str] = frozenset()
    covering: frozenset[str] = frozenset({"emergency"})
    reviewers: frozenset[str] = frozenset({"privacy", "auditor"})
    decoy_titles: frozenset[str] = frozenset()
    networks: tuple[str, ...] = PRIVATE
    change_hours: tuple[int, int] = (6, 22)
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))

    def __post_init__(self) -> None:
        try:
            for each in self.networks:
                ip_network(each)
        except ValueError as error:
            raise BadData("a network of the house is none") from error
        begins, ends = self.change_hours
        if not 0 <= begins < ends <= 24:
            raise BadData("hours for changes are from 0 to 24, the earlier first")


class Look:
    """One fact, and what rules ask about it.

    Attributes:
        fact: What was done.
        now_s: When, in seconds of the epoch; never goes back by less than a day.
        day: Day of the house, counted; rolls over with it.
        subject: Whom an alert would be about.
        person: What is known of ``fact.who``.
        is_machine: Whether it is no human.
        unexplained: The patients whose images nothing explains.
        settings: What the house decided.
        knowledge: What is known beside the trail.
        memory: What was seen before.
        age_s: How long the trail has been watched.
        watched_days: On how many days of these people worked.
        seen_days: On how many there was any access.
    """

    __slots__ = (
        "age_s", "day", "fact", "is_machine", "knowledge", "memory", "now_s",
        "person", "seen_days", "settings", "subject", "unexplained", "watched_days",
    )  # fmt: skip

    def __init__(  # noqa: PLR0913 - made once a fact, in one place
        self,
        fact: Fact,
        *,
        now_s: float,
        age_s: float,
        watched_days: int,
        seen_days: int,
        knowledge: Knowledge,
        memory: Memory,
        settings: Settings,
    ) -> None:
        self.fact = fact
        self.now_s = now_s
        self.age_s = age_s
        self.watched_days = watched_days
        self.seen_days = seen_days
        self.day = int(now_s // DAY_S)
        self.knowledge = knowledge
        self.memory = memory
        self.settings = settings
        self.subject = fact.who or fact.ae_title or fact.address or "unknown"
        self.person: Person | None = knowledge.person(fact.who) if fact.who else None
        if self.person is not None:
            self.is_machine = self.person.kind != "person"
        elif fact.who_kind:
            self.is_machine = fact.who_kind not in {"person", "operator"}
        else:
            self.is_machine = bool(fact.ae_title)
        self.unexplained: tuple[Touched, ...] = ()

    @property
    def is_person(self) -> bool:
        """Whether it is somebody by name, not a machine and not a link."""
        if self.person is not None:
            return self.person.kind == "person"
        return bool(self.fact.who) and self.fact.who_kind == "person"

    @property
    def opened(self) -> tuple[Touched, ...]:
        """The patients whose images were opened."""
        return tuple(e for e in self.fact.touched if e.reach is Reach.IMAGES)

    @property
    def studies(self) -> int:
        """How many studies were opened."""
        return sum(len(each.studies) or 1 for each in self.opened)

    def key(self, *more: str) -> str:
        """Return a key of the subject and of something else."""
        return SEPARATOR.join((self.subject, *more))


@dataclass(frozen=True, slots=True)
class Hit:
    """What a rule found in a fact.

    Attributes:
        evidence: What was seen, with numbers, without patient data.
        patients: Patient IDs concerned, for those alone who may see them.
        severity: Instead of the rule's.
        subject: Instead of the look's.
        facts: Numbers of other records of the trail that prove it.
    """

    evidence: str
    patients: tuple[str, ...] = ()
    severity: Severity | None = None
    subject: str = ""
    facts: tuple[int, ...] = ()


Check = Callable[[Look, float], Hit | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule.

    Attributes:
        id: ``R-01`` …
        title: What it finds, in one line.
        kinds: Which facts it looks at.
        check: Looks at one of them.
        default: Its threshold, if the house says nothing; 1 where any is too many.
        unit: What the threshold counts.
        severity: How bad it is.
        why: Why it matters and what may be behind it, for a privacy officer.
        remedy: What to do about it.
        needs: Without which of these it is silent.
    """

    id: str
    title: str
    kinds: frozenset[Kind]
    check: Check
    severity: Severity
    why: str
    remedy: str
    default: float = 1
    unit: str = "times"
    needs: frozenset[Feed] = frozenset()


@lru_cache(maxsize=_ADDRESSES_CACHED)
def place_of(address: str, inside: tuple[str, ...]) -> str:
    """Return where an address is: ``inside``, a network elsewhere, or "" unknown."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return ""
    for each in inside:
        network = ip_network(each)
        if network.version == parsed.version and parsed in network:
            return "inside"
    bits = _PLACE_BITS[parsed.version]
    return str(ip_network(f"{address}/{bits}", strict=False))


def ids_of(touched: tuple[Touched, ...]) -> tuple[str, ...]:
    """Return the Patient IDs, those that there are."""
    return tuple(each.patient for each in touched if each.patient)
