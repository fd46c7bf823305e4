"""Bounding a breach: whom it concerns, how far, and whom provably not."""
