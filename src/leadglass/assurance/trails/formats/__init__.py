"""Readers of what other programs write, one file each; pure, in constant memory."""
