"""Reviewing a trail: what is known, rules that find, alerts that people dispose of."""
