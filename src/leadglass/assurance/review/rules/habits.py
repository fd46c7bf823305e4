"""Rules of what somebody usually does: R-08, R-09, R-12, R-20, R-21, R-28 and R-36."""

from typing import Any, Final

from leadglass.assurance.finding import Severity
from leadglass.assurance.review.look import (
    DAY_S,
    HOUR_S,
    SEPARATOR,
    Feed,
    Hit,
    Look,
    Rule,
    ids_of,
)
from leadglass.assurance.review.memory import know, robust_z
from leadglass.assurance.review.rules.relations import OPENING, REACHING
from leadglass.assurance.trails.fact import Kind

# Come early, stay late: a shift is left at its end by nobody.
SHIFT_GRACE_S: Final = 2 * HOUR_S
# With fewer acts nobody has hours of their own.
HOURS_KNOWN_MIN: Final = 10
# Summer time and the weather move a day by an hour or two.
HOURS_NEAR: Final = (-2, -1, 0, 1, 2)
# Days of a person's past that say what is usual, and with how few it says nothing.
PAST_DAYS: Final = 28
PAST_DAYS_MIN: Final = 5
PEERS_MAX: Final = 200
PEERS_MIN: Final = 20
# So many in an hour or a day are worth a thought at all.
VOLUME_MIN: Final = 50
# Who lists so many and opens a tenth of them at most, collects names.
OPENED_SHARE: Final = 0.1
# In the first days of a trail everything is new: so many days with accesses have to
# go by before that means anything.
LEARN_DAYS: Final = 7
# A house where little is done has seen what it has after so many days with accesses.
LEARN_DAYS_SEEN: Final = 30
# Days with exports that make one of a group a habit of it.
HABIT_DAYS: Final = 3
HABIT_S: Final = 90 * DAY_S
# What browsers call themselves; programs do not.
_BROWSERS: Final = ("mozilla", "firefox", "chrome", "safari", "edge", "opera")


def group_of(look: Look) -> str:
    """Return whom somebody is like: those of the same roles, or kind and department."""
    person = look.person
    if person is None:
        return look.fact.who_kind or "unknown"
    return ",".join(sorted(person.roles)) or f"{person.kind} {person.department}"


# ── hours ────────────────────────────────────────────────────────────────────


def _new_hours() -> dict[str, Any]:
    return {"day": -1, "past": [0] * 24, "today": [0] * 24}


def after_hours(look: Look, threshold: float) -> Hit | None:
    """R-08."""
    if not look.is_person or not look.fact.succeeded:
        return None
    seen: dict[str, Any] = look.memory.shelf("hours").slot(look.subject, _new_hours)
    if seen["day"] != look.day:
        # What somebody does tonight does not make tonight usual.
        seen["past"] = [a + b for a, b in zip(seen["past"], seen["today"], strict=True)]
        seen.update(day=look.day, today=[0] * 24)
    hours, hour = seen["past"], look.fact.time.hour
    total = sum(hours)
    near = sum(hours[(hour + each) % 24] for each in HOURS_NEAR)
    is_odd = total >= HOURS_KNOWN_MIN and near < threshold / 100 * total
    seen["today"][hour] += 1
    if not is_odd or look.fact.kind not in REACHING or _is_on_duty(look):
        return None
    return Hit(
        f"at {hour:02d} h UTC, when they were seen {near} of {total} times; "
        "the roster does not have them on duty"
    )


def _is_on_duty(look: Look) -> bool:
    return any(
        shift.begins.timestamp() - SHIFT_GRACE_S
        <= look.now_s
        < shift.ends.timestamp() + SHIFT_GRACE_S
        for shift in look.knowledge.shifts(look.fact.who)
    )


# ── volume ───────────────────────────────────────────────────────────────────


def _new_volume() -> dict[str, Any]:
    return {
        "day": -1, "opened": 0, "listed": 0, "hour": -1, "in_hour": 0,
        "studies": {}, "past_opened": [], "past_listed": [], "past_hour": [], "top": 0,
    }  # fmt: skip


