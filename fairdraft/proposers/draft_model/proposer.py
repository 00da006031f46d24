"""A model drafts: a smaller one with the same tokenizer, or the target itself, ended early."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from fairdraft.config import require, require_int
from fairdraft.errors import ConfigError
from fairdraft.heads import shipped_head, target_ids
from fairdraft.models import ModelRunner
from fairdraft.proposers.base import Needs, Rows
from fairdraft.proposers.draft_model.drafters import (
    Drafter,
    ModelDrafter,
    Span,
    TargetDrafter,
    flat_batch,
    load_drafter,
)
from fairdraft.proposers.drafting.loop import StepwiseProposer, Underway
from fairdraft.request import Request


class DraftModelProposer(StepwiseProposer):
    """Drafts token by token, or level by level, with a model.

    Without `model` the target drafts for itself: its first layers, its norm and its head; no file
    is needed, and nothing is trained. The demo model has a draft model that comes with fairdraft.

    Args:
        num_speculative_tokens: draft length k; of a tree, its nodes.
        model: hub id, folder, GGUF file or "demo": a causal LM with the target's tokenizer.
        num_draft_layers: without `model`: layers of the target that run; None takes three quarters
            of them, or the draft model that comes with fairdraft.
        draft_sample_method, draft_confidence_threshold, draft_tree_top_k, draft_tree_depth: as in
            `StepwiseProposer`.

    Raises:
        ConfigError: a value out of range, more layers than the target has, or a tokenizer that
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
        draft_tree_top_k: int = 1,
        draft_tree_depth: int | None = None,
    ) -> None:
        super().__init__(
            num_speculative_tokens,
            draft_sample_method,
            draft_confidence_threshold,
            draft_tree_top_k,
            draft_tree_depth,
        )
        require(
            model is None or num_draft_layers is None,
            "num_draft_layers is for drafting with the target itself: leave it or model out",
        )
        if num_draft_layers is not None:
            require_int("num_draft_layers", num_draft_layers, 1, "leave it out for the default")
        self.name = model
        self.num_draft_layers = num_draft_layers
        self.needs = Needs(num_lookahead_tokens=1 + self.most_run)

    def bind(self, target: Any) -> None:
        """Load the drafter, or borrow the target's first layers."""
        if not isinstance(target, ModelRunner):
            raise ConfigError("draft_model needs a target with layers or a tokenizer to share")
        self.target = target
        self.vocab_size = target.vocab_size
        self.drafter: Drafter
        name = self.name
        if name is None and self.num_draft_layers is None:
            name = shipped_head(target.name, "draft_model")
        if name is not None:
            runner = load_drafter(name, target)
            self.drafter = ModelDrafter(runner, target)
            if hasattr(runner.model, "d2t"):
                self.target_ids = target_ids(runner.model)
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

    def room(self, slots: Sequence[int]) -> int:
        """The newest token takes the first of them."""
        return len(slots) - 1

    def run(self, underway: Sequence[Underway]) -> Tensor:
        """What is unread at first; then a chain's last token, or a tree again from its root.

        A tree's rows are few enough to cost what one does, and need no mask of earlier runs.
        """
        spans = []
        for draft in underway:
            request, nodes, known = draft.request, draft.nodes, draft.request.num_tokens
            if not len(nodes):
                first = self.drafter.unread(request)
            else:
                first = known if self.drafts_trees else known + len(nodes) - 1
            spans.append(Span(request, first, known + len(nodes), nodes, draft.num_newest))
        batch = flat_batch(self.target.block_size, spans, self.target.device)
        return self.drafter.run(batch)[:, : self.vocab_size]

    def drafted(self, underway: Sequence[Underway]) -> None:
        """Note what has KV. What stands of a tree is read again: it is a few rows."""
        for draft in underway:
            kept = 0 if self.drafts_trees else max(len(draft.nodes) - 1, 0)
            self.drafter.read(draft.request, kept)
