"""What a disk holds after a power cut, from what a process asked the kernel to do.

``strace`` records every system call that changes files below a folder, or makes
them durable: when it begins and when it ends, in the order in which it stops the
threads and lets them go on. From that, and a copy of the folder as it was before,
``Recording.after_cut`` makes the folder as it may be when the power goes at a given
moment:

- the bytes of a file are those at its last ``fsync`` or ``fdatasync`` that ended;
  of each later write any 4 KiB page may be there or not, in any order, also beyond
  the old end of the file (zeros are then before it)
- the names in a folder are those at the last ``fsync`` of that folder; each later
  creation, removal and renaming may have happened or not

What the model takes for granted, as ext4, XFS, btrfs and ZFS give it:

- a rename happens whole or not, also from folder to folder, and either folder's
  ``fsync`` makes it durable
- ``fdatasync`` keeps the length of a file too, when data was appended
- a write within one page is not torn (4 KiB: what the page cache writes at once);
  the disk obeys flushes and does not lose what it confirmed

What it does not: that names are kept in the order they were made (a journal does
that), or that an ``fsync`` of a file keeps its name.

Files that are mapped into memory and written there are invisible to it: SQLite's
``-shm`` alone, whose content is random after a cut.

A moment is a place in the recording, not a time: between two readings of a clock
``strace`` may wait for the processor, and two threads' calls change places. Times only
say where in it something else happened, as an answer that a sender heard; a recording
during which the clock was set is made again.
"""

import os
import random
import re
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Final

STRACE: Final = "/usr/bin/strace"
_CALLS: Final = (
    *("open", "openat", "creat", "close", "dup", "dup2", "dup3", "lseek"),
    *("write", "pwrite64", "writev", "pwritev", "pwritev2", "sendfile"),
    *("copy_file_range", "truncate", "ftruncate", "fallocate", "fsync", "fdatasync"),
    *("sync", "syncfs", "sync_file_range"),
    *("rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat"),
    *("unlink", "unlinkat", "mkdir", "mkdirat", "rmdir"),
)
OPTIONS: Final = (
    *("-D", "-f", "-q", "--seccomp-bpf", "-xx", "-s", "4000000"),
    *("--absolute-timestamps=format:unix,precision:ns", "--syscall-times=ns"),
    *("--signal=none", "-e", "trace=" + ",".join(f"?{name}" for name in _CALLS)),
)
PAGE_BYTES: Final = 4096
_LINE: Final = re.compile(r"(?P<thread>\d+) +(?P<time>\d+\.\d{9}) (?P<what>.*)")
_CALL: Final = re.compile(
    r"(?P<name>\w+)\((?P<arguments>.*)\)\s+= (?P<result>-?\d+).*<(?P<took>\d+\.\d{9})>"
)
_UNFINISHED: Final = " <unfinished ...>"
_RESUMED: Final = re.compile(r"<\.\.\. \w+ resumed>(?P<rest>.*)")
_ENDED: Final = re.compile(r"\+\+\+ (exited|killed) .*\+\+\+")
END_TIMEOUT_S: Final = 60
END_LOOK_S: Final = 0.05
ATTEMPTS_MAX: Final = 5
_UNMODELLED: Final = frozenset(
    {"writev", "pwritev", "pwritev2", "sendfile", "copy_file_range", "truncate"}
    | {"fallocate", "link", "linkat", "symlink", "symlinkat", "sync_file_range"}
)


class Cut(StrEnum):
    """How much of what was not made durable is lost."""

    ALL_LOST = "all that was not synced is lost"
    IN_ORDER = "names are kept in order, as by a journal"
    AT_RANDOM = "of what was not synced anything may be lost"
    NOTHING_LOST = "nothing is lost, as when a process dies"


@dataclass(frozen=True)
class Call:
    """One system call that succeeded, and the moments of its begin and its end."""

    begin: int
    end: int
    name: str
    arguments: tuple[str, ...]
    result: int


@dataclass(frozen=True)
class Change:
    """Of a file's bytes: a write, or (without data) a new length."""

    begin: int
    end: int
    offset: int
    data: bytes | None


