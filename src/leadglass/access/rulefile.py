"""The rule file: TOML text to rules and the expectations they must meet.

::

    [[rule]]
    name = "radiologists read"
    devices = ["WS1", "WS2"]     # by certificate
    exceptions = ["OLD-US"]      # devices without TLS, by address
    operators = ["archivist"]    # people, and users of the node's own system
    services = ["viewer"]        # programs, by their token
    rights = ["find", "get"]
    from = ["10.4.0.0/24"]       # left out: commands on the node itself
    scope = "modality=CT,MR"     # left out: everything
    reason = "ward round"
    until = 2027-01-31           # left out: until it is removed

    [[expect]]
    name = "the scanner cannot query"
    device = "CT1"               # or exception, operator, service
    right = "find"
    from = "10.4.0.7"            # left out: the node itself
    allowed = false
    within = "modality=CT"       # left out: no bound on what an answer reaches

A key that is not listed here is a problem, not a comment: a misspelt condition
would be one that is believed to be in force.
"""

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from typing import Any, TypeVar

from leadglass.access.networks import Address, Network, parse_address, parse_network
from leadglass.access.policy import Expectation, Kind, Rule, Subject, broken
from leadglass.access.rights import DEVICE_RIGHTS, PROGRAM_RIGHTS, Right
from leadglass.access.scopes import EVERYTHING, EVERYTHING_TEXT, Scope
from leadglass.errors import Misconfigured

T = TypeVar("T")

# A rule takes some 300 bytes; nobody can review a thousand of them.
TEXT_CHARACTERS_MAX = 1 << 20
RULES_MAX = 1_000
EXPECTATIONS_MAX = 1_000

# The longest a subject, a rule or a reason may be: it stands in every record.
NAME_CHARACTERS_MAX = 64
REASON_CHARACTERS_MAX = 512

_HEADER = re.compile(r"\s*\[\[\s*(\w+)\s*\]\]")
_KEY = re.compile(r"\s*([\w-]+)\s*=")


@dataclass(frozen=True, slots=True)
class RuleFile:
    """What a rule file says."""

    rules: tuple[Rule, ...] = ()
    expectations: tuple[Expectation, ...] = ()

    @classmethod
    def parse(cls, text: str, *, name: str = "rules.toml") -> "RuleFile":
        """Read a rule file; ``name`` is what its problems call it.

        Raises:
            Misconfigured: All that is wrong, each with its line and its remedy.
        """
        reading = _Reading(name, text)
        rules = tuple(reading.tables("rule", RULES_MAX, _rule))
        expectations = tuple(reading.tables("expect", EXPECTATIONS_MAX, _expectation))
        reading.check_names()
        if reading.problems:
            raise Misconfigured(*reading.problems)
        return cls(rules, expectations)

    def check(self, device_rules: Iterable[Rule], now: datetime) -> None:
        """Put the expectations to these rules and those of the devices.

        Raises:
            Misconfigured: The expectations that do not hold.
        """
        problems = [
            f"{each}; change the rules or the expectation"
            for each in broken([*self.rules, *device_rules], self.expectations, now)
        ]
        if problems:
            raise Misconfigured(*problems)


@dataclass(slots=True)
class _Table:
    """One ``[[…]]`` of the file, whose keys are taken one by one."""

    kind: str
    number: int
    content: dict[str, Any]
    lines: Mapping[str, int]  # key → line; "" is the header
    name: str
    file: str
    problems: list[str] = field(default_factory=list)

    def say(self, key: str, problem: str) -> None:
        """Note a problem where the key stands, or else at the header."""
        line = self.lines.get(key, self.lines.get(""))
        where = f"{self.file} line {line}" if line else self.file
        self.problems.append(f"{where}: {self.kind} {self.name}: {problem}")

    def take(self, key: str, read: Callable[[Any], T], default: T) -> T:
        """Read and remove a key that may be left out."""
        if key not in self.content:
            return default
        try:
            return read(self.content.pop(key))
        except Misconfigured as error:
            for problem in error.problems:
                self.say(key, f"{key}: {problem}")
        return default

    def need(self, key: str, read: Callable[[Any], T], default: T, example: str) -> T:
        """Read and remove a key that must be there."""
        if key not in self.content:
            self.say("", f"{key} is missing; write {key} = {example}")
        return self.take(key, read, default)

    def take_all(self, key: str, read: Callable[[Any], T]) -> tuple[T, ...]:
        """Read and remove a list, and tell the problems of all its items."""
        values = self.content.pop(key, None)
        if values is None:
            return ()
        if not isinstance(values, list) or not values:
            self.say(key, f'{key}: write a list, as ["one", "two"]')
            return ()
        found: list[T] = []
        for value in values:
            try:
                found.append(read(value))
            except Misconfigured as error:
                for problem in error.problems:
                    self.say(key, f"{key}: {problem}")
        return tuple(found)

    def finish(self, known: Iterable[str]) -> None:
        """Name the keys that nobody took."""
        for key in self.content:
            self.say(key, f"{key} is no key here; use {', '.join(known)}")


