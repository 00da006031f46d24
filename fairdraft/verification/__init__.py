"""Which drafts stand: pure functions of (target rows, draft, draws) → verdict."""

from fairdraft.verification.base import Draws, Rows
from fairdraft.verification.block import block
from fairdraft.verification.match import match
from fairdraft.verification.standard import standard
from fairdraft.verification.synthetic import synthetic

__all__ = ["Draws", "Rows", "block", "match", "standard", "synthetic"]
