"""Questions to the index and their answers, as values; one model for every wire."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from leadglass.access.scopes import Scope
from leadglass.dicom.attributes import BY_KEYWORD, Level
from leadglass.dicom.matching import Match, Multiple, Sequence, Single, UIDList, Words
from leadglass.errors import BadData

# Keys in one query. All attributes that we know are less than a hundred; keys that
# we do not know are ignored, but must not be collected without end.
KEYS_MAX: Final = 1_000

# Values of all keys together; a database takes 65,535 parameters (PostgreSQL), and
# each value of a person name is compared with three columns.
VALUES_MAX: Final = 20_000


class Root(StrEnum):
    """Information model (PS3.4 §C.6): where the levels begin."""

    PATIENT = "patient"
    STUDY = "study"


LEVELS: Final = tuple(Level)  # from the top

# Words of a search box; who types more looks for something else.
WORDS_MAX: Final = 8
WORD_CHARACTERS_MAX: Final = 64

# The key that names one thing of a level (PS3.4 §C.6.1.1, §C.6.2.1).
UNIQUE_KEYS: Final[Mapping[Level, int]] = {
    Level.PATIENT: BY_KEYWORD["PatientID"].tag,
    Level.STUDY: BY_KEYWORD["StudyInstanceUID"].tag,
    Level.SERIES: BY_KEYWORD["SeriesInstanceUID"].tag,
    Level.IMAGE: BY_KEYWORD["SOPInstanceUID"].tag,
}


class NoQuestion(BadData):
    """An identifier that was understood, and asks for what cannot be asked."""

    dimse_status = 0xA900  # Error: data set does not match SOP class, PS3.4 C.4.1.1.4


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A question (PS3.4 §C.4.1).

    Keys of a level above are matched at that level. Keys of a level below match
    when something below matches all of them together, whether the question is
    relational or not: many clients ask for the Modality of a study. At study level
    and below, the patient's attributes are those that the study's own images carry.

    Attributes:
        level: Of which things the rows tell.
        keys: What must match, by tag; universal ones are what is asked back.
        scopes: Which studies may be seen, joined by OR; none means nothing.
        root: Where the levels begin.
        relational: Whether the keys above the level need not be given
            (PS3.4 §C.4.1.2.2.1).
        combined_datetime: Whether a date and its time are one moment
            (PS3.4 §C.2.2.2.5.3).
        limit: The most rows that are wanted; ``None`` for all.
        offset: How many to leave out first.
        words: Each must begin a word of the patient's name, the Patient ID or the
            Accession Number of a study: what people type into one box. In upper case
            a word is tried, too, since numbers are mostly written so.

    Raises:
        NoQuestion: The level is not of this root, or a unique key is missing, or
            there are too many words or too long ones.
    """

    level: Level
    keys: Mapping[int, Match]
    scopes: tuple[Scope, ...]
    root: Root = Root.STUDY
    relational: bool = False
    combined_datetime: bool = False
    limit: int | None = None
    offset: int = 0
    words: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_words(self.words, self.level)
        if len(self.keys) > KEYS_MAX:
            raise NoQuestion(f"a query of more than {KEYS_MAX} keys")
        if sum(map(_size, self.keys.values())) > VALUES_MAX:
            raise NoQuestion(f"a query of more than {VALUES_MAX} values")
        if self.offset < 0 or (self.limit is not None and self.limit < 0):
            raise NoQuestion("a query for less than no rows")
        if self.root is Root.STUDY and self.level is Level.PATIENT:
            raise NoQuestion("the study root has no patient level (PS3.4 §C.6.2)")
        if self.relational:
            return
        for level in levels_above(self.root, self.level):
            match = self.keys.get(UNIQUE_KEYS[level])
            if not (isinstance(match, Single) or _is_one_uid(match)):
                raise NoQuestion(
                    f"no single unique key of the {level} level (PS3.4 §C.4.1.3.1.1)"
                )


def _check_words(words: tuple[str, ...], level: Level) -> None:
    if words and level is not Level.STUDY:
        raise NoQuestion("words are for studies")
    if len(words) > WORDS_MAX:
        raise NoQuestion(f"a search for more than {WORDS_MAX} words")
    if any(not 0 < len(each) <= WORD_CHARACTERS_MAX for each in words):
        raise NoQuestion(f"a word of more than {WORD_CHARACTERS_MAX} characters")


def levels_above(root: Root, level: Level) -> tuple[Level, ...]:
    """Return the levels of a root that lie above one."""
    first = LEVELS.index(Level.PATIENT if root is Root.PATIENT else Level.STUDY)
    return LEVELS[first : LEVELS.index(level)]


def _size(match: Match) -> int:
    """Return how many values a key compares with."""
    if isinstance(match, UIDList):
        return len(match.values)
    if isinstance(match, Multiple):
        return sum(map(_size, match.values))
    if isinstance(match, Words):
        return len(match.words)
    if isinstance(match, Sequence):
        return sum(map(_size, match.keys.values()))
    return 1


def _is_one_uid(match: Match | None) -> bool:
    return isinstance(match, UIDList) and len(match.values) == 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Things that are wanted whole (PS3.4 §C.4.2, §C.4.3).

    A field that is empty does not restrict; that of the level must not be.

    Raises:
        NoQuestion: Nothing is named at the level.
    """

    level: Level
    patient_ids: tuple[str, ...] = ()
    study_uids: tuple[str, ...] = ()
    series_uids: tuple[str, ...] = ()
    instance_uids: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        given = {
            Level.PATIENT: self.patient_ids,
            Level.STUDY: self.study_uids,
            Level.SERIES: self.series_uids,
            Level.IMAGE: self.instance_uids,
        }
        if not any(given[self.level]):
            raise NoQuestion(
                f"no unique key of the {self.level} level (PS3.4 §C.4.2.2.1)"
            )
        if sum(map(len, given.values())) > VALUES_MAX:
            raise NoQuestion(f"more than {VALUES_MAX} things in one retrieve")


@dataclass(frozen=True, slots=True)
class Uids:
    """What a row is; fields of levels below the asked one are ``None``."""

    patient_id: str
    study_uid: str | None = None
    series_uid: str | None = None
    instance_uid: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One answer.

    Attributes:
        uids: What it is.
        json: The attributes of its level and of those above in the DICOM JSON model
            (PS3.18 Annex F), with those that the index counts and gathers.
    """

    uids: Uids
    json: Mapping[str, Any]
