"""Feeds of a simulated hospital are those that the review of a node reads."""

from dataclasses import replace
from pathlib import Path

import pytest

from leadglass.assurance.review.known import read_feeds
from leadglass.assurance.simulation.draft import Label
from leadglass.assurance.simulation.feeds import feeds
from leadglass.assurance.simulation.lines import Learned
from leadglass.assurance.simulation.scale import Scale
from leadglass.assurance.simulation.simulation import Simulation
from leadglass.assurance.trails.fact import Fact


def test_a_node_reads_what_was_known(tmp_path: Path) -> None:
    learned = Learned()
    with feeds(tmp_path / "feeds") as write:
        for line in Simulation(Scale(seed=4, beds=20, days=3)).lines():
            if not isinstance(line, Fact | Label):
                write(line)
                learned.take(line)
    read, world = read_feeds(tmp_path / "feeds"), learned.world
    assert not any(read.skipped.values())
    assert read.world.on_duty == world.on_duty
    assert read.world.in_care == world.in_care
    assert read.world.people == {
        # Devices are known from the register, accounts from theirs.
        name: replace(each, kind="person", created=None)
        for name, each in world.people.items()
    }
    assert read.world.patients == {
        # Names, birth dates and decoys are the node's own.
        id_: replace(each, surname="", born=None, is_canary=False)
        for id_, each in world.patients.items()
    }


def test_a_folder_that_is_there_is_kept(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError), feeds(tmp_path):
        pass
    assert not list(tmp_path.iterdir())
