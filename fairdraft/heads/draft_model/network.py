"""Draft models cut out of their target: some of its layers, its embedding, the words it uses most.

Embedding and vocabulary are the target's own rows. The vocabulary may be cut to the tokens that are
used most (Zhao et al. 2025, "FR-Spec", arXiv 2502.14856), for on a small model it is most of the
cost.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from fairdraft.config import require
from fairdraft.heads.initialise import cut_mlps


def evenly(num_layers: int, kept: int) -> list[int]:
    """Return the indices of so many of a target's layers, the first and the last among them."""
    if kept == 1:
        return [0]
    return [round(i * (num_layers - 1) / (kept - 1)) for i in range(kept)]


def prune(target: Any, num_layers: int, intermediate_size: int | None, known: Tensor) -> Any:
    """Make a model of some of the target's layers, in float32, its embedding left out.

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
    model = empty_model(shape, len(known))
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


def empty_model(config: Any, words: int) -> Any:
    """Make a model without an embedding, in float32, that can say so many tokens."""
    config.tie_word_embeddings = False
    model = AutoModelForCausalLM.from_config(
        config, dtype=torch.float32, attn_implementation="eager"
    )
    model.set_input_embeddings(None)
    model.lm_head = nn.Linear(config.hidden_size, words, bias=False)
    model.register_buffer("d2t", torch.zeros(words, dtype=torch.int64))
    return model


def target_ids(model: Any) -> Tensor:
    """Return the target's id of each token that a pruned model says, [draft vocabulary] int64."""
    d2t: Tensor = model.d2t
    return d2t + torch.arange(len(d2t), device=d2t.device)
