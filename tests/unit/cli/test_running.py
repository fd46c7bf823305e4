"""Whether a node serves: told by a lock that ends with its process."""

import json
import os
from pathlib import Path

import pytest

from leadglass.cli.running import alone, serving, where
from leadglass.errors import Unavailable

FACTS = {"dimse": "127.0.0.1:2762", "ae_title": "LEADGLASS"}


def test_nobody_serves_a_fresh_folder(tmp_path: Path) -> None:
    assert where(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_what_the_server_told_is_known_while_it_serves(tmp_path: Path) -> None:
    with serving(tmp_path) as tell:
        tell(FACTS)
        assert where(tmp_path) == {**FACTS, "pid": os.getpid()}
    assert where(tmp_path) is None


def test_before_it_listens_it_serves_already(tmp_path: Path) -> None:
    with serving(tmp_path):
        assert where(tmp_path) == {}


def test_two_may_serve(tmp_path: Path) -> None:
    with serving(tmp_path) as first, serving(tmp_path) as second:
        first(FACTS)
        second({"dimse": "127.0.0.1:1"})
        found = where(tmp_path)
    assert found is not None
    assert found["dimse"] == "127.0.0.1:1"


def test_work_alone_waits_for_no_server(tmp_path: Path) -> None:
    with (
        serving(tmp_path),
        pytest.raises(Unavailable, match="stop it first"),
        alone(tmp_path),
    ):
        pytest.fail("it worked although somebody serves")


def test_no_server_starts_while_somebody_works_alone(tmp_path: Path) -> None:
    with (
        alone(tmp_path),
        pytest.raises(Unavailable, match="rebuilt"),
        serving(tmp_path),
    ):
        pytest.fail("it served although somebody works alone")


def test_a_torn_file_is_nobody(tmp_path: Path) -> None:
    with serving(tmp_path):
        (tmp_path / "serving").write_text('{"pid": 4')
        assert where(tmp_path) is None


def test_a_dead_process_is_nobody(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    with serving(tmp_path):
        (tmp_path / "serving").write_text(json.dumps({**FACTS, "pid": child}))
        assert where(tmp_path) is None
