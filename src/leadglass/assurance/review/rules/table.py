"""All rules, as one table in order of their ids."""

from typing import Final

from leadglass.assurance.review.look import Rule
from leadglass.assurance.review.rules import (
    amounts,
    habits,
    places,
    record,
    relations,
)

RULES: Final[tuple[Rule, ...]] = tuple(
    sorted(
        (
            *relations.RULES,
            *habits.RULES,
            *amounts.RULES,
            *places.RULES,
            *record.RULES,
        ),
        key=lambda each: each.id,
    )
)
BY_ID: Final = {each.id: each for each in RULES}
