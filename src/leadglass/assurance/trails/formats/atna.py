"""DICOM audit messages (PS3.15 §A.5.1): a file of them, or lines of syslog (RFC 5424).

A message is cut out of the file from ``<AuditMessage`` to its end and parsed alone, so
there is no document type around it: no entity is ever declared or expanded.
"""

import re
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import BinaryIO, Final, TypeVar
from xml.parsers import expat

from leadglass.assurance.trails.fact import Fact
from leadglass.assurance.trails.formats.messages import (
    PARTICIPANTS_MAX,
    Message,
    fact_of_message,
    id_type_of,
    participant,
)
from leadglass.assurance.trails.formats.source import (
    Options,
    Unparsed,
    clipped,
    lines,
    shown,
)
from leadglass.audit.codes import ObjectRole, ObjectType
from leadglass.audit.events import Participant, ParticipantObject, SOPClass
from leadglass.audit.xml import NUMBER, PURPOSE, RECORD_NAME, RETURNED
from leadglass.errors import BadData

# A message; one that names 500 studies has some 100 KB.
MESSAGE_CHARACTERS_MAX: Final = 4 << 20
# Elements within each other; the schema has five.
_DEPTH_MAX: Final = 16
_ELEMENTS_MAX: Final = 100_000

_Coded = TypeVar("_Coded", ObjectType, ObjectRole)

_BEGIN: Final = re.compile(r"<AuditMessage[\s>]")
_END: Final = "</AuditMessage>"
# What may stand between messages: declarations, and the root that some put around.
_BETWEEN: Final = re.compile(r"\s*(<\?xml[^<]*\?>\s*)?(</?[A-Za-z][\w:.-]*\s*>\s*)?")
# Members of the object that is a record of ours, and no detail of its event.
_OF_RECORD: Final = frozenset({NUMBER, PURPOSE, RETURNED})


@dataclass(slots=True)
class _Element:
    name: str
    attributes: dict[str, str]
    children: "list[_Element]" = field(default_factory=list)
    text: str = ""

    def all(self, name: str) -> "list[_Element]":
        return [each for each in self.children if each.name == name]

    def first(self, name: str) -> "_Element":
        return next(iter(self.all(name)), _Element(name, {}))

    def get(self, *names: str) -> str:
        found = (self.attributes.get(each) for each in names)
        return next((each for each in found if each), "")

    @property
    def code(self) -> str:
        """The code value, as DICOM writes it or as RFC 3881 did."""
        return self.get("csd-code", "code")


def read(stream: BinaryIO, options: Options) -> Iterator[Fact | Unparsed]:
    """Yield what each message says; one that cannot be read is told of.

    Raises:
        Misconfigured: A time has no zone, and none was named.
    """
    number = 0
    for line, text in _messages(stream):
        if isinstance(text, Unparsed):
            yield text
            continue
        number += 1
        try:
            yield fact_of_message(_message(_parsed(text), number, options))
        except (BadData, ValueError, OverflowError):
            yield Unparsed(line, shown(text))


@dataclass(slots=True)
class _Cutter:
    """Cuts messages out of lines; what it holds is one that has begun."""

    held: list[str] = field(default_factory=list)
    began: int = 0
    length: int = 0

    def take(self, number: int, line: str) -> Iterator[tuple[int, str | Unparsed]]:
        rest = line
        while rest:
            begin, end = _BEGIN.search(rest), rest.find(_END)
            if begin is not None and (end < 0 or begin.start() < end):
                # A message that was cut off must not take the next one with it.
                yield from self.drop()
                rest = rest[begin.start() :]
                self.began, end = number, rest.find(_END)
            elif not self.held:
                if not _BETWEEN.fullmatch(rest):
                    yield number, Unparsed(number, shown(rest))
                return
            size = len(rest) if end < 0 else end + len(_END)
            self.held.append(rest[:size])
            self.length += size + 1
            rest = rest[size:]
            if self.length > MESSAGE_CHARACTERS_MAX:
                yield from self.drop()
            elif end >= 0:
                yield self.began, "\n".join(self.held)
                self.held, self.length = [], 0

    def drop(self) -> Iterator[tuple[int, Unparsed]]:
        """Tell of what has begun and has no end."""
        if self.held:
            yield self.began, Unparsed(self.began, shown(self.held[0]))
        self.held, self.length = [], 0


def _messages(stream: BinaryIO) -> Iterator[tuple[int, str | Unparsed]]:
    """Yield (line, message), and what is no message."""
    cutter = _Cutter()
    for number, line in lines(stream):
        if isinstance(line, Unparsed):
            yield from cutter.drop()
            yield number, line
        else:
            yield from cutter.take(number, line)
    yield from cutter.drop()


