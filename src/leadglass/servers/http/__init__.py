"""HTTPS: one listener, one table of routes, and the guard in front of it."""
