"""A model drafts: a smaller one with the same tokenizer, or the target itself, ended early."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fairdraft.config import require, require_int
from fairdraft.draft import Draft
from fairdraft.errors import ConfigError
from fairdraft.models import ModelRunner
from fairdraft.proposers.base import Needs, Proposer, Rows
from fairdraft.proposers.drafters import (
    Drafter,
    ModelDrafter,
    TargetDrafter,
    flat_batch,
    load_drafter,
)
from fairdraft.request import Request
from fairdraft.sampling.filters import probabilities
from fairdraft.sampling.sampler import DraftNoise

SAMPLE_METHODS = ("greedy", "probabilistic")


class DraftModelProposer(Proposer):
    """Drafts token by token with a model, batched over requests.

    Without `model` the target drafts for itself: its first layers, its norm and its head; no file
    is needed, and nothing is trained.

    Args:
        num_speculative_tokens: draft length k.
        model: hub id, folder, GGUF file or "demo": a causal LM with the target's tokenizer.
        draft_sample_method: "greedy" chooses the likeliest token; "probabilistic" draws from the
            drafter's law under the request's own temperature and filters. Greedy requests get
            chosen drafts either way.
        num_draft_layers: without `model`: layers that run; None takes three quarters of them.

    Raises:
        ConfigError: an unknown method, more layers than the target has, or a tokenizer that
            differs from the target's.
        CheckpointError: the model cannot be loaded.
    """

    def __init__(
        self,
        num_speculative_tokens: int,
        model: str | None = None,
        draft_sample_method: str = "greedy",
        num_draft_layers: int | None = None,
    ) -> None:
        super().__init__(num_speculative_tokens)
        require(
            draft_sample_method in SAMPLE_METHODS,
            f"draft_sample_method is {draft_sample_method!r}, but must be one of "
            f"{', '.join(SAMPLE_METHODS)}",
        )
        require(
            model is None or num_draft_layers is None,
            "num_draft_layers is for drafting with the target itself: leave it or model out",
        )
        if num_draft_layers is not None:
            require_int("num_draft_layers", num_draft_layers, 1, "leave it out for the default")
        self.probabilistic = draft_sample_method == "probabilistic"
        self.name = model
        self.num_draft_layers = num_draft_layers
        self.needs = Needs(num_lookahead_tokens=num_speculative_tokens)

    def bind(self, target: Any) -> None:
        """Load the drafter, or borrow the target's first layers."""
        if not isinstance(target, ModelRunner):
            raise ConfigError("draft_model needs a target with layers or a tokenizer to share")
        self.target = target
        self.drafter: Drafter
        if self.name is not None:
            self.drafter = ModelDrafter(load_drafter(self.name, target), target)
            return
        count = len(target.layers)
        layers = self.num_draft_layers or max(3 * count // 4, 1)
        require(
            layers < count,
            f"num_draft_layers is {layers}, but the target has {count} layers: leave some out",
        )
        self.drafter = TargetDrafter(target, layers)

    def start(self, request: Request) -> None:
        """A request begins, or begins again."""
        self.drafter.start(request)

    def observe(self, rows: Rows) -> None:
        """Let the drafter read what stands."""
        self.drafter.observe(rows)

    def finish(self, request_id: str) -> None:
        """A request ended."""
        self.drafter.finish(request_id)

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
        known = [self.drafter.unread(request) for request in requests]
        size, device, vocabulary = (
            self.target.block_size,
            self.target.device,
            self.target.vocab_size,
        )
        for index in range(max(lengths)):
            active = [i for i, length in enumerate(lengths) if length > index]
            spans = [
                (requests[i], requests[i].num_tokens + index - 1, requests[i].num_tokens + index)
                if index
                else (requests[i], known[i], requests[i].num_tokens)
                for i in active
            ]
            batch = flat_batch(size, spans, [tokens[i] for i in active], device)
            logits = self.drafter.run(batch)[:, :vocabulary]
            argmax = logits.argmax(-1).tolist()
            for row, i in enumerate(active):
                request = requests[i]
                if request.params.greedy or not self.probabilistic:
                    tokens[i].append(argmax[row])
                    continue
                law = probabilities(logits[row], request.params)
                if len(law) < vocabulary:
                    law = torch.nn.functional.pad(law, (0, vocabulary - len(law)))
                tokens[i].append(noise.draw(request, index, law))
                laws[i].append(law)
        for request, chain in zip(requests, tokens, strict=True):
            if chain:
                self.drafter.read(request, len(chain) - 1)
        return [
            Draft(tuple(chain), probs=law or None) for chain, law in zip(tokens, laws, strict=True)
        ]
