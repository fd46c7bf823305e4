"""What the pages say, in the reader's language.

Templates and handlers are written in English, and their sentences are the keys: what
has no translation is shown in English. A test keeps the lists whole.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

FOLDER: Final = Path(__file__).parent / "texts"
ENGLISH: Final = "en"
# Languages that a browser may list; the rest is not read.
_LISTED_MAX: Final = 16


class Texts:
    """All languages that there are; English is always one."""

    def __init__(self, folder: Path = FOLDER) -> None:
        """Read ``*.toml``: each a table ``texts`` of sentences by their English."""
        self._catalogues: dict[str, Mapping[str, str]] = {ENGLISH: MappingProxyType({})}
        for path in sorted(folder.glob("*.toml")):
            with path.open("rb") as file:
                texts = tomllib.load(file)["texts"]
            self._catalogues[path.stem] = MappingProxyType(texts)

    @property
    def languages(self) -> tuple[str, ...]:
        """Their names (RFC 5646), English first."""
        return tuple(self._catalogues)

    def of(self, language: str) -> "Text":
        """Return one language; English if it is none of ours."""
        known = language if language in self._catalogues else ENGLISH
        return Text(known, self._catalogues[known])

    def wanted(self, accept_language: str) -> "Text":
        """Return the language that a browser wants most (RFC 9110 §12.5.4)."""
        best, weight = ENGLISH, 0.0
        for part in accept_language.split(",")[:_LISTED_MAX]:
            name, _, parameter = part.strip().partition(";")
            primary = name.strip().lower().partition("-")[0]
            given = _weight(parameter)
            if primary in self._catalogues and given > weight:
                best, weight = primary, given
        return self.of(best)


def _weight(parameter: str) -> float:
    name, _, value = parameter.strip().partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0


class Text:
    """One language."""

    def __init__(self, language: str, sentences: Mapping[str, str]) -> None:
        self.language = language
        self._sentences = sentences

    def __call__(self, english: str, **values: object) -> str:
        """Return a sentence, with ``{name}`` filled in."""
        sentence = self._sentences.get(english, english)
        return sentence.format(**values) if values else sentence
