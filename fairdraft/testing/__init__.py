"""What proofs are made of: toy models whose law shows every mistake."""

from fairdraft.testing.toy import ToyProposer, ToyRunner, toy_config, toy_continuation

__all__ = ["ToyProposer", "ToyRunner", "toy_config", "toy_continuation"]
