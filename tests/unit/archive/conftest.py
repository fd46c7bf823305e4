"""A whole node in a folder, in this process: nothing is faked."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.fileset import FileSet
from pydicom.filewriter import dcmwrite
from pydicom.uid import ExplicitVRLittleEndian

from leadglass.access.policy import Kind, Rule, Subject
from leadglass.access.rights import Right
from leadglass.archive.caller import Caller, Gate
from leadglass.archive.ingest import Announced, Ingest
from leadglass.archive.parts import Parts, Room
from leadglass.audit.builders import Events, Node
from leadglass.audit.log import AuditLog
from leadglass.audit.search import Record, Search
from leadglass.config import Limits
from leadglass.database.engine import Database
from leadglass.database.migrations import upgrade
from leadglass.dicom.part10 import Part10Reader
from leadglass.dicom.transfer_syntaxes import TRANSFER_SYNTAXES
from leadglass.dicom.uids import UID
from leadglass.errors import LeadglassError
from leadglass.index.index import Index
from leadglass.index.records import Added
from leadglass.vault.folder import FolderBlobs
from leadglass.vault.keyfiles import Argon2Cost
from leadglass.vault.keys import KeyFile, Keyring
from leadglass.vault.sealed import SealedBlobs

ORIGIN = "leadglass.example/unit"
CT = "1.2.840.10008.5.1.4.1.1.2"
MR = "1.2.840.10008.5.1.4.1.1.4"
STUDY = "1.2.3.1"


@dataclass
class Rules:
    """What is allowed; a test may put others in place while the node runs."""

    rules: tuple[Rule, ...]

    def __call__(self, subject: Subject) -> tuple[Rule, ...]:
        return self.rules

    def allow(self, subject: Subject, *rights: Right) -> None:
        """Replace what a subject may do on the node itself."""
        self.rules = tuple(rule for rule in self.rules if subject not in rule.subjects)
        if rights:
            rule = Rule(
                name=f"allow {subject.name}",
                subjects=frozenset({subject}),
                rights=frozenset(rights),
                networks=(),
            )
            self.rules = (*self.rules, rule)


OPERATOR = Caller(subject=Subject(Kind.OPERATOR, "operator"), address=None)


@dataclass
class Home:
    """A data folder with a node in it.

    Attributes:
        folder: The data folder; the master key lies beside it.
        parts: The collaborators, as ``app`` puts them together.
        rules: What is allowed now.
    """

    folder: Path
    parts: Parts
    rules: Rules
    inner: FolderBlobs
    _signing_key: Ed25519PrivateKey = field(repr=False)

    def records(self) -> list[Record]:
        """Return the whole audit log."""
        return list(self.parts.audit.list(Search()))

    def blob_paths(self) -> list[Path]:
        """Return the files of all blobs, settled or not."""
        names = set(self.parts.blobs.names())
        return [each for each in self.folder.rglob("*") if each.name in names]


def open_home(folder: Path, limits: Limits) -> Home:
    """Make or open a node; the same folder gives the same archive."""
    data = folder / "data"
    is_new = not data.exists()
    data.mkdir(mode=0o700, exist_ok=True)
    master = KeyFile(folder / "master.key", outside=data)
    if is_new:
        master.create()
        cheap = Argon2Cost(memory_kib=8, passes=1, lanes=1)
        keyring = Keyring.create(data / "keys", master, cost=cheap)
        inner = FolderBlobs.create(data / "blobs")
    else:
        keyring = Keyring.open(data / "keys", master)
        inner = FolderBlobs.open(data / "blobs")
    key = keyring.derive("database")
    database = Database.open(data / "leadglass.db", key, create=is_new)
    upgrade(database)
    signing_key = Ed25519PrivateKey.from_private_bytes(keyring.derive("audit"))
    rules = Rules(())
    rules.allow(OPERATOR.subject, *Right)
    parts = Parts(
        database=database,
        index=Index(),
        audit=AuditLog(database, signing_key, ORIGIN, data),
        events=Events(Node(ORIGIN, "LEADGLASS", "192.0.2.1")),
        blobs=SealedBlobs(inner, keyring),
        keyring=keyring,
        gate=Gate(rules),
        room=Room(data, free_bytes_min=1),
        limits=limits,
    )
    return Home(data, parts, rules, inner, signing_key)


@pytest.fixture
def limits() -> Limits:
    """A test that needs other limits overrides this."""
    return Limits()


@pytest.fixture
def home(tmp_path: Path, limits: Limits) -> Iterator[Home]:
    made = open_home(tmp_path, limits)
    yield made
    made.parts.close()
    made.parts.audit.close()
    made.parts.database.close()
    made.inner.close()


@pytest.fixture
def parts(home: Home) -> Parts:
    return home.parts


@pytest.fixture
def rules(home: Home) -> Rules:
    return home.rules


@pytest.fixture
def operator() -> Caller:
    """May do everything, on the node itself."""
    return OPERATOR


@pytest.fixture
def stranger(operator: Caller) -> Caller:
    """May do nothing."""
    return replace(operator, subject=Subject(Kind.OPERATOR, "stranger"))


@pytest.fixture
def ingest(parts: Parts) -> Ingest:
    return Ingest(parts)


def make_instance(
    number: int = 1,
    *,
    study: str = STUDY,
    series: int = 1,
    patient: str = "PAT-1",
    sop_class: str = CT,
    transfer_syntax: str = ExplicitVRLittleEndian,
    preamble: bytes = bytes(128),
    pixels: bytes = bytes(range(64)),
    with_meta: bool = True,
    **attributes: Any,
) -> bytes:
    """Return a small valid instance as a Part 10 file.

    Its SOP Instance UID is ``{study}.{series}.{number}``. ``attributes`` are
    keywords; ``None`` leaves one out.
    """
    columns = 8 if len(pixels) < 8192 else 1024
    values: dict[str, Any] = {
        "SpecificCharacterSet": "ISO_IR 192",
        "ImageType": ["ORIGINAL", "PRIMARY"],
        "SOPClassUID": sop_class,
        "SOPInstanceUID": f"{study}.{series}.{number}",
        "StudyDate": "20240131",
        "StudyTime": "101530",
        "ContentDate": "20240131",
        "ContentTime": f"1015{number % 60:02}",
        "AccessionNumber": f"ACC-{study[-8:]}",
        "Modality": "CT",
        "StudyDescription": "Thorax",
        "PatientName": "Müller^Zoë",
        "PatientID": patient,
        "PatientBirthDate": "19700101",
        "PatientSex": "F",
        "StudyInstanceUID": study,
        "SeriesInstanceUID": f"{study}.{series}",
        "StudyID": "1",
        "SeriesNumber": series,
        "InstanceNumber": number,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": len(pixels) // columns,
        "Columns": columns,
        "BitsAllocated": 8,
        "BitsStored": 8,
        "HighBit": 7,
        "PixelRepresentation": 0,
        "PixelData": pixels or None,
    } | attributes
    data_set = Dataset()
    for keyword, value in values.items():
        if value is not None:
            setattr(data_set, keyword, value)
    file = BytesIO()
    if not with_meta:
        dcmwrite(file, data_set, implicit_vr=False, little_endian=True)
        return file.getvalue()
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = transfer_syntax
    data_set.preamble = preamble
    dcmwrite(file, data_set, enforce_file_format=True)
    return file.getvalue()


def data_set_of(file: bytes) -> bytes:
    """Return the data set's bytes of a Part 10 file."""
    reader = Part10Reader()
    found = reader.feed(file)
    return reader.finish() if found is None else found


@contextmanager
def file_set(path: Path) -> Iterator[FileSet]:
    """Open a File-set, and clear away the folder that it makes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it makes two, and loses one
        found = FileSet(path)
    try:
        yield found
    finally:
        found._stage["t"].cleanup()


@pytest.fixture
def store(ingest: Ingest, operator: Caller) -> Callable[..., Added]:
    """Return a function that stores a Part 10 file as a C-STORE does."""

    def store(file: bytes, caller: Caller = operator) -> Added:
        reader = Part10Reader()
        data_set = reader.feed(file)
        assert data_set is not None
        sop_class, sop_instance = reader.sop_class, reader.uid(0x0002_0003)
        assert sop_class
        assert sop_instance
        assert reader.transfer_syntax
        syntax = TRANSFER_SYNTAXES[UID(reader.transfer_syntax)]
        arrival = ingest.begin(caller, Announced(sop_class, sop_instance, syntax))
        try:
            arrival.write(memoryview(data_set))
            return arrival.finish()
        except LeadglassError as error:
            arrival.refuse(error)
            raise

    return store
