"""Drafter files: what others publish and what we train, from a hub id or a folder.

Read are "speculators" files, and raw ones of EAGLE and SpecForge (`midlayer.*`). Written are
"speculators" files only, which vLLM loads as they are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import LlamaConfig

from fairdraft.errors import CheckpointError
from fairdraft.models.heads.eagle3 import Eagle3Config, Eagle3Head, default_layer_ids

WEIGHTS = ("*.safetensors", "*.bin", "*.pt")


@dataclass(frozen=True)
class HeadFile:
    """A drafter's files, read.

    Args:
        name: as the user gave it.
        config: config.json.
        tensors: all weights, by the names that the file gives them.
    """

    name: str
    config: dict[str, Any]
    tensors: dict[str, Tensor]

    @property
    def kind(self) -> str:
        """What it is: "eagle3", "dflash", "medusa" ….

        Raises:
            CheckpointError: neither its config nor its tensors say.
        """
        if declared := self.config.get("speculators_model_type"):
            return str(declared)
        architectures = " ".join(self.config.get("architectures") or ())
        if "Eagle3" in architectures or any(n.startswith("midlayer.") for n in self.tensors):
            return "eagle3"
        raise CheckpointError(
            f"{self.name!r} is no drafter that is known here: its config.json names the "
            f"architecture {architectures or 'nothing'!r} and no speculators_model_type"
        )


def read_head_file(name: str) -> HeadFile:
    """Fetch and read a drafter's files.

    Args:
        name: hub id or folder.

    Raises:
        CheckpointError: nothing is there, or it cannot be read.
    """
    folder = Path(name).expanduser()
    if not folder.is_dir():
        if name.startswith((".", "/", "~")) or name.count("/") != 1:
            raise CheckpointError(f"{name!r} does not exist: give a hub id or a folder")
        try:
            folder = Path(snapshot_download(name, allow_patterns=["*.json", *WEIGHTS]))
        except Exception as error:  # the hub's client raises whatever the network does
            first = str(error).strip().splitlines() or [type(error).__name__]
            raise CheckpointError(f"{name!r} cannot be fetched: {first[0]}") from error
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
        tensors: dict[str, Tensor] = {}
        for pattern in WEIGHTS:
            for path in sorted(folder.glob(pattern)):
                safe = path.suffix == ".safetensors"
                tensors |= load_file(path) if safe else torch.load(path, weights_only=True)
            if tensors:
                break
    except FileNotFoundError:
        raise CheckpointError(f"{name!r} has no config.json: a drafter's folder has one") from None
    except Exception as error:  # each reader has errors of its own for a broken file
        raise CheckpointError(
            f"{name!r} cannot be read ({type(error).__name__}: {error})"
        ) from error
    if not tensors:
        raise CheckpointError(f"{name!r} has no weights: a *.safetensors or *.bin file is missing")
    return HeadFile(name, config, tensors)


def refuse_lossy(file: HeadFile) -> None:
    """Raise `CheckpointError` if a file asks for verification that would change the text."""
    proposal = file.config.get("speculators_config") or {}
    for method in proposal.get("proposal_methods") or ():
        for key, harmless in (("verifier_accept_k", 1), ("accept_tolerance", 0.0)):
            if method.get(key, harmless) > harmless:
                raise CheckpointError(
                    f"{file.name!r} asks for {key} {method[key]}, which accepts tokens that the "
                    f"target would not have said: set it to {harmless} in its config.json"
                )


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
    _require(file, "hidden size of the target", size, target.hidden_size)
    _require(file, "vocabulary", layer.vocab_size, target.vocab_size)
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


def _require(file: HeadFile, what: str, found: int, wanted: int) -> None:
    if found != wanted:
        raise CheckpointError(
            f"{file.name!r} was made for another target: {what} is {found} in its config.json, "
            f"but {wanted} here"
        )


def _eagle3_name(name: str) -> str:
    return name.removeprefix("model.").replace("midlayer.", "layers.0.")


def fill(head: nn.Module, tensors: Mapping[str, Tensor], name: str) -> None:
    """Put a file's tensors into a module.

    Raises:
        CheckpointError: a tensor is missing, unknown, or of another shape.
    """
    wanted = head.state_dict()
    for key in sorted(wanted.keys() | tensors.keys()):
        if key not in tensors:
            shape = list(wanted[key].shape)
            raise CheckpointError(f"{name!r} lacks the tensor {key!r}, which should be {shape}")
        if key not in wanted:
            shape = list(tensors[key].shape)
            raise CheckpointError(
                f"{name!r} has a tensor {key!r} of shape {shape}, which its config.json does not "
                "account for"
            )
        if wanted[key].shape != tensors[key].shape:
            raise CheckpointError(
                f"{name!r}: {key!r} is {list(tensors[key].shape)} in the file, but "
                f"{list(wanted[key].shape)} by its config.json and the target"
            )
    head.load_state_dict(dict(tensors), assign=True)


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
    tensors = {
        name: tensor.to(torch.bfloat16) if tensor.is_floating_point() else tensor
        for name, tensor in head.state_dict().items()
    }
    known = torch.zeros(config.layer.vocab_size, dtype=torch.bool)
    known[head.target_ids.cpu()] = True
    tensors["t2d"] = known
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    save_file({k: v.contiguous().cpu() for k, v in tensors.items()}, folder / "model.safetensors")
