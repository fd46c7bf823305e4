"""What a directory says of somebody, and the port that it is asked through.

Apart from the adapter, whose driver is an extra: who has no directory needs none.
"""

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Entry:
    """Somebody, as the directory says; proven.

    Attributes:
        dn: Its name there.
        id: What is never another's.
        name: What it logs in with.
        display_name: How people call it.
        groups: The DNs of its groups, each in one spelling.
    """

    dn: str = field(repr=False)
    id: str = field(repr=False)
    name: str = field(repr=False)
    display_name: str = field(repr=False)
    groups: tuple[str, ...]


class Prover(Protocol):
    """Judges a name and a password; may wait."""

    def prove(self, name: str, password: str) -> Entry:
        """Return who that is, if the password is theirs.

        Raises:
            Refused: It is not, or nobody is found, or several are.
            Unavailable: It cannot be judged now.
            Misconfigured: The node's own password cannot be read.
        """
        ...
