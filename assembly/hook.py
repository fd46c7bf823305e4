"""What a wheel needs that is no part of the repository: see ``viewer``, ``scripts``."""

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).parent))  # hatchling loads this file alone
import scripts
import viewer


class ViewerHook(BuildHookInterface[Any]):
    """Puts both where the package has them, before files are collected."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Get them, unless they are there or the installation is one in place.

        In place, a checkout gets them when they are wanted: ``make viewer``.
        """
        if version != "editable":
            viewer.build(viewer.FOLDER)
            scripts.build(scripts.FOLDER)
            build_data["artifacts"] += [
                "src/leadglass/servers/viewer/dist/**",
                "src/leadglass/servers/web/dist/**",
            ]
