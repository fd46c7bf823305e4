"""Tests of the documentation: tables, links, paths, commands, pictures."""