# ── values of keys ───────────────────────────────────────────────────────────


def _text_of(length_max: int) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if not isinstance(value, str) or not value.strip():
            raise Misconfigured('write a text in quotes, as "name"')
        if len(value) > length_max or not value.isprintable():
            raise Misconfigured(f"write at most {length_max} printable characters")
        return value.strip()

    return read


_name = _text_of(NAME_CHARACTERS_MAX)
_reason = _text_of(REASON_CHARACTERS_MAX)


def _right(value: Any) -> Right:
    try:
        return Right(value)
    except ValueError:
        raise Misconfigured(f"{value!r} is no right; use {', '.join(Right)}") from None


def _network(value: Any) -> Network:
    return parse_network(_name(value))


def _address(value: Any) -> Address:
    return parse_address(_name(value))


def _scope(value: Any) -> Scope:
    if not isinstance(value, str):
        raise Misconfigured(f'write a text, as "modality=CT" or "{EVERYTHING_TEXT}"')
    return Scope.parse(value)


def _bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Misconfigured("write true or false")
    return value


def _moment(value: Any) -> datetime:
    """Read the last moment; a date means the end of that day in UTC."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise Misconfigured("a time needs its zone, as 2027-01-31T18:00:00Z")
        return value
    if isinstance(value, date):
        return datetime.combine(value, time.max, UTC)
    raise Misconfigured("write a date without quotes, as 2027-01-31")


# ── tables ───────────────────────────────────────────────────────────────────

_RULE_KEYS = (
    *("name", "devices", "exceptions", "operators", "services"),
    *("rights", "from", "scope", "reason", "until"),
)
_SUBJECTS = {
    "device": Kind.DEVICE,
    "exception": Kind.EXCEPTION,
    "operator": Kind.OPERATOR,
    "service": Kind.SERVICE,
}
# What may be given to whom; a person may be given all.
_GIVABLE = {
    Kind.DEVICE: DEVICE_RIGHTS,
    Kind.EXCEPTION: DEVICE_RIGHTS,
    Kind.SERVICE: PROGRAM_RIGHTS,
}
_EXPECT_KEYS = ("name", *_SUBJECTS, "right", "from", "allowed", "within")


def _rule(table: _Table) -> Rule | None:
    """Read one rule; None when something is wrong with it."""
    name = table.need("name", _name, "", '"who does what"')
    subjects = frozenset(
        Subject(kind, each)
        for key, kind in _SUBJECTS.items()
        for each in table.take_all(f"{key}s", _name)
    )
    if not subjects and not table.problems:
        table.say("", 'it names nobody; write devices = ["CT1"] or operators = […]')
    if "rights" not in table.content:
        table.say("", 'rights is missing; write rights = ["find"]')
    rights = frozenset(table.take_all("rights", _right))
    machines = [each for each in subjects if each.kind is not Kind.OPERATOR]
    givable = [_GIVABLE[each.kind] for each in machines]
    if machines and (people := rights - frozenset.intersection(*givable)):
        given = ", ".join(sorted(people))
        table.say("rights", f"{given}: for operators only; give it in their own rule")
    networks = table.take_all("from", _network)
    if machines and not networks and not table.problems:
        table.say("", 'machines need a network; write from = ["10.4.0.0/24"]')
    scope = table.take("scope", _scope, EVERYTHING)
    reason = table.need("reason", _reason, "", '"why this rule exists"')
    not_after = table.take("until", _moment, None)
    table.finish(_RULE_KEYS)
    if table.problems:
        return None
    return Rule(
        name=name,
        subjects=subjects,
        rights=rights,
        networks=networks,
        scope=scope,
        reason=reason,
        not_after=not_after,
    )


def _expectation(table: _Table) -> Expectation | None:
    """Read one expectation; None when something is wrong with it."""
    name = table.need("name", _name, "", '"what must hold"')
    subjects = [
        Subject(kind, each)
        for key, kind in _SUBJECTS.items()
        if (each := table.take(key, _name, ""))
    ]
    if len(subjects) != 1 and not table.problems:
        table.say("", f"name one of {', '.join(_SUBJECTS)}")
    right = table.need("right", _right, Right.ECHO, '"find"')
    address = table.take("from", _address, None)
    allowed = table.need("allowed", _bool, False, "false")
    within = table.take("within", _scope, EVERYTHING)
    if within != EVERYTHING and not allowed and not table.problems:
        table.say("within", "within: what is denied reaches nothing; remove it")
    table.finish(_EXPECT_KEYS)
    if table.problems:
        return None
    return Expectation(
        name=name,
        subject=subjects[0],
        right=right,
        address=address,
        allowed=allowed,
        within=within,
    )


class _Reading:
    """Collects tables and everything that is wrong with them."""

    def __init__(self, file: str, text: str) -> None:
        self._file = file
        self.problems: list[str] = []
        self._names: list[tuple[str, str, str]] = []
        self._content: dict[str, Any] = {}
        self._lines: dict[str, list[dict[str, int]]] = {}
        if len(text) > TEXT_CHARACTERS_MAX:
            self.problems.append(f"{file}: larger than 1 MiB; remove rules")
            return
        try:
            self._content = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            self.problems.append(f"{file}: not TOML: {error}; correct that line")
        self._lines = _lines_of(text)
        for key in self._content.keys() - {"rule", "expect"}:
            self.problems.append(
                f"{file}: {key} is no table here; write [[rule]] or [[expect]]"
            )

    def tables(
        self, kind: str, count_max: int, read: Callable[[_Table], T | None]
    ) -> Iterable[T]:
        """Yield what each table of a kind says."""
        tables = self._content.get(kind, [])
        if not isinstance(tables, list) or not all(
            isinstance(table, dict) for table in tables
        ):
            self.problems.append(f"{self._file}: write [[{kind}]] in two brackets")
            return
        if len(tables) > count_max:
            self.problems.append(
                f"{self._file}: more than {count_max} of [[{kind}]]; join some"
            )
            return
        # Only a file whose tables all stand under headers has lines to tell.
        lines = self._lines.get(kind, [])
        known = lines if len(lines) == len(tables) else [{}] * len(tables)
        for number, (content, where) in enumerate(zip(tables, known, strict=True), 1):
            given = content.get("name")
            name = repr(given) if isinstance(given, str) else f"number {number}"
            table = _Table(kind, number, dict(content), where, name, self._file)
            value = read(table)
            self.problems += table.problems
            if isinstance(given, str):
                self._names.append((kind, given.strip(), table.file))
            if value is not None:
                yield value

    def check_names(self) -> None:
        """Find the names that the record could not tell apart."""
        for kind, name, file in sorted(set(self._names)):
            if self._names.count((kind, name, file)) > 1:
                self.problems.append(
                    f"{file}: {kind} {name!r}: the name is given twice; change one"
                )


def _lines_of(text: str) -> dict[str, list[dict[str, int]]]:
    """Find the lines of headers and keys, which the TOML parser does not tell."""
    found: dict[str, list[dict[str, int]]] = {}
    current: dict[str, int] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if header := _HEADER.match(line):
            current = {"": number}
            found.setdefault(header[1], []).append(current)
        elif key := _KEY.match(line):
            current.setdefault(key[1], number)
    return found
