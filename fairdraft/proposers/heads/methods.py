"""The methods whose drafter is a head: `eagle`, `eagle3`, `medusa`, `dflash` and `mtp`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from fairdraft.models import ModelRunner
from fairdraft.proposers.drafting.drafter import Drafter
from fairdraft.proposers.drafting.proposer import ModelProposer
from fairdraft.proposers.heads.dflash import DFlashDrafter
from fairdraft.proposers.heads.medusa import MedusaDrafter
from fairdraft.proposers.heads.source import HeadSource, MTPSource, recurrent_drafter
from fairdraft.proposers.options import DraftShape

# Kind of head → what makes its drafter of a network, a target and a shape.
DRAFTERS: dict[str, Callable[[Any, ModelRunner, DraftShape], Drafter]] = {
    "eagle": recurrent_drafter,
    "eagle3": recurrent_drafter,
    "medusa": MedusaDrafter,
    "dflash": DFlashDrafter,
}


class HeadProposer(ModelProposer):
    """Drafts with a head from files.

    Attributes:
        kind: of head, and the method's name.

    Args:
        num_speculative_tokens: draft length k; of a tree, its nodes.
        model: hub id or folder of the head; None takes the one that comes with fairdraft, which
            there is for the demo model.
        options: fields of `DraftOptions`.

    Raises:
        ConfigError: a value out of range.
        CheckpointError: the files cannot be read, or are of another kind.
    """

    kind: ClassVar[str]

    def __init__(
        self, num_speculative_tokens: int, model: str | None = None, **options: Any
    ) -> None:
        source = HeadSource(self.kind, model, DRAFTERS[self.kind])
        super().__init__(num_speculative_tokens, source, **options)


class EagleProposer(HeadProposer):
    """Drafts with an EAGLE head, from files of the original project."""

    kind = "eagle"


class Eagle3Proposer(HeadProposer):
    """Drafts with an EAGLE-3 head, from "speculators" files or raw ones."""

    kind = "eagle3"


class MedusaProposer(HeadProposer):
    """Drafts with Medusa heads, from vLLM's files or the original project's."""

    kind = "medusa"


class DFlashProposer(HeadProposer):
    """Drafts with a DFlash drafter, from "speculators" files or z-lab's."""

    kind = "dflash"


class MTPProposer(ModelProposer):
    """Drafts with the first MTP layer of the target's checkpoint, run on its own outputs.

    Args:
        num_speculative_tokens: draft length k; of a tree, its nodes.
        options: fields of `DraftOptions`.

    Raises:
        ConfigError: a value out of range.
    """

    def __init__(self, num_speculative_tokens: int, **options: Any) -> None:
        super().__init__(num_speculative_tokens, MTPSource(), **options)
