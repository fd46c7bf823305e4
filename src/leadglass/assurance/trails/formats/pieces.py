"""JSON of any length, as the objects in it, each cut out by its braces."""

import re
from collections.abc import Iterator
from io import TextIOWrapper
from typing import BinaryIO, Final

from leadglass.assurance.trails.formats.source import Unparsed, shown

# One object; longer ones are of nobody honest.
OBJECT_CHARACTERS_MAX: Final = 4 << 20
_PIECE_CHARACTERS: Final = 1 << 16
_TOKEN: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[{}]|"', re.DOTALL)


def objects(stream: BinaryIO, at_depth: int) -> Iterator[tuple[int, str | Unparsed]]:
    """Yield (how manieth, object): those within so many braces, 1 for the outermost.

    What is longer than ``OBJECT_CHARACTERS_MAX``, or does not end, ends the reading
    and is told of.
    """
    text = TextIOWrapper(stream, encoding="utf-8", errors="replace")
    held, at, depth, start, count = "", 0, 0, 0, 0
    while piece := text.read(_PIECE_CHARACTERS):
        held += piece
        for token in _TOKEN.finditer(held, at):
            if token[0] == '"':
                break  # the end of this string is in the next piece
            at = token.end()
            if token[0] == "{":
                depth += 1
                start = token.start() if depth == at_depth else start
            elif token[0] == "}":
                depth -= 1
                if depth == at_depth - 1:
                    count += 1
                    yield count, held[start:at]
                    start = at
        keep = start if depth >= at_depth else at
        held, at, start = held[keep:], at - keep, 0
        if len(held) > OBJECT_CHARACTERS_MAX:
            break
    text.detach()
    if depth or held.strip(" \t\r\n]"):
        yield count + 1, Unparsed(count + 1, shown(held or "{"))
