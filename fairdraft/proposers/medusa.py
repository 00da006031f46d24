"""Medusa: one head for each token ahead, all on the target's last hidden state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fairdraft.config import require
from fairdraft.models import kernel_fits, product, speed_up
from fairdraft.models.heads import load_medusa
from fairdraft.proposers.base import Needs, Rows
from fairdraft.proposers.heads import HeadProposer
from fairdraft.proposers.stepwise import Underway


class MedusaProposer(HeadProposer):
    """Drafts with Medusa heads: no KV, one pass for all tokens of a draft.

    The heads do not see each other's tokens. A tree (`draft_tree_top_k` above 1) takes the
    likeliest products of theirs, anew for each draft; it has a level a head at most, and a chain a
    token a head. Files are vLLM's or the original project's; arguments as in `HeadProposer`.
    """

    kind = "medusa"

    def bind(self, target: Any) -> None:
        """Load the heads.

        Raises:
            ConfigError: more tokens are asked for than there are heads.
        """
        super().bind(target)
        self._hidden: dict[str, Tensor] = {}
        self._logits: dict[str, list[Tensor]] = {}
        self.head = load_medusa(self.file, target.model)
        config = self.head.config
        tokens = self.depth if self.drafts_trees else self.num_speculative_tokens
        name = "draft_tree_depth" if self.drafts_trees else "num_speculative_tokens"
        require(
            tokens <= config.num_heads,
            f"{name} is {tokens}, but the file has {config.num_heads} heads, one a token: lower it",
        )
        fits = kernel_fits(self.head.vocabulary(0).weight)
        self._product = product if fits else _linear
        if target.device.type == "cpu":
            speed_up(self.head)
        self.target_ids = self.head.token_map
        self.last = len(target.layers)
        self.needs = Needs((self.last,))

    def finish(self, request_id: str) -> None:
        """Forget the request."""
        self._hidden.pop(request_id, None)
        self._logits.pop(request_id, None)

    def observe(self, rows: Rows) -> None:
        """Keep the hidden state behind each text's end."""
        states = rows.hidden[self.last]
        for i, name in enumerate(rows.request_ids):
            if rows.cu_rows[i] < rows.cu_rows[i + 1]:
                self._hidden[name] = states[rows.cu_rows[i + 1] - 1].clone()

    def room(self, slots: Sequence[int]) -> int:
        """A node needs no slot."""
        return self.num_speculative_tokens

    @torch.inference_mode()
    def run(self, underway: Sequence[Underway]) -> Tensor:
        """All heads at once at first; then what the head says that the newest nodes wait for."""
        names = [draft.request.request_id for draft in underway]
        if not len(underway[0].nodes):
            states = self.head(torch.stack([self._hidden[name] for name in names]))
            found = [
                self._product(self.head.vocabulary(i).weight, state.contiguous())
                for i, state in enumerate(states)
            ]
            for row, name in enumerate(names):
                self._logits[name] = [logits[row] for logits in found]
        rows = []
        for name, draft in zip(names, underway, strict=True):
            depth = draft.nodes.depths[-1]
            rows += [self._logits[name][depth]] * draft.num_newest
        return torch.stack(rows)


def _linear(weight: Tensor, x: Tensor) -> Tensor:
    return nn.functional.linear(x, weight)
