"""Answers of a small archive, and a comparison of SQL with the definition."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadglass.access.scopes import EVERYTHING, Scope
from leadglass.database.engine import Database
from leadglass.database.migrations import upgrade
from leadglass.dicom import matching
from leadglass.dicom.attributes import BY_KEYWORD, BY_TAG, Level
from leadglass.dicom.matching import Match, comparable, matches
from leadglass.dicom.personname import PersonName
from leadglass.index.conditions import vr_of
from leadglass.index.finding import statement
from leadglass.index.index import Index
from leadglass.index.query import LEVELS, NoQuestion, Query, Root, Selection
from leadglass.index.records import InstanceRecord
from tests.unit.index.samples import CT, MR, Attributes, keys, record, tag_of

INDEX = Index()
ALL = (EVERYTHING,)

# --- a small archive, and what it is in Python -------------------------------------

SAID: Mapping[str, list[Any]] = {
    "PatientID": ["P1", "P2", "p1", "P%", "P_2", ""],
    "IssuerOfPatientID": ["", "North"],
    "PatientName": [
        "SMITH^JOHN",
        "Smith^Johnny",
        "SMITHSON^ANNA",
        "MÜLLER^JÜRGEN",
        "Muller^Jurgen",
        "Yamada^Tarou=山田^太郎=やまだ^たろう",
        "ZHAO=SMITH^JOHN",
        "100%_\\^X".replace("\\", "/"),
        "",
    ],
    "PatientBirthDate": ["19700101", "19701231", "1970.01.01", ""],
    "PatientSex": ["F", "M", ""],
    "OtherPatientIDs": [["A", "B"], ["B"], ["C*"]],
    "StudyDate": ["20240516", "20240517", "20240518", "20231231", ""],
    "StudyTime": ["101500", "1015", "235959.5", "000000", ""],
    "AccessionNumber": ["A1", "A2", "a1", ""],
    "StudyID": ["S1", "S2", ""],
    "StudyDescription": ["CHEST", "CT_CHEST", "CT%CHEST", "chest*", ""],
    "ReferringPhysicianName": ["REF^A", "réf^a", ""],
    "NameOfPhysiciansReadingStudy": [["X^Y", "Z"], ["z"]],
    "ProcedureCodeSequence": [
        [{"CodeValue": "1", "CodingSchemeDesignator": "LN"}],
        [
            {"CodeValue": "1", "CodingSchemeDesignator": "DCM"},
            {"CodeValue": "2", "CodingSchemeDesignator": "LN"},
        ],
    ],
    "Modality": ["CT", "MR", "SR", ""],
    "SeriesNumber": ["1", "2", "10", ""],
    "SeriesDescription": ["AX 1.0", "AX 5.0", ""],
    "BodyPartExamined": ["CHEST", "HEAD", ""],
    "InstitutionName": ["North", "South", ""],
    "InstitutionalDepartmentName": ["Radiology", ""],
    "OperatorsName": [["O^O", "P^P"], ["o^ó"]],
    "RequestAttributesSequence": [
        [
            {
                "RequestedProcedureID": "RP1",
                "ScheduledProtocolCodeSequence": [{"CodeValue": "7"}],
            }
        ],
        [{"RequestedProcedureID": "RP2", "ScheduledProcedureStepID": "S7"}],
    ],
    "InstanceNumber": ["1", "2", "11", ""],
    "ContentDate": ["20240517", ""],
    "ContentTime": ["1015", "11", ""],
    "AcquisitionDateTime": ["20240517101500.5", "2024", ""],
    "Rows": ["512", "64"],
    "SOPClassUID": [CT, MR],
}
SOURCES = ["CT1", "CT2"]


@dataclass(frozen=True)
class Thing:
    """A patient, study, series or instance as the index is to see it."""

    said: Mapping[str, Any]
    parts: list["Thing"] = field(default_factory=list)
    gathered: dict[str, set[str]] = field(default_factory=dict)

    def values(self, keyword: str) -> list[str]:
        if keyword in self.gathered:
            return sorted(self.gathered[keyword])
        said = self.said.get(keyword, [])
        return [each for each in (said if isinstance(said, list) else [said]) if each]


def said_by(each: InstanceRecord) -> Mapping[str, Any]:
    assert isinstance(each.attributes, Attributes)
    return each.attributes.said


@dataclass(frozen=True)
class Model:
    """The archive in Python: what SQL must agree with."""

    patients: dict[tuple[str, str, str], Thing] = field(default_factory=dict)
    studies: dict[str, Thing] = field(default_factory=dict)

    def add(self, each: InstanceRecord) -> None:
        said = said_by(each)
        study = self.studies.get(each.study_uid)
        if study is None:
            study = self.studies[each.study_uid] = Thing(said)
            id_ = said.get("PatientID", "")
            issuer = said.get("IssuerOfPatientID", "")
            who = (id_, issuer, "" if id_ else str(each.study_uid))
            self.patients.setdefault(who, Thing(said)).parts.append(study)
        for keyword, value in (
            ("ModalitiesInStudy", said.get("Modality")),
            ("SOPClassesInStudy", each.sop_class_uid),
            ("institutions", said.get("InstitutionName")),
            ("departments", said.get("InstitutionalDepartmentName")),
            ("sources", each.source),
        ):
            study.gathered.setdefault(keyword, set()).update([value] if value else [])
        for series in study.parts:
            if series.said["SeriesInstanceUID"] == each.series_uid:
                break
        else:
            series = Thing(said)
            study.parts.append(series)
        series.parts.append(Thing(said))

    def paths(self, level: Level) -> Iterator[tuple[Thing, ...]]:
        """Yield each thing of a level, after those above it."""
        for patient in self.patients.values():
            if level is Level.PATIENT:
                yield (patient,)
                continue
            for study in patient.parts:
                if level is Level.STUDY:
                    yield patient, study
                    continue
                for series in study.parts:
                    if level is Level.SERIES:
                        yield patient, study, series
                        continue
                    for instance in series.parts:
                        yield patient, study, series, instance


def random_archive(seed: int) -> list[InstanceRecord]:
    random = Random(seed)  # data for a test
    records = []
    for study in range(8):
        of_study = {
            keyword: random.choice(values)
            for keyword, values in SAID.items()
            if BY_KEYWORD[keyword].level in {Level.PATIENT, Level.STUDY}
            and random.random() < 0.9
        }
        for series in range(random.randint(1, 3)):
            of_series = of_study | {
                keyword: random.choice(values)
                for keyword, values in SAID.items()
                if BY_KEYWORD[keyword].level is Level.SERIES and random.random() < 0.9
            }
            for instance in range(random.randint(1, 3)):
                said = of_series | {
                    keyword: random.choice(values)
                    for keyword, values in SAID.items()
                    if BY_KEYWORD[keyword].level is Level.IMAGE
                }
                uids = (
                    f"1.{study}",
                    f"1.{study}.{series}",
                    f"1.{study}.{series}.{instance}",
                )
                source = random.choice(SOURCES)
                records.append(record(*uids, source=source, **said))
    return records


SEEDS = range(4)


class Archive:
    """A database and its model; no dataclass, since those are shown in full."""

    def __init__(self, database: Database, model: Model) -> None:
        self.database = database
        self.model = model


@pytest.fixture(scope="module")
def archives(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[list[Archive]]:
    made = []
    for seed in SEEDS:
        path = tmp_path_factory.mktemp("index") / "index.db"
        database = Database.open(path, bytes(32), create=True)
        upgrade(database)
        model = Model()
        for each in random_archive(seed):
            database.write(lambda tx, each=each: INDEX.add(tx, each))  # type: ignore[misc]
            model.add(each)
        made.append(Archive(database, model))
    yield made
    for archive in made:
        archive.database.close()


# --- the definition ----------------------------------------------------------------


def in_scope(study: Thing, scopes: tuple[Scope, ...]) -> bool:
    return any(
        all(
            not wanted or wanted & got
            for wanted, got in (
                (scope.institutions, study.gathered["institutions"]),
                (scope.departments, study.gathered["departments"]),
                (scope.modalities, study.gathered["ModalitiesInStudy"]),
                (scope.sources, study.gathered["sources"]),
                (scope.patient_ids, set(study.values("PatientID"))),
                (scope.study_uids, set(study.values("StudyInstanceUID"))),
            )
        )
        and (
            not scope.referring_physicians
            or any(
                matches(
                    matching.Single(name), "PN", study.values("ReferringPhysicianName")
                )
                for name in scope.referring_physicians
            )
        )
        for scope in scopes
    )


def item_matches(item: Mapping[str, Any], wanted: Mapping[int, Match]) -> bool:
    by_tag = {tag_of(keyword): said for keyword, said in item.items()}
    for tag, match in wanted.items():
        if isinstance(match, matching.Sequence):
            if not any(item_matches(each, match.keys) for each in by_tag.get(tag, [])):
                return False
        elif not matches(match, vr_of(tag), [by_tag[tag]] if tag in by_tag else []):
            return False
    return True


def asks_nothing(match: Match) -> bool:
    """Whether a key only asks something back; a sequence of such keys does, too."""
    if isinstance(match, matching.Sequence):
        return all(map(asks_nothing, match.keys.values()))
    return isinstance(match, matching.Universal)


def thing_matches(thing: Thing, tag: int, match: Match) -> bool:
    attribute = BY_TAG[tag]
    if asks_nothing(match):
        return True
    if attribute.vr != "SQ":
        return matches(match, attribute.vr, thing.values(attribute.keyword))
    items = thing.said.get(attribute.keyword, [])
    if isinstance(match, matching.Sequence):
        return any(item_matches(item, match.keys) for item in items)
    return not items if isinstance(match, matching.Empty) else True


def moment_matches(thing: Thing, query: Query) -> bool:
    """Whether date and time of the study, asked for together, match together."""
    days = query.keys.get(tag_of("StudyDate"))
    times = query.keys.get(tag_of("StudyTime"))
    assert isinstance(days, matching.Range)
    assert isinstance(times, matching.Range)
    date = "".join(thing.values("StudyDate"))
    if not date or not matches(days, "DA", [date]):
        return False
    time = "".join(comparable("TM", each) for each in thing.values("StudyTime"))
    on_first = days.low is not None and times.low is not None and date == days.low
    on_last = days.high is not None and times.high is not None and date == days.high
    if on_first and time < (times.low or ""):
        return False
    return not on_last or "" < time <= (times.high or "")


def expected(model: Model, query: Query) -> set[tuple[str, ...]]:
    """Return what the definition finds: the UIDs of each thing."""
    combined = query.combined_datetime and all(
        isinstance(query.keys.get(tag_of(keyword)), matching.Range)
        for keyword in ("StudyDate", "StudyTime")
    )
    left_out = {tag_of("StudyTime")} if combined else set()
    wanted = {
        tag: match
        for tag, match in query.keys.items()
        if tag not in left_out and tag in BY_TAG
    }
    depth = LEVELS.index(query.level)
    found = set()
    for path in model.paths(Level.IMAGE):
        if not in_scope(path[1], query.scopes):
            continue
        carriers = [path[0] if query.level is Level.PATIENT else path[1], *path[1:]]
        if combined and not moment_matches(path[1], query):
            continue
        if all(
            thing_matches(carriers[LEVELS.index(BY_TAG[tag].level)], tag, match)
            for tag, match in wanted.items()
        ):
            found.add(name_of(path[: depth + 1]))
    return found


def name_of(path: tuple[Thing, ...]) -> tuple[str, ...]:
    if len(path) == 1:
        said = path[0].said
        id_ = said.get("PatientID", "")
        # Without an ID, a patient is known by the only study.
        own = "" if id_ else str(said["StudyInstanceUID"])
        return id_, said.get("IssuerOfPatientID", ""), own
    uids = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
    return tuple(
        str(thing.said[uid]) for thing, uid in zip(path[1:], uids, strict=False)
    )


def found(database: Database, query: Query) -> list[tuple[str, ...]]:
    with database.read() as connection:
        rows = list(INDEX.find(connection, query))
    if query.level is not Level.PATIENT:
        return [
            tuple(
                uid
                for uid in (r.uids.study_uid, r.uids.series_uid, r.uids.instance_uid)
                if uid is not None
            )
            for r in rows
        ]
    return [
        (r.uids.patient_id, "".join(r.json.get("00100021", {}).get("Value", [])))
        for r in rows
    ]


# --- questions at random -----------------------------------------------------------


@st.composite
def asked(draw: st.DrawFn, keyword: str) -> Match:
    """Draw a key for an attribute: what is there, changed a little."""
    vr = BY_KEYWORD[keyword].vr
    if vr == "SQ":
        return draw(items_asked(keyword))
    one = st.sampled_from(
        [
            value
            for said in SAID[keyword]
            for value in ([said] if isinstance(said, str) else said)
            if value
        ]
    )
    kinds = [single(vr, one), several(vr, one), st.just(matching.Empty())]
    if vr in matching.RANGE_VRS:
        kinds.append(ranges(vr, one))
    if vr in matching.WILDCARD_VRS:
        kinds += [wildcards(vr, one)] * 3
    if vr == "PN":
        kinds += [fuzzy(one)] * 2
    return draw(st.one_of(kinds))


def single(vr: str, one: st.SearchStrategy[str]) -> st.SearchStrategy[Match]:
    return one.map(lambda value: matching.parse_key(vr, [value]))


def several(vr: str, one: st.SearchStrategy[str]) -> st.SearchStrategy[Match]:
    some = st.lists(one, min_size=2, max_size=3)
    return some.map(lambda values: matching.parse_key(vr, values))


@st.composite
def ranges(draw: st.DrawFn, vr: str, one: st.SearchStrategy[str]) -> Match:
    low, high = sorted(comparable(vr, draw(one)) for _ in range(2))
    form = draw(st.sampled_from(["{}-{}", "-{1}", "{}-"]))
    return matching.parse_key(vr, [form.format(low, high)])


@st.composite
def fuzzy(draw: st.DrawFn, one: st.SearchStrategy[str]) -> Match:
    """Draw beginnings of words, mostly of one name."""
    words = draw(one).replace("=", "^").split("^")
    begun = [word[: draw(st.integers(1, max(1, len(word))))] for word in words if word]
    return matching.parse_words([" ".join(draw(st.permutations(begun)))])


@st.composite
def wildcards(draw: st.DrawFn, vr: str, one: st.SearchStrategy[str]) -> Match:
    value = draw(one)
    start, end = sorted(draw(st.tuples(*[st.integers(0, len(value))] * 2)))
    mark = draw(st.sampled_from(["*", "?", "**", "?*"]))
    return matching.parse_key(vr, [value[:start] + mark + value[end:]])


@st.composite
def items_asked(draw: st.DrawFn, keyword: str) -> Match:
    if keyword == "ProcedureCodeSequence":
        wanted = {
            "CodeValue": draw(st.sampled_from(["", "1", "2", "?"])),
            "CodingSchemeDesignator": draw(st.sampled_from(["", "LN", "DCM", "D*"])),
        }
        return matching.Sequence(keys(**wanted))
    inner = matching.Sequence(keys(CodeValue=draw(st.sampled_from(["7", "8"]))))
    forms: list[Match] = [
        matching.Sequence(keys(RequestedProcedureID="RP*")),
        matching.Sequence(keys(RequestedProcedureID="RP2")),
        matching.Sequence(
            keys(RequestedProcedureID="RP*", ScheduledProcedureStepID="S7")
        ),
        matching.Sequence(
            keys(
                RequestedProcedureID="RP*",
                ScheduledProcedureStepID=matching.Empty(),
            )
        ),
        matching.Sequence(keys(ScheduledProtocolCodeSequence=inner)),
        matching.Empty(),
    ]
    return draw(st.sampled_from(forms))


UIDS = {
    "StudyInstanceUID": [f"1.{n}" for n in range(8)],
    "SeriesInstanceUID": [f"1.{n}.{m}" for n in range(8) for m in range(3)],
    "SOPInstanceUID": [f"1.{n}.{m}.0" for n in range(8) for m in range(3)],
    "SOPClassesInStudy": [CT, MR],
}


@st.composite
def key_sets(draw: st.DrawFn) -> dict[int, Match]:
    chosen = draw(
        st.lists(st.sampled_from([*SAID, *UIDS, "ModalitiesInStudy"]), max_size=3)
    )
    wanted: dict[int, Match] = {}
    for keyword in chosen:
        if keyword in UIDS:
            some = draw(
                st.lists(st.sampled_from(UIDS[keyword]), min_size=1, max_size=9)
            )
            wanted[tag_of(keyword)] = matching.parse_key("UI", some)
        elif keyword == "ModalitiesInStudy":
            value = draw(st.sampled_from(["CT", "MR", "S?", "XX", '""']))
            wanted[tag_of(keyword)] = matching.parse_key("CS", [value])
        else:
            wanted[tag_of(keyword)] = draw(asked(keyword))
    if draw(st.booleans()):
        for keyword in ("StudyDate", "StudyTime"):
            if draw(st.booleans()):
                wanted[tag_of(keyword)] = draw(asked(keyword))
    return wanted


def some_of(*values: str) -> st.SearchStrategy[frozenset[str]]:
    return st.one_of(
        st.just(frozenset[str]()), st.frozensets(st.sampled_from(values), max_size=2)
    )


SCOPES = st.one_of(
    st.just(ALL),
    st.lists(
        st.builds(
            Scope,
            institutions=some_of("North", "South", "Nowhere"),
            departments=some_of("Radiology"),
            modalities=some_of("CT", "MR"),
            referring_physicians=some_of("REF^A", "Nobody"),
            patient_ids=some_of("P1", "P2"),
            study_uids=some_of("1.0", "1.1", "1.2"),
            sources=some_of("CT1", "CT2"),
        ),
        max_size=2,
    ).map(tuple),
)

QUERIES = st.builds(
    Query,
    level=st.sampled_from(Level),
    keys=key_sets(),
    scopes=SCOPES,
    root=st.just(Root.PATIENT),
    relational=st.just(True),
    combined_datetime=st.booleans(),
)


@given(seed=st.sampled_from(SEEDS), query=QUERIES)
def test_sql_finds_what_the_definition_finds(
    archives: list[Archive], seed: int, query: Query
) -> None:
    database, model = archives[seed].database, archives[seed].model
    rows = found(database, query)
    wanted = expected(model, query)
    if query.level is Level.PATIENT:
        assert sorted(rows) == sorted(each[:2] for each in wanted)
    else:
        assert len(rows) == len(set(rows))
        assert set(rows) == wanted


@given(seed=st.sampled_from(SEEDS), query=QUERIES, data=st.data())
def test_limit_and_offset_cut_one_order(
    archives: list[Archive], seed: int, query: Query, data: st.DataObject
) -> None:
    database = archives[seed].database
    whole = found(database, query)
    offset = data.draw(st.integers(0, len(whole) + 1))
    limit = data.draw(st.integers(0, len(whole) + 1))
    part = Query(
        level=query.level,
        keys=query.keys,
        scopes=query.scopes,
        root=query.root,
        relational=True,
        combined_datetime=query.combined_datetime,
        limit=limit,
        offset=offset,
    )
    assert found(database, part) == whole[offset : offset + limit]


@given(seed=st.sampled_from(SEEDS), scopes=SCOPES)
def test_the_numbers_of_a_patient_tell_of_no_study_outside_the_scope(
    archives: list[Archive], seed: int, scopes: tuple[Scope, ...]
) -> None:
    database, model = archives[seed].database, archives[seed].model
    query = Query(
        level=Level.PATIENT,
        keys=keys(
            NumberOfPatientRelatedStudies="",
            NumberOfPatientRelatedSeries="",
            NumberOfPatientRelatedInstances="",
        ),
        scopes=scopes,
        root=Root.PATIENT,
    )
    with database.read() as connection:
        told = sorted(
            tuple(
                row.json[tag]["Value"][0]
                for tag in ("00201200", "00201202", "00201204")
            )
            for row in INDEX.find(connection, query)
        )
    counted = []
    for patient in model.patients.values():
        seen = [study for study in patient.parts if in_scope(study, scopes)]
        if seen:
            series = [each for study in seen for each in study.parts]
            instances = sum(len(each.parts) for each in series)
            counted.append((len(seen), len(series), instances))
    assert told == sorted(counted)


@given(seed=st.sampled_from(SEEDS), scopes=SCOPES, data=st.data())
def test_a_selection_gives_what_is_selected_and_in_scope(
    archives: list[Archive],
    seed: int,
    scopes: tuple[Scope, ...],
    data: st.DataObject,
) -> None:
    database, model = archives[seed].database, archives[seed].model
    level = data.draw(st.sampled_from([Level.STUDY, Level.SERIES, Level.IMAGE]))
    name = {"STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID"}.get(
        level, "SOPInstanceUID"
    )
    some = data.draw(st.lists(st.sampled_from(UIDS[name]), min_size=1, max_size=5))
    wanted = {
        "STUDY": {"study_uids": tuple(some)},
        "SERIES": {"series_uids": tuple(some)},
        "IMAGE": {"instance_uids": tuple(some)},
    }[level]
    with database.read() as connection:
        got = list(
            INDEX.instances(connection, Selection(level=level, **wanted), scopes)
        )
    assert {each.instance_uid for each in got} == {
        path[3].said["SOPInstanceUID"]
        for path in model.paths(Level.IMAGE)
        if in_scope(path[1], scopes) and path[LEVELS.index(level)].said[name] in some
    }


# --- examples ----------------------------------------------------------------------


def fill(database: Database, *records: InstanceRecord) -> None:
    database.write(lambda tx: [INDEX.add(tx, each) for each in records] and None)


def studies(
    database: Database, scopes: tuple[Scope, ...] = ALL, **asked: Any
) -> list[str]:
    query = Query(level=Level.STUDY, keys=keys(**asked), scopes=scopes, relational=True)
    return [uids[0] for uids in found(database, query)]


def test_no_scope_shows_nothing(database: Database) -> None:
    fill(database, record("1", "1.1", "1.1.1"))
    assert studies(database) == ["1"]
    assert studies(database, scopes=()) == []
    with database.read() as connection:
        wanted = Selection(level=Level.STUDY, study_uids=("1",))
        assert list(INDEX.instances(connection, wanted, ())) == []


def test_studies_come_newest_first(database: Database) -> None:
    for number, (date, time) in enumerate(
        [("20240101", "10"), ("20240102", ""), ("20240101", "11"), ("", "")]
    ):
        fill(
            database,
            record(
                f"{number}",
                f"{number}.1",
                f"{number}.1.1",
                StudyDate=date,
                StudyTime=time,
            ),
        )
    assert studies(database) == ["1", "2", "0", "3"]


def test_instances_come_by_series_and_instance_number(database: Database) -> None:
    fill(
        database,
        record("1", "1.2", "1.2.1", SeriesNumber="10", InstanceNumber="10"),
        record("1", "1.2", "1.2.2", SeriesNumber="10", InstanceNumber="9"),
        record("1", "1.1", "1.1.1", SeriesNumber="2"),
        record("1", "1.1", "1.1.2", SeriesNumber="2", InstanceNumber="-1"),
    )
    with database.read() as connection:
        wanted = Selection(level=Level.STUDY, study_uids=("1",))
        got = [e.instance_uid for e in INDEX.instances(connection, wanted, ALL)]
    assert got == ["1.1.2", "1.1.1", "1.2.2", "1.2.1"]


def test_a_thousand_uids_are_one_question(database: Database) -> None:
    fill(database, *(record(f"1.{n}", f"1.{n}.1", f"1.{n}.1.1") for n in range(60)))
    some = [f"1.{n}" for n in range(0, 2_000, 2)]
    assert len(studies(database, StudyInstanceUID=some)) == 30


def test_a_study_is_found_by_the_name_on_its_own_images(database: Database) -> None:
    fill(database, record("1", "1.1", "1.1.1", PatientName="MAIDEN^ANNA"))
    fill(database, record("2", "2.1", "2.1.1", PatientName="MARRIED^ANNA"))
    assert studies(database, PatientName="maiden*") == ["1"]
    assert studies(database, PatientName="MARRIED^ANNA") == ["2"]


def test_a_row_tells_of_all_levels_down_to_its_own(database: Database) -> None:
    fill(
        database,
        record(
            "1",
            "1.1",
            "1.1.1",
            StudyDescription="Chest",
            SeriesDescription="AX",
            InstanceNumber="7",
        ),
    )
    query = Query(
        level=Level.IMAGE,
        keys=keys(StudyInstanceUID="1", SeriesInstanceUID="1.1"),
        scopes=ALL,
    )
    with database.read() as connection:
        (row,) = INDEX.find(connection, query)
    values = {tag: each.get("Value") for tag, each in row.json.items()}
    assert values["00100020"] == ["P1"]
    assert values["00081030"] == ["Chest"]
    assert values["0008103E"] == ["AX"]
    assert values["00200013"] == [7]
    assert values["00201206"] == values["00201208"] == values["00201209"] == [1]
    assert values["00080062"] == [CT]
    assert row.uids.study_uid == "1"
    assert row.uids.instance_uid == "1.1.1"


def test_keys_that_are_not_known_ask_for_nothing(database: Database) -> None:
    fill(database, record("1", "1.1", "1.1.1"))
    query = Query(
        level=Level.STUDY,
        keys={0x0009_1001: matching.Single("private")}
        | keys(PatientComments="never matched"),
        scopes=ALL,
    )
    assert found(database, query) == [("1",)]


def test_a_fold_finds_a_name_in_any_group(database: Database) -> None:
    fill(database, record("1", "1.1", "1.1.1", PatientName="Yamada^Tarou=山田^太郎"))
    for name in ("yamada*", "YAMADA^TAROU", "山田*", "*太郎", "=山田^太郎"):
        assert studies(database, PatientName=name) == ["1"], name
    assert studies(database, PatientName="太郎") == []
    assert PersonName.parse("Yamada^Tarou").folded[0] == "yamada^tarou"


# --- cost --------------------------------------------------------------------------


def plan(database: Database, query: Query) -> str:
    with database.read() as connection:
        compiled = statement(query).compile(
            dialect=connection.dialect, compile_kwargs={"render_postcompile": True}
        )
        assert compiled.positiontup is not None
        rows = connection.exec_driver_sql(
            f"EXPLAIN QUERY PLAN {compiled}",
            tuple(compiled.params[name] for name in compiled.positiontup),
        )
        return "\n".join(row[3] for row in rows)


@pytest.mark.parametrize(
    ("level", "asked", "index"),
    [
        (Level.STUDY, {"PatientID": "P1"}, "ix_study_patient_id"),
        (Level.STUDY, {"AccessionNumber": "A1"}, "ix_study_accession_number"),
        (Level.STUDY, {"StudyInstanceUID": "1.2"}, "study_instance_uid=?"),
        (Level.STUDY, {"StudyInstanceUID": ["1.2", "1.3"]}, "study_instance_uid=?"),
        (Level.STUDY, {"StudyDate": "20240517"}, "ix_study_date"),
        (Level.STUDY, {"StudyDate": "20240501-20240531"}, "ix_study_date"),
        (Level.STUDY, {"StudyDate": "20240501-"}, "ix_study_date"),
        (Level.STUDY, {"PatientName": "SMITH*"}, "ix_study_name"),
        (Level.STUDY, {"PatientName": "SMITH^JOHN"}, "ix_study_name"),
        (Level.STUDY, {"SeriesInstanceUID": "1.2"}, "ix_series_series_instance_uid"),
        (Level.STUDY, {"SOPInstanceUID": "1.2"}, "sop_instance_uid=?"),
        (
            Level.STUDY,
            {"StudyDate": "20240517", "ModalitiesInStudy": "CT"},
            "ix_study_date",
        ),
        (
            Level.STUDY,
            {"PatientID": "P1", "PatientName": "*SON*"},
            "ix_study_patient_id",
        ),
        (Level.SERIES, {"StudyInstanceUID": "1.2"}, "owner_id=?"),
        (Level.SERIES, {"SeriesInstanceUID": "1.2"}, "ix_series_series_instance_uid"),
        (Level.IMAGE, {"SeriesInstanceUID": "1.2"}, "ix_instance_owner_id_place"),
        (Level.IMAGE, {"SOPInstanceUID": "1.2"}, "sop_instance_uid=?"),
        (Level.IMAGE, {"PatientID": "P1"}, "ix_study_patient_id"),
        (Level.PATIENT, {"PatientID": "P1"}, "patient_id=?"),
        (Level.PATIENT, {"PatientName": "SMITH*"}, "ix_patient_name"),
        (Level.PATIENT, {"StudyDate": "20240517"}, "ix_study_date"),
    ],
)
@pytest.mark.parametrize(
    "scopes",
    [ALL, (Scope(modalities=frozenset({"CT"})), Scope(sources=frozenset({"X"})))],
)
def test_what_has_an_index_is_looked_up_and_not_searched(
    database: Database,
    level: Level,
    asked: dict[str, Any],
    index: str,
    scopes: tuple[Scope, ...],
) -> None:
    query = Query(
        level=level,
        keys=keys(**asked),
        scopes=scopes,
        root=Root.PATIENT,
        relational=True,
        limit=100,
    )
    steps = plan(database, query)
    assert index in steps, steps
    assert "SCAN" not in steps, steps


def test_a_name_without_a_beginning_reads_the_index_of_names_alone(
    database: Database,
) -> None:
    query = Query(level=Level.STUDY, keys=keys(PatientName="*SON*"), scopes=ALL)
    assert "COVERING INDEX ix_study_name" in plan(database, query)


@pytest.mark.parametrize(
    ("asked", "index"),
    [
        ({"StudyDescription": "*horax*"}, "ix_study_description"),
        ({"ReferringPhysicianName": "*SON*"}, "ix_study_referring"),
        ({"PatientName": "*SON*"}, "ix_study_name"),
        ({}, "ix_study_accession_number"),
    ],
)
def test_the_newest_of_what_holds_a_text_are_found_by_indices_alone(
    database: Database, asked: dict[str, Any], index: str
) -> None:
    words = () if asked else ("smith",)
    query = Query(
        level=Level.STUDY, keys=keys(**asked), scopes=ALL, limit=50, words=words
    )
    steps = plan(database, query)
    assert f"COVERING INDEX {index}" in steps
    assert "SCAN study USING INDEX ix_study_date" in steps
    assert "TEMP B-TREE" not in steps


def test_each_word_begins_something_that_names_a_study(database: Database) -> None:
    fill(
        database,
        record("1", "1.1", "1.1.1", PatientName="Müller^Zoë", PatientID="PAT-1"),
        record("2", "2.1", "2.1.1", PatientName="Miller^Zack", PatientID="PAT-2"),
        record("3", "3.1", "3.1.1", PatientName="X%_^Y", AccessionNumber="zo-7"),
    )
    for words, uids in (
        (("mul",), ["1"]),
        (("zo",), ["3", "1"]),
        (("z", "mil"), ["2"]),
        (("pat-1",), ["1"]),
        (("PAT", "ZOË"), ["1"]),
        (("ller",), []),
        (("%",), []),
        (("x%",), ["3"]),
        (("*",), ["3", "2", "1"]),
        (("'; DROP TABLE study; --",), []),
    ):
        query = Query(level=Level.STUDY, keys={}, scopes=ALL, words=words)
        with database.read() as connection:
            told = [row.uids.study_uid for row in Index().find(connection, query)]
        assert told == uids, words
    nothing = Query(level=Level.STUDY, keys={}, scopes=(), words=("mul",))
    with database.read() as connection:
        assert list(Index().find(connection, nothing)) == []


@pytest.mark.parametrize(
    "more",
    [
        {"level": Level.SERIES, "words": ("a",)},
        {"level": Level.STUDY, "words": ("a" * 65,)},
        {"level": Level.STUDY, "words": ("",)},
        {"level": Level.STUDY, "words": ("a",) * 9},
    ],
)
def test_words_are_few_and_short_and_for_studies(more: dict[str, Any]) -> None:
    with pytest.raises(NoQuestion):
        Query(keys={}, scopes=ALL, relational=True, **more)


def test_a_requested_procedure_is_looked_up_among_the_values(
    database: Database,
) -> None:
    query = Query(
        level=Level.SERIES,
        keys=keys(
            RequestAttributesSequence=matching.Sequence(
                keys(RequestedProcedureID="RP1")
            )
        ),
        scopes=ALL,
        relational=True,
    )
    steps = plan(database, query)
    assert "ix_item_value_value" in steps
    assert "SCAN" not in steps, steps