@dataclass(eq=False)
class File:
    base: bytes = b""
    changes: list[Change] = field(default_factory=list)
    syncs: list[tuple[int, int]] = field(default_factory=list)


@dataclass(eq=False)
class Folder:
    base: dict[str, "Node"] = field(default_factory=dict)
    syncs: list[tuple[int, int]] = field(default_factory=list)


Node = File | Folder
Place = tuple[Folder, str]


@dataclass(frozen=True, eq=False)
class Naming:
    """A change of names: ``node`` leaves one place and gets another."""

    begin: int
    end: int
    node: Node
    source: Place | None
    target: Place | None

    @property
    def folders(self) -> list[Folder]:
        return [place[0] for place in (self.source, self.target) if place]


@dataclass
class _Open:
    node: Node
    offset: int = 0


class Recording:
    """What happened to one folder."""

    def __init__(self, root: Path, before: Path, traces: Path) -> None:
        """Read a recording.

        Args:
            root: The folder that was worked on, as the process called it.
            before: A copy of it as it was before.
            traces: Where ``strace`` left its files.
        """
        self._prefix = f"{root}/"
        self._root = _loaded(before)
        self._live: dict[Folder, dict[str, Node]] = {}
        self._namings: list[Naming] = []
        self._files: dict[int, _Open] = {}
        trace = _Trace(traces)
        self.is_in_order = trace.is_in_order
        """Whether nobody set the clock meanwhile: else no time is of use."""
        self._trace = trace
        calls = sorted(trace.calls, key=_order)
        self.moments = [call.end for call in calls if self._take(call)]

    def moment(self, time_ns: int) -> int:
        """Return the last moment that was before a time since 1970."""
        return self._trace.moment(time_ns)

    # --- reading ----------------------------------------------------------------

    def _names(self, folder: Folder) -> dict[str, Node]:
        return self._live.setdefault(folder, dict(folder.base))

    def _place(self, path: str) -> Place | None:
        """Return folder and name of a path below the root; ``None``: elsewhere."""
        if not path.startswith(self._prefix):
            return None
        folder = self._root
        *parents, name = path.removeprefix(self._prefix).split("/")
        for parent in parents:
            found = self._names(folder).get(parent)
            if not isinstance(found, Folder):
                return None
            folder = found
        return folder, name

    def _take(self, call: Call) -> bool:
        """Take up one call; tell whether it concerned the folder."""
        if call.name in {"open", "openat", "creat"}:
            return self._open(call)
        if call.name in {"rename", "renameat", "renameat2"}:
            source, target = map(self._place, _paths(call))
            if source is None or target is None:
                assert source is target, "something moved in or out of the folder"
                return False
            self._name(call, self._names(source[0])[source[1]], source, target)
            return True
        if call.name in {"unlink", "unlinkat", "rmdir"}:
            place = self._place(_paths(call)[0])
            if place is not None:
                self._name(call, self._names(place[0])[place[1]], place, None)
            return place is not None
        if call.name in {"mkdir", "mkdirat"}:
            place = self._place(_paths(call)[0])
            if place is not None:
                self._name(call, Folder(), None, place)
            return place is not None
        assert call.name not in {"sync", "syncfs"}, "that would sync everything"
        return self._use(call)

    def _use(self, call: Call) -> bool:
        """Take up a call on an open file."""
        number = int(call.arguments[0], 0)
        opened = self._files.get(number)
        if opened is None:
            return False
        if call.name == "close":
            del self._files[number]
            return False
        if call.name in {"fsync", "fdatasync"}:
            opened.node.syncs.append((call.begin, call.end))
            return True
        if call.name in {"dup", "dup2", "dup3"}:
            self._files[call.result] = opened
            return False
        if call.name == "lseek":
            opened.offset = call.result
            return False
        assert call.name not in _UNMODELLED, call.name
        assert isinstance(opened.node, File)
        change: Change
        if call.name == "ftruncate":
            change = Change(call.begin, call.end, int(call.arguments[1]), None)
        else:
            data = _decoded(call.arguments[1])[: call.result]
            assert len(data) == call.result, "the recording is not whole"
            if call.name == "pwrite64":
                offset = int(call.arguments[3])
            else:
                offset = opened.offset
                opened.offset += len(data)
            change = Change(call.begin, call.end, offset, data)
        opened.node.changes.append(change)
        return True

    def _open(self, call: Call) -> bool:
        path = _paths(call)[0]
        if path == self._prefix[:-1]:
            self._files[call.result] = _Open(self._root)
            return False
        place = self._place(path)
        flags = call.arguments[-2 if "O_CREAT" in call.arguments[-2] else -1]
        if place is None:
            self._files.pop(call.result, None)
            return False
        node = self._names(place[0]).get(place[1])
        is_new = node is None
        if node is None:
            node = File()
            self._name(call, node, None, place)
        elif "O_TRUNC" in flags and isinstance(node, File):
            node.changes.append(Change(call.begin, call.end, 0, None))
        assert "O_APPEND" not in flags
        self._files[call.result] = _Open(node)
        return is_new

    def _name(
        self, call: Call, node: Node, source: Place | None, target: Place | None
    ) -> None:
        if source is not None:
            del self._names(source[0])[source[1]]
        if target is not None:
            self._names(target[0])[target[1]] = node
        self._namings.append(Naming(call.begin, call.end, node, source, target))

    def folders(self) -> Iterator[Folder]:
        """Yield every folder that there was."""
        yield from self._live

    # --- making -----------------------------------------------------------------

    def after_cut(self, at: int, cut: Cut, to: Path, seed: int = 0) -> None:
        """Write the folder as it may be after the power went at a moment."""
        chance = random.Random(seed)
        begun = [each for each in self._namings if each.begin <= at]
        durable = [any(_covers(f, each, at) for f in each.folders) for each in begun]
        last = max(
            (n for n, is_durable in enumerate(durable) if is_durable), default=-1
        )
        names: dict[Folder, dict[str, Node]] = {}
        for number, (naming, is_durable) in enumerate(zip(begun, durable, strict=True)):
            if not (
                is_durable
                or (cut is Cut.IN_ORDER and number < last)
                or (cut is Cut.AT_RANDOM and chance.random() < 0.5)
                or (cut is Cut.NOTHING_LOST and naming.end <= at)
            ):
                continue
            if naming.source is not None:
                left = names.setdefault(naming.source[0], dict(naming.source[0].base))
                if left.get(naming.source[1]) is naming.node:
                    del left[naming.source[1]]
            if naming.target is not None:
                got = names.setdefault(naming.target[0], dict(naming.target[0].base))
                got[naming.target[1]] = naming.node
        written: dict[File, Path] = {}
        _write_out(
            self._root, names, to, lambda file: _bytes(file, at, cut, chance), written
        )


