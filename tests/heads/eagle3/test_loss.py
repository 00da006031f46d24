"""The training-time test sees what drafting will see; only answers are learnt from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM as Auto

from fairdraft.heads import load_eagle3, read_head_file
from fairdraft.heads.eagle3.loss import unrolled_loss
from fairdraft.heads.samples import Batch, Losses, Sample
from fairdraft.training.answers import Text, frequent_tokens
from tests.heads.conftest import write_head
from tests.heads.plain import eagle3_logits

__all__ = ["write_head"]


def sample_of(model: Any, text: list[int], prompt: int, layers: tuple[int, ...]) -> Sample:
    with torch.inference_mode():
        states = model(torch.tensor([text]), output_hidden_states=True).hidden_states
    found = [states[layer][0].clone() for layer in layers]
    return Sample(torch.tensor(text), prompt, torch.cat(found, -1), states[-1][0].clone())


@pytest.mark.parametrize("flags", [{}, {"fc_norm": True, "norm_output": True}])
def test_each_pass_says_what_drafting_would_say(
    flags: dict[str, bool], tiny: Callable[[str], Path], write_head: Callable[..., Path]
) -> None:
    """Row t in pass i: the draft's (i + 1)-th token of a round that began i tokens earlier."""
    folder = write_head(**flags)
    model = Auto.from_pretrained(tiny("llama"), dtype=torch.float32, attn_implementation="eager")
    head = load_eagle3(read_head_file(str(folder)), model)
    tensors = load_file(folder / "model.safetensors")
    document = json.loads((folder / "config.json").read_text())
    text = [(5 * i * i + 3 * i) % 250 for i in range(14)]
    samples = [sample_of(model, text, 4, (1, 2, 3)), sample_of(model, text[:9], 4, (1, 2, 3))]
    batch = Batch.of(samples, torch.device("cpu"))

    seen = []
    head.norm.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    lm_head = model.lm_head.weight[head.target_ids]
    with torch.inference_mode():
        unrolled_loss(head, model.get_input_embeddings().weight, lm_head, batch, passes=4)
        for number, normed in enumerate(seen):
            logits = normed @ head.lm_head.weight.T
            for t in range(number + 1, len(text) - 1):
                plain = eagle3_logits(tensors, document, model, text[: t + 2], number + 1)[-1]
                torch.testing.assert_close(logits[0, t], plain, rtol=1e-4, atol=1e-4)


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


def test_frequent_tokens_come_first_and_others_fill_up() -> None:
    texts = [Text((9, 9, 9), (5, 5, 7)), Text((9,), (5, 7, 3))]
    assert frequent_tokens(texts, 2, 10).tolist() == [5, 7]
    assert frequent_tokens(texts, 5, 10).tolist() == [0, 1, 3, 5, 7]


def test_it_learns(tiny: Callable[[str], Path], write_head: Callable[..., Path]) -> None:
    model = Auto.from_pretrained(tiny("llama"), dtype=torch.float32)
    head = load_eagle3(read_head_file(str(write_head())), model).train().requires_grad_(True)
    text = [(5 * i * i + 3 * i) % 250 for i in range(40)]
    batch = Batch.of([sample_of(model, text, 4, (1, 2, 3))], torch.device("cpu"))
    optimizer = torch.optim.AdamW(head.parameters(), lr=3e-3)
    lm_head = model.lm_head.weight[head.target_ids].detach()
    embedding = model.get_input_embeddings().weight.detach()
    losses: list[Losses] = []
    for _ in range(60):
        losses.append(unrolled_loss(head, embedding, lm_head, batch, passes=3))
        optimizer.zero_grad()
        losses[-1].total.backward()
        optimizer.step()
    assert losses[-1].total.item() < 0.7 * losses[0].total.item()
    assert losses[-1].agreement[0] > 0.8
