"""A model drafts: a smaller one with the same tokenizer, or the target itself, ended early."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from fairdraft.config import require, require_int, require_number
from fairdraft.draft import EMPTY_DRAFT, Draft
from fairdraft.errors import ConfigError
from fairdraft.models import ModelRunner
from fairdraft.proposers.base import Needs, Proposer, Rows
from fairdraft.proposers.drafters import (
    Drafter,
    ModelDrafter,
    Span,
    TargetDrafter,
    flat_batch,
    load_drafter,
)
from fairdraft.proposers.trees import GrowingTree
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
    def span(self) -> Span:
        """What the next run reads: what is unread at first, then one token a run."""
        end = self.request.num_tokens + self.runs
        first = end - 1 if self.runs else self.known
        return Span(self.request, first, end, Draft(tuple(self.tokens)))


@dataclass
class _Tree:
    """A tree under way.

    Args:
        request: whose it is.
        room: candidates that have slots to run in.
        known: the request's tokens that the drafter has KV for.
    """

    request: Request
    room: int
    known: int
    growing: GrowingTree

    @property
    def span(self) -> Span:
        """What the next run reads: what is unread at first, then every candidate that runs."""
        end, run = self.request.num_tokens, self.growing.run
        first = end if len(run) else self.known
        return Span(self.request, first, end + len(run), run, self.growing.num_newest)


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
            than this probability under the drafter; a tree takes no node whose path has less. 0 is
            off.
        draft_tree_top_k: above 1, drafts are trees: so many candidates run a level, each with so
            many alternatives behind it, and the num_speculative_tokens likeliest are drafted.
        draft_tree_depth: levels of a tree; None takes half of num_speculative_tokens, rounded up.

    Raises:
        ConfigError: a value out of range, more layers than the target has, trees that should be
            drawn, or a tokenizer that differs from the target's.
        CheckpointError: the model cannot be loaded.
    """

    def __init__(
        self,
        num_speculative_tokens: int,
        model: str | None = None,
        draft_sample_method: str = "greedy",
        num_draft_layers: int | None = None,
        draft_confidence_threshold: float = 0.0,
        draft_tree_top_k: int = 1,
        draft_tree_depth: int | None = None,
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
        require_int("draft_tree_top_k", draft_tree_top_k, 1, "1 drafts chains")
        if draft_tree_depth is not None:
            require_int("draft_tree_depth", draft_tree_depth, 1, "leave it out for the default")
        self.width = draft_tree_top_k
        self.depth = draft_tree_depth or (num_speculative_tokens + 1) // 2
        self.drafts_trees = draft_tree_top_k > 1
        require(
            not self.drafts_trees or draft_sample_method == "greedy",
            f"draft_tree_top_k is {draft_tree_top_k}, but trees are chosen, not drawn: set "
            "draft_sample_method to 'greedy', or draft_tree_top_k to 1",
        )
        self.threshold = float(draft_confidence_threshold)
        self.probabilistic = draft_sample_method == "probabilistic"
        self.name = model
        self.num_draft_layers = num_draft_layers
        rows = 1 + self.width * (self.depth - 1) if self.drafts_trees else num_speculative_tokens
        self.needs = Needs(num_lookahead_tokens=rows)

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
        """All requests side by side."""
        if self.drafts_trees:
            return self._propose_trees(requests, budgets, slots)
        room = map(min, budgets, map(len, slots))
        chains = [
            _Chain(request, limit, self.drafter.unread(request))
            for request, limit in zip(requests, room, strict=True)
        ]
        while active := [chain for chain in chains if chain.runs < chain.limit]:
            logits = self._run([chain.span for chain in active])
            argmax = logits.argmax(-1).tolist()
            for row, chain in enumerate(active):
                chain.runs += 1
                self._write(chain, logits[row], argmax[row], noise)
        for chain in chains:
            if chain.runs:
                self.drafter.read(chain.request, chain.runs - 1)
        return [Draft(tuple(chain.tokens), probs=chain.laws or None) for chain in chains]

    def _run(self, spans: Sequence[Span]) -> Tensor:
        batch = flat_batch(self.target.block_size, spans, self.target.device)
        return self.drafter.run(batch)[:, : self.target.vocab_size]

    def _propose_trees(
        self, requests: Sequence[Request], budgets: Sequence[int], slots: Sequence[Sequence[int]]
    ) -> list[Draft]:
        """Level by level. What stands of a tree is read again before the next: it is a few rows."""
        trees = [
            _Tree(
                request,
                len(room) - 1,
                self.drafter.unread(request),
                GrowingTree(budget, self.width, self.threshold),
            )
            for request, budget, room in zip(requests, budgets, slots, strict=True)
            if room
        ]
        for level in range(self.depth):
            active = [tree for tree in trees if tree.growing.num_newest]
            if not active:
                break
            laws = torch.softmax(self._run([tree.span for tree in active]).float(), -1)
            best = laws.topk(min(self.width, laws.shape[1]), -1)
            shares, tokens = best.values.tolist(), best.indices.tolist()
            row = 0
            for tree in active:
                rows = slice(row, row + tree.growing.num_newest)
                row = rows.stop
                room = tree.room if level + 1 < self.depth else 0
                tree.growing.grow(tokens[rows], shares[rows], room)
        for tree in trees:
            self.drafter.read(tree.request, 0)
        drafts = {tree.request.request_id: tree.growing.draft() for tree in trees}
        return [drafts.get(request.request_id, EMPTY_DRAFT) for request in requests]

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
