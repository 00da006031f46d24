"""Random EAGLE-3 heads on disk, for the tiny Llama target."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig

from fairdraft.heads import Eagle3Config, Eagle3Head, layer_config, save_eagle3
from tests.conftest import CONFIGS

DRAFT_VOCAB = 96


def tiny_head(**flags: bool) -> Eagle3Head:
    """A random head that says something else after every text."""
    target: LlamaConfig = CONFIGS["llama"]()
    torch.manual_seed(11)
    config = Eagle3Config(layer_config(LlamaConfig, target), (1, 2, 3), DRAFT_VOCAB, **flags)
    head = Eagle3Head(config)
    for parameter in head.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.12)
        else:
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
    known = torch.randperm(target.vocab_size)[:DRAFT_VOCAB].sort().values
    head.d2t.copy_(known - torch.arange(DRAFT_VOCAB))
    return head


@pytest.fixture(scope="session")
def write_head(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`write_head(fc_norm=True, …)`: folder of a random head with these flags."""

    def write(**flags: bool) -> Path:
        folder = tmp_path_factory.mktemp("head")
        save_eagle3(tiny_head(**flags), folder, "tiny", ["LlamaForCausalLM"])
        return folder

    return write
