"""Specific Character Set (0008,0005): text to bytes and back (PS3.3 §C.12.1.1.2).

The tables of codecs and escape sequences are pydicom's; the decoder is ours, since
text that a device got wrong must never raise, nor warn with a name in it.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from pydicom.charset import CODES_TO_ENCODINGS, python_encoding

UTF_8: Final = "ISO_IR 192"
# VRs whose text depends on the character set (PS3.5 §6.1.2.2).
TEXT_VRS: Final = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})

_ESC: Final = b"\x1b"
# Codecs that read their own escape sequences.
_STATEFUL: Final = frozenset({"iso2022_jp", "iso2022_jp_2"})
# Where code extensions end by themselves (PS3.5 §6.1.2.5.3).
_DELIMITERS = re.compile(r"([\\^=\r\n\f\t])")
_DELIMITER_BYTES = re.compile(rb"([\\^=\r\n\f\t])")
# What devices write for the defined terms.
_SPELLINGS = str.maketrans({"_": " ", "-": " "})
_TERMS: Final = {
    term.upper().translate(_SPELLINGS): codec for term, codec in python_encoding.items()
} | {"ISO IR 203": "iso8859_15", "ISO 2022 IR 203": "iso8859_15"}
# Without a character set the repertoire is ASCII; Latin-1 is what is found there.
_DEFAULT: Final = "latin_1"
_CODES: Final = CODES_TO_ENCODINGS | {b"\x1b-b": "iso8859_15"}
_ESCAPES: Final = {codec: code for code, codec in _CODES.items()} | {
    "shift_jis": b"\x1b)I",
    _DEFAULT: b"\x1b-A",
}


def codec_of(term: str) -> str | None:
    """Return Python's codec of a defined term; ``None``: there is no such term."""
    codec = _TERMS.get(term.strip().upper().translate(_SPELLINGS))
    return _DEFAULT if codec in {"iso8859", "latin_1"} else codec


def is_known(charsets: Iterable[str]) -> bool:
    """Tell whether all defined terms are ones."""
    return all(codec_of(term) is not None for term in charsets)


def decode_text(raw: bytes, vr: str, charsets: Sequence[str]) -> str:
    """Return the text of a value; never raises.

    What cannot be decoded becomes U+FFFD; an unknown character set is read as
    Latin-1. VRs outside ``TEXT_VRS`` have the default repertoire.
    """
    if raw.isascii() and _ESC not in raw:
        return raw.decode("ascii")
    if vr not in TEXT_VRS:
        return raw.decode(_DEFAULT)
    codecs = [codec_of(term) or _DEFAULT for term in charsets] or [_DEFAULT]
    if _ESC not in raw:
        return raw.decode(codecs[0], "replace")
    first, *others = raw.split(_ESC)
    text = first.decode(codecs[0], "replace") if first else ""
    return text + "".join(_escaped(_ESC + other, codecs[0]) for other in others)


def _escaped(part: bytes, default: str) -> str:
    """Decode what follows one escape sequence (PS3.5 §6.1.2.5)."""
    for length in (4, 3):
        codec = _CODES.get(part[:length])
        if codec is None:
            continue
        if codec in _STATEFUL:  # two bytes per character: no delimiters within
            return part.decode(codec, "replace")
        codec = _DEFAULT if codec == "iso8859" else codec
        here, *after = _DELIMITER_BYTES.split(part[length:], maxsplit=1)
        rest = b"".join(after)
        return here.decode(codec, "replace") + rest.decode(default, "replace")
    return part[1:].decode(default, "replace")


def encode_text(text: str, vr: str, charsets: Sequence[str]) -> bytes | None:
    """Return the bytes of a text; ``None``: the character sets cannot hold it."""
    if text.isascii():
        return text.encode("ascii")
    if vr not in TEXT_VRS:
        return None
    codecs = [codec_of(term) for term in charsets] or [None]
    if codecs[0] is None:
        codecs = [None if len(codecs) == 1 else "ascii", *codecs[1:]]
    if len(codecs) == 1:
        if codecs[0] is None or codecs[0] in _STATEFUL:
            return None
        try:
            return text.encode(codecs[0])
        except UnicodeEncodeError:
            return None
    return _with_extensions(text, [codec for codec in codecs if codec is not None])


def _with_extensions(text: str, codecs: Sequence[str]) -> bytes | None:
    """Encode with code extensions: each part between delimiters begins anew."""
    parts = []
    for part in _DELIMITERS.split(text):
        encoded = _part(part, codecs)
        if encoded is None:
            return None
        parts.append(encoded)
    return b"".join(parts)


def _part(part: str, codecs: Sequence[str]) -> bytes | None:
    if part.isascii():
        return part.encode("ascii")
    for position, codec in enumerate(codecs):
        if position and codec not in _ESCAPES:
            continue  # stands alone: GB18030, GBK and UTF-8 have no escape sequence
        try:
            encoded = part.encode(codec)
        except UnicodeEncodeError:
            continue
        if codec in _STATEFUL or position == 0:
            return encoded
        return bytes(_ESCAPES[codec]) + encoded
    return None


def choose_charset(
    texts: Iterable[str], preferred: Sequence[str] = ()
) -> tuple[str, ...]:
    """Return the character set to answer in.

    None for plain ASCII, ``preferred`` where it can hold all texts and reads them
    back, UTF-8 otherwise.
    """
    special = [text for text in texts if not text.isascii()]
    if not special:
        return ()
    if preferred and is_known(preferred):
        encoded = [encode_text(text, "LO", preferred) for text in special]
        if all(
            raw is not None and decode_text(raw, "LO", preferred) == text
            for raw, text in zip(encoded, special, strict=True)
        ):
            return tuple(preferred)
    return (UTF_8,)
