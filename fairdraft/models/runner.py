"""Runs a transformers causal LM over flat batches. Target and draft model are run by this code."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fairdraft.errors import CheckpointError
from fairdraft.kv import KVStorage, LayerShape
from fairdraft.models.attention import ATTENTION_NAME, PagedAttention
from fairdraft.models.batch import FlatBatch, RunOutput
from fairdraft.models.cpu.fused import FusedDecoder, can_fuse
from fairdraft.models.cpu.linear import speed_up
from fairdraft.models.graphs import GraphedSteps
from fairdraft.models.invariance import broken_invariance
from fairdraft.models.padded_attention import PaddedAttention
from fairdraft.transfer import send

_log = logging.getLogger("fairdraft")


class _Probe(PagedAttention):
    """Stands in for attention in a trial run and notes what each layer asks for."""

    def __init__(self) -> None:
        self.shapes: dict[int, tuple[int, int, int]] = {}

    def write(self, layer: int, keys: Tensor, values: Tensor) -> None:
        self.shapes[layer] = (keys.shape[1], keys.shape[2], values.shape[2])

    def attend(
        self,
        layer: int,
        queries: Tensor,
        scale: float,
        softcap: float | None,
        dtype: torch.dtype | None = None,
    ) -> Tensor:
        return queries.new_zeros(*queries.shape[:2], self.shapes[layer][2])


class ModelRunner:
    """A model and its paged KV.

    Args:
        model: a loaded decoder-only transformers model, on its device, in its dtype.
        batch_invariant: run every row count through the same kernels, so that a row's result does
            not depend on how many rows run beside it, and check that it does not. None does so on
            the CPU where the model allows it, and warns once where it does not.
        tokenizer: the model's, for draft models to be compared with.
        name: of the model as the user gave it, for drafters that belong to it.

    Attributes:
        batch_invariant: whether it is.

    Raises:
        CheckpointError: the model needs what is not supported, or cannot be made batch-invariant
            though it was asked for; the message names it and says why.
    """

    def __init__(
        self,
        model: Any,
        batch_invariant: bool | None = False,
        tokenizer: Any = None,
        name: str = "",
    ) -> None:
        refuse_unsupported(model)
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.name = name
        self.model.set_attn_implementation(ATTENTION_NAME)
        config = model.config.get_text_config()
        self.vocab_size = int(config.vocab_size)
        self.max_model_len = int(getattr(config, "max_position_embeddings", 0) or 1 << 20)
        self.device: torch.device = model.device
        self.layers = self._probe_layers()
        self.storage: KVStorage | None = None
        self.graphs: GraphedSteps | None = None
        self.fused: FusedDecoder | None = None
        if can_fuse(model):
            self.fused = FusedDecoder(model)
        elif self.device.type == "cpu":
            speed_up(model)
        self.batch_invariant = batch_invariant is not False and self.device.type == "cpu"
        if batch_invariant is not False:
            self._check_invariance(asked=batch_invariant is True)

    def _check_invariance(self, asked: bool) -> None:
        """Go without what cannot be had, with a warning; refuse to if it was asked for."""
        if not (asked or self.batch_invariant):
            return
        broken = broken_invariance(self, self._num_distinct_layers())
        name = self.name or self.model.config.model_type
        if broken and asked:
            raise CheckpointError(
                f"{name}: batch_invariant=True cannot be kept: {broken}. Leave batch_invariant "
                "out, or use float32, bfloat16 or float16 on CPU"
            )
        if broken:
            _log.warning(
                "%s loads without batch invariance: %s. Near-ties may be written otherwise with "
                "speculation than without; batch_invariant=False says that you know",
                name,
                broken,
            )
            self.batch_invariant = False

    def _num_distinct_layers(self) -> int:
        """Return how many of the first layers hold every kind of layer that the model has."""
        kinds = [
            (type(layer), tuple(p.shape for p in layer.parameters()), shape.sliding_window)
            for layer, shape in zip(target_layers(self.model), self.layers, strict=True)
        ]
        return 1 + max(kinds.index(kind) for kind in kinds)

    @property
    def kv_bytes_per_token(self) -> int:
        """Bytes a token takes in the KV cache, all layers together."""
        return sum(layer.numel for layer in self.layers) * int(self.model.dtype.itemsize)

    @property
    def weight_bytes(self) -> int:
        """Bytes of weights that one run reads; a tied embedding counts once."""
        return sum(p.numel() * p.element_size() for p in self.model.parameters())

    @torch.inference_mode()
    def _probe_layers(self) -> list[LayerShape]:
        """Learn each layer's KV shape by running two tokens through the model."""
        probe = _Probe()
        ids = torch.zeros(1, 2, dtype=torch.int64, device=self.device)
        positions = torch.arange(2, device=self.device)[None]
        self.model(input_ids=ids, position_ids=positions, use_cache=False, paged=probe)
        config = self.model.config.get_text_config()
        name = self.model.config.model_type
        if sorted(probe.shapes) != list(range(config.num_hidden_layers)):
            raise CheckpointError(
                f"{name}: {config.num_hidden_layers - len(probe.shapes)} of its "
                f"{config.num_hidden_layers} layers do not call transformers' attention "
                "interface, so their state cannot be paged or rolled back; not supported"
            )
        windows = sliding_windows(config)
        return [LayerShape(*probe.shapes[i], windows[i]) for i in range(len(windows))]

    def allocate(self, num_slots: int, block_size: int = 16) -> None:
        """Make room for the KV of `num_slots` tokens, in blocks of so many; the old is dropped."""
        self.block_size = block_size
        if self.device.type != "cuda":
            self.storage = KVStorage(self.layers, num_slots, self.model.dtype, self.device)
            return
        self.storage = self.graphs = None  # before the new is made, or both have to fit
        # A block more, which belongs to nobody: padded rows write there.
        whole = -(-num_slots // block_size) + 1
        self.storage = KVStorage(self.layers, whole * block_size, self.model.dtype, self.device)
        self.graphs = GraphedSteps(self._forward, self.storage, block_size)

    def move(self, sources: Sequence[int], targets: Sequence[int]) -> None:
        """Copy the KV of slots `sources` to slots `targets`; the two may overlap."""
        assert self.storage is not None, "allocate() comes first"
        self.storage.move(*send(self.device, sources, targets))

    def attention(self, batch: FlatBatch) -> PagedAttention:
        """The step's attention over this model's KV."""
        assert self.storage is not None, "allocate() comes first"
        return PagedAttention(self.storage, batch)

    @torch.inference_mode()
    def run(self, batch: FlatBatch, layers: Collection[int] = ()) -> RunOutput:
        """One flat batch through the model.

        Args:
            batch: the rows; their KV is written to their slots.
            layers: ids of hidden states to keep, as in transformers' `hidden_states[k]`: 0 is the
                embedding, k the output of layer k, the last one after the final norm.

        Returns:
            Logits [R, V] of `batch.logit_rows` (float32 on CPU, else the model's dtype), and the
            hidden states asked for.
        """
        if self.graphs is not None and (found := self.graphs.run(batch, layers)) is not None:
            return found
        paged = self.attention(batch)
        if self.fused is not None:
            return self.fused.run(paged, layers)
        return self._forward(batch, paged, layers)

    def _forward(
        self, batch: FlatBatch, paged: PagedAttention | PaddedAttention, layers: Collection[int]
    ) -> RunOutput:
        """Run a batch through transformers' modules."""
        hidden: dict[int, Tensor] = {}
        hooks = [self._tap(layer, hidden) for layer in layers]
        try:
            output = self.model(
                input_ids=batch.token_ids[None],
                position_ids=batch.positions[None],
                use_cache=False,
                logits_to_keep=batch.logit_rows,
                paged=paged,
            )
        finally:
            for hook in hooks:
                hook.remove()
        return RunOutput(output.logits[0], hidden)

    def _tap(self, layer: int, hidden: dict[int, Tensor]) -> Any:
        """Keep one hidden state of the coming run."""
        final = len(self.layers)
        blocks = target_layers(self.model)

        def keep(_module: nn.Module, inputs: Any, output: Any) -> None:
            state = inputs[0] if layer < final else output
            hidden[layer] = (state[0] if isinstance(state, tuple) else state)[0]

        if layer < final:
            return blocks[layer].register_forward_hook(keep)
        return final_norm(self.model).register_forward_hook(keep)


def target_layers(model: Any) -> nn.ModuleList:
    """The decoder layers of a transformers model."""
    count = model.config.get_text_config().num_hidden_layers
    lists = (m for m in model.modules() if isinstance(m, nn.ModuleList))
    return next(m for m in lists if len(m) == count)


def final_norm(model: Any) -> nn.Module:
    """The norm between a transformers model's last layer and its head."""
    parts = [m for m in model.base_model.children() if not isinstance(m, nn.ModuleList)]
    norm: nn.Module = next(m for m in reversed(parts) if "norm" in type(m).__name__.lower())
    return norm


def sliding_windows(config: Any) -> Sequence[int | None]:
    """The sliding window of each layer, from a transformers text config."""
    window = getattr(config, "sliding_window", None)
    if getattr(config, "use_sliding_window", True) is False:
        window = None
    kinds = getattr(config, "layer_types", None)
    if kinds is None:
        return [window] * config.num_hidden_layers
    return [window if kind == "sliding_attention" else None for kind in kinds]


def refuse_unsupported(model: Any) -> None:
    """Raise `CheckpointError` for a model that paged attention and rollback cannot serve."""
    config = model.config
    name = config.model_type
    kinds = set(getattr(config.get_text_config(), "layer_types", None) or ())
    foreign = kinds - {"full_attention", "sliding_attention"}
    if config.is_encoder_decoder:
        reason = "it is an encoder-decoder model"
    elif foreign:
        reason = f"its {', '.join(sorted(foreign))} layers keep a state that cannot be rolled back"
    elif not getattr(model, "_supports_attention_backend", False):
        reason = "its code does not use transformers' attention interface"
    elif any(hasattr(m, "sinks") for m in model.modules()):
        reason = "its attention sinks are not supported"
    else:
        return
    raise CheckpointError(
        f"{name} cannot be run: {reason}. Models with full or sliding-window attention behind "
        "transformers' attention interface can: Llama, Mistral, Qwen, Gemma and many more"
    )
