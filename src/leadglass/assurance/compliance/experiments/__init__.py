"""The experiments E1 to E12: what is done to a twin, and what must come of it."""

from leadglass.assurance.compliance.experiments.table import EXPERIMENTS

__all__ = ["EXPERIMENTS"]
