"""Rules of the record and of what is stored: R-19, R-22 to R-25, R-27, R-29 and on."""

from typing import Final

from leadglass.assurance.finding import Severity
from leadglass.assurance.review.knowledge import StudyOf
from leadglass.assurance.review.look import (
    DAY_S,
    HOUR_S,
    SEPARATOR,
    Hit,
    Look,
    Rule,
    ids_of,
)
from leadglass.assurance.review.memory import PAIRS_MAX, slide
from leadglass.assurance.review.rules.habits import HABIT_DAYS, group_of
from leadglass.assurance.trails.fact import Ending, Kind

# A workstation that loses its line tries again once or twice.
PARTIAL_S: Final = DAY_S
# A viewer that fetches an image again counts it again.
BEGUN_SLACK: Final = 1.1
BEGUN_SLACK_INSTANCES: Final = 10
GLASS_REVIEW_S: Final = 24 * HOUR_S
GLASS_WEEK_S: Final = 7 * DAY_S
# How uses of the record by the review begin, as ``desk`` names them.
REVIEW_USE: Final = "review "
# Objects that cannot be decoded come from broken devices; many are an attack.
BROKEN_S: Final = HOUR_S
BROKEN_MIN: Final = 3
_SATURDAY: Final = 5
# What people change of their own account, whenever they sit down.
_OF_THEIR_OWN: Final = ("password", "recovery codes", "passkey", "authenticator")


def disagreement(look: Look, threshold: float) -> Hit | None:
    """R-19."""
    fact = look.fact
    shelf = look.memory.shelf("begun", PAIRS_MAX)
    key = look.key(*(uid for each in fact.touched for uid in each.studies))
    if fact.kind is not Kind.TRANSFERRED:
        shelf.put(key, fact.instances)
        return None
    begun = shelf.get(key)
    if begun and fact.instances > BEGUN_SLACK * begun + BEGUN_SLACK_INSTANCES:
        return Hit(
            f"{fact.instances} instances left where {begun} were said to",
            ids_of(fact.touched),
        )
    if fact.succeeded:
        return None
    window = look.memory.shelf("partial").slot(key, list)
    many = len(slide(window, look.now_s, 1, PARTIAL_S))
    if many < threshold:
        return None
    return Hit(
        f"the same images were fetched in part {many} times on a day",
        ids_of(fact.touched),
    )


def odd_change(look: Look, _threshold: float) -> Hit | None:
    """R-22."""
    if any(each in look.fact.what for each in _OF_THEIR_OWN):
        return None  # of their own, and at any hour
    local = look.fact.time.astimezone(look.settings.zone)
    begins, ends = look.settings.change_hours
    if local.weekday() < _SATURDAY and begins <= local.hour < ends:
        return None
    return Hit("rules, rights or settings were changed outside of the hours for that")


def record_used(look: Look, _threshold: float) -> Hit | None:
    """R-23."""
    if look.fact.kind is Kind.AUDIT_STOPPED:
        return Hit("recording was stopped", severity=Severity.CRITICAL)
    if look.fact.what.startswith(REVIEW_USE):
        return None  # the review itself, by who has the right to it
    roles = look.person.roles if look.person else frozenset()
    if roles & look.settings.reviewers:
        return None
    return Hit("the record was read or copied by somebody whose work it is not")


# ── what is stored ───────────────────────────────────────────────────────────


def tampering(look: Look, _threshold: float) -> Hit | None:
    """R-24."""
    fact = look.fact
    source = fact.who or fact.ae_title
    if not source:
        return None
    for each in fact.touched:
        for uid in each.studies:
            study = look.knowledge.study(uid)
            if _is_known_source(look, uid, study, source):
                continue
            if fact.kind is Kind.CONFLICT:
                return Hit(
                    "images that contradict stored ones came from another device "
                    "than the study's own",
                    ids_of(fact.touched),
                )
            if _is_reported(study, look.now_s):
                return Hit(
                    "images were added to a reported study by another device "
                    "than its own",
                    ids_of(fact.touched),
                )
    return None


