"""The methods whose drafter is a head: `eagle`, `eagle3`, `medusa`, `dflash` and `mtp`."""

from __future__ import annotations

from typing import Any

from fairdraft.proposers.drafting.proposer import ModelProposer
from fairdraft.proposers.heads.dflash import DFlashDrafter
from fairdraft.proposers.heads.medusa import MedusaDrafter
from fairdraft.proposers.heads.source import HeadSource, MTPSource, recurrent_drafter


class EagleProposer(ModelProposer):
    """Drafts with an EAGLE head, from files of the original project.

    Args:
        num_speculative_tokens: draft length k; of a tree, its nodes.
        model: hub id or folder of the head; None takes the one that comes with fairdraft, which
            there is for the demo model.
        options: fields of `DraftOptions`.

    Raises:
        ConfigError: a value out of range.
        CheckpointError: the files cannot be read, or are of another kind.
    """

    def __init__(
        self, num_speculative_tokens: int, model: str | None = None, **options: Any
    ) -> None:
        source = HeadSource("eagle", model, recurrent_drafter)
        super().__init__(num_speculative_tokens, source, **options)


class Eagle3Proposer(ModelProposer):
    """Drafts with an EAGLE-3 head, from "speculators" files or raw ones.

    Args:
        num_speculative_tokens: draft length k; of a tree, its nodes.
        model: hub id or folder of the head; None takes the one that comes with fairdraft, which
            there is for the demo model.
        options: fields of `DraftOptions`.

    Raises:
        ConfigError: a value out of range.
        CheckpointError: the files cannot be read, or are of another kind.
    """

    def __init__(
        self, num_speculative_tokens: int, model: str | None = None, **options: Any
    ) -> None:
        source = HeadSource("eagle3", model, recurrent_drafter)
        super().__init__(num_speculative_tokens, source, **options)


class MedusaProposer(ModelProposer):
    """Drafts with Medusa heads, from vLLM's files or the original project's.

    Args:
        num_speculative_tokens: draft length k; of a tree, its nodes.
        model: hub id or folder of the head; None takes the one that comes with fairdraft, which
            there is for the demo model.
        options: fields of `DraftOptions`.

    Raises:
        ConfigError: a value out of range.
        CheckpointError: the files cannot be read, or are of another kind.
    """

    def __init__(
        self, num_speculative_tokens: int, model: str | None = None, **options: Any
    ) -> None:
        source = HeadSource("medusa", model, MedusaDrafter)
        super().__init__(num_speculative_tokens, source, **options)


class DFlashProposer(ModelProposer):
    """Drafts with a DFlash drafter, from "speculators" files or z-lab's.

    Args:
        num_speculative_tokens: draft length k; of a tree, its nodes.
        model: hub id or folder of the head; None takes the one that comes with fairdraft, which
            there is for the demo model.
        options: fields of `DraftOptions`.

    Raises:
        ConfigError: a value out of range.
        CheckpointError: the files cannot be read, or are of another kind.
    """

    def __init__(
        self, num_speculative_tokens: int, model: str | None = None, **options: Any
    ) -> None:
        source = HeadSource("dflash", model, DFlashDrafter)
        super().__init__(num_speculative_tokens, source, **options)


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
