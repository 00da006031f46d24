"""Linear layers that take the fast way."""

from __future__ import annotations

import torch
from torch import nn

from fairdraft.models.cpu.linear import RowLinear, speed_up


def test_speed_up_changes_nothing_but_the_way() -> None:
    model = nn.Sequential(nn.Linear(64, 32), nn.Linear(32, 7, bias=False), nn.Linear(7, 3))
    x = torch.randn(2, 3, 64)
    before = model(x)
    speed_up(model)
    assert [type(m) is RowLinear for m in model] == [True, True, True]  # widths of any size
    torch.testing.assert_close(model(x), before, atol=1e-5, rtol=1e-5)
