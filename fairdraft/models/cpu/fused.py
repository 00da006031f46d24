"""A faster way through decoder layers on CPU: the same arithmetic in fewer, larger pieces.

transformers' module tree is made for every model and every device; between its products it runs
many small operators a layer. Here a layer is nine calls: products with the query, key and
value weights joined, and the gate and up weights joined, and `rowwise` between them. Activations
between products stay in float32, products take the weights' dtype.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fairdraft.models.attention import PagedAttention
from fairdraft.models.batch import RunOutput
from fairdraft.models.cpu import rowwise
from fairdraft.models.cpu.families import READERS, obstacle
from fairdraft.models.cpu.layers import Floats, Layer
from fairdraft.models.cpu.linear import as_array, operand_dtype, product

_log = logging.getLogger("fairdraft")


def can_fuse(model: Any) -> bool:
    """Whether `FusedDecoder` computes what this transformers model computes; logs why not."""
    reason = obstacle(model)
    if reason:
        _log.debug("%s runs as transformers has it: %s", model.config.model_type, reason)
    return reason is None


class FusedLayers:
    """Runs decoder layers one after the other.

    Args:
        layers: at least one; the first may read wider rows than the residual is.
        eps: of all norms.
    """

    def __init__(self, layers: Sequence[Layer], eps: float) -> None:
        self.layers = layers
        self.eps = eps

    def run(
        self,
        x: Floats,
        normed: Tensor,
        norm: Floats,
        attention: PagedAttention,
        positions: Tensor,
        layers: Collection[int] = (),
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """One flat batch through all layers.

        Args:
            x: [T, d], the residual; overwritten with the last layer's.
            normed: [T, K], what the first layer's attention reads, in `operand_dtype`.
            norm: [d], behind the last layer.
            attention: the step's, over the KV of these layers.
            positions: [T] int64, that queries and keys are rotated to.
            layers: after how many layers the hidden state is kept.

        Returns:
            The normed output [T, d] of the last layer, and the hidden states asked for by number.
        """
        batch, storage = attention.batch, attention.storage
        dtype, operand = storage.dtype, normed.dtype
        rows, size = x.shape
        slots, places = batch.slots.numpy(), positions.numpy()
        tables = {rotation: rotation.at(places) for rotation in {c.rotation for c in self.layers}}
        widths = len(self.layers[0].qkv.weight), len(self.layers[0].gate_up.weight)
        qkv, gate_up, added = (torch.empty(rows, width) for width in (*widths, size))
        inner = torch.empty(rows, widths[1] // 2, dtype=operand)
        queries = torch.empty(rows, self.layers[0].num_heads, storage.keys[0].shape[2], dtype=dtype)
        output = torch.empty(rows, size, dtype=operand)
        # The same memory for the kernels; a conversion takes as long as a small kernel runs.
        qkv_rows, gate_rows, added_rows = qkv.numpy(), gate_up.numpy(), added.numpy()
        inner_rows, query_rows, output_rows = map(as_array, (inner, queries, output))
        hidden: dict[int, Tensor] = {}
        eps = self.eps
        for i, layer in enumerate(self.layers):
            keys, values = storage.keys[i], storage.values[i]
            _, attention_norm, mlp_norm, output_norm = layer.norms
            last = i + 1 == len(self.layers)
            product(layer.qkv.weight, normed, qkv)
            rowwise.rotate_and_store(
                qkv_rows,
                layer.qkv.bias,
                *tables[layer.rotation],
                layer.q_norm,
                layer.k_norm,
                eps,
                slots,
                query_rows,
                as_array(keys),
                as_array(values),
            )
            read = attention.attend(i, queries, layer.scale, layer.softcap, operand)
            product(layer.output.weight, read.reshape(rows, -1), added)
            rowwise.add_rms_norm(
                x,
                added_rows,
                layer.output.bias,
                attention_norm,
                layer.residual,
                mlp_norm,
                eps,
                output_rows,
            )
            product(layer.gate_up.weight, output, gate_up)
            layer.gate(gate_rows, layer.gate_up.bias, inner_rows)
            product(layer.down.weight, inner, added)
            rowwise.add_rms_norm(
                x,
                added_rows,
                layer.down.bias,
                output_norm,
                layer.residual,
                norm if last else self.layers[i + 1].norms[0],
                eps,
                output_rows,
            )
            normed = output
            if i + 1 in layers:
                state = output if last else torch.from_numpy(x)
                hidden[i + 1] = state.to(dtype, copy=True)
        return output, hidden


class FusedDecoder:
    """Runs a model for which `can_fuse` holds.

    Args:
        model: the transformers model. Its weights are shared, not copied.
    """

    @torch.inference_mode()
    def __init__(self, model: Any) -> None:
        self.decoder = READERS[model.config.model_type](model)

    def run(
        self,
        attention: PagedAttention,
        layers: Collection[int],
        num_layers: int | None = None,
    ) -> RunOutput:
        """One flat batch through the model, or its first layers; see `ModelRunner.run`."""
        decoder, batch = self.decoder, attention.batch
        chosen = decoder.layers[:num_layers]
        embedding = decoder.embedding
        x = np.empty((batch.num_rows, embedding.shape[1]), np.float32)
        rowwise.embed(as_array(embedding), batch.token_ids.numpy(), decoder.embedding_factor, x)
        normed = torch.empty(x.shape, dtype=operand_dtype(embedding.dtype))
        rowwise.rms_norm(x, chosen[0].norms[0], decoder.eps, as_array(normed))
        first = {0: torch.from_numpy(x).to(embedding.dtype, copy=True)} if 0 in layers else {}
        stack = FusedLayers(chosen, decoder.eps)
        normed, hidden = stack.run(x, normed, decoder.norm, attention, batch.positions, layers)
        logits = product(decoder.head, normed[batch.logit_rows])
        if decoder.logits_divisor != 1 or decoder.logits_softcap:
            rowwise.bound_logits(logits.numpy(), decoder.logits_divisor, decoder.logits_softcap)
        return RunOutput(logits, first | hidden)
