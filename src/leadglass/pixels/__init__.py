"""Decoding images, in worker processes: codecs are C code fed with hostile input."""
