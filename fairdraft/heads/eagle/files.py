"""EAGLE files: the original project's names of tensors, which vLLM reads too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import LlamaConfig

from fairdraft.heads.base import HeadConfig
from fairdraft.heads.eagle.network import EagleHead
from fairdraft.heads.files import HeadFile, write_head_file
from fairdraft.heads.fitting import (
    borrow_vocabulary,
    load_tensors,
    refuse_lossy,
    require_fit,
    require_tokens,
)


def is_eagle(file: HeadFile) -> bool:
    """Tell whether a file is EAGLE's; the original ones name the target's architecture only."""
    layers = any(name.startswith("layers.0.") for name in file.tensors)
    return "Eagle" in file.architectures or ("fc.weight" in file.tensors and layers)


def load_eagle(file: HeadFile, target: Any) -> EagleHead:
    """Load an EAGLE head in the target's precision, on its device, without gradients.

    Args:
        file: of kind "eagle".
        target: the transformers model; a missing embedding or head is borrowed from it.

    Raises:
        CheckpointError: the file does not fit the target, or its tensors do not fit its config.
    """
    refuse_lossy(file)
    text = target.config.get_text_config()
    tensors = {name.removeprefix("model."): tensor for name, tensor in file.tensors.items()}
    tensors.pop("t2d", None)
    inner = file.config.get("transformer_layer_config") or file.config
    foreign = ("architectures", "model_type", "speculators_config", "dtype", "torch_dtype")
    layer = LlamaConfig(**{key: value for key, value in inner.items() if key not in foreign})
    require_fit(file, "hidden_size", layer.hidden_size, text.hidden_size)
    require_fit(file, "vocab_size", layer.vocab_size, text.vocab_size)
    config = HeadConfig(
        layer,
        (text.num_hidden_layers,),
        int(file.config.get("draft_vocab_size") or text.vocab_size),
        text.hidden_size,
        "embed_tokens.weight" in tensors,
    )
    normed = "layers.0.input_layernorm.weight" in tensors
    head = EagleHead(config, "fc.bias" in tensors, normed)
    borrow_vocabulary(tensors, config.draft_vocab_size, target)
    load_tensors(head, tensors, file.name, target)
    require_tokens(file, "d2t", head.target_ids, text)
    return head


def save_eagle(head: EagleHead, folder: Path) -> None:
    """Write a head as the original project and vLLM read it, its vocabulary left to the target.

    Args:
        head: its embedding is the target's own and is not written.
        folder: made if it is not there.
    """
    document = head.config.layer.to_dict() | {"architectures": ["EagleLlamaForCausalLM"]}
    left_out = ("lm_head.weight", "d2t")
    tensors = {name: t for name, t in head.state_dict().items() if name not in left_out}
    write_head_file(folder, document, tensors)
