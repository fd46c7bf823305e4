"""A table (CSV) of any program, by a mapping that says which column is what.

Without one, columns have the names of the fields. The mapping is TOML::

    separator = ";"
    time = "%d.%m.%Y %H:%M:%S"        # without it: ISO 8601

    [columns]
    time = "Timestamp"
    kind = "Action"
    who = "User"
    patient = "PatientID"

    [kinds]
    "Open study" = "view"
"""

import csv
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import BinaryIO, Final

from leadglass.assurance.trails.fact import Ending, Fact, Kind, Reach, Touched
from leadglass.assurance.trails.formats.source import (
    Options,
    Unparsed,
    clipped,
    lines,
    shown,
)
from leadglass.errors import BadData, Misconfigured

# A mapping; the longest that is of use has a few hundred lines.
MAPPING_BYTES_MAX: Final = 1 << 16
_COLUMNS_MAX: Final = 500
_STUDIES_MAX: Final = 10_000

_TEXTS: Final = (
    *("who", "who_kind", "ae_title", "called", "address", "certificate"),
    *("implementation", "channel", "service", "destination", "what"),
)
_COUNTS: Final = ("returned", "instances", "octets")
# What a column may be.
FIELDS: Final = frozenset(
    {"time", "kind", "ending", "patient", "studies", *_TEXTS, *_COUNTS}
)
_NAMES: Final[Mapping[str, str]] = MappingProxyType({"outcome": "ending"})
_REACHES: Final[Mapping[Kind, Reach]] = MappingProxyType(
    {
        Kind.QUERY: Reach.LISTED,
        **dict.fromkeys(
            (Kind.VIEW, Kind.RETRIEVE, Kind.TRANSFERRED, Kind.EXPORT), Reach.IMAGES
        ),
    }
)
_ENDINGS: Final[Mapping[str, Ending]] = MappingProxyType(
    {
        **{str(int(each)): each for each in Ending},
        **dict.fromkeys(("", "ok", "success", "succeeded", "true"), Ending.SUCCESS),
        **dict.fromkeys(
            ("failed", "failure", "error", "denied", "refused", "false"),
            Ending.MINOR_FAILURE,
        ),
    }
)


@dataclass(frozen=True, slots=True)
class Columns:
    """Which column is what.

    Attributes:
        columns: Field of a fact → name of its column.
        kinds: Word of the table → kind.
        time_format: For ``strptime``; "": ISO 8601.
        separator: Between columns.
        kind: Of every line, where no column says it.
    """

    columns: Mapping[str, str]
    kinds: Mapping[str, Kind]
    time_format: str = ""
    separator: str = ","
    kind: Kind | None = None

    @classmethod
    def of(cls, members: Mapping[str, object]) -> "Columns":
        """Return what a TOML file says.

        Raises:
            Misconfigured: It is no mapping; says what is wrong.
        """
        columns, kinds = members.get("columns"), members.get("kinds", {})
        if not isinstance(columns, dict) or not isinstance(kinds, dict):
            raise Misconfigured("--mapping: it needs a table [columns]")
        unknown = sorted(set(columns) - FIELDS)
        if unknown:
            raise Misconfigured(
                f"--mapping: no field {shown(unknown[0])}; "
                f"fields are {', '.join(sorted(FIELDS))}"
            )
        if "time" not in columns:
            raise Misconfigured("--mapping: [columns] needs time")
        separator = str(members.get("separator", ","))
        if len(separator) != 1:
            raise Misconfigured("--mapping: separator is one character")
        if "kind" not in columns and "kind" not in members:
            raise Misconfigured("--mapping: [columns] needs kind, or kind for all")
        return cls(
            columns={str(key): str(value) for key, value in columns.items()},
            kinds={str(key): _kind(str(value)) for key, value in kinds.items()},
            time_format=str(members.get("time", "")),
            separator=separator,
            kind=_kind(str(members["kind"])) if "kind" in members else None,
        )

    @classmethod
    def named(cls, head: Iterable[str]) -> "Columns":
        """Return the mapping of a table whose columns are called like fields.

        Raises:
            Misconfigured: There is no column with a time, or none with a kind.
        """
        columns = {_NAMES.get(each, each): each for each in head}
        known = {key: each for key, each in columns.items() if key in FIELDS}
        return cls.of({"columns": known})


