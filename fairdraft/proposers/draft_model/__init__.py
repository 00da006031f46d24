"""Proposers whose drafter is a causal model: a smaller one, or the target's first layers."""
