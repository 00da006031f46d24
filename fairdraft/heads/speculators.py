"""The "speculators" format of config.json and of the map between vocabularies, which vLLM reads."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fairdraft.heads.files import MadeFor

SPELLINGS = {"eagle3": "Eagle3", "dflash": "DFlash"}  # of kinds, in the names of architectures


def layer_document(layer: Any) -> dict[str, Any]:
    """Return what `transformer_layer_config` of a "speculators" config.json says of a layer."""
    values = {key: value for key, value in layer.to_dict().items() if value is not None}
    for key in ("transformers_version", "_name_or_path", "dtype"):
        values.pop(key, None)
    values["rope_theta"] = layer.rope_parameters["rope_theta"]  # where older readers look
    return values


def speculators_document(kind: str, k: int, made_for: MadeFor) -> dict[str, Any]:
    """Return what every "speculators" config.json says.

    Args:
        kind: of head.
        k: draft length that its readers take by default.
        made_for: the target, named as the verifier.
    """
    return {
        "architectures": [f"{SPELLINGS[kind]}Speculator"],
        "speculators_model_type": kind,
        "speculators_version": "0.9.0",
        "torch_dtype": "bfloat16",
        "speculators_config": {
            "algorithm": kind,
            "default_proposal_method": "greedy",
            "proposal_methods": [
                {
                    "proposal_type": "greedy",
                    "speculative_tokens": k,
                    "verifier_accept_k": 1,
                    "accept_tolerance": 0.0,
                }
            ],
            "verifier": {
                "name_or_path": made_for.name,
                "architectures": list(made_for.architectures),
            },
        },
    }


def vocabulary_map(ids: Tensor, vocab_size: int) -> dict[str, Tensor | None]:
    """Return the tensors `d2t` and `t2d`; a whole vocabulary has neither, or vLLM stumbles.

    Args:
        ids: [draft vocabulary] int64, the target's ids.
        vocab_size: of the target.
    """
    if torch.equal(ids.cpu(), torch.arange(vocab_size)):
        return {"d2t": None, "t2d": None}
    known = torch.zeros(vocab_size, dtype=torch.bool)
    known[ids.cpu()] = True
    return {"d2t": ids.cpu() - torch.arange(len(ids)), "t2d": known}
