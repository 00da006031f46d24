"""The tiny Llama as a target to train for, with six layers so that EAGLE-3 finds three to read."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM as Auto

from tests.conftest import CONFIGS, tiny_tokenizer


@pytest.fixture(scope="session")
def six_layers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("six-layers")
    config = CONFIGS["llama"]()
    config.num_hidden_layers = 6
    config.layer_types = None
    torch.manual_seed(5)
    Auto.from_config(config).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder
