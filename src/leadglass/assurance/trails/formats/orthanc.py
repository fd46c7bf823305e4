"""Orthanc's log: what it writes by itself, with ``--verbose`` or with ``--trace``.

By itself it tells of starts, stops and refusals only. Who asked over HTTP it never
tells. Lines have no year and the machine's own zone. Several threads write at once: a
fact from a moment with two associations says that it may be somebody else's.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, BinaryIO, Final

from leadglass.assurance.trails.fact import Ending, Fact, Kind, Reach, Touched
from leadglass.assurance.trails.formats.source import (
    Options,
    Unparsed,
    Years,
    clipped,
    lines,
    shown,
)
from leadglass.errors import BadData

# Level, month, day, time, perhaps a thread, file and line; as glog writes it.
_LINE: Final = re.compile(
    r"([TIWEF])(\d\d)(\d\d) (\d\d:\d\d:\d\d\.\d{6})[ \t]+(?:[\w-]{1,32}[ \t]+)?"
    r"[\w./-]{1,128}:\d{1,6}\] (?:\([a-z]{2,16}\) )?(.*)$"
)
# With ``--trace`` the DICOM library within writes its own lines, and blocks of them,
# without a time.
_DUMP: Final = re.compile(
    r"[TDIW]:(?: |$)|# (?:Dicom-|Used Tr)| *\([0-9a-f]{4},[0-9a-f]{4}\) [A-Za-z]{2} "
)
_BLOCK: Final = re.compile(r"={4,} (BEGIN|INCOMING|OUTGOING|END) [A-Z -]+={4,}$")
_PEER: Final = r"AET (.{0,64}) on IP ([0-9A-Fa-f.:]{1,45})"
_RECEIVED: Final = re.compile(f"Association Received from {_PEER}$")
_TAKEN: Final = re.compile(rf"Association Acknowledged \(.*\) to {_PEER}$")
_BAD_CALLED: Final = re.compile(r"Rejected association, because of (.*)$")
_REJECTED_TITLE: Final = re.compile(r"bad called AET in the request \((.*)\)$")
_ENDED: Final = re.compile(
    f"(?:Association (?:Release|Abort)|Aborting association).*{_PEER}"
)
_REQUEST: Final = re.compile(
    f"Incoming (Echo|Store|Find|Move|Get) request from {_PEER}(?:, calling AET (.*))?$"
)
_KEY: Final = re.compile(r" *\(([0-9a-f]{4},[0-9a-f]{4})\)  (\w{1,64}) = (.*)$")
_MATCHES: Final = re.compile(r"Number of matching resources: (\d{1,9})$")
_TO: Final = re.compile(r'Move-SCU request received for AET "(.*)"$')
_FAILED: Final = re.compile(r"I(?:Move|Find|Get|Store)RequestHandler Failed: (.*)$")
_HTTP: Final = re.compile(r"(GET|POST|PUT|DELETE) (/\S{0,2000})$")
_UID: Final = re.compile(r"/studies/([0-9]+(?:\.[0-9]+)+)(?:/|$)")
_HIDDEN: Final = "*** POTENTIAL PHI ***"
_KEYS_MAX: Final = 200
_OPEN_MAX: Final = 1_000

_KINDS: Final[Mapping[str, tuple[Kind, str]]] = MappingProxyType(
    {
        "Echo": (Kind.ECHO, "C-ECHO"),
        "Store": (Kind.STORE, "C-STORE"),
        "Find": (Kind.QUERY, "C-FIND"),
        "Move": (Kind.RETRIEVE, "C-MOVE"),
        "Get": (Kind.RETRIEVE, "C-GET"),
    }
)
# What a request of the REST API does: the first that fits.
_CALLS: Final[tuple[tuple[str, re.Pattern[str], Kind], ...]] = tuple(
    (method, re.compile(path), kind)
    for method, path, kind in (
        ("DELETE", r"/(patients|studies|series|instances)/", Kind.DELETE),
        ("POST", r"/instances/?$", Kind.STORE),
        ("POST", r"/(dicom-web|wado-rs)/studies", Kind.STORE),
        ("POST", r"/(modalities|peers)/[^/]+/store", Kind.RETRIEVE),
        ("POST", r"/dicom-web/servers/[^/]+/stow", Kind.RETRIEVE),
        ("POST", r"/(tools/find|modalities/[^/]+/query)", Kind.QUERY),
        ("POST", r"/.*/(archive|media|anonymize|modify)", Kind.EXPORT),
        ("GET", r"/.*/(archive|media)\b", Kind.EXPORT),
        ("GET", r"/.*/(file|preview|rendered|frames|image-|attach|raw)", Kind.VIEW),
        ("GET", r"/dicom-web/studies/[0-9.]+", Kind.VIEW),
        ("GET", r"/wado", Kind.VIEW),
        ("GET", r"/(dicom-web/)?(patients|studies|series|instances)", Kind.QUERY),
    )
)  # fmt: skip
_REACHES: Final[Mapping[Kind, Reach]] = MappingProxyType(
    {
        Kind.QUERY: Reach.LISTED,
        **dict.fromkeys((Kind.VIEW, Kind.RETRIEVE, Kind.EXPORT), Reach.IMAGES),
    }
)


@dataclass(slots=True)
class _Act:
    kind: Kind
    service: str
    number: int
    time: datetime
    peer: tuple[str, str]
    called: str
    keys: dict[str, tuple[str, str]] = field(default_factory=dict)
    returned: int = 0
    moved: int = 0
    destination: str = ""
    error: str = ""
    is_mixed: bool = False


def read(stream: BinaryIO, options: Options) -> Iterator[Fact | Unparsed]:
    """Yield what was done.

    Raises:
        Misconfigured: No year or no zone was named.
    """
    reader, years, is_block = _Reader(), Years(options), False
    for number, line in lines(stream):
        if isinstance(line, Unparsed):
            yield line
            continue
        found = _LINE.match(line)
        if found is None:
            block = _BLOCK.match(line)
            is_block = block[1] != "END" if block else is_block
            if line.strip() and not (block or is_block or _DUMP.match(line)):
                yield Unparsed(number, shown(line))
            continue
        # What is traced may have many lines: programs, messages.
        is_block = found[1] == "T"
        try:
            time = years.dated(int(found[2]), int(found[3]), found[4])
            yield from reader.take(number, time, found[1], found[5])
        except (BadData, ValueError):
            yield Unparsed(number, shown(line))
    yield from reader.finish()


class _Reader:
    def __init__(self) -> None:
        self._open: dict[tuple[str, str], int] = {}
        self._coming: tuple[str, str] | None = None
        self._act: _Act | None = None

    def take(
        self, number: int, time: datetime, level: str, said: str
    ) -> Iterator[Fact]:
        if found := _REQUEST.match(said):
            yield from self.finish()
            kind, service = _KINDS[found[1]]
            peer = found[2], found[3]
            self._act = _Act(kind, service, number, time, peer, found[4] or "")
            self._act.is_mixed = len(self._open) > 1
        elif found := _RECEIVED.match(said):
            self._coming = found[1], found[2]
        elif found := _TAKEN.match(said):
            yield self._associated(number, time, (found[1], found[2]))
        elif found := _BAD_CALLED.match(said):
            yield self._refused(number, time, found[1])
        elif found := _ENDED.match(said):
            yield from self.finish()
            self._open.pop((found[1], found[2]), None)
        elif found := _HTTP.match(said):
            yield _call(number, time, found[1], found[2])
        elif said in {"Orthanc has started", "Orthanc has stopped"}:
            kind = Kind.START if said.endswith("started") else Kind.STOP
            yield Fact(number=number, trail=1, time=time, kind=kind, what=said)
        elif self._act is not None:
            _add(self._act, level, said)
        elif level in "EF":
            # ``--verbose`` off: all that is known of a request is that it failed.
            yield from _lone_failure(number, time, said)

    def _associated(self, number: int, time: datetime, peer: tuple[str, str]) -> Fact:
        if len(self._open) < _OPEN_MAX:
            self._open[peer] = number
        self._coming = None
        return _of_peer(number, time, Kind.ASSOCIATE, peer)

    def _refused(self, number: int, time: datetime, why: str) -> Fact:
        peer, self._coming = self._coming or ("", ""), None
        title = _REJECTED_TITLE.search(why)
        return _of_peer(
            number,
            time,
            Kind.ASSOCIATE,
            peer,
            ending=Ending.MINOR_FAILURE,
            what=clipped(why),
            called="" if title is None else title[1],
        )

    def finish(self) -> Iterator[Fact]:
        """Tell of the act that has ended, if there is one."""
        act, self._act = self._act, None
        if act is None:
            return
        details = {"mixed": "associations overlapped"} if act.is_mixed else {}
        if act.kind is Kind.QUERY:
            level = act.keys.get("0008,0052", ("", ""))[1]
            details |= {"level": level, "keys": _keys(act)}
        yield _of_peer(
            act.number,
            act.time,
            Kind.GATE if act.kind is Kind.STORE and act.error else act.kind,
            act.peer,
            called=act.called,
            ending=Ending.MINOR_FAILURE if act.error else Ending.SUCCESS,
            service=act.service,
            destination=act.destination if act.destination != act.peer[0] else "",
            what=clipped(act.error),
            returned=act.returned,
            instances=act.moved + (act.kind is Kind.STORE),
            touched=_touched(act),
            details=details,
        )


def _of_peer(
    number: int, time: datetime, kind: Kind, peer: tuple[str, str], **more: Any
) -> Fact:
    return Fact(
        number=number,
        trail=1,
        time=time,
        kind=kind,
        who=peer[0],
        who_kind="device" if peer[0] else "",
        ae_title=peer[0],
        address=peer[1],
        **more,
    )


def _add(act: _Act, level: str, said: str) -> None:
    """Take what a line says of an act."""
    if found := _KEY.match(said):
        if len(act.keys) < _KEYS_MAX:
            act.keys.setdefault(found[1], (found[2], clipped(found[3])))
    elif found := _MATCHES.match(said):
        act.returned = int(found[1])
    elif found := _TO.match(said):
        act.destination = clipped(found[1])
    elif said.startswith("Store SCU RQ: "):
        act.moved += 1
    elif level in "EF":
        act.error = act.error or said


def _lone_failure(number: int, time: datetime, said: str) -> Iterator[Fact]:
    if found := _FAILED.match(said):
        kind = next(each for word, (each, _) in _KINDS.items() if word in said)
        yield Fact(
            number=number,
            trail=1,
            time=time,
            kind=kind,
            ending=Ending.MINOR_FAILURE,
            what=clipped(found[1]),
        )


def _call(number: int, time: datetime, method: str, path: str) -> Fact:
    """Return what a request of the REST API did; who it was of is nowhere."""
    kind = next(
        (
            each
            for of_method, pattern, each in _CALLS
            if of_method == method and pattern.match(path)
        ),
        Kind.OTHER,
    )
    study = _UID.search(path)
    touched = (
        (Touched("", _REACHES.get(kind, Reach.NONE), (study[1],)),) if study else ()
    )
    return Fact(
        number=number,
        trail=1,
        time=time,
        kind=kind,
        service="REST",
        what=clipped(f"{method} {path}"),
        touched=touched,
        details={"outcome": "not in the log"},
    )


def _keys(act: _Act) -> str:
    found = []
    for tag, (name, value) in act.keys.items():
        if tag == "0008,0052" or not value.strip("*"):
            continue
        if value == _HIDDEN:
            found.append(f"{name}=(hidden)")
        else:
            found.append(f"{name}{'~' if {'*', '?'} & set(value) else '='}{value}")
    return clipped(" ".join(found))


def _touched(act: _Act) -> tuple[Touched, ...]:
    """Return whom it was about, where the log has the keys."""
    if act.error or not (act.kind is Kind.RETRIEVE or act.returned):
        return ()
    patient, study = (
        "" if value == _HIDDEN or {"*", "?"} & set(value) else value
        for value in (
            act.keys.get("0010,0020", ("", ""))[1],
            act.keys.get("0020,000d", ("", ""))[1],
        )
    )
    studies = tuple(uid for uid in study.split("\\") if uid)
    reach = _REACHES[act.kind]
    return (Touched(patient, reach, studies),) if patient or studies else ()