def count(look: Look) -> dict[str, Any]:
    """Count what was opened and listed today; called once for each fact, first."""
    volume: dict[str, Any] = look.memory.shelf("volume").slot(look.subject, _new_volume)
    if volume["day"] != look.day:
        _close_day(look, volume)
    if look.fact.kind is Kind.QUERY:
        volume["listed"] += len(look.fact.touched) or look.fact.returned
        return volume
    hour = int(look.now_s // HOUR_S)
    if volume["hour"] != hour:
        volume.update(hour=hour, in_hour=0)
    studies: dict[str, int] = volume["studies"]
    for each in look.opened:
        for uid in each.studies or (each.patient,):
            # The same study opened twice is one; of those beyond, each counts.
            if uid in studies:
                continue
            if len(studies) < 4 * VOLUME_MIN:
                studies[uid] = 1
            volume["opened"] += 1
            volume["in_hour"] += 1
    volume["top"] = max(volume["top"], volume["in_hour"])
    return volume


def _close_day(look: Look, volume: dict[str, Any]) -> None:
    """Put the last day into the past, and days without anything between."""
    if volume["day"] >= 0:
        idle = min(max(0, look.day - volume["day"] - 1), PAST_DAYS)
        for past, today in (
            ("past_opened", "opened"),
            ("past_listed", "listed"),
            ("past_hour", "top"),
        ):
            volume[past] += [volume[today]] + [0] * idle
            del volume[past][:-PAST_DAYS]
        peers: list[int] = look.memory.shelf("peers").slot(group_of(look), list)
        peers.append(volume["opened"])
        del peers[:-PEERS_MAX]
    volume.update(day=look.day, opened=0, listed=0, studies={}, top=0, in_hour=0)


def volume(look: Look, threshold: float) -> Hit | None:
    """R-09."""
    counted = look.memory.shelf("volume").get(look.subject)
    if counted is None:
        return None
    if counted["in_hour"] > VOLUME_MIN:
        z = _above(look, counted["in_hour"], counted["past_hour"], with_peers=False)
        if z is not None and z > threshold:
            return Hit(f"{counted['in_hour']} studies were opened in one hour")
    if counted["opened"] > VOLUME_MIN:
        z = _above(look, counted["opened"], counted["past_opened"], with_peers=True)
        if z is not None and z > threshold:
            return Hit(f"{counted['opened']} studies were opened on one day")
    return None


def _above(
    look: Look, value: float, past: list[float], *, with_peers: bool
) -> float | None:
    """Return deviations above own past and that of peers; None if nothing is known."""
    is_early = look.watched_days <= LEARN_DAYS
    peers = look.memory.shelf("peers").get(group_of(look)) or []
    found = []
    if len(past) >= PAST_DAYS_MIN:
        found.append(robust_z(value, past))
    if with_peers and len(peers) >= PEERS_MIN and not is_early:
        found.append(robust_z(value, peers))
    if not found and not is_early:
        # Nobody like them has opened anything since the trail is watched.
        found.append(robust_z(value, [0.0]))
    return min(found) if found else None


def harvesting(look: Look, threshold: float) -> Hit | None:
    """R-12."""
    counted = look.memory.shelf("volume").get(look.subject)
    if counted is None or counted["listed"] <= VOLUME_MIN:
        return None
    if counted["opened"] > OPENED_SHARE * counted["listed"]:
        return None
    z = _above(look, counted["listed"], counted["past_listed"], with_peers=False)
    if z is None or z <= threshold:
        return None
    return Hit(
        f"{counted['listed']} patients or studies were listed on one day, and "
        f"{counted['opened']} opened"
    )


# ── accounts ─────────────────────────────────────────────────────────────────


def dormant(look: Look, threshold: float) -> Hit | None:
    """R-20."""
    if not look.fact.succeeded or not (look.fact.who or look.fact.ae_title):
        return None
    shelf = look.memory.shelf("last_seen")
    last_s = shelf.get(look.subject)
    shelf.put(look.subject, look.now_s)
    limit_s = threshold * DAY_S
    if last_s is not None:
        if look.now_s - last_s <= limit_s:
            return None
        return Hit(f"not seen for {(look.now_s - last_s) / DAY_S:.0f} days")
    person = look.person
    if person is None or person.created is None or look.age_s <= limit_s:
        return None
    if look.now_s - person.created.timestamp() <= limit_s:
        return None
    return Hit(f"never seen in the {look.age_s / DAY_S:.0f} days that are watched")


def gone(look: Look, _threshold: float) -> Hit | None:
    """R-21."""
    person = look.person
    if person is not None and person.left is not None:
        if person.left.timestamp() > look.now_s:
            return None
        return Hit(
            "somebody whose work here has ended was "
            + ("let in" if look.fact.succeeded else "at the door")
        )
    if look.fact.kind is Kind.LOGIN and "disabled" in look.fact.what:
        return Hit("a disabled account was tried", severity=Severity.HIGH)
    return None


def by_hand(look: Look, _threshold: float) -> Hit | None:
    """R-36."""
    fact, person = look.fact, look.person
    is_program = fact.who_kind == "program" or (
        person is not None and person.kind == "program"
    )
    if not is_program or fact.channel == "local":
        return None
    agent = fact.implementation.lower()
    if any(each in agent for each in _BROWSERS):
        return Hit("the account of a program came with a browser")
    if fact.kind is Kind.LOGIN and fact.details.get("method") == "password":
        return Hit("the account of a program logged in with a password")
    return None


def is_new(look: Look) -> bool:
    """Whether the trail is so new that all that happens is."""
    return look.watched_days <= LEARN_DAYS and look.seen_days <= LEARN_DAYS_SEEN


# ── exports ──────────────────────────────────────────────────────────────────


def export_habit(look: Look, _threshold: float) -> Hit | None:
    """R-28."""
    if look.fact.kind is Kind.VIEW:
        return _link_from_elsewhere(look)
    group = group_of(look)
    key = f"{group}{SEPARATOR}{look.fact.destination}"
    days: list[int] = look.memory.shelf("exports").slot(key, list)
    oldest = look.day - HABIT_S / DAY_S
    earlier = [each for each in days if oldest <= each < look.day]
    if look.day not in days:
        days.append(look.day)
        del days[:-HABIT_DAYS]
    if len(earlier) >= HABIT_DAYS - 1 or is_new(look):
        return None
    return Hit(
        "images left to a medium, download or link that nobody of this role uses",
        ids_of(look.fact.touched),
    )


def _link_from_elsewhere(look: Look) -> Hit | None:
    """Tell of a link that was opened from a country that nobody came from.

    Patients open their links from anywhere: without the country nothing is said.
    """
    fact = look.fact
    country = fact.details.get("country", "")
    if not country:
        return None
    countries: dict[str, float] = look.memory.shelf("countries", 1).slot("all", dict)
    was_known = know(countries, country, look.now_s)
    if was_known or "link" not in {fact.who, fact.who_kind}:
        return None
    if is_new(look):
        return None
    return Hit(
        "a share link was opened from a country that nobody came from before",
        ids_of(fact.touched),
    )


_EVERYTHING: Final = frozenset(Kind) - {Kind.REFUSED, Kind.OTHER}

RULES: Final = (
    Rule(
        id="R-08", title="Access at odd hours",
        kinds=REACHING | {Kind.LOGIN}, check=after_hours, default=1,
        unit="percent of their acts", severity=Severity.LOW,
        needs=frozenset({Feed.SHIFTS}),
        why="Somebody was at work when they never are, and the roster does not have "
        "them on duty. A swapped shift looks like this, and so does a borrowed login.",
        remedy="Ask whether they were there; look at the address.",
    ),
    Rule(
        id="R-09", title="Far more studies than usual", kinds=OPENING, check=volume,
        default=5, unit="deviations above own past and peers, and more than 50",
        severity=Severity.HIGH,
        why="Somebody opened or copied far more studies in an hour or a day than they "
        "and their colleagues ever do: a copy of the archive begins like this.",
        remedy="Stop the account or device until the reason is known.",
    ),
    Rule(
        id="R-12", title="Many listed, few opened", kinds=frozenset({Kind.QUERY}),
        check=harvesting, default=5,
        unit="deviations above own past, and more than 50", severity=Severity.MEDIUM,
        why="Somebody had many patients listed and opened hardly any: names, birth "
        "dates and examinations are worth money without an image.",
        remedy="Ask for the reason; look whether a program uses the account.",
    ),
    Rule(
        id="R-20", title="Sleeping account or device woke up", kinds=_EVERYTHING,
        check=dormant, default=90, unit="days", severity=Severity.MEDIUM,
        why="It was not used for months. Whoever comes back from a long leave looks "
        "like this; so does whoever found an account that nobody watches.",
        remedy="Ask the person or the owner of the device; close what is not needed.",
    ),
    Rule(
        id="R-21", title="Somebody who has left", kinds=frozenset(Kind), check=gone,
        severity=Severity.CRITICAL, needs=frozenset({Feed.STAFF}),
        why="The work of this person here has ended, and their account was used.",
        remedy="Disable the account now; find out how it was still open.",
    ),
    Rule(
        id="R-28", title="Export without habit",
        kinds=frozenset({Kind.EXPORT, Kind.VIEW}), check=export_habit,
        severity=Severity.HIGH,
        why="Images left to a medium or by a link though nobody of this role ever "
        "does that, or a link was opened from a place that nobody came from.",
        remedy="Ask for the order; get the medium back or revoke the link.",
    ),
    Rule(
        id="R-36", title="Account of a program used by hand",
        kinds=REACHING | {Kind.LOGIN, Kind.LOGOUT}, check=by_hand,
        severity=Severity.HIGH,
        why="Programs have no browser and no password. Somebody uses their token.",
        remedy="Renew the token; find out who had it.",
    ),
)  # fmt: skip
