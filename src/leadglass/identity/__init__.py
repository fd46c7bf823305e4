"""Proving who: the built-in certificate authority and the register of devices."""
