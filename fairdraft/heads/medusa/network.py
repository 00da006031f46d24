"""Medusa: heads on the last hidden state, each for one more token ahead (Cai et al. 2024).

arXiv 2401.10774. Head i reads the target's last hidden state at position t and says what comes at
t + 2 + i. The heads here share one vocabulary matrix, as vLLM's files allow ("original_lm_head").
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fairdraft.errors import CheckpointError
from fairdraft.heads.files import (
    HeadFile,
    borrow_rows,
    fill,
    require_fit,
    require_tokens,
    write_head_file,
)


@dataclass(frozen=True)
class MedusaConfig:
    """Shape of Medusa heads.

    Args:
        hidden_size: of the target.
        vocab_size: of the target.
        num_heads: tokens ahead.
        num_layers: residual blocks a head.
        draft_vocab_size: tokens that can be drafted.
        shared: one vocabulary matrix for all heads; else each has its own.
        bias: whether the blocks have one.
    """

    hidden_size: int
    vocab_size: int
    num_heads: int
    num_layers: int
    draft_vocab_size: int
    shared: bool = True
    bias: bool = True


class _Block(nn.Module):
    """x + SiLU(W x), so many times."""

    def __init__(self, config: MedusaConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.layers = nn.ModuleList(
            nn.Linear(size, size, bias=config.bias) for _ in range(config.num_layers)
        )

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = x + nn.functional.silu(layer(x))
        return x


class MedusaHead(nn.Module):
    """The network. Names of parameters are those of vLLM's files.

    Attributes:
        token_map: [draft_vocab_size] int64, the target's id of each draft token.
    """

    token_map: Tensor

    def __init__(self, config: MedusaConfig) -> None:
        super().__init__()
        self.config = config
        self.blocks = nn.ModuleList(_Block(config) for _ in range(config.num_heads))
        size, words = config.hidden_size, config.draft_vocab_size
        if config.shared:
            self.lm_head = nn.Linear(size, words, bias=False)
        else:
            self.lm_heads = nn.ModuleList(
                nn.Linear(size, words, bias=False) for _ in range(config.num_heads)
            )
        self.register_buffer("token_map", torch.arange(words))

    @property
    def target_ids(self) -> Tensor:
        """[draft_vocab_size] int64: the target's id of each draft token."""
        return self.token_map

    def reset(self) -> None:
        """Blocks that change nothing: every head begins as the target's own."""
        for parameter in self.blocks.parameters():
            nn.init.zeros_(parameter)

    def forward(self, hidden: Tensor) -> list[Tensor]:
        """[…, d] → per head […, d]."""
        return [block(hidden) for block in self.blocks]

    def vocabulary(self, head: int) -> nn.Linear:
        """The vocabulary matrix of a head."""
        linear = self.lm_head if self.config.shared else self.lm_heads[head]
        assert isinstance(linear, nn.Linear)
        return linear


def load_medusa(file: HeadFile, target: Any) -> MedusaHead:
    """Medusa heads in the target's precision, on its device, without gradients.

    Read are vLLM's files and the original ones ("0.0.linear.weight").

    Args:
        file: of kind "medusa".
        target: the transformers model; missing vocabulary matrices are borrowed from it.

    Raises:
        CheckpointError: the file does not fit the target, or its tensors do not fit its config.
    """
    text = target.config.get_text_config()
    config = medusa_config(file, text)
    head = MedusaHead(config)
    tensors = {_name(name, config): tensor for name, tensor in file.tensors.items()}
    if config.draft_vocab_size == text.vocab_size:
        tensors.setdefault("token_map", torch.arange(text.vocab_size))
    if config.shared and "lm_head.weight" not in tensors and "token_map" in tensors:
        tensors["lm_head.weight"] = borrow_rows(tensors["token_map"], target)
    fill(head, tensors, file.name, target)
    require_tokens(file, "token_map", head.token_map, text)
    return head


def medusa_config(file: HeadFile, target: Any) -> MedusaConfig:
    """The shape that a file's config.json describes, checked against the target's config."""
    config, tensors = file.config, file.tensors
    num_heads = config.get("num_heads", config.get("medusa_num_heads"))
    if num_heads is None:
        raise CheckpointError(f"{file.name!r}: its config.json does not say num_heads")
    require_fit(
        file, "hidden_size", config.get("hidden_size", target.hidden_size), target.hidden_size
    )
    require_fit(file, "vocab_size", config.get("vocab_size", target.vocab_size), target.vocab_size)
    own = any(
        re.fullmatch(r"(medusa_head\.)?1\.\d+\.weight|lm_heads\.1\.weight", n) for n in tensors
    )
    return MedusaConfig(
        target.hidden_size,
        target.vocab_size,
        int(num_heads),
        int(config.get("num_hidden_layers", config.get("medusa_num_layers", 1))),
        int(config.get("truncated_vocab_size") or target.vocab_size),
        not own,
        any(name.endswith(".bias") for name in tensors),
    )


def _name(name: str, config: MedusaConfig) -> str:
    """vLLM's name of a tensor of either kind of file."""
    name = name.removeprefix("medusa_head.")
    parts = name.split(".")
    if parts[0].isdigit() and len(parts) == 4:  # head.layer.linear.weight
        return f"blocks.{parts[0]}.layers.{parts[1]}.{parts[3]}"
    if parts[0].isdigit():  # head.last.weight
        name = f"lm_heads.{parts[0]}.weight"
    if config.shared and name == "lm_heads.0.weight":
        return "lm_head.weight"
    return name


def save_medusa(
    head: MedusaHead, folder: Path, target: str, borrow_vocabulary: bool = False
) -> None:
    """Write heads as vLLM reads them.

    Args:
        head: trained.
        folder: made if it is not there.
        target: name or path of the target.
        borrow_vocabulary: leave `lm_head` out, because its rows are the target's own; vLLM wants
            it in.
    """
    config = head.config
    document = {
        "architectures": ["MedusaModel"],
        "model_type": "medusa",
        "base_model_name_or_path": target,
        "hidden_size": config.hidden_size,
        "vocab_size": config.vocab_size,
        "num_heads": config.num_heads,
        "num_hidden_layers": config.num_layers,
        "truncated_vocab_size": config.draft_vocab_size,
        "original_lm_head": config.shared,
        "medusa_fc_bias": config.bias,
        "torch_dtype": "bfloat16",
    }
    tensors = head.state_dict()
    if borrow_vocabulary:
        del tensors["lm_head.weight"]
    write_head_file(folder, document, tensors)
