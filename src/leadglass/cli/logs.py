"""The operators' log on stderr: text for eyes or JSON lines, never patient data.

What our own code logs holds none. The text of an exception that nobody expected may
hold anything, so of these only kind and place are written.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from types import TracebackType

from leadglass.cli.failures import places
from leadglass.config import Log


class _Discreet(logging.Formatter):
    """Writes of an exception what it is and where, not what it says."""

    def formatException(  # noqa: N802  # the name that logging calls
        self,
        ei: tuple[type[BaseException], BaseException, TracebackType | None]
        | tuple[None, None, None],
    ) -> str:
        error = ei[1]
        if error is None:
            return ""
        return f"{type(error).__name__} at {places(error)}"


class _Json(_Discreet):
    """One object a line."""

    def format(self, record: logging.LogRecord) -> str:
        members = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info and record.exc_info[0] is not None:
            members["exception"] = self.formatException(record.exc_info)
        return json.dumps(members)


def start_logging(settings: Log, *, least: str = "") -> None:
    """Send the log to stderr; ``least`` raises the level for short commands."""
    handler = logging.StreamHandler(sys.stderr)
    if settings.format == "json":
        handler.setFormatter(_Json())
    else:
        handler.setFormatter(
            _Discreet("%(asctime)s %(levelname)s %(name)s: %(message)s")
        )
    level = max(
        logging.getLevelNamesMapping()[name.upper()]
        for name in (settings.level, least or settings.level)
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # Libraries log what they are given, which may be data of patients.
    for name in ("alembic", "pydicom", "sqlalchemy"):
        logging.getLogger(name).setLevel(logging.ERROR)
