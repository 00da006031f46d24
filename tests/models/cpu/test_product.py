"""Products of our own against exact ones, at every raggedness, and row by row the same bits."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fairdraft.models.cpu.linear import product
from fairdraft.models.cpu.processor import PATHS
from fairdraft.models.cpu.product import block_height

DTYPES = [torch.float32, torch.bfloat16, torch.float16]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [1, 2, 5, 6, 7, 8, 9, 17, 33, 300])
def test_equals_the_exact_product(rows: int, dtype: torch.dtype) -> None:
    torch.manual_seed(rows)
    weight, x = torch.randn(77, 96).to(dtype), torch.randn(rows, 96).to(dtype)
    expected = x.double() @ weight.double().T
    torch.testing.assert_close(product(weight, x).double(), expected, atol=1e-4, rtol=1e-4)


@given(
    n=st.integers(1, 80),
    k=st.integers(1, 150),
    rows=st.integers(1, 40),
    dtype=st.sampled_from(DTYPES),
    data=st.data(),
)
@settings(max_examples=80, deadline=None)
def test_a_row_is_the_same_bits_in_any_company(
    n: int, k: int, rows: int, dtype: torch.dtype, data: st.DataObject
) -> None:
    weight, x = torch.randn(n, k).to(dtype), torch.randn(rows, k).to(dtype)
    together = product(weight, x)
    exact = x.double() @ weight.double().T
    torch.testing.assert_close(together.double(), exact, atol=1e-4, rtol=1e-4)
    first = data.draw(st.integers(0, rows - 1))
    last = data.draw(st.integers(first + 1, rows))
    assert torch.equal(product(weight, x[first:last].contiguous()), together[first:last])


def test_threads_do_not_change_a_bit() -> None:
    weight, x = torch.randn(1000, 64).bfloat16(), torch.randn(9, 64).bfloat16()
    before = torch.get_num_threads()
    results = []
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        results.append(product(weight, x))
    torch.set_num_threads(before)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


def test_blocks_fit_the_registers() -> None:
    for path in PATHS:
        for rows in range(1, 9):
            assert block_height(path, rows) == 1 or block_height(path, rows) * rows < path.registers
