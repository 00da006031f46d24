"""What speculation is worth, in plain numpy and scipy, with no engine behind it.

`speedup`: the closed form. `acceptance`: models of how many tokens stand. `cost`: what a round
costs, and the best k of both. `estimators`: from counts to acceptance, with intervals.
"""

from fairdraft.economics.speedup import expected_tokens_per_verify, optimal_k, speedup

__all__ = ["expected_tokens_per_verify", "optimal_k", "speedup"]
