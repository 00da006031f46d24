"""Models of a given shape with random weights: what they cost without what they know."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from fairdraft.errors import CheckpointError
from fairdraft.models.checkpoints import choose_device

_FOLDER = files("fairdraft") / "data" / "shapes"
SHAPES = tuple(
    sorted(each.name.removesuffix(".json") for each in _FOLDER.iterdir() if ".json" in each.name)
)


def build_shape(name: str, dtype: str = "auto", device: str = "auto") -> Any:
    """A transformers model of a shape, its weights random, on its device.

    Args:
        name: one of `SHAPES`, or the path of a config.json.
        dtype, device: as for `LLM`.

    Raises:
        CheckpointError: no such shape, or no such file.
        ConfigError: the device is not there.
    """
    place = choose_device(device)
    precision = torch.bfloat16 if dtype == "auto" else getattr(torch, dtype)
    if name in SHAPES:
        text = (_FOLDER / f"{name}.json").read_text("utf-8")
    else:
        try:
            text = Path(name).read_text("utf-8")
        except OSError:
            raise CheckpointError(
                f"{name!r} is neither a shape nor a config.json: the shapes are {', '.join(SHAPES)}"
            ) from None
    try:
        fields = json.loads(text)
        config = AutoConfig.for_model(**fields)
    except (ValueError, TypeError, KeyError) as error:
        raise CheckpointError(
            f"{name!r} is no transformers config ({error}): give a decoder model's config.json"
        ) from None
    with torch.device(place):
        return AutoModelForCausalLM.from_config(config, dtype=precision).eval()
