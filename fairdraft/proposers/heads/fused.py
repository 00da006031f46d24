"""Heads in few, large pieces on the CPU: the layers of the target's own fused way, and its kernels.

A head's module tree is made for training and for every device, and a drafted token is so little
work that its many small operators take as long as the products. `RecurrentPass` and `BlockPass` are
what drafters ask of a head; a head that does not fit goes through its modules.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fairdraft.heads.dflash import DFlashHead
from fairdraft.heads.eagle import EagleHead
from fairdraft.heads.eagle3.network import Eagle3FirstLayer, Eagle3Head
from fairdraft.heads.medusa import MedusaHead
from fairdraft.kv import KVStorage
from fairdraft.models import PagedAttention, kernel_fits, product
from fairdraft.models.cpu import rowwise
from fairdraft.models.cpu.families import LLAMA, one_rotation, unfit
from fairdraft.models.cpu.fused import FusedLayers
from fairdraft.models.cpu.layers import NONE, Floats, floats, join
from fairdraft.models.cpu.linear import append_product, as_array, operand_dtype
from fairdraft.models.cpu.program import Program
from fairdraft.proposers.heads.runtime import HeadRuntime, logits_of

_log = logging.getLogger("fairdraft")


class RecurrentPass(Protocol):
    """Runs a head whose rows read a token and a hidden state."""

    def run(
        self, token_ids: Tensor, hidden: Tensor, positions: Tensor, attention: PagedAttention
    ) -> tuple[Tensor, Tensor]:
        """Run rows once.

        Args:
            token_ids: [T] int64, each row's next token.
            hidden: [T, d], fused states or an earlier pass's second output.
            positions: [T] int64.
            attention: the step's, over the head's KV.

        Returns:
            [T, d] for `lm_head`, and [T, d] for the next draft token's row.
        """


class BlockPass(Protocol):
    """Runs a head that fills in a block of masked tokens."""

    def write(self, states: Tensor, positions: Tensor, slots: Tensor, storage: KVStorage) -> None:
        """Write the text's keys and values.

        Args:
            states: [T, n · d_target], hidden states side by side.
            positions: [T] int64.
            slots: [T] int64, where they go.
            storage: the head's KV.
        """

    def run(self, token_ids: Tensor, positions: Tensor, attention: PagedAttention) -> Tensor:
        """Return [T, d] for `lm_head`, of tokens and masks at positions [T]."""


def recurrent_pass(head: Any, runtime: HeadRuntime) -> RecurrentPass:
    """Return the quickest way through a head of EAGLE's kind."""
    passes: dict[type, Callable[[Any, HeadRuntime], RecurrentPass]]
    passes = {Eagle3Head: FusedEagle3, EagleHead: FusedEagle}
    if type(head) not in passes:
        _refuse(head, "its layers are not known")
    elif _fits(head):
        return passes[type(head)](head, runtime)
    return _RecurrentModule(head, runtime)


def block_pass(head: DFlashHead, runtime: HeadRuntime) -> BlockPass:
    """Return the quickest way through a DFlash head."""
    return FusedDFlash(head, runtime) if _fits(head) else _BlockModule(head, runtime)


def _fits(head: Any) -> bool:
    """Whether a fused pass computes what the head's network computes; logs why not."""
    reason = unfit(head, head.config.layer, head.rotary)
    if reason:
        _refuse(head, reason)
    return reason is None


def _refuse(head: nn.Module, reason: str) -> None:
    _log.debug("%s runs as its network is written: %s", type(head).__name__, reason)


