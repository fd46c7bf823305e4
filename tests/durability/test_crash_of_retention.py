"""``kill -9`` before any statement of pruning and erasing: whole portions or none."""

import json
import signal
import subprocess
import sys
from pathlib import Path

from tests.durability.retention_acts import MANY
from tests.support.node import ROOT
from tests.unit.archive.test_retention import OLD

# Every 40th of some hundred: within each kind of portion, and between them.
STEP = 40
TIMEOUT_S = 120
OLD_ALL = OLD + 512


def test_whenever_it_is_killed_the_log_is_intact_and_it_goes_on(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.durability.retention_acts", tmp_path, str(STEP)],
        cwd=ROOT,
        capture_output=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, done.stderr.decode()
    *killed, whole = json.loads(done.stdout)
    assert [each["status"] for each in killed] == [signal.SIGKILL] * len(killed)
    assert len(killed) >= 3
    assert whole["status"] == 0
    states = set()
    for each in (*killed, whole):
        assert each["looked"] == 0, done.stderr.decode()
        before, after = each["killed"], each["ended"]
        assert before["findings"] == after["findings"] == []
        # A portion is there whole: four tiles, two; 256 records, the rest.
        assert before["pruned"] in {0, OLD, OLD_ALL}
        assert before["named"] + before["erased"] == MANY
        assert before["named"] in {MANY, MANY - 256, 0}
        assert (after["pruned"], after["named"]) == (OLD_ALL, 0)
        assert (after["erased"], after["is_done"]) == (MANY, True)
        states.add((before["pruned"], before["named"]))
    assert len(states) >= 3
