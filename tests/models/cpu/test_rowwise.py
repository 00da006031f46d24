"""The kernels between products: against torch, and row by row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from fairdraft.models.cpu import rowwise

ROWS = 2 * rowwise.ROWS + 5  # of several pieces
SIZE, HEADS, KV_HEADS, DIM = 48, 3, 2, 16
Array = npt.NDArray[Any]
NONE = np.zeros(0, np.float32)


def numbers(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(0, 3, shape).astype(np.float32)


def gate(kernel: Any, bias: Array, dtype: type) -> Callable[[int, int], Array]:
    """The kernel over rows first … last − 1 of one and the same input."""

    def run(first: int, last: int) -> Array:
        out = np.zeros((last - first, SIZE), dtype)
        kernel(numbers(ROWS, 2 * SIZE)[first:last], bias, out).run(last - first)
        return out

    return run


def residual(bias: Array, post_norm: Array, weight: Array, dtype: type) -> Any:
    def run(first: int, last: int) -> Array:
        x, added = (numbers(ROWS, SIZE, seed=i)[first:last] for i in (1, 2))
        out = np.zeros((last - first, SIZE), dtype)
        call = rowwise.add_rms_norm(x, added, bias, post_norm, 0.7, weight, 1e-5, out)
        call.run(last - first)
        return np.concatenate([x, out], axis=1)

    return run


def rotation(bias: Array, q_norm: Array, k_norm: Array, half: int, dtype: type) -> Any:
    def run(first: int, last: int) -> Array:
        rows = last - first
        qkv = numbers(ROWS, (HEADS + 2 * KV_HEADS) * DIM, seed=3)[first:last]
        cos, sin = np.empty((rows, half), np.float32), np.empty((rows, half), np.float32)
        positions = np.arange(100, 100 + ROWS)[first:last]
        rowwise.angles(positions, numbers(half, seed=4), 1.1, cos, sin).run(rows)
        queries = np.zeros((rows, HEADS, DIM), dtype)
        keys, values = np.zeros((2, ROWS, KV_HEADS, DIM), dtype)
        slots = np.arange(ROWS)[::-1][first:last].copy()
        rowwise.rotate_and_store(
            qkv, bias, cos, sin, q_norm, k_norm, 1e-5, slots, queries, keys, values
        ).run(rows)
        read = [array.reshape(rows, -1) for array in (queries, keys[slots], values[slots])]
        return np.concatenate(read, axis=1)

    return run


def logits(first: int, last: int) -> Array:
    out = 10 * numbers(ROWS, 321)[first:last]
    rowwise.bound_logits(out, 3.0, 5.0).run(last - first)
    return out


def embedded(first: int, last: int) -> Array:
    x = np.zeros((last - first, SIZE), np.float32)
    table = torch.from_numpy(numbers(9, SIZE)).bfloat16().view(torch.uint16).numpy()
    rowwise.embed(table, (np.arange(ROWS) * 5 % 9)[first:last], 1.5, x).run(last - first)
    return x


wide, norm = numbers(2 * SIZE, seed=5), numbers(SIZE, seed=6)
head, every, each = numbers(DIM), numbers(HEADS * DIM), numbers(KV_HEADS * DIM)
joined = numbers((HEADS + 2 * KV_HEADS) * DIM, seed=7)
KERNELS: dict[str, Callable[[int, int], Array]] = {
    "embed": embedded,
    "silu": gate(rowwise.silu_multiply, NONE, np.float32),
    "silu, bias, bfloat16": gate(rowwise.silu_multiply, wide, np.uint16),
    "gelu, bias": gate(rowwise.gelu_multiply, wide, np.float32),
    "residual": residual(NONE, NONE, norm, np.uint16),
    "residual with all": residual(norm, norm, norm, np.float32),
    "residual without a norm": residual(NONE, norm, NONE, np.uint16),
    "rotation": rotation(NONE, NONE, NONE, DIM // 2, np.uint16),
    "rotation of a part, norm of heads": rotation(joined, head, head, 5, np.float32),
    "norm of all heads": rotation(joined, every, each, 0, np.float32),
    "logits": logits,
}


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_row_is_the_same_in_any_company(kernel: str) -> None:
    run = KERNELS[kernel]
    whole = run(0, ROWS)
    assert np.isfinite(whole.astype(np.float64)).all()
    for first, last in [(0, 1), (1, 4), (4, 17), (ROWS - 1, ROWS)]:
        assert (run(first, last) == whole[first:last]).all()


@pytest.mark.parametrize(
    ("kernel", "function"),
    [
        (rowwise.silu_multiply, nn.functional.silu),
        (rowwise.gelu_multiply, lambda x: nn.functional.gelu(x, approximate="tanh")),
    ],
)
def test_gates_are_torchs(kernel: Any, function: Any) -> None:
    x = np.concatenate([np.linspace(-30, 30, 4001), [-1e30, -500, 0, 500]], dtype=np.float32)
    out = np.empty((1, len(x)), np.float32)
    kernel(np.concatenate([x, np.ones_like(x)])[None], NONE, out).run(1)
    expected = function(torch.from_numpy(x))
    torch.testing.assert_close(torch.from_numpy(out[0]), expected, atol=1e-6, rtol=2e-6)


def test_logits_are_bounded_as_by_tanh() -> None:
    x = np.concatenate([np.linspace(-90, 90, 9001), np.geomspace(1e-9, 1, 500)], dtype=np.float32)
    out = x[None].copy()
    rowwise.bound_logits(out, 2.0, 4.0).run(1)
    np.testing.assert_allclose(out[0], 4 * np.tanh(x.astype(np.float64) / 8), rtol=1e-6)


def test_angles_are_those_of_the_position() -> None:
    positions, frequencies = np.array([0, 1, 31999]), np.float32([1.0, 0.1, 1e-5])
    cos, sin = np.empty((2, 3, 3), np.float32)
    rowwise.angles(positions, frequencies, 1.5, cos, sin).run(3)
    turned = torch.from_numpy(positions)[:, None].float() * torch.from_numpy(frequencies)
    torch.testing.assert_close(torch.from_numpy(cos), 1.5 * turned.cos(), atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(torch.from_numpy(sin), 1.5 * turned.sin(), atol=1e-6, rtol=1e-6)
