"""Models for a run on a rented machine: tiny random ones, made on the spot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, Gemma2Config, LlamaConfig, Qwen3Config

from fairdraft.heads.dflash.loss import DFlashTraining
from fairdraft.heads.eagle3.loss import Eagle3Training
from fairdraft.heads.medusa.loss import MedusaTraining
from fairdraft.heads.training import HeadTraining

_SIZE = {
    "vocab_size": 320,
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 8,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 1024,
    # Wide enough that the tokens before matter and the likeliest token changes all the time.
    "initializer_range": 0.2,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 1,
}
_CONFIGS = {
    "llama": LlamaConfig,
    "qwen3": Qwen3Config,
    "gemma2": Gemma2Config,
}


def tiny_model(kind: str, device: torch.device, dtype: torch.dtype = torch.float32) -> Any:
    """Return a random model of a few layers; the same numbers each time."""
    torch.manual_seed(3)
    model = AutoModelForCausalLM.from_config(_CONFIGS[kind](**_SIZE))
    with torch.no_grad():  # few tokens are likely, so that drafts are accepted now and then
        model.get_output_embeddings().weight[:8] *= 3
    return model.to(device, dtype).eval()


def tiny_heads(model: Any, folder: Path) -> dict[str, str]:
    """Write an untrained head of each kind for a model; return their folders."""
    known = torch.arange(model.config.vocab_size, device=model.device)
    makers: dict[str, HeadTraining] = {
        "eagle3": Eagle3Training(model, "tiny", passes=1),
        "medusa": MedusaTraining(model, "tiny", num_heads=3),
        "dflash": DFlashTraining(
            model, "tiny", mask_token_id=2, block_size=5, num_layers=1, num_states=3
        ),
    }
    for kind, training in makers.items():
        training.initialise(known)
        training.save(folder / kind)
    return {kind: str(folder / kind) for kind in makers}
