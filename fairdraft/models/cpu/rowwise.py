"""What stands between a layer's products on the CPU: norms, gates, rotation; compiled by numba.

Each number of a result is computed by the same instructions in the same order however many rows
run beside it. bfloat16 arrays come in as their uint16 bits.
"""
# mypy: disable-error-code="no-untyped-def,no-untyped-call,misc,no-any-unimported"

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from fairdraft.models.cpu.vectors import exp, load, store

# What lets LLVM turn a loop into vector code: sums in any order, and division without a check.
VECTOR: dict[str, Any] = {
    "fastmath": {"reassoc", "contract", "nsz"},
    "error_model": "numpy",
}


@njit(**VECTOR)
def _dot(query, key):
    total = np.float32(0)
    for i in range(query.size):
        total += query[i] * load(key, i)
    return total


@njit(**VECTOR)
def _add_scaled(totals, factor, vector):
    for i in range(totals.size):
        totals[i] += factor * vector[i]


@njit(cache=True, **VECTOR)
def rms_norm(x, weight, eps, out):
    """out = x / rms(x) · weight, row by row. x [M, d] float32; out [M, d] float32 or bf16 bits."""
    for r in range(x.shape[0]):
        row, result = x[r], out[r]
        scale = np.float32(1 / math.sqrt(_dot(row, row) / row.size + eps))
        for i in range(row.size):
            store(result, i, row[i] * scale * weight[i])


@njit(cache=True, **VECTOR)
def add_rms_norm(x, addend, weight, eps, out):
    """x += addend, then out = rms_norm(x): one residual connection. Shapes as in `rms_norm`."""
    for r in range(x.shape[0]):
        _add_scaled(x[r], np.float32(1), addend[r])
    rms_norm(x, weight, eps, out)


@njit(cache=True, **VECTOR)
def silu_multiply(gate_up, out):
    """out = silu(gate) · up. gate_up [M, 2·f] float32; out [M, f] float32 or bf16 bits."""
    f = gate_up.shape[1] // 2
    for r in range(gate_up.shape[0]):
        gate, up, row = gate_up[r, :f], gate_up[r, f:], out[r]
        for i in range(f):
            store(row, i, gate[i] / (np.float32(1) + exp(-gate[i])) * up[i])


@njit(cache=True, **VECTOR)
def rotate_and_store(qkv, cos, sin, q_norm, k_norm, eps, slots, queries, keys, values):
    """Normalise and rotate queries and keys, and write keys and values to their slots.

    Args:
        qkv: [M, (num_heads + 2 · kv_heads) · D] float32; norms overwrite it.
        cos, sin: [M, D] float32, the model's rotary embedding at each row's position.
        q_norm, k_norm: [D] float32 norm weights, or empty where the model has none.
        eps: of those norms.
        slots: [M] int64, where each row's key and value go.
        queries: [M, num_heads, D], the keys' dtype: where the queries go.
        keys, values: [slots, kv_heads, D], float32 or bfloat16 bits.
    """
    num_heads, kv_heads, dim = queries.shape[1], keys.shape[1], keys.shape[2]
    half = dim // 2
    turned = np.empty(dim, np.float32)
    for r in range(qkv.shape[0]):
        slot = slots[r]
        for h in range(num_heads + kv_heads):
            head = qkv[r, h * dim : (h + 1) * dim]
            norm = q_norm if h < num_heads else k_norm
            if norm.size:
                scale = np.float32(1 / math.sqrt(_dot(head, head) / dim + eps))
                for i in range(dim):
                    head[i] *= scale * norm[i]
            for i in range(half):
                turned[i] = head[i] * cos[r, i] - head[half + i] * sin[r, i]
                turned[half + i] = head[half + i] * cos[r, half + i] + head[i] * sin[r, half + i]
            target = queries[r, h] if h < num_heads else keys[slot, h - num_heads]
            for i in range(dim):
                store(target, i, turned[i])
        for h in range(kv_heads):
            start, value = (num_heads + kv_heads + h) * dim, values[slot, h]
            for i in range(dim):
                store(value, i, qkv[r, start + i])
