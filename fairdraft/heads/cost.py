"""The draft cost c of a head beside its target, from its shape alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

LOOKED_UP = ("embed_tokens.weight",)  # one row of it is read a token


@dataclass(frozen=True)
class HeadCost:
    """The cost of one draft token, where memory bandwidth or arithmetic is all that counts.

    Args:
        parameters: read by one pass of the head.
        tokens: drafted by one pass: 1, or one a Medusa head, one a mask of a DFlash block.
        by_bytes: c, over the bytes of a target run, where all tokens of a pass are of use.
        by_flops: c, over the operations of a target run of one row.
    """

    parameters: int
    tokens: int
    by_bytes: float
    by_flops: float


def head_cost(head: nn.Module, target: nn.Module) -> HeadCost:
    """Return the cost of a head beside its target, both in the same precision.

    Args:
        head: any that is trained here.
        target: the transformers model; a tied embedding counts once, as it is read once.
    """
    numbers = {n: p.numel() for n, p in head.named_parameters() if not n.endswith(LOOKED_UP)}
    whole = sum(parameter.numel() for parameter in target.parameters())
    config: Any = head.config
    rows = int(getattr(config, "block_size", 1))  # that one pass runs
    tokens = int(getattr(config, "num_heads", max(rows - 1, 1)))
    read = sum(numbers.values())
    # A vocabulary matrix is read once a pass, and multiplied with once a token.
    shared = numbers.get("lm_head.weight", 0)
    worked = (read - shared) * rows / tokens + shared
    return HeadCost(read, tokens, read / tokens / whole, worked / whole)
