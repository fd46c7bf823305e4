"""The trail of tiny-pacs-audit, as ``tiny-pacs audit query --format json`` prints it.

It says who came and asked, at which level, and what was stored; neither whom an answer
named nor which study left.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType
from typing import Any, BinaryIO, Final

from leadglass.assurance.trails.fact import Ending, Fact, Kind
from leadglass.assurance.trails.formats.pieces import objects
from leadglass.assurance.trails.formats.source import (
    Options,
    Unparsed,
    clipped,
    shown,
)

# Associations that are under way at once; the program takes far fewer.
_OPEN_MAX: Final = 10_000
_BAD: Final = frozenset({"rejected", "failure"})
# (category, event) → what was done, by which service. What is not here is told of as
# a change, if somebody administered, and else as other.
_ACTS: Final[Mapping[tuple[str, str], tuple[Kind, str]]] = MappingProxyType(
    {
        ("assoc", "rejected"): (Kind.ASSOCIATE, ""),
        ("service", "store-done"): (Kind.STORE, "C-STORE"),
        ("service", "store-failure"): (Kind.GATE, "C-STORE"),
        ("service", "find"): (Kind.QUERY, "C-FIND"),
        ("service", "move"): (Kind.RETRIEVE, "C-MOVE"),
        ("service", "get"): (Kind.RETRIEVE, "C-GET"),
    }
)
# What another record tells again: requests of what ends as done or failed.
_TWICE: Final = frozenset({("service", "store"), ("assoc", "released")})
_CATEGORIES: Final[Mapping[str, Kind]] = MappingProxyType(
    {"admin": Kind.CHANGE, "authn": Kind.LOGIN}
)
_UNSHAPED: Final = (
    *(ValueError, LookupError, TypeError, AttributeError),
    *(RecursionError, OverflowError),
)


def read(stream: BinaryIO, options: Options) -> Iterator[Fact | Unparsed]:
    """Yield what was done; an association when it is known whether it was rejected.

    Raises:
        Misconfigured: A time has no zone, and none was named.
    """
    attempts: dict[str, Fact] = {}
    for number, text in objects(stream, 1):
        if isinstance(text, Unparsed):
            yield text
            continue
        try:
            row = json.loads(text)
            act = str(row["category"]), str(row["event"])
            fact, key = _fact(number, row, act, options), _key(row)
        except _UNSHAPED:
            yield Unparsed(number, shown(text))
            continue
        if act[0] == "assoc" and key in attempts:
            attempt = attempts.pop(key)
            if act[1] != "rejected":
                yield attempt
        if act == ("assoc", "attempt"):
            attempts[key] = replace(fact, kind=Kind.ASSOCIATE)
            if len(attempts) > _OPEN_MAX:
                yield attempts.pop(next(iter(attempts)))
        elif act not in _TWICE:
            yield fact
    yield from attempts.values()


def _key(row: Any) -> str:
    return str(row["details"].get("correlation_id"))


def _fact(number: int, row: Any, act: tuple[str, str], options: Options) -> Fact:
    kind, service = _ACTS.get(act, (_CATEGORIES.get(act[0], Kind.OTHER), ""))
    details = row["details"]
    user, title = _text(row["username"]), _text(row["device_aet"])
    is_bad = row["status"] in _BAD
    return Fact(
        number=number,
        trail=1,
        time=options.aware(datetime.fromisoformat(row["timestamp"])),
        kind=kind,
        ending=Ending.MINOR_FAILURE if is_bad else Ending.SUCCESS,
        who=user or title,
        who_kind=("person" if user else "device") if user or title else "",
        ae_title=title,
        called=_text(details.get("called_aet")),
        address=_text(row["peer"]),
        service=service,
        destination=_text(details.get("destination")),
        what=_text(details.get("reason"))
        or ("" if act in _ACTS or act[0] == "assoc" else " ".join(act)),
        instances=int(kind in {Kind.STORE, Kind.GATE}),
        details={
            name: _text(details[key])
            for name, key in (("level", "level"), ("instance", "sop_instance"))
            if details.get(key)
        },
    )


def _text(value: Any) -> str:
    return "" if value is None else clipped(str(value))
