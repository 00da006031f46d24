"""The product kernel against torch, and the layers that use it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fairdraft.models.cpu.linear import RowLinear, product, speed_up


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rows", [1, 2, 7, 8, 9, 17, 32, 33, 70])
def test_product_equals_torch(rows: int, dtype: torch.dtype) -> None:
    torch.manual_seed(rows)
    weight = torch.randn(77, 96).to(dtype)
    x = torch.randn(rows, 96).to(dtype)
    expected = x.double() @ weight.double().T
    rounded = rows > 16 and dtype == torch.bfloat16
    tolerance = 0.2 if rounded else 1e-4
    torch.testing.assert_close(product(weight, x).double(), expected, atol=tolerance, rtol=1e-2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_row_is_the_same_in_any_company(dtype: torch.dtype) -> None:
    weight = torch.randn(50, 64).to(dtype)
    x = torch.randn(16, 64).to(dtype)
    full = product(weight, x)
    for start, end in [(0, 1), (3, 5), (14, 16), (7, 12)]:
        assert torch.equal(product(weight, x[start:end]), full[start:end])


def test_speed_up_changes_nothing_but_the_way() -> None:
    model = nn.Sequential(nn.Linear(64, 32), nn.Linear(32, 7, bias=False), nn.Linear(7, 3))
    x = torch.randn(2, 3, 64)
    before = model(x)
    speed_up(model)
    assert [type(m) is RowLinear for m in model] == [True, True, False]  # 7 is no multiple of 32
    torch.testing.assert_close(model(x), before, atol=1e-5, rtol=1e-5)
