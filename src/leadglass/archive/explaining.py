"""Why somebody sees a study: which rules reach it.

Who may not see a study learns the same as of one that does not exist: that none of the
own rules reaches it, and how far those reach. The question is on the record as any
other, with the study in it when it was answered.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from leadglass.access.policy import Request, Rule
from leadglass.access.rights import Right
from leadglass.access.scopes import Scope
from leadglass.archive.caller import Caller
from leadglass.archive.find import Find
from leadglass.audit.builders import Question
from leadglass.dicom.attributes import BY_KEYWORD, Level
from leadglass.dicom.matching import UIDList
from leadglass.dicom.uids import UID
from leadglass.index.query import Query

# Rules that are asked one by one; people have a handful, from roles and broken glass.
RULES_MAX: Final = 100


@dataclass(frozen=True, slots=True)
class Reaching:
    """One rule and how far it reaches."""

    rule: str
    scope: Scope


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why.

    Attributes:
        is_seen: Whether the study is there for the caller.
        by: The rules that reach it; none if it is not seen.
        own: All rules by which the caller looks for studies.
    """

    is_seen: bool
    by: tuple[Reaching, ...]
    own: tuple[Reaching, ...]


@dataclass(frozen=True, slots=True)
class Explain:
    """The use case."""

    find: Find

    def __call__(self, caller: Caller, study: UID) -> Explanation:
        """Return which of the caller's own rules reach a study.

        Raises:
            Refused: ``caller`` may not ask for studies at all.
            Unavailable: It cannot be recorded, so it is not told.
        """
        query = Query(
            level=Level.STUDY,
            keys={BY_KEYWORD["StudyInstanceUID"].tag: UIDList((study,))},
            scopes=(),
            limit=1,
        )
        asked = Question(
            sop_class="", data_set=study.encode(), transfer_syntax="", service="why"
        )
        is_seen = any(True for _ in self.find(caller, query, asked))
        own = tuple(
            Reaching(rule.name, rule.scope_for(caller.subject))
            for rule in self._rules(caller)
        )
        by = tuple(each for each in own if is_seen and self._reaches(query, each.scope))
        return Explanation(is_seen, by, own)

    def _rules(self, caller: Caller) -> tuple[Rule, ...]:
        request = Request(
            subject=caller.subject,
            right=Right.FIND,
            address=caller.address,
            time=datetime.now(UTC),
        )
        rules = self.find.parts.gate.rules(caller.subject)
        found = (rule for rule in rules if rule.misses(request) is None)
        return tuple(found)[:RULES_MAX]

    def _reaches(self, query: Query, scope: Scope) -> bool:
        parts = self.find.parts
        alone = Query(level=query.level, keys=query.keys, scopes=(scope,), limit=1)
        with parts.database.read() as connection:
            return any(True for _ in parts.index.find(connection, alone))
