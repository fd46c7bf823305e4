"""Leadglass: a PACS that cannot be left exposed by accident, and can prove it."""

__version__ = "0.1.0"
