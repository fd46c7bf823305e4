"""The study list: where people begin.

Each list that is told is on the record as any other question, with what was typed; so
the page waits until somebody stops typing. What is searched for goes in bodies, never
in a URL: it names patients.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPMethod, HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl

from leadglass.access.rights import Right
from leadglass.archive.downloading import Download
from leadglass.archive.find import Find, Query, Row
from leadglass.audit.builders import Question, Service
from leadglass.dicom.attributes import BY_KEYWORD, Level
from leadglass.dicom.matching import (
    UNIVERSAL,
    Match,
    Multiple,
    Range,
    Wildcard,
    parse_key,
    parse_words,
)
from leadglass.dicom.sop_classes import STUDY_ROOT_FIND
from leadglass.dicom.uids import UID
from leadglass.errors import BadData
from leadglass.servers.http.answers import Answer
from leadglass.servers.http.routes import About, Call, Route
from leadglass.servers.web.pages import HTML, Pages, RightsOf

PATH: Final = "/studies"
# Studies that are told at once: two screens of them.
ROWS: Final = 50
# How far people scroll; behind that a search is meant. What is passed over costs time.
OFFSET_MAX: Final = 100_000
# A form of nine fields.
_FORM_BYTES_MAX: Final = 4096
_FIELDS_MAX: Final = 16
_VALUE_CHARACTERS_MAX: Final = 64
# As browsers send it, whatever they show (HTML, valid date string).
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_FILE_NAME: Final = "study.zip"
_ZIP: Final = "application/zip"
_FORM: Final = "application/x-www-form-urlencoded"
# Without it a browser does not say where a form comes from, and the guard refuses it.
# The address of this page tells nothing, and goes nowhere else.
_REFERRER: Final = {"referrer-policy": "same-origin"}
# What somebody may do with a study from here.
_ACTS: Final = (Right.VIEW, Right.GET, Right.STORE, Right.BREAK_GLASS)
# Modalities without images, so that no thumbnail is asked for (PS3.3 §C.7.3.1.1.1).
_WITHOUT_IMAGES: Final = frozenset(
    {
        *("SR", "PR", "KO", "DOC", "AU", "ECG", "EPS", "HD", "FID", "REG", "PLAN"),
        *("RTSTRUCT", "RTPLAN", "RTRECORD", "SMR", "SRF", "RWV", "TEXTUREMAP"),
    }
)


@dataclass(frozen=True, slots=True)
class Shown:
    """One study as the list shows it; all texts as they were stored."""

    uid: str
    name: str
    patient_id: str
    birth_date: str
    sex: str
    date: str
    time: str
    modalities: str
    description: str
    accession: str
    referring: str
    series: int
    instances: int
    has_images: bool

    @classmethod
    def of(cls, row: Row) -> "Shown":
        """Read an answer of the index."""
        said = _Said(row.json)
        modalities = said.all("ModalitiesInStudy")
        return cls(
            uid=row.uids.study_uid or "",
            name=_spoken(said.one("PatientName")),
            patient_id=row.uids.patient_id,
            birth_date=_day(said.one("PatientBirthDate")),
            sex=said.one("PatientSex"),
            date=_day(said.one("StudyDate")),
            time=_clock(said.one("StudyTime")),
            modalities=", ".join(modalities),
            description=said.one("StudyDescription"),
            accession=said.one("AccessionNumber"),
            referring=_spoken(said.one("ReferringPhysicianName")),
            series=int(said.one("NumberOfStudyRelatedSeries") or 0),
            instances=int(said.one("NumberOfStudyRelatedInstances") or 0),
            has_images=not modalities or not _WITHOUT_IMAGES.issuperset(modalities),
        )


@dataclass(frozen=True, slots=True)
class _Said:
    """A row of the DICOM JSON model, as text."""

    json: Mapping[str, Any]

    def all(self, keyword: str) -> list[str]:
        values = self.json.get(BY_KEYWORD[keyword].hex, {}).get("Value", ())
        return [_text(value) for value in values if value is not None]

    def one(self, keyword: str) -> str:
        return next(iter(self.all(keyword)), "")


def _text(value: object) -> str:
    if isinstance(value, Mapping):  # a person name, by its groups
        return str(next(filter(None, value.values()), ""))
    return str(value)


def _spoken(name: str) -> str:
    """Return a name as people write it: ``Müller, Zoë`` (PS3.5 §6.2.1.1)."""
    family, *others = name.split("^")
    given = " ".join(part for part in others[:2] if part)
    return ", ".join(part for part in (family, given) if part)


def _day(text: str) -> str:
    is_day = len(text) == len("20240131") and text.isdigit()
    return f"{text[:4]}-{text[4:6]}-{text[6:]}" if is_day else text


def _clock(text: str) -> str:
    return f"{text[:2]}:{text[2:4]}" if text[:4].isdigit() and text[3:] else text


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody looks for.

    Attributes:
        keys: What must match, by tag.
        words: What was typed into the one box.
        offset: How many studies are shown already.
    """

    keys: Mapping[int, Match]
    words: tuple[str, ...] = ()
    offset: int = 0

    @classmethod
    def read(cls, body: bytes) -> "Wanted":
        """Read a form.

        Raises:
            BadData: It is none of ours, or a value its attribute cannot have.
        """
        try:
            pairs = parse_qsl(
                body.decode("ascii"), max_num_fields=_FIELDS_MAX, errors="strict"
            )
        except ValueError:
            raise BadData("the search is no form of this page") from None
        form = {name: _plain(value) for name, value in pairs}
        if len(form) != len(pairs) or not form.keys() <= _FIELDS:
            raise BadData("the search has a field that is unknown, or given twice")
        keys: dict[int, Match] = {}
        for name, (keyword, match) in _KEYS.items():
            if form.get(name):
                keys[BY_KEYWORD[keyword].tag] = match(form[name])
        days = _days(form.get("from", ""), form.get("to", ""))
        if days is not None:
            keys[BY_KEYWORD["StudyDate"].tag] = days
        words = tuple(dict.fromkeys(form.get("words", "").split()))
        return cls(keys, words, _offset(form.get("offset", "0")))


