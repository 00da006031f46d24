"""Measured costs: seconds of a step over load, rows and context; a profile holds them."""
