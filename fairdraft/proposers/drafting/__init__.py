"""Drafting with a model, whatever its kind: chains, trees, and the rows that run."""

from fairdraft.proposers.drafting.drafter import Drafter, DrafterSource, Underway
from fairdraft.proposers.drafting.proposer import ModelProposer

__all__ = ["Drafter", "DrafterSource", "ModelProposer", "Underway"]
