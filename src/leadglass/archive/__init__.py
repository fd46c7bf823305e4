"""Use cases: the only code that joins vault, index and audit.

Every door (DIMSE, command line, later DICOMweb and the web app) calls these and
nothing below them, so no byte moves without a decision and a record.
"""
