"""``leadglass status``: how this node is, without a patient in it."""

from leadglass import __version__
from leadglass.app import Node
from leadglass.archive.catalogue import Catalogue
from leadglass.cli.answers import Answer, counted, size_text
from leadglass.cli.findings import ending, free_bytes
from leadglass.cli.forwarding import lines
from leadglass.cli.running import where
from leadglass.cli.session import Session
from leadglass.identity.devices import Status


def reviews_text(count: int, unsent: int = 0) -> tuple[str, ...]:
    """Say that somebody must judge what was done by breaking the glass."""
    if not count:
        return ()
    is_are = "is" if count == 1 else "are"
    told = f"broken glass: {counted(count, 'review')} {is_are} open"
    if unsent:
        told += f", {counted(unsent, 'notice')} of it not sent yet"
    return (f"{told}; leadglass reviews list",)


def run(session: Session) -> Answer:
    """Tell it."""
    config = session.config
    facts = where(session.home)
    with Node.open(config) as node:
        totals = Catalogue(node.parts).totals(node.operator)
        with node.database.read() as connection:
            devices = node.devices.list(connection)
        active = sum(each.status is Status.ACTIVE for each in devices)
        records = node.audit.size()
        reviews = node.emergencies.count_open()
        unsent = node.notices.count_waiting() if config.mail_server else 0
        backlog = node.forwarding.backlog(config.record_receivers)
        expiring = list(ending(node))
    listen = (facts or {}).get("dimse") or str(config.listen)
    free = free_bytes(session.home)
    data = {
        "version": __version__,
        "home": str(session.home),
        "ae_title": config.node.ae_title,
        "serving": facts is not None,
        "listen": listen,
        "patients": totals.patients,
        "studies": totals.studies,
        "series": totals.series,
        "instances": totals.instances,
        "bytes": totals.blob_bytes,
        "quarantined": totals.quarantined,
        "devices": {"active": active, "revoked": len(devices) - active},
        "audit_records": records,
        "open_reviews": reviews,
        "unsent_notices": unsent,
        "unsent_audit_records": max((each.waiting for each in backlog), default=0),
        "free_bytes": free,
        "expiring": expiring,
        "weaknesses": config.weaknesses(),
    }
    return Answer(
        data=data,
        text=(
            f"Leadglass {__version__}, {config.node.ae_title}: "
            + (f"serves on {listen}" if facts is not None else "does not serve"),
            f"data: {session.home}, {size_text(free)} free",
            (
                f"archive: {counted(totals.studies, 'study', 'studies')}, "
                f"{totals.series} series, {counted(totals.instances, 'instance')}, "
                f"{size_text(totals.blob_bytes)}; {totals.quarantined} kept aside"
            ),
            f"devices: {active} active, {len(devices) - active} revoked",
            f"audit: {counted(records, 'record')}",
            *lines(backlog),
            *reviews_text(reviews, unsent),
            *(f"ends soon: {each}" for each in expiring),
            *(f"weakened: {each}" for each in config.weaknesses()),
        ),
    )
