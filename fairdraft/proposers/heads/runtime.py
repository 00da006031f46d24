"""What drafters with a trained head share: their options and their file."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from fairdraft.config import require
from fairdraft.errors import CheckpointError, ConfigError
from fairdraft.heads import Attend, HeadFile, read_head_file, shipped_head
from fairdraft.kv import KVStorage, LayerShape
from fairdraft.models import FlatBatch, ModelRunner, PagedAttention, kernel_fits, product, speed_up
from fairdraft.proposers.drafting.loop import StepwiseProposer, Underway


class HeadProposer(StepwiseProposer):
    """Drafts with a head that reads the target's hidden states.

    Attributes:
        kind: of the file, and the method's name.
        file: read at once, so that a wrong one is told before the target is loaded.
        head: the network; set by `bind`.

    Args:
        num_speculative_tokens: draft length k; of a tree, its nodes.
        model: hub id or folder of the head; None takes the one that comes with fairdraft, which
            there is for the demo model.
        draft_sample_method, draft_confidence_threshold, draft_tree_top_k, draft_tree_depth: as in
            `StepwiseProposer`.

    Raises:
        ConfigError: a value out of range.
        CheckpointError: the file cannot be read, or is of another kind.
    """

    kind: ClassVar[str]
    head: Any

    def __init__(
        self,
        num_speculative_tokens: int,
        model: str | None = None,
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
        self.file = None if model is None else self._read(model)

    @staticmethod
    @abstractmethod
    def load(file: HeadFile, target: Any) -> Any:
        """The network of a file, for a transformers model."""

    def _read(self, model: str) -> HeadFile:
        file = read_head_file(model)
        if file.kind != self.kind:
            raise CheckpointError(
                f"{model!r} is a file for method {file.kind!r}, not {self.kind!r}: name that method"
            )
        return file

    def own_file(self, target: ModelRunner) -> HeadFile:
        """The file where none is named."""
        shipped = shipped_head(target.name, self.kind)
        if shipped is None:
            raise ConfigError(
                f"method {self.kind!r} needs the key 'model', a drafter's folder or hub id: none "
                f"comes with fairdraft for {target.name!r}; `fairdraft train` makes one"
            )
        return self._read(shipped)

    def bind(self, target: Any) -> None:
        """Meet the target and load the head in its precision.

        Raises:
            ConfigError: a target without hidden states, or without a head of its own where no
                other is named.
            CheckpointError: the file does not fit the target.
        """
        if not isinstance(target, ModelRunner):
            raise ConfigError(f"{self.kind} needs a target with hidden states")
        if self.file is None:
            self.file = self.own_file(target)
        self.head = self.load(self.file, target.model)
        if target.device.type == "cpu":
            speed_up(self.head)
        self.target_ids = self.head.target_ids
        self.target = target
        self.vocab_size = target.vocab_size
        self._storage: KVStorage | None = None

    @property
    def kv_layers(self) -> list[LayerShape]:
        """What each of the head's layers keeps of a token."""
        layers: list[LayerShape] = self.head.config.kv_layers
        return layers

    def kv(self) -> KVStorage:
        """KV of the head's layers, in slots of the target's numbers; made when first asked for."""
        assert self.target.storage is not None
        if self._storage is None:
            slots = len(self.target.storage.keys[0])
            dtype = self.target.storage.dtype
            self._storage = KVStorage(self.kv_layers, slots, dtype, self.target.device)
        return self._storage

    def embed(self, token_ids: Tensor) -> Tensor:
        """[R] → [R, d], by the file's own embedding or the target's."""
        own = self.head.embed_tokens
        module = self.target.model.get_input_embeddings() if own is None else own
        rows: Tensor = module.weight.data[token_ids]
        return rows

    def attend(self, batch: FlatBatch) -> Attend:
        """How the head's layers read in a run: rows are written to their slots first."""
        attention = PagedAttention(self.kv(), batch)

        def read(layer: int, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
            attention.write(layer, keys, values)
            return attention.attend(layer, queries.contiguous(), queries.shape[-1] ** -0.5, None)

        return read


class ParallelProposer(HeadProposer):
    """Drafts all tokens in one pass, so that none sees another's choice.

    A tree (`draft_tree_top_k` above 1) takes the likeliest products of the single laws, anew for
    each draft; it has a level a token at most.
    """

    def bind(self, target: Any) -> None:
        """Meet the target."""
        super().bind(target)
        self._laws: dict[str, list[Tensor]] = {}

    def require_tokens(self, most: int, reason: str) -> None:
        """Raise `ConfigError` if drafts are to be longer than the head says in one pass."""
        name = "draft_tree_depth" if self.drafts_trees else "num_speculative_tokens"
        tokens = self.num_tokens
        require(tokens <= most, f"{name} is {tokens}, but {reason}: lower it to {most}")

    @property
    def num_tokens(self) -> int:
        """Tokens of a pass."""
        return self.depth if self.drafts_trees else self.num_speculative_tokens

    @abstractmethod
    def run_pass(self, underway: Sequence[Underway]) -> list[Tensor]:
        """Per token ahead [requests, drafter's vocabulary] logits."""

    @torch.inference_mode()
    def run(self, underway: Sequence[Underway]) -> Tensor:
        """The pass at first; then what it said that the newest nodes wait for."""
        names = [draft.request.request_id for draft in underway]
        if not len(underway[0].nodes):
            found = self.run_pass(underway)
            for row, name in enumerate(names):
                self._laws[name] = [logits[row] for logits in found]
        rows = []
        for name, draft in zip(names, underway, strict=True):
            rows += [self._laws[name][draft.nodes.depths[-1]]] * draft.num_newest
        return torch.stack(rows)

    def drafted(self, underway: Sequence[Underway]) -> None:
        """What was said is of no more use."""
        self._laws.clear()


def logits_of(lm_head: nn.Linear, x: Tensor) -> Tensor:
    """[R, d] → [R, drafter's vocabulary], float32 on CPU."""
    if kernel_fits(lm_head.weight):
        return product(lm_head.weight, x.contiguous())
    return nn.functional.linear(x, lm_head.weight)
