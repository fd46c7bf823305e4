"""A simulation survives its file, and a broken file is refused."""

import io
import json

import pytest

from leadglass.assurance.simulation import lines
from leadglass.assurance.simulation.draft import Label
from leadglass.assurance.simulation.scale import Scale
from leadglass.assurance.simulation.simulation import Line, Simulation
from leadglass.assurance.trails.fact import Fact
from leadglass.errors import BadData

SCALE = Scale(seed=3, beds=20, days=10)


@pytest.fixture(scope="module")
def written() -> tuple[str, list[Line]]:
    stream = io.StringIO()
    every = list(lines.write(Simulation(SCALE).lines(), SCALE, stream))
    return stream.getvalue(), every


def test_every_line_comes_back(written: tuple[str, list[Line]]) -> None:
    text, every = written
    scale, read = lines.read(io.StringIO(text))
    assert scale == SCALE
    assert list(read) == every


def test_each_line_says_in_one_word_what_it_is(
    written: tuple[str, list[Line]],
) -> None:
    words = [next(iter(json.loads(each))) for each in written[0].splitlines()[1:]]
    assert set(words) == {
        *("person", "patient", "study", "shift", "stay", "fact", "label"),
    }


def test_facts_alone_can_be_taken_as_a_trail(written: tuple[str, list[Line]]) -> None:
    text, every = written
    facts = [
        Fact.of({"trail": 0, **members["fact"]})
        for members in map(json.loads, text.splitlines())
        if "fact" in members
    ]
    assert facts == [each for each in every if isinstance(each, Fact)]


def test_knowledge_grows_to_what_was_said(written: tuple[str, list[Line]]) -> None:
    learned = lines.Learned()
    for line in written[1]:
        if not isinstance(line, Fact | Label):
            learned.take(line)
    world = learned.world
    studies = [each for each in world.by_uid.values() if each.patient_id]
    for study in studies:
        assert study in world.studies_of(study.patient_id)
        assert world.patient(study.patient_id)
    for name, shifts in world.on_duty.items():
        assert world.person(name)
        assert list(shifts) == sorted(shifts)


HEADER = json.dumps(lines.header(SCALE)) + "\n"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        '{"format": "leadglass-simulation", "version": 2}',
        HEADER.replace("20,", "1e99,"),
        HEADER.replace("2026-01-05", "yesterday"),
        "[" * 100_000,
    ],
)
def test_what_has_no_header_is_no_simulation(text: str) -> None:
    with pytest.raises(BadData):
        lines.read(io.StringIO(text))


@pytest.mark.parametrize(
    "line",
    [
        "no json",
        "[]",
        "3",
        "{}",
        '{"fact": {}, "label": {}}',
        '{"wonder": {}}',
        '{"fact": 3}',
        '{"fact": {"number": 1, "kind": "query", "time": "never", "ending": 0}}',
        '{"label": {"rules": []}}',
        '{"person": {"name": ""}}',
        '{"person": {"name": "a", "os": "b"}}',
        '{"study": {"uid": "1", "performed": 7}}',
        '{"shift": ["a", "b"]}',
        '{"stay": null}',
        '{"patient": []}',
        '{"patient": {"patient_id": "P", "last_seen": "0001-01-01T00:00:00+10:00"}}',
        '{"fact": {"number": 1e999, "kind": "echo", "time": "2026-01-05"}}',
        '{"fact": ' + "[" * 100_000,
    ],
)
def test_a_broken_line_ends_the_reading(line: str) -> None:
    _, read = lines.read(io.StringIO(HEADER + line))
    with pytest.raises(BadData):
        list(read)


def test_an_endless_line_is_not_read_to_its_end() -> None:
    endless = HEADER + '{"fact":"' + "x" * lines.LINE_CHARACTERS_MAX * 2
    stream = io.StringIO(endless)
    _, read = lines.read(stream)
    with pytest.raises(BadData):
        list(read)
    assert stream.tell() <= len(HEADER) + lines.LINE_CHARACTERS_MAX
