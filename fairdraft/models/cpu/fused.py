"""A faster way through decoder layers on CPU: the same arithmetic in fewer, larger pieces.

transformers' module tree is made for every model and every device; between its products it runs
many small operators a layer. Here a layer is nine kernels in a `Program`: products with the query,
key and value weights joined, and the gate and up weights joined, attention, and `rowwise` between
them. Activations between products stay in float32, products take the weights' dtype.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fairdraft.kv import KVStorage
from fairdraft.models.attention import PagedAttention
from fairdraft.models.batch import RunOutput
from fairdraft.models.cpu import rowwise, threads
from fairdraft.models.cpu.attention import TOLD, Look, append_attention
from fairdraft.models.cpu.families import READERS, obstacle
from fairdraft.models.cpu.layers import Floats, Layer, Product, Rotation
from fairdraft.models.cpu.linear import append_product, as_array, operand_dtype, product
from fairdraft.models.cpu.program import Program

_log = logging.getLogger("fairdraft")
_KEPT_ROWS = 256  # memory for so many rows is kept from run to run; a longer prompt makes its own

# Appends what makes, of token ids [M] int64 and of what lies in the residual [M, d] float32, the
# residual and the rows [M, K] that the first layer's attention reads, in `operand_dtype`.
Begin = Callable[[Program, npt.NDArray[np.int64], Tensor], Tensor]


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
        norm: [d], behind the last layer.
        begin: what comes before the first layer.
    """

    def __init__(self, layers: Sequence[Layer], eps: float, norm: Floats, begin: Begin) -> None:
        self.layers = layers
        self.eps = eps
        self.norm = norm
        self.begin = begin
        self._idle: list[_Prepared] = []

    def run(
        self,
        token_ids: Tensor,
        hidden: Tensor | None,
        positions: Tensor,
        attention: PagedAttention,
        layers: Collection[int] = (),
    ) -> tuple[Tensor, Tensor, dict[int, Tensor]]:
        """One flat batch through all layers.

        Args:
            token_ids: [T] int64.
            hidden: [T, d], what `begin` finds in the residual; None leaves it as it is.
            positions: [T] int64, that queries and keys are rotated to.
            attention: the step's, over the KV of these layers.
            layers: behind how many layers the hidden state is kept.

        Returns:
            The normed output [T, d] of the last layer, the residual [T, d] before that norm, and
            the hidden states asked for by number, 0 for the first layer's residual.
        """
        rows = len(token_ids)
        prepared = self._prepared(rows, attention.storage)
        found = prepared.run(token_ids, hidden, positions, attention, layers)
        if rows <= _KEPT_ROWS:
            self._idle.append(prepared)
        return found

    def _prepared(self, rows: int, storage: KVStorage) -> _Prepared:
        """Return a program that nobody else runs, with room for so many rows."""
        if rows <= _KEPT_ROWS:
            with suppress(IndexError):  # there is none, or it works
                prepared = self._idle.pop()
                if prepared.num_threads == threads.count():
                    return prepared
        return _Prepared(self, max(rows, _KEPT_ROWS), storage)


