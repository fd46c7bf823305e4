"""Status tables."""

from itertools import pairwise

import pytest
from pynetdicom.status import code_to_category

from leadglass.wire.status import GENERAL, SERVICES, Category, Status, category, explain

ROWS = [row for rows in (*SERVICES.values(), GENERAL) for row in rows]


@pytest.mark.parametrize("row", ROWS)
def test_the_rule_agrees_with_every_row(row: Status) -> None:
    for code in {row.first, row.last}:
        assert category(code) is row.category
        assert code_to_category(code).lower() == row.category.value


@pytest.mark.parametrize("service", SERVICES)
def test_no_code_has_two_rows_in_one_service(service: str) -> None:
    rows = sorted(SERVICES[service], key=lambda row: row.first)
    assert all(one.last < other.first for one, other in pairwise(rows))


def test_the_service_speaks_before_the_general_table() -> None:
    pending = explain("C-MOVE", 0xFF00)
    assert pending is not None
    assert pending.meaning.startswith("Sub-operations")
    refused = explain("C-STORE", 0x0124)
    assert refused is not None
    assert refused.meaning == "Refused: not authorized"
    assert explain("C-ECHO", 0x7777) is None


def test_an_unknown_code_is_a_failure() -> None:
    assert category(0x7777) is Category.FAILURE


def test_a_row_checks_itself() -> None:
    with pytest.raises(ValueError, match="ascend"):
        Status(2, 1, Category.FAILURE, "")
