"""What speculation is worth and what it costs, in plain numpy and scipy, with no engine behind it.

`equations`: closed forms, models of acceptance, cost models and the best draft length.
`costs`: what steps take, as it was measured. `planning`: which draft length at which load, and
why a run is slower than it should be.
"""

from fairdraft.economics.equations.speedup import expected_tokens_per_verify, optimal_k, speedup

__all__ = ["expected_tokens_per_verify", "optimal_k", "speedup"]
