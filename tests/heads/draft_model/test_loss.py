"""A draft model learns the target's law of each answer's next token."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM as Auto

from fairdraft.heads import Batch
from fairdraft.heads.draft_model import prune
from fairdraft.heads.draft_model.loss import distillation_loss
from tests.heads.samples import sample_of

Tiny = Callable[[str], Path]
KNOWN = torch.arange(3, 320, 4)


def test_it_learns_the_law_of_each_answers_next_token(tiny: Tiny) -> None:
    target = Auto.from_pretrained(tiny("llama"), dtype=torch.float32, attn_implementation="eager")
    model = prune(target, 1, None, KNOWN)
    text = [(5 * i * i + 3 * i) % 250 for i in range(12)]
    samples = [sample_of(target, text, 4, (1,)), sample_of(target, text[:7], 3, (1,))]
    embedding, lm_head = target.get_input_embeddings(), target.lm_head.weight[KNOWN]
    batch = Batch.of(samples, torch.device("cpu"))
    loss = distillation_loss(model, embedding, lm_head, batch)
    each = []
    for sample in samples:
        ids = sample.token_ids[None]
        hidden = model.base_model(inputs_embeds=embedding(ids)).last_hidden_state[0]
        for t in range(sample.prompt_length - 1, len(sample.token_ids) - 1):
            law = (lm_head @ sample.final[t]).softmax(-1)
            each.append(-(law * (lm_head @ hidden[t]).log_softmax(-1)).sum())
    torch.testing.assert_close(loss.total, torch.stack(each).mean(), rtol=1e-4, atol=1e-4)
