"""``leadglass verify``: every stored byte against its seal and its hash."""

from dataclasses import asdict

from leadglass.app import Node
from leadglass.archive.verify import Verified
from leadglass.cli.answers import Answer, Table, counted, size_text
from leadglass.cli.progress import progress
from leadglass.cli.session import Session
from leadglass.errors import Damaged


def run(session: Session) -> Answer:
    """Verify, and tell what is damaged."""
    with Node.open(session.config) as node, progress("verifying") as update:

        def told(found: Verified) -> None:
            update(found.instances, found.total)

        found = node.verify(node.operator, told)
    return answer_of(found)


def answer_of(found: Verified) -> Answer:
    """Return what is told of a verification."""
    text: list[str | Table] = [
        f"{counted(found.instances, 'instance')}, {size_text(found.bytes)}: "
        + (
            "all as they were stored"
            if not found.damaged
            else f"{found.damaged} damaged"
        )
    ]
    if found.damages:
        rows = tuple((each.blob, each.what) for each in found.damages)
        text += [
            Table(("BLOB", "WHAT IS WRONG"), rows),
            (
                "Nothing was repaired; restore these blobs from a backup, then verify "
                "again. The record has the studies: leadglass audit list --event 110113"
            ),
        ]
    if found.orphans:
        text.append(
            f"{counted(found.orphans, 'blob')} without a row: harmless; if it lasts, "
            "the index is older than the vault: leadglass rebuild"
        )
    return Answer(
        data=asdict(found),
        text=tuple(text),
        exit_code=Damaged.exit_code if found.damaged else 0,
    )
