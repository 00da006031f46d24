"""What proofs are made of: toy models whose law shows every mistake; the suite for proposers."""

from fairdraft.testing.conformance import Conformance, ConformanceError, check_proposer
from fairdraft.testing.toy import (
    ToyProposer,
    ToyRunner,
    ToyTreeProposer,
    toy_config,
    toy_continuation,
)

__all__ = [
    "Conformance",
    "ConformanceError",
    "ToyProposer",
    "ToyRunner",
    "ToyTreeProposer",
    "check_proposer",
    "toy_config",
    "toy_continuation",
]
