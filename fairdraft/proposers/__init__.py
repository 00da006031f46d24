"""Proposers, which draft: the contract (`base.py`), the registry, a file or folder a method."""

from fairdraft.proposers.base import Needs, PerRequestProposer, Proposer, Settled
from fairdraft.proposers.registry import build_proposer, known_methods

__all__ = [
    "Needs",
    "PerRequestProposer",
    "Proposer",
    "Settled",
    "build_proposer",
    "known_methods",
]
