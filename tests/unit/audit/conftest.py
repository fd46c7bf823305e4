"""Fixtures of the audit tests."""

from pathlib import Path

import pytest

from tests.unit.audit.surroundings import Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A data folder with an empty log."""
    made = Home(tmp_path)
    made.prepare()
    return made
