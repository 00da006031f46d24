"""Which draft tokens stand. Pure functions of (target rows, draft, draws)."""

from fairdraft.verification.chain import Draws, match, standard

__all__ = ["Draws", "match", "standard"]
