"""DFlash files: "speculators" ones and z-lab's, which count the target's layers from 0.

Written are "speculators" files only, which vLLM loads as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import Qwen3Config

from fairdraft.errors import CheckpointError
from fairdraft.heads.dflash.network import DFlashConfig, DFlashHead
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


def is_dflash(file: HeadFile) -> bool:
    """Tell whether a file is DFlash's."""
    return "DFlash" in file.architectures or "dflash_config" in file.config


def load_dflash(file: HeadFile, target: Any) -> DFlashHead:
    """Load a DFlash drafter in the target's precision, on its device, without gradients.

    Args:
        file: of kind "dflash".
        target: the transformers model; a missing embedding or head is borrowed from it.

    Raises:
        CheckpointError: the file does not fit the target, or its tensors do not fit its config;
            the message names the tensor and both shapes.
    """
    refuse_lossy(file)
    config = dflash_config(file, target.config.get_text_config())
    head = DFlashHead(config)
    tensors = {name.removeprefix("model."): tensor for name, tensor in file.tensors.items()}
    tensors.pop("t2d", None)  # follows from d2t
    borrow_vocabulary(tensors, config.draft_vocab_size, target)
    load_tensors(head, tensors, file.name, target)
    require_tokens(file, "d2t", head.target_ids, target.config.get_text_config())
    return head


def dflash_config(file: HeadFile, target: Any) -> DFlashConfig:
    """Return the shape that a file's config.json describes, checked against the target's config."""
    config = file.config
    inner: Mapping[str, Any] = config.get("transformer_layer_config") or config
    own: Mapping[str, Any] = config.get("dflash_config") or config
    kind = inner.get("model_type", "qwen3")
    if kind != "qwen3":
        raise CheckpointError(f"{file.name!r} has {kind!r} layers: only Qwen3 layers are known")
    if "sliding_attention" in (inner.get("layer_types") or ()) or own.get("causal"):
        raise CheckpointError(
            f"{file.name!r} has causal or sliding-window layers: only full ones that see the whole "
            "block are known"
        )
    if own.get("sample_from_anchor"):
        raise CheckpointError(
            f"{file.name!r} drafts from the newest token's own row (sample_from_anchor): only "
            "drafting from masks is known"
        )
    foreign = {"architectures", "auto_map", "dtype", "torch_dtype", "model_type", "dflash_config"}
    foreign |= {"speculators_config"}
    layer = Qwen3Config(**{key: value for key, value in inner.items() if key not in foreign})
    if (ids := config.get("aux_hidden_state_layer_ids")) is None:
        ids = [i + 1 for i in own.get("target_layer_ids") or ()]
    mask = own.get("mask_token_id")
    if not ids or mask is None:
        raise CheckpointError(
            f"{file.name!r}: its config.json does not say which of the target's layers it reads "
            "(aux_hidden_state_layer_ids), or which token is a mask (mask_token_id)"
        )
    size = config.get("target_hidden_size") or layer.hidden_size
    own_embedding = any(name.endswith("embed_tokens.weight") for name in file.tensors)
    require_fit(file, "hidden size of the target", size, target.hidden_size)
    if not own_embedding:
        require_fit(file, "hidden_size", layer.hidden_size, target.hidden_size)
    require_fit(file, "vocabulary", layer.vocab_size, target.vocab_size)
    require_layers(file, ids, target)
    if not 0 <= int(mask) < target.vocab_size:
        raise CheckpointError(
            f"{file.name!r} has mask_token_id {mask}, but the target has {target.vocab_size} tokens"
        )
    return DFlashConfig(
        layer,
        tuple(ids),
        int(config.get("draft_vocab_size") or layer.vocab_size),
        size,
        own_embedding,
        block_size=int(config.get("block_size") or own.get("block_size") or 16),
        mask_token_id=int(mask),
    )


def save_dflash(
    head: DFlashHead, folder: Path, made_for: MadeFor, borrow_vocabulary: bool = False
) -> None:
    """Write a drafter as "speculators" files.

    Args:
        head: trained; its embedding is the target's own and is not written.
        folder: made if it is not there.
        made_for: the target, named as the verifier.
        borrow_vocabulary: leave `lm_head` out, because its rows are the target's own; vLLM wants
            it in.
    """
    config = head.config
    k = config.block_size - 1
    document = speculators_document("dflash", k, made_for) | {
        "draft_vocab_size": config.draft_vocab_size,
        "target_hidden_size": config.target_hidden_size,
        "aux_hidden_state_layer_ids": list(config.layer_ids),
        "block_size": config.block_size,
        "mask_token_id": config.mask_token_id,
        "transformer_layer_config": layer_document(config.layer),
    }
    tensors = head.state_dict() | vocabulary_map(head.target_ids, config.layer.vocab_size)
    if borrow_vocabulary:
        del tensors["lm_head.weight"]
    write_head_file(folder, document, tensors)
