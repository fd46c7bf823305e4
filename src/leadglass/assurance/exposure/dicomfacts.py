"""What a DICOM listener gives to a stranger, each thing asked once."""

import hashlib
import secrets
import ssl
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from types import MappingProxyType
from typing import Final

from leadglass.assurance.exposure.contact import Line
from leadglass.assurance.exposure.options import Options
from leadglass.assurance.exposure.reach import Reach
from leadglass.assurance.exposure.speaking import (
    ANY,
    SYNTAX,
    Asking,
    Door,
    Knock,
    Matches,
    Talk,
    data_set,
    encoded,
    false_identity,
    knock,
    talk_to,
)
from leadglass.dicom.aetitle import AETitle
from leadglass.dicom.dataset import DataSet, vr_of
from leadglass.dicom.sop_classes import (
    PATIENT_ROOT_FIND,
    PATIENT_ROOT_GET,
    PATIENT_ROOT_MOVE,
    STORAGE,
    STUDY_ROOT_FIND,
    STUDY_ROOT_GET,
    STUDY_ROOT_MOVE,
    VERIFICATION,
)
from leadglass.dicom.uids import UID, new_uid
from leadglass.errors import LeadglassError, PeerError
from leadglass.wire.pdus import RejectReason

WORKLIST: Final = UID("1.2.840.10008.5.1.4.31")
MPPS: Final = UID("1.2.840.10008.3.1.2.3.3")
UPS_PUSH: Final = UID("1.2.840.10008.5.1.4.34.6.1")
AVAILABILITY: Final = UID("1.2.840.10008.5.1.4.33")
COMMITMENT: Final = UID("1.2.840.10008.1.20.1")
PRINTING: Final = UID("1.2.840.10008.5.1.1.9")
SECONDARY_CAPTURE: Final = UID("1.2.840.10008.5.1.4.1.1.7")

SERVICES: Final[Mapping[UID, str]] = MappingProxyType(
    {
        VERIFICATION: "verification",
        STUDY_ROOT_FIND: "study root find", STUDY_ROOT_MOVE: "study root move",
        STUDY_ROOT_GET: "study root get", PATIENT_ROOT_FIND: "patient root find",
        PATIENT_ROOT_MOVE: "patient root move", PATIENT_ROOT_GET: "patient root get",
        WORKLIST: "worklist", MPPS: "procedure steps",
        UPS_PUSH: "unified procedure steps",
        AVAILABILITY: "instance availability", COMMITMENT: "storage commitment",
        PRINTING: "print",
    }
)  # fmt: skip
# CR, CT, MR, US, SC, XA, DX, MG, PT, NM, PDF and CDA, SR: what PACS are full of.
_STORED: Final = tuple(
    each
    for each in STORAGE
    if each.removeprefix("1.2.840.10008.5.1.4.1.1.")
    in {
        "1", "1.1", "1.2", "2", "2.1", "3.1", "4", "4.1", "6.1", "7", "7.4", "12.1",
        "20",
        "88.11", "88.33", "104.1", "104.2", "128", "1.1.1", "1.2.1", "12.2", "130",
        "11.1", "66.4", "481.1",
    }
)  # fmt: skip

# AE-03: titles that products ship with, then those that people choose. At most 60.
TITLES: Final = (
    "ORTHANC", "DCM4CHEE", "CONQUESTSRV1", "COMMON", "TINY_PACS", "DCMQRSCP",
    "STORESCP",
    "PACS", "PACS1", "ARCHIVE", "SERVER", "DICOM", "DICOMSERVER", "DICOMSCP", "STORE",
    "STORAGE", "STORAGESCP", "QRSCP", "AE", "AE_TITLE", "AETITLE", "ACME1",
    "ACME_STORE",
    "MYORTHANC", "RADIANT", "HOROS", "OSIRIX", "DICOOGLE", "DICOOGLE-STORAGE",
    "CLEARCANVAS",
    "SANTE", "SANTEPACS", "MEDDREAM", "PACSONE", "XNAT", "KPServer", "IMPAX", "SYNAPSE",
    "CENTRICITY", "VUEPACS", "SECTRA", "AGFA", "GEPACS", "PHILIPS", "SIEMENS", "FUJI",
    "CARESTREAM", "MERGE", "VNA", "WORKLIST", "MWL", "ROUTER", "GATEWAY", "TEST",
    "DEFAULT",
    "MAIN", "IMAGE", "IMAGES", "RADIOLOGY", "LEADGLASS",
)  # fmt: skip

