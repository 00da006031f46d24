"""Drafter files: a config.json and tensors, read from a hub id or a folder, and written.

What a kind of drafter calls its tensors stands in the `files.py` of its own folder.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from fairdraft.errors import CheckpointError
from fairdraft.models.checkpoint_files import model_folder, read_json_object
from fairdraft.models.hub import fetch

WEIGHTS = ("*.safetensors", "*.bin", "*.pt")


@dataclass(frozen=True)
class HeadFile:
    """A drafter's config.json and weights, as they were read.

    Args:
        name: hub id or folder, as the user gave it.
        config: what config.json holds.
        tensors: all weights, by the names that the file gives them.
    """

    name: str
    config: dict[str, Any]
    tensors: dict[str, Tensor]

    @property
    def architectures(self) -> str:
        """The class names that config.json gives for the network, side by side."""
        return " ".join(self.config.get("architectures") or ())


@dataclass(frozen=True)
class MadeFor:
    """The target that a drafter was made for, as its files name it.

    Args:
        name: hub id or path.
        architectures: class names of its network.
    """

    name: str
    architectures: tuple[str, ...] = ()


def read_head_file(name: str) -> HeadFile:
    """Read a drafter's files; those of a hub id are fetched first.

    Args:
        name: hub id or folder.

    Raises:
        CheckpointError: nothing is there, or it cannot be read.
    """
    folder = fetch_folder(name)
    if not (folder / "config.json").exists():
        raise CheckpointError(f"{name!r} has no config.json: a drafter's folder has one")
    try:
        config = read_json_object(folder / "config.json")
        tensors: dict[str, Tensor] = {}
        for pattern in WEIGHTS:
            for path in sorted(folder.glob(pattern)):
                safe = path.suffix == ".safetensors"
                tensors |= load_file(path) if safe else torch.load(path, weights_only=True)
            if tensors:
                break
    except CheckpointError:
        raise
    except Exception as error:  # each reader has errors of its own for a broken file
        raise CheckpointError(
            f"{name!r} cannot be read ({type(error).__name__}: {error})"
        ) from error
    named = config.get("architectures") or []
    if not (isinstance(named, list) and all(isinstance(each, str) for each in named)):
        raise CheckpointError(
            f"{name!r} has a config.json whose architectures are {named!r}, but they must be a "
            "list of names: it is damaged"
        )
    if not tensors:
        raise CheckpointError(f"{name!r} has no weights: a *.safetensors or *.bin file is missing")
    return HeadFile(name, config, tensors)


def fetch_folder(name: str) -> Path:
    """Return the folder of a checkpoint's files; those of a hub id are fetched first.

    Args:
        name: hub id or folder.

    Raises:
        CheckpointError: nothing is there, or it cannot be fetched.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return model_folder(folder)
    if folder.exists():
        raise CheckpointError(
            f"{name!r} is a file: give the folder that it lies in, {str(folder.parent)!r}"
        )
    if name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise CheckpointError(f"{name!r} does not exist: give a hub id or a folder")
    return fetch(name, patterns=["*.json", *WEIGHTS])


def write_head_file(
    folder: Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor | None]
) -> None:
    """Write config.json and model.safetensors, floating tensors in bfloat16.

    Args:
        folder: made if it is not there.
        config: what config.json says.
        tensors: by the names that the file gives them; None is left out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n", "utf-8")
    kept = {
        name: (tensor.to(torch.bfloat16) if tensor.is_floating_point() else tensor)
        .contiguous()
        .cpu()
        for name, tensor in tensors.items()
        if tensor is not None
    }
    save_file(kept, folder / "model.safetensors")
    (folder / "model.safetensors").chmod(0o644)  # safetensors keeps it to its owner
