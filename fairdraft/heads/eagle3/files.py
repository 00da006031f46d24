"""EAGLE-3 files: "speculators" ones, and raw ones of EAGLE and SpecForge (`midlayer.*`).

Written are "speculators" files only, which vLLM loads as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import LlamaConfig

from fairdraft.errors import CheckpointError
from fairdraft.heads.eagle3.network import Eagle3Config, Eagle3Head, default_layer_ids
from fairdraft.heads.files import HeadFile, MadeFor, write_head_file
from fairdraft.heads.fitting import (
    borrow_vocabulary,
    load_tensors,
    refuse_lossy,
    require_fit,
    require_layers,
    require_tokens,
)
from fairdraft.heads.speculators import layer_document, speculators_document, vocabulary_map


def is_eagle3(file: HeadFile) -> bool:
    """Tell whether a file is EAGLE-3's."""
    midlayer = any(name.startswith("midlayer.") for name in file.tensors)
    return "Eagle3" in file.architectures or midlayer


def load_eagle3(file: HeadFile, target: Any) -> Eagle3Head:
    """Load an EAGLE-3 head in the target's precision, on its device, without gradients.

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
    tensors = {_our_name(name): tensor for name, tensor in file.tensors.items()}
    tensors.pop("t2d", None)  # follows from d2t
    borrow_vocabulary(tensors, config.draft_vocab_size, target)
    load_tensors(head, tensors, file.name, target)
    require_tokens(file, "d2t", head.target_ids, target.config.get_text_config())
    return head


def eagle3_config(file: HeadFile, target: Any) -> Eagle3Config:
    """Return the shape that a file's config.json describes, checked against the target's config."""
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
    own_embedding = "embed_tokens.weight" in map(_our_name, file.tensors)
    require_fit(file, "hidden size of the target", size, target.hidden_size)
    if not own_embedding:
        require_fit(file, "hidden_size", layer.hidden_size, target.hidden_size)
    require_fit(file, "vocabulary", layer.vocab_size, target.vocab_size)
    layer_ids = tuple(ids or default_layer_ids(target.num_hidden_layers))
    require_layers(file, layer_ids, target)
    return Eagle3Config(
        layer,
        layer_ids,
        int(config.get("draft_vocab_size") or layer.vocab_size),
        size,
        own_embedding,
        norm_before_residual=bool(config.get("norm_before_residual", not raw)),
        norm_before_fc=bool(eagle.get("norm_before_fc", config.get("norm_before_fc", False))),
        fc_norm=bool(config.get("fc_norm", False)),
        norm_output=bool(config.get("norm_output", False)),
    )


def _our_name(name: str) -> str:
    """Return the network's name of a tensor of either kind of file."""
    return name.removeprefix("model.").replace("midlayer.", "layers.0.")


def save_eagle3(head: Eagle3Head, folder: Path, made_for: MadeFor) -> None:
    """Write a head as "speculators" files.

    Args:
        head: trained; its embedding is the target's own and is not written.
        folder: made if it is not there.
        made_for: the target, named as the verifier.
    """
    config = head.config
    document = speculators_document("eagle3", 3, made_for) | {
        "draft_vocab_size": config.draft_vocab_size,
        "target_hidden_size": config.target_hidden_size,
        "eagle_aux_hidden_state_layer_ids": list(config.layer_ids),
        "norm_before_residual": config.norm_before_residual,
        "norm_before_fc": config.norm_before_fc,
        "fc_norm": config.fc_norm,
        "norm_output": config.norm_output,
        "transformer_layer_config": layer_document(config.layer),
    }
    tensors = head.state_dict() | vocabulary_map(head.target_ids, config.layer.vocab_size)
    write_head_file(folder, document, tensors)
