"""Where a draft model comes from: a checkpoint, files of layers only, or the target itself."""

from __future__ import annotations

from fairdraft.config import require, require_int
from fairdraft.errors import CheckpointError, ConfigError
from fairdraft.heads import read_head_file, shipped_head
from fairdraft.heads.draft_model.files import is_pruned, load_pruned
from fairdraft.models import ModelRunner, load_checkpoint
from fairdraft.proposers.draft_model.drafters import ModelDrafter, TargetDrafter
from fairdraft.proposers.drafting.drafter import Drafter, DrafterSource
from fairdraft.proposers.options import DraftShape


class DraftModelSource(DrafterSource):
    """A model that the user names, the one that comes with fairdraft, or the target's own layers.

    Args:
        model: hub id, folder, GGUF file or "demo"; None takes one of the others.
        num_draft_layers: layers of the target that run; None takes three quarters of them, or the
            draft model that comes with fairdraft for the target.

    Raises:
        ConfigError: both are given, or no layers.
    """

    def __init__(self, model: str | None, num_draft_layers: int | None) -> None:
        require(
            model is None or num_draft_layers is None,
            "num_draft_layers is for drafting with the target itself: leave it or model out",
        )
        if num_draft_layers is not None:
            require_int("num_draft_layers", num_draft_layers, 1, "leave it out for the default")
        self.model = model
        self.num_draft_layers = num_draft_layers

    def drafter(self, target: ModelRunner, shape: DraftShape) -> Drafter:
        """Load the model, or borrow the target's first layers."""
        name = self.model
        if name is None and self.num_draft_layers is None:
            name = shipped_head(target.name, "draft_model")
        if name is not None:
            return ModelDrafter(load_drafter(name, target), target, shape)
        count = len(target.layers)
        layers = self.num_draft_layers or max(3 * count // 4, 1)
        require(
            layers < count,
            f"num_draft_layers is {layers}, but the target has {count} layers: leave some out",
        )
        return TargetDrafter(target, layers, shape)


def load_drafter(name: str, target: ModelRunner) -> ModelRunner:
    """Load a draft model in the target's precision, on its device.

    A folder that `fairdraft train draft-model` wrote holds layers only; the rest is the target's.

    Raises:
        ConfigError: its tokenizer is not the target's.
        CheckpointError: it cannot be loaded.
    """
    if is_pruned(name):
        return ModelRunner(load_pruned(read_head_file(name), target.model))
    dtype = str(target.model.dtype).removeprefix("torch.")
    checkpoint = load_checkpoint(name, dtype, str(target.device))
    if target.tokenizer is None:
        raise CheckpointError("the target has no tokenizer to compare the draft model's with")
    ours, theirs = target.tokenizer.get_vocab(), checkpoint.tokenizer.get_vocab()
    if ours != theirs:
        different = {t for t in ours.keys() | theirs.keys() if ours.get(t) != theirs.get(t)}
        raise ConfigError(
            f"the draft model {name!r} has another tokenizer than the target: of "
            f"{len(ours)} and {len(theirs)} tokens {len(different)} differ, such as "
            f"{min(different)!r}; use a model of the same family"
        )
    return ModelRunner(checkpoint.model, tokenizer=checkpoint.tokenizer)
