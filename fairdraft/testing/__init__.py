"""What proofs are made of: toy models whose law shows every mistake; the suite for proposers."""

from fairdraft.testing.conformance import Conformance, check_proposer
from fairdraft.testing.contract import ConformanceError
from fairdraft.testing.toy import (
    RepeatingToyRunner,
    ToyProposer,
    ToyRunner,
    ToyTreeProposer,
    toy_config,
    toy_continuation,
)

__all__ = [
    "Conformance",
    "ConformanceError",
    "RepeatingToyRunner",
    "ToyProposer",
    "ToyRunner",
    "ToyTreeProposer",
    "check_proposer",
    "toy_config",
    "toy_continuation",
]
