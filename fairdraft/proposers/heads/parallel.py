"""Heads that say a whole draft in one pass."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fairdraft.config import require
from fairdraft.models import ModelRunner
from fairdraft.proposers.drafting.drafter import Drafter, Underway
from fairdraft.proposers.options import DraftShape


class ParallelDrafter(Drafter):
    """A head that says all tokens of a draft in one pass, so that none sees another's choice.

    A tree (`draft_tree_top_k` above 1) takes the likeliest products of the single laws, anew for
    each draft; it has a level a token at most.

    Args:
        head: the network.
        target: whose hidden states it reads.
        shape: of the drafts.
        most: tokens that a pass can say.
        reason: what limits them.

    Raises:
        ConfigError: drafts longer than a pass.
    """

    def __init__(
        self, head: Any, target: ModelRunner, shape: DraftShape, most: int, reason: str
    ) -> None:
        name = "draft_tree_depth" if shape.is_tree else "num_speculative_tokens"
        require(shape.depth <= most, f"{name} is {shape.depth}, but {reason}: lower it to {most}")
        self.head = self.network = head
        self.target = target
        self.shape = shape
        self.target_ids = head.target_ids
        self._logits: dict[str, list[Tensor]] = {}

    @abstractmethod
    def run_pass(self, underway: Sequence[Underway]) -> list[Tensor]:
        """Return logits [requests, drafter's vocabulary] per token ahead, `shape.depth` of them."""

    @torch.inference_mode()
    def run(self, underway: Sequence[Underway]) -> Tensor:
        """Run the pass at first; then return what it said of the newest nodes' places."""
        names = [draft.request.request_id for draft in underway]
        if not len(underway[0].nodes):
            found = self.run_pass(underway)
            for row, name in enumerate(names):
                self._logits[name] = [logits[row] for logits in found]
        rows = []
        for name, draft in zip(names, underway, strict=True):
            rows += [self._logits[name][draft.nodes.depths[-1]]] * draft.num_newest
        return torch.stack(rows)

    def drafted(self, underway: Sequence[Underway]) -> None:
        """Forget what the pass said."""
        self._logits.clear()
