"""Slowing down who guesses: by the user's name, and by the address.

Failures are counted per user and per address (an IPv6 /64 is one: whoever has an
address there has them all). Some are free, then each one doubles a delay in which
nothing is tried; at last there is a lock, which always ends by itself. Failures
drain away with time; those of a user are forgotten when the user has logged in,
those of an address never are, or its own login would buy anybody new guesses.

Only what can be guessed is slowed: a passkey is let through a user's lock, so that
a stranger who keeps a physician's password locked does not keep the physician out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from ipaddress import IPv6Address, ip_network
from types import MappingProxyType

from sqlalchemy import Connection, delete, func, insert, select, update

from leadglass.access.networks import Address, plain
from leadglass.database.engine import Transaction
from leadglass.identity.people import tables
from leadglass.identity.rows import from_us, to_us

# Rows for addresses; those that failed longest ago make room. Whoever has more
# networks than that is slowed by the users' rows all the same.
ADDRESSES_MAX = 10_000
_ADDRESSES_DROPPED = 100  # at once, so that a full table is not counted each time

# Stands for all that are nobody: the same work as for somebody.
_NOBODY = "nobody"
_IPV6_PREFIX = 64

_THROTTLE = tables.throttle.c


class Source(StrEnum):
    """What failures are counted by."""

    USER = "user"
    ADDRESS = "address"


@dataclass(frozen=True, slots=True)
class Pace:
    """How failures become delays.

    Attributes:
        free: Failures without any delay.
        lock_at: Failures that lock.
        lock: How long a lock lasts.
        drain: The time in which one failure is forgotten.
    """

    free: int
    lock_at: int
    lock: timedelta
    drain: timedelta

    def delay(self, failures: int) -> timedelta:
        """Return how long nothing is tried after so many failures."""
        if failures <= self.free:
            return timedelta(0)
        if failures >= self.lock_at:
            return self.lock
        return min(timedelta(seconds=2 ** (failures - self.free - 1)), self.lock)

    def left(self, failures: int, since: timedelta) -> int:
        """Return how many failures still count after some time."""
        return max(0, failures - max(since, timedelta(0)) // self.drain)


# A person mistypes four times; ten failures are no typing mistakes (NIST SP 800-63B
# §3.2.2 allows a hundred). From then on each further guess costs a lock: 96 a day,
# hopeless for 12 characters and a second factor. A whole ward may come from one
# address.
PACES: Mapping[Source, Pace] = MappingProxyType(
    {
        Source.USER: Pace(4, 10, timedelta(minutes=15), timedelta(hours=2)),
        Source.ADDRESS: Pace(20, 30, timedelta(minutes=15), timedelta(minutes=1)),
    }
)


class Lockout:
    """Failures and what follows from them; all state is in the database."""

    def blocked_until(
        self,
        connection: Connection,
        user_id: int | None,
        address: Address | None,
        now: datetime,
    ) -> datetime | None:
        """Return until when nothing is tried for this user or from there."""
        times = [
            until
            for source, key in _keys(user_id, address)
            if source is Source.ADDRESS or user_id is not None
            if (until := _until(connection, source, key)) is not None and until > now
        ]
        return max(times, default=None)

    def failed(
        self,
        tx: Transaction,
        user_id: int | None,
        address: Address | None,
        now: datetime,
    ) -> datetime | None:
        """Count a failure.

        Returns:
            Until when the user is locked, if this failure began the lock; such a
            thing is worth a record.
        """
        locked_until = None
        for source, key in _keys(user_id, address):
            failures, until = _count(tx, source, key, now)
            if (
                source is Source.USER
                and user_id is not None
                and failures >= PACES[source].lock_at
            ):
                locked_until = until
        return locked_until

    def succeeded(self, tx: Transaction, user_id: int) -> None:
        """Forget the failures of a user who has logged in."""
        self.unlock(tx, user_id)

    def unlock(self, tx: Transaction, user_id: int) -> bool:
        """Forget the failures of a user; tells whether there were any."""
        gone = tx.connection.execute(
            delete(tables.throttle).where(
                _THROTTLE.source == Source.USER, _THROTTLE.key == str(user_id)
            )
        )
        return gone.rowcount > 0

    def locked_until(
        self, connection: Connection, user_id: int, now: datetime
    ) -> datetime | None:
        """Return until when a user is locked, for an administrator's list."""
        return self.blocked_until(connection, user_id, None, now)


def _keys(
    user_id: int | None, address: Address | None
) -> tuple[tuple[Source, str], ...]:
    user = (Source.USER, _NOBODY if user_id is None else str(user_id))
    if address is None:
        return (user,)
    return (user, (Source.ADDRESS, network_of(address)))


def network_of(address: Address) -> str:
    """Return what failures of an address are counted by: an IPv6 /64 is one."""
    address = plain(address)
    if isinstance(address, IPv6Address):
        return str(ip_network((address, _IPV6_PREFIX), strict=False))
    return str(address)


def _until(connection: Connection, source: Source, key: str) -> datetime | None:
    until_us = connection.scalar(
        select(_THROTTLE.until_us).where(
            _THROTTLE.source == source, _THROTTLE.key == key
        )
    )
    return None if until_us is None else from_us(until_us)


def _count(
    tx: Transaction, source: Source, key: str, now: datetime
) -> tuple[int, datetime]:
    """Count one failure; returns how many there are, and until when nothing goes."""
    pace = PACES[source]
    where = (_THROTTLE.source == source, _THROTTLE.key == key)
    row = tx.connection.execute(select(tables.throttle).where(*where)).one_or_none()
    left = 0 if row is None else pace.left(row.failures, now - from_us(row.failed_us))
    failures = left + 1
    until = now + pace.delay(failures)
    values = {
        "failures": failures,
        "failed_us": to_us(now),
        "until_us": to_us(until),
    }
    if row is None:
        if source is Source.ADDRESS:
            _make_room(tx)
        tx.connection.execute(
            insert(tables.throttle), {"source": source, "key": key, **values}
        )
    else:
        tx.connection.execute(update(tables.throttle).where(*where).values(values))
    return failures, until


def _make_room(tx: Transaction) -> None:
    of_addresses = _THROTTLE.source == Source.ADDRESS
    count = tx.connection.scalar(
        select(func.count()).select_from(tables.throttle).where(of_addresses)
    )
    if (count or 0) < ADDRESSES_MAX:
        return
    oldest = (
        select(_THROTTLE.key)
        .where(of_addresses)
        .order_by(_THROTTLE.failed_us)
        .limit(_ADDRESSES_DROPPED)
    )
    tx.connection.execute(
        delete(tables.throttle).where(of_addresses, _THROTTLE.key.in_(oldest))
    )
