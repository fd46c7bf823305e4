"""A node in this process; its fixtures are those of the use cases."""

from tests.unit.archive.conftest import (
    home,
    ingest,
    limits,
    operator,
    parts,
    rules,
    stranger,
)

__all__ = ["home", "ingest", "limits", "operator", "parts", "rules", "stranger"]
