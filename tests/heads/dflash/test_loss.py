"""DFlash learns what it will draft: each mask of a block against the target's law of its place."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM as Auto
from transformers import Qwen3Config

from fairdraft.heads import Batch, MadeFor, layer_config, read_head_file
from fairdraft.heads.dflash import DFlashConfig, DFlashHead, load_dflash, save_dflash
from fairdraft.heads.dflash.loss import block_loss
from tests.heads.plain import dflash_logits
from tests.heads.samples import sample_of

SIZE, WORDS = 4, 96


@pytest.fixture
def folder(tiny: Callable[[str], Path], tmp_path: Path) -> Path:
    target = Auto.from_pretrained(tiny("llama"), dtype=torch.float32)
    torch.manual_seed(2)
    shape = layer_config(Qwen3Config, target.config, 1)
    config = DFlashConfig(shape, (1, 2), WORDS, 64, block_size=SIZE, mask_token_id=300)
    head = DFlashHead(config)
    for parameter in head.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.12)
    save_dflash(head, tmp_path, MadeFor("tiny"))
    return tmp_path


def test_each_mask_says_what_drafting_would_say(tiny: Callable[[str], Path], folder: Path) -> None:
    """Two texts of unlike length, so that padding shows; all places, for there are few."""
    model = Auto.from_pretrained(tiny("llama"), dtype=torch.float32, attn_implementation="eager")
    head = load_dflash(read_head_file(str(folder)), model)
    tensors = load_file(folder / "model.safetensors")
    document = json.loads((folder / "config.json").read_text())
    prompt, texts = 4, [[(5 * i * i + 3 * i) % 250 for i in range(n)] for n in (14, 9)]
    samples = [sample_of(model, text, prompt, (1, 2)) for text in texts]
    lm_head = model.lm_head.weight[head.target_ids]
    with torch.inference_mode():
        batch = Batch.of(samples, torch.device("cpu"))
        losses = block_loss(head, model.get_input_embeddings().weight, lm_head, batch, 0)
        each: list[list[torch.Tensor]] = [[] for _ in range(SIZE)]
        for text, sample in zip(texts, samples, strict=True):
            for place in range(prompt - 1, len(text) - 1):
                plain = dflash_logits(tensors, document, model, text[: place + 1], SIZE - 1)
                for j in range(1, SIZE):
                    if place + j < len(text):
                        law = (lm_head @ sample.final[place + j - 1]).softmax(-1)
                        each[j].append(-(law * plain[j - 1].log_softmax(-1)).sum())
        expected = sum(
            math.exp(-(j - 1) * 2 / SIZE) * torch.stack(each[j]).mean() for j in range(1, SIZE)
        )
    torch.testing.assert_close(losses.total, expected, rtol=1e-4, atol=1e-4)
