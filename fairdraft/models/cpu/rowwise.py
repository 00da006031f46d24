"""What stands between a layer's products on the CPU: norms, gates, rotation; compiled by numba.

Each number of a result is computed by the same instructions in the same order however many rows
run beside it, and no row reads another's: a piece of a call is a few rows. Arrays of rows lie
without gaps and may have more rows than a call is run on. bfloat16 arrays come in as their uint16
bits, float16 arrays as int16. Norm weights and biases are float32; an empty one stands for none.
"""
# mypy: disable-error-code="no-untyped-def,no-untyped-call,misc,no-any-unimported"

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from numba import njit

from fairdraft.compiled import array_at
from fairdraft.models.cpu.program import Call
from fairdraft.models.cpu.threads import Kernel
from fairdraft.models.cpu.vectors import exp, load, store

# What lets LLVM turn a loop into vector code: sums in any order, and division without a check.
VECTOR: dict[str, Any] = {
    "fastmath": {"reassoc", "contract", "nsz"},
    "error_model": "numpy",
}
ROWS = 8  # that a piece takes: threads share a prompt, a few rows wake none


def _call(kernel: Kernel, *arguments: Any) -> Call:
    """Lay out a kernel's arguments: address and width of an array, the bits of a float, an int."""
    numbers: list[int] = []
    for argument in arguments:
        if isinstance(argument, np.ndarray):
            assert argument.flags.c_contiguous
            numbers += argument.ctypes.data, argument.shape[-1]
        elif isinstance(argument, float):
            numbers.append(int(np.float64(argument).view(np.int64)))
        else:
            numbers.append(argument)
    return Call(kernel, numbers, rows=ROWS, held=arguments)


@njit
def _own(a, number):
    """First row of a piece, and the one behind its last."""
    return number * ROWS, min(a[0], (number + 1) * ROWS)


@njit(inline="always")
def _rows(a, at, dtype):
    """The array [rows, width] that `_call` laid out at an argument."""
    return array_at(a[at], (a[0], a[at + 1]), dtype)


@njit
def _vector(a, at):
    """The float32 array that `_call` laid out at an argument."""
    return array_at(a[at], (a[at + 1],), np.float32)


@njit
def _real(a, at):
    """The float that `_call` laid out at an argument."""
    return np.int64(a[at]).view(np.float64)


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
    for i in range(vector.size):
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


@functools.cache
def _embed(dtype):
    def piece(a, number):
        embedding, tokens = a[1], array_at(a[3], (a[0],), np.int64)
        factor, x = np.float32(_real(a, 5)), _rows(a, 6, np.float32)
        first, last = _own(a, number)
        for r in range(first, last):
            token, row = tokens[r], x[r]
            source = array_at(embedding, (token + 1, row.size), dtype)[token]
            for i in range(row.size):
                row[i] = factor * load(source, i)

    return Kernel(piece, **VECTOR)


def embed(embedding, token_ids, factor, x) -> Call:
    """x = factor · embedding[token_ids].

    Args:
        embedding: [V, d], float32 or 16-bit floats.
        token_ids: [M] int64.
        factor: on every number.
        x: [M, d] float32.
    """
    return _call(_embed(embedding.dtype.type), embedding, token_ids, float(factor), x)


@njit(**VECTOR)
def _write_normed(row, weight, eps, result):
    if weight.size:
        scale = _inverse_rms(row, eps)
        for i in range(row.size):
            store(result, i, row[i] * scale * weight[i])
    else:
        for i in range(row.size):
            store(result, i, row[i])


@functools.cache
def _rms_norm(dtype):
    def piece(a, number):
        x, weight, eps, out = (
            _rows(a, 1, np.float32),
            _vector(a, 3),
            _real(a, 5),
            _rows(a, 6, dtype),
        )
        begin, end = a[8], a[8] + a[2]
        first, last = _own(a, number)
        for r in range(first, last):
            _write_normed(x[r], weight, eps, out[r, begin:end])

    return Kernel(piece, **VECTOR)


def rms_norm(x, weight, eps, out, column=0) -> Call:
    """out = x / rms(x) · weight, row by row; out = x where the weight is empty.

    Args:
        x: [M, d] float32.
        weight: [d].
        eps: added to the mean square.
        out: [M, columns], float32 or 16-bit floats, d columns of which are written. May be x.
        column: the first of them.
    """
    return _call(_rms_norm(out.dtype.type), x, weight, float(eps), out, column)


