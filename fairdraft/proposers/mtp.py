"""MTP: a layer that the target's own checkpoint brings along drafts."""

from __future__ import annotations

from fairdraft.heads import HeadFile, load_mtp, read_mtp
from fairdraft.kv import LayerShape
from fairdraft.models import ModelRunner
from fairdraft.proposers.heads.recurrent import RecurrentProposer


class MTPProposer(RecurrentProposer):
    """Drafts with the first MTP layer of the target's checkpoint, run on its own outputs.

    There is no `model` to name; the other arguments are as in `HeadProposer`.
    """

    kind = "mtp"
    load = staticmethod(load_mtp)

    def __init__(
        self,
        num_speculative_tokens: int,
        draft_sample_method: str = "greedy",
        draft_confidence_threshold: float = 0.0,
        draft_tree_top_k: int = 1,
        draft_tree_depth: int | None = None,
    ) -> None:
        super().__init__(
            num_speculative_tokens,
            None,
            draft_sample_method,
            draft_confidence_threshold,
            draft_tree_top_k,
            draft_tree_depth,
        )

    @property
    def kv_layers(self) -> list[LayerShape]:
        """As the target's last layer."""
        return [self.target.layers[-1]]

    def own_file(self, target: ModelRunner) -> HeadFile:
        """The target's own."""
        return read_mtp(target.name, target.model.config.get_text_config())
