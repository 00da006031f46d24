"""Measuring an engine: prompts, timed runs, a grid of settings, its report and its picture.

What `fairdraft bench`, the demo and the scripts in `benchmarks/` measure with.
"""
