"""Medusa files: vLLM's, and the original ones ("0.0.linear.weight"). Written are vLLM's only."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch

from fairdraft.errors import CheckpointError
from fairdraft.heads.files import HeadFile, MadeFor, write_head_file
from fairdraft.heads.fitting import borrow_rows, load_tensors, require_fit, require_tokens
from fairdraft.heads.medusa.network import MedusaConfig, MedusaHead

# Heads by number, a layer or the vocabulary matrix each; vLLM's files name them.
_ORIGINAL = re.compile(r"(?:medusa_head\.)?\d+\.\d+\.linear\.weight$")
_HEAD = re.compile(r"(?:medusa_head\.)?(?:blocks\.)?(?P<head>\d+)\.(?:\d+\.|layers\.)")


def is_medusa(file: HeadFile) -> bool:
    """Tell whether a file is Medusa's."""
    named = "Medusa" in file.architectures or file.config.get("model_type") == "medusa"
    original = any(_ORIGINAL.match(name) for name in file.tensors)
    return named or "medusa_num_heads" in file.config or original


def count_heads(file: HeadFile) -> tuple[int, int | None]:
    """Return how many heads a file's tensors are, and how many its config.json says; None: none.

    The first Medusa files say 2 heads, or nothing, and hold 3 to 5: their own loader knew better.
    """
    found = [
        int(match["head"]) for name in file.tensors if (match := _HEAD.match(name)) is not None
    ]
    declared = file.config.get("num_heads", file.config.get("medusa_num_heads"))
    return max(found, default=-1) + 1, None if declared is None else int(declared)


def load_medusa(file: HeadFile, target: Any) -> MedusaHead:
    """Load Medusa heads in the target's precision, on its device, without gradients.

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
    load_tensors(head, tensors, file.name, target)
    require_tokens(file, "token_map", head.token_map, text)
    return head


def medusa_config(file: HeadFile, target: Any) -> MedusaConfig:
    """Return the shape that a file's config.json describes, checked against the target's config."""
    config, tensors = file.config, file.tensors
    counted, declared = count_heads(file)
    num_heads = max(
        counted, declared or 0
    )  # if config.json has more, `load_tensors` says what lacks
    if not num_heads:
        raise CheckpointError(
            f"{file.name!r} holds no Medusa head, and its config.json does not say num_heads: give "
            "the folder with medusa_lm_head.pt or model.safetensors in it"
        )
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
        num_heads,
        int(config.get("num_hidden_layers", config.get("medusa_num_layers", 1))),
        int(config.get("truncated_vocab_size") or target.vocab_size),
        not own,
        any(name.endswith(".bias") for name in tensors),
    )


def _name(name: str, config: MedusaConfig) -> str:
    """Return vLLM's name of a tensor of either kind of file."""
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
    head: MedusaHead, folder: Path, made_for: MadeFor, borrow_vocabulary: bool = False
) -> None:
    """Write heads as vLLM reads them.

    Args:
        head: trained.
        folder: made if it is not there.
        made_for: the target.
        borrow_vocabulary: leave `lm_head` out, because its rows are the target's own; vLLM wants
            it in.
    """
    config = head.config
    document = {
        "architectures": ["MedusaModel"],
        "model_type": "medusa",
        "base_model_name_or_path": made_for.name,
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
