"""Logs of DCMTK's ``dcmqrscp`` and ``storescp``, written with ``-v`` or ``-d``.

They have no times unless a logger adds them (``--log-config``, journald, syslog).
``dcmqrscp`` serves each association in a process of its own and their lines mix, so a
fact from a moment with two of them says that it may be somebody else's.
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
    clipped,
    lines,
    shown,
)
from leadglass.assurance.trails.formats.stamps import Stamps
from leadglass.errors import BadData

_LEVEL: Final = re.compile(
    r"(?:([TDIWEF]):|\[?(TRACE|DEBUG|INFO|WARN|ERROR|FATAL)\]?:?)(?:[ \t](.*)|$)"
)
# Marks of progress that are written without a level.
_MARK: Final = re.compile(r"(RECV|XMIT): ?[.\d]*$")
_ELEMENT: Final = re.compile(
    r"\(([0-9a-f]{4},[0-9a-f]{4})\) [A-Z?]{2} (?:\[([^\]]*)\]|\(no value|=).*"
)
_FIELD: Final = re.compile(r"([A-Z][A-Za-z /]{2,40}?)\s*: (.*)$")
_RECEIVED: Final = re.compile(r"Association Received(?: \((.*):(.*) -> (.*)\))?$")
_HOST: Final = re.compile(r"Association Received: (\S+)$")
_REFUSED: Final = re.compile(r"Refusing Association(?: \((.*)\))?")
_REQUEST: Final = re.compile(
    r"Received (?:(Echo|Store|Find|Move|Get) SCP|(Echo|Store) Request)\b"
)
_RESPONSE: Final = re.compile(r"(?:Find|Move|Get) SCP Response \d+ \[status: (.*)\]$")
_SENT: Final = re.compile(r"(?:Move|Get) SCP: Received Store SCU RSP \[Status=(.*)\]$")
_FILED: Final = re.compile(r"storing DICOM file: .*?([0-9]+(?:\.[0-9]+)+)$")
_CLOSED: Final = re.compile(
    r"(Association Release|Association Abort|DUL Peer|Peer Abo)"
)
_IDENTIFIERS: Final = re.compile(
    r"(?:Find|Move|Get) SCP (Request|Response) Identifiers"
)

_KINDS: Final[Mapping[str, tuple[Kind, str]]] = MappingProxyType(
    {
        "Echo": (Kind.ECHO, "C-ECHO"),
        "Store": (Kind.STORE, "C-STORE"),
        "Find": (Kind.QUERY, "C-FIND"),
        "Move": (Kind.RETRIEVE, "C-MOVE"),
        "Get": (Kind.RETRIEVE, "C-GET"),
    }
)
_PATIENT, _STUDY = "0010,0020", "0020,000d"
_KEYWORDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "0008,0020": "StudyDate",
        "0008,0050": "AccessionNumber",
        "0008,0060": "Modality",
        "0008,0061": "ModalitiesInStudy",
        "0010,0010": "PatientName",
        _PATIENT: "PatientID",
        "0010,0030": "PatientBirthDate",
        _STUDY: "StudyInstanceUID",
        "0020,000e": "SeriesInstanceUID",
        "0008,0018": "SOPInstanceUID",
    }
)
_LEVEL_TAG: Final = "0008,0052"
# Elements of one identifier, and matches of one answer that are kept.
_ELEMENTS_MAX: Final = 500
_TOUCHED_MAX: Final = 10_000


@dataclass(slots=True)
class _Act:
    """A request that is being served."""

    kind: Kind
    service: str
    number: int
    time: datetime | None
    keys: dict[str, str] = field(default_factory=dict)
    matches: list[dict[str, str]] = field(default_factory=list)
    returned: int = 0
    moved: int = 0
    destination: str = ""
    instance: str = ""
    status: str = ""
    error: str = ""


@dataclass(slots=True)
class _Session:
    """An association."""

    number: int
    time: datetime | None
    address: str = ""
    calling: str = ""
    called: str = ""
    implementation: str = ""
    is_open: bool = False
    act: _Act | None = None


def read(stream: BinaryIO, options: Options) -> Iterator[Fact | Unparsed]:
    """Yield what was done.

    Raises:
        Misconfigured: The log has no times, years or zones, and none were named.
    """
    reader = _Reader(Stamps(options))
    for number, line in lines(stream):
        if isinstance(line, Unparsed):
            yield line
            continue
        try:
            yield from reader.take(number, line)
        except (BadData, ValueError):
            yield Unparsed(number, shown(line))
    yield from reader.end()


class _Reader:
    """What is going on, line by line."""

    def __init__(self, stamps: Stamps) -> None:
        self._stamps = stamps
        self._host = ""
        self._session: _Session | None = None
        self._is_mixed = False
        self._into: dict[str, str] | None = None  # elements that are being listed
        self._time: datetime | None = None

    def take(self, number: int, text: str) -> Iterator[Fact | Unparsed]:
        line = self._stamps.line(text)
        self._time = line.time or self._time
        found = _LEVEL.match(line.text)
        if found is None:
            if line.text.strip() and not _MARK.match(line.text):
                yield Unparsed(number, shown(text))
            return
        level, said = (found[1] or found[2])[0], (found[3] or "").strip()
        yield from self._said(number, level, said)

    def end(self) -> Iterator[Fact]:
        """Tell of what was going on when the log ended."""
        yield from self._finished(0, "the log ends here")

    def _said(self, number: int, level: str, said: str) -> Iterator[Fact]:
        if found := _HOST.match(said):
            self._host = found[1]
        elif found := _RECEIVED.match(said):
            yield from self._received(number, found)
        elif found := _REFUSED.match(said):
            yield from self._associated(found[1] or "refused")
            self._session = None
        elif said.startswith("Association Acknowledged"):
            yield from self._associated("")
        elif found := _REQUEST.match(said):
            yield from self._requested(number, found[1] or found[2])
        elif _CLOSED.match(said):
            yield from self._finished(number, "")
            self._session, self._is_mixed = None, False
        elif self._session is not None:
            yield from self._more(number, level, said, self._session)

    def _received(self, number: int, found: re.Match[str]) -> Iterator[Fact]:
        if self._session is not None and self._session.is_open:
            self._is_mixed = True
            yield from self._finished(number, "another association began")
        host, calling, called = found.groups()
        self._session = _Session(
            number, self._time, host or self._host, calling or "", called or ""
        )
        self._host = ""

    def _associated(self, refused: str) -> Iterator[Fact]:
        session = self._session
        if session is None or session.is_open:
            return
        session.is_open = not refused
        yield self._fact(
            session,
            session.number,
            session.time,
            Kind.ASSOCIATE,
            ending=Ending.MINOR_FAILURE if refused else Ending.SUCCESS,
            what=clipped(refused),
        )

    def _requested(self, number: int, word: str) -> Iterator[Fact]:
        yield from self._finished(number, "")
        session = self._session
        if session is None:
            return
        kind, service = _KINDS[word]
        if kind is Kind.ECHO:
            yield self._fact(session, number, self._time, kind, service=service)
        else:
            session.act = _Act(kind, service, number, self._time)

    def _more(
        self, number: int, level: str, said: str, session: _Session
    ) -> Iterator[Fact]:
        act = session.act
        if found := _FIELD.match(said):
            self._field(found[1].strip(), found[2].strip(), session)
        if act is None:
            return
        if found := _RESPONSE.match(said):
            if found[1].startswith("Pending"):
                act.returned += act.kind is Kind.QUERY
            else:
                act.status = found[1]
                yield from self._finished(number, "")
        else:
            self._add(level, said, act)

    def _add(self, level: str, said: str, act: _Act) -> None:
        """Take what a line says of an act."""
        if level in "EF":
            act.error = act.error or said
        elif found := _IDENTIFIERS.match(said):
            self._into = act.keys if found[1] == "Request" else {}
            if found[1] == "Response" and len(act.matches) < _TOUCHED_MAX:
                act.matches.append(self._into)
        elif (found := _ELEMENT.match(said)) and self._into is not None:
            if len(self._into) < _ELEMENTS_MAX:
                self._into.setdefault(found[1], clipped((found[2] or "").strip()))
        elif found := _SENT.match(said):
            act.moved += found[1] == "Success" or found[1].startswith("Warning")
        elif found := _FILED.match(said):
            act.instance, act.status = act.instance or found[1], "Success"

    def _field(self, name: str, value: str, session: _Session) -> None:
        """Take what a dump of a message says: DCMTK writes ``name : value``."""
        act = session.act
        if not session.is_open:
            if name == "Calling Application Name":
                session.calling = session.calling or clipped(value)
            elif name == "Called Application Name":
                session.called = session.called or clipped(value)
            elif name == "Their Implementation Version Name":
                session.implementation = clipped(value)
        elif act is not None:
            if name == "Move Destination":
                act.destination = clipped(value)
            elif name == "Affected SOP Instance UID":
                act.instance = clipped(value)
            elif name == "DIMSE Status" and act.kind is Kind.STORE:
                act.status = value.partition(": ")[2]

    def _finished(self, number: int, cut: str) -> Iterator[Fact]:
        """Tell of the act that has ended, if there is one."""
        session, self._into = self._session, None
        if session is None or session.act is None:
            return
        act, session.act = session.act, None
        why = act.error or ("" if act.status == "Success" else act.status) or cut
        is_good = act.status == "Success" and not act.error
        ending = Ending.SUCCESS if is_good else Ending.MINOR_FAILURE
        details = {"instance": act.instance} if act.instance else {}
        if act.kind is Kind.QUERY:
            details = {"level": act.keys.get(_LEVEL_TAG, ""), "keys": _keys(act.keys)}
        yield self._fact(
            session,
            act.number,
            act.time,
            act.kind if is_good or act.kind is not Kind.STORE else Kind.GATE,
            ending=ending,
            service=act.service,
            destination=act.destination if act.destination != session.calling else "",
            what=clipped("" if is_good else why),
            returned=act.returned,
            instances=act.moved + (act.kind is Kind.STORE),
            touched=_touched(act),
            details=details,
        )
        if act.moved:
            yield self._fact(
                session,
                number or act.number + 1,
                self._time,
                Kind.TRANSFERRED,
                ending=ending,
                service=act.service,
                destination=(
                    act.destination if act.destination != session.calling else ""
                ),
                instances=act.moved,
                touched=_touched(act),
            )

    def _fact(
        self,
        session: _Session,
        number: int,
        time: datetime | None,
        kind: Kind,
        **more: Any,
    ) -> Fact:
        details = more.pop("details", {})
        assert isinstance(details, dict)
        if self._is_mixed:
            details = {**details, "mixed": "associations overlapped"}
        if time is None:
            details = {**details, "time": "not in the log"}
        return Fact(
            number=number,
            trail=1,
            time=self._stamps.at(time, number),
            kind=kind,
            who=session.calling,
            who_kind="device",
            ae_title=session.calling,
            called=session.called,
            address=session.address,
            implementation=session.implementation,
            details=details,
            **more,
        )


def _keys(elements: Mapping[str, str]) -> str:
    found = [
        f"{_KEYWORDS[tag]}{'~' if {'*', '?'} & set(value) else '='}{value}"
        for tag, value in elements.items()
        if tag in _KEYWORDS and value.strip("*")
    ]
    return clipped(" ".join(found))


def _touched(act: _Act) -> tuple[Touched, ...]:
    """Return whom it was about: by the answer, or by the keys that were whole."""
    if act.kind is Kind.STORE or not act.returned + act.moved:
        return ()
    reach = Reach.LISTED if act.kind is Kind.QUERY else Reach.IMAGES
    told = act.matches or [act.keys]
    found: dict[str, dict[str, None]] = {}
    for elements in told:
        patient, study = (
            "" if {"*", "?"} & set(value) else value
            for value in (elements.get(_PATIENT, ""), elements.get(_STUDY, ""))
        )
        if patient or study:
            uids = found.setdefault(patient, {})
            uids.update((uid, None) for uid in study.split("\\") if uid)
    return tuple(
        Touched(patient, reach, tuple(studies)) for patient, studies in found.items()
    )