@functools.cache
def _add_rms_norm(dtype):
    def piece(a, number):
        x, addend = _rows(a, 1, np.float32), _rows(a, 3, np.float32)
        bias, post_norm, factor = _vector(a, 5), _vector(a, 7), np.float32(_real(a, 9))
        weight, eps, out = _vector(a, 10), _real(a, 12), _rows(a, 13, dtype)
        first, last = _own(a, number)
        for r in range(first, last):
            added = addend[r]
            _add_scaled(added, np.float32(1), bias)
            _normalise(added, post_norm, eps)
            _add_scaled(x[r], factor, added)
            _write_normed(x[r], weight, eps, out[r])

    return Kernel(piece, **VECTOR)


def add_rms_norm(x, addend, bias, post_norm, factor, weight, eps, out) -> Call:
    """x += factor · post_norm(addend + bias), then out = rms_norm(x): one residual connection.

    Args:
        x: [M, d] float32.
        addend: [M, d] float32, overwritten.
        bias, post_norm: [d], of the product that made the addend.
        factor: on what is added.
        weight, eps, out: as in `rms_norm`, out without columns left.
    """
    numbers = x, addend, bias, post_norm, float(factor), weight, float(eps), out
    return _call(_add_rms_norm(out.dtype.type), *numbers)


@njit(**VECTOR)
def _silu(x):
    return x


@njit(**VECTOR)
def _gelu(x):
    """½ (1 + tanh u) is 1 / (1 + exp(−2u)), so that the two gates differ in the exponent alone."""
    return (
        np.float32(2 * math.sqrt(2 / math.pi)) * x * (np.float32(1) + np.float32(0.044715) * x * x)
    )


@functools.cache
def _multiply(exponent, dtype):
    def piece(a, number):
        gate_up, bias, out = _rows(a, 1, np.float32), _vector(a, 3), _rows(a, 5, dtype)
        f = a[6]
        first, last = _own(a, number)
        for r in range(first, last):
            _add_scaled(gate_up[r], np.float32(1), bias)
            gate, up, row = gate_up[r, :f], gate_up[r, f:], out[r]
            for i in range(f):
                store(row, i, gate[i] / (np.float32(1) + exp(-exponent(gate[i]))) * up[i])

    return Kernel(piece, **VECTOR)


def silu_multiply(gate_up, bias, out) -> Call:
    """out = silu(gate) · up.

    Args:
        gate_up: [M, 2 · f] float32, overwritten.
        bias: [2 · f], of the product that made it.
        out: [M, f], float32 or 16-bit floats.
    """
    return _call(_multiply(_silu, out.dtype.type), gate_up, bias, out)


def gelu_multiply(gate_up, bias, out) -> Call:
    """out = gelu(gate) · up, the gelu in its tanh form; arguments as in `silu_multiply`."""
    return _call(_multiply(_gelu, out.dtype.type), gate_up, bias, out)


@functools.cache
def _add_silu(dtype):
    def piece(a, number):
        x, inner, bias = _rows(a, 1, dtype), _rows(a, 3, np.float32), _vector(a, 5)
        d = a[2]
        heads = a[4] // d
        out = array_at(a[7], (a[0], heads, d), dtype)
        first, last = _own(a, number)
        for r in range(first, last):
            _add_scaled(inner[r], np.float32(1), bias)
            for h in range(heads):
                row, source, target = inner[r, h * d : (h + 1) * d], x[r], out[r, h]
                for i in range(d):
                    store(target, i, load(source, i) + row[i] / (np.float32(1) + exp(-row[i])))

    return Kernel(piece, **VECTOR)


def add_silu(x, inner, bias, out) -> Call:
    """out[r, h] = x[r] + silu(inner[r, h] + bias[h]): residual blocks side by side.

    Args:
        x: [M, d], float32 or 16-bit floats.
        inner: [M, H · d] float32, overwritten.
        bias: [H · d].
        out: [M, H, d], in the format of x.
    """
    return _call(_add_silu(out.dtype.type), x, inner, bias, out)


@functools.cache
def _add_bias():
    def piece(a, number):
        x, bias = _rows(a, 1, np.float32), _vector(a, 3)
        first, last = _own(a, number)
        for r in range(first, last):
            _add_scaled(x[r], np.float32(1), bias)

    return Kernel(piece, **VECTOR)


def add_bias(x, bias) -> Call:
    """x += bias: x [M, d] float32, bias [d]."""
    return _call(_add_bias(), x, bias)


