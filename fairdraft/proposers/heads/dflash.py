"""DFlash as a drafter: a few trained layers fill in a block of masked tokens in one pass."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fairdraft.heads.dflash import DFlashHead
from fairdraft.models import FlatBatch, ModelRunner
from fairdraft.proposers.base import Needs, Settled
from fairdraft.proposers.drafting.drafter import Underway
from fairdraft.proposers.heads.fused import block_pass
from fairdraft.proposers.heads.parallel import ParallelDrafter
from fairdraft.proposers.heads.runtime import HeadRuntime, logits_of
from fairdraft.proposers.options import DraftShape
from fairdraft.transfer import send


class DFlashDrafter(ParallelDrafter):
    """DFlash layers, with the text's KV and a block's own behind it.

    The text's keys and values are made from each step's hidden states and lie in the slots of the
    same tokens, in blocks of the target's numbers. A block's own lie behind them, where the next
    step's replace them: each round begins with the text alone.

    Args:
        head: the network.
        target: whose slots it shares.
        shape: of the drafts.

    Raises:
        ConfigError: drafts longer than the blocks it was trained on.
    """

    head: DFlashHead

    def __init__(self, head: DFlashHead, target: ModelRunner, shape: DraftShape) -> None:
        block = head.config.block_size
        reason = f"the file was trained on blocks of {block}"
        super().__init__(head, target, shape, block - 1, reason)
        self.kv_layers = head.config.kv_layers
        self.runtime = HeadRuntime(head, target, self.kv_layers)
        self._pass = block_pass(head, self.runtime)
        self.needs = Needs(head.config.layer_ids, 1 + shape.depth)

    @torch.inference_mode()
    def observe(self, rows: Settled) -> None:
        """Write keys and values of every row that stands over those of a block's rows."""
        if not rows.token_ids:
            return
        positions, slots = send(self.target.device, rows.positions, rows.slots)
        seen = torch.cat([rows.hidden[layer] for layer in self.head.config.layer_ids], dim=-1)
        self._pass.write(seen, positions, slots, self.runtime.kv())

    def room(self, slots: Sequence[int]) -> int:
        """Return room for any draft if a block fits: it runs whole or not at all."""
        return self.shape.num_tokens if len(slots) > self.shape.depth else -1

    def run_pass(self, underway: Sequence[Underway]) -> list[Tensor]:
        """Run one block a request: its newest token, then masks."""
        batch = self._blocks(underway)
        found = self._pass.run(batch.token_ids, batch.positions, self.runtime.attention(batch))
        logits = logits_of(self.head.lm_head, found[batch.logit_rows])
        return list(logits.view(len(underway), self.shape.depth, -1).unbind(1))

    def _blocks(self, underway: Sequence[Underway]) -> FlatBatch:
        """Return the blocks side by side, each behind its request's text."""
        masks = [self.head.config.mask_token_id] * self.shape.depth
        rows = 1 + len(masks)
        return FlatBatch.of(
            [[draft.request.token_ids[-1], *masks] for draft in underway],
            [draft.request.num_tokens - 1 for draft in underway],
            [draft.request.block_table for draft in underway],
            self.target.block_size,
            self.target.device,
            logit_rows=[i for i in range(rows * len(underway)) if i % rows],
            ancestors=dict.fromkeys(range(len(underway)), torch.ones(rows, rows, dtype=torch.bool)),
        )
