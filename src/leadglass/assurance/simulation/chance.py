"""Chance that comes again: each part of a simulation has a stream of its own.

So that one more draw in one of them does not change all the others.
"""

import hashlib
import random
from bisect import bisect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

# Names are put together of these; no register of people was ever looked at.
_BEGINS: Final = (
    *("bra", "cle", "dru", "fen", "gol", "har", "ilm", "jor", "kel", "lun", "mor"),
    *("nes", "oster", "pry", "quil", "ros", "stel", "tar", "ulv", "ven", "wol", "zan"),
)
_MIDDLES: Final = ("", "a", "de", "ki", "lo", "mi", "ra", "so", "ti", "ve")
_ENDS: Final = ("berg", "dan", "feld", "gart", "holm", "kamp", "lund", "mann", "rup")
_WAYS: Final = ("allee", "gasse", "hof", "ring", "strasse", "weg")

SURNAMES: Final = 600
STREETS: Final = 40
POSTCODES: Final = 12
# The n-th most frequent name is borne by 1/n**s; s of surnames is a little below 1.
SURNAME_EXPONENT: Final = 0.85


def stream(seed: int, *what: object) -> random.Random:
    """Return the stream of one part; the same for the same seed on every machine."""
    return random.Random(f"{seed}:{':'.join(map(str, what))}")  # noqa: S311 - no secret


def fingerprint(seed: int, *what: object) -> str:
    """Return the SHA-256 fingerprint of a certificate that nobody made."""
    return hashlib.sha256(f"{seed}:{what!r}".encode()).hexdigest()


def uid(number: int, *, root: int = 0) -> str:
    """Return a UID under 2.25 (PS3.5 §B.2), by number."""
    return f"2.25.{(root + 1) * 10**24 + number}"


@dataclass(frozen=True, slots=True)
class Weighted:
    """Names of which some are more frequent than others."""

    names: tuple[str, ...]
    sums: tuple[float, ...]

    @classmethod
    def of(cls, names: Sequence[str], weights: Iterable[float]) -> "Weighted":
        """Return names with their weights."""
        return cls(tuple(names), tuple(accumulate(weights)))

    def draw(self, chance: random.Random) -> str:
        """Return one of them."""
        return self.names[bisect(self.sums, chance.random() * self.sums[-1])]


def surnames(chance: random.Random) -> Weighted:
    """Return surnames, a few of them frequent and most of them rare."""
    every = [a + b + c for a in _BEGINS for b in _MIDDLES for c in _ENDS]
    chosen = chance.sample(every, SURNAMES)
    return Weighted.of(
        chosen, (rank**-SURNAME_EXPONENT for rank in range(1, SURNAMES + 1))
    )


def addresses(chance: random.Random) -> Weighted:
    """Return "postcode street" of a region; long streets have more people."""
    ways = [
        f"{chance.choice(_BEGINS)}{chance.choice(_MIDDLES)}{chance.choice(_WAYS)}"
        for _ in range(POSTCODES * STREETS)
    ]
    places = dict.fromkeys(
        f"{10_000 + 7 * (number // STREETS):05d} {way}"
        for number, way in enumerate(ways)
    )
    return Weighted.of(tuple(places), (chance.uniform(0.2, 2.0) for _ in places))


def happens(chance: random.Random, mean: float) -> int:
    """Return how often something happens that happens ``mean`` times (Poisson)."""
    if mean > 30:
        return max(0, round(chance.gauss(mean, mean**0.5)))
    count, waited = 0, chance.expovariate(1.0)
    while waited < mean:
        count += 1
        waited += chance.expovariate(1.0)
    return count
