"""Medusa as a drafter: one head for each token ahead, all on the target's last hidden state."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fairdraft.heads.medusa import MedusaHead
from fairdraft.models import ModelRunner
from fairdraft.proposers.base import Needs, Settled
from fairdraft.proposers.drafting.drafter import Underway
from fairdraft.proposers.heads.fused import MedusaPass
from fairdraft.proposers.heads.parallel import ParallelDrafter
from fairdraft.proposers.options import DraftShape


class MedusaDrafter(ParallelDrafter):
    """Medusa heads: no KV, one pass for all tokens of a draft, a head a token.

    Args:
        head: the network.
        target: whose last hidden state it reads.
        shape: of the drafts.

    Raises:
        ConfigError: more tokens are asked for than there are heads.
    """

    head: MedusaHead

    def __init__(self, head: MedusaHead, target: ModelRunner, shape: DraftShape) -> None:
        heads = head.config.num_heads
        super().__init__(head, target, shape, heads, f"the file has {heads} heads, one a token")
        self._pass = MedusaPass(head, self.shape.depth)
        self._hidden: dict[str, Tensor] = {}
        self.last = len(target.layers)
        self.needs = Needs((self.last,))

    def finish(self, request_id: str) -> None:
        """Forget a request."""
        self._hidden.pop(request_id, None)

    def observe(self, rows: Settled) -> None:
        """Keep the hidden state behind each text's end."""
        states = rows.hidden[self.last]
        for i, name in enumerate(rows.request_ids):
            if rows.cu_rows[i] < rows.cu_rows[i + 1]:
                self._hidden[name] = states[rows.cu_rows[i + 1] - 1].clone()

    def room(self, slots: Sequence[int]) -> int:
        """Return room for any draft: a node needs no slot."""
        return self.shape.num_tokens

    def run_pass(self, underway: Sequence[Underway]) -> list[Tensor]:
        """Run every head on every text's end."""
        ends = torch.stack([self._hidden[draft.request.request_id] for draft in underway])
        return self._pass.run(ends)
