"""EAGLE-3 files: "speculators" ones, and raw ones of EAGLE and SpecForge (`midlayer.*`).

Written are "speculators" files only, which vLLM loads as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig

from fairdraft.errors import CheckpointError
from fairdraft.models.heads.eagle3 import Eagle3Config, Eagle3Head, default_layer_ids
from fairdraft.models.heads.files import HeadFile, fill, refuse_lossy, require_fit, write_head_file


def load_eagle3(file: HeadFile, target: Any) -> Eagle3Head:
    """An EAGLE-3 head in the target's precision, on its device, without gradients.

    Args:
        file: of kind "eagle3".
        target: the transformers model; a missing embedding or head is borrowed from it.

    Raises:
        CheckpointError: the file does not fit the target, or its tensors do not fit its config;
            the message names the tensor and both shapes.
    """
    refuse_lossy(file)
    config = eagle3_config(file, target.config.get_text_config())
    head = Eagle3Head(config)
    tensors = {_eagle3_name(name): tensor for name, tensor in file.tensors.items()}
    tensors.pop("t2d", None)  # follows from d2t
    size = target.config.get_text_config().vocab_size
    if "lm_head.weight" not in tensors and config.draft_vocab_size == size:
        tensors["lm_head.weight"] = target.get_output_embeddings().weight.data
    if "d2t" not in tensors and config.draft_vocab_size == size:
        tensors["d2t"] = torch.zeros(size, dtype=torch.int64)
    fill(head, tensors, file.name)
    head.to(dtype=target.dtype, device=target.device)
    # Rotation works in float32, whatever the weights are in.
    head.rotary = type(head.rotary)(config.layer).to(target.device)
    ids = head.target_ids
    if int(ids.min()) < 0 or int(ids.max()) >= size or len(set(ids.tolist())) < len(ids):
        raise CheckpointError(
            f"{file.name!r}: d2t leads to tokens {int(ids.min())} … {int(ids.max())}, but the "
            f"target has {size}, each to be named once: d2t holds target id − draft id"
        )
    return head.eval().requires_grad_(False)


def eagle3_config(file: HeadFile, target: Any) -> Eagle3Config:
    """The shape that a file's config.json describes, checked against the target's config."""
    config = file.config
    inner: Mapping[str, Any] = config.get("transformer_layer_config") or config
    eagle: Mapping[str, Any] = config.get("eagle_config") or {}
    kind = inner.get("model_type", "llama")
    if kind != "llama":
        raise CheckpointError(f"{file.name!r} has {kind!r} layers: only Llama layers are known")
    foreign = ("architectures", "model_type", "speculators_config", "dtype", "torch_dtype")
    layer = LlamaConfig(**{key: value for key, value in inner.items() if key not in foreign})
    raw = "speculators_model_type" not in config
    ids = config.get("eagle_aux_hidden_state_layer_ids") or eagle.get(
        "eagle_aux_hidden_state_layer_ids"
    )
    size = config.get("target_hidden_size") or layer.hidden_size
    require_fit(file, "hidden size of the target", size, target.hidden_size)
    require_fit(file, "vocabulary", layer.vocab_size, target.vocab_size)
    layer_ids = tuple(ids or default_layer_ids(target.num_hidden_layers))
    if max(layer_ids) > target.num_hidden_layers:
        raise CheckpointError(
            f"{file.name!r} reads hidden state {max(layer_ids)}, but the target has only "
            f"{target.num_hidden_layers} layers: it was made for another target"
        )
    return Eagle3Config(
        layer,
        layer_ids,
        int(config.get("draft_vocab_size") or layer.vocab_size),
        size,
        bool(config.get("norm_before_residual", not raw)),
        bool(eagle.get("norm_before_fc", config.get("norm_before_fc", False))),
        bool(config.get("fc_norm", False)),
        bool(config.get("norm_output", False)),
        "embed_tokens.weight" in map(_eagle3_name, file.tensors),
    )


def _eagle3_name(name: str) -> str:
    return name.removeprefix("model.").replace("midlayer.", "layers.0.")


def save_eagle3(head: Eagle3Head, folder: Path, target: str, architectures: list[str]) -> None:
    """Write a head as "speculators" files.

    Args:
        head: trained; its embedding is the target's own and is not written.
        folder: made if it is not there.
        target: name or path of the target, as `verifier` in config.json.
        architectures: the target's.
    """
    config = head.config
    layer = {key: value for key, value in config.layer.to_dict().items() if value is not None}
    for key in ("transformers_version", "_name_or_path", "dtype"):
        layer.pop(key, None)
    layer["rope_theta"] = config.layer.rope_parameters["rope_theta"]  # where older readers look
    document = {
        "architectures": ["Eagle3Speculator"],
        "speculators_model_type": "eagle3",
        "speculators_version": "0.9.0",
        "draft_vocab_size": config.draft_vocab_size,
        "target_hidden_size": config.target_hidden_size,
        "eagle_aux_hidden_state_layer_ids": list(config.layer_ids),
        "norm_before_residual": config.norm_before_residual,
        "norm_before_fc": config.norm_before_fc,
        "fc_norm": config.fc_norm,
        "norm_output": config.norm_output,
        "torch_dtype": "bfloat16",
        "transformer_layer_config": layer,
        "speculators_config": {
            "algorithm": "eagle3",
            "default_proposal_method": "greedy",
            "proposal_methods": [
                {
                    "proposal_type": "greedy",
                    "speculative_tokens": 3,
                    "verifier_accept_k": 1,
                    "accept_tolerance": 0.0,
                }
            ],
            "verifier": {"name_or_path": target, "architectures": architectures},
        },
    }
    known = torch.zeros(config.layer.vocab_size, dtype=torch.bool)
    known[head.target_ids.cpu()] = True
    write_head_file(folder, document, head.state_dict() | {"t2d": known})
