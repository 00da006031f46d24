"""How a kind of drafter is trained: its initial weights, its loss, its files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn

from fairdraft.heads.files import MadeFor
from fairdraft.heads.losses import Losses
from fairdraft.heads.samples import Batch


class HeadTraining(ABC):
    """A drafter in training: how it is initialised, what it learns, how it is saved.

    Attributes:
        kind: of drafter; the method that drafts with its files.
        layer_ids: hidden states of the target that it reads, besides the last.
        longest_draft: tokens that it can draft at most; None where nothing limits it.
        head: the network, once `initialise` has made it.
        description: what is trained, for a checkpoint to be known by.

    Args:
        target: the transformers model.
        name: of the target, for the files.
    """

    kind: ClassVar[str]
    layer_ids: tuple[int, ...] = ()
    longest_draft: int | None = None
    head: nn.Module
    description: str

    def __init__(self, target: Any, name: str) -> None:
        self.target = target
        self.made_for = MadeFor(name, tuple(target.config.architectures or ()))

    def borrow(self, known: Tensor) -> None:
        """Keep what the loss reads of the target.

        That is its embedding [V, d], and its rows [draft vocabulary, d] of `lm_head`.

        Args:
            known: [draft vocabulary] int64, the target's ids of the tokens that can be drafted.
        """
        self.embedding: Tensor = self.target.get_input_embeddings().weight.data
        self.lm_head: Tensor = self.target.get_output_embeddings().weight.data[known]

    @abstractmethod
    def initialise(self, known: Tensor) -> None:
        """Make the network.

        Args:
            known: [draft vocabulary] int64, the target's ids of the tokens that can be drafted.
        """

    @abstractmethod
    def loss(self, batch: Batch, step: int) -> Losses:
        """Return the losses of one batch; `step` seeds what is drawn."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the drafter's files."""
