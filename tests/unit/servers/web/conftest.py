"""The house of the interface's tests: its people open pages, too."""

from tests.unit.servers.api.conftest import house, node, peopled

__all__ = ["house", "node", "peopled"]
