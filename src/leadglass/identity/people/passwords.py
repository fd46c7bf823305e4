"""Passwords: which ones are taken, and how they are kept (Argon2id, RFC 9106).

Long is what counts (NIST SP 800-63B §3.1.1): no rules on what a password is composed
of and no forced changes, but none that others know or that the name gives away.
"""

import os
import re
import unicodedata
from base64 import b64encode
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import BoundedSemaphore

from argon2 import PasswordHasher, Type
from argon2.exceptions import (
    HashingError,
    VerificationError,
    VerifyMismatchError,
)

from leadglass.errors import Damaged, PeerError, Unavailable
from leadglass.identity.people.known import KnownPasswords, NoList

CHARACTERS_MIN = 12
# Longer than any that a person types or a manager draws; a bound on the work.
CHARACTERS_MAX = 256

# Each hash under way holds `Parameters.memory_kib`: 76 MiB for all of them, however
# many log in at once.
AT_ONCE_MAX = 4
# A caller who waits longer for a turn would not wait longer for an answer either.
TURN_WAIT_S = 10.0

SALT_BYTES = 16
HASH_BYTES = 32

# A hash of ours, whatever its parameters (the PHC string format).
_STORED = re.compile(
    r"\$argon2id\$v=19\$m=[0-9]{1,7},t=[0-9]{1,2},p=[0-9]{1,2}"
    r"\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}"
)

# What must be left of a password when all that anybody would guess first is out.
OWN_CHARACTERS_MIN = 8
DISTINCT_CHARACTERS_MIN = 5
_WORD_CHARACTERS_MIN = 3  # shorter parts of names are parts of any word

# Rows that fingers walk along; a piece of one, in either direction, is a guess.
_ROWS = (
    "01234567890",
    "1234567890",
    "abcdefghijklmnopqrstuvwxyz",
    "qwertyuiopasdfghjklzxcvbnm",
    "qwertzuiopasdfghjklyxcvbnm",
    "azertyuiopqsdfghjklmwxcvbn",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p",
)
_OF_THE_HOUSE = ("leadglass", "password", "passwort", "dicom", "pacs")

# Control characters, halves of surrogates, and code points that are none yet: how
# those would be normalised may change with the next Unicode.
_REFUSED_CATEGORIES = frozenset({"Cc", "Cs", "Cn"})


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a guess costs; they stand in every hash.

    The defaults are of OWASP's password storage advice: 19 MiB, two passes.

    Attributes:
        memory_kib: Memory, KiB.
        passes: Times over it.
        lanes: Threads.
    """

    memory_kib: int = 19_456
    passes: int = 2
    lanes: int = 1


OWASP = Parameters()


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a password is right, and its dearer hash if the old one is cheap."""

    is_right: bool
    new_hash: str | None = None


def normalise(password: str) -> str:
    """Return the password as it is hashed: NFKC, so that keyboards do not matter.

    Raises:
        PeerError: Too long, or characters that cannot be in one.
    """
    if len(password) > CHARACTERS_MAX:
        raise PeerError(f"password: longer than {CHARACTERS_MAX} characters")
    if any(unicodedata.category(each) in _REFUSED_CATEGORIES for each in password):
        raise PeerError("password: has a character that cannot be in one")
    normal = unicodedata.normalize("NFKC", password)
    if len(normal) > CHARACTERS_MAX:  # one character may become eighteen
        raise PeerError(f"password: longer than {CHARACTERS_MAX} characters")
    return normal


