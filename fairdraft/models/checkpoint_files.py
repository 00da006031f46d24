"""Check the files of a checkpoint before transformers reads them, and name the one that is damaged.

What transformers, tokenizers and safetensors raise on a damaged file seldom says which file it was.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from fairdraft.errors import CheckpointError

HEAD_FOLDER = "head"  # where `fairdraft train` puts what it has made, inside its --out
_JSON_FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "model.safetensors.index.json",
)
_REMEDY = "it may be cut short or corrupt: fetch or save it again"


def model_folder(folder: Path) -> Path:
    """The folder that holds the model: the given one, or what `fairdraft train` wrote inside it."""
    inner = folder / HEAD_FOLDER
    if not (folder / "config.json").exists() and (inner / "config.json").exists():
        return inner
    return folder


def check_files(folder: Path) -> None:
    """Read what can be read quickly of a checkpoint: its JSON files and the weights' headers.

    Args:
        folder: with config.json, weights and a tokenizer.

    Raises:
        CheckpointError: a file is missing or damaged; the message names it.
    """
    if not (folder / "config.json").exists():
        raise CheckpointError(
            f"{str(folder)!r} has no config.json: give the folder of a transformers model, "
            "with config.json, *.safetensors and tokenizer.json"
        )
    for name in _JSON_FILES:
        if (folder / name).exists():
            read_json_object(folder / name)
    index = folder / "model.safetensors.index.json"
    shards = _shards(index) if index.exists() else set()
    for name in sorted(shards):
        if not (folder / name).exists():
            raise CheckpointError(
                f"{str(folder / name)!r} is missing, but {index.name} lists it: fetch it too"
            )
    for path in sorted(folder.glob("*.safetensors")):
        _check_weights(path)


def read_json_object(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file.

    Raises:
        CheckpointError: the file cannot be read, is no UTF-8, no JSON, or no object.
    """
    try:
        found = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise CheckpointError(
            f"{str(path)!r} cannot be read ({error.strerror}): give a file that you may read"
        ) from None
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{str(path)!r} is no JSON ({error}): {_REMEDY}") from None
    if not isinstance(found, dict):
        raise CheckpointError(
            f"{str(path)!r} holds a {type(found).__name__} where an object belongs: {_REMEDY}"
        )
    return found


def _shards(index: Path) -> set[str]:
    """Names of the weight files that an index lists."""
    places = read_json_object(index).get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(each, str) for each in places.values()):
        raise CheckpointError(f"{str(index)!r} lacks a weight_map of file names: {_REMEDY}")
    return set(places.values())


def _check_weights(path: Path) -> None:
    """Raise `CheckpointError` if a safetensors file's header is broken or the file is cut short."""
    try:
        with safe_open(path, "pt") as file:
            file.keys()
    except (OSError, SafetensorError, ValueError) as error:
        raise CheckpointError(
            f"{str(path)!r} is no whole safetensors file ({error}): {_REMEDY}"
        ) from None