# DM-02: proof is the third match; a day's studies are then still nobody's to know.
PROOF_MATCHES: Final = 3
# DM-06: a server that delivers more to anyone has no limit worth the name.
UNLIMITED_MATCHES: Final = 100
REJECTIONS: Final = 30
_AT_ONCE_OWN: Final = 6
NAME, ID, BIRTH, STUDY = 0x0010_0010, 0x0010_0020, 0x0010_0030, 0x0020_000D
DATE: Final = 0x0008_0020
# What identifies people (EXP-02): noted as present, never read further.
IDENTIFYING: Final[Mapping[int, str]] = MappingProxyType(
    {
        NAME: "patient name", ID: "patient id", BIRTH: "birth date",
        0x0010_0040: "sex", 0x0010_1000: "other patient ids", 0x0010_1040: "address",
        0x0010_2154: "phone number", 0x0008_0020: "study date",
        0x0008_0050: "accession number", 0x0008_0080: "institution",
        0x0008_0090: "referring physician", 0x0008_1030: "study description",
        STUDY: "study UID",
    }
)  # fmt: skip
_SOCIAL: Final = (3, 2, 4)
_COUNTED: Final = 0x0020_1208


@dataclass(slots=True)
class Seen:
    """What a question brought, without any of it.

    Attributes:
        matches: Status and count.
        attributes: Which identifying attributes had a value.
        patients: Distinct patients, by salted hashes that are dropped.
        images: Sum of what the matches say of their number of instances.
        study: One Study Instance UID, for DM-08; never reported.
    """

    matches: Matches
    attributes: frozenset[str] = frozenset()
    patients: int = 0
    images: int = 0
    study: str = field(default="", repr=False)

    @property
    def is_answered(self) -> bool:
        """Whether the question was answered at all, be it with no match."""
        return self.matches.count > 0 or self.matches.status == 0

    @property
    def shows_patients(self) -> bool:
        """Whether a match identified somebody."""
        return bool(self.attributes & _PATIENT)


_PATIENT: Final = frozenset({"patient name", "patient id", "birth date"})
NOTHING: Final = Seen(Matches())


