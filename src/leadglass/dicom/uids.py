"""Unique identifiers (PS3.5 §9)."""

import re
import uuid
from typing import Self

from leadglass.errors import BadData

LENGTH_MAX = 64  # PS3.5 §9.1
_FORM = re.compile(r"[0-9.]{1,64}", re.ASCII)


class UID(str):
    """A valid UID; holding one is the proof that it was checked.

    Components with leading zeros are tolerated, since devices send them.

    Raises:
        BadData: The text is not a UID.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """Check the text."""
        if not _FORM.fullmatch(text):
            raise BadData("not a UID: 1 to 64 digits and dots (PS3.5 §9.1)")
        return super().__new__(cls, text)

    @classmethod
    def decode(cls, field: bytes) -> Self:
        """Read a padded field of a data set or PDU.

        Raises:
            BadData: The field is not a UID.
        """
        return cls(field.rstrip(b"\0 ").lstrip(b" ").decode("ascii", "replace"))


def new_uid() -> UID:
    """Draw a UID that nobody has (PS3.5 §B.2)."""
    return UID(f"2.25.{uuid.uuid4().int}")


IMPLEMENTATION_CLASS_UID = UID("2.25.217146093840217643094273526917523408117")
IMPLEMENTATION_VERSION_NAME = "LEADGLASS_0_1"
