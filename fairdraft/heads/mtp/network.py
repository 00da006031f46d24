"""MTP: layers that some targets bring along, trained with them to say one token more.

DeepSeek-AI 2024 (arXiv 2412.19437), section 2.2. A row stands for a position t: it reads the
target's last hidden state there and the token at t + 1, through a projection and a layer of the
target's own kind. Here the first such layer is run again and again, on its own outputs.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from fairdraft.errors import CheckpointError
from fairdraft.heads.base import Attend, HeadConfig
from fairdraft.heads.files import HeadFile, fetch_folder, fill
from fairdraft.models.checkpoints import DEMO
from fairdraft.models.runner import final_norm, target_layers


@dataclass(frozen=True)
class _Layout:
    """What a family of checkpoints calls its parts.

    Args:
        prefix: of the layer's tensors; {n} is the target's number of layers.
        token_norm, hidden_norm, projection, final_norm: their names.
        hidden_first: the projection reads the hidden state before the embedding.
        norm_output: the normed output is what the next draft token reads.
    """

    prefix: str
    token_norm: str
    hidden_norm: str
    projection: str
    final_norm: str
    hidden_first: bool
    norm_output: bool


LAYOUTS = (
    _Layout(
        "model.mtp_layers.0.",  # MiMo
        "token_layernorm",
        "hidden_layernorm",
        "input_proj",
        "final_layernorm",
        hidden_first=True,
        norm_output=True,
    ),
    _Layout(
        "model.layers.{n}.",  # DeepSeek V3, GLM 4
        "enorm",
        "hnorm",
        "eh_proj",
        "shared_head.norm",
        hidden_first=False,
        norm_output=False,
    ),
)


class MTPHead(nn.Module):
    """The network, around a layer of the target's own class.

    Args:
        target: the transformers model; embedding, rotation and `lm_head` are its own.
        layout: how the file's family connects the parts.
    """

    embed_tokens = None

    def __init__(self, target: Any, layout: _Layout) -> None:
        super().__init__()
        text = target.config.get_text_config()
        size, count = text.hidden_size, text.num_hidden_layers
        self.config = HeadConfig(text, (count,), text.vocab_size)
        norm = final_norm(target)
        self.token_norm, self.hidden_norm, self.final_norm = (copy.deepcopy(norm) for _ in range(3))
        self.projection = nn.Linear(2 * size, size, bias=False)
        last = target_layers(target)[-1]
        block: Any = type(last)(text, count - 1)
        block.self_attn.layer_idx = 0  # the only one with KV in the drafter's storage
        self.block: nn.Module = block
        self.hidden_first, self.norm_output = layout.hidden_first, layout.norm_output
        # Not parameters of its own.
        self._shared = {"lm_head": target.get_output_embeddings(), "rotary": _rotary(target)}

    @property
    def lm_head(self) -> nn.Linear:
        """The target's."""
        head = self._shared["lm_head"]
        assert isinstance(head, nn.Linear)
        return head

    @cached_property
    def target_ids(self) -> Tensor:
        """[V] int64: it knows all of the target's tokens."""
        return torch.arange(self.config.draft_vocab_size, device=self.projection.weight.device)

    def fuse(self, states: Tensor) -> Tensor:
        """[…, d] as they are."""
        return states

    def forward(
        self, embeds: Tensor, hidden: Tensor, positions: Tensor, attend: Attend
    ) -> tuple[Tensor, Tensor]:
        """[R, d] embeddings and states → [R, d] for `lm_head`, and for the next token's row."""
        embeds = torch.where(positions[:, None] == 0, 0, embeds)  # as they are trained
        parts = [self.token_norm(embeds), self.hidden_norm(hidden)]
        x = self.projection(torch.cat(parts[::-1] if self.hidden_first else parts, -1))[None]
        rotation = self._shared["rotary"](x, positions[None])
        output = self.block(x, position_embeddings=rotation, paged=_Reader(attend))
        output = (output[0] if isinstance(output, tuple) else output)[0]
        normed = self.final_norm(output)
        return normed, (normed if self.norm_output else output)


class _Reader:
    """Stands where a step's attention stands in a target's run."""

    def __init__(self, attend: Attend) -> None:
        self._attend = attend

    def write(self, layer: int, keys: Tensor, values: Tensor) -> None:
        self._rows = keys, values

    def attend(self, layer: int, queries: Tensor, scale: float, softcap: float | None) -> Tensor:
        if softcap is not None or abs(scale - queries.shape[-1] ** -0.5) > 1e-6:
            raise CheckpointError(
                "the target's attention scales or caps its scores in a way that MTP drafting does "
                "not know: take another method"
            )
        return self._attend(layer, queries, *self._rows)


def _rotary(target: Any) -> nn.Module:
    rotary: nn.Module = next(m for n, m in target.named_modules() if n.endswith("rotary_emb"))
    return rotary


def read_mtp(name: str, target: Any) -> HeadFile:
    """The MTP tensors of a target's own checkpoint; the others are not read.

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
    """An MTP layer in the target's precision, on its device, without gradients.

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
    head = MTPHead(target, layout)
    fill(head, tensors, file.name, target)
    return head
