"""What a wheel needs that is no part of the repository: the viewer (see ``viewer``)."""

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).parent))  # hatchling loads this file alone
import viewer


class ViewerHook(BuildHookInterface[Any]):
    """Puts the viewer where the package has it, before files are collected."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Get the viewer, unless it is there or the installation is one in place.

        In place, a checkout gets it when it is wanted: ``make viewer``.
        """
        if version != "editable":
            viewer.build(viewer.FOLDER)
            build_data["artifacts"].append("src/leadglass/servers/viewer/dist/**")
