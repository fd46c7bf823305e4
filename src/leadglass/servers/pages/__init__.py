"""Pages of our own, for people with a browser."""
