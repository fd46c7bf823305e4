"""What becomes of images: E2 at rest, E5 overwriting, E9 restoring, E11 bad files."""

import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from leadglass.assurance.compliance.asking import ask
from leadglass.assurance.compliance.canary import SOP_CLASS, Canary
from leadglass.assurance.compliance.probe import Seen, Witnessed
from leadglass.assurance.compliance.twin import Twin, calling
from leadglass.assurance.peer import associate
from leadglass.dicom.sop_classes import STUDY_ROOT_FIND, STUDY_ROOT_GET, VERIFICATION
from leadglass.dicom.uids import UID, new_uid
from leadglass.errors import LeadglassError
from leadglass.wire.status import SUCCESS

CLASSES: Final = (VERIFICATION, SOP_CLASS, STUDY_ROOT_FIND, STUDY_ROOT_GET)
# Of a Part 10 file (PS3.10 §7.1); a sealed blob has it nowhere but by chance.
_MAGIC: Final = b"DICM"
_PREAMBLE: Final = 128
# Read at once when raw bytes are searched; pieces overlap by the longest trace.
_PIECE_BYTES: Final = 4 * 1024 * 1024
# A program's header where 128 zero bytes belong (CVE-2019-11687); inert: it ends there.
_POLYGLOT: Final = b"MZ" + b"\x90" * 62 + b"\x7fELF" + b"\0" * 60
_DEPTH: Final = 300
_BOUNDARY: Final = "canary-boundary"


def stored(twin: Twin, name: str, canary: Canary) -> None:
    """Store a canary as a device that is enrolled for it; raise if it is not taken."""
    with associate(calling(twin, name, twin.enrol(name).context()), CLASSES) as peer:
        status = peer.store(SOP_CLASS, canary.instance, canary.data_set())
    if status != SUCCESS:
        raise LeadglassError(f"the canary was not stored: status {status:04X}")
    twin.settle()


def at_rest(twin: Twin) -> Seen:
    """E2: store a canary, then look for it in every raw byte of the data folder."""
    seen = Witnessed()
    canary = Canary.draw()
    traces = canary.traces()
    data_set = canary.data_set()
    seen.expect(
        {what for what, trace in traces.items() if trace in data_set}
        >= set(traces) - {"the patient's name in UTF-16"},
        "the search finds each trace in what was sent",
    )
    stored(twin, "RESTING", canary)
    found: dict[str, int] = dict.fromkeys(traces, 0)
    files = octets = magic = 0
    for path in sorted(twin.home.rglob("*")):
        if not path.is_file() or path.is_symlink():
            continue
        files += 1
        octets += path.stat().st_size
        for what in search(path, traces):
            found[what] += 1
        magic += has_magic(path)
    for what, count in found.items():
        seen.expect(not count, f"{what} is in none of {files} files")
    seen.expect(not magic, "no file begins as a DICOM file does")
    seen.note(f"{octets} bytes of {files} files were searched")
    return seen.seen()


def search(path: Path, traces: Mapping[str, bytes]) -> Iterator[str]:
    """Yield which traces a file has in the clear, each once."""
    overlap = max(map(len, traces.values())) - 1
    left = dict(traces)
    tail = b""
    with path.open("rb") as file:
        while left and (piece := file.read(_PIECE_BYTES)):
            piece = tail + piece
            for what in [each for each, trace in left.items() if trace in piece]:
                del left[what]
                yield what
            tail = piece[-overlap:]


def has_magic(path: Path) -> bool:
    """Tell whether a file begins as Part 10 files do."""
    with path.open("rb") as file:
        return file.read(_PREAMBLE + 4)[_PREAMBLE:] == _MAGIC


def overwriting(twin: Twin) -> Seen:
    """E5: send other pixels under a known SOP Instance UID, and look what is there."""
    seen = Witnessed()
    canary = Canary.draw()
    stored(twin, "ORIGIN", canary)
    before = twin.kept_aside()
    forged = canary.data_set(bytes(len(canary.pixels)))
    to = calling(twin, "FORGER", twin.enrol("FORGER").context())
    with associate(to, CLASSES) as peer:
        status = peer.store(SOP_CLASS, canary.instance, forged)
        seen.note(f"the forgery was answered with status {status:04X}")
        twin.settle()
        _, data_sets = peer.get(canary.wanted())
    seen.expect(len(data_sets) == 1, "the study still has one instance")
    seen.expect(
        all(canary.pixels in each for each in data_sets),
        "what is given out is the original, byte for byte",
    )
    seen.expect(twin.kept_aside() == before + 1, "the forgery is kept aside")
    alerts = [
        each
        for each in twin.records()
        if each.data and canary.study.encode() in each.data and b"110135" in each.data
    ]
    seen.expect(alerts, "the attempt is on the record as a security alert")
    return seen.seen()


