"""Audit messages in syslog: RFC 5424 headers, RFC 5425 frames (PS3.15 §A.6).

    MSG-LEN SP <PRI>1 TIMESTAMP HOSTNAME APP-NAME PROCID DICOM+RFC3881 - BOM XML

Structured data is not used; everything is in the XML (``xml``).
"""

import re
from dataclasses import dataclass
from typing import Final

from leadglass.audit.codes import Outcome
from leadglass.audit.search import Record
from leadglass.audit.xml import date_time, message

# PS3.15 §A.6: facility 10 (security), severity 5 (notice) or 4 (warning).
_FACILITY: Final = 10
_NOTICE: Final = 5
_WARNING: Final = 4
MSGID: Final = "DICOM+RFC3881"
# RFC 5424 §6: what a field may have at most.
HOSTNAME_MAX: Final = 255
APP_NAME_MAX: Final = 48
PROCID_MAX: Final = 128
_NIL: Final = "-"
_BOM: Final = b"\xef\xbb\xbf"
# PRINTUSASCII; everything else is replaced.
_NOT_PRINTABLE: Final = re.compile("[^!-~]")


def field(text: str, characters_max: int) -> str:
    """Return what may stand in a header field: printable, no blank, not too long."""
    return _NOT_PRINTABLE.sub("_", text)[:characters_max] or _NIL


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sends, as the header says it.

    Attributes:
        own: Name of the log.
        host: HOSTNAME: what the node is called, or its address.
        app: APP-NAME.
        process: PROCID.
    """

    own: str
    host: str
    app: str
    process: str

    def frame(self, record: Record) -> bytes:
        """Return a record as it goes over the wire (RFC 5425 §4.3)."""
        data = self.message(record)
        return b"%d %b" % (len(data), data)

    def message(self, record: Record) -> bytes:
        """Return the syslog message of a record."""
        made = message(record, self.own)
        is_fine = made.outcome is Outcome.SUCCESS
        priority = _FACILITY * 8 + (_NOTICE if is_fine else _WARNING)
        header = (
            f"<{priority}>1 {date_time(record.time)} {field(self.host, HOSTNAME_MAX)} "
            f"{field(self.app, APP_NAME_MAX)} {field(self.process, PROCID_MAX)} "
            f"{MSGID} {_NIL} "
        )
        return header.encode("ascii") + _BOM + made.text.encode("utf-8")
