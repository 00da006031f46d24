"""What drafters with a trained head share: their options and their file."""

from __future__ import annotations

from typing import Any, ClassVar

from fairdraft.errors import CheckpointError, ConfigError
from fairdraft.models import ModelRunner
from fairdraft.models.heads import read_head_file
from fairdraft.proposers.stepwise import StepwiseProposer


class HeadProposer(StepwiseProposer):
    """Drafts with a head that reads the target's hidden states.

    Attributes:
        kind: of the file, and the method's name.
        file: read at once, so that a wrong one is told before the target is loaded.

    Args:
        num_speculative_tokens: draft length k; of a tree, its nodes.
        model: hub id or folder of the head.
        draft_sample_method, draft_confidence_threshold, draft_tree_top_k, draft_tree_depth: as in
            `StepwiseProposer`.

    Raises:
        ConfigError: a value out of range.
        CheckpointError: the file cannot be read, or is of another kind.
    """

    kind: ClassVar[str]

    def __init__(
        self,
        num_speculative_tokens: int,
        model: str,
        draft_sample_method: str = "greedy",
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
        self.file = read_head_file(model)
        if self.file.kind != self.kind:
            raise CheckpointError(
                f"{model!r} is a file for method {self.file.kind!r}, not {self.kind!r}: name that "
                "method"
            )

    def bind(self, target: Any) -> None:
        """Meet the target; the head is then loaded in its precision.

        Raises:
            ConfigError: a target without hidden states.
            CheckpointError: the file does not fit it.
        """
        if not isinstance(target, ModelRunner):
            raise ConfigError(f"{self.kind} needs a target with hidden states")
        self.target = target
        self.vocab_size = target.vocab_size
