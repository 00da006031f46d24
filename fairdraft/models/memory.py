"""Memory that a checkpoint takes, worked out before its weights are read."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import AutoConfig

from fairdraft.models.checkpoint_files import check_files


@dataclass(frozen=True)
class MemoryNeed:
    """Bytes that a model takes while it runs.

    Args:
        parameters: numbers in the checkpoint's weights; tied ones count once.
        itemsize: bytes of each of them.
        kv_bytes_per_token: keys and values of one token in all layers.
        max_model_len: prompt and output, in tokens, that the model was made for.
    """

    parameters: int
    itemsize: int
    kv_bytes_per_token: int
    max_model_len: int

    @property
    def weight_bytes(self) -> int:
        """Bytes of all weights."""
        return self.parameters * self.itemsize

    def tokens(self, available: int) -> int:
        """Return how many tokens of KV fit beside the weights; 0 if the weights do not fit."""
        return max(0, available - self.weight_bytes) // self.kv_bytes_per_token


def memory_need(folder: Path, dtype: torch.dtype) -> MemoryNeed:
    """Return what the checkpoint in a folder takes, from its config and its weights' headers.

    Args:
        folder: with config.json and *.safetensors.
        dtype: that it is to run in.

    Raises:
        CheckpointError: a file is missing or damaged.
    """
    check_files(folder)
    parameters = 0
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            parameters += sum(math.prod(file.get_slice(n).get_shape()) for n in file.keys())  # noqa: SIM118
    config: Any = AutoConfig.from_pretrained(folder, local_files_only=True).get_text_config()
    heads = config.num_attention_heads
    kv_heads = getattr(config, "num_key_value_heads", None) or heads
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // heads
    numbers = 2 * config.num_hidden_layers * kv_heads * head_dim
    longest = config.max_position_embeddings
    return MemoryNeed(parameters, dtype.itemsize, numbers * dtype.itemsize, longest)


def available_memory(device: torch.device) -> int:
    """Return the bytes that a program could still take on a device, caches of files included."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:  # not Linux: all there is
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    found = {line.split(":")[0]: line.split()[1] for line in lines}
    return int(found["MemAvailable"]) * 1024