def _parsed(text: str) -> _Element:
    """Return the tree of a message.

    Raises:
        BadData: It is not well-formed, or too deep or wide.
    """
    root = _Element("", {})
    open_: list[_Element] = [root]
    count = 0

    def begin(name: str, attributes: dict[str, str]) -> None:
        nonlocal count
        count += 1
        if count > _ELEMENTS_MAX or len(open_) > _DEPTH_MAX:
            raise BadData("an audit message of too many elements")
        element = _Element(name.rpartition(":")[2], attributes)
        open_[-1].children.append(element)
        open_.append(element)

    def data(text: str) -> None:
        if len(open_[-1].text) < MESSAGE_CHARACTERS_MAX:
            open_[-1].text += text

    def refuse(*_arguments: object) -> None:
        raise BadData("an audit message with a document type")

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = begin
    parser.EndElementHandler = lambda _name: open_.pop()
    parser.CharacterDataHandler = data
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    try:
        parser.Parse(text.encode("utf-8", "replace"), True)
    except expat.ExpatError as error:
        raise BadData("an audit message that is not well-formed") from error
    return root.children[0]


def _message(root: _Element, number: int, options: Options) -> Message:
    event = root.first("EventIdentification")
    id_ = event.first("EventID")
    users = root.all("ActiveParticipant")[:PARTICIPANTS_MAX]
    things = root.all("ParticipantObjectIdentification")
    details: dict[str, str] = {}
    objects: list[ParticipantObject] = []
    for thing in things:
        if thing.first("ParticipantObjectName").text == RECORD_NAME:
            details |= {k: v for k, v in _details(thing) if k not in _OF_RECORD}
        else:
            objects.append(_object(thing))
    return Message(
        number=number,
        time=options.aware(datetime.fromisoformat(event.get("EventDateTime"))),
        id=id_.code,
        meaning=clipped(id_.get("originalText", "displayName")),
        types=tuple(each.code for each in event.all("EventTypeCode")),
        action=event.get("EventActionCode"),
        outcome=event.get("EventOutcomeIndicator"),
        description=clipped(event.first("EventOutcomeDescription").text.strip()),
        participants=tuple(map(_participant, users)),
        user_types=tuple(each.first("UserIDTypeCode").code for each in users),
        objects=tuple(objects),
        details=details,
    )


def _participant(user: _Element) -> Participant:
    return participant(
        user.get("UserID"),
        alternative=user.get("AlternativeUserID"),
        name=user.get("UserName"),
        user_type=user.first("UserIDTypeCode").code,
        # Left out it is true (PS3.15 §A.5.1).
        is_requestor=user.get("UserIsRequestor").lower() not in {"false", "0"},
        roles=tuple(each.code for each in user.all("RoleIDCode")),
        access_point=user.get("NetworkAccessPointID"),
        access_point_type=user.get("NetworkAccessPointTypeCode"),
    )


def _object(thing: _Element) -> ParticipantObject:
    type_ = thing.get("ParticipantObjectTypeCode")
    role = thing.get("ParticipantObjectTypeCodeRole")
    # Some put what belongs into a description beside it.
    described = [thing, *thing.all("ParticipantObjectDescription")]
    studies = [
        each.get("UID")
        for place in described
        for one in place.all("ParticipantObjectContainsStudy")
        for each in one.all("StudyIDs")
    ]
    anonymized = [
        each.text.strip() == "true"
        for one in described
        for each in one.all("Anonymized")
    ]
    return ParticipantObject(
        id=clipped(thing.get("ParticipantObjectID")),
        id_type=id_type_of(
            thing.first("ParticipantObjectIDTypeCode").code, type_, role
        ),
        type=_ranked(ObjectType, type_, ObjectType.OTHER),
        role=_ranked(ObjectRole, role, ObjectRole.REPORT),
        query=b64decode(thing.first("ParticipantObjectQuery").text),
        details=tuple(_details(thing)),
        sop_classes=tuple(
            SOPClass(each.get("UID"), int(each.get("NumberOfInstances") or 0))
            for place in described
            for each in place.all("SOPClass")
        ),
        studies=tuple(uid for uid in studies if uid),
        anonymized=anonymized[0] if anonymized else None,
    )


def _ranked(kind: type[_Coded], text: str, other: _Coded) -> _Coded:
    known = {str(int(each)): each for each in kind}
    return known.get(text, other)


def _details(thing: _Element) -> Iterator[tuple[str, str]]:
    for each in thing.all("ParticipantObjectDetail"):
        value = b64decode(each.get("value")).decode("utf-8", "replace")
        yield clipped(each.get("type")), clipped(value)
