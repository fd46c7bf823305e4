"""Query/Retrieve FIND as SCP (PS3.4 §C.4.1): from identifier to answers."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

from leadglass.archive.find import Find, Query, Root, Row
from leadglass.audit.builders import Question, Service
from leadglass.dicom.aetitle import AETitle
from leadglass.dicom.attributes import BY_TAG, Level
from leadglass.dicom.charsets import choose_charset
from leadglass.dicom.dataset import SPECIFIC_CHARACTER_SET, DataSet, Element, vr_of
from leadglass.dicom.jsonmodel import element_of, texts_of
from leadglass.dicom.matching import UNIVERSAL, Match, Sequence, parse_key
from leadglass.dicom.sop_classes import (
    PATIENT_ROOT_FIND,
    PATIENT_ROOT_GET,
    PATIENT_ROOT_MOVE,
    PATIENT_STUDY_ONLY_FIND,
    PATIENT_STUDY_ONLY_GET,
    PATIENT_STUDY_ONLY_MOVE,
)
from leadglass.dicom.uids import UID
from leadglass.errors import BadData, LeadglassError
from leadglass.servers.dimse.session import Failure, Gone, Session
from leadglass.wire.dimse import CFindRQ, Message
from leadglass.wire.negotiation import Context, QueryOptions
from leadglass.wire.status import (
    CANCEL,
    DATA_SET_DOES_NOT_MATCH_SOP_CLASS,
    PENDING,
    PENDING_WITHOUT_OPTIONAL_KEYS,
    SUCCESS,
)

QUERY_RETRIEVE_LEVEL: Final = 0x0008_0052
RETRIEVE_AE_TITLE: Final = 0x0008_0054
INSTANCE_AVAILABILITY: Final = 0x0008_0056
# What is said of the answer itself, and never matched.
_ABOUT: Final = frozenset(
    {SPECIFIC_CHARACTER_SET, QUERY_RETRIEVE_LEVEL, RETRIEVE_AE_TITLE}
    | {INSTANCE_AVAILABILITY}
)

ROOTS: Final[Mapping[UID, Root]] = MappingProxyType(
    {
        PATIENT_ROOT_FIND: Root.PATIENT,
        PATIENT_ROOT_MOVE: Root.PATIENT,
        PATIENT_ROOT_GET: Root.PATIENT,
        PATIENT_STUDY_ONLY_FIND: Root.PATIENT,
        PATIENT_STUDY_ONLY_MOVE: Root.PATIENT,
        PATIENT_STUDY_ONLY_GET: Root.PATIENT,
    }
)

# Answers wait for each other up to this, so that small ones share a write.
_OUTBOX_BYTES: Final = 64 * 1024
# Answers between two looks for a C-CANCEL.
_ANSWERS_PER_LOOK: Final = 20


class BadIdentifier(BadData):
    """The identifier does not belong to its SOP class."""

    dimse_status = DATA_SET_DOES_NOT_MATCH_SOP_CLASS


def level_of(identifier: DataSet) -> Level:
    """Return the Query/Retrieve Level.

    Raises:
        BadIdentifier: There is none, or it is unknown.
    """
    text = identifier.text(QUERY_RETRIEVE_LEVEL) or ""
    try:
        return Level(text)
    except ValueError:
        raise BadIdentifier("no Query/Retrieve Level (0008,0052)") from None


@dataclass(frozen=True, slots=True)
class Asked:
    """An identifier as it is understood.

    Attributes:
        level: Of which things the answers tell.
        keys: What is matched, by tag.
        returned: Every tag of the identifier, with its VR: what is asked back.
        has_unknown: Some of these are not supported: answers say so (PS3.4 §C.4.1.1).
        charsets: The identifier's own.
    """

    level: Level
    keys: Mapping[int, Match]
    returned: Mapping[int, str]
    has_unknown: bool
    charsets: tuple[str, ...]

    @classmethod
    def read(cls, identifier: DataSet) -> "Asked":
        """Read an identifier.

        Raises:
            BadData: It is none, or a key is malformed.
        """
        returned = {
            tag: identifier.elements[tag].vr
            for tag in identifier
            if tag not in _ABOUT and tag & 0xFFFF
        }
        return cls(
            level=level_of(identifier),
            keys=_keys(identifier, identifier.charsets),
            returned=returned,
            has_unknown=any(tag not in BY_TAG for tag in returned),
            charsets=identifier.charsets,
        )


def _keys(data_set: DataSet, charsets: tuple[str, ...]) -> dict[int, Match]:
    keys: dict[int, Match] = {}
    for tag in data_set:
        element = data_set.elements[tag]
        if tag in _ABOUT or not tag & 0xFFFF:
            continue
        if isinstance(element.value, tuple):
            items = element.value
            nested = _keys(items[0], charsets) if items else {}
            wanted = {key: match for key, match in nested.items() if match != UNIVERSAL}
            keys[tag] = Sequence(wanted) if wanted else UNIVERSAL
        else:
            attribute = BY_TAG.get(tag)
            vr = element.vr if attribute is None else attribute.vr
            try:
                keys[tag] = parse_key(vr, data_set.texts(tag, charsets))
            except BadData as error:
                raise BadIdentifier(str(error)) from None
    return keys


@dataclass(frozen=True, slots=True)
class QueryService:
    """Answers C-FIND."""

    find: Find
    title: AETitle

    def __call__(self, session: Session, context: Context, request: Message) -> None:
        """Answer one query: pending answers, then how it ended."""
        assert isinstance(request, CFindRQ)  # by the table of services
        association = session.connection.association
        status, comment = SUCCESS, None
        try:
            asked, query, question = self._understand(session, context)
            rows = self.find(session.caller, query, question)
            if not self._answer(session, context, request, asked, rows):
                status = CANCEL
        except Gone:
            raise
        except Exception as error:  # noqa: BLE001  # Failure.of logs what is ours
            failure = Failure.of(error)
            status, comment = failure.status, failure.comment
        association.send(
            context.id, request.response(status, error_comment=comment).encode()
        )

    def _understand(
        self, session: Session, context: Context
    ) -> tuple[Asked, Query, Question]:
        """Return what is asked; what is no question is on the record, too.

        Raises:
            BadData: It is none.
            Refused: The caller may not ask.
        """
        raw = session.identifier()
        question = Question(
            sop_class=context.abstract_syntax,
            data_set=raw,
            transfer_syntax=context.transfer_syntax,
            service=Service.C_FIND,
        )
        try:
            asked = Asked.read(DataSet.decode(raw, context.transfer_syntax))
            options = QueryOptions.decode_find(
                session.application_information(context.abstract_syntax)
            )
            query = Query(
                level=asked.level,
                keys=asked.keys,
                scopes=(),
                root=ROOTS.get(context.abstract_syntax, Root.STUDY),
                relational=options.relational,
                combined_datetime=options.combined_datetime,
            )
        except LeadglassError as error:
            self.find.turn_away(session.caller, question, error)
            raise
        return asked, query, replace(question, level=asked.level)

    def _answer(
        self,
        session: Session,
        context: Context,
        request: CFindRQ,
        asked: Asked,
        rows: Iterator[Row],
    ) -> bool:
        """Send the answers; ``False``: the peer cancelled."""
        association = session.connection.association
        pending = PENDING_WITHOUT_OPTIONAL_KEYS if asked.has_unknown else PENDING
        command = request.response(pending, has_data_set=True).encode()
        for number, row in enumerate(rows):
            if number % _ANSWERS_PER_LOOK == 0 and session.is_cancelled(
                request.message_id
            ):
                return False
            answer = self.data_set(asked, row.json)
            association.send(
                context.id, command, answer.encode(context.transfer_syntax)
            )
            if association.outbox_bytes >= _OUTBOX_BYTES:
                session.connection.flush()
        return True

    def data_set(self, asked: Asked, json: Mapping[str, Any]) -> DataSet:
        """Return one answer: every attribute that was asked for, and no other."""
        entries = {
            tag: entry for tag in asked.returned if (entry := json.get(f"{tag:08X}"))
        }
        preferred = asked.charsets or tuple(
            texts_of(json.get(f"{SPECIFIC_CHARACTER_SET:08X}"))
        )
        charsets = choose_charset(_texts(entries), preferred)
        answer = DataSet()
        for tag, vr in asked.returned.items():
            entry = entries.get(tag)
            if entry is not None:
                answer.elements[tag] = element_of(entry, charsets)
            elif vr == "SQ" or vr_of(tag) == "SQ":
                answer.elements[tag] = Element("SQ", ())
            else:
                answer.elements[tag] = Element(vr, b"")
        if charsets:
            answer.set(SPECIFIC_CHARACTER_SET, "CS", "\\".join(charsets).encode())
        answer.set(QUERY_RETRIEVE_LEVEL, "CS", asked.level.encode())
        answer.set(RETRIEVE_AE_TITLE, "AE", self.title.text.encode())
        answer.set(INSTANCE_AVAILABILITY, "CS", b"ONLINE")
        return answer


def _texts(entries: Mapping[Any, Mapping[str, Any]]) -> Iterator[str]:
    for entry in entries.values():
        if entry.get("vr") == "SQ":
            for item in entry.get("Value", ()):
                yield from _texts(item)
        else:
            yield from texts_of(entry)
