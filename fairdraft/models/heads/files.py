"""Drafter files: what others publish and what we train, from a hub id or a folder.

What each kind of drafter calls its tensors stands beside its network.
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

from fairdraft.errors import CheckpointError

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
        if "Medusa" in architectures or self.config.get("model_type") == "medusa":
            return "medusa"
        if "medusa_num_heads" in self.config:
            return "medusa"
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


def require_fit(file: HeadFile, what: str, found: int, wanted: int) -> None:
    """Raise `CheckpointError` unless a size in a file's config.json is the target's."""
    if found != wanted:
        raise CheckpointError(
            f"{file.name!r} was made for another target: {what} is {found} in its config.json, "
            f"but {wanted} here"
        )


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


def write_head_file(folder: Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write config.json and model.safetensors, floating tensors in bfloat16.

    Args:
        folder: made if it is not there.
        config: what config.json says.
        tensors: by the names that the file gives them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n", "utf-8")
    kept = {
        name: (tensor.to(torch.bfloat16) if tensor.is_floating_point() else tensor)
        .contiguous()
        .cpu()
        for name, tensor in tensors.items()
    }
    save_file(kept, folder / "model.safetensors")
