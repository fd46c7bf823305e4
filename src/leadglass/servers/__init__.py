"""Doors: waiting and translating; every decision is made behind them."""
