"""Attacks: what somebody did who should not have, and which rules ought to see it."""
