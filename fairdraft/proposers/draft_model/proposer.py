"""A model drafts: a smaller one with the same tokenizer, or the target itself, ended early."""

from __future__ import annotations

from typing import Any

from fairdraft.proposers.draft_model.source import DraftModelSource
from fairdraft.proposers.drafting.proposer import ModelProposer


class DraftModelProposer(ModelProposer):
    """Drafts token by token, or level by level, with a causal model.

    Without `model` the target drafts for itself: its first layers, its norm and its head; no file
    is needed, and nothing is trained. The demo model has a draft model that comes with fairdraft.

    Args:
        num_speculative_tokens: draft length k; of a tree, its nodes.
        model: hub id, folder, GGUF file or "demo": a causal LM with the target's tokenizer.
        num_draft_layers: without `model`: layers of the target that run; None takes three quarters
            of them, or the draft model that comes with fairdraft.
        options: fields of `DraftOptions`.

    Raises:
        ConfigError: a value out of range, or `model` and `num_draft_layers` together.
    """

    def __init__(
        self,
        num_speculative_tokens: int,
        model: str | None = None,
        num_draft_layers: int | None = None,
        **options: Any,
    ) -> None:
        source = DraftModelSource(model, num_draft_layers)
        super().__init__(num_speculative_tokens, source, **options)
