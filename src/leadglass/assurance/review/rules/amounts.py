"""Rules of bulk: R-10, R-11, R-13, R-26 and R-35."""

from typing import Any, Final

from leadglass.assurance.finding import Severity
from leadglass.assurance.review.look import (
    HOUR_S,
    MINUTE_S,
    Hit,
    Look,
    Rule,
    ids_of,
)
from leadglass.assurance.review.memory import VALUES_MAX, know, slide
from leadglass.assurance.review.rules.habits import is_new
from leadglass.assurance.review.rules.relations import OPENING
from leadglass.assurance.trails.fact import Kind

BULK_WINDOW_S: Final = 10 * MINUTE_S
# A query without a key that still returns so much asked for everything.
EMPTY_SHARE: Final = 0.2
# Days after which a program that asks so much is known for it.
BULK_HABIT_DAYS: Final = 4
# Whoever enumerates goes on at once; a pause makes a new run.
RUN_PAUSE_S: Final = 10 * MINUTE_S
# Numbers of a run are near each other; those of today's patients are not.
RUN_STEP_MAX: Final = 200
DELETIONS_S: Final = HOUR_S
DELETED_AFTER_LOOK_S: Final = 30 * MINUTE_S
# A worklist is shorter than the first, a search for one patient than the second.
WIDE_MIN: Final = 30
NARROW_MAX: Final = 10


def bulk_query(look: Look, threshold: float) -> Hit | None:
    """R-10."""
    fact = look.fact
    window = look.memory.shelf("returned").slot(look.subject, list)
    total = sum(
        each[1] for each in slide(window, look.now_s, fact.returned, BULK_WINDOW_S)
    )
    if total > threshold and not _is_daily_work(look):
        return Hit(f"{total} matches were returned within ten minutes")
    keys = fact.details.get("keys")
    if keys is not None and "=" not in keys and fact.returned > EMPTY_SHARE * threshold:
        return Hit(f"a query without any whole key returned {fact.returned} matches")
    return None


def _is_daily_work(look: Look) -> bool:
    """Whether a program asks so much day after day; its volume has rules of its own."""
    person = look.person
    if person is None or person.kind != "program":
        return False
    days: list[int] = look.memory.shelf("bulk_days").slot(look.subject, list)
    if look.day not in days:
        days.append(look.day)
        del days[:-BULK_HABIT_DAYS]
    return len(days) == BULK_HABIT_DAYS


def enumeration(look: Look, threshold: float) -> Hit | None:
    """R-11."""
    fact = look.fact
    if len(fact.touched) > 1:
        look.memory.shelf("runs").drop(look.subject)
        return None
    patient = fact.touched[0].patient if fact.touched else ""
    if patient:
        return _run(look, threshold, _number_of(patient))
    if fact.returned or "=" not in fact.details.get("keys", ""):
        return None
    window = look.memory.shelf("misses").slot(look.subject, list)
    misses = len(slide(window, look.now_s, 1, RUN_PAUSE_S))
    if misses < threshold:
        return None
    return Hit(f"{misses} questions for whole values found nothing in ten minutes")


def _run(look: Look, threshold: float, number: int) -> Hit | None:
    run: dict[str, Any] = look.memory.shelf("runs").slot(
        look.subject, lambda: {"last": number, "at": look.now_s, "step": 0, "n": 1}
    )
    step = number - run["last"]
    is_on = (
        0 < abs(step) <= RUN_STEP_MAX
        and step * run["step"] >= 0
        and look.now_s - run["at"] <= RUN_PAUSE_S
    )
    if step or look.now_s - run["at"] > RUN_PAUSE_S:
        length = run["n"] + 1 if is_on else 1
        run.update(n=length, step=(step > 0) - (step < 0) if is_on else 0)
    run.update(last=number, at=look.now_s)
    if run["n"] < threshold:
        return None
    return Hit(f"{run['n']} patients were asked for one number after the other")


def _number_of(patient: str) -> int:
    digits = "".join(each for each in patient[-15:] if each in "0123456789")
    return int(digits) if digits else 0


def new_destination(look: Look, _threshold: float) -> Hit | None:
    """R-13."""
    destination = look.fact.destination
    if not destination:
        return None
    shelf = look.memory.shelf("destinations")
    was_known = shelf.get(destination) is not None
    own: dict[str, float] = look.memory.shelf("own_destinations").slot(
        look.subject, dict
    )
    had_own = bool(own)
    was_own = know(own, destination, look.now_s)
    shelf.put(destination, look.now_s)
    if is_new(look) or was_own:
        return None
    if was_known and (not had_own or destination == look.fact.ae_title):
        return None
    whose = "nobody" if not was_known else "this source never"
    return Hit(
        f"images were sent to a destination that {whose} sent anything to",
        ids_of(look.fact.touched),
    )