class DicomFacts:
    """What is asked of one listener.

    Args:
        line: The way to the host.
        port: Where.
        tls: None speaks in plaintext.
        options: Of the scan.
        first: The first knock, which found that this is DICOM.
    """

    def __init__(
        self,
        line: Line,
        port: int,
        tls: ssl.SSLContext | None,
        options: Options,
        first: Knock,
    ) -> None:
        self.line, self.port, self.tls, self.options = line, port, tls, options
        self.first = first

    def knock(self, asking: Asking) -> Knock:
        """Ask for an association and release it."""
        return knock(self.line, self.port, asking, self.tls)

    # --- who may come in --------------------------------------------------------

    @cached_property
    def any_called(self) -> Knock:
        """A title that nobody has is called (AE-01)."""
        return self.knock(Asking(_random_title()))

    @cached_property
    def door(self) -> Knock | None:
        """The first knock that is let in, of all titles that are worth a try."""
        if self.first.is_open:
            return self.first
        if self.any_called.is_open:
            return self.any_called
        for title in self.options.called:
            found = self.knock(Asking(title))
            if found.is_open:
                return found
        return self.guessed

    @cached_property
    def guessed(self) -> Knock | None:
        """A title out of a list of products' that is let in (AE-03)."""
        if self.options.called or self.first.door is not Door.REJECTED:
            return None
        for text in TITLES:
            found = self.knock(Asking(AETitle(text)))
            if found.is_open:
                return found
            # Another reason: the title is right, and the caller is the matter.
            if found.reason is RejectReason.CALLING_AE_TITLE_NOT_RECOGNIZED:
                return None
        return None

    @property
    def called(self) -> AETitle:
        """The title that is right, or the best guess."""
        if self.door is not None:
            return self.door.called
        return self.options.called[0] if self.options.called else ANY

    @cached_property
    def any_calling(self) -> Knock:
        """The right title is called by a title that nobody has (AE-02)."""
        return self.knock(Asking(self.called, _random_title()))

    @cached_property
    def false_identity(self) -> Knock:
        """A user that nobody has, with a wrong passcode (AE-07)."""
        return self.knock(Asking(self.called, identity=false_identity()))

    @cached_property
    def surface(self) -> Knock:
        """Everything is proposed (AE-13)."""
        return self.knock(Asking(self.called, classes=(*SERVICES, *_STORED)))

    @cached_property
    def stores(self) -> tuple[UID, ...]:
        """Storage classes that were accepted."""
        return tuple(each for each in _STORED if each in self.surface.taken)

    @cached_property
    def rejections(self) -> int:
        """How many of 30 wrong titles in a row were answered as the first (AE-05)."""
        first = self.any_called

        def is_alike(_: int) -> bool:
            return self.knock(Asking(_random_title())).door is first.door

        # A device is asked one at a time; this machine's own bears several.
        at_once = _AT_ONCE_OWN if self.line.reach is Reach.OWN else 1
        with ThreadPoolExecutor(at_once) as pool:
            return sum(pool.map(is_alike, range(REJECTIONS)))

    # --- what is answered -------------------------------------------------------

    def _talk(self, *classes: UID) -> Talk | None:
        if self.door is None:
            return None
        talk = talk_to(
            self.line, self.port, Asking(self.called, classes=classes), self.tls
        )
        if isinstance(talk, Talk):
            if talk.knock.is_open:
                return talk
            talk.end()
        return None

    @cached_property
    def echo(self) -> int | None:
        """Status of a C-ECHO (DM-01)."""
        talk = self._talk(VERIFICATION)
        if talk is None:
            return None
        with talk:
            return talk.echo() if VERIFICATION in talk.knock.taken else None

    @cached_property
    def studies(self) -> Seen:
        """Studies of yesterday and today, else any (DM-02)."""
        return self._narrow(STUDY_ROOT_FIND, "STUDY")

    @cached_property
    def people(self) -> Seen:
        """Patients (DM-03)."""
        return self.ask(PATIENT_ROOT_FIND, _identifier("PATIENT", ""), PROOF_MATCHES)

    def _narrow(self, sop_class: UID, level: str) -> Seen:
        today = _today()
        span = f"{today - timedelta(days=1):%Y%m%d}-{today:%Y%m%d}"
        found = self.ask(sop_class, _identifier(level, span), PROOF_MATCHES)
        if found.matches.count or not found.is_answered:
            return found
        wide = self.ask(sop_class, _identifier(level, ""), PROOF_MATCHES)
        return wide if wide.is_answered else found

    @cached_property
    def worklist(self) -> Seen:
        """Who is expected today (DM-04)."""
        step = data_set(
            (0x0040_0002, "DA", f"{_today():%Y%m%d}"), (0x0040_0003, "TM", "")
        )
        wanted = encoded(
            (NAME, "PN", ""), (ID, "LO", ""), (BIRTH, "DA", ""),
            (0x0040_0100, "SQ", (step,)),
        )  # fmt: skip
        return self.ask(WORKLIST, wanted, PROOF_MATCHES)

    @cached_property
    def everything(self) -> Seen:
        """All studies, cancelled at a hundred (DM-06, EXP-01)."""
        if not self.studies.matches.count:
            return NOTHING
        return self.ask(STUDY_ROOT_FIND, _identifier("STUDY", ""), UNLIMITED_MATCHES)

    def ask(self, sop_class: UID, identifier: bytes, enough: int) -> Seen:
        """Ask a question; keep counts and flags of what is answered."""
        if sop_class not in self.surface.taken:
            return NOTHING
        talk = self._talk(sop_class)
        if talk is None:
            return NOTHING
        with talk:
            if sop_class not in talk.knock.taken:
                return NOTHING
            matches = talk.find(sop_class, identifier, enough)
        return _seen(matches)

    @cached_property
    def moved(self) -> int | None:
        """Status of a C-MOVE of nothing to nowhere (DM-07)."""
        model = next(
            (
                e
                for e in (STUDY_ROOT_MOVE, PATIENT_ROOT_MOVE)
                if e in self.surface.taken
            ),
            None,
        )
        talk = None if model is None else self._talk(model)
        if talk is None or model is None:
            return None
        with talk:
            wanted = encoded((0x0008_0052, "CS", "STUDY"), (STUDY, "UI", new_uid()))
            return talk.move_nowhere(model, wanted)

    @cached_property
    def committed(self) -> int | None:
        """Status of a storage commitment of what was never stored (DM-17)."""
        talk = self._talk(COMMITMENT) if COMMITMENT in self.surface.taken else None
        if talk is None:
            return None
        with talk:
            if COMMITMENT not in talk.knock.taken:
                return None
            return talk.act(COMMITMENT, _commitment_command(), _commitment())

    @cached_property
    def downloaded(self) -> int | None:
        """Bytes of one image that was fetched, hashed and forgotten (DM-08)."""
        if not (self.options.may_download and self.studies.study and self.stores):
            return None
        if STUDY_ROOT_GET not in self.surface.taken:
            return None
        talk = self._talk(STUDY_ROOT_GET, *self.stores)
        if talk is None:
            return None
        wanted = encoded(
            (0x0008_0052, "CS", "STUDY"), (STUDY, "UI", self.studies.study)
        )
        count = 0
        with talk:
            try:
                count = sum(len(piece) for piece in talk.get(STUDY_ROOT_GET, wanted))
            except LeadglassError:
                return count or None
        return count or None

    @cached_property
    def written(self) -> int | None:
        """Status of a C-STORE of an invented picture of nobody (DM-09)."""
        if not self.options.may_write or SECONDARY_CAPTURE not in self.surface.taken:
            return None
        talk = self._talk(SECONDARY_CAPTURE)
        if talk is None:
            return None
        with talk:
            if SECONDARY_CAPTURE not in talk.knock.taken:
                return None
            instance = new_uid()
            return talk.store(SECONDARY_CAPTURE, instance, canary(instance))


