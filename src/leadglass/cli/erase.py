"""``leadglass erase``: a study and its key, for ever."""

from leadglass.app import Node
from leadglass.archive.catalogue import Catalogue, short_id
from leadglass.cli.answers import Answer, counted
from leadglass.cli.session import Session


def run(session: Session) -> Answer:
    """Erase a study, after it was confirmed."""
    arguments = session.arguments
    with Node.open(session.config) as node:
        uid = Catalogue(node.parts).resolve(node.operator, arguments.study)
        if not arguments.yes:
            session.confirm(
                "The study and its key will be destroyed; no backup brings it back.",
                short_id(uid),
            )
        erased = node.erase(node.operator, uid, arguments.reason)
    return Answer(
        data={"study_uid": uid, "blobs": erased.blobs, "keys": erased.keys},
        text=(
            (
                f"erased: {counted(erased.blobs, 'instance')}, "
                f"{counted(erased.keys, 'key')}; the record keeps who did so and why"
            ),
        ),
    )
