"""Nothing that is left on the machine tells who was examined.

A node takes in, keeps aside, answers, converts, erases and is killed in the middle of
a store; then every file that it could have written is searched for the patient's name,
the patient's number and the UIDs, in every encoding that they are likely to have, and
for the mark of a DICOM file. What the node says to its log, and what the kernel shows
of the process, is searched too.
"""

import base64
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread, dcmwrite
from pydicom.data import get_testdata_file

from leadglass.app import master_key_of
from leadglass.dicom.part10 import Part10Reader
from leadglass.dicom.transfer_syntaxes import IMPLICIT_VR_LE
from leadglass.dicom.uids import UID, new_uid
from tests.durability.clients import Gone, associated
from tests.durability.instances import CT, Instance, data_set_of, make_instance
from tests.support.node import ROOT, Credentials, RunningNode

NAME = "Unverwechselbar^Xaverius"
PATIENT = "PID-4471-QXZ"
ACCESSION = "ACC-9913-QXZ"
REASON = "asked for by the patient"
# A Part 10 file has this after its preamble: the mark, and the group of its meta
# information. Four bytes alone would be found in noise once in 4 GB.
DICOM_MARK = b"DICM\x02\x00"
RLE = UID("1.2.840.10008.1.2.5")
STORESCU = "/usr/bin/storescu"
TIMEOUT_S = 120
# The half of it is more than sender and vault hold back in their buffers.
LARGE_BYTES = 4_000_000
WRITTEN_WITHIN_S = 20
LOOK_S = 0.02


@dataclass(frozen=True)
class Day:
    """What was done, and where it may have left traces.

    Attributes:
        words: What must be found nowhere.
        places: Folders that the node may write to.
        log: All that it and its commands said.
        shown: What the kernel shows of its processes: arguments, environment.
        memory: Content of files without a name that it had open.
        shared: New files in shared memory.
    """

    node: RunningNode
    words: tuple[str, ...]
    places: tuple[Path, ...]
    log: Path
    shown: tuple[bytes, ...]
    memory: tuple[bytes, ...]
    shared: tuple[Path, ...]


def start(node: RunningNode, environment: dict[str, str], log: Path) -> None:
    """Start it as an operator does, with the most talkative log."""
    with log.open("ab") as errors:
        node.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "leadglass", "serve", "--json"),
                *("--dimse", "127.0.0.1:0", "--https", "127.0.0.1:0"),
            ],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    assert node.process.stdout is not None
    ready = json.loads(node.process.stdout.readline())
    node.port = int(ready["dimse"].rpartition(":")[2])


