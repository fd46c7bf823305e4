"""Forms of the pages, as browsers send them."""

from typing import Final
from urllib.parse import parse_qs

from leadglass.errors import BadData

FORM: Final = "application/x-www-form-urlencoded"
# Fields of the largest form: every role and right at once, and what stands beside.
FIELDS_MAX: Final = 32

Form = dict[str, list[str]]


def form_of(body: bytes) -> Form:
    """Read a form.

    Raises:
        BadData: It is none, or has more fields than any of ours.
    """
    try:
        return parse_qs(
            body.decode("ascii"),
            errors="strict",
            keep_blank_values=True,
            max_num_fields=FIELDS_MAX,
        )
    except ValueError:
        raise BadData("the body is no form of this page") from None


def one(form: Form, name: str) -> str:
    """Return a field without the blanks around it; empty if it is not there."""
    return form.get(name, [""])[-1].strip()
