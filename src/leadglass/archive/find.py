"""Answering questions: who may ask what, and the record of what was told.

An answer leaves only after the record that names the studies in it is durable, so
a breach can be bounded by what the record says, and by what it does not say.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice

from leadglass.access.rights import Right
from leadglass.archive.caller import Caller
from leadglass.archive.parts import Parts
from leadglass.audit.builders import Question, Result
from leadglass.audit.codes import Outcome
from leadglass.errors import LeadglassError, Unavailable
from leadglass.index.query import Query, Root, Row

# What a door says and hears of the index; it cannot reach the index itself.
__all__ = ["Find", "Page", "Query", "Root", "Row", "TooManyAnswers"]

# Answers that are recorded together, and so held in memory together; about 1 MB.
_ANSWERS_PER_RECORD = 500


class TooManyAnswers(Unavailable):
    """More matched than this node tells in one answer."""


@dataclass(slots=True)
class Page:
    """A part of the answers.

    Attributes:
        limit: The most that it holds.
        rows: The answers; each is on the record before it is given.
        has_more: Whether there are more behind them; known once ``rows`` has ended.
    """

    limit: int
    rows: Iterator[Row] = field(default_factory=lambda: iter(()))
    has_more: bool = False


@dataclass(frozen=True, slots=True)
class Find:
    """The use case.

    Attributes:
        parts: The collaborators.
        result_count_max: Answers to one query.
    """

    parts: Parts
    result_count_max: int

    def __call__(
        self, caller: Caller, query: Query, question: Question
    ) -> Iterator[Row]:
        """Yield the answers to ``query``; its own scopes are replaced.

        Args:
            caller: Who asks.
            query: The question as the index understands it.
            question: The question as it came, for the record.

        Raises:
            Refused: ``caller`` may not ask.
            TooManyAnswers: After ``result_count_max`` answers there are more.
            Unavailable: The node cannot record, so it does not tell.
        """
        scopes = self.parts.require(caller, Right.FIND, question.service)
        limit = self.result_count_max + 1
        if query.limit is not None:
            limit = min(limit, query.limit)
        bounded = replace(query, scopes=scopes, limit=limit)
        told = 0
        try:
            with self.parts.database.read() as connection:
                rows = self.parts.index.find(connection, bounded)
                while True:
                    part = list(islice(rows, _ANSWERS_PER_RECORD))
                    if told + len(part) > self.result_count_max:
                        raise TooManyAnswers(  # recorded below
                            f"more than {self.result_count_max} answers; ask for less"
                        )
                    if part or not told:
                        self._record(caller, question, part)
                    yield from part
                    told += len(part)
                    if len(part) < _ANSWERS_PER_RECORD:
                        return
        except LeadglassError as error:
            self._record_failure(caller, question, told, error)
            raise

    def page(self, caller: Caller, query: Query, question: Question) -> "Page":
        """Return a part of the answers, as much as is asked for and may be told.

        Args: As for a call. ``query.limit`` may be more than this node tells.

        Raises:
            Refused: ``caller`` may not ask; and what follows while it is read.
            Unavailable: The node cannot record, so it does not tell.
        """
        scopes = self.parts.require(caller, Right.FIND, question.service)
        limit = self.result_count_max
        if query.limit is not None:
            limit = min(limit, query.limit)
        page = Page(limit)
        bounded = replace(query, scopes=scopes, limit=limit + 1)
        page.rows = self._page(caller, bounded, question, page)
        return page

    def _page(
        self, caller: Caller, bounded: Query, question: Question, page: "Page"
    ) -> Iterator[Row]:
        told = 0
        try:
            with self.parts.database.read() as connection:
                rows = self.parts.index.find(connection, bounded)
                wanted = islice(rows, page.limit)
                while part := list(islice(wanted, _ANSWERS_PER_RECORD)):
                    self._record(caller, question, part)
                    yield from part
                    told += len(part)
                if not told:
                    self._record(caller, question, [])
                page.has_more = next(rows, None) is not None
        except LeadglassError as error:
            self._record_failure(caller, question, told, error)
            raise

    def turn_away(
        self, caller: Caller, question: Question, error: LeadglassError
    ) -> None:
        """Record a question that could not even be understood.

        Raises:
            Refused: ``caller`` may not ask; that is what is recorded then.
        """
        self.parts.require(caller, Right.FIND, question.service)
        self._record_failure(caller, question, 0, error)

    def _record_failure(
        self, caller: Caller, question: Question, told: int, error: LeadglassError
    ) -> None:
        self.parts.try_to_record(
            *self.parts.events.query(
                self.parts.actor(caller),
                question,
                (),
                Result(Outcome.MINOR_FAILURE, str(error), {"told": told}),
            )
        )

    def _record(self, caller: Caller, question: Question, rows: list[Row]) -> None:
        self.parts.record(
            *self.parts.events.query(
                self.parts.actor(caller),
                question,
                ((row.uids.patient_id, row.uids.study_uid or "") for row in rows),
                Result(counts={"answers": len(rows)}),
            )
        )
