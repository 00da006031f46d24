"""Columns of numbers travel as one block."""

from __future__ import annotations

import torch

from fairdraft.transfer import send


def test_columns_come_back_as_they_were_sent() -> None:
    sent = send(torch.device("cpu"), [1, -2], [], [3], floats=[[0.1, -2.5]])
    assert [one.tolist() for one in sent] == [[1, -2], [], [3], [0.1, -2.5]]
    assert [one.dtype for one in sent] == [torch.int64] * 3 + [torch.float64]
