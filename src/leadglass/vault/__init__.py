"""Sealed write-once blobs, and the keys that open them."""
