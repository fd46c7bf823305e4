"""``leadglass simulate``: files of an invented hospital."""

import json
from pathlib import Path

import pytest

from leadglass.assurance.simulation import lines
from leadglass.assurance.simulation.draft import Label
from leadglass.assurance.trails.fact import Fact
from leadglass.cli import main
from leadglass.cli.commands import COMMANDS

KEYS = {each.name: set(each.answer) for each in COMMANDS}
SMALL = ("--beds", "20", "--days", "8")


def simulate(path: Path, *more: str) -> int:
    return main(["simulate", "hospital", "--out", str(path), *SMALL, *more, "--json"])


def test_the_same_seed_gives_the_same_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert simulate(tmp_path / "a", "--seed", "5") == 0
    said = json.loads(capsys.readouterr().out)
    assert simulate(tmp_path / "b", "--seed", "5") == 0
    text = (tmp_path / "a").read_text()
    assert text == (tmp_path / "b").read_text()
    with (tmp_path / "a").open() as stream:
        scale, every = lines.read(stream)
        read = list(every)
    assert (scale.seed, scale.beds, scale.days) == (5, 20, 8)
    assert said["lines"] == len(read) == text.count("\n") - 1
    assert said["facts"] == sum(isinstance(each, Fact) for each in read)
    assert said["attacks"] == sum(isinstance(each, Label) for each in read) > 0


def test_without_a_seed_each_file_is_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in "ab":
        assert simulate(tmp_path / name, "--light") == 0
    seeds = [json.loads(each)["seed"] for each in capsys.readouterr().out.splitlines()]
    assert seeds[0] != seeds[1]
    assert (tmp_path / "a").read_bytes() != (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    ("dialect", "begin"),
    [("fhir", '{"resourceType": "AuditEvent"'), ("csv", "time,")],
)
def test_a_trail_alone_has_no_truth_in_it(
    tmp_path: Path, dialect: str, begin: str
) -> None:
    words = ("--seed", "5", "--days", "1", "--as", dialect)
    assert simulate(tmp_path / "trail", *words) == 0
    text = (tmp_path / "trail").read_text()
    assert text.startswith(begin)
    assert "snooping" not in text


def test_feeds_are_written_beside(tmp_path: Path) -> None:
    words = ("--days", "1", "--feeds", str(tmp_path / "feeds"))
    assert simulate(tmp_path / "a", *words) == 0
    assert {each.name for each in (tmp_path / "feeds").iterdir()} == {
        *("staff.csv", "patients.csv", "shifts.csv", "stays.csv"),
    }
    assert simulate(tmp_path / "b", *words) == 2


def test_nothing_is_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "kept").write_text("mine")
    assert simulate(tmp_path / "kept") != 0
    assert (tmp_path / "kept").read_text() == "mine"
    assert "error" in json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    "wrong", [("--beds", "1"), ("--days", "0"), ("--as", "morse"), ("--seed", "x")]
)
def test_what_makes_no_sense_writes_nothing(
    tmp_path: Path, wrong: tuple[str, str]
) -> None:
    assert simulate(tmp_path / "none", *wrong) != 0
    assert not (tmp_path / "none").exists()


def test_a_folder_that_is_not_there_is_no_crash(tmp_path: Path) -> None:
    assert simulate(tmp_path / "no" / "such") not in {0, 1}


def test_a_file_is_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "hospital"
    assert simulate(path, "--seed", "5") == 0
    capsys.readouterr()
    assert main(["simulate", "judge", str(path), "--json"]) == 0
    judged = json.loads(capsys.readouterr().out)
    assert set(judged) == KEYS["simulate judge"]
    assert judged["scripts"] >= judged["found"] > 0
    assert sum(each["alerts"] for each in judged["rules"]) == judged["alerts"]
    assert main(["simulate", "judge", str(path)]) == 0
    text = capsys.readouterr().out
    assert f"{judged['found']} of {judged['scripts']} attacks found" in text
    assert all(each["rule"] in text for each in judged["rules"])


@pytest.mark.parametrize("content", [b"", b"{}\n", b"\xff\xfe\x00", b"[" * 100_000])
def test_another_file_is_bad_data(
    tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_bytes(content)
    assert main(["simulate", "judge", str(tmp_path / "file"), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["error"]["kind"] == "bad data"


def test_a_file_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    assert main(["simulate", "judge", str(tmp_path / "none"), "--json"]) == 4


def test_thresholds_can_be_tried(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "hospital"
    assert simulate(path, "--seed", "5") == 0

    def alerts(*words: str) -> dict[str, int]:
        capsys.readouterr()
        assert main(["simulate", "judge", str(path), *words, "--json"]) == 0
        judged = json.loads(capsys.readouterr().out)
        return {each["rule"]: each["alerts"] for each in judged["rules"]}

    plain = alerts()
    other = alerts("--threshold", "R-01=2", "R-16=1000", "--off", "R-14", "R-24")
    assert other["R-01"] > plain["R-01"]
    assert plain["R-14"] > 0
    assert (other["R-14"], other["R-24"]) == (0, 0)


@pytest.mark.parametrize(
    "words",
    [
        ("--threshold", "R-01"),
        ("--threshold", "R-01=many"),
        ("--threshold", "R-01=nan"),
        ("--threshold", "R-99=1"),
        ("--off", "R-99"),
    ],
)
def test_a_threshold_that_is_none_is_told(
    tmp_path: Path, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", "judge", str(tmp_path / "f"), *words, "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["kind"] == "usage"
