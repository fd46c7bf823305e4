"""A fact: one thing that a trail says was done, by whom, from where, to whom.

Our own record and every foreign log become these. Rules, questions and the breach
workbench know nothing else of where a trail came from. A fact is poorer than an audit
event on purpose: it has what can be asked, and says which record proves it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Any, Final

from leadglass.errors import BadData

# The trail of this very node; foreign ones have higher numbers.
OWN: Final = 0

# As in an audit record: honest texts are shorter, a hostile log must fill no store.
TEXT_CHARACTERS_MAX: Final = 1_024
# Patients of one fact: what one record of ours holds at most is 500 studies.
TOUCHED_MAX: Final = 100_000

_NO_DETAILS: Final[Mapping[str, str]] = MappingProxyType({})


class Kind(StrEnum):
    """What was done; each trail's own words are translated to these."""

    START = "start"  # a program of the archive began
    STOP = "stop"
    LOGIN = "login"  # outcome says whether it succeeded
    LOGOUT = "logout"
    ASSOCIATE = "associate"  # a DICOM association, accepted or (by outcome) refused
    ECHO = "echo"
    QUERY = "query"
    VIEW = "view"  # images were shown or fetched by a viewer
    RETRIEVE = "retrieve"  # images were sent by C-GET, C-MOVE or the like: begun
    TRANSFERRED = "transferred"  # what of a view or retrieve really left
    STORE = "store"  # images came in
    CONFLICT = "conflict"  # images came in that contradict what is stored
    EXPORT = "export"
    IMPORT = "import"
    DELETE = "delete"
    REFUSED = "refused"  # a proven subject was refused an act
    CHANGE = "change"  # of settings, rules, devices, accounts; ``what`` says of which
    GLASS_BROKEN = "glass broken"
    GLASS_OVER = "glass over"
    GLASS_REVIEWED = "glass reviewed"
    AUDIT_READ = "audit read"
    AUDIT_STOPPED = "audit stopped"
    AUDIT_STARTED = "audit started"
    DAMAGE = "damage"  # stored bytes are not what they were
    GATE = "gate"  # an object was refused as dangerous or broken
    OTHER = "other"


class Reach(IntEnum):
    """How far somebody got to a patient's data; more is worse."""

    NONE = 0  # came in, was refused, or was only administered
    LISTED = 1  # demographics were in an answer
    IMAGES = 2  # images were shown or sent


class Ending(IntEnum):
    """How it ended: EventOutcomeIndicator (PS3.15 §A.5.1.1)."""

    SUCCESS = 0
    MINOR_FAILURE = 4
    SERIOUS_FAILURE = 8
    MAJOR_FAILURE = 12


@dataclass(frozen=True, slots=True)
class Touched:
    """One patient that a fact is about.

    Attributes:
        patient: Patient ID as the trail has it; "" where it knows only studies.
        reach: How far it went.
        studies: Study Instance UIDs, where the trail has them.
    """

    patient: str
    reach: Reach = Reach.NONE
    studies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One thing that was done.

    Attributes:
        number: Of the record in its trail; a line number for a log of lines.
        time: When, UTC.
        kind: What.
        trail: Which trail says so; ``OWN`` is this node's.
        ending: How it ended.
        who: Proven name of a person, device or program; in a refusal the claimed one;
            "" where the trail does not know.
        who_kind: ``person``, ``device``, ``program``, ``operator`` or "".
        ae_title: Calling AE title.
        called: Called AE title.
        address: Network address, no port.
        certificate: SHA-256 fingerprint, hex.
        implementation: Implementation Class UID or version name, or a user agent.
        channel: ``TLSv1.3``, ``TLSv1.2``, ``plaintext``, ``local`` or "".
        service: ``C-FIND``, ``WADO-RS`` and the like, as ``audit.builders.Service``.
        destination: Where images went, if not to who asked.
        what: Which variety, in a few words: why it was refused, what was changed.
        returned: Matches in the answer of a query.
        instances: Images and other instances that moved, or were to.
        octets: Bytes that moved, where known.
        touched: The patients concerned, each once.
        details: What else rules want: flat texts (``level``, ``keys``, ``right``,
            ``glass``, ``session`` …).
    """

    number: int
    time: datetime
    kind: Kind
    trail: int = OWN
    ending: Ending = Ending.SUCCESS
    who: str = ""
    who_kind: str = ""
    ae_title: str = ""
    called: str = ""
    address: str = ""
    certificate: str = ""
    implementation: str = ""
    channel: str = ""
    service: str = ""
    destination: str = ""
    what: str = ""
    returned: int = 0
    instances: int = 0
    octets: int = 0
    touched: tuple[Touched, ...] = ()
    details: Mapping[str, str] = field(default_factory=lambda: _NO_DETAILS)

    def __post_init__(self) -> None:
        if self.time.tzinfo is not UTC and self.time.utcoffset() is None:
            raise BadData("the time of a fact needs its zone")
        if self.number < 0 or self.trail < 0:
            raise BadData("numbers of trails and records are not negative")
        if len(self.touched) > TOUCHED_MAX:
            raise BadData("a fact names too many patients")

    @property
    def succeeded(self) -> bool:
        """Whether it went well."""
        return self.ending is Ending.SUCCESS

    @property
    def reach(self) -> Reach:
        """Return how far it went with any patient."""
        return max((each.reach for each in self.touched), default=Reach.NONE)

    def members(self) -> dict[str, Any]:
        """Return what ``--json`` prints; what is empty is left out."""
        members: dict[str, Any] = {
            "trail": self.trail,
            "number": self.number,
            "time": self.time.astimezone(UTC).isoformat(),
            "kind": str(self.kind),
            "ending": int(self.ending),
        }
        for name in _TEXTS + _COUNTS:
            if value := getattr(self, name):
                members[name] = value
        if self.touched:
            members["touched"] = [
                [each.patient, int(each.reach), *each.studies] for each in self.touched
            ]
        if self.details:
            members["details"] = dict(self.details)
        return members

    @classmethod
    def of(cls, members: Mapping[str, Any]) -> "Fact":
        """Return the fact that ``members`` came from.

        Raises:
            BadData: They are not those of a fact.
        """
        rest: dict[str, Any] = {name: str(members.get(name, "")) for name in _TEXTS}
        try:
            rest |= {name: int(members.get(name, 0)) for name in _COUNTS}
            return cls(
                trail=int(members["trail"]),
                number=int(members["number"]),
                time=datetime.fromisoformat(members["time"]).astimezone(UTC),
                kind=Kind(members["kind"]),
                ending=Ending(members["ending"]),
                touched=tuple(
                    Touched(str(each[0]), Reach(each[1]), tuple(map(str, each[2:])))
                    for each in members.get("touched", ())
                ),
                details={
                    str(name): str(value)
                    for name, value in members.get("details", {}).items()
                },
                **rest,
            )
        except (LookupError, ValueError, TypeError, AttributeError) as error:
            raise BadData("not a fact") from error


_TEXTS: Final = (
    "who",
    "who_kind",
    "ae_title",
    "called",
    "address",
    "certificate",
    "implementation",
    "channel",
    "service",
    "destination",
    "what",
)
_COUNTS: Final = ("returned", "instances", "octets")
