"""Drafting with a model, whatever its kind: chains, trees, and the rows that run."""
