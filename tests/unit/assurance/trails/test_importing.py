"""Taking the log of another archive in: once, whole, on the record, and out again."""

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from leadglass.access.policy import Kind as SubjectKind
from leadglass.access.policy import Subject
from leadglass.app import Node
from leadglass.archive.caller import Caller
from leadglass.assurance.trails import importing, reading
from leadglass.assurance.trails.fact import Fact, Kind
from leadglass.assurance.trails.formats.source import Options
from leadglass.assurance.trails.importing import Source
from leadglass.audit.codes import EventID
from leadglass.audit.search import Search
from leadglass.errors import Misconfigured, NotFound, Refused, Unavailable
from tests.support.node import RunningNode

HEAD = "time,kind,who,patient\n"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """One node for all: each test imports a file of its own."""
    running = RunningNode(tmp_path_factory.mktemp("trails") / "data")
    running.init()
    with running.open() as opened:
        yield opened


def rows(count: int, who: str) -> str:
    return "".join(
        f"2026-01-01T00:{n // 60:02}:{n % 60:02}Z,view,{who},P{n}\n"
        for n in range(count)
    )


def source(path: Path, text: str, **more: object) -> Source:
    path.write_text(HEAD + text)
    return Source(path, "csv", **more)  # type: ignore[arg-type]


def stored(node: Node, trail: int) -> list[Fact]:
    with node.database.read() as connection:
        return list(reading.facts(connection, of=trail))


def uses(node: Node) -> list[tuple[str, str]]:
    """Return what the record says of the use of logs."""
    search = Search(event=EventID.AUDIT_LOG_USED)
    facts = [each.event.objects[0].details for each in node.audit.list(search)]
    return [(dict(each)["use"], dict(each)["records"]) for each in facts]


def test_a_log_is_a_trail_and_its_import_is_on_the_record(
    node: Node, tmp_path: Path
) -> None:
    told: list[tuple[int, int]] = []
    text = rows(3, "alice") + "no time,view,bob,\x1b[2J\n"
    found = node.trails.take(
        node.operator,
        source(tmp_path / "a.csv", text, name="old PACS"),
        lambda done, total: told.append((done, total)),
    )
    trail = found.trail
    assert (trail.name, trail.format, trail.facts, trail.unparsed) == (
        *("old PACS", "csv"),
        *(3, 1),
    )
    assert trail.is_whole
    assert trail.samples == ("5: no time,view,bob,\N{REPLACEMENT CHARACTER}[2J",)
    facts = stored(node, trail.id)
    assert [each.touched[0].patient for each in facts] == ["P0", "P1", "P2"]
    assert told[-1][0] == told[-1][1]
    (first, none), (last, count) = uses(node)[-2:]
    assert first.startswith("import of a foreign log: old PACS, csv, SHA-256 ")
    assert (none, last.split(":")[0], count) == ("0", "imported a foreign log", "3")


def test_the_same_file_is_the_same_trail(node: Node, tmp_path: Path) -> None:
    one = node.trails.take(node.operator, source(tmp_path / "b.csv", rows(2, "bob")))
    two = node.trails.take(node.operator, source(tmp_path / "c.csv", rows(2, "bob")))
    assert (one.was_there, two.was_there) == (False, True)
    assert one.trail == two.trail
    assert len(stored(node, one.trail.id)) == 2


def test_an_import_that_was_cut_off_goes_on(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "_TOGETHER", 5)
    log = source(tmp_path / "d.csv", rows(12, "carol"))

    def cut(done: int, _total: int) -> None:
        if len(stored(node, _newest(node))) >= 10:
            raise Unavailable("cut off")

    with pytest.raises(Unavailable):
        node.trails.take(node.operator, log, cut)
    number = _newest(node)
    assert len(stored(node, number)) == 10
    (half,) = [each for each in node.trails.list(node.operator) if each.id == number]
    assert not half.is_whole
    found = node.trails.take(node.operator, log)
    assert (found.trail.id, found.trail.facts, found.was_there) == (number, 12, False)
    assert [each.number for each in stored(node, number)] == list(range(2, 14))


def _newest(node: Node) -> int:
    with node.database.read() as connection:
        return max(each.id for each in reading.trails(connection))


def test_a_trail_goes_with_its_names(node: Node, tmp_path: Path) -> None:
    text = "2026-01-01T00:00:00Z,view,mallory,ONLY-HERE\n"
    found = node.trails.take(node.operator, source(tmp_path / "e.csv", text))
    removed = node.trails.remove(node.operator, found.trail.id)
    assert removed.facts == 1
    assert stored(node, found.trail.id) == []
    with node.database.read() as connection:
        assert reading.id_of(connection, "ONLY-HERE") is None
        assert reading.id_of(connection, "mallory") is None
    assert uses(node)[-1][0].startswith("removal of a foreign log: e.csv")
    for number in (found.trail.id, 0):
        with pytest.raises(NotFound):
            node.trails.remove(node.operator, number)


def test_who_may_not_read_the_record_imports_nothing(
    node: Node, tmp_path: Path
) -> None:
    stranger: Caller = replace(
        node.operator, subject=Subject(SubjectKind.DEVICE, "ct-1")
    )
    log = source(tmp_path / "f.csv", rows(1, "x"))
    with pytest.raises(Refused):
        node.trails.take(stranger, log)
    with pytest.raises(Refused):
        node.trails.list(stranger)
    with pytest.raises(Refused):
        node.trails.remove(stranger, 1)


def test_what_is_no_file_is_not_opened(node: Node, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, tmp_path, tmp_path / "none", Path("/dev/zero")):
        with pytest.raises(Misconfigured):
            node.trails.take(node.operator, Source(path, "csv"))
    with pytest.raises(Misconfigured, match="use one of"):
        node.trails.take(node.operator, Source(pipe, "exe"))


def test_a_missing_option_leaves_nothing_that_looks_whole(
    node: Node, tmp_path: Path
) -> None:
    text = "2026-01-01T00:00:00,view,dave,P1\n"
    log = source(tmp_path / "g.csv", text)
    with pytest.raises(Misconfigured, match="--zone"):
        node.trails.take(node.operator, log)
    found = node.trails.take(node.operator, replace(log, options=Options(zone=UTC)))
    (fact,) = stored(node, found.trail.id)
    assert fact.time == datetime(2026, 1, 1, tzinfo=UTC)


def test_our_own_record_is_beside_them(node: Node) -> None:
    node.facts.take_all(node.audit)
    own = node.trails.list(node.operator)[0]
    assert (own.is_own, own.name) == (True, "own")
    assert Kind.AUDIT_READ in {each.kind for each in stored(node, 0)}
    assert json.dumps([each.members() for each in stored(node, 0)])
