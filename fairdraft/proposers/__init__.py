"""Where drafts come from: the contract in base.py, then one file a method."""

from fairdraft.proposers.base import Needs, PerRequestProposer, Proposer, Rows, Settled
from fairdraft.proposers.registry import build_proposer, known_methods

__all__ = [
    "Needs",
    "PerRequestProposer",
    "Proposer",
    "Rows",
    "Settled",
    "build_proposer",
    "known_methods",
]
