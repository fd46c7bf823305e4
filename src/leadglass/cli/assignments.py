"""``leadglass assignments``: which studies are somebody's to see."""

from leadglass.access.policy import Kind, Subject
from leadglass.app import Node
from leadglass.archive.catalogue import Catalogue, short_id
from leadglass.cli.answers import Answer, Table, counted
from leadglass.cli.session import Session


def add(session: Session) -> Answer:
    """Assign studies."""
    who = _subject(session)
    with Node.open(session.config) as node:
        count = node.listing.assign(node.operator, who, _uids(session, node))
    return Answer(
        data={"assignee": str(who), "added": count},
        text=(f"assigned: {counted(count, 'study', 'studies')} to {who.name}",),
    )


def remove(session: Session) -> Answer:
    """Take studies back."""
    who = _subject(session)
    with Node.open(session.config) as node:
        count = node.listing.unassign(node.operator, who, _uids(session, node))
    return Answer(
        data={"assignee": str(who), "removed": count},
        text=(f"taken back: {counted(count, 'study', 'studies')} of {who.name}",),
    )


def show(session: Session) -> Answer:
    """Show what is assigned to one."""
    who = _subject(session)
    with Node.open(session.config) as node:
        found = node.listing.assigned(node.operator, who)
    rows = tuple((short_id(uid), uid) for uid in found)
    return Answer(
        data={"assignee": str(who), "studies": len(found), "items": list(found)},
        text=(Table(("ID", "STUDY INSTANCE UID"), rows),)
        if rows
        else (f"nothing is assigned to {who.name}",),
    )


def list_all(session: Session) -> Answer:
    """List who has how many."""
    with Node.open(session.config) as node:
        found = node.listing.assignees(node.operator)
    rows = tuple((name, str(count)) for name, count in found.items())
    return Answer(
        data={
            "assignees": len(found),
            "items": [
                {"assignee": name, "studies": count} for name, count in found.items()
            ],
        },
        text=(Table(("ASSIGNEE", "STUDIES"), rows),)
        if rows
        else ("nothing is assigned: leadglass assignments add NAME STUDY",),
    )


def _subject(session: Session) -> Subject:
    arguments = session.arguments
    kind = Kind.SERVICE if arguments.program else Kind.OPERATOR
    return Subject(kind, arguments.name.strip().casefold())


def _uids(session: Session, node: Node) -> tuple[str, ...]:
    """Return what was typed; a UID may be named before there is such a study."""
    catalogue = Catalogue(node.parts)
    return tuple(
        text if "." in text else catalogue.resolve(node.operator, text)
        for text in session.arguments.studies
    )
