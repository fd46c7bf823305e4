"""What a scanned target sends is hostile: made harmless before anybody reads it."""

from typing import Final

_CUT: Final = "…"


def clean(text: str, characters_max: int = 120) -> str:
    """Return one line of text without what could steer a terminal or a page."""
    shown = "".join(each if each.isprintable() else "?" for each in text)
    if len(shown) <= characters_max:
        return shown
    return shown[: characters_max - 1] + _CUT


def clean_bytes(data: bytes, characters_max: int = 120) -> str:
    """Return bytes of a stranger as text."""
    return clean(data[: 4 * characters_max].decode("utf-8", "replace"), characters_max)
