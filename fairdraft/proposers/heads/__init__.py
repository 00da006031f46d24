"""Proposers whose drafter is a head that reads the target's hidden states."""

from fairdraft.proposers.heads.methods import (
    DFlashProposer,
    Eagle3Proposer,
    EagleProposer,
    MedusaProposer,
    MTPProposer,
)

__all__ = ["DFlashProposer", "Eagle3Proposer", "EagleProposer", "MTPProposer", "MedusaProposer"]
