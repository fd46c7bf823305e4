"""``leadglass demo``: an archive of its own, filled with example studies, served."""

from argparse import Namespace
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from leadglass.app import Node
from leadglass.cli.importing import answer_of, bring_in
from leadglass.cli.serve import serve_after
from leadglass.cli.session import Session
from leadglass.config import HOME_VARIABLE
from leadglass.errors import Misconfigured

# The module of the package pydicom-data, and where it keeps its files.
_MODULE = "data_store"
_FOLDER = "data"


def run(session: Session) -> None:
    """Fill and serve."""
    folder = example_folder()
    if not session.arguments.home and not session.environ.get(HOME_VARIABLE):
        # Examples must not get among images of people.
        beside = session.home.with_name(f"{session.home.name}-demo")
        arguments = Namespace(**{**vars(session.arguments), "home": str(beside)})
        session = replace(session, arguments=arguments)

    def fill(node: Node) -> Mapping[str, Any]:
        report = bring_in(node, folder)
        answer = answer_of([report], list_skipped=False)
        if not session.as_json:
            session.say(replace(answer, text=("Example studies:", *answer.text)))
        return {"imported": answer.data}

    serve_after(session, fill)


def example_folder() -> Path:
    """Return where the example studies are.

    Raises:
        Misconfigured: They are not installed.
    """
    found = find_spec(_MODULE)
    if found is None or found.origin is None:
        raise Misconfigured(
            "the example studies are not installed; run: pip install 'leadglass[demo]'"
        )
    return Path(found.origin).parent / _FOLDER
