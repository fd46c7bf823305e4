"""Who gains and who loses when rules change: a pure function over before and after.

What is told is on the safe side: a reach counts as kept only if one rule of the other
side surely covers all of it. Rules that have expired give nothing on either side.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from leadglass.access.networks import Network
from leadglass.access.policy import Rule, Subject
from leadglass.access.rights import Right
from leadglass.access.scopes import Scope

# Rules of one subject that a reach is compared with; of who has more, what is not the
# same to the letter is told as gained or lost. A person has a handful.
COMPARED_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class Reach:
    """What somebody may, from where, how far and until when.

    Attributes:
        rights: In order.
        networks: From where; with none, on the node itself.
        scope: Which studies.
        not_after: The last moment; ``None``: until it is taken away.
    """

    rights: tuple[Right, ...]
    networks: tuple[Network, ...]
    scope: Scope
    not_after: datetime | None


@dataclass(frozen=True, slots=True)
class Effect:
    """What a change means for one subject; never nothing."""

    subject: Subject
    gained: tuple[Reach, ...]
    lost: tuple[Reach, ...]


class _Where(NamedTuple):
    """The conditions under which a right is given."""

    networks: tuple[Network, ...]
    scope: Scope
    not_after: datetime | None


_Pieces = dict[Right, set[_Where]]


def effects(
    before: Iterable[Rule], after: Iterable[Rule], now: datetime
) -> tuple[Effect, ...]:
    """Return who gains and who loses what, by subject; nobody for whom it is equal."""
    old, new = _by_subject(before, now), _by_subject(after, now)
    found = []
    for subject in sorted(old.keys() | new.keys(), key=str):
        had, has = old.get(subject, {}), new.get(subject, {})
        if had == has:
            continue
        gained, lost = _beyond(has, had), _beyond(had, has)
        if gained or lost:
            found.append(Effect(subject, gained, lost))
    return tuple(found)


def reaches(
    rules: Iterable[Rule], subject: Subject, now: datetime
) -> tuple[Reach, ...]:
    """Return all that rules give a subject."""
    return _beyond(_by_subject(rules, now).get(subject, {}), {})


def _by_subject(rules: Iterable[Rule], now: datetime) -> dict[Subject, _Pieces]:
    found: dict[Subject, _Pieces] = {}
    for rule in rules:
        if rule.not_after is not None and rule.not_after < now:
            continue
        for subject in rule.subjects:
            where = _Where(rule.networks, rule.scope_for(subject), rule.not_after)
            pieces = found.setdefault(subject, {})
            for right in rule.rights:
                pieces.setdefault(right, set()).add(where)
    return found


def _beyond(ours: _Pieces, theirs: _Pieces) -> tuple[Reach, ...]:
    """Return what is in ours and not covered by theirs, alike conditions together."""
    together: dict[_Where, list[Right]] = {}
    for right, where in _uncovered(ours, theirs):
        together.setdefault(where, []).append(right)
    found = (Reach(tuple(sorted(rights)), *where) for where, rights in together.items())
    return tuple(sorted(found, key=lambda each: (each.rights, str(each.scope))))


def _uncovered(ours: _Pieces, theirs: _Pieces) -> Iterator[tuple[Right, _Where]]:
    for right, wheres in ours.items():
        others = theirs.get(right, set())
        compared = others if len(others) <= COMPARED_MAX else frozenset[_Where]()
        for where in wheres - others:
            if not any(_covers(other, where) for other in compared):
                yield right, where


def _covers(other: _Where, where: _Where) -> bool:
    if other.not_after is not None and (
        where.not_after is None or where.not_after > other.not_after
    ):
        return False
    if bool(other.networks) != bool(where.networks):
        return False  # one of them is for commands on the node itself
    return where.scope.is_within(other.scope) and all(
        any(_is_inside(network, wider) for wider in other.networks)
        for network in where.networks
    )


def _is_inside(network: Network, wider: Network) -> bool:
    return (
        network.version == wider.version
        and network.prefixlen >= wider.prefixlen
        and network.network_address in wider
    )
