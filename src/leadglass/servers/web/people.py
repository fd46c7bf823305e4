"""Users and tokens: what they may, and what a change would mean before it is saved.

Changes go to ``/api/users`` and ``/api/tokens``, as those of a program do.
"""

from collections.abc import Iterator
from http import HTTPMethod
from typing import Final

from leadglass.access.rights import PROGRAM_RIGHTS, Right
from leadglass.access.roles import ROLES
from leadglass.access.scopes import EVERYTHING_TEXT, Scope
from leadglass.archive.accounts import REASON_CHARACTERS_MAX, Accounts
from leadglass.archive.previewing import Preview, Previews
from leadglass.errors import Misconfigured
from leadglass.identity.people.user import (
    DISPLAY_NAME_CHARACTERS_MAX,
    NAME_CHARACTERS_MAX,
    fold_name,
)
from leadglass.identity.tokens.token import VALIDITY_DEFAULT, VALIDITY_MAX
from leadglass.servers.http.answers import Answer
from leadglass.servers.http.routes import About, Call, Route
from leadglass.servers.web import words
from leadglass.servers.web.forms import FORM, Form, form_of, one
from leadglass.servers.web.pages import HTML, Pages, is_part

PATH: Final = "/people"
# A scope that lists patients is the longest, three bytes a character as a form has it.
_FORM_BYTES_MAX: Final = 256 * 1024


class PeopleRoutes:
    """The page of users and tokens."""

    def __init__(self, pages: Pages, accounts: Accounts, previews: Previews) -> None:
        self._pages = pages
        self._accounts = accounts
        self._previews = previews

    def routes(self) -> Iterator[Route]:
        """Yield the routes; both need the right ``administer``."""
        yield Route(
            method=HTTPMethod.GET,
            template=PATH,
            access=Right.ADMINISTER,
            handler=self.show,
            about=About("The page of users and tokens", gives_media=(HTML,)),
        )
        yield Route(
            method=HTTPMethod.POST,
            template=f"{PATH}/preview",
            access=Right.ADMINISTER,
            reader=self.preview,
            body_bytes_max=_FORM_BYTES_MAX,
            about=About(
                "What roles and a scope would mean for a user: name, roles, scope, "
                "is_new as a form; nothing is written",
                takes_media=(FORM,),
                gives_media=(HTML,),
            ),
        )

    def show(self, call: Call) -> Answer:
        """Show all users and tokens."""
        values = {
            "accounts": self._accounts.list_users(call.caller),
            "proofs": self._previews.proofs(call.caller),
            "tokens": self._accounts.list_tokens(call.caller),
            "roles": [
                each
                for each in ROLES.values()
                if each.is_for_people and not each.not_yet
            ],
            "program_roles": [
                each
                for each in ROLES.values()
                if each.rights & PROGRAM_RIGHTS and not each.not_yet
            ],
            "role_words": words.ROLES,
            "own": fold_name(call.caller.subject.name),
            "everything": EVERYTHING_TEXT,
            "name_characters_max": NAME_CHARACTERS_MAX,
            "display_name_characters_max": DISPLAY_NAME_CHARACTERS_MAX,
            "reason_characters_max": REASON_CHARACTERS_MAX,
            "days_default": VALIDITY_DEFAULT.days,
            "days_max": VALIDITY_MAX.days,
        }
        block = "list" if is_part(call) else ""
        return self._pages.page(call, "people.html", values, block=block)

    def preview(self, call: Call, body: bytes) -> Answer:
        """Show who would gain and who would lose what.

        Raises:
            BadData: It is no form.
            NotFound: No such user.
        """
        found = self._preview(call, form_of(body))
        values = {
            "effects": found.effects,
            "problems": found.problems,
            "right_words": words.RIGHTS,
            "kind_words": words.KINDS,
            "house": self._accounts.networks,
        }
        return self._pages.page(call, "people.html", values, block="effect")

    def _preview(self, call: Call, form: Form) -> Preview:
        name, is_new = one(form, "name"), bool(one(form, "is_new"))
        roles = tuple(form.get("roles", []))
        try:
            scope = Scope.parse(one(form, "scope"))
        except Misconfigured as error:
            return Preview((), error.problems)
        if is_new:
            return self._previews.of_new(call.caller, name, roles, scope)
        # Who is proven elsewhere has roles that are not ours to say.
        given = None if one(form, "keeps_roles") else roles
        return self._previews.of_change(call.caller, name, given, scope)
