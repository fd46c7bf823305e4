"""QIDO-RS (PS3.18 §10.6): from a URL to a question, and from rows to answers.

The matching is that of C-FIND: one engine, asked relationally at the study root.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPMethod, HTTPStatus
from types import MappingProxyType
from typing import Any, Final

from pydicom.datadict import dictionary_VR, tag_for_keyword

from leadglass.access.rights import Right
from leadglass.archive.find import Find, Page, Query, Row
from leadglass.audit.builders import Question, Service
from leadglass.dicom.attributes import BY_KEYWORD, BY_TAG, Level
from leadglass.dicom.matching import (
    UNIVERSAL,
    Match,
    Sequence,
    Single,
    UIDList,
    parse_key,
    parse_words,
)
from leadglass.dicom.sop_classes import STUDY_ROOT_FIND
from leadglass.servers.dicomweb.respond import FORMS, choose, respond
from leadglass.servers.http.answers import Answer, Problem
from leadglass.servers.http.routes import About, Call, Parameter, Route

# Results in one response, held in memory as text: about 2 KB each.
RESULTS_MAX: Final = 5_000
# No archive of ours has so many things; a larger number is a mistake or an attack.
OFFSET_MAX: Final = 1_000_000_000
# Sequences within sequences in an attribute's name; ours are matched one deep.
_DEPTH_MAX: Final = 4

_UID = re.compile(r"[0-9.]{1,64}", re.ASCII)
_HEX = re.compile(r"[0-9A-Fa-f]{8}", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,10}", re.ASCII)

_CHARSET: Final = BY_KEYWORD["SpecificCharacterSet"].hex
_AVAILABILITY: Final = "00080056"
_RETRIEVE_URL: Final = "00081190"
_UID_KEYS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "study": BY_KEYWORD["StudyInstanceUID"].tag,
        "series": BY_KEYWORD["SeriesInstanceUID"].tag,
    }
)

# What an answer of a level has unasked (Tables 10.6.3-3, -4 and -5), and the
# description by which people know a study.
_RETURNED: Final[Mapping[Level, frozenset[int]]] = MappingProxyType(
    {
        level: frozenset(BY_KEYWORD[keyword].tag for keyword in keywords.split())
        for level, keywords in (
            (
                Level.STUDY,
                (
                    "StudyDate StudyTime AccessionNumber ModalitiesInStudy "
                    "ReferringPhysicianName TimezoneOffsetFromUTC PatientName "
                    "PatientID PatientBirthDate PatientSex StudyInstanceUID StudyID "
                    "StudyDescription "
                    "NumberOfStudyRelatedSeries NumberOfStudyRelatedInstances"
                ),
            ),
            (
                Level.SERIES,
                (
                    "Modality TimezoneOffsetFromUTC SeriesDescription "
                    "SeriesInstanceUID SeriesNumber NumberOfSeriesRelatedInstances "
                    "PerformedProcedureStepStartDate PerformedProcedureStepStartTime "
                    "RequestAttributesSequence"
                ),
            ),
            (
                Level.IMAGE,
                (
                    "SOPClassUID SOPInstanceUID TimezoneOffsetFromUTC InstanceNumber "
                    "Rows Columns BitsAllocated NumberOfFrames"
                ),
            ),
        )
    }
)
_LEVELS: Final = (Level.STUDY, Level.SERIES, Level.IMAGE)


@dataclass(frozen=True, slots=True)
class Resource:
    """One of the resources of §10.6.1.1: things of a level below what a path names."""

    template: str
    level: Level
    summary: str
    named: tuple[str, ...] = ()

    @property
    def about(self) -> About:
        """What programs are told of it."""
        level = _LEVELS.index(self.level)
        matched = {Level.PATIENT, *_LEVELS[: level + 1]}
        keywords = [each.keyword for each in BY_TAG.values() if each.level in matched]
        return About(
            self.summary,
            query=_PARAMETERS,
            attributes=tuple(keywords),
            gives_media=FORMS,
            # Nothing found is an empty list in JSON, and no content in XML.
            statuses=(HTTPStatus.OK, HTTPStatus.NO_CONTENT),
        )


RESOURCES: Final = (
    Resource("/studies", Level.STUDY, "Search for studies"),
    Resource("/series", Level.SERIES, "Search for series of all studies"),
    Resource("/instances", Level.IMAGE, "Search for instances of all studies"),
    Resource(
        "/studies/{study}/series",
        Level.SERIES,
        "Search for series of a study",
        ("study",),
    ),
    Resource(
        "/studies/{study}/instances",
        Level.IMAGE,
        "Search for instances of a study",
        ("study",),
    ),
    Resource(
        "/studies/{study}/series/{series}/instances",
        Level.IMAGE,
        "Search for instances of a series",
        ("study", "series"),
    ),
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A search as it is understood.

    Attributes:
        keys: What is matched, by tag.
        included: What is asked back besides; ``None`` for all there is.
        limit: The most results that are wanted; ``None``: as many as there are.
        offset: How many to leave out first.
        accepts: Media types that stand for the header.
    """

    keys: Mapping[int, Match]
    included: frozenset[int] | None
    limit: int | None
    offset: int
    accepts: tuple[str, ...]

    @classmethod
    def read(
        cls, parameters: Iterable[tuple[str, str]], path: Mapping[str, str]
    ) -> "Asked":
        """Read the parameters of a search (§8.3.4).

        Raises:
            Problem: 400, one of them is none, or is given twice.
            BadData: A value that its attribute cannot have.
        """
        options: dict[str, list[str]] = {name: [] for name in _OPTIONS}
        wanted: dict[tuple[int, ...], str] = {}
        for name, value in parameters:
            if name in options:
                options[name].append(value)
                continue
            tags = _tags(name)
            if tags in wanted:
                raise _bad("an attribute is given twice")
            wanted[tags] = value
        matching = _Matching(
            fuzzy=_flag(options["fuzzymatching"]),
            empty=_flag(options["emptyvaluematching"]),
            multiple=_flag(options["multiplevaluematching"]),
        )
        keys = matching.keys(wanted)
        for name, uid in path.items():
            tag = _UID_KEYS[name]
            if tag in keys or not _UID.fullmatch(uid):
                raise _bad("a UID in the path is none, or is given again")
            keys[tag] = UIDList((uid,))
        return cls(
            keys=keys,
            included=_included(options["includefield"]),
            limit=_count(options["limit"], RESULTS_MAX) if options["limit"] else None,
            offset=_count(options["offset"], OFFSET_MAX),
            accepts=tuple(options["accept"]),
        )


