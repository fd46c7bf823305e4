"""Looking at a node: sockets, raw bytes, stored images, the record."""

import json
import random
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from itertools import islice
from pathlib import Path
from typing import Any, Final

from sqlalchemy import select

from leadglass.archive.parts import Parts
from leadglass.archive.verify import Verify
from leadglass.assurance.compliance.experiments.images import has_magic, search
from leadglass.assurance.compliance.state import (
    RECORD_DAYS,
    RECORDS_MAX,
    Mode,
    RecordState,
    Sampled,
)
from leadglass.audit.events import Event
from leadglass.audit.search import Search
from leadglass.errors import BadData, LeadglassError
from leadglass.index.tables import patient

# What one run reads again: a second or two of work, another sample each time.
IMAGES_SAMPLED: Final = 25
FILES_SAMPLED: Final = 200
FILE_BYTES_MAX: Final = 64 * 1024 * 1024
NAMES_SAMPLED: Final = 40
# Shorter names occur in noise.
_NAME_BYTES_MIN: Final = 7
_IDENTIFYING: Final = ("00100010", "00100020")
_LISTENS: Final = "0A"  # TCP_LISTEN in /proc/net/tcp
_LITTLE_ENDIAN_WORDS: Final = 8  # hex digits of one word of an address there


@dataclass(frozen=True, slots=True)
class Looker:
    """Looks at one node.

    Attributes:
        parts: What it is made of.
        home: Its data folder.
        verify: Reads stored images.
    """

    parts: Parts
    home: Path
    verify: Verify

    def events(self, now: datetime) -> tuple[Event, ...]:
        """Return what was recorded lately, the newest first."""
        since = now - timedelta(days=RECORD_DAYS)
        wanted = Search(since=since, newest_first=True)
        return tuple(islice(self._readable(wanted), RECORDS_MAX))

    def _readable(self, wanted: Search) -> Iterator[Event]:
        for record in self.parts.audit.list(wanted):
            try:
                if record.data:
                    yield record.event
            except BadData:
                continue  # tampered with: verification names it

    def record(self) -> RecordState:
        """Verify the whole record."""
        report = self.parts.audit.verify()
        oldest = next(
            (each.time for each in self.parts.audit.list(Search()) if each.data), None
        )
        return RecordState(
            size=report.records,
            faults=tuple(each.text for each in report.findings),
            remarks=tuple(each.text for each in report.remarks),
            checkpoints=report.checkpoints,
            oldest=oldest,
        )

    def images(self) -> Sampled:
        """Read some stored images again, others each time."""
        with self.parts.database.read() as connection:
            count = self.parts.index.totals(connection).instances
            stride = max(1, count // IMAGES_SAMPLED)
            first = random.randrange(stride)  # noqa: S311  # a sample, no secret
            every = self.parts.index.all_instances(connection)
            chosen = list(islice(every, first, None, stride))[:IMAGES_SAMPLED]
        octets, faults = 0, []
        for each in chosen:
            octets += each.blob_bytes
            try:
                fault = self.verify.fault(each)
            except LeadglassError as error:
                fault = str(error)
            if fault is not None:
                faults.append(fault)
        return Sampled(len(chosen), octets, tuple(faults))

    def raw(self) -> Sampled:
        """Search raw bytes of the data folder for names that the index knows."""
        names = self._names()
        if not names:
            return Sampled()
        traces = {f"name {n}": name for n, name in enumerate(names)}
        files = [
            each
            for each in self.home.rglob("*")
            if each.is_file() and not each.is_symlink()
        ]
        small = [each for each in files if each.stat().st_size <= FILE_BYTES_MAX]
        chosen = random.sample(small, min(len(small), FILES_SAMPLED))
        faults = [
            f"{each.relative_to(self.home)}: in the clear"
            for each in chosen
            if has_magic(each) or any(True for _ in search(each, traces))
        ]
        return Sampled(
            count=len(chosen),
            octets=sum(each.stat().st_size for each in chosen),
            faults=tuple(faults),
            is_proven=any(names[0] in name for name in names),
        )

    def _names(self) -> list[bytes]:
        """Return names and Patient IDs as they stand in data sets."""
        query = select(patient.c.attributes).limit(NAMES_SAMPLED)
        with self.parts.database.read() as connection:
            rows = list(connection.execute(query).scalars())
        found = {text for row in rows for text in _texts(json.loads(row))}
        return [each.encode() for each in sorted(found) if len(each) >= _NAME_BYTES_MIN]


def _texts(attributes: Mapping[str, Any]) -> Iterator[str]:
    """Yield Patient's Name and Patient ID of a DICOM JSON object (PS3.18 §F)."""
    for tag in _IDENTIFYING:
        for value in attributes.get(tag, {}).get("Value", ()):
            text = value.get("Alphabetic", "") if isinstance(value, dict) else value
            yield str(text)


def modes(
    paths: Iterable[Path], home: Path, *, secret: Path | None
) -> tuple[Mode, ...]:
    """Return the permission bits of files and folders that are there.

    Args:
        paths: Which.
        home: The data folder.
        secret: The master key's file, which must not be in it.
    """
    found = []
    for path in (*paths, *([secret] if secret else [])):
        if path.exists():
            bits = stat.S_IMODE(path.stat().st_mode)
            inside = path == secret and path.resolve().is_relative_to(home.resolve())
            found.append(Mode(path.name, bits, inside))
    return tuple(found)


def sockets(pid: int, root: Path = Path("/proc")) -> tuple[str, ...]:
    """Return where a process listens for TCP, as HOST:PORT (proc_net_tcp(5))."""
    own = {
        target[len("socket:[") : -1]
        for each in _links(root / str(pid) / "fd")
        if (target := each).startswith("socket:[")
    }
    found = set()
    for table in ("tcp", "tcp6"):
        path = root / str(pid) / "net" / table
        lines = path.read_text("ascii").splitlines()[1:] if path.exists() else []
        for line in lines:
            fields = line.split()
            if fields[3] == _LISTENS and fields[9] in own:
                found.add(_place(fields[1]))
    return tuple(sorted(found))


def _links(folder: Path) -> Iterator[str]:
    try:
        entries = list(folder.iterdir())
    except OSError:
        return
    for each in entries:
        try:
            yield str(each.readlink())
        except OSError:
            continue  # closed a moment ago


def _place(field: str) -> str:
    """Read ``0100007F:0ACA``: words of the address in the machine's order."""
    address, _, port = field.partition(":")
    words: Sequence[str] = [
        address[at : at + _LITTLE_ENDIAN_WORDS]
        for at in range(0, len(address), _LITTLE_ENDIAN_WORDS)
    ]
    octets = b"".join(bytes.fromhex(each)[::-1] for each in words)
    host = ip_address(octets)
    text = f"[{host}]" if host.version == 6 else str(host)
    return f"{text}:{int(port, 16)}"


def moment() -> datetime:
    """Return now."""
    return datetime.now(UTC)
