"""``leadglass audit copy``: checkpoints to where this node cannot take them back."""

from leadglass.app import Node, copiers_of
from leadglass.cli.answers import Answer, counted
from leadglass.cli.session import Session
from leadglass.errors import Misconfigured


def run(session: Session) -> Answer:
    """Copy now."""
    with Node.open(session.config) as node:
        copiers = copiers_of(node)
        if not copiers:
            raise Misconfigured(
                "copies: no place is named; set copies.folder or copies.s3_bucket"
            )
        done = [(type(each.place).__name__, each.run()) for each in copiers]
    names = {"CopyFolder": "folder", "Bucket": "bucket"}
    return Answer(
        data={
            "places": [
                {"place": names[kind], "records": each.size, "new": each.new}
                for kind, each in done
            ]
        },
        text=tuple(
            f"{names[kind]}: {counted(each.size, 'record')} signed there, "
            f"{counted(each.new, 'new file')}"
            for kind, each in done
        ),
    )
