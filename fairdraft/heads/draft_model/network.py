"""Draft models cut out of their target: some of its layers, its embedding, the words it uses most.

Their files hold the layers only. Embedding and vocabulary are the target's own rows, which the
loader borrows; the vocabulary may be cut to the tokens that are used most (Zhao et al. 2025,
"FR-Spec", arXiv 2502.14856), for on a small model it is most of the cost.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM

from fairdraft.config import require
from fairdraft.errors import CheckpointError
from fairdraft.heads.files import (
    HeadFile,
    borrow_vocabulary,
    fill,
    require_fit,
    require_tokens,
    write_head_file,
)

KIND = "draft_model"


def evenly(num_layers: int, kept: int) -> list[int]:
    """So many of a target's layers, the first and the last among them."""
    if kept == 1:
        return [0]
    return [round(i * (num_layers - 1) / (kept - 1)) for i in range(kept)]


def prune(target: Any, num_layers: int, intermediate_size: int | None, known: Tensor) -> Any:
    """A model of some of the target's layers, in float32, its embedding left out.

    Args:
        target: the transformers model.
        num_layers: layers kept, spread evenly over the target's.
        intermediate_size: neurons of each MLP kept, those of the largest weights; None keeps all.
        known: [draft vocabulary] int64, ascending: the target's ids of the tokens that it says.

    Raises:
        ConfigError: more layers or neurons than there are.
        CheckpointError: MLPs of a kind that cannot be cut.
    """
    config = target.config.get_text_config()
    require(
        0 < num_layers <= config.num_hidden_layers,
        f"num_layers is {num_layers}, but the target has {config.num_hidden_layers}: take fewer",
    )
    neurons = config.intermediate_size if intermediate_size is None else intermediate_size
    require(
        0 < neurons <= config.intermediate_size,
        f"intermediate_size is {neurons}, but the target has {config.intermediate_size}: take less",
    )
    kept = evenly(config.num_hidden_layers, num_layers)
    shape = copy.deepcopy(config)
    shape.num_hidden_layers, shape.intermediate_size = num_layers, neurons
    if getattr(shape, "layer_types", None):
        shape.layer_types = [shape.layer_types[i] for i in kept]
    model = _empty(shape, len(known))
    theirs = target.state_dict()
    ours = model.state_dict()
    for name in ours:
        parts = name.split(".")
        if "layers" in parts:
            place = parts.index("layers") + 1
            parts[place] = str(kept[int(parts[place])])
        if ".".join(parts) in theirs and name != "lm_head.weight":
            ours[name] = theirs[".".join(parts)].float()
    if neurons < config.intermediate_size:
        cut_mlps(ours, neurons)
    ours["lm_head.weight"] = target.get_output_embeddings().weight.data[known].float()
    ours["d2t"] = known - torch.arange(len(known))
    model.load_state_dict(ours)
    model.lm_head.requires_grad_(False)
    return model.to(target.device).eval()  # no dropout: a resumed run must end the same


def _empty(config: Any, words: int) -> Any:
    """A model without an embedding, in float32, that says so many tokens."""
    config.tie_word_embeddings = False
    model = AutoModelForCausalLM.from_config(
        config, dtype=torch.float32, attn_implementation="eager"
    )
    model.set_input_embeddings(None)
    model.lm_head = nn.Linear(config.hidden_size, words, bias=False)
    model.register_buffer("d2t", torch.zeros(words, dtype=torch.int64))
    return model


def cut_mlps(tensors: dict[str, Tensor], neurons: int) -> None:
    """Keep the neurons whose weights in and out are largest.

    Args:
        tensors: of layers, by name; changed in place.
        neurons: kept in each MLP.

    Raises:
        CheckpointError: MLPs of a kind that cannot be cut.
    """
    downs = [name for name in tensors if name.endswith("mlp.down_proj.weight")]
    inner = [[n.replace("down", part) for part in ("up", "gate")] for n in downs]
    if not downs or any(tensors.get(name, torch.empty(0)).dim() != 2 for n in inner for name in n):
        raise CheckpointError(
            "the target's MLPs have no gate, up and down projection each, and cannot be cut to "
            "fewer neurons: leave out --intermediate-size"
        )
    for down, names in zip(downs, inner, strict=True):
        weight = tensors[down].norm(dim=0)
        for name in names:
            weight = weight * tensors[name].norm(dim=1)
        kept = weight.topk(neurons).indices.sort().values
        tensors[down] = tensors[down][:, kept]
        for name in (*names, *(n.replace(".weight", ".bias") for n in names)):
            if name in tensors:
                tensors[name] = tensors[name][kept]


def is_pruned(name: str) -> bool:
    """Whether a folder holds a pruned model's files."""
    path = Path(name).expanduser() / "config.json"
    return path.is_file() and f'"{KIND}"' in path.read_text("utf-8", errors="replace")


def target_ids(model: Any) -> Tensor:
    """[draft vocabulary] int64: the target's id of each token that a pruned model says."""
    d2t: Tensor = model.d2t
    return d2t + torch.arange(len(d2t), device=d2t.device)


def save_pruned(model: Any, folder: Path, target: str) -> None:
    """Write the layers; embedding and vocabulary are the target's.

    Args:
        model: of `prune`, trained.
        folder: made if it is not there.
        target: name or path of the target.
    """
    document = model.config.to_dict() | {
        "fairdraft_model_type": KIND,
        "target": target,
        "draft_vocab_size": len(model.d2t),
    }
    for key in ("transformers_version", "_name_or_path"):
        document.pop(key, None)
    tensors = {n: t for n, t in model.state_dict().items() if n != "lm_head.weight"}
    write_head_file(folder, document, tensors)


def load_pruned(file: HeadFile, target: Any) -> Any:
    """A pruned draft model in the target's precision, on its device, with the target's embedding.

    Args:
        file: of kind "draft_model".
        target: the transformers model.

    Raises:
        CheckpointError: the file does not fit the target, or its tensors do not fit its config.
    """
    text = target.config.get_text_config()
    require_fit(file, "hidden_size", file.config.get("hidden_size", 0), text.hidden_size)
    require_fit(file, "vocab_size", file.config.get("vocab_size", 0), text.vocab_size)
    foreign = ("fairdraft_model_type", "target", "draft_vocab_size", "architectures", "dtype")
    values = {key: value for key, value in file.config.items() if key not in foreign}
    words = int(file.config.get("draft_vocab_size", text.vocab_size))
    model = _empty(AutoConfig.for_model(**values), words)
    tensors = dict(file.tensors)
    borrow_vocabulary(tensors, words, target)
    fill(model, tensors, file.name, target)
    model.set_input_embeddings(target.get_input_embeddings())
    require_tokens(file, "d2t", target_ids(model), text)
    return model
