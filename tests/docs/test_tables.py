"""Pages that are made from the code say what the code says."""

from pathlib import Path

import pytest

from tests.docs import tables


@pytest.mark.parametrize("page", tables.PAGES, ids=lambda page: page.name)
def test_tables_are_those_of_the_code(page: Path) -> None:
    text = page.read_text("utf-8")
    assert tables.filled(text) == text, "run: python -m tests.docs.tables"


def test_every_table_is_on_a_page() -> None:
    found = [
        name for page in tables.PAGES for name in tables.names_in(page.read_text())
    ]
    assert sorted(found) == sorted(tables.TABLES)


def test_every_builder_of_events_is_on_the_page() -> None:
    assert set(tables.EXAMPLES) == tables.builders()
    assert set(tables.PEOPLE_EXAMPLES) == tables.people_builders()
