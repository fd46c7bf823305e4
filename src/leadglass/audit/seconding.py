"""A second process that recomputes leaves while the first one does, too.

One core cannot verify a million records in ten seconds: to decrypt and fetch them takes
four, to hash them two. So a second process of our own reads the database by itself and
says of each run of rows which leaf hashes they give, if they are as they were written.
What it says is held against tree and checkpoints like everything else; what it finds
odd, the first process reads itself. If it does not answer, the first one does it all.

It is told the database's key through a pipe that nobody else has an end of. It ends
with that pipe.
"""

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, NamedTuple, Self

import msgspec

from leadglass.audit.orders import CODE
from leadglass.audit.searchcheck import SearchCheck
from leadglass.audit.verification import Given, part_of, parts, whole
from leadglass.database.engine import Database

# How long it may say nothing before it is taken for dead; some hundred runs of rows
# on a disk that is busy.
SILENCE_S: Final = 60.0
_LENGTH_BYTES: Final = 4
_BOOT: Final = """\
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from leadglass.audit.seconding import main
main()
"""
_ENVIRONMENT: Final = {
    "LC_ALL": "C.UTF-8",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


class _Said(NamedTuple):
    """What is said of the rows of a round.

    Attributes:
        given: Runs of rows, in their order.
        searched: Of those that are whole: what ``SearchCheck.result`` gives.
    """

    given: Sequence[Given]
    searched: tuple[int, int, int]


_GIVEN: Final = msgspec.msgpack.Decoder(Given)
_SEARCHED: Final = msgspec.msgpack.Decoder(tuple[int, int, int])


class Second:
    """The first process's end of it; a context manager, for one thread."""

    def __init__(self, path: Path, key: bytes, secrets: Sequence[int]) -> None:
        self._setup = {"path": str(path), "key": key.hex(), "secrets": list(secrets)}
        self._said: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with suppress(OSError):
            self._process = subprocess.Popen(  # noqa: S603  # our own interpreter
                [sys.executable, "-I", "-c", _BOOT, json.dumps(sys.path)],
                env=_ENVIRONMENT,
                cwd="/",
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            threading.Thread(
                target=self._listen, args=(self._process.stdout,), daemon=True
            ).start()
            self._tell(self._setup)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.drop()

    def drop(self) -> None:
        """End it; whatever is asked afterwards is not answered."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()

    def ask(self, first: int, end: int) -> None:
        """Ask for the records from ``first`` until before ``end``."""
        self._tell({"first": first, "end": end})

    def answer(self) -> _Said | None:
        """Return what was asked for; None: it is not answered, and never again."""
        given: list[Given] = []
        try:
            while self._process is not None:
                said = self._said.get(timeout=SILENCE_S)
                if said is None:
                    break
                if said[:1] == b"\x93":  # a list of three: the end of a round
                    return _Said(given, _SEARCHED.decode(said))
                given.append(_GIVEN.decode(said))
        except (queue.Empty, msgspec.MsgspecError):
            pass
        self.drop()
        return None

    def _tell(self, members: dict[str, Any]) -> None:
        if self._process is None or self._process.stdin is None:
            return
        try:
            self._process.stdin.write(json.dumps(members).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            self.drop()

    def _listen(self, pipe: IO[bytes]) -> None:
        """Take what it says, so that it never waits for us."""
        with suppress(OSError, ValueError):
            while len(length := pipe.read(_LENGTH_BYTES)) == _LENGTH_BYTES:
                self._said.put(pipe.read(int.from_bytes(length, "big")))
        self._said.put(None)


# ── the second process ───────────────────────────────────────────────────────


def main() -> None:
    """Answer what is asked on standard input, until it ends."""
    setup = json.loads(sys.stdin.buffer.readline())
    out = sys.stdout.buffer
    database = Database.open(Path(setup["path"]), bytes.fromhex(setup["key"]))
    try:
        for line in sys.stdin.buffer:
            asked = json.loads(line)
            search = SearchCheck(setup["secrets"])
            for given in _recomputed(database, asked["first"], asked["end"], search):
                _say(out, msgspec.msgpack.encode(given))
            _say(out, msgspec.msgpack.encode(search.result()))
            out.flush()
    finally:
        database.close()


def _say(out: IO[bytes], data: bytes) -> None:
    out.write(len(data).to_bytes(_LENGTH_BYTES, "big") + data)


def _recomputed(
    database: Database, first: int, end: int, search: SearchCheck
) -> Sequence[Given]:
    """Return what the rows of a part give; a run that is odd has no hashes."""
    found: list[Given] = []
    with database.read() as connection:
        for rows in parts(connection, part_of(first, end)):
            behind = rows[-1][0] + 1
            found.append(_given(rows, first, behind, search))
            first = behind
    return found


def _given(
    rows: Sequence[Sequence[Any]], first: int, behind: int, search: SearchCheck
) -> Given:
    hashes = whole(rows, first)
    boots = {row[3] for row in rows}
    if hashes is None or len(boots) != 1:
        return Given(first, behind, b"", 0, (0, 0), (0, 0), ())
    search.expect([row[5] for row in rows], range(first, behind))
    apart = [row[1] - row[2] for row in rows]
    return Given(
        first=first,
        end=behind,
        hashes=b"".join(hashes),
        boot=boots.pop(),
        apart=(min(apart), max(apart)),
        last=(rows[-1][1], rows[-1][2]),
        orders=tuple(tuple(row) for row in rows if row[4] == CODE),
    )
