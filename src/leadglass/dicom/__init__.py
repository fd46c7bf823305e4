"""The DICOM standard as values: no input, no output, no clock."""
