"""Equations of speculation: tokens of a round, its cost, the speedup, estimates from counts."""
