"""``leadglass check``: all problems at once, each with its remedy."""

from dataclasses import asdict

from leadglass.cli.answers import Answer
from leadglass.cli.findings import examine
from leadglass.cli.session import Session
from leadglass.errors import Misconfigured


def run(session: Session) -> Answer:
    """Check everything; exit code 2 if there is a problem."""
    found = examine(session.home, lambda: session.config)
    lines = [
        *(f"problem: {each}" for each in found.problems),
        *(f"warning: {each}" for each in found.warnings),
        *(f"weakened: {each}" for each in found.weaknesses),
    ]
    if not found.problems:
        lines.append(f"no problems; checked: {', '.join(found.checked)}")
    return Answer(
        data=asdict(found),
        text=tuple(lines),
        exit_code=Misconfigured.exit_code if found.problems else 0,
    )
