"""MTP tensors in a target's own checkpoint: MiMo's names, and DeepSeek's and GLM's."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from safetensors import safe_open
from torch import Tensor

from fairdraft.errors import CheckpointError
from fairdraft.heads.files import HeadFile, fetch_folder
from fairdraft.heads.fitting import load_tensors
from fairdraft.heads.mtp.network import MTPHead, MTPShape
from fairdraft.models.checkpoints import DEMO


@dataclass(frozen=True)
class _Layout:
    """The names of an MTP layer's parts in a family of checkpoints.

    Args:
        prefix: of the layer's tensors; {n} is the target's number of layers.
        token_norm, hidden_norm, projection, final_norm: their names.
        shape: how they are connected.
    """

    prefix: str
    token_norm: str
    hidden_norm: str
    projection: str
    final_norm: str
    shape: MTPShape


LAYOUTS = (
    _Layout(
        "model.mtp_layers.0.",  # MiMo
        "token_layernorm",
        "hidden_layernorm",
        "input_proj",
        "final_layernorm",
        MTPShape(hidden_first=True, norm_output=True),
    ),
    _Layout(
        "model.layers.{n}.",  # DeepSeek V3, GLM 4
        "enorm",
        "hnorm",
        "eh_proj",
        "shared_head.norm",
        MTPShape(hidden_first=False, norm_output=False),
    ),
)


def read_mtp(name: str, target: Any) -> HeadFile:
    """Read the MTP tensors of a target's own checkpoint, and no others.

    Args:
        name: of the target, as the user gave it.
        target: its transformers configuration.

    Raises:
        CheckpointError: it has none.
    """
    if name == DEMO or name.endswith(".gguf"):
        raise CheckpointError(f"{name!r} has no MTP layers, for GGUF files bring none")
    folder = fetch_folder(name)
    prefixes = tuple(x.prefix.format(n=target.num_hidden_layers) for x in LAYOUTS)
    tensors: dict[str, Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            names = [key for key in list(file.keys()) if key.startswith(prefixes)]
            tensors |= {key: file.get_tensor(key) for key in names}
    if not tensors:
        raise CheckpointError(
            f"{name!r} has no MTP layers that are known here (names that begin with "
            f"{' or '.join(prefixes)}): take another method"
        )
    if any(".experts." in key for key in tensors):
        raise CheckpointError(f"{name!r} has an MTP layer with experts: only dense ones are known")
    config = json.loads((folder / "config.json").read_text("utf-8"))
    return HeadFile(name, config, tensors)


def load_mtp(file: HeadFile, target: Any) -> MTPHead:
    """Load an MTP layer in the target's precision, on its device, without gradients.

    Args:
        file: of `read_mtp`.
        target: the transformers model.

    Raises:
        CheckpointError: its tensors do not fit the target's layers.
    """
    count = target.config.get_text_config().num_hidden_layers
    for layout in LAYOUTS:
        prefix = layout.prefix.format(n=count)
        own = {n.removeprefix(prefix): t for n, t in file.tensors.items() if n.startswith(prefix)}
        if own:
            break
    renamed = {
        f"{layout.token_norm}.": "token_norm.",
        f"{layout.hidden_norm}.": "hidden_norm.",
        f"{layout.projection}.": "projection.",
        f"{layout.final_norm}.": "final_norm.",
    }
    tensors = {}
    for name, tensor in own.items():
        if name.startswith(("embed_tokens.", "shared_head.head.")):
            continue  # copies of the target's own
        new = next((n for old, n in renamed.items() if name.startswith(old)), None)
        old_size = len(name.rsplit(".", 1)[0]) + 1
        tensors[f"block.{name}" if new is None else new + name[old_size:]] = tensor
    head = MTPHead(target, layout.shape)
    load_tensors(head, tensors, file.name, target)
    return head
