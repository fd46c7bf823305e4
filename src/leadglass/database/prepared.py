"""Statements that run for every instance that arrives."""

from collections.abc import Callable, Iterable, Mapping
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.sql import ClauseElement


class Prepared:
    """A statement that is compiled once and then handed to the driver as it is.

    SQLAlchemy takes 50 µs around each statement, the driver 6: with half a dozen
    statements for each instance that is worth skipping, and nothing else is. Values
    and rows are the driver's own; a boolean may come back as an integer.

    Errors of the driver become ours in ``Database``, like all others.
    """

    __slots__ = ("_compiled", "_statement")

    def __init__(self, statement: ClauseElement) -> None:
        self._statement = statement
        self._compiled: dict[str, tuple[str, _Arrange]] = {}

    def execute(self, connection: Connection, values: Mapping[str, Any]) -> DBAPICursor:
        """Run it once; every parameter must be in ``values``."""
        text, arrange = self._for(connection)
        cursor = connection.connection.cursor()
        cursor.execute(text, arrange(values))
        return cursor

    def execute_many(
        self, connection: Connection, many: Iterable[Mapping[str, Any]]
    ) -> None:
        """Run it for each; nothing is returned."""
        text, arrange = self._for(connection)
        connection.connection.cursor().executemany(text, [*map(arrange, many)])

    def _for(self, connection: Connection) -> "tuple[str, _Arrange]":
        name = connection.dialect.name
        found = self._compiled.get(name)
        if found is None:
            compiled: Any = self._statement.compile(dialect=connection.dialect)
            order = compiled.positiontup if compiled.positional else None
            found = self._compiled[name] = (str(compiled), _arrangement(order))
        return found


_Arrange = Callable[[Mapping[str, Any]], Any]


def _arrangement(order: list[str] | None) -> _Arrange:
    """Return what puts values into the order that the driver wants."""
    if order is None:
        return lambda values: values
    if len(order) == 1:
        (only,) = order
        return lambda values: (values[only],)
    return itemgetter(*order) if order else lambda _values: ()
