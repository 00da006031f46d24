"""Proposers whose drafter is a head that reads the target's hidden states."""
