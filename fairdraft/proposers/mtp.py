"""MTP: a layer that the target's own checkpoint brings along drafts."""

from __future__ import annotations

from typing import Any

from fairdraft.models import ModelRunner
from fairdraft.models.heads import HeadFile, load_mtp, read_mtp
from fairdraft.proposers.recurrent import RecurrentProposer


class MTPProposer(RecurrentProposer):
    """Drafts with the first MTP layer of the target's checkpoint, run on its own outputs.

    There is no `model` to name; the other arguments are as in `HeadProposer`.
    """

    kind = "mtp"
    load = staticmethod(load_mtp)

    def __init__(self, num_speculative_tokens: int, **options: Any) -> None:
        super().__init__(num_speculative_tokens, None, **options)

    def own_file(self, target: ModelRunner) -> HeadFile:
        """The target's own."""
        return read_mtp(target.name, target.model.config.get_text_config())