def command(environment: dict[str, str], log: Path, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "leadglass", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    with log.open("ab") as file:
        file.write(done.stdout + done.stderr)
    assert done.returncode == 0, done.stderr.decode()


def patient(number: int, study: UID | None = None, **more: object) -> Instance:
    return make_instance(
        number,
        study=study,
        name=NAME,
        patient=PATIENT,
        AccessionNumber=ACCESSION,
        **more,  # type: ignore[arg-type]
    )


def compressed() -> Instance:
    """Return an image that must be decoded for who takes only uncompressed ones."""
    file = dcmread(get_testdata_file("MR_small_RLE.dcm"))
    study, uid = new_uid(), new_uid()
    file.StudyInstanceUID, file.SOPInstanceUID = study, uid
    file.SeriesInstanceUID = new_uid()
    file.file_meta.MediaStorageSOPInstanceUID = uid
    file.PatientName, file.PatientID, file.AccessionNumber = NAME, PATIENT, ACCESSION
    buffer = BytesIO()
    dcmwrite(buffer, file, enforce_file_format=True)
    content = buffer.getvalue()
    reader = Part10Reader()
    reader.feed(content)
    return Instance(
        study=study,
        series=UID(file.SeriesInstanceUID),
        uid=uid,
        file=content,
        data_set=data_set_of(content),
        sop_class=UID(file.SOPClassUID),
        transfer_syntax=RLE,
    )


def storescu(node: RunningNode, device: Credentials, file: Path) -> None:
    done = subprocess.run(
        [
            *(STORESCU, *device.dcmtk, "-aet", "CT1", "-aec", "LEADGLASS"),
            *(node.host, str(node.port), str(file)),
        ],
        capture_output=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()


def break_off(node: RunningNode, device: Credentials, instance: Instance) -> None:
    """Kill the node when the half of an instance is on its disk."""

    def pieces() -> Iterator[bytes]:
        middle = len(instance.data_set) // 2
        yield instance.data_set[:middle]
        deadline = time.monotonic() + WRITTEN_WITHIN_S
        incoming = node.home / "vault" / "incoming"
        while not any(each.stat().st_size for each in incoming.rglob("*.part")):
            assert time.monotonic() < deadline
            time.sleep(LOOK_S)
        node.kill()
        yield instance.data_set[middle:]

    with suppress(Gone), associated(node, device) as to:
        to.store(instance, data_set=pieces())
    assert node.process is None


def shown_by_kernel(process: int) -> Iterator[bytes]:
    """Yield arguments and environment of a process and of its children."""
    for number in (process, *children(process)):
        for name in ("cmdline", "environ"):
            yield Path(f"/proc/{number}/{name}").read_bytes()


def children(process: int) -> Iterator[int]:
    for task in Path(f"/proc/{process}/task").iterdir():
        try:
            started = (task / "children").read_text().split()
        except FileNotFoundError:  # the thread has ended: another one has its children
            continue
        for number in started:
            yield int(number)
            yield from children(int(number))


def nameless(process: int) -> Iterator[bytes]:
    """Yield what is in open files that have no name any more, or never had one."""
    for number in (process, *children(process)):
        for each in Path(f"/proc/{number}/fd").iterdir():
            with suppress(FileNotFoundError):
                target = str(each.readlink())
                if target.startswith("/memfd:") or target.endswith(" (deleted)"):
                    yield each.read_bytes()


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    folder = tmp_path_factory.mktemp("node")
    media = tmp_path_factory.mktemp("media")  # the devices', and not the node's
    temporary, log = folder / "tmp", folder / "log"
    temporary.mkdir()
    shared_before = set(Path("/dev/shm").rglob("*"))
    node = RunningNode(folder / "home")
    environment = os.environ | {
        "PYTHONPATH": str(ROOT / "src"),
        "LEADGLASS_HOME": str(node.home),
        "LEADGLASS_LOG_LEVEL": "debug",
        "TMPDIR": str(temporary),
    }
    command(environment, log, "init")
    device = node.enrol("CT1")
    start(node, environment, log)
    try:
        yield live(node, device, environment, log, media, shared_before)
    finally:
        if node.process is not None:
            node.kill()


def live(  # noqa: PLR0917  # what there is, each named
    node: RunningNode,
    device: Credentials,
    environment: dict[str, str],
    log: Path,
    media: Path,
    shared_before: set[Path],
) -> Day:
    sent, imported, doomed = patient(1), patient(2), patient(3)
    packed, broken = compressed(), patient(4, pixel_bytes=LARGE_BYTES)
    other = make_instance(
        5, study=sent.study, name=NAME, patient=PATIENT, SOPInstanceUID=sent.uid
    )
    (media / "sent.dcm").write_bytes(sent.file)
    (media / "imported").mkdir()
    (media / "imported" / "one.dcm").write_bytes(imported.file)
    storescu(node, device, media / "sent.dcm")
    command(environment, log, "import", str(media / "imported"))
    storage = [(CT, sent.transfer_syntax), (packed.sop_class, RLE)]
    with associated(node, device, storage=storage) as to:
        assert to.store(other).status == 0x0111
        assert to.store(doomed).status == 0
        assert to.store(packed).status == 0
        lie = replace(doomed, data_set=sent.data_set)
        assert to.store(lie).status == 0xA900
        assert len(to.find(t00100010=NAME, t0020000D="")) == 4
        assert len(to.find(t00100010="*verwechsel*", t0020000D="")) == 4
    with associated(node, device, storage=[(packed.sop_class, IMPLICIT_VR_LE)]) as to:
        response, found = to.get(packed.study)
        assert response.status == 0
        assert found[packed.uid][0] == IMPLICIT_VR_LE
    assert node.process is not None
    shown = tuple(shown_by_kernel(node.process.pid))
    memory = tuple(nameless(node.process.pid))
    with node.open() as opened:
        opened.erase(opened.operator, doomed.study, REASON)
    break_off(node, device, broken)
    everything = (sent, imported, doomed, packed, broken)
    uids = {uid for each in everything for uid in (each.study, each.series, each.uid)}
    family, _, given = NAME.partition("^")
    return Day(
        node=node,
        words=(family, given, PATIENT, ACCESSION, REASON, *sorted(uids)),
        places=(node.home, Path(environment["TMPDIR"])),
        log=log,
        shown=shown,
        memory=memory,
        shared=tuple(set(Path("/dev/shm").rglob("*")) - shared_before),
    )


def forms(words: Iterable[str]) -> Iterator[bytes]:
    """Yield each word in the encodings and spellings that it may have."""
    for word in words:
        for spelling in {word, word.lower(), word.upper()}:
            raw = spelling.encode()
            yield raw
            yield spelling.encode("utf-16-le")
            yield spelling.encode("utf-16-be")
            yield raw.hex().encode()
            for shift in range(3):  # where it begins within three bytes
                text = base64.b64encode(bytes(shift) + raw)
                yield text[4:-4]


def told(content: bytes, words: Iterable[str]) -> list[bytes]:
    return [form for form in forms(words) if form in content]


def files(day: Day) -> list[Path]:
    return [
        each
        for place in (*day.places, *day.shared)
        for each in ([place] if place.is_file() else place.rglob("*"))
        if each.is_file()
    ]


def test_no_file_tells_of_the_patient(day: Day) -> None:
    found = files(day)
    # The vault, the keys, the database, its log, the authority, the checkpoints …
    home = day.node.home
    names = {str(e.relative_to(home)) for e in found if e.is_relative_to(home)}
    assert {"database", "database-wal", "keys/keyring"} <= names
    assert {"checkpoints/checkpoints", "authority/root.key"} <= names
    parts = [home / name for name in names if name.endswith(".part")]
    # It was killed; those without content were made ready for instances to come.
    assert sum(each.stat().st_size > 0 for each in parts) == 1
    assert any(name.startswith("imports/") for name in names)
    for each in found:
        content = each.read_bytes()
        assert told(content, day.words) == [], each
        assert DICOM_MARK not in content, each


def test_what_a_start_leaves_tells_nothing_either(day: Day) -> None:
    with day.node.open() as opened:
        assert opened.recover().erased == 0
        assert list(opened.parts.blobs.unsettled()) == []
    for each in files(day):
        content = each.read_bytes()
        assert told(content, day.words) == [], each
        assert DICOM_MARK not in content, each


def test_no_name_of_a_file_tells_of_the_patient(day: Day) -> None:
    uid = re.compile(r"\d+(\.\d+){3}")
    for place in day.places:
        for each in place.rglob("*"):
            name = str(each.relative_to(place))
            assert told(name.encode(), day.words) == []
            assert uid.search(name) is None


def test_the_log_tells_nothing(day: Day) -> None:
    content = day.log.read_bytes()
    assert told(content, day.words) == []


def test_the_kernel_shows_no_secret_of_the_process(day: Day) -> None:
    key = (day.node.home.parent / "home.key").read_bytes().strip()
    assert len(bytes.fromhex(key.decode())) == 32
    assert any(b"LEADGLASS_HOME" in each for each in day.shown)
    for each in day.shown:
        assert key not in each
        assert told(each, day.words) == []


def test_no_file_without_a_name_tells_anything(day: Day) -> None:
    for content in day.memory:
        assert told(content, day.words) == []
        assert DICOM_MARK not in content
        assert b"PRIVATE KEY" not in content


def test_the_data_folder_does_not_open_itself(day: Day) -> None:
    secret = master_key_of(day.node.config).secret()
    for each in day.node.home.rglob("*"):
        if each.is_file():
            content = each.read_bytes()
            assert secret not in content, each
            assert secret.hex().encode() not in content, each
            assert b"PRIVATE KEY" not in content, each


def test_the_search_would_find_a_name_in_every_form() -> None:
    word = "Unverwechselbar"
    for text in (word, word.upper()):
        for shift in range(3):
            assert told(base64.b64encode(b"x" * shift + text.encode() + b"yz"), [word])
        assert told(b"..." + text.encode("utf-16-le"), [word])
        assert told(b"..." + text.encode() + b"...", [word])
