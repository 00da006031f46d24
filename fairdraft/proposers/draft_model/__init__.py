"""Proposers whose drafter is a causal model: a smaller one, or the target's first layers."""

from fairdraft.proposers.draft_model.proposer import DraftModelProposer

__all__ = ["DraftModelProposer"]
