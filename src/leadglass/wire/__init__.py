"""DICOM upper layer and DIMSE, both roles, without I/O: bytes in, events out."""
