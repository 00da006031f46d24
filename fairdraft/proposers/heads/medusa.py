"""Medusa: one head for each token ahead, all on the target's last hidden state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fairdraft.heads import load_medusa
from fairdraft.proposers.base import Needs, Rows
from fairdraft.proposers.drafting.loop import Underway
from fairdraft.proposers.heads.runtime import ParallelProposer, logits_of


class MedusaProposer(ParallelProposer):
    """Drafts with Medusa heads: no KV, one pass for all tokens of a draft, a head a token.

    Files are vLLM's or the original project's; arguments as in `HeadProposer`.
    """

    kind = "medusa"
    load = staticmethod(load_medusa)

    def bind(self, target: Any) -> None:
        """Load the heads.

        Raises:
            ConfigError: more tokens are asked for than there are heads.
        """
        super().bind(target)
        self._hidden: dict[str, Tensor] = {}
        heads = self.head.config.num_heads
        self.require_tokens(heads, f"the file has {heads} heads, one a token")
        self.last = len(target.layers)
        self.needs = Needs((self.last,))

    def finish(self, request_id: str) -> None:
        """Forget the request."""
        self._hidden.pop(request_id, None)

    def observe(self, rows: Rows) -> None:
        """Keep the hidden state behind each text's end."""
        states = rows.hidden[self.last]
        for i, name in enumerate(rows.request_ids):
            if rows.cu_rows[i] < rows.cu_rows[i + 1]:
                self._hidden[name] = states[rows.cu_rows[i + 1] - 1].clone()

    def room(self, slots: Sequence[int]) -> int:
        """A node needs no slot."""
        return self.num_speculative_tokens

    def run_pass(self, underway: Sequence[Underway]) -> list[Tensor]:
        """Every head on every text's end."""
        ends = torch.stack([self._hidden[draft.request.request_id] for draft in underway])
        states = self.head(ends)[: self.num_tokens]
        return [logits_of(self.head.vocabulary(i), state) for i, state in enumerate(states)]
