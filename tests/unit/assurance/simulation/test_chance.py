"""Names, addresses and counts that chance gives."""

from statistics import fmean

import pytest

from leadglass.assurance.simulation import chance
from leadglass.dicom.personname import fold


def test_a_stream_is_the_same_for_the_same_seed_and_part() -> None:
    draws = [chance.stream(7, "day", 3).random() for _ in range(2)]
    assert draws[0] == draws[1]
    assert draws[0] != chance.stream(7, "day", 4).random()
    assert draws[0] != chance.stream(8, "day", 3).random()


def test_names_are_folded_and_some_are_frequent() -> None:
    names = chance.surnames(chance.stream(1, "names"))
    assert len(set(names.names)) == chance.SURNAMES
    assert all(fold(each) == each for each in names.names)
    draw = chance.stream(2, "draws")
    drawn = [names.draw(draw) for _ in range(5_000)]
    assert set(drawn) <= set(names.names)
    assert drawn.count(names.names[0]) > 10 * drawn.count(names.names[-1])


def test_an_address_is_a_postcode_and_a_street() -> None:
    homes = chance.addresses(chance.stream(1, "homes"))
    assert all(fold(each) == each for each in homes.names)
    assert all(each[:5].isdigit() and each[5] == " " for each in homes.names)


@pytest.mark.parametrize("mean", [0.2, 3.0, 80.0])
def test_counts_have_their_mean(mean: float) -> None:
    draw = chance.stream(3, "counts", mean)
    counts = [chance.happens(draw, mean) for _ in range(3_000)]
    assert fmean(counts) == pytest.approx(mean, rel=0.15)
    assert min(counts) >= 0


def test_nothing_happens_that_never_happens() -> None:
    draw = chance.stream(3, "never")
    assert sum(chance.happens(draw, 0.0) for _ in range(100)) == 0


def test_uids_are_valid_and_differ() -> None:
    uids = {chance.uid(number, root=7) for number in range(1_000)}
    assert len(uids) == 1_000
    assert all(len(each) <= 64 and each.startswith("2.25.") for each in uids)
