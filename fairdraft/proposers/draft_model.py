"""A model drafts: a smaller one with the same tokenizer, or the target itself, ended early."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from fairdraft.config import require, require_int, require_number
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


@dataclass
class _Chain:
    """A draft under way.

    Args:
        request: whose it is.
        limit: runs it may take.
        known: the request's tokens that the drafter has KV for.
    """

    request: Request
    limit: int
    known: int
    runs: int = 0
    tokens: list[int] = field(default_factory=list)
    laws: list[Tensor] = field(default_factory=list)

    @property
    def span(self) -> tuple[Request, int, int]:
        """The places that the next run reads: what is unread at first, then one token a run."""
        end = self.request.num_tokens + self.runs
        return self.request, end - 1 if self.runs else self.known, end


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
        draft_confidence_threshold: a draft ends before a token whose likeliest candidate has less
            than this probability under the drafter; 0 is off.

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
        draft_confidence_threshold: float = 0.0,
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
        require_number(
            "draft_confidence_threshold", draft_confidence_threshold, 0, 1, "0 never stops early"
        )
        self.threshold = float(draft_confidence_threshold)
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
        room = map(min, budgets, map(len, slots))
        chains = [
            _Chain(request, limit, self.drafter.unread(request))
            for request, limit in zip(requests, room, strict=True)
        ]
        while active := [chain for chain in chains if chain.runs < chain.limit]:
            spans = [chain.span for chain in active]
            drafted = [chain.tokens for chain in active]
            batch = flat_batch(self.target.block_size, spans, drafted, self.target.device)
            logits = self.drafter.run(batch)[:, : self.target.vocab_size]
            argmax = logits.argmax(-1).tolist()
            for row, chain in enumerate(active):
                chain.runs += 1
                self._write(chain, logits[row], argmax[row], noise)
        for chain in chains:
            if chain.runs:
                self.drafter.read(chain.request, chain.runs - 1)
        return [Draft(tuple(chain.tokens), probs=chain.laws or None) for chain in chains]

    def _write(self, chain: _Chain, logits: Tensor, argmax: int, noise: DraftNoise) -> None:
        """Add a token, or end the chain because the drafter is unsure of what it would be.

        That looks at the law, never at the token drawn from it: the only rule that is lossless.
        """
        params = chain.request.params
        if self.threshold:
            temperature = params.temperature or 1.0
            likeliest = torch.softmax(logits.float() / temperature, -1)[argmax]
            if float(likeliest) < self.threshold:
                chain.limit = 0
                return
        if params.greedy or not self.probabilistic:
            chain.tokens.append(argmax)
            return
        law = probabilities(logits, params)
        law = torch.nn.functional.pad(law, (0, self.target.vocab_size - len(law)))
        chain.tokens.append(noise.draw(chain.request, len(chain.tokens), law))
        chain.laws.append(law)
