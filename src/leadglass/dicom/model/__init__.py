"""Whole data sets as DICOM JSON (PS3.18 Annex F) and Native XML (PS3.19 §A.1)."""