_WHOLE_NUMBER: Final = "^[0-9]{1,10}$"
_FLAGS: Final = ("true", "false")
# Parameters that are no attributes (§8.3.4, §8.3.3).
_PARAMETERS: Final = (
    Parameter("accept", "Media types, in place of the header"),
    Parameter("charset", "Character sets; answers are UTF-8, whatever is wished"),
    Parameter(
        "emptyvaluematching", 'Whether "" matches what has no value', choices=_FLAGS
    ),
    Parameter(
        "fuzzymatching", "Whether names match by their beginnings", choices=_FLAGS
    ),
    Parameter("includefield", "Attributes to tell besides, by name or tag; or all"),
    Parameter("limit", "How many results at most", pattern=_WHOLE_NUMBER),
    Parameter(
        "multiplevaluematching",
        "Whether a backslash parts values, each of which may match",
        choices=_FLAGS,
    ),
    Parameter("offset", "How many results to leave out", pattern=_WHOLE_NUMBER),
)
_OPTIONS: Final = tuple(each.name for each in _PARAMETERS)


@dataclass(frozen=True, slots=True)
class _Matching:
    """How values are read (§8.3.4.2, §8.3.4.5, §8.3.4.6)."""

    fuzzy: bool
    empty: bool
    multiple: bool

    def keys(self, wanted: Mapping[tuple[int, ...], str]) -> dict[int, Match]:
        """Return the keys; those within one sequence together (PS3.4 §C.2.2.2.6)."""
        keys: dict[int, Match] = {}
        nested: dict[int, dict[int, Match]] = {}
        for tags, value in wanted.items():
            match = self._match(tags[-1], value)
            if len(tags) == 1:
                keys[tags[0]] = match
            elif match != UNIVERSAL:
                nested.setdefault(tags[0], {})[tags[-1]] = match
            else:
                keys.setdefault(tags[0], UNIVERSAL)
        return keys | {tag: Sequence(inner) for tag, inner in nested.items()}

    def _match(self, tag: int, value: str) -> Match:
        vr = _vr(tag)
        if vr == "SQ":
            return UNIVERSAL
        if value.strip() == '""' and not self.empty:
            return Single('""')  # two characters, which nobody is called
        if vr == "PN" and self.fuzzy:
            return parse_words([value])
        # No UID and no code string holds a comma: many write lists with it.
        if vr in {"UI", "CS"}:
            return parse_key(vr, re.split(r"[,\\]", value))
        return parse_key(vr, value.split("\\") if self.multiple else [value])


def _tags(name: str) -> tuple[int, ...]:
    """Return the tags of an attribute's name: keyword or tag, dotted (§8.3.4.1)."""
    parts = name.split(".")
    if len(parts) > _DEPTH_MAX:
        raise _bad("an attribute lies too deep")
    return tuple(map(_tag, parts))