def _plain(value: str) -> str:
    """Return a value without what no attribute holds.

    Raises:
        BadData: It is longer than any attribute that is searched.
    """
    if len(value) > _VALUE_CHARACTERS_MAX:
        raise BadData(f"a search for more than {_VALUE_CHARACTERS_MAX} characters")
    return "".join(c if c.isprintable() else " " for c in value).strip()


def _begins(value: str) -> Match:
    return Wildcard(f"{value.rstrip('*')}*")


def _holds(value: str) -> Match:
    """Match what holds a text, as typed or as devices write it: they like capitals."""
    plain = value.strip("*")
    if not plain:
        return UNIVERSAL
    forms = dict.fromkeys((plain, plain.lower(), plain.upper(), plain.capitalize()))
    return Multiple(tuple(Wildcard(f"*{form}*") for form in forms))


def _name(value: str) -> Match:
    return parse_words([value])


def _code(value: str) -> Match:
    return parse_key("CS", value.upper().replace(",", " ").split())


_KEYS: Final = {
    "name": ("PatientName", _name),
    "patient": ("PatientID", _begins),
    "accession": ("AccessionNumber", _begins),
    "modality": ("ModalitiesInStudy", _code),
    "description": ("StudyDescription", _holds),
    "referring": ("ReferringPhysicianName", _name),
}
_FIELDS: Final = frozenset({*_KEYS, "words", "from", "to", "offset"})


def _days(first: str, last: str) -> Match | None:
    if not first and not last:
        return None
    if not all(_DAY.fullmatch(day) for day in (first, last) if day):
        raise BadData("a day is written as 2024-01-31")
    return Range(low=first.replace("-", "") or None, high=last.replace("-", "") or None)


def _offset(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > len(str(OFFSET_MAX)):
        raise BadData("the list does not go on there")
    return int(text)


class StudyRoutes:
    """The page of studies."""

    def __init__(
        self, pages: Pages, find: Find, download: Download, rights_of: RightsOf
    ) -> None:
        self._pages = pages
        self._find = find
        self._download = download
        self._rights_of = rights_of

    def routes(self) -> Iterator[Route]:
        """Yield the routes."""
        yield Route(
            method=HTTPMethod.GET,
            template=PATH,
            access=Right.FIND,
            handler=self.show,
            about=About("The page of studies", gives_media=(HTML,)),
        )
        yield Route(
            method=HTTPMethod.POST,
            template=PATH,
            access=Right.FIND,
            reader=self.search,
            body_bytes_max=_FORM_BYTES_MAX,
            about=About(
                "Rows of the page of studies",
                takes_media=(_FORM,),
                gives_media=(HTML,),
            ),
        )

        yield Route(
            method=HTTPMethod.POST,
            template=f"{PATH}/download",
            access=Right.GET,
            reader=self.download,
            body_bytes_max=_FORM_BYTES_MAX,
            about=About(
                "A study as a ZIP file with a DICOMDIR",
                takes_media=(_FORM,),
                gives_media=(_ZIP,),
            ),
        )

    def show(self, call: Call) -> Answer:
        """Show the page, with the newest studies."""
        return self._page(call, Wanted({}), b"", "")

    def search(self, call: Call, body: bytes) -> Answer:
        """Show what matches, from an offset on.

        Raises:
            BadData: It cannot be searched for.
        """
        return self._page(call, Wanted.read(body), body, "rows")

    def download(self, call: Call, body: bytes) -> Answer:
        """Give a study to take away; its name on the reader's disk says nothing.

        Raises:
            BadData: The form names no study.
            NotFound: There is no such study, or not for this caller.
        """
        try:
            ((name, text),) = parse_qsl(body.decode("ascii"), max_num_fields=1)
            study = UID(text)
        except ValueError:
            raise BadData("the form names no study") from None
        if name != "study":
            raise BadData("the form names no study")
        pieces = self._download(call.caller, study)
        headers = {"content-disposition": f'attachment; filename="{_FILE_NAME}"'}
        return Answer(HTTPStatus.OK, _ZIP, pieces, headers)

    def _page(self, call: Call, wanted: Wanted, asked: bytes, block: str) -> Answer:
        limit = 0 if wanted.offset >= OFFSET_MAX else ROWS
        query = Query(
            level=Level.STUDY,
            keys=wanted.keys,
            scopes=(),
            relational=True,
            limit=limit,
            offset=wanted.offset,
            words=wanted.words,
        )
        question = Question(
            sop_class=STUDY_ROOT_FIND,
            data_set=asked,
            transfer_syntax="",
            level=Level.STUDY,
            service=Service.WEB_APP,
        )
        page = self._find.page(call.caller, query, question)
        values = {
            "studies": [Shown.of(row) for row in page.rows],
            "offset": wanted.offset,
            "next": wanted.offset + ROWS,
            "has_more": page.has_more and limit > 0,
            "may": self._rights_of(call.caller, _ACTS),
        }
        return self._pages.page(
            call, "studies.html", values, block=block, headers=_REFERRER
        )