class Passwords:
    """Judges, hashes and verifies; holds no password."""

    def __init__(
        self,
        known: KnownPasswords | None = None,
        parameters: Parameters = OWASP,
        at_once_max: int = AT_ONCE_MAX,
        turn_wait_s: float = TURN_WAIT_S,
    ) -> None:
        """Prepare; ``known`` lists passwords that nobody may choose."""
        self._known = known or NoList()
        self._hasher = PasswordHasher(
            time_cost=parameters.passes,
            memory_cost=parameters.memory_kib,
            parallelism=parameters.lanes,
            hash_len=HASH_BYTES,
            salt_len=SALT_BYTES,
            type=Type.ID,
        )
        self._turns = BoundedSemaphore(at_once_max)
        self._turn_wait_s = turn_wait_s
        self._decoy = _decoy(parameters)

    def prepare(self, password: str, names: Iterable[str] = ()) -> str:
        """Judge a new password and return its hash, for the database.

        Takes some 50 ms, so call it outside of a transaction.

        Args:
            password: As it was typed.
            names: What the user is called, which it must not be made of.

        Raises:
            PeerError: It is too short, too long, known or easily guessed; the text
                says which, for whoever chooses it, and does not repeat it.
            Unavailable: Too many at once, or the list cannot be read.
        """
        normal = normalise(password)
        if len(normal) < CHARACTERS_MIN:
            raise PeerError(f"password: at least {CHARACTERS_MIN} characters")
        if _is_guessable(normal, names):
            raise PeerError(
                "password: too easily guessed from names, rows of keys or repeats"
            )
        if self._known.knows(normal):
            raise PeerError("password: on a list of passwords that others know")
        return self._hash(normal)

    def verify(self, password: str, stored: str | None) -> Verdict:
        """Judge a password that somebody shows; the same work whatever the answer.

        Args:
            password: As it was typed.
            stored: Its hash; ``None`` for somebody who has none or is unknown.

        Raises:
            Damaged: The hash is none of ours.
            Unavailable: Too many at once.
        """
        try:
            normal, is_possible = normalise(password), stored is not None
        except PeerError:
            normal, is_possible = "", False
        against = self._decoy if stored is None else stored
        if not _STORED.fullmatch(against):
            raise Damaged("users: a stored password cannot be read")
        is_right = self._matches(normal, against) and is_possible
        # Hashed anew whether it was right or not: who guesses learns nothing by it.
        new_hash = (
            self._hash(normal) if self._hasher.check_needs_rehash(against) else None
        )
        return Verdict(is_right, new_hash if is_right else None)

    def _matches(self, normal: str, stored: str) -> bool:
        with self.turn():
            try:
                return self._hasher.verify(stored, normal)
            except VerifyMismatchError:
                return False
            except VerificationError:
                raise Unavailable("passwords: no memory to verify one") from None

    def _hash(self, normal: str) -> str:
        with self.turn():
            try:
                return self._hasher.hash(normal)
            except HashingError:
                raise Unavailable("passwords: no memory to hash one") from None

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a turn to do dear work; for one-time secrets too.

        Raises:
            Unavailable: Too many at once.
        """
        if not self._turns.acquire(timeout=self._turn_wait_s):
            raise Unavailable("passwords: too many logins at once")
        try:
            yield
        finally:
            self._turns.release()


def _decoy(parameters: Parameters) -> str:
    """Return a hash that no password has, as dear to verify as any."""
    salt, digest = (
        b64encode(os.urandom(size)).rstrip(b"=").decode()
        for size in (SALT_BYTES, HASH_BYTES)
    )
    return (
        f"$argon2id$v=19$m={parameters.memory_kib},t={parameters.passes},"
        f"p={parameters.lanes}${salt}${digest}"
    )


def _is_guessable(normal: str, names: Iterable[str]) -> bool:
    """Whether a password is little more than names, a row of keys or repeats."""
    folded = normal.casefold()
    if len(set(folded)) < DISTINCT_CHARACTERS_MIN:
        return True
    if any(folded in row or folded in row[::-1] for row in _doubled_rows()):
        return True
    left = folded
    for word in sorted(_words(names), key=len, reverse=True):
        left = left.replace(word, "").replace(word[::-1], "")
    return left != folded and len(left) < OWN_CHARACTERS_MIN


def _doubled_rows() -> Iterator[str]:
    """Yield the rows, again and again for as long as a password may be."""
    for row in _ROWS:
        yield row * (CHARACTERS_MAX // len(row) + 2)


def _words(names: Iterable[str]) -> set[str]:
    parts = {
        part
        for name in names
        for whole in [unicodedata.normalize("NFKC", name).casefold()]
        for part in [whole, *re.split(r"[\W_]+", whole)]
    }
    return {
        each for each in parts | set(_OF_THE_HOUSE) if len(each) >= _WORD_CHARACTERS_MIN
    }