def _covers(folder: Folder, naming: Naming, at: int) -> bool:
    return any(begin >= naming.end and end <= at for begin, end in folder.syncs)


def _bytes(file: File, at: int, cut: Cut, chance: random.Random) -> bytes:
    synced = max((begin for begin, end in file.syncs if end <= at), default=0)
    content = bytearray(file.base)
    for change in file.changes:
        if change.begin > at:
            break
        is_kept = change.end <= synced or (cut is Cut.NOTHING_LOST and change.end <= at)
        if change.data is None:
            if is_kept or (cut is Cut.AT_RANDOM and chance.random() < 0.5):
                content.extend(bytes(max(0, change.offset - len(content))))
                del content[change.offset :]
            continue
        for offset, piece in _pages(change.offset, change.data):
            if is_kept or (cut is Cut.AT_RANDOM and chance.random() < 0.5):
                content.extend(bytes(max(0, offset - len(content))))
                content[offset : offset + len(piece)] = piece
    return bytes(content)


def _pages(offset: int, data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        end = min(len(data), at + PAGE_BYTES - (offset + at) % PAGE_BYTES)
        yield offset + at, data[at:end]
        at = end


def _write_out(
    folder: Folder,
    names: dict[Folder, dict[str, Node]],
    to: Path,
    content: Callable[[File], bytes],
    written: dict[File, Path],
) -> None:
    to.mkdir(mode=0o700)
    for name, node in names.get(folder, folder.base).items():
        path = to / name
        if isinstance(node, Folder):
            _write_out(node, names, path, content, written)
            continue
        if node in written:  # one file whose old name was kept beside the new one
            path.hardlink_to(written[node])
            continue
        written[node] = path
        data = content(node)
        path.touch(0o600)
        path.write_bytes(os.urandom(len(data)) if name.endswith("-shm") else data)


def _loaded(path: Path) -> Folder:
    return Folder(
        {
            each.name: _loaded(each) if each.is_dir() else File(each.read_bytes())
            for each in path.iterdir()
        }
    )


class _Trace:
    """What ``strace`` wrote: a line for each time that it stopped a thread.

    A call that ends before another thread is stopped is one line, and has two
    moments; other calls are two lines, with one each.
    """

    def __init__(self, traces: Path) -> None:
        (path,) = traces.iterdir()
        self.calls: list[Call] = []
        self._times: list[int] = []
        self._ends: list[int] = []
        unfinished: dict[str, tuple[int, str]] = {}
        for number, line in enumerate(path.read_text("ascii").splitlines()):
            found = _LINE.fullmatch(line)
            assert found is not None, line
            time, what = _nanoseconds(found["time"]), found["what"]
            begin, end = 2 * number, 2 * number + 1
            if what.endswith(_UNFINISHED):
                unfinished[found["thread"]] = begin, what.removesuffix(_UNFINISHED)
                took = 0
            else:
                if resumed := _RESUMED.fullmatch(what):
                    begin, called = unfinished.pop(found["thread"])
                    what = called + resumed["rest"]
                took = self._take(what, begin, end)
                if resumed:
                    took = 0
            self._times.append(time)
            self._ends.append(time + took)
        self.is_in_order = all(a <= b for a, b in pairwise(self._times))

    def _take(self, what: str, begin: int, end: int) -> int:
        """Take up a call that ended; return how long it took, in nanoseconds."""
        called = _CALL.fullmatch(what)
        if called is None:
            assert _ENDED.fullmatch(what) or " = -1 " in what or "= ?" in what, what
            return 0
        if not called["result"].startswith("-"):
            arguments = tuple(called["arguments"].split(", "))
            self.calls.append(
                Call(begin, end, called["name"], arguments, int(called["result"]))
            )
        return _nanoseconds(called["took"])

    def moment(self, time_ns: int) -> int:
        number = bisect_right(self._times, time_ns) - 1
        is_over = number >= 0 and self._ends[number] <= time_ns
        return 2 * number + is_over


def _nanoseconds(text: str) -> int:
    return int(text.replace(".", ""))


def _order(call: Call) -> int:
    # A number is free again before its close ends, and taken when an open does.
    return call.begin if call.name == "close" else call.end


def _paths(call: Call) -> list[str]:
    assert all(
        argument.startswith(("AT_", "RENAME_", "O_", '"')) or argument.isdigit()
        for argument in call.arguments
    ), call
    return [_decoded(each).decode() for each in call.arguments if each.startswith('"')]


def _decoded(argument: str) -> bytes:
    assert argument.endswith('"'), "the recording is not whole"
    return bytes.fromhex(argument.strip('"').replace("\\x", ""))


def recorded(traces: Path) -> list[str]:
    """Return what a command must run under to be recorded; it stays our child."""
    traces.mkdir()
    return [STRACE, *OPTIONS, "-o", str(traces / "trace")]


def wait_for_end(traces: Path) -> None:
    """Wait until a recording is whole, once its process has ended."""
    deadline = time.monotonic() + END_TIMEOUT_S
    while not _has_ended(traces):
        assert time.monotonic() < deadline, "the recording does not end"
        time.sleep(END_LOOK_S)


def _has_ended(traces: Path) -> bool:
    threads, ended = set[str](), set[str]()
    for path in traces.iterdir():
        for line in path.read_text("ascii").splitlines():
            if found := _LINE.fullmatch(line):
                threads.add(found["thread"])
                if _ENDED.fullmatch(found["what"]):
                    ended.add(found["thread"])
    return bool(threads) and threads == ended
