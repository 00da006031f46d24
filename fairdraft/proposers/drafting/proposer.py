"""The proposer around a drafter: what all methods with a model share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fairdraft.draft import Draft
from fairdraft.errors import ConfigError
from fairdraft.models import ModelRunner
from fairdraft.proposers.base import Proposer, Settled
from fairdraft.proposers.drafting.drafter import Drafter, DrafterSource
from fairdraft.proposers.drafting.loop import DraftLoop
from fairdraft.proposers.options import DRAFT_KEYS, DraftOptions
from fairdraft.request import Request
from fairdraft.sampling.sampler import DraftNoise


class ModelProposer(Proposer):
    """Drafts chains or trees with a drafter, batched over requests.

    Attributes:
        option_keys: keys that it takes besides the arguments that its signature names.
        options: the user's.
        shape: of the drafts.
        drafter: the model that drafts; set by `bind`.

    Args:
        num_speculative_tokens: draft length k; of a tree, its nodes.
        source: where the drafter comes from.
        options: fields of `DraftOptions`.

    Raises:
        ConfigError: a value out of range.
    """

    option_keys = DRAFT_KEYS
    drafter: Drafter

    def __init__(self, num_speculative_tokens: int, source: DrafterSource, **options: Any) -> None:
        super().__init__(num_speculative_tokens)
        self.source = source
        self.options = DraftOptions(**options)
        self.shape = self.options.shape(num_speculative_tokens)
        self.drafts_trees = self.shape.is_tree

    def bind(self, target: Any) -> None:
        """Make the drafter.

        Raises:
            ConfigError: a target without layers, or a drafter that cannot make such drafts.
            CheckpointError: the drafter cannot be loaded, or does not fit the target.
        """
        if not isinstance(target, ModelRunner):
            raise ConfigError(
                f"{type(self).__name__} needs a model with layers as its target, but this is a "
                f"{type(target).__name__}: take another method"
            )
        self.drafter = self.source.drafter(target, self.shape)
        self.needs = self.drafter.needs
        self._loop = DraftLoop(self.options, self.shape, target.vocab_size)

    def start(self, request: Request) -> None:
        """Begin a request, or begin it again."""
        self.drafter.start(request)

    def observe(self, rows: Settled) -> None:
        """Let the drafter read what stands."""
        self.drafter.observe(rows)

    def defer(self, rows: Settled) -> None:
        """Let the drafter keep what stands for later."""
        self.drafter.defer(rows)

    def num_deferred(self, request_ids: Sequence[str]) -> int:
        """Count the rows that the drafter has kept for later."""
        return self.drafter.num_deferred(request_ids)

    def catch_up(self, request_ids: Sequence[str]) -> None:
        """Let the drafter read what it has kept."""
        self.drafter.catch_up(request_ids)

    def finish(self, request_id: str) -> None:
        """Forget a request."""
        self.drafter.finish(request_id)

    def propose(
        self,
        requests: Sequence[Request],
        budgets: Sequence[int],
        slots: Sequence[Sequence[int]],
        noise: DraftNoise,
    ) -> list[Draft]:
        """Draft for all requests side by side, after reading what waits."""
        self.drafter.catch_up([request.request_id for request in requests])
        return self._loop.drafts(self.drafter, requests, budgets, slots, noise)
