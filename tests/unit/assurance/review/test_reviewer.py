"""A review that is stopped and goes on says what one that never stopped says."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leadglass.assurance.review.memory import Memory
from leadglass.assurance.review.reviewer import Reviewer
from leadglass.assurance.trails.fact import Fact
from leadglass.errors import BadData
from tests.unit.assurance.review.scenes import SCENES, facts, world


def _everything() -> list[Fact]:
    """Return all scenes as one trail; its clock goes back between them."""
    return list(facts([draft for scene in SCENES for draft in scene.loud]))


FACTS = _everything()


@settings(max_examples=8, deadline=None)
@given(cut=st.integers(0, len(FACTS)))
def test_going_on_after_a_restart_gives_the_same_alerts(cut: int) -> None:
    known = world(is_canary=True)
    whole = Reviewer(known)
    expected = [alert for fact in FACTS for alert in whole.take(fact)]

    first = Reviewer(known)
    got = [alert for fact in FACTS[:cut] for alert in first.take(fact)]
    second = Reviewer(known, memory=Memory.load(first.memory.save()))
    got += [alert for fact in FACTS[cut:] for alert in second.take(fact)]

    assert got == expected
    assert second.memory.save() == whole.memory.save()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version":9,"shelves":{}}'])
def test_what_is_no_memory_is_refused(text: str) -> None:
    with pytest.raises(BadData):
        Memory.load(text)
