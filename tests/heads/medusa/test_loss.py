"""Each Medusa head is held against the law at its own distance."""

from __future__ import annotations

import torch

from fairdraft.heads import Batch, Sample
from fairdraft.heads.losses import DECAY
from fairdraft.heads.medusa import MedusaConfig, MedusaHead
from fairdraft.heads.medusa.loss import medusa_loss


def test_head_i_learns_the_token_i_plus_two_ahead() -> None:
    torch.manual_seed(0)
    d, words, n, prompt = 8, 5, 9, 4
    head = MedusaHead(MedusaConfig(d, 20, 3, 1, words))
    lm_head = torch.randn(words, d)
    final = torch.randn(n, d)
    sample = Sample(torch.arange(n), prompt, torch.zeros(n, 0), final)
    losses = medusa_loss(head, lm_head, Batch.of([sample], torch.device("cpu")))

    expected = torch.zeros(())
    for i in range(3):
        each = []
        for t in range(n):
            if prompt <= t + 2 + i < n:  # the token it predicts is the answer's
                law = (lm_head @ final[t + 1 + i]).softmax(-1)  # the target's, of that token
                state = head(final[t])[i]
                each.append(-(law * (head.lm_head.weight @ state).log_softmax(-1)).sum())
        expected = expected + DECAY**i * torch.stack(each).mean()
    torch.testing.assert_close(losses.total, expected)


def test_heads_begin_as_the_target_and_can_learn() -> None:
    head = MedusaHead(MedusaConfig(8, 20, 2, 1, 20))
    head.reset()
    x = torch.randn(3, 8)
    assert all(torch.equal(state, x) for state in head(x))
    assert all(parameter.requires_grad for parameter in head.blocks.parameters())


def test_an_answer_too_short_for_the_last_head_is_no_trouble() -> None:
    head = MedusaHead(MedusaConfig(8, 20, 4, 1, 5))
    sample = Sample(torch.arange(5), 4, torch.zeros(5, 0), torch.randn(5, 8))
    losses = medusa_loss(head, torch.randn(5, 8), Batch.of([sample], torch.device("cpu")))
    assert torch.isfinite(losses.total)
