"""``leadglass quarantine``: what was kept aside, and never silently overwrote."""

from leadglass.app import Node
from leadglass.archive.catalogue import Catalogue
from leadglass.cli.answers import Answer, Table, size_text
from leadglass.cli.session import Session


def list_all(session: Session) -> Answer:
    """List it."""
    with Node.open(session.config) as node:
        found = Catalogue(node.parts).quarantined(node.operator)
    items = [
        {
            "number": each.number,
            "study_uid": each.study_uid,
            "instance_uid": each.instance_uid,
            "sop_class_uid": each.sop_class_uid,
            "source": each.source,
            "received_at": each.received_at,
            "bytes": each.blob_bytes,
            "sha256": each.digest.hex(),
            "existing_sha256": each.existing_digest.hex(),
        }
        for each in found
    ]
    rows = tuple(
        (
            str(each.number),
            each.received_at,
            each.source,
            size_text(each.blob_bytes),
            each.instance_uid,
        )
        for each in found
    )
    text: tuple[str | Table, ...] = ("nothing is kept aside",)
    if rows:
        text = (
            Table(("NUMBER", "RECEIVED", "FROM", "SIZE", "SOP INSTANCE UID"), rows),
        )
    return Answer(data={"quarantined": len(items), "items": items}, text=text)
