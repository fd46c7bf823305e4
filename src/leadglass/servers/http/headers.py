"""The headers of a request, by name whatever its case (RFC 9110 §5.1)."""

from collections.abc import Iterable, Mapping


class Headers:
    """Headers as they came; a name may stand several times."""

    __slots__ = ("_values",)

    def __init__(self, raw: Iterable[tuple[bytes, bytes]] = ()) -> None:
        """Take names and values; octets stand for the characters of ISO 8859-1."""
        self._values: dict[str, list[str]] = {}
        for name, value in raw:
            known = self._values.setdefault(name.decode("latin-1").lower(), [])
            known.append(value.decode("latin-1"))

    @classmethod
    def of(cls, values: Mapping[str, str]) -> "Headers":
        """Make headers of names and values as text."""
        return cls(
            (name.encode(), text.encode("latin-1")) for name, text in values.items()
        )

    def getlist(self, name: str) -> list[str]:
        """Return all values of a name, in their order."""
        return list(self._values.get(name, ()))

    def get(self, name: str, default: str = "") -> str:
        """Return the first value of a name."""
        values = self._values.get(name)
        return values[0] if values else default

    def __contains__(self, name: str) -> bool:
        return name in self._values
