"""Application entity titles (PS3.5 §6.2, VR AE; PS3.8 §9.3.2)."""

from dataclasses import dataclass
from typing import Self

from leadglass.errors import PeerError

FIELD_BYTES = 16  # PS3.8 Table 9-11


@dataclass(frozen=True, slots=True)
class AETitle:
    """A valid title. It is a name that any peer may claim, never an identity.

    Raises:
        PeerError: The text is not a title.
    """

    text: str

    def __post_init__(self) -> None:
        if not 1 <= len(self.text) <= FIELD_BYTES:
            raise PeerError("AE title must have 1 to 16 characters")
        if self.text != self.text.strip(" "):
            raise PeerError("AE title must not begin or end with a space")
        if not all(" " <= letter <= "~" and letter != "\\" for letter in self.text):
            raise PeerError("AE title has a character outside its repertoire")

    def __str__(self) -> str:
        return self.text

    @classmethod
    def decode(cls, field: bytes) -> Self:
        """Read the space-padded field of a PDU or command.

        Raises:
            PeerError: The field is blank or not a title.
        """
        return cls(bytes(field).decode("ascii", "replace").strip(" \0"))

    def encode(self) -> bytes:
        """Return the field as a PDU holds it: 16 bytes, padded with spaces."""
        return self.text.encode("ascii").ljust(FIELD_BYTES)
