"""The drafter: the model inside a proposer, which says run by run what may come next."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from fairdraft.draft import EMPTY_DRAFT, Draft
from fairdraft.kv import LayerShape
from fairdraft.models import ModelRunner
from fairdraft.proposers.base import Needs, Settled
from fairdraft.proposers.options import DraftShape
from fairdraft.request import Request


@dataclass
class Underway:
    """A request's draft while it is being made.

    Attributes:
        request: whose draft it is.
        nodes: what has run, and runs next. Empty at first: then the text's own end runs.
        num_newest: how many nodes run next, the last of `nodes`; of the text it is the last token.
    """

    request: Request
    nodes: Draft = EMPTY_DRAFT
    num_newest: int = 1


class Drafter(ABC):
    """A model that drafts, and what it keeps of each request.

    Attributes:
        needs: what it asks of the engine.
        network: its weights; those of the target itself, where it has none of its own.
        kv_layers: shape of what each of its layers keeps of a token, beside the target's KV.
        target_ids: [drafter's vocabulary] int64, the target's id of each token it knows; None
            where both number them the same.
    """

    needs: Needs
    network: nn.Module
    kv_layers: Sequence[LayerShape] = ()
    target_ids: Tensor | None = None

    def start(self, request: Request) -> None:
        """Begin a request, or begin it again with its KV gone."""

    def observe(self, rows: Settled) -> None:
        """Read what stands after a step."""

    def defer(self, rows: Settled) -> None:
        """Take what stands after a step while nobody wants drafts; reading it may wait."""
        self.observe(rows)

    def num_deferred(self, request_ids: Sequence[str]) -> int:
        """Count the rows of these requests that wait to be read."""
        return 0

    def catch_up(self, request_ids: Sequence[str]) -> None:
        """Read what waits of these requests."""

    def finish(self, request_id: str) -> None:
        """Forget a request."""

    @abstractmethod
    def room(self, slots: Sequence[int]) -> int:
        """Return how many nodes can run with these lookahead slots.

        −1 says that not even the text's end can run.
        """

    @abstractmethod
    def run(self, underway: Sequence[Underway]) -> Tensor:
        """Run the newest nodes of all drafts.

        Returns:
            [newest nodes, drafter's vocabulary] logits of what comes behind each.
        """

    def drafted(self, underway: Sequence[Underway]) -> None:
        """Take note that drafts are made; those of chains have run but for their last token."""


class DrafterSource(ABC):
    """Where a proposer's drafter comes from: a file, the target's checkpoint, its first layers."""

    @abstractmethod
    def drafter(self, target: ModelRunner, shape: DraftShape) -> Drafter:
        """Make the drafter, for a target.

        Args:
            target: the target's runner.
            shape: of the drafts.

        Raises:
            ConfigError: drafts of another shape than it can make, or a key that is missing.
            CheckpointError: it cannot be loaded, or does not fit the target.
        """