def _is_reported(study: StudyOf | None, now_s: float) -> bool:
    return (
        study is not None
        and study.reported is not None
        and study.reported.timestamp() < now_s
    )


def _is_known_source(look: Look, uid: str, study: StudyOf | None, source: str) -> bool:
    """Whether a device is one that this study comes from."""
    if study is not None and (study.origin or study.performing):
        return source == study.origin or source in study.performing
    shelf = look.memory.shelf("origins", PAIRS_MAX)
    origin = shelf.get(uid)
    if origin is None:
        shelf.put(uid, source)
    return origin is None or origin == source


def mismatch(look: Look, _threshold: float) -> Hit | None:
    """R-25."""
    shelf = look.memory.shelf("whose", PAIRS_MAX)
    for each in look.fact.touched:
        for uid in each.studies:
            study = look.knowledge.study(uid)
            whose = study.patient_id if study is not None else shelf.get(uid)
            if whose is None:
                shelf.put(uid, each.patient)
            elif whose and each.patient and whose != each.patient:
                return Hit(
                    "images came under another Patient ID than that of their study",
                    (whose, each.patient),
                )
    return None


def not_anonymised(look: Look, _threshold: float) -> Hit | None:
    """R-29."""
    anonymised = look.fact.details.get("anonymized")
    if anonymised is None:
        return None
    destination = look.fact.destination
    habits = look.memory.shelf("anonymous")
    keys = (f"to{SEPARATOR}{destination}", f"by{SEPARATOR}{group_of(look)}")
    if anonymised.lower() == "true":
        for key in keys:
            habits.put(key, (habits.get(key) or 0) + 1)
        return None
    is_research = "research" in f"{destination} {group_of(look)}".lower()
    if not is_research and all((habits.get(k) or 0) < HABIT_DAYS for k in keys):
        return None
    return Hit(
        "images left with names to where they are to go without",
        ids_of(look.fact.touched),
    )


def gate(look: Look, _threshold: float) -> Hit | None:
    """R-33."""
    if look.fact.ending >= Ending.SERIOUS_FAILURE:
        return Hit("an object was refused as dangerous")
    window = look.memory.shelf("broken").slot(look.subject, list)
    many = len(slide(window, look.now_s, 1, BROKEN_S))
    if many < BROKEN_MIN:
        return None
    return Hit(f"{many} broken objects within an hour", severity=Severity.MEDIUM)


# ── emergencies and clocks ───────────────────────────────────────────────────


def glass(look: Look, threshold: float) -> Hit | None:
    """R-27; looks at every fact, since it is the time that makes it fire."""
    fact = look.fact
    shelf = look.memory.shelf("glasses")
    if fact.kind is Kind.GLASS_REVIEWED:
        shelf.drop(_glass_key(look))
    elif fact.kind is Kind.GLASS_BROKEN and fact.succeeded:
        shelf.put(
            _glass_key(look),
            [look.now_s, look.subject, fact.number, list(ids_of(fact.touched))],
        )
        window = look.memory.shelf("glass_of").slot(look.subject, list)
        many = [e[1] for e in slide(window, look.now_s, fact.number, GLASS_WEEK_S)]
        if len(many) > threshold:
            return Hit(
                f"the glass was broken {len(many)} times within a week",
                facts=tuple(many),
            )
    oldest = shelf.oldest()
    if oldest is None or look.now_s - oldest[1][0] <= GLASS_REVIEW_S:
        return None
    _, subject, number, patients = oldest[1]
    shelf.drop(oldest[0])
    return Hit(
        "the glass was broken, and nobody reviewed it within 24 hours",
        tuple(patients),
        subject=subject,
        facts=(number,),
    )


def _glass_key(look: Look) -> str:
    """Return by which name a review finds the emergency that it is about."""
    number = look.fact.details.get("glass", "")
    return number or SEPARATOR.join(ids_of(look.fact.touched)) or look.subject


