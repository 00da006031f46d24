"""Samples side by side: padding counts for nothing, and only answers are learnt from."""

from __future__ import annotations

import torch

from fairdraft.heads import Batch, Sample


def test_rows_that_predict_the_answer_are_learnt_from() -> None:
    zeros = torch.zeros(8, 4)
    batch = Batch.of(
        [
            Sample(torch.arange(8), 5, zeros, zeros),
            Sample(torch.arange(4), 2, zeros[:4], zeros[:4]),
        ],
        torch.device("cpu"),
    )
    # Row t predicts token t + 2; the answers are tokens 5 … 7 and 2 … 3.
    assert batch.learnt[0].nonzero().flatten().tolist() == [3, 4, 5]
    assert batch.learnt[1].nonzero().flatten().tolist() == [0, 1]
