"""DFlash: a few trained layers fill in a block of masked tokens in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fairdraft.heads import load_dflash
from fairdraft.models import FlatBatch
from fairdraft.proposers.base import Needs, Rows
from fairdraft.proposers.drafting.loop import Underway
from fairdraft.proposers.heads.runtime import ParallelProposer, logits_of


class DFlashProposer(ParallelProposer):
    """Drafts with a DFlash drafter.

    The text's keys and values are made from each step's hidden states and lie in the slots of the
    same tokens, in blocks of the target's numbers. A block's own lie behind them, where the next
    step's replace them: each round begins with the text alone. Files are in the "speculators"
    format or z-lab's; arguments as in `HeadProposer`.
    """

    kind = "dflash"
    load = staticmethod(load_dflash)

    def bind(self, target: Any) -> None:
        """Load the drafter.

        Raises:
            ConfigError: drafts longer than the blocks it was trained on.
        """
        super().bind(target)
        block = self.head.config.block_size
        self.require_tokens(block - 1, f"the file was trained on blocks of {block}")
        self.needs = Needs(self.head.config.layer_ids, 1 + self.num_tokens)

    @torch.inference_mode()
    def observe(self, rows: Rows) -> None:
        """Keys and values of every row that stands; they replace those of a block's rows."""
        if not rows.token_ids:
            return
        device = self.target.device
        positions = torch.tensor(rows.positions, device=device)
        slots = torch.tensor(rows.slots, device=device)
        seen = torch.cat([rows.hidden[layer] for layer in self.head.config.layer_ids], dim=-1)
        storage = self.kv()
        for layer, (keys, values) in enumerate(self.head.context(seen, positions)):
            storage.keys[layer][slots] = keys
            storage.values[layer][slots] = values

    def room(self, slots: Sequence[int]) -> int:
        """A block runs whole or not at all."""
        return self.num_speculative_tokens if len(slots) > self.num_tokens else -1

    def run_pass(self, underway: Sequence[Underway]) -> list[Tensor]:
        """One block a request: its newest token, then masks."""
        batch = self._blocks(underway)
        embeds = self.embed(batch.token_ids)
        found = self.head(embeds, batch.positions, self.attend(batch))
        logits = logits_of(self.head.lm_head, found[batch.logit_rows])
        return list(logits.view(len(underway), self.num_tokens, -1).unbind(1))

    def _blocks(self, underway: Sequence[Underway]) -> FlatBatch:
        rows, size = 1 + self.num_tokens, self.target.block_size
        token_ids: list[int] = []
        positions: list[int] = []
        slots: list[int] = []
        for draft in underway:
            request = draft.request
            begin = request.num_tokens - 1
            token_ids += [request.token_ids[-1]]
            token_ids += [self.head.config.mask_token_id] * self.num_tokens
            places = range(begin, begin + rows)
            positions += places
            slots += [request.block_table[p // size] * size + p % size for p in places]
        device = self.target.device
        whole = torch.ones(rows, rows, dtype=torch.bool)
        predicting = [i for i in range(len(token_ids)) if i % rows]
        return FlatBatch(
            torch.tensor(token_ids, device=device),
            torch.tensor(positions, device=device),
            torch.tensor(slots, device=device),
            list(range(0, len(token_ids) + 1, rows)),
            [draft.request.num_tokens - 1 for draft in underway],
            [draft.request.block_table for draft in underway],
            size,
            torch.tensor(predicting, device=device),
            dict.fromkeys(range(len(underway)), whole),
        )