def restoring(twin: Twin) -> Seen:
    """E9: back up, restore elsewhere, verify everything, and take the time."""
    seen = Witnessed()
    canary = Canary.draw()
    stored(twin, "BACKED-UP", canary)
    with twin.restored() as restored:
        traces = canary.traces()
        clear = {
            what
            for path in restored.home.rglob("*")
            if path.is_file()
            for what in search(path, traces)
        }
        seen.expect(not clear, "the backup has nothing in the clear")
        seen.expect(not restored.faults, "everything that was restored verifies")
        seen.expect(restored.instances > 0, "the restored archive has its instances")
        megabytes = restored.octets / 1e6
        seen.note(
            f"{restored.instances} instances, {megabytes:.1f} MB: copied, opened and "
            f"verified in {restored.took_s:.1f} s"
        )
    return seen.seen(seen.lines[-1])


def bad_files(twin: Twin) -> Seen:
    """E11: send what harms careless programs, inert; then see who is still there."""
    seen = Witnessed()
    cookie = twin.person("sender", "technologist")
    canary = Canary.draw()
    file = _POLYGLOT + _MAGIC + _meta(canary.instance) + canary.data_set()
    polyglot = _stow(twin, cookie, file)
    if polyglot < 300:
        twin.settle()
        said = ask(
            twin,
            "GET",
            f"/dicom-web/studies/{canary.study}",
            cookie=twin.person("looker", "radiologist"),
            headers={"Accept": 'multipart/related; type="application/dicom"'},
        )
        seen.expect(said.status == 200, "what was taken is given out")
        seen.expect(
            b"\x7fELF" not in said.body and b"MZ\x90" not in said.body,
            "without the program that stood before it",
        )
    else:
        seen.expect(polyglot in {400, 409, 415}, "the polyglot is refused")
    for what, data in _harmful(canary):
        status = _stow(twin, cookie, data)
        seen.expect(400 <= status < 500, f"{what} is refused ({status})")
    seen.expect(
        not any(path.name.startswith("canary-out") for path in _around(twin.home)),
        "nothing was written beside the data folder",
    )
    proof = twin.enrol("AFTERWARDS")
    with associate(calling(twin, "AFTERWARDS", proof.context()), CLASSES) as peer:
        seen.expect(peer.echo() == SUCCESS, "the node still answers")
    return seen.seen()


def _around(home: Path) -> Iterator[Path]:
    yield from home.parent.iterdir()
    yield from home.iterdir()


def _stow(twin: Twin, cookie: str, file: bytes) -> int:
    body = (
        f"--{_BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        + file
        + f"\r\n--{_BOUNDARY}--\r\n".encode()
    )
    kind = f'multipart/related; type="application/dicom"; boundary={_BOUNDARY}'
    headers = {"Content-Type": kind}
    said = ask(
        twin, "POST", "/dicom-web/studies", cookie=cookie, body=body, headers=headers
    )
    return said.status


def _element(group: int, element: int, vr: bytes, value: bytes) -> bytes:
    return (
        struct.pack("<HH", group, element) + vr + struct.pack("<H", len(value)) + value
    )


def _meta(instance: str, syntax: bytes = b"1.2.840.10008.1.2.1\0") -> bytes:
    """Return group 0002 (PS3.10 §7.1), by hand: some of it is wrong on purpose."""
    name = instance.encode("ascii")
    after = (
        struct.pack("<HH2sHIBB", 2, 1, b"OB", 0, 2, 0, 1)
        + _element(2, 2, b"UI", SOP_CLASS.encode() + b"\0" * (len(SOP_CLASS) % 2))
        + _element(2, 3, b"UI", name + b"\0" * (len(name) % 2))
        + _element(2, 0x10, b"UI", syntax)
    )
    return _element(2, 0, b"UL", struct.pack("<I", len(after))) + after


def _harmful(canary: Canary) -> Iterator[tuple[str, bytes]]:
    head = bytes(_PREAMBLE) + _MAGIC
    fine = canary.data_set()
    other = new_uid()
    yield (
        "an instance that is named like a path",
        head
        + _meta(other)
        + fine.replace(
            canary.instance.encode(),
            b"../../canary-out".ljust(len(canary.instance), b"x"),
        ),
    )
    nested = b"".join(
        struct.pack("<HH2sHI", 8, 0x1140, b"SQ", 0, 0xFFFFFFFF)
        + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
        for _ in range(_DEPTH)
    )
    yield f"a sequence {_DEPTH} deep", head + _meta(other) + nested
    yield (
        "a length that is a lie",
        head + _meta(other) + struct.pack("<HH2sHI", 8, 0x8, b"OB", 0, 0xFFFFFFF0),
    )
    yield (
        "a deflated data set that is none",
        head + _meta(UID(other), b"1.2.840.10008.1.2.1.99") + b"\xff" * 64,
    )
