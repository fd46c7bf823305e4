"""Which pages there are, and by which right; a page that is not here is not linked."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from leadglass.access.rights import Right


@dataclass(frozen=True, slots=True)
class Entry:
    """One page of the menu.

    Attributes:
        path: Where it is.
        text: What it is called, in English.
        right: Who sees it; the page itself asks for the right, too.
    """

    path: str
    text: str
    right: Right


MENU: Final[tuple[Entry, ...]] = (
    Entry("/studies", "Studies", Right.FIND),
    Entry("/doors", "Doors", Right.ADMINISTER),
    Entry("/devices", "Devices", Right.ADMINISTER),
    Entry("/people", "People", Right.ADMINISTER),
    Entry("/rules", "Rules", Right.ADMINISTER),
    Entry("/system", "System", Right.ADMINISTER),
    Entry("/audit", "Audit", Right.AUDIT),
    Entry("/access", "Who saw a patient", Right.AUDIT),
    Entry("/review", "Review", Right.AUDIT),
    Entry("/keeping", "Keep and erase", Right.AUDIT),
    Entry("/controls", "Controls", Right.AUDIT),
    Entry("/reviews", "Broken glass", Right.REVIEW),
)


def entries(rights: Iterable[Right]) -> tuple[Entry, ...]:
    """Return what somebody with these rights may open."""
    held = frozenset(rights)
    return tuple(each for each in MENU if each.right in held)
