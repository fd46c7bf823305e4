"""The DICOM door: threads with blocking sockets round the protocol core."""
