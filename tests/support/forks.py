"""Commands as processes of their own, without the second that each takes to load.

A process that has loaded the program waits; for each command it forks a child, which
has its own memory, folder, environment and standard streams, and ends as it would have
ended. That a command starts from nothing is what ``tests/e2e/test_cli.py`` looks at
beside it.
"""

import atexit
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
TIMEOUT_S: Final = 120.0
_STREAMS: Final = ("stdin", "stdout", "stderr")


class Forks:
    """Runs commands; one for each process of tests."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def run(
        self,
        words: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path | None = None,
        stdin: str = "",
        timeout_s: float = TIMEOUT_S,
    ) -> subprocess.CompletedProcess[str]:
        """Run one command to its end; as ``subprocess.run`` with captured text.

        Raises:
            subprocess.TimeoutExpired: It did not end in time.
        """
        process = self._waiting()
        with tempfile.TemporaryDirectory() as folder:
            files = {name: Path(folder) / name for name in _STREAMS}
            files["stdin"].write_text(stdin, "utf-8")
            asked = {
                "words": list(words),
                "env": dict(env),
                "cwd": str(cwd or Path.cwd()),
                **{name: str(path) for name, path in files.items()},
            }
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps(asked) + "\n")
            process.stdin.flush()
            if not select.select([process.stdout], [], [], timeout_s)[0]:
                self.close()
                raise subprocess.TimeoutExpired(list(words), timeout_s)
            code = int(process.stdout.readline())
            out, errors = (files[name].read_text("utf-8") for name in _STREAMS[1:])
        return subprocess.CompletedProcess(list(words), code, out, errors)

    def _waiting(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.forks"],
                cwd=ROOT,
                env=os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                # What was begun ends with it.
                start_new_session=True,
            )
            atexit.register(self.close)
        return self._process

    def close(self) -> None:
        """End the process that waits, and what it runs."""
        process, self._process = self._process, None
        if process is not None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


FORKS: Final = Forks()


def _load() -> None:
    """Load what commands load: all of them, by the table that names them."""
    from leadglass.cli.commands import COMMANDS  # noqa: PLC0415  # only in the child

    importlib.import_module("leadglass.cli.session")
    for each in COMMANDS:
        module = each.handler.partition(":")[0]
        importlib.import_module(f"leadglass.cli.{module}")


def _answer(asked: Mapping[str, Any]) -> int:
    """Fork, run, and return the exit code."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    code = 1
    try:
        for number, name in enumerate(_STREAMS):
            flags = os.O_RDONLY if name == "stdin" else os.O_WRONLY | os.O_CREAT
            file = os.open(asked[name], flags, 0o600)
            os.dup2(file, number)
            os.close(file)
        os.environ.clear()
        os.environ.update(asked["env"])
        os.chdir(asked["cwd"])
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.argv = ["leadglass", *asked["words"]]
        from leadglass.cli import main as command  # noqa: PLC0415  # loaded before

        code = command()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def main() -> None:
    """Wait for commands on standard input; say their exit codes on standard output."""
    _load()
    told = os.fdopen(os.dup(1), "w", encoding="utf-8")
    for line in sys.stdin:
        code = _answer(json.loads(line))
        told.write(f"{code}\n")
        told.flush()


if __name__ == "__main__":
    main()
