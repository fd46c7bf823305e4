"""The house of the interface's tests: programs ask it as FHIR, too."""

from tests.unit.servers.api.conftest import house, node, peopled

__all__ = ["house", "node", "peopled"]
