"""Whether the table that searches go by agrees with the records; pure.

Two sets of entries (search key, number of the record) that come in different orders
are the same if a product over their entries is the same. The factors are
(secret + entry) modulo a prime, the entry a secret linear combination of its four
halves: whoever altered entries did not know the secrets, which are drawn for each
run. Two different sets of N entries have the same product for at most N + 1 of
2^61 secrets: once in 10^11 for ten million records.

HOT: numbers of 64 bits, thousands at once; Python's own would take five times as long.
"""

from collections.abc import Sequence
from secrets import randbelow
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.uint64]

# A Mersenne prime: a remainder is a shift and an addition.
_PRIME = (1 << 61) - 1
_P = np.uint64(_PRIME)
_BITS = np.uint64(61)
_HALF = np.uint64(32)
_LOW_HALF = np.uint64((1 << 32) - 1)
_B31 = np.uint64(31)
_LOW_31 = np.uint64((1 << 31) - 1)
_B30 = np.uint64(30)
_LOW_30 = np.uint64((1 << 30) - 1)
_ONE = np.uint64(1)

# Entries that are multiplied at once: they stay in the processor's cache, and the
# fixed cost of each operation is shared.
_ENTRIES_HELD = 32_768
# Characters of numbers that are read at once.
_TEXT_READ = 1 << 20
_KEY_BYTES = 8

_NUMBERS = msgspec.json.Decoder(list[int])


class SearchCheck:
    """Takes entries; two of them tell whether they have taken the same ones."""

    def __init__(self, secrets: Sequence[int] | None = None) -> None:
        self._secrets = tuple(secrets or (randbelow(_PRIME) for _ in range(4)))
        *factors, secret = self._secrets
        self._factors = tuple(
            (np.uint64(each >> 31), np.uint64(each & (1 << 31) - 1)) for each in factors
        )
        self._secret = np.uint64(secret)
        self._product = 1
        self._keys: list[NDArray[np.int64]] = []
        self._numbers: list[NDArray[np.int64]] = []
        self._held = 0
        self._odd = 0  # entries that no record has
        self.count = 0

    @property
    def secrets(self) -> tuple[int, ...]:
        """What one in another process must be made with, to be merged with this."""
        return self._secrets

    def merge(self, count: int, odd: int, product: int) -> None:
        """Take what another one with the same secrets has taken (``result``)."""
        self.count += count
        self._odd += odd
        self._product = self._product * product % _PRIME

    def twin(self) -> "SearchCheck":
        """Return an empty one that can be compared with this."""
        return SearchCheck(self._secrets)

    def result(self) -> tuple[int, int, int]:
        """Return what two that have taken the same entries have in common."""
        self._multiply()
        return self.count, self._odd, self._product

    def expect(self, keys: Sequence[Any], numbers: Sequence[int]) -> None:
        """Take the entries that the search keys of some records ask for."""
        try:
            joined = b"".join(keys)
            lengths = [len(each) for each in keys]
        except TypeError:
            joined, lengths = b"", [1]
        if any(length % _KEY_BYTES for length in lengths):
            if len(keys) == 1:
                self._take_odd()  # no keys at all: nothing agrees with that
                return
            for each, number in zip(keys, numbers, strict=True):
                self.expect([each], [number])
            return
        counts = np.array(lengths) // _KEY_BYTES
        found = np.frombuffer(joined, ">i8").astype(np.int64)
        self._take(found, np.repeat(np.array(numbers, np.int64), counts))

    def take(self, rows: Sequence[Sequence[Any]]) -> None:
        """Take entries as the table has them: a key, and its numbers as JSON."""
        keys: list[int] = []
        lengths: list[int] = []
        texts: list[str] = []
        for key, text in rows:
            if isinstance(key, int) and isinstance(text, str) and len(text) > 2:
                keys.append(key)
                lengths.append(text.count(",") + 1)
                texts.append(text[1:-1])
            else:
                self._take_odd()
        numbers = _numbers_of(",".join(texts))
        if numbers is None or len(numbers) != sum(lengths):
            self._take_odd()  # text where numbers belong: ours is none
            return
        self._take(np.repeat(np.array(keys, np.int64), lengths), numbers)

    def _take_odd(self) -> None:
        self.count += 1
        self._odd += 1

    def _take(self, keys: NDArray[np.int64], numbers: NDArray[np.int64]) -> None:
        self.count += len(keys)
        self._keys.append(keys)
        self._numbers.append(numbers)
        self._held += len(keys)
        if self._held >= _ENTRIES_HELD:
            self._multiply()

    def _multiply(self) -> None:
        if not self._held:
            return
        keys = np.concatenate(self._keys).view(np.uint64)
        numbers = np.concatenate(self._numbers).view(np.uint64)
        self._keys, self._numbers, self._held = [], [], 0
        for at in range(0, len(keys), _ENTRIES_HELD):
            end = at + _ENTRIES_HELD
            product = self._product_of(keys[at:end], numbers[at:end])
            self._product = self._product * product % _PRIME

    def _product_of(self, keys: Numbers, numbers: Numbers) -> int:
        a, b, c = self._factors
        entries = _folded(
            _times_half(keys >> _HALF, a)
            + _times_half(keys & _LOW_HALF, b)
            + _times_half(numbers >> _HALF, c)
            + (numbers & _LOW_HALF)
            + self._secret
        )
        while len(entries) > 1:
            if len(entries) % 2:
                entries = np.append(entries, _ONE)
            entries = _times(entries[::2], entries[1::2])
        return int(entries[0]) % _PRIME


def _numbers_of(text: str) -> NDArray[np.int64] | None:
    """Return the numbers of a text, a part of it at a time; None: it has others."""
    parts = []
    at = 0
    try:
        while at < len(text):
            end = text.find(",", at + _TEXT_READ)
            end = len(text) if end < 0 else end
            parts.append(np.array(_NUMBERS.decode(f"[{text[at:end]}]"), np.int64))
            at = end + 1
    except (msgspec.MsgspecError, OverflowError):
        return None
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


# With 2^61 = 1 modulo the prime. Remainders are below 2^61 + 8, not always below the
# prime: to take the prime away from those few would cost as much as all the rest.


def _times(left: Numbers, right: Numbers) -> Numbers:
    """Return products of remainders, in halves of 31 and 30 bits."""
    left_high, left_low = left >> _B31, left & _LOW_31
    right_high, right_low = right >> _B31, right & _LOW_31
    middle = left_high * right_low
    middle += left_low * right_high
    low = left_low * right_low
    low = _folded(low)
    low += left_high * right_high << _ONE
    low += middle >> _B30
    low += (middle & _LOW_30) << _B31
    return _folded(low)


def _times_half(left: Numbers, factor: tuple[np.uint64, np.uint64]) -> Numbers:
    """Return products of numbers of 32 bits and a factor, given as its two halves."""
    middle = left * factor[0]
    low = _folded(left * factor[1])
    low += middle >> _B30
    low += (middle & _LOW_30) << _B31
    return _folded(low)


def _folded(values: Numbers) -> Numbers:
    """Return remainders of any numbers of 64 bits."""
    return (values & _P) + (values >> _BITS)