def _seen(matches: Matches) -> Seen:
    salt = secrets.token_bytes(16)
    flags: set[str] = set()
    patients: set[bytes] = set()
    images, study = 0, ""
    for raw in matches.data_sets:
        try:
            data = DataSet.decode(raw, SYNTAX)
        except PeerError:
            continue
        flags |= {name for tag, name in IDENTIFYING.items() if any(data.texts(tag))}
        for value in data.texts(ID):
            if _is_social(value):
                flags.add("number shaped like a US social security number")
            if value:
                patients.add(hashlib.sha256(salt + value.encode()).digest())
        images += sum(int(v) for v in data.texts(_COUNTED)[:1] if v.strip().isdigit())
        study = study or next(iter(data.texts(STUDY)), "")
    matches.data_sets.clear()
    return Seen(matches, frozenset(flags), len(patients), images, study)


def _is_social(value: str) -> bool:
    parts = value.strip().split("-")
    return tuple(len(each) for each in parts) == _SOCIAL and all(
        each.isdigit() for each in parts
    )


def _identifier(level: str, dates: str) -> bytes:
    keys = IDENTIFYING if level == "STUDY" else (NAME, ID, BIRTH, 0x0010_0040)
    values = [(tag, vr_of(tag), dates if tag == DATE else "") for tag in keys]
    if level == "STUDY":
        values.append((_COUNTED, "IS", ""))
    return encoded(*values, (0x0008_0052, "CS", level))


def _commitment() -> bytes:
    item = data_set(
        (0x0008_1150, "UI", SECONDARY_CAPTURE), (0x0008_1155, "UI", new_uid())
    )
    return encoded((0x0008_1195, "UI", new_uid()), (0x0008_1199, "SQ", (item,)))


def _commitment_command() -> bytes:
    """Return an N-ACTION-RQ of the Push Model (PS3.7 §10.3.5.1, PS3.4 §J.3.2)."""

    def one(number: int, raw: bytes) -> bytes:
        return (
            b"\0\0"
            + number.to_bytes(2, "little")
            + len(raw).to_bytes(4, "little")
            + raw
        )

    def uid(text: str) -> bytes:
        raw = text.encode()
        return raw + b"\0" * (len(raw) % 2)

    body = b"".join(
        (
            one(0x0003, uid(COMMITMENT)),
            one(0x0100, b"\x30\x01"),
            one(0x0110, b"\x01\x00"),
            one(0x0800, b"\x01\x00"),
            one(0x1001, uid("1.2.840.10008.1.20.1.1")),
            one(0x1008, b"\x01\x00"),
        )
    )
    return one(0x0000, len(body).to_bytes(4, "little")) + body


def canary(instance: UID) -> bytes:
    """Return a picture of one black pixel, of a patient whose name says why."""
    return encoded(
        (0x0008_0016, "UI", SECONDARY_CAPTURE), (0x0008_0018, "UI", instance),
        (0x0008_0060, "CS", "OT"), (NAME, "PN", "EXPOSCAN^CANARY"),
        (ID, "LO", "EXPOSCAN-CANARY"), (STUDY, "UI", new_uid()),
        (0x0020_000E, "UI", new_uid()),
    )  # fmt: skip


def _random_title() -> AETitle:
    return AETitle("X" + secrets.token_hex(5).upper())


def _today() -> date:
    return datetime.now(UTC).date()
