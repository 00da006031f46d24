"""Decoder layers as data: one record says which products, norms and factors a layer has.

A record leaves out what its family does not have, so that one loop runs every family. Weights are
shared with the modules they were read from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fairdraft.models.cpu import rowwise
from fairdraft.models.cpu.program import Call

Floats = npt.NDArray[np.float32]
Gate = Callable[[Floats, Floats, npt.NDArray[Any]], Call]

NONE: Floats = np.zeros(0, np.float32)  # a norm or a bias that is not there


def _none() -> Floats:
    return NONE


# Activations of the gate, by the name that transformers' configurations give them.
GATES: dict[str, Gate] = {
    "silu": rowwise.silu_multiply,
    "gelu_pytorch_tanh": rowwise.gelu_multiply,
}


@dataclass(frozen=True, eq=False)
class Rotation:
    """A rotary embedding.

    Args:
        frequencies: [h], radians a position.
        factor: on cosines and sines.
    """

    frequencies: Floats
    factor: float = 1.0

    def at(self, positions: npt.NDArray[np.int64], cos: Floats, sin: Floats) -> Call:
        """Return the call that fills in cosines and sines [M, h] at positions [M]."""
        return rowwise.angles(positions, self.frequencies, self.factor, cos, sin)


NO_ROTATION = Rotation(NONE)


@dataclass(frozen=True)
class Product:
    """A linear map: weight [N, K], and a bias [N] or `NONE`."""

    weight: Tensor
    bias: Floats = field(default_factory=_none)


@dataclass(frozen=True)
class Layer:
    """One decoder layer: norm → attention → norm → residual, norm → gated MLP → norm → residual.

    Args:
        qkv: queries, keys and values of all heads, in this order.
        output: of the attention.
        gate_up: gate, then up.
        down: of the MLP.
        gate: the activation.
        num_heads: query heads.
        scale: factor on the attention's scores.
        norms: [d] ahead of the attention, behind it, ahead of the MLP, behind it; each or `NONE`.
        q_norm, k_norm: as in `rowwise.rotate_and_store`.
        rotation: of queries and keys.
        softcap: bound on the attention's scores; None is off.
        residual: factor on what is added to the residual.
    """

    qkv: Product
    output: Product
    gate_up: Product
    down: Product
    gate: Gate
    num_heads: int
    scale: float
    norms: tuple[Floats, Floats, Floats, Floats]
    rotation: Rotation
    q_norm: Floats = field(default_factory=_none)
    k_norm: Floats = field(default_factory=_none)
    softcap: float | None = None
    residual: float = 1.0


@dataclass(frozen=True)
class Decoder:
    """A causal language model.

    Args:
        embedding: [V, d].
        layers: in their order.
        norm: [d], behind the last layer.
        eps: of all norms.
        head: [V, d].
        embedding_factor: on embeddings.
        logits_divisor: of logits.
        logits_softcap: bound on the divided logits; 0 is off.
    """

    embedding: Tensor
    layers: Sequence[Layer]
    norm: Floats
    eps: float
    head: Tensor
    embedding_factor: float = 1.0
    logits_divisor: float = 1.0
    logits_softcap: float = 0.0


def floats(tensor: Tensor) -> Floats:
    """Return a parameter's numbers in float32."""
    array: Floats = tensor.detach().float().numpy()
    return array


def join(*linears: nn.Linear) -> Product:
    """Make one product of several with the same input.

    Their weights become views of the joined one, so that memory is held once.
    """
    first = linears[0]
    bias = NONE if first.bias is None else np.concatenate([floats(m.bias) for m in linears])
    if len(linears) == 1:
        return Product(first.weight.data, bias)
    joined = torch.cat([linear.weight.data for linear in linears])
    start = 0
    for linear in linears:
        end = start + linear.out_features
        linear.weight.data = joined[start:end]
        start = end
    return Product(joined, bias)
