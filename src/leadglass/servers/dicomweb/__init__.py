"""DICOMweb (PS3.18): doors for requests over HTTP."""