def _tag(name: str) -> int:
    tag = int(name, 16) if _HEX.fullmatch(name) else tag_for_keyword(name)
    if not tag:
        raise _bad("an attribute is unknown")
    return tag


def _vr(tag: int) -> str:
    if tag in BY_TAG:
        return BY_TAG[tag].vr
    try:
        return str(dictionary_VR(tag))
    except KeyError:
        return "UN"


def _included(values: Iterable[str]) -> frozenset[int] | None:
    names = [name for value in values for name in value.split(",") if name]
    if "all" in names:
        return None
    return frozenset(_tags(name)[0] for name in names)


def _flag(values: list[str]) -> bool:
    if len(values) > 1 or any(value not in {"true", "false"} for value in values):
        raise _bad("a flag is true or false, once")
    return values == ["true"]


def _count(values: list[str], most: int) -> int:
    """Return a number; one above what there can be is that."""
    if not values:
        return 0
    if len(values) > 1 or not _NUMBER.fullmatch(values[0]):
        raise _bad("limit and offset are whole numbers, once")
    return min(int(values[0]), most)


def _bad(detail: str) -> Problem:
    return Problem(HTTPStatus.BAD_REQUEST, detail)


@dataclass(frozen=True, slots=True)
class Search:
    """Answers searches.

    Attributes:
        find: The use case.
        root: Path of the service, as ``/dicom-web``.
    """

    find: Find
    root: str = "/dicom-web"

    def routes(self) -> Iterator[Route]:
        """Yield the routes of all resources."""
        for resource in RESOURCES:
            yield Route(
                method=HTTPMethod.GET,
                template=self.root + resource.template,
                access=Right.FIND,
                handler=self._handler(resource),
                about=resource.about,
            )

    def _handler(self, resource: Resource) -> "_Handler":
        return _Handler(self.find, self.root, resource)


@dataclass(frozen=True, slots=True)
class _Handler:
    """Answers searches for one resource."""

    find: Find
    root: str
    resource: Resource

    def __call__(self, call: Call) -> Answer:
        asked = Asked.read(call.query, call.path)
        form = choose(asked.accepts or call.headers.getlist("accept"))
        counted = asked.included or frozenset()
        limit = RESULTS_MAX if asked.limit is None else asked.limit
        query = Query(
            level=self.resource.level,
            keys=dict.fromkeys(counted, UNIVERSAL) | dict(asked.keys),
            scopes=(),
            relational=True,
            limit=min(limit, RESULTS_MAX),
            offset=asked.offset,
        )
        question = Question(
            sop_class=STUDY_ROOT_FIND,
            data_set=call.target.encode(),
            transfer_syntax="",
            level=self.resource.level,
            service=Service.QIDO_RS,
        )
        page = self.find.page(call.caller, query, question)
        service = call.base + self.root
        answer = respond(form, self._told(page, asked, service))
        if not page.has_more:
            return answer
        # Not how many: who may see a part must not learn of the rest by its number,
        # and counting costs what leaving out saves.
        warning = f"299 {service}: There are additional results that can be requested"
        return Answer(
            answer.status, answer.media_type, answer.body, {"warning": warning}
        )

    def _told(
        self, page: Page, asked: Asked, service: str
    ) -> Iterator[Mapping[str, Any]]:
        wanted = self._wanted(asked)
        for row in page.rows:
            entries = {
                tag: entry
                for tag, entry in row.json.items()
                if wanted is None or tag in wanted
            }
            if _CHARSET in row.json:
                entries[_CHARSET] = {"vr": "CS", "Value": ["ISO_IR 192"]}
            entries[_AVAILABILITY] = {"vr": "CS", "Value": ["ONLINE"]}
            entries[_RETRIEVE_URL] = {"vr": "UR", "Value": [service + _path(row)]}
            yield entries

    def _wanted(self, asked: Asked) -> frozenset[str] | None:
        """Return the tags to tell; of levels that the path names, the UIDs only."""
        if asked.included is None:
            return None
        level = self.resource.level
        own = _LEVELS[len(self.resource.named) : _LEVELS.index(level) + 1]
        tags = set(asked.included) | set(asked.keys) | set(_UID_KEYS.values())
        for each in own:
            tags |= _RETURNED[each]
        return frozenset(f"{tag:08X}" for tag in tags)


def _path(row: Row) -> str:
    uids = row.uids
    path = f"/studies/{uids.study_uid}"
    if uids.series_uid:
        path += f"/series/{uids.series_uid}"
    if uids.instance_uid:
        path += f"/instances/{uids.instance_uid}"
    return path
