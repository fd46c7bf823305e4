"""What is known of an arrival that its bytes do not say: from whom, how and when.

It is sealed beside the blob, before the blob's first byte, so that an instance whose
success was said, and whose rows a crash cut off, is entered at the next start as it
would have been. An index that is built anew has the senders from here, too.
"""

import json
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from operator import attrgetter
from typing import Self

from leadglass.audit.builders import Actor, Service
from leadglass.errors import Damaged

_FIELDS = attrgetter(*(each.name for each in fields(Actor)))


@dataclass(frozen=True, slots=True)
class Receipt:
    """From whom one instance came, how, and when.

    Attributes:
        actor: Who brought it, as the record names it.
        service: By which service.
        received_at: When it began to come; with a time zone.
    """

    actor: Actor
    service: Service
    received_at: datetime

    def encode(self) -> bytes:
        """Return it as the note of a blob."""
        when = self.received_at.astimezone(UTC).isoformat(timespec="microseconds")
        return json.dumps(
            [*_FIELDS(self.actor), self.service, when],
            ensure_ascii=False,
            separators=(",", ":"),
        ).encode()

    @classmethod
    def decode(cls, note: bytes) -> Self:
        """Read the note of a blob.

        Raises:
            Damaged: It is no receipt, though its seal is whole.
        """
        try:
            *actor, service, when = json.loads(note)
            return cls(Actor(*actor), Service(service), datetime.fromisoformat(when))
        except (TypeError, ValueError) as error:
            raise Damaged("a blob with a receipt of an unknown form") from error
