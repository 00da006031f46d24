"""The training-time test sees what drafting will see; only answers are learnt from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM as Auto

from fairdraft.heads import Batch, read_head_file
from fairdraft.heads.eagle3 import load_eagle3
from fairdraft.heads.eagle3.loss import unrolled_loss
from tests.heads.conftest import write_head
from tests.heads.plain import eagle3_logits
from tests.heads.samples import sample_of

__all__ = ["write_head"]


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