def mapping_of(data: bytes) -> Mapping[str, object]:
    """Return the members of a mapping.

    Raises:
        Misconfigured: It is no TOML.
    """
    if len(data) > MAPPING_BYTES_MAX:
        raise Misconfigured("--mapping: too long")
    try:
        return tomllib.loads(data.decode())
    except (ValueError, RecursionError):
        raise Misconfigured("--mapping: no TOML") from None


def _kind(text: str) -> Kind:
    try:
        return Kind(text)
    except ValueError:
        raise Misconfigured(
            f"--mapping: no kind {shown(text)}; kinds are {', '.join(Kind)}"
        ) from None


def read(stream: BinaryIO, options: Options) -> Iterator[Fact | Unparsed]:
    """Yield what each line says.

    Raises:
        Misconfigured: The mapping does not fit the table, or a zone is missing.
    """
    mapping = Columns.of(options.mapping) if options.mapping else None
    head: dict[str, int] = {}
    separator = "," if mapping is None else mapping.separator
    for number, cells, text in _rows(stream, separator):
        if cells is None or len(cells) > _COLUMNS_MAX:
            yield Unparsed(number, shown(text))
        elif not head or mapping is None:
            head = {name.strip(): at for at, name in enumerate(cells)}
            mapping = mapping or Columns.named(head)
            missing = sorted(set(mapping.columns.values()) - set(head))
            if missing:
                raise Misconfigured(f"--mapping: no column {shown(missing[0])} there")
        else:
            try:
                yield _fact(number, _Row(cells, head, mapping), options)
            except (BadData, ValueError, OverflowError):
                yield Unparsed(number, shown(text))


def _rows(
    stream: BinaryIO, separator: str
) -> Iterator[tuple[int, list[str] | None, str]]:
    """Yield (line, cells, text); one line is one row, whatever its quotes say."""
    for number, line in lines(stream):
        if isinstance(line, Unparsed):
            yield number, None, line.text
            continue
        if not line.strip():
            continue
        try:
            cells = next(csv.reader([line], delimiter=separator, strict=True))
        except (csv.Error, StopIteration):
            yield number, None, line
        else:
            yield number, cells, line


@dataclass(frozen=True, slots=True)
class _Row:
    cells: list[str]
    head: Mapping[str, int]
    mapping: Columns

    def get(self, field: str) -> str:
        column = self.mapping.columns.get(field)
        if column is None:
            return ""
        at = self.head[column]
        return clipped(self.cells[at].strip()) if at < len(self.cells) else ""


def _fact(number: int, row: _Row, options: Options) -> Fact:
    mapping = row.mapping
    word, when = row.get("kind"), row.get("time")
    if mapping.kind is not None and "kind" not in mapping.columns:
        kind = mapping.kind
    else:
        kind = mapping.kinds.get(word) or Kind(word)
    ending = _ENDINGS.get(row.get("ending").lower())
    if ending is None:
        raise BadData("no such ending")
    time = (
        datetime.strptime(when, mapping.time_format)  # noqa: DTZ007 - gets its zone
        if mapping.time_format
        else datetime.fromisoformat(when)
    )
    patient = row.get("patient")
    studies = tuple(row.get("studies").replace("\\", " ").split()[:_STUDIES_MAX])
    reach = _REACHES.get(kind, Reach.NONE)
    counts = {each: int(row.get(each) or 0) for each in _COUNTS}
    return Fact(
        number=number,
        trail=1,
        time=options.aware(time),
        kind=kind,
        ending=ending,
        touched=(Touched(patient, reach, studies),) if patient or studies else (),
        details={} if not word or word == kind else {"word": word},
        returned=counts["returned"],
        instances=counts["instances"],
        octets=counts["octets"],
        **{each: row.get(each) for each in _TEXTS},
    )
