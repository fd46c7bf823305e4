"""Taking the log of another archive in as a trail of its own, so that it is asked too.

A file is known by its hash: the same one again is the same trail. An import that was
cut off goes on when it is run again, since a fact that is there stays as it is.
"""

import json
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final

from sqlalchemy import delete, func, insert, select, update

from leadglass.access.rights import Right
from leadglass.archive.caller import Caller
from leadglass.archive.parts import Parts
from leadglass.assurance.trails.fact import OWN, Fact
from leadglass.assurance.trails.formats import FORMATS
from leadglass.assurance.trails.formats.source import (
    SHOWN_MAX,
    Options,
    Unparsed,
    shown,
)
from leadglass.assurance.trails.reading import TrailInfo, trails
from leadglass.assurance.trails.store import Facts
from leadglass.assurance.trails.tables import fact, trail
from leadglass.audit.events import to_us
from leadglass.database.engine import Transaction
from leadglass.errors import Misconfigured, NotFound, Unavailable

# Facts of one transaction: others wait for it some 50 ms.
_TOGETHER: Final = 1_000
_HASHED_BYTES: Final = 1 << 20
NAME_CHARACTERS_MAX: Final = 200

# (bytes done, bytes in all)
Progress = Callable[[int, int], None]


def _silent(_done: int, _total: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class Source:
    """What is imported.

    Attributes:
        path: The file.
        format: A word of ``FORMATS``.
        name: What the trail is called; "": like the file.
        options: What the log does not say itself.
    """

    path: Path
    format: str
    name: str = ""
    options: Options = Options()  # noqa: RUF009 - a frozen value


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of an import.

    Attributes:
        trail: The trail, as it is now.
        was_there: This file had been imported as a whole before.
    """

    trail: TrailInfo
    was_there: bool


@dataclass(slots=True)
class _Counts:
    facts: int = 0
    unparsed: int = 0
    samples: list[str] | None = None

    def bad(self, found: Unparsed) -> None:
        self.unparsed += 1
        self.samples = self.samples or []
        if len(self.samples) < SHOWN_MAX:
            self.samples.append(f"{found.line}: {found.text}")


@dataclass(frozen=True, slots=True)
class Trails:
    """The use case; every use needs the right ``audit``."""

    parts: Parts
    facts: Facts

    def list(self, caller: Caller) -> tuple[TrailInfo, ...]:
        """Return the trails there are; the lines they show may name patients.

        Raises:
            Refused: ``caller`` may not.
            Unavailable: It cannot be recorded, so it is not told.
        """
        self.parts.require(caller, Right.AUDIT, "audit trails")
        with self.parts.database.read() as connection:
            found = trails(connection)
        self._used(caller, "trails", len(found))
        return found

    def take(
        self, caller: Caller, source: Source, progress: Progress = _silent
    ) -> Imported:
        """Import a file; that it begins is recorded before, how it ended after.

        Raises:
            Refused: ``caller`` may not.
            Misconfigured: There is no such file or format, or an option is missing.
            Unavailable: It cannot go on now; running it again does.
        """
        self.parts.require(caller, Right.AUDIT, "audit import")
        if source.format not in FORMATS:
            raise Misconfigured(
                f"--from {shown(source.format)}: no such format; "
                f"use one of {', '.join(FORMATS)}"
            )
        with _opened(source.path) as stream:
            total = os.fstat(stream.fileno()).st_size
            digest = _digest(stream)
            name = shown(source.name or source.path.name)[:NAME_CHARACTERS_MAX]
            number = self._begun(source.format, name, digest)
            known = self._trail(number)
            if known.is_whole:
                return Imported(known, was_there=True)
            what = f"a foreign log: {name}, {source.format}, SHA-256 {digest}"
            self._used(caller, f"import of {what}", 0)
            stream.seek(0)
            counts = self._read(source, stream, number, lambda at: progress(at, total))
            self.parts.database.write(lambda tx: _end(tx, number, counts))
            self._used(caller, f"imported {what}", counts.facts)
        return Imported(self._trail(number), was_there=False)

    def remove(self, caller: Caller, number: int) -> TrailInfo:
        """Remove a foreign trail with all its facts; that is recorded before.

        Raises:
            Refused: ``caller`` may not.
            NotFound: There is no such trail, or it is our own.
        """
        self.parts.require(caller, Right.AUDIT, "audit trails remove")
        if number == OWN:
            raise NotFound("the own trail is no foreign one; it cannot be removed")
        found = self._trail(number)
        self._used(caller, f"removal of a foreign log: {found.name}", found.facts)
        after = -1
        while numbers := self._numbers(number, after):
            self.parts.database.write(
                partial(self._forget, number=number, some=tuple(numbers))
            )
            after = numbers[-1]
        self.parts.database.write(
            lambda tx: tx.connection.execute(
                delete(trail).where(trail.c.id == number)
            ).close()
        )
        return found

    def _forget(self, tx: Transaction, number: int, some: Sequence[int]) -> None:
        self.facts.forget(tx, some, number)

    def _numbers(self, number: int, after: int) -> Sequence[int]:
        query = (
            select(fact.c.number)
            .where(fact.c.trail == number, fact.c.number > after)
            .order_by(fact.c.number)
            .limit(_TOGETHER)
        )
        with self.parts.database.read() as connection:
            return connection.scalars(query).all()

    def _trail(self, number: int) -> TrailInfo:
        with self.parts.database.read() as connection:
            for each in trails(connection):
                if each.id == number:
                    return each
        raise NotFound("there is no such trail")

    def _begun(self, format_: str, name: str, digest: str) -> int:
        """Return the number of the trail of a file; it is made if there is none."""
        values = {
            "name": name,
            "format": format_,
            "sha256": digest,
            "imported_us": to_us(datetime.now(UTC)),
            "size": 0,
            "unparsed": 0,
            "samples": "[]",
            "is_whole": False,
        }

        def work(tx: Transaction) -> int:
            same = trail.c.sha256 == digest, trail.c.format == format_
            found = tx.connection.scalar(select(trail.c.id).where(*same))
            if found is not None:
                # One that was cut off is called as who goes on with it says.
                tx.connection.execute(
                    update(trail)
                    .where(trail.c.id == found, trail.c.is_whole.is_(False))
                    .values(name=name)
                )
                return int(found)
            highest = tx.connection.scalar(select(func.max(trail.c.id))) or OWN
            tx.connection.execute(insert(trail), {"id": highest + 1, **values})
            return highest + 1

        return self.parts.database.write(work)

    def _read(
        self,
        source: Source,
        stream: BinaryIO,
        number: int,
        progress: Callable[[int], None],
    ) -> _Counts:
        counts = _Counts()
        found = FORMATS[source.format].read(stream, source.options)
        while facts := list(islice(_good(found, counts), _TOGETHER)):
            counts.facts += len(facts)
            self.facts.write([replace(each, trail=number) for each in facts])
            progress(stream.tell())
        return counts

    def _used(self, caller: Caller, use: str, records: int) -> None:
        actor = self.parts.actor(caller)
        self.parts.record(self.parts.events.audit_log_used(actor, use, records))


def _good(found: Iterator[Fact | Unparsed], counts: _Counts) -> Iterator[Fact]:
    """Yield the facts; count the rest."""
    for each in found:
        if isinstance(each, Unparsed):
            counts.bad(each)
        else:
            yield each


def _end(tx: Transaction, number: int, counts: _Counts) -> None:
    values = {
        "size": counts.facts,
        "unparsed": counts.unparsed,
        "samples": json.dumps(counts.samples or []),
        "is_whole": True,
    }
    tx.connection.execute(update(trail).where(trail.c.id == number).values(**values))


def _opened(path: Path) -> BinaryIO:
    """Open a regular file; a pipe or a device could have no end.

    Raises:
        Misconfigured: It is none, or cannot be read.
    """
    try:
        # Without O_NONBLOCK a pipe would wait for somebody to write.
        stream = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb")
    except OSError as error:
        raise Misconfigured(f"{shown(str(path))}: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        stream.close()
        raise Misconfigured(f"{shown(str(path))}: no file")
    return stream


def _digest(stream: BinaryIO) -> str:
    found = sha256()
    try:
        while piece := stream.read(_HASHED_BYTES):
            found.update(piece)
    except OSError as error:
        raise Unavailable("the log cannot be read") from error
    return found.hexdigest()
