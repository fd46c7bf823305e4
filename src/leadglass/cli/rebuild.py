"""``leadglass rebuild``: the index anew from the vault."""

from dataclasses import asdict

from leadglass.app import Node
from leadglass.archive.rebuild import Rebuilt
from leadglass.cli.answers import Answer, counted
from leadglass.cli.progress import progress
from leadglass.cli.running import alone
from leadglass.cli.session import Session
from leadglass.errors import Damaged


def run(session: Session) -> Answer:
    """Rebuild while nobody serves."""
    config = session.config
    with (
        Node.open(config) as node,
        alone(session.home),
        progress("rebuilding the index") as update,
    ):

        def told(found: Rebuilt) -> None:
            update(found.blobs, 0)

        found = node.rebuild(node.operator, told)
    return Answer(
        data=asdict(found),
        text=(
            (
                f"{counted(found.instances, 'instance')} in the index, "
                f"{found.set_aside} set aside, from {counted(found.blobs, 'blob')}"
            ),
            *(
                (f"{found.damaged} damaged: not in the index, left as they are",)
                if found.damaged
                else ()
            ),
        ),
        exit_code=Damaged.exit_code if found.damaged else 0,
    )