class _FusedHead:
    """Embedding and layers of a head, shared by the fused passes.

    Args:
        head: the network; its weights are shared.
        runtime: whose embedding it reads.
        final_norm: [d], behind the last layer.
    """

    @torch.inference_mode()
    def __init__(self, head: Any, runtime: HeadRuntime, final_norm: Floats) -> None:
        config, rotation = head.config.layer, one_rotation(head.rotary)
        self.head = head
        self.size = int(config.hidden_size)
        self.eps = float(config.rms_norm_eps)
        self.embedding = as_array(runtime.embedding)
        self.operand = operand_dtype(head.fc.weight.dtype)
        layers = [LLAMA.layer(layer, config, rotation) for layer in head.layers]
        self.first_norm = layers[0].norms[0]
        self.layers = FusedLayers(layers, self.eps, final_norm, self._begin)

    def _begin(self, program: Program, token_ids: npt.NDArray[np.int64], x: Tensor) -> Tensor:
        """See `fused.Begin`."""
        raise NotImplementedError

    def _embed(self, program: Program, token_ids: npt.NDArray[np.int64], x: Tensor) -> None:
        program.append(rowwise.embed(self.embedding, token_ids, 1.0, x.numpy()))

    def _norm(self, program: Program, *parts: tuple[Tensor, Floats]) -> Tensor:
        """Norm (rows [M, d], weight [d] or `NONE`) each and lay them side by side for a product."""
        normed = program.array(len(parts) * self.size, dtype=self.operand)
        for i, (rows, weight) in enumerate(parts):
            at = as_array(normed), i * self.size
            program.append(rowwise.rms_norm(rows.numpy(), weight, self.eps, *at))
        return normed


class FusedEagle3(_FusedHead):
    """EAGLE-3's layers for one run.

    Args:
        head: the network; its weights are shared.
        runtime: whose embedding it reads.
    """

    def __init__(self, head: Eagle3Head, runtime: HeadRuntime) -> None:
        super().__init__(head, runtime, floats(head.norm.weight))
        self.config = head.config
        first = head.layers[0]
        assert isinstance(first, Eagle3FirstLayer)
        self.hidden_norm = floats(first.hidden_norm.weight)

    def _begin(self, program: Program, token_ids: npt.NDArray[np.int64], x: Tensor) -> Tensor:
        embeds = program.array(self.size)
        self._embed(program, token_ids, embeds)
        normed = self._norm(program, (embeds, self.first_norm), (x, self.hidden_norm))
        if self.config.norm_before_residual:
            program.append(rowwise.rms_norm(x.numpy(), self.hidden_norm, self.eps, x.numpy()))
        return normed

    def run(
        self, token_ids: Tensor, hidden: Tensor, positions: Tensor, attention: PagedAttention
    ) -> tuple[Tensor, Tensor]:
        """See `RecurrentPass`."""
        normed, output, _ = self.layers.run(token_ids, hidden, positions, attention)
        return normed, (normed if self.config.norm_output else output)


class FusedEagle(_FusedHead):
    """EAGLE's layers for one run; arguments as in `FusedEagle3`."""

    def __init__(self, head: EagleHead, runtime: HeadRuntime) -> None:
        super().__init__(head, runtime, NONE)
        self.fc = join(head.fc)

    def _begin(self, program: Program, token_ids: npt.NDArray[np.int64], x: Tensor) -> Tensor:
        embeds = program.array(self.size)
        self._embed(program, token_ids, embeds)
        both = self._norm(program, (embeds, NONE), (x, NONE))
        append_product(program, self.fc.weight, both, x)
        program.append(rowwise.add_bias(x.numpy(), self.fc.bias))
        return self._norm(program, (x, self.first_norm))

    def run(
        self, token_ids: Tensor, hidden: Tensor, positions: Tensor, attention: PagedAttention
    ) -> tuple[Tensor, Tensor]:
        """See `RecurrentPass`."""
        normed, output, _ = self.layers.run(token_ids, hidden, positions, attention)
        return normed, output


