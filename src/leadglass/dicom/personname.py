"""Person names (PS3.5 §6.2.1): three groups of components, and how to compare them."""

import unicodedata
from dataclasses import dataclass
from typing import Final, Self

GROUPS: Final = ("Alphabetic", "Ideographic", "Phonetic")

_VOICING: Final = "\u3099\u309a"

# Letters that Unicode does not decompose, though people type them without accent.
_PLAIN = str.maketrans(
    {
        "ø": "o",
        "ł": "l",
        "đ": "d",
        "ð": "d",
        "þ": "th",
        "æ": "ae",
        "œ": "oe",
        "ı": "i",  # noqa: RUF001  # that is the point
        "ħ": "h",
    }
)


def fold(text: str) -> str:
    """Return the text as it is compared: no case, no accents, single spaces.

    Full-width letters become plain ones (NFKD), ``ß`` becomes ``ss``. Components
    keep their ``^``; trailing empty ones are dropped.
    """
    if text.isascii():
        folded = text.lower()
    else:
        decomposed = unicodedata.normalize("NFKD", text.casefold())
        # Accents are the marks that stand on a letter (Mn); kana's voicing marks are
        # of that kind too, but make another syllable.
        plain = "".join(
            c for c in decomposed if unicodedata.category(c) != "Mn" or c in _VOICING
        )
        folded = unicodedata.normalize("NFC", plain).translate(_PLAIN)
    return "^".join(" ".join(part.split()) for part in folded.split("^")).rstrip("^")


@dataclass(frozen=True, slots=True)
class PersonName:
    """One name, cut into its component groups."""

    alphabetic: str = ""
    ideographic: str = ""
    phonetic: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a value as it stands in a data set; what is too much is left out."""
        parts = [part.strip() for part in text.split("=")]
        return cls(*parts[:3])

    @property
    def folded(self) -> tuple[str, str, str]:
        """The groups as they are compared."""
        return fold(self.alphabetic), fold(self.ideographic), fold(self.phonetic)