@functools.cache
def _angles():
    def piece(a, number):
        positions, frequencies = array_at(a[1], (a[0],), np.int64), _vector(a, 3)
        factor, cos, sin = np.float32(_real(a, 5)), _rows(a, 6, np.float32), _rows(a, 8, np.float32)
        first, last = _own(a, number)
        for r in range(first, last):
            position = np.float32(positions[r])
            for i in range(frequencies.size):
                angle = position * frequencies[i]
                cos[r, i] = np.float32(math.cos(angle)) * factor
                sin[r, i] = np.float32(math.sin(angle)) * factor

    return Kernel(piece, **VECTOR)


def angles(positions, frequencies, factor, cos, sin) -> Call:
    """Cosines and sines of a rotary embedding.

    Args:
        positions: [M] int64.
        frequencies: [h] float32, radians a position.
        factor: on both results.
        cos, sin: [M, h] float32.
    """
    return _call(_angles(), positions, frequencies, float(factor), cos, sin)


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


@functools.cache
def _rotate_and_store(dtype):
    def piece(a, number):
        num_heads, kv_heads, dim = a[3], a[4], a[5]
        qkv, bias, eps = _rows(a, 6, np.float32), _vector(a, 8), _real(a, 18)
        cos, sin = _rows(a, 10, np.float32), _rows(a, 12, np.float32)
        q_norm, k_norm = _vector(a, 14), _vector(a, 16)
        slots = array_at(a[19], (a[0],), np.int64)
        queries = array_at(a[21], (a[0], num_heads, dim), dtype)
        first_key, first_value = num_heads * dim, (num_heads + kv_heads) * dim
        first, last = _own(a, number)
        for r in range(first, last):
            row, slot = qkv[r], slots[r]
            keys = array_at(a[1], (slot + 1, kv_heads, dim), dtype)[slot]
            values = array_at(a[2], (slot + 1, kv_heads, dim), dtype)[slot]
            _add_scaled(row, np.float32(1), bias)
            _normalise(row[:first_key], q_norm, eps)
            _normalise(row[first_key:first_value], k_norm, eps)
            for h in range(num_heads):
                _rotate(row[h * dim : (h + 1) * dim], cos[r], sin[r], queries[r, h])
            for h in range(kv_heads):
                key, value = row[first_key + h * dim :], row[first_value + h * dim :]
                _rotate(key[:dim], cos[r], sin[r], keys[h])
                target = values[h]
                for i in range(dim):
                    store(target, i, value[i])

    return Kernel(piece, **VECTOR)


def rotate_and_store(
    qkv, bias, cos, sin, q_norm, k_norm, eps, slots, queries, keys, values
) -> Call:
    """Normalise and rotate queries and keys, and write keys and values to their slots.

    Args:
        qkv: [M, (num_heads + 2 · kv_heads) · D] float32, overwritten.
        bias: as long as a row of it, of the product that made it.
        cos, sin: [M, h] float32 of each row's position; the first 2 · h ≤ D numbers of a head turn,
            number i with number h + i.
        q_norm, k_norm: [D], a norm of each head; or as long as all heads, one norm over all.
        eps: of those norms.
        slots: [M] int64, where each row's key and value go.
        queries: [M, num_heads, D], float32 or 16-bit floats: where the queries go.
        keys, values: [slots, kv_heads, D], in the format of the queries; the call does not hold
            them, and a program takes its own.
    """
    return _call(
        _rotate_and_store(queries.dtype.type),
        keys.ctypes.data,
        values.ctypes.data,
        queries.shape[1],
        keys.shape[1],
        keys.shape[2],
        qkv,
        bias,
        cos,
        sin,
        q_norm,
        k_norm,
        float(eps),
        slots,
        queries,
    )


@functools.cache
def _bound_logits():
    def piece(a, number):
        logits, factor = _rows(a, 1, np.float32), np.float32(1 / _real(a, 3))
        softcap = np.float32(_real(a, 4))
        first, last = _own(a, number)
        for r in range(first, last):
            row = logits[r]
            if factor != 1:
                for i in range(row.size):
                    row[i] *= factor
            if softcap:
                inverse = np.float32(1) / softcap
                for i in range(row.size):
                    row[i] = softcap * _tanh(row[i] * inverse)

    return Kernel(piece, **VECTOR)


def bound_logits(logits, divisor, softcap) -> Call:
    """logits /= divisor, then softcap · tanh(logits / softcap) where that is not 0; in place.

    Args:
        logits: [R, V] float32.
        divisor: of every logit.
        softcap: the bound.
    """
    return _call(_bound_logits(), logits, float(divisor), float(softcap))
