"""The rules: what stands, whether it holds, what it answers, and another rule file.

What is saved is what was seen: the page sends the digest of the file that it showed,
and a file that was changed meanwhile is not replaced. Saving needs a fresh proof.
"""

from collections.abc import Iterator
from http import HTTPMethod, HTTPStatus
from typing import Any, Final

from leadglass.access.networks import parse_address
from leadglass.access.policy import Kind, Subject
from leadglass.access.rights import Right
from leadglass.access.roles import ROLES
from leadglass.access.rulefile import NAME_CHARACTERS_MAX
from leadglass.archive.rulebook import Outdated
from leadglass.archive.ruledesk import Answered, Asked, RuleDesk
from leadglass.archive.visit import Visits
from leadglass.dicom.uids import UID
from leadglass.errors import BadData, Misconfigured
from leadglass.identity.people.user import fold_name
from leadglass.servers.http.answers import Answer, Problem
from leadglass.servers.http.fresh import freshly
from leadglass.servers.http.routes import About, Call, Route
from leadglass.servers.web import words
from leadglass.servers.web.forms import FORM, Form, form_of, one
from leadglass.servers.web.pages import HTML, Pages, is_part

PATH: Final = "/rules"
# Some thousand rules; who has more keeps them by other means than a field of a page.
TEXT_CHARACTERS_MAX: Final = 256 * 1024
# As a form has it: most characters as they are, blanks and brackets as three bytes.
_FORM_BYTES_MAX: Final = 3 * TEXT_CHARACTERS_MAX + 4096
_QUESTION_BYTES_MAX: Final = 4096


class RuleRoutes:
    """The page of rules."""

    def __init__(self, pages: Pages, desk: RuleDesk, visits: Visits) -> None:
        self._pages = pages
        self._desk = desk
        self._visits = visits

    def routes(self) -> Iterator[Route]:
        """Yield the routes; all need the right ``administer``."""
        yield Route(
            method=HTTPMethod.GET,
            template=PATH,
            access=Right.ADMINISTER,
            handler=self.show,
            about=About("The page of rules", gives_media=(HTML,)),
        )
        yield Route(
            method=HTTPMethod.POST,
            template=f"{PATH}/ask",
            access=Right.ADMINISTER,
            reader=self.ask,
            body_bytes_max=_QUESTION_BYTES_MAX,
            about=About(
                "What the rules answer: kind, name, right, from, study as a form",
                takes_media=(FORM,),
                gives_media=(HTML,),
            ),
        )
        yield Route(
            method=HTTPMethod.POST,
            template=f"{PATH}/preview",
            access=Right.ADMINISTER,
            reader=self.preview,
            body_bytes_max=_FORM_BYTES_MAX,
            about=About(
                "What a text would mean as the rule file: text as a form; nothing is "
                "written",
                takes_media=(FORM,),
                gives_media=(HTML,),
            ),
        )
        yield Route(
            method=HTTPMethod.POST,
            template=f"{PATH}/save",
            access=Right.ADMINISTER,
            reader=self.save,
            body_bytes_max=_FORM_BYTES_MAX,
            about=About(
                "Another rule file, in force at once: text, and digest of the one that "
                "was seen, as a form",
                takes_media=(FORM,),
                statuses=(HTTPStatus.NO_CONTENT,),
            ),
        )

    def show(self, call: Call) -> Answer:
        """Show the rules that stand."""
        found = self._desk.look(call.caller)
        values = {
            "found": found,
            "name": self._desk.rulebook.name,
            "is_editable": len(found.text) <= TEXT_CHARACTERS_MAX,
            "roles": ROLES.values(),
            "role_words": words.ROLES,
            "rights_there_are": list(Right),
            "name_characters_max": NAME_CHARACTERS_MAX,
            "text_characters_max": TEXT_CHARACTERS_MAX,
            **self._words(),
        }
        block = "list" if is_part(call) else ""
        return self._pages.page(call, "rules.html", values, block=block)

    def ask(self, call: Call, body: bytes) -> Answer:
        """Show what the rules answer.

        Raises:
            BadData: It is no form.
            Problem: 400, it is no question.
        """
        try:
            asked = _asked(form_of(body))
        except Misconfigured as error:
            raise Problem(HTTPStatus.BAD_REQUEST, str(error)) from None
        found: Answered = self._desk.ask(call.caller, asked)
        values = {"asked": asked, "answered": found, **self._words()}
        return self._pages.page(call, "rules.html", values, block="answer")

    def preview(self, call: Call, body: bytes) -> Answer:
        """Show what a text would mean.

        Raises:
            BadData: It is no form.
            Problem: 413, the text is too long.
        """
        found = self._desk.draft(call.caller, _text(form_of(body)))
        values = {
            "draft": found,
            "effects": found.effects,
            "problems": found.problems,
            **self._words(),
        }
        return self._pages.page(call, "rules.html", values, block="draft")

    def save(self, call: Call, body: bytes) -> Answer:
        """Put a text in the place of the rule file.

        Raises:
            BadData: It is no form.
            Problem: 400, it has problems; 403, prove yourself anew; 409, it was changed
                meanwhile; 413, the text is too long.
        """
        caller, form = freshly(call, self._visits), form_of(body)
        try:
            self._desk.save(caller, _text(form), one(form, "digest"))
        except Outdated as error:
            raise Problem(HTTPStatus.CONFLICT, str(error)) from None
        except Misconfigured as error:
            raise Problem(HTTPStatus.BAD_REQUEST, str(error)) from None
        return Answer(HTTPStatus.NO_CONTENT)

    def _words(self) -> dict[str, Any]:
        return {
            "right_words": words.RIGHTS,
            "kind_words": words.KINDS,
            "house": self._desk.accounts.networks,
        }


def _text(form: Form) -> str:
    """Return the text as it is kept, whatever ends of lines browsers send."""
    text = form.get("text", [""])[-1].replace("\r\n", "\n")
    if len(text) > TEXT_CHARACTERS_MAX:
        raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too long for this page")
    if text and not text.endswith("\n"):
        text += "\n"
    return text


def _asked(form: Form) -> Asked:
    """Read a question.

    Raises:
        Misconfigured: All that is wrong.
    """
    kind, right = one(form, "kind"), one(form, "right")
    name, address, study = one(form, "name"), one(form, "from"), one(form, "study")
    if kind not in set(Kind) or right not in set(Right):
        raise Misconfigured("question: no such kind, or no such right")
    if not name.isprintable() or not 1 <= len(name) <= NAME_CHARACTERS_MAX:
        raise Misconfigured(f"name: 1 to {NAME_CHARACTERS_MAX} printable characters")
    if Kind(kind) in {Kind.OPERATOR, Kind.SERVICE}:
        name = fold_name(name)
    try:
        uid = UID(study) if study else None
    except BadData:
        raise Misconfigured("study: a UID has 1 to 64 digits and dots") from None
    return Asked(
        Subject(Kind(kind), name),
        Right(right),
        parse_address(address) if address else None,
        uid,
    )
