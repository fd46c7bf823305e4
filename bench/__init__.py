"""Measure Leadglass beside Orthanc and DCMTK: ``python -m bench``."""