class _Prepared:
    """The program of some layers.

    Args:
        stack: the layers.
        capacity: rows that there is room for.
        storage: KV like that of every run.
    """

    def __init__(self, stack: FusedLayers, capacity: int, storage: KVStorage) -> None:
        self.num_threads = threads.count()  # that its pieces are made for
        self._program = program = Program(capacity)
        layers, eps = stack.layers, stack.eps
        first, kv = layers[0], storage.layers[0]
        operand = operand_dtype(first.qkv.weight.dtype)
        size, inner_size = first.down.weight.shape
        self._token_ids, self._positions, self._slots = (
            program.array(dtype=torch.int64).numpy() for _ in range(3)
        )
        self._x = program.array(size)
        normed = stack.begin(program, self._token_ids, self._x)
        tables: dict[Rotation, tuple[Floats, Floats]] = {}
        for rotation in {layer.rotation for layer in layers}:
            cos, sin = (program.array(len(rotation.frequencies)).numpy() for _ in range(2))
            tables[rotation] = cos, sin
            program.append(rotation.at(self._positions, cos, sin))
        qkv, gate_up = (program.array(len(p.weight)) for p in (first.qkv, first.gate_up))
        queries = program.array(first.num_heads, kv.key_dim, dtype=storage.dtype)
        read = program.array(first.num_heads, kv.value_dim, dtype=operand)
        added, inner = program.array(size), program.array(inner_size, dtype=operand)
        self._output = output = program.array(size, dtype=operand)
        # The same memory for `rowwise`; conversions take longer than all the rest.
        tensors = self._x, qkv, gate_up, queries, added, inner, output
        x_rows, qkv_rows, gate_rows, query_rows, added_rows, inner_rows, output_rows = map(
            as_array, tensors
        )
        self._ends = [len(program)]  # of what comes before the layers, and of each
        looks: dict[Look, list[list[int]]] = defaultdict(list)
        norms = [*(layer.norms[0] for layer in layers[1:]), stack.norm]

        def add(product: Product, norm: Floats, factor: float, following: Floats) -> None:
            call = x_rows, added_rows, product.bias, norm, factor, following, eps, output_rows
            program.append(rowwise.add_rms_norm(*call))

        for i, (layer, next_norm) in enumerate(zip(layers, norms, strict=True)):
            _, attention_norm, mlp_norm, output_norm = layer.norms
            append_product(program, layer.qkv.weight, normed, qkv)
            rotate = rowwise.rotate_and_store(
                qkv_rows,
                layer.qkv.bias,
                *tables[layer.rotation],
                layer.q_norm,
                layer.k_norm,
                eps,
                self._slots,
                query_rows,
                as_array(storage.keys[i]),
                as_array(storage.values[i]),
            )
            program.append(rotate, layer=i)
            window = storage.layers[i].sliding_window
            shape = first.num_heads, kv.key_dim, kv.num_kv_heads, kv.value_dim
            look = Look(*shape, window, layer.scale, layer.softcap)
            looks[look].append(append_attention(program, i, queries, read))
            append_product(program, layer.output.weight, read, added)
            add(layer.output, attention_norm, layer.residual, mlp_norm)
            append_product(program, layer.gate_up.weight, output, gate_up)
            program.append(layer.gate(gate_rows, layer.gate_up.bias, inner_rows))
            append_product(program, layer.down.weight, inner, added)
            add(layer.down, output_norm, layer.residual, next_norm)
            normed = output
            self._ends.append(len(program))
        self._looks = [(look, np.array(places).T) for look, places in looks.items()]
        program.finish()

    def run(
        self,
        token_ids: Tensor,
        hidden: Tensor | None,
        positions: Tensor,
        attention: PagedAttention,
        layers: Collection[int],
    ) -> tuple[Tensor, Tensor, dict[int, Tensor]]:
        """See `FusedLayers.run`."""
        rows, program, storage = len(token_ids), self._program, attention.storage
        self._token_ids[:rows] = token_ids.numpy()
        self._positions[:rows] = positions.numpy()
        self._slots[:rows] = attention.batch.slots.numpy()
        x, output = self._x[:rows], self._output[:rows]
        if hidden is not None:
            x.copy_(hidden)
        for look, places in self._looks:
            for at, (arguments, pieces) in zip(places, attention.step.passes(look), strict=True):
                program.replace(at, TOLD, arguments[TOLD:], pieces)
        program.prepare(rows, storage)
        states: dict[int, Tensor] = {}
        done = 0
        for layer in sorted({*layers, len(self._ends) - 1}):
            program.run(done, self._ends[layer])
            done = self._ends[layer]
            if layer in layers:
                state = output if done == len(program) else x
                states[layer] = state.to(storage.dtype, copy=True)
        return output.clone(), x.clone(), states


class FusedDecoder:
    """Runs a model for which `can_fuse` holds.

    Args:
        model: the transformers model. Its weights are shared, not copied.
    """

    @torch.inference_mode()
    def __init__(self, model: Any) -> None:
        self.decoder = READERS[model.config.model_type](model)
        self._stacks: dict[int | None, FusedLayers] = {}

    def run(
        self,
        attention: PagedAttention,
        layers: Collection[int],
        num_layers: int | None = None,
    ) -> RunOutput:
        """One flat batch through the model, or its first layers; see `ModelRunner.run`."""
        decoder, batch = self.decoder, attention.batch
        if num_layers not in self._stacks:
            chosen = decoder.layers[:num_layers]
            self._stacks[num_layers] = FusedLayers(chosen, decoder.eps, decoder.norm, self._begin)
        stack = self._stacks[num_layers]
        normed, _, hidden = stack.run(batch.token_ids, None, batch.positions, attention, layers)
        logits = product(decoder.head, normed[batch.logit_rows])
        if decoder.logits_divisor != 1 or decoder.logits_softcap:
            bound = decoder.logits_divisor, decoder.logits_softcap
            rowwise.bound_logits(logits.numpy(), *bound).run(len(logits))
        return RunOutput(logits, hidden)

    def _begin(self, program: Program, token_ids: npt.NDArray[np.int64], x: Tensor) -> Tensor:
        """Embed and norm; see `Begin`."""
        decoder, rows = self.decoder, x.numpy()
        embedding = as_array(decoder.embedding)
        program.append(rowwise.embed(embedding, token_ids, decoder.embedding_factor, rows))
        normed = program.array(x.shape[1], dtype=operand_dtype(decoder.embedding.dtype))
        first = decoder.layers[0].norms[0]
        program.append(rowwise.rms_norm(rows, first, decoder.eps, as_array(normed)))
        return normed