def clock(look: Look, threshold: float) -> Hit | None:
    """R-37."""
    shelf = look.memory.shelf("clocks")
    key = str(look.fact.trail)
    last: float | None = shelf.get(key)
    at_s = look.fact.time.timestamp()
    shelf.put(key, at_s)
    if last is None or last - at_s <= threshold:
        return None
    # Facts of two threads come out of order by less than the time of one act.
    return Hit(
        f"the time of the record went back by {last - at_s:.0f} seconds",
        subject=f"trail {look.fact.trail}",
    )


_KINDS_STORED: Final = frozenset({Kind.STORE, Kind.CONFLICT})
_KINDS_ALL: Final = frozenset(Kind)

RULES: Final = (
    Rule(
        id="R-19", title="Other images left than were said to",
        kinds=frozenset({Kind.RETRIEVE, Kind.VIEW, Kind.TRANSFERRED}),
        check=disagreement, default=4, unit="partial transfers a day",
        severity=Severity.MEDIUM,
        why="More left than was announced, or the same images were fetched in part "
        "again and again: a broken line, or somebody who hides what is taken.",
        remedy="Compare with the network; look at the device.",
    ),
    Rule(
        id="R-22", title="Changed outside of the hours for changes",
        kinds=frozenset({Kind.CHANGE}), check=odd_change, severity=Severity.HIGH,
        why="Rights, devices, TLS or audit settings were changed at night or on a "
        "weekend.",
        remedy="Ask for the order of the change; take it back if there is none.",
    ),
    Rule(
        id="R-23", title="Record read or silenced",
        kinds=frozenset({Kind.AUDIT_READ, Kind.AUDIT_STOPPED}), check=record_used,
        severity=Severity.HIGH,
        why="Who hides something looks at what the record says, or stops it.",
        remedy="Ask for the reason; verify the log against a witness.",
    ),
    Rule(
        id="R-24", title="Stored study tampered with", kinds=_KINDS_STORED,
        check=tampering, severity=Severity.CRITICAL,
        why="Images were sent into a study by another device than its own: to change "
        "what a report rests on, or with a copied UID.",
        remedy="Compare with the first images; tell whoever reported the study.",
    ),
    Rule(
        id="R-25", title="Images of another patient", kinds=_KINDS_STORED,
        check=mismatch, severity=Severity.MEDIUM,
        why="The Patient ID of what came in is not that of its study: a mix-up at "
        "the device is a danger to two patients.",
        remedy="Ask at the device; correct before anybody reads it.",
    ),
    Rule(
        id="R-27", title="Broken glass not reviewed, or often", kinds=_KINDS_ALL,
        check=glass, default=3, unit="times a week", severity=Severity.MEDIUM,
        why="Emergency access is allowed since somebody else looks at it afterwards. "
        "Nobody did within a day, or one person needs it all the time.",
        remedy="Review it now; give the person the rights that they need.",
    ),
    Rule(
        id="R-29", title="Left with names", kinds=frozenset({Kind.EXPORT}),
        check=not_anonymised, severity=Severity.HIGH,
        why="Images for research or teaching left with identities in them.",
        remedy="Get the files back; correct the profile of de-identification.",
    ),
    Rule(
        id="R-33", title="Dangerous object sent", kinds=frozenset({Kind.GATE}),
        check=gate, severity=Severity.HIGH,
        why="A file that is a program as well, a bomb of compression or a path was "
        "sent in place of an image.",
        remedy="Isolate the sender; keep the object for who investigates.",
    ),
    Rule(
        id="R-37", title="Clock set back", kinds=_KINDS_ALL, check=clock,
        default=5, unit="seconds", severity=Severity.MEDIUM,
        why="The time of the record went back. A clock that is wrong makes the record "
        "worth less; one that was set back may hide something.",
        remedy="Look at the time service of the node.",
    ),
)  # fmt: skip
