"""How a page is made: a template, what it shows, and who looks.

All that comes from elsewhere is escaped by the template engine. A page that asks for a
part of itself (htmx) gets the template's block of that name, by the same route and the
same right.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from leadglass.access.rights import Right
from leadglass.archive.caller import Caller
from leadglass.servers.http.answers import Answer
from leadglass.servers.http.routes import Call
from leadglass.servers.web.menu import MENU, entries
from leadglass.servers.web.texts import Text, Texts

HTML: Final = "text/html; charset=utf-8"
# Nothing inline, nothing from elsewhere, no ``eval``. Pictures are thumbnails of ours;
# ``blob:`` holds those that a script made.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data: blob:; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
LANGUAGE_COOKIE: Final = "__Host-language"

# Returns which of these rights somebody has now.
RightsOf = Callable[[Caller, Iterable[Right]], frozenset[Right]]


class Pages:
    """Makes the pages of the app.

    Args:
        rights_of: Which rights a caller has: the menu shows what can be opened.
        texts: What the pages say.
    """

    def __init__(self, rights_of: RightsOf, texts: Texts | None = None) -> None:
        self._rights_of = rights_of
        self._texts = texts or Texts()
        self._environment = Environment(
            loader=PackageLoader("leadglass.servers.web"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {"moment": _moment, "size": _size}

    def page(  # noqa: PLR0913  # what an answer has
        self,
        call: Call,
        template: str,
        values: Mapping[str, Any],
        *,
        block: str = "",
        status: int = HTTPStatus.OK,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Return a page, or a part of it.

        Args:
            call: Who asks, and in which language.
            template: Its file below ``templates``.
            values: What it shows; escaped as it is written.
            block: Of the template, alone: what htmx puts in place of the old one.
            status: Of the answer.
            headers: More of them.
        """
        text = self.text(call)
        held = self._rights_of(call.caller, {each.right for each in MENU})
        shown = {
            "_": text,
            "language": text.language,
            "languages": self._texts.languages,
            "menu": entries(held),
            "here": "/" + call.target.partition("?")[0].split("/")[1],
            "who": call.caller.subject.name,
            "rights": held,
            **values,
        }
        found = self._environment.get_template(template)
        if block:
            context = found.new_context(shown)
            body = "".join(found.blocks[block](context))
        else:
            body = found.render(shown)
        # The same address gives a page or a part of it, in one language or another.
        told = {
            "content-security-policy": POLICY,
            "vary": "hx-request, accept-language, cookie",
        }
        return Answer(status, HTML, body.encode(), told | dict(headers or {}))

    def text(self, call: Call) -> Text:
        """Return the reader's language."""
        return wanted(call, self._texts)


def wanted(call: Call, texts: Texts) -> Text:
    """Return the reader's language: as chosen, else as the browser wants it."""
    for pair in call.headers.get("cookie", "").split(";"):
        name, _, value = pair.strip().partition("=")
        if name == LANGUAGE_COOKIE and value in texts.languages:
            return texts.of(value)
    return texts.wanted(call.headers.get("accept-language", ""))


def N_(sentence: str) -> str:  # noqa: N802  # as gettext calls it
    """Mark a sentence that is translated where it is shown."""
    return sentence


def is_part(call: Call) -> bool:
    """Tell whether htmx asks for a part, and not a browser for a page."""
    return call.headers.get("hx-request") == "true"


def _moment(when: datetime | None) -> Markup:
    """Show a moment; the page's script puts it into the reader's own zone."""
    if when is None:
        return Markup("–")
    utc = when.astimezone(UTC)
    return Markup('<time datetime="{}">{}</time>').format(
        utc.isoformat(timespec="seconds"), f"{utc:%Y-%m-%d %H:%M} UTC"
    )


def _size(count: int) -> str:
    """Show a number of bytes."""
    value, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB", "PB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
