"""Long work, as who watches the node sees it: imports, verifications.

A row in the database, so that the page of one process tells of the work of another.
How far it is, is written every other second at most. A process that is killed leaves
its row unended: who looks sees that nothing was said of it for a while. What was done
is on the audit record; these rows only tell of it, hold nothing of a patient, and the
oldest go.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Connection, delete, func, insert, select, update

from leadglass.archive.parts import Parts
from leadglass.archive.tables import job
from leadglass.database.engine import Transaction
from leadglass.errors import LeadglassError, Unavailable
from leadglass.identity.rows import from_us, to_us

NOTE_INTERVAL_S: Final = 2.0
# Silence after which a process is taken for gone; a disk may stand still for a while.
SILENT: Final = timedelta(minutes=5)
# Rows that are kept.
KEPT_MAX: Final = 200
_NOT_ALONE: Final = 0


class Work(StrEnum):
    """What is done."""

    IMPORT = "import"
    VERIFY = "verify"


class State(StrEnum):
    """How it is."""

    RUNNING = "running"
    ENDED = "ended"
    FAILED = "failed"  # it ended early, and says why
    CUT_OFF = "cut off"  # its process is gone


@dataclass(frozen=True, slots=True)
class Job:
    """One piece of work.

    Attributes:
        id: Its number.
        kind: What is done.
        by: Who asked for it.
        began_at: When.
        noted_at: When it was last said how far it is.
        ended_at: None while it runs, or if it was cut off.
        done: Of ``total``: files, instances.
        total: 0 if it is not known.
        faults: What was not taken, or is damaged.
        why: It ended early.
    """

    id: int
    kind: Work
    by: str
    began_at: datetime
    noted_at: datetime
    ended_at: datetime | None
    done: int
    total: int
    faults: int
    why: str

    def state(self, now: datetime) -> State:
        """Tell how it is."""
        if self.ended_at is not None:
            return State.FAILED if self.why else State.ENDED
        return State.CUT_OFF if now - self.noted_at > SILENT else State.RUNNING


# Says how far it is: done, total, faults.
Note = Callable[[int, int, int], None]


class Jobs:
    """The rows."""

    def __init__(
        self, parts: Parts, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._parts = parts
        self._clock = clock

    @contextmanager
    def doing(self, kind: Work, by: str, *, alone: bool = False) -> Iterator[Note]:
        """Tell of work while it is done; that it cannot be told stops nothing.

        Args:
            kind: What is done.
            by: Who asked for it.
            alone: Only if none of its kind is done, by whichever process.

        Raises:
            Unavailable: It is not alone.
        """
        number = self._write(lambda tx: _begin(tx, kind, by, alone=alone))
        if number == _NOT_ALONE:
            raise Unavailable(f"another {kind} is being done")
        noted_s = self._clock()
        last = (0, 0, 0)

        def note(done: int, total: int, faults: int) -> None:
            nonlocal noted_s, last
            last = (done, total, faults)
            if self._clock() - noted_s >= NOTE_INTERVAL_S:
                noted_s = self._clock()
                self._write(lambda tx: _note(tx, number, last))

        why = ""
        try:
            yield note
        except BaseException as error:
            why = str(error) if isinstance(error, LeadglassError) else "stopped"
            raise
        finally:
            self._write(lambda tx: _note(tx, number, last, why, is_over=True))

    def _write(self, work: Callable[[Transaction], int | None]) -> int | None:
        try:
            return self._parts.database.write(work)
        except LeadglassError:
            return None

    def lately(self, count: int) -> tuple[Job, ...]:
        """Return the newest, the newest first."""
        with self._parts.database.read() as connection:
            return _newest(connection, count)


def _begin(tx: Transaction, kind: Work, by: str, *, alone: bool) -> int:
    """Return the number of a new row, from 1; ``_NOT_ALONE`` if there must be none.

    In the transaction that makes the row, so of two that begin at once one does.
    """
    connection, now = tx.connection, to_us(datetime.now(UTC))
    alive = select(job.c.id).where(
        job.c.kind == str(kind),
        job.c.ended_us.is_(None),
        job.c.noted_us > to_us(datetime.now(UTC) - SILENT),
    )
    if alone and connection.execute(alive).first() is not None:
        return _NOT_ALONE
    newest = connection.execute(select(func.max(job.c.id))).scalar_one() or 0
    connection.execute(delete(job).where(job.c.id <= newest - KEPT_MAX))
    values: dict[str, Any] = {
        "kind": str(kind),
        "by": by,
        "began_us": now,
        "noted_us": now,
        **dict.fromkeys(("done", "total", "faults"), 0),
        "why": "",
    }
    return int(connection.execute(insert(job), values).lastrowid)


def _note(
    tx: Transaction,
    number: int | None,
    counts: tuple[int, int, int],
    why: str = "",
    *,
    is_over: bool = False,
) -> None:
    now = to_us(datetime.now(UTC))
    values = dict(zip(("done", "total", "faults"), counts, strict=True))
    ended = {"ended_us": now, "why": why} if is_over else {}
    tx.connection.execute(
        update(job).where(job.c.id == number).values(noted_us=now, **values, **ended)
    )


def _newest(connection: Connection, count: int) -> tuple[Job, ...]:
    rows = connection.execute(select(job).order_by(job.c.id.desc()).limit(count))
    return tuple(
        Job(
            id=row.id,
            kind=Work(row.kind),
            by=row.by,
            began_at=from_us(row.began_us),
            noted_at=from_us(row.noted_us),
            ended_at=None if row.ended_us is None else from_us(row.ended_us),
            done=row.done,
            total=row.total,
            faults=row.faults,
            why=row.why,
        )
        for row in rows
    )
