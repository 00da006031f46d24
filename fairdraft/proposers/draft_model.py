"""A model drafts: for now the target itself, ended early."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fairdraft.config import require, require_int
from fairdraft.draft import Draft
from fairdraft.errors import ConfigError
from fairdraft.models import EarlyExit, FlatBatch, ModelRunner
from fairdraft.proposers.base import Needs, Proposer
from fairdraft.request import Request
from fairdraft.sampling.filters import probabilities
from fairdraft.sampling.sampler import DraftNoise

SAMPLE_METHODS = ("greedy", "probabilistic")


class DraftModelProposer(Proposer):
    """Self-drafting: the target's own first layers, its norm and its head write the draft.

    The first layers' KV goes to lookahead slots, which verification then writes again. No file is
    needed, and nothing is trained.

    Args:
        num_speculative_tokens: draft length k.
        draft_sample_method: "greedy" chooses the likeliest token; "probabilistic" draws from the
            drafter's law under the request's own temperature and filters. Greedy requests get
            chosen drafts either way.
        num_draft_layers: layers that run; None takes three quarters of them.

    Raises:
        ConfigError: an unknown method, or more layers than the target has.
    """

    def __init__(
        self,
        num_speculative_tokens: int,
        draft_sample_method: str = "greedy",
        num_draft_layers: int | None = None,
    ) -> None:
        super().__init__(num_speculative_tokens)
        require(
            draft_sample_method in SAMPLE_METHODS,
            f"draft_sample_method is {draft_sample_method!r}, but must be one of "
            f"{', '.join(SAMPLE_METHODS)}",
        )
        if num_draft_layers is not None:
            require_int("num_draft_layers", num_draft_layers, 1, "leave it out for the default")
        self.probabilistic = draft_sample_method == "probabilistic"
        self.num_draft_layers = num_draft_layers
        self.needs = Needs(num_lookahead_tokens=num_speculative_tokens)

    def bind(self, target: Any) -> None:
        """Borrow the target's first layers."""
        if not isinstance(target, ModelRunner):
            raise ConfigError("self-drafting needs a target with layers to borrow")
        count = len(target.layers)
        layers = self.num_draft_layers or max(3 * count // 4, 1)
        require(
            layers < count,
            f"num_draft_layers is {layers}, but the target has {count} layers: leave some out",
        )
        self.model = EarlyExit(target, layers)

    def propose(
        self,
        requests: Sequence[Request],
        budgets: Sequence[int],
        slots: Sequence[Sequence[int]],
        noise: DraftNoise,
    ) -> list[Draft]:
        """Token by token, all requests side by side."""
        tokens: list[list[int]] = [[] for _ in requests]
        laws: list[list[Tensor]] = [[] for _ in requests]
        lengths = [min(pair) for pair in zip(budgets, map(len, slots), strict=True)]
        for index in range(max(lengths)):
            active = [i for i, length in enumerate(lengths) if length > index]
            batch = self._batch([requests[i] for i in active], [tokens[i] for i in active], index)
            logits = self.model.run(batch).logits
            argmax = logits.argmax(-1).tolist()
            for row, i in enumerate(active):
                request = requests[i]
                if request.params.greedy or not self.probabilistic:
                    tokens[i].append(argmax[row])
                else:
                    law = probabilities(logits[row], request.params)
                    tokens[i].append(noise.draw(request, index, law))
                    laws[i].append(law)
        return [
            Draft(tuple(chain), probs=law or None) for chain, law in zip(tokens, laws, strict=True)
        ]

    def _batch(
        self, requests: Sequence[Request], drafted: Sequence[Sequence[int]], index: int
    ) -> FlatBatch:
        """One row a request: its newest token, or the newest drafted one."""
        device = self.model.runner.device
        newest = [d[-1] if d else r.token_ids[-1] for r, d in zip(requests, drafted, strict=True)]
        context = [request.num_tokens - 1 + index for request in requests]
        size = self.model.runner.block_size
        slots = [
            request.block_table[place // size] * size + place % size
            for request, place in zip(requests, context, strict=True)
        ]
        count = len(requests)
        return FlatBatch(
            torch.tensor(newest, device=device),
            torch.tensor(context, device=device),
            torch.tensor(slots, device=device),
            list(range(count + 1)),
            context,
            [request.block_table for request in requests],
            size,
            torch.arange(count, device=device),
        )
