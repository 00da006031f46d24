"""What speculation is worth, in plain numpy, with no engine behind it."""

from fairdraft.economics.speedup import expected_tokens_per_verify, optimal_k, speedup

__all__ = ["expected_tokens_per_verify", "optimal_k", "speedup"]