def deletions(look: Look, threshold: float) -> Hit | None:
    """R-26."""
    opened: dict[str, float] = look.memory.shelf("just_opened").slot(look.subject, dict)
    studies = [uid for each in look.fact.touched for uid in each.studies]
    if look.fact.kind is not Kind.DELETE:
        for uid in studies[:VALUES_MAX]:
            know(opened, uid, look.now_s)
        return None
    window = look.memory.shelf("deleted").slot(look.subject, list)
    many = sum(
        each[1] for each in slide(window, look.now_s, max(1, len(studies)), DELETIONS_S)
    )
    if many > threshold:
        return Hit(
            f"{many} studies were deleted within an hour", ids_of(look.fact.touched)
        )
    if any(
        uid in opened and look.now_s - opened[uid] <= DELETED_AFTER_LOOK_S
        for uid in studies
    ):
        return Hit(
            "a study was deleted soon after the same person opened it",
            ids_of(look.fact.touched),
        )
    return None


def sequence(look: Look, threshold: float) -> Hit | None:
    """R-35: wide question, narrow question, images, export, within some minutes."""
    fact, shelf = look.fact, look.memory.shelf("sequences")
    state: list[Any] | None = shelf.get(look.subject)
    if fact.kind is Kind.QUERY:
        many = max(fact.returned, len(fact.touched))
        if many >= WIDE_MIN:
            shelf.put(look.subject, [1, look.now_s, [fact.number]])
        elif state and state[0] == 1 and 0 < many <= NARROW_MAX:
            state[0] = 2
            state[2].append(fact.number)
        return None
    if state is None or look.now_s - state[1] > threshold * MINUTE_S:
        return None
    if fact.kind is not Kind.EXPORT:
        if state[0] == 2:
            state[0] = 3
            state[2].append(fact.number)
        return None
    if state[0] < 3:
        return None
    shelf.drop(look.subject)
    return Hit(
        "a wide question, a narrow one, images and an export followed each other "
        f"within {threshold:g} minutes",
        ids_of(fact.touched),
        facts=tuple(state[2]),
    )


_QUERIES: Final = frozenset({Kind.QUERY})

RULES: Final = (
    Rule(
        id="R-10", title="Bulk query", kinds=_QUERIES, check=bulk_query,
        default=500, unit="matches in ten minutes", severity=Severity.HIGH,
        why="Somebody asked for everything: queries without keys or with wildcards "
        "alone, or far more answers than anybody reads.",
        remedy="Find out which program asks; limit what its rule lets it find.",
    ),
    Rule(
        id="R-11", title="Numbers tried one after the other", kinds=_QUERIES,
        check=enumeration, default=20, unit="in a row", severity=Severity.HIGH,
        why="Patients were asked for one number after the other, or many whole values "
        "found nothing: that is a program which tries what there is.",
        remedy="Stop the source; limit what its rule lets it find.",
    ),
    Rule(
        id="R-13", title="Images to a new destination",
        kinds=frozenset({Kind.RETRIEVE, Kind.TRANSFERRED}), check=new_destination,
        severity=Severity.HIGH,
        why="Images were sent to where nobody, or not this source, ever sent "
        "anything: a new workstation, or a way out.",
        remedy="Ask who set the destination up; check its address.",
    ),
    Rule(
        id="R-26", title="Many studies deleted, or one after a look",
        kinds=OPENING | {Kind.DELETE}, check=deletions, default=3,
        unit="studies an hour", severity=Severity.HIGH,
        why="Studies were destroyed one after the other, or right after they were "
        "opened: a mistake of a script, revenge, or traces that somebody removes.",
        remedy="Stop deletions; restore from the backup; ask for the orders.",
    ),
    Rule(
        id="R-35", title="Wide, narrow, images, export",
        kinds=OPENING | {Kind.QUERY}, check=sequence, default=30, unit="minutes",
        severity=Severity.HIGH,
        why="Somebody looked around, chose, opened and exported within minutes: the "
        "order of acts of who comes to take something.",
        remedy="Ask for the order; get back what left.",
    ),
)  # fmt: skip