class FusedDFlash(_FusedHead):
    """DFlash's layers for one run; arguments as in `FusedEagle3`."""

    def __init__(self, head: DFlashHead, runtime: HeadRuntime) -> None:
        super().__init__(head, runtime, floats(head.norm.weight))
        self.hidden_norm = floats(head.hidden_norm.weight)

    def _begin(self, program: Program, token_ids: npt.NDArray[np.int64], x: Tensor) -> Tensor:
        self._embed(program, token_ids, x)
        return self._norm(program, (x, self.first_norm))

    @torch.inference_mode()
    def write(self, states: Tensor, positions: Tensor, slots: Tensor, storage: KVStorage) -> None:
        """See `BlockPass`."""
        rows, layers = len(states), self.layers.layers
        seen = product(self.head.fc.weight, states).numpy()
        normed = torch.empty(rows, self.size, dtype=self.operand)
        rowwise.rms_norm(seen, self.hidden_norm, self.eps, as_array(normed)).run(rows)
        rotation = layers[0].rotation
        cos, sin = np.empty((2, rows, len(rotation.frequencies)), np.float32)
        rotation.at(positions.numpy(), cos, sin).run(rows)
        for layer, keys, values in zip(layers, storage.keys, storage.values, strict=True):
            first = layer.num_heads * keys.shape[2]  # keys and values come behind the queries
            rowwise.rotate_and_store(
                product(layer.qkv.weight[first:], normed).numpy(),
                layer.qkv.bias[first:],
                cos,
                sin,
                NONE,
                layer.k_norm,
                self.eps,
                slots.numpy(),
                as_array(keys.new_empty(rows, 0, keys.shape[2])),
                as_array(keys),
                as_array(values),
            ).run(rows)

    def run(self, token_ids: Tensor, positions: Tensor, attention: PagedAttention) -> Tensor:
        """See `BlockPass`."""
        return self.layers.run(token_ids, None, positions, attention)[0]


class _RecurrentModule:
    """The network as it is."""

    def __init__(self, head: Any, runtime: HeadRuntime) -> None:
        self.head = head
        self.runtime = runtime

    def run(
        self, token_ids: Tensor, hidden: Tensor, positions: Tensor, attention: PagedAttention
    ) -> tuple[Tensor, Tensor]:
        """See `RecurrentPass`."""
        embeds = self.runtime.embed(token_ids)
        found: tuple[Tensor, Tensor] = self.head(
            embeds, hidden, positions, self.runtime.attend(attention)
        )
        return found


class _BlockModule:
    """The network as it is."""

    def __init__(self, head: DFlashHead, runtime: HeadRuntime) -> None:
        self.head = head
        self.runtime = runtime

    def write(self, states: Tensor, positions: Tensor, slots: Tensor, storage: KVStorage) -> None:
        """See `BlockPass`."""
        for layer, (keys, values) in enumerate(self.head.context(states, positions)):
            storage.keys[layer][slots] = keys
            storage.values[layer][slots] = values

    def run(self, token_ids: Tensor, positions: Tensor, attention: PagedAttention) -> Tensor:
        """See `BlockPass`."""
        embeds = self.runtime.embed(token_ids)
        found: Tensor = self.head(embeds, positions, self.runtime.attend(attention))
        return found


class MedusaPass:
    """Medusa's heads for one draft: one product for all first layers, one for the vocabulary.

    Args:
        head: the network; its weights are shared.
        num_heads: how many of the heads are asked.
    """

    @torch.inference_mode()
    def __init__(self, head: MedusaHead, num_heads: int) -> None:
        self.head = head
        self.num_heads = num_heads
        blocks: Any = head.blocks[:num_heads]
        linears = [block.layers[0] for block in blocks]
        self.first = None
        if head.config.num_layers > 1:
            _refuse(head, f"its heads have {head.config.num_layers} layers each")
        elif not all(kernel_fits(linear.weight) for linear in linears):
            _refuse(head, f"the kernels cannot read {linears[0].weight.dtype} weights")
        else:
            self.first = join(*linears)

    def run(self, ends: Tensor) -> list[Tensor]:
        """Return logits [R, drafter's vocabulary] per head, of last hidden states [R, d]."""
        states = self._states(ends)
        if not self.head.config.shared:
            return [logits_of(self.head.vocabulary(i), states[:, i]) for i in range(self.num_heads)]
        logits = logits_of(self.head.vocabulary(0), states.flatten(0, 1))
        return list(logits.view(len(ends), self.num_heads, -1).unbind(1))

    def _states(self, ends: Tensor) -> Tensor:
        """Return the state [R, heads, d] of each head."""
        if self.first is None:
            return torch.stack(self.head(ends)[: self.num_heads], 1)
        states = ends.new_empty(len(ends), self.num_heads, ends.shape[1])
        inner = product(self.first.weight, ends).numpy()
        rowwise.add_silu(as_array(ends), inner, self.first.bias, as_array(states)).run(len(ends))
        return states
