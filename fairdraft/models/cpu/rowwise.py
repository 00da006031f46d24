"""What stands between a layer's products on the CPU: norms, gates, rotation; compiled by numba.

Each number of a result is computed by the same instructions in the same order however many rows
run beside it, and no row reads another's: ranges of rows may run apart. bfloat16 arrays come in as
their uint16 bits. Norm weights and biases are float32; an empty one stands for none.
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
def _tanh(x):
    """Return the hyperbolic tangent of a float32, to about one unit in the last place.

    A polynomial where the exponential would cancel (Cephes' tanhf); LLVM makes vector code of it.
    """
    square = x * x
    p = np.float32(-5.70498872745e-3)
    p = p * square + np.float32(2.06390887954e-2)
    p = p * square - np.float32(5.37397155531e-2)
    p = p * square + np.float32(1.33314422036e-1)
    p = p * square - np.float32(3.33332819422e-1)
    near = p * square * x + x
    far = np.float32(1) - np.float32(2) / (exp(np.float32(2) * x) + np.float32(1))
    return near if abs(x) < np.float32(0.625) else far


@njit(**VECTOR)
def _add_scaled(totals, factor, vector):
    for i in range(totals.size):
        totals[i] += factor * vector[i]


@njit(**VECTOR)
def _inverse_rms(row, eps):
    total = np.float32(0)
    for i in range(row.size):
        total += row[i] * row[i]
    return np.float32(1 / math.sqrt(total / row.size + eps))


@njit(**VECTOR)
def _normalise(row, weight, eps):
    """Norm each stretch of `row` that is as long as the weight, in place; an empty weight none."""
    span = weight.size
    for start in range(0, row.size if span else 0, max(span, 1)):
        part = row[start : start + span]
        scale = _inverse_rms(part, eps)
        for i in range(span):
            part[i] *= scale * weight[i]


@njit(cache=True, **VECTOR)
def embed(embedding, token_ids, factor, x):
    """x = factor · embedding[token_ids].

    Args:
        embedding: [V, d], float32 or bfloat16 bits.
        token_ids: [M] int64.
        factor: on every number.
        x: [M, d] float32.
    """
    factor = np.float32(factor)
    for r in range(x.shape[0]):
        source, row = embedding[token_ids[r]], x[r]
        for i in range(row.size):
            row[i] = factor * load(source, i)


@njit(cache=True, **VECTOR)
def rms_norm(x, weight, eps, out, column=0):
    """out = x / rms(x) · weight, row by row; out = x where the weight is empty.

    Args:
        x: [M, d] float32.
        weight: [d].
        eps: added to the mean square.
        out: [M, columns], float32 or bfloat16 bits, d columns of which are written. May be x.
        column: the first of them.
    """
    for r in range(x.shape[0]):
        row = x[r]
        result = out[r, column : column + row.size]
        if weight.size:
            scale = _inverse_rms(row, eps)
            for i in range(row.size):
                store(result, i, row[i] * scale * weight[i])
        else:
            for i in range(row.size):
                store(result, i, row[i])


@njit(cache=True, **VECTOR)
def add_rms_norm(x, addend, bias, post_norm, factor, weight, eps, out):
    """x += factor · post_norm(addend + bias), then out = rms_norm(x): one residual connection.

    Args:
        x: [M, d] float32.
        addend: [M, d] float32, overwritten.
        bias, post_norm: [d], of the product that made the addend.
        factor: on what is added.
        weight, eps, out: as in `rms_norm`.
    """
    factor = np.float32(factor)
    for r in range(x.shape[0]):
        added = addend[r]
        if bias.size:
            _add_scaled(added, np.float32(1), bias)
        _normalise(added, post_norm, eps)
        _add_scaled(x[r], factor, added)
    rms_norm(x, weight, eps, out)


@njit(cache=True, **VECTOR)
def silu_multiply(gate_up, bias, out):
    """out = silu(gate) · up.

    Args:
        gate_up: [M, 2 · f] float32, overwritten.
        bias: [2 · f], of the product that made it.
        out: [M, f], float32 or bfloat16 bits.
    """
    f = gate_up.shape[1] // 2
    for r in range(gate_up.shape[0]):
        if bias.size:
            _add_scaled(gate_up[r], np.float32(1), bias)
        gate, up, row = gate_up[r, :f], gate_up[r, f:], out[r]
        for i in range(f):
            store(row, i, gate[i] / (np.float32(1) + exp(-gate[i])) * up[i])


@njit(cache=True, **VECTOR)
def gelu_multiply(gate_up, bias, out):
    """out = gelu(gate) · up, the gelu in its tanh form; arguments as in `silu_multiply`.

    ½ (1 + tanh u) is 1 / (1 + exp(−2u)), so the two gates differ in the exponent alone.
    """
    f = gate_up.shape[1] // 2
    twice, cubic = np.float32(2 * math.sqrt(2 / math.pi)), np.float32(0.044715)
    for r in range(gate_up.shape[0]):
        if bias.size:
            _add_scaled(gate_up[r], np.float32(1), bias)
        gate, up, row = gate_up[r, :f], gate_up[r, f:], out[r]
        for i in range(f):
            exponent = twice * gate[i] * (np.float32(1) + cubic * gate[i] * gate[i])
            store(row, i, gate[i] / (np.float32(1) + exp(-exponent)) * up[i])


@njit(cache=True, **VECTOR)
def add_silu(x, inner, bias, out):
    """out[r, h] = x[r] + silu(inner[r, h] + bias[h]): residual blocks side by side.

    Args:
        x: [M, d], float32 or bfloat16 bits.
        inner: [M, H · d] float32.
        bias: [H · d].
        out: [M, H, d], float32 or bfloat16 bits.
    """
    d = x.shape[1]
    for r in range(x.shape[0]):
        if bias.size:
            _add_scaled(inner[r], np.float32(1), bias)
        for h in range(out.shape[1]):
            row, source, target = inner[r, h * d : (h + 1) * d], x[r], out[r, h]
            for i in range(d):
                store(target, i, load(source, i) + row[i] / (np.float32(1) + exp(-row[i])))


@njit(cache=True, **VECTOR)
def angles(positions, frequencies, factor, cos, sin):
    """Cosines and sines of a rotary embedding.

    Args:
        positions: [M] int64.
        frequencies: [h] float32, radians a position.
        factor: on both results.
        cos, sin: [M, h] float32.
    """
    factor = np.float32(factor)
    for r in range(cos.shape[0]):
        position = np.float32(positions[r])
        for i in range(cos.shape[1]):
            angle = position * frequencies[i]
            cos[r, i] = np.float32(math.cos(angle)) * factor
            sin[r, i] = np.float32(math.sin(angle)) * factor


@njit(**VECTOR)
def _rotate(head, cos, sin, out):
    """out = head with its first 2 · cos.size numbers turned, the others as they are."""
    half = cos.size
    for i in range(half):
        store(out, i, head[i] * cos[i] - head[half + i] * sin[i])
    for i in range(half):
        store(out, half + i, head[half + i] * cos[i] + head[i] * sin[i])
    for i in range(2 * half, head.size):
        store(out, i, head[i])


@njit(cache=True, **VECTOR)
def rotate_and_store(qkv, bias, cos, sin, q_norm, k_norm, eps, slots, queries, keys, values):
    """Normalise and rotate queries and keys, and write keys and values to their slots.

    Args:
        qkv: [M, (num_heads + 2 · kv_heads) · D] float32, overwritten.
        bias: as long as a row of it, of the product that made it.
        cos, sin: [M, h] float32 of each row's position; the first 2 · h ≤ D numbers of a head turn,
            number i with number h + i.
        q_norm, k_norm: [D], a norm of each head; or as long as all heads, one norm over all.
        eps: of those norms.
        slots: [M] int64, where each row's key and value go.
        queries: [M, num_heads, D], float32 or bfloat16 bits: where the queries go.
        keys, values: [slots, kv_heads, D], float32 or bfloat16 bits.
    """
    num_heads, kv_heads, dim = queries.shape[1], keys.shape[1], keys.shape[2]
    first_key, first_value = num_heads * dim, (num_heads + kv_heads) * dim
    for r in range(qkv.shape[0]):
        row, slot = qkv[r], slots[r]
        if bias.size:
            _add_scaled(row, np.float32(1), bias)
        _normalise(row[:first_key], q_norm, eps)
        _normalise(row[first_key:first_value], k_norm, eps)
        for h in range(num_heads):
            _rotate(row[h * dim : (h + 1) * dim], cos[r], sin[r], queries[r, h])
        for h in range(kv_heads):
            key, value = row[first_key + h * dim :], row[first_value + h * dim :]
            _rotate(key[:dim], cos[r], sin[r], keys[slot, h])
            target = values[slot, h]
            for i in range(dim):
                store(target, i, value[i])


@njit(cache=True, **VECTOR)
def bound_logits(logits, divisor, softcap):
    """logits /= divisor, then softcap · tanh(logits / softcap) where that is not 0; in place.

    Args:
        logits: [R, V] float32.
        divisor: of every logit.
        softcap: the bound.
    """
    factor, softcap = np.float32(1 / divisor), np.float32(softcap)
    for r in range(logits.shape[0]):
        row = logits[r]
        if factor != 1:
            for i in range(row.size):
                row[i] *= factor
        if softcap:
            inverse = np.float32(1) / softcap
            for i in range(row.size):
                row[i] = softcap * _tanh(row[i] * inverse)
